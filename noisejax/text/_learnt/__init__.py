"""Edits of texts that are learnt from pairs of a clean and a noisy string."""
