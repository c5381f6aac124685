"""Robustness that is proved: randomized smoothing and interval bounds."""
