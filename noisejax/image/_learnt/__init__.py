"""Noise of sensors: fitted to pairs of clean and noisy pictures, and of raw pictures."""
