"""Noises that must know which axes are height, width and channel."""

import functools

import noisejax as nj
from cases.case import masking, pictures, spectra

region = functools.partial(masking, x=pictures, elementwise=False)

CASES = [
    masking(nj.channel_dropout),
    masking(nj.pixel_dropout, x=spectra),
    region(nj.random_erasing, "p", (0.5, 0.0, 0.9), integers=False, heavy=True),
    region(nj.random_erasing, "p", (0.5, 0.0, 0.9), integers=False, note="channel", noise="channel"),
    region(nj.cutout, "size", (5.0, 0.0, 8.0)),
    region(nj.coarse_dropout, "holes", (3.0, 0.0, 5.5), heavy=True),
    region(nj.grid_mask, heavy=True),
]
