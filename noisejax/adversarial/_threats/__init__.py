"""What an adversary may do to an input: balls of a norm, sparse changes, rows of a table, patches."""
