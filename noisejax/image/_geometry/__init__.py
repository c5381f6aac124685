"""Geometry of pictures: noises that move pixels, one resampling for several of them, and points that follow."""
