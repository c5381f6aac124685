"""Deterministic operations on pictures, which take no key: filters, files, resampling, light and colour."""
