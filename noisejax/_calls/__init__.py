"""What a call of a noise is made of: its arguments, what it can replay, and eager calls as one compiled dispatch."""
