"""The one table: a row per public array noise, in the file of its family. The laws in tests/laws run over every row.

A new noise is one function, one row and one docstring; a test holds this table against the public surface.
"""

import pytest

from cases import additive, blocks, image, masking, mixing, numeric, signal, tabular, weights

FAMILIES = (additive, numeric, masking, blocks, mixing, image, signal, tabular, weights)
CASES = [case for family in FAMILIES for case in family.CASES]


# Faults of images and signals are many, and their programs take seconds to compile. The laws that need programs of
# their own run over some of each kind, and in the slow tests over all rows.
CHOSEN = {
    "gaussian_noise",
    "fog",
    "motion_blur",
    "rotate",
    "elastic",
    "rand_augment",
    "bias",
    "stuck",
    "bursts-hold",
    "time_warp",
    "faults",
}
LARGE = ("noisejax.image._corruptions", "noisejax.image._geometry", "noisejax.image._policies", "noisejax.signal._")
SIGNALS = {"colored", "freq_mask", "gaussian_snr", "time_mask"}
# All laws of these are slow tests: their form is that of others (the first four that of single_frequency_greyscale),
# and their programs take the longest to compile. Their own tests hold them in the fast set.
LIKE_OTHERS = {"cocentric_sine_waves", "plasma_noise", "checkerboard_cutout", "brownish_noise"}
LIKE_OTHERS |= {"spatter", "glass_blur", "defocus_blur", "snow", "augmix", "trivial_augment", "jpeg_compression"}


def chosen(case) -> bool:
    return not case.function.__module__.startswith(LARGE) or case.name in CHOSEN | SIGNALS


def over(slow, cases=CASES):
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * slow(case)) for case in cases]
    )


# A note is another form of a noise whose laws have run. Programs of a heavy noise are expensive: the fast tests compile
# one or two of them, those that most laws can share, and the slow tests the rest.
every = over(
    lambda case: case.heavy or bool(case.note) or not chosen(case),
    [case for case in CASES if chosen(case) or case in (*signal.CASES, *image.CASES)],
)
every_even_heavy = over(lambda case: bool(case.note) or case.name in LIKE_OTHERS)
