"""Attention with dropout of its probabilities, computed by blocks."""
