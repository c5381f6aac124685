"""Noise on images: arrays of shape (B, H, W, C), with axes for height, width and channels."""

from noisejax.image._erasing import (
    channel_dropout as channel_dropout,
    coarse_dropout as coarse_dropout,
    cutout as cutout,
    grid_mask as grid_mask,
    pixel_dropout as pixel_dropout,
    random_erasing as random_erasing,
)

__all__ = ["channel_dropout", "coarse_dropout", "cutout", "grid_mask", "pixel_dropout", "random_erasing"]
