"""Noise on whole words of a text of code points."""
