"""Tables that the tests of faults share: columns of every kind of distribution, with ties, holes and constants."""

import numpy as np

import noisejax as nj

KINDS = ("normal", "lognormal", "binary", "constant", "few", "zeros", "holes")


def mixed(rows: int = 4000, seed: int = 5) -> np.ndarray:
    """A column for each of `KINDS`, in float32."""
    rng = np.random.default_rng(seed)
    few = rng.integers(6, size=rows).astype(float)
    zeros = np.where(rng.random(rows) < 0.4, 0, rng.exponential(3, rows))
    holes = np.where(rng.random(rows) < 0.2, np.nan, rng.normal(10, 2, rows))
    columns = [
        rng.normal(size=rows),
        rng.lognormal(0, 1.5, rows),
        (rng.random(rows) < 0.3).astype(float),
        np.full(rows, 2.5),
        few,
        zeros,
        holes,
    ]
    return np.stack(columns, 1).astype(np.float32)


TABLE = mixed()
COLUMNS = nj.tabular.fit(TABLE)
