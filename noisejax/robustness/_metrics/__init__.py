"""Scores of predictions: of each example, or of a whole set with resampling."""
