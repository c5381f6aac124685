"""The published parameters of the corruptions at severities 1 to 5.

The columns are those of ImageNet-C, Tiny-ImageNet-C and CIFAR-10-C (Hendrycks and Dietterich, 2019). They belong to
pictures of 224, 64 and 32 pixels. A table is named by the caller and never guessed from the size. The corruptions of
ImageNet-C-bar and CIFAR-10-C-bar (Mintun et al., 2021) are only in the tables that were published.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Row = tuple[Any, ...]  # a number or a tuple of numbers for each severity

_small_zoom = (7, 12, 16, 21, 26)

_BY_NAME: dict[str, tuple[Row | None, Row | None, Row | None]] = {
    "gaussian_noise": (  # the standard deviation
        (0.08, 0.12, 0.18, 0.26, 0.38),
        (0.04, 0.08, 0.12, 0.15, 0.18),
        (0.04, 0.06, 0.08, 0.09, 0.10),
    ),
    "shot_noise": (  # photons
        (60.0, 25.0, 12.0, 5.0, 3.0),
        (250.0, 100.0, 50.0, 30.0, 15.0),
        (500.0, 250.0, 100.0, 75.0, 50.0),
    ),
    "impulse_noise": (  # the share of values that are replaced
        (0.03, 0.06, 0.09, 0.17, 0.27),
        (0.01, 0.02, 0.05, 0.08, 0.14),
        (0.01, 0.02, 0.03, 0.05, 0.07),
    ),
    "speckle_noise": (  # the standard deviation relative to the picture
        (0.15, 0.2, 0.35, 0.45, 0.6),
        (0.15, 0.2, 0.25, 0.3, 0.35),
        (0.06, 0.1, 0.12, 0.16, 0.2),
    ),
    "gaussian_blur": (  # the standard deviation in pixels
        (1.0, 2.0, 3.0, 4.0, 6.0),
        (0.5, 0.75, 1.0, 1.25, 1.5),
        (0.4, 0.6, 0.7, 0.8, 1.0),
    ),
    "defocus_blur": (  # the radius of the disk, and the standard deviation of the blur of its edge
        ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
        ((0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
    ),
    "glass_blur": (  # the standard deviation of the blur, the largest displacement, and the number of passes
        ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ),
    "motion_blur": (  # the radius, which gives 2 r + 1 taps, and the standard deviation along the path
        ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
        ((10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0)),
        ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
    ),
    "zoom_blur": (  # the number of enlargements and their step; a step in floating point decides about the last one
        ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
        tuple((n, 0.01) for n in _small_zoom),
        tuple((n, 0.01) for n in _small_zoom),
    ),
    "fog": (  # the weight of the fog, and the decay of its roughness
        ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
        ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)),
        ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
    ),
    "brightness": (  # what is added to the value in HSV
        (0.1, 0.2, 0.3, 0.4, 0.5),
        (0.1, 0.2, 0.3, 0.4, 0.5),
        (0.05, 0.1, 0.15, 0.2, 0.3),
    ),
    "contrast": (  # the factor of the distance to the mean
        (0.4, 0.3, 0.2, 0.1, 0.05),
        (0.4, 0.3, 0.2, 0.1, 0.05),
        (0.75, 0.5, 0.4, 0.3, 0.15),
    ),
    "saturate": (  # the factor and the offset of the saturation in HSV
        ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
        ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)),
        ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
    ),
    "pixelate": (  # the share of the size that remains
        (0.6, 0.5, 0.4, 0.3, 0.25),
        (0.9, 0.8, 0.7, 0.6, 0.5),
        (0.95, 0.9, 0.85, 0.75, 0.65),
    ),
    "jpeg_compression": (  # the quality
        (25.0, 18.0, 15.0, 10.0, 7.0),
        (65.0, 58.0, 50.0, 40.0, 25.0),
        (80.0, 65.0, 58.0, 50.0, 40.0),
    ),
    "elastic_transform": (  # the amplitude, the standard deviation of its smoothing, and the affine part, per pixel
        ((2.0, 0.7, 0.1), (2.0, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
        ((0.0, 0.0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "snow": (  # mean, standard deviation, zoom, cut, radius and deviation of the motion, and the share of the picture
        (
            (0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8),
            (0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7),
            (0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55),
        ),
        (
            (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.8),
            (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.6),
        ),
        (
            (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
        ),
    ),
    "spatter": (  # mean, standard deviation, smoothing and cut of the layer, the strength or smoothing, and whether mud
        (
            (0.65, 0.3, 4.0, 0.69, 0.6, False),
            (0.65, 0.3, 3.0, 0.68, 0.6, False),
            (0.65, 0.3, 2.0, 0.68, 0.5, False),
            (0.65, 0.3, 1.0, 0.65, 1.5, True),
            (0.67, 0.4, 1.0, 0.65, 1.5, True),
        ),
        (
            (0.62, 0.1, 0.7, 0.7, 0.6, False),
            (0.65, 0.1, 0.8, 0.7, 0.6, False),
            (0.65, 0.3, 1.0, 0.69, 0.6, False),
            (0.65, 0.1, 0.7, 0.68, 0.6, True),
            (0.65, 0.1, 0.5, 0.67, 0.6, True),
        ),
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, False),
            (0.65, 0.1, 0.8, 0.7, 0.5, False),
            (0.65, 0.3, 1.0, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
    ),
    "frost": (  # the factors of the picture and of the frost
        ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ((1.0, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    ),
    # The rest is of C-bar. The published code has levels from 0 to 10, and each severity is one of them.
    "single_frequency_greyscale": ((1.0, 1.5, 2.0, 4.5, 5.0), None, None),
    "cocentric_sine_waves": ((3.0, 5.0, 8.0, 9.0, 10.0), None, None),
    "plasma_noise": ((4.75, 7.0, 8.5, 9.25, 10.0), None, None),
    "checkerboard_cutout": ((2.0, 3.0, 4.0, 5.0, 6.0), None, (1.0, 2.0, 3.0, 4.0, 5.0)),
    "ripple": (None, None, (5.5, 6.0, 6.5, 7.5, 8.0)),
    "brownish_noise": ((1.0, 2.0, 3.0, 4.0, 5.0), None, (2.5, 4.0, 5.5, 6.5, 7.0)),
}

NAMES = ("imagenet", "tiny", "cifar")
TABLES: Mapping[str, Mapping[str, Row]] = MappingProxyType(
    {
        table: MappingProxyType({name: row for name, rows in _BY_NAME.items() if (row := rows[n]) is not None})
        for n, table in enumerate(NAMES)
    }
)
