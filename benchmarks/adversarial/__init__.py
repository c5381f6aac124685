"""Attacks against the reference implementations, on the same weights."""
