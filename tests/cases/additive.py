"""Noise that is added to every element, or multiplied with it."""

import numpy as np
from scipy import stats

import noisejax as nj
from cases.case import additive, pictures, row

CASES = [
    additive(nj.gaussian, "std", reference=stats.norm),
    additive(nj.uniform, "half_width", reference=lambda scale: stats.uniform(-scale, 2 * scale)),
    additive(nj.laplace, "scale", reference=stats.laplace),
    row(
        nj.student_t,
        "df",
        scale=(0.3, 0.0, 0.3),
        df=(3.0, 3.0, np.inf),
        reference=lambda scale: stats.t(3, scale=scale),
    ),
    row(
        nj.alpha_stable,
        "alpha",
        scale=(0.3, 0.0, 0.3),
        alpha=(1.0, 1.0, 1.7),
        beta=(0.0, 0.5, -0.5),
        reference=lambda scale: stats.cauchy(scale=scale),
    ),
    additive(nj.speckle, "std", reference=None),
    additive(nj.shot, "photons", (20.0, np.inf, 300.0), x=pictures, differentiable=False, heavy=True, reference=None),
]
