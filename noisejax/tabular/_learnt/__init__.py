"""Faults that are learnt: from pairs of clean and dirty rows, from a deployed table, and from pairs of strings."""
