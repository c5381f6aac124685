"""Attacks compared with the reference implementations, on the same weights."""
