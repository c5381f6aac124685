"""The noises of `noisejax.weights`."""

import functools

import numpy as np

from cases.case import additive, masking, whole
from noisejax import weights

# Weights are floats, and what a device does to one depends on the range of its channel.
channels = {"images": False, "measures": True, "channel_axis": 0, "elementwise": False}
scaled = functools.partial(additive, reference=None)  # by what the weights are, so that 0 stays 0
cells = functools.partial(scaled, **channels)
drift = functools.partial(scaled, images=False)
flips = functools.partial(masking, x=whole, measures=True, differentiable=False)  # the bits are those of x's own dtype
rounds = {"differentiable": False, **channels}

CASES = [
    cells(weights.relative_gaussian, "std", (0.1, 0.0, 0.3)),
    masking(weights.drop_connect, images=False),
    masking(weights.ternary_mask, "rate", (0.3, 0.0, 0.5), flip=(0.2, 0.0, 0.9), images=False),
    masking(weights.stuck_at, value=("zero", "min", "max"), **channels),
    scaled(weights.fake_quantize, "bits", (4.0, np.inf, 2.0), rounding="stochastic", symmetric=False, **rounds),
    masking(weights.quant_noise, bits=(3.0, 3.0, 4.0), axis=-1, block_size=5, **rounds),
    flips(weights.bit_flips, "rate", (0.2, 0.0, 0.3), note="lowest", bits=0),
    drift(weights.conductance_drift, "time", (1e5, 0.0, 20.0), nu=(0.05, 0.05, 0.1), nu_std=(0.01, 0.01, 0.0)),
    cells(weights.programming_noise, "scale", (1.0, 0.0, 3.0), heavy=True),
    cells(weights.read_noise, "time", (3600.0, 3600.0, 0.0), scale=(1.0, 0.0, 2.0)),
    cells(weights.phase_change, "time", (3600.0, 3600.0, 0.0), scale=(1.0, 0.0, 2.0), heavy=True),
]
