"""Noises that must know which axes are height, width and channel."""

import functools

import noisejax as nj
from cases.case import masking, pictures, spectra

region = functools.partial(masking, x=pictures, elementwise=False)

CASES = [
    masking(nj.image.channel_dropout),
    masking(nj.image.pixel_dropout, x=spectra),
    region(nj.image.random_erasing, "rate", (0.5, 0.0, 0.9), integers=False, heavy=True),
    region(nj.image.random_erasing, "rate", (0.5, 0.0, 0.9), integers=False, note="channel", noise="channel"),
    region(nj.image.cutout, "size", (5.0, 0.0, 8.0)),
    region(nj.image.coarse_dropout, "holes", (3.0, 0.0, 5.5), heavy=True),
    region(nj.image.grid_mask, heavy=True),
]
