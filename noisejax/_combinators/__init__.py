"""Combinators: functions that make a `Noise` of noises, and of functions."""
