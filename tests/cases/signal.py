"""Noises that must know which axis is time or frequency, or how strong the signal is."""

import numpy as np

import noisejax as nj
from cases.case import additive, masking, row, spectra


def band(function, at, **more):
    return masking(function, "width", at, x=spectra, elementwise=False, **more)


CASES = [
    additive(nj.signal.gaussian_snr, "snr_db", (10.0, np.inf, 0.0), elementwise=False, measures=True, reference=None),
    row(nj.signal.colored, "exponent", std=(0.3, 0.0, 0.3), exponent=(1.0, 1.0, 2.0), elementwise=False),
    band(nj.signal.time_mask, (6.0, 0.0, 9.0), count=2, heavy=True),
    band(nj.signal.freq_mask, (4.0, 0.0, 6.0), heavy=True),
]
