"""Noise that is added to every element, or multiplied with it."""

import numpy as np

import noisejax as nj
from cases.case import additive, pictures, row

CASES = [
    additive(nj.gaussian, "std"),
    additive(nj.uniform, "half_width"),
    additive(nj.laplace, "scale"),
    row(nj.student_t, "df", scale=(0.3, 0.0, 0.3), df=(3.0, 3.0, np.inf)),
    additive(nj.speckle, "std"),
    additive(nj.shot, "photons", (20.0, np.inf, 300.0), x=pictures, differentiable=False, heavy=True),
]
