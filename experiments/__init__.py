"""Programs whose protocol is fixed in their docstrings before they run, and the tables of their results."""
