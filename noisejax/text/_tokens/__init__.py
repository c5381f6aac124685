"""Noise on token ids."""
