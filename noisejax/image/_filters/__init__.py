"""Filters and resampling of pictures, which the corruptions share."""
