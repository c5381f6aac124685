"""How combinators call noises: what a call can replay, and eager calls as one compiled dispatch."""
