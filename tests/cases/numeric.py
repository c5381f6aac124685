"""Faults of the numbers themselves: extremes, values that are not finite, rounding."""

import functools

import numpy as np

import noisejax as nj
from cases.case import additive, masking, pictures

rounding = functools.partial(additive, note="stochastic", rounding="stochastic", differentiable=False, reference=None)

CASES = [
    masking(nj.salt_and_pepper, high=3.0),
    masking(nj.salt_and_pepper, high=3.0, note="pixels", channel_axis=-1, x=pictures, elementwise=False),
    masking(nj.impulse, high=3.0),
    masking(nj.impulse, high=3.0, note="random", values="random"),
    masking(nj.nonfinite, images=False, differentiable=False),  # a difference of infinities is NaN
    rounding(nj.quantize, "step", (0.4, 0.0, 0.7)),
    rounding(nj.reduce_precision, "mantissa_bits", (2.0, np.inf, 4.0), images=False),
]
