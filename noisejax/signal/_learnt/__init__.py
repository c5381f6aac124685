"""Faults of sensors, fitted to recordings: gains, offsets, drift, noise, limits, quantization and gaps."""
