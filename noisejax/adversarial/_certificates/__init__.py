"""Provable robustness: randomized smoothing and interval bounds."""
