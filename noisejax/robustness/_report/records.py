"""What a report answers with: tolerated levels, the cost of a column; and how reports are recognized as paired."""

import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np

from noisejax import _checks
from noisejax.robustness._report.samples import Interval


class Passes(NamedTuple):
    """The level up to which a curve passes a threshold, for the mean and the bounds of its interval.

    The level is NaN if the curve fails at the first level, and infinity if it never does.
    """

    mean: float
    lower: float
    upper: float
    first: float  # the range of levels that were measured
    last: float

    def __format__(self, spec: str) -> str:
        """``f"{passes:.0%}"`` gives ``28% (23, 33)``, ``≥ 50%`` at the end of the range, ``–`` for a fail at 0."""
        mean, lower, upper = (self._show(level, spec or "g") for level in self[:3])
        return mean if mean == lower == upper else f"{mean} ({lower.removesuffix('%')}, {upper.removesuffix('%')})"

    def __str__(self) -> str:
        return format(self)

    def _show(self, level, spec):
        if np.isnan(level):
            return "–" if self.first == 0 else f"< {self.first:{spec}}"
        return f"≥ {self.last:{spec}}" if np.isinf(level) else f"{level:{spec}}"


class Sensitivity(NamedTuple):
    """One column of a table, and what it costs when it alone is hit."""

    column: str
    loss: Interval  # how much worse the metric becomes, in its units
    p: float  # corrected by Holm's method for the number of columns


def crossing(levels: np.ndarray, curve: np.ndarray, threshold: float) -> float:
    slack = 1e-6 * max(abs(threshold), 1e-3)  # scores are kept in float32
    below = np.flatnonzero(~(curve >= threshold - slack))
    if not below.size:
        return np.inf
    i = below[0]
    if i == 0:
        return np.nan
    if not np.isfinite(curve[i]):  # a level that could not be measured
        return float(levels[i - 1])
    share = (curve[i - 1] - threshold) / (curve[i - 1] - curve[i])
    return float(levels[i - 1] + np.clip(share, 0, 1) * (levels[i] - levels[i - 1]))


def fingerprint(*trees: Any) -> str:
    """A short hash of arrays and data frames. Two reports can be paired if they have the same hash."""
    digest = hashlib.blake2b(digest_size=8)
    for tree in trees:
        if hasattr(tree, "to_pandas"):
            tree = tree.to_pandas()
        if hasattr(tree, "to_csv"):
            digest.update(tree.to_csv(index=False).encode())
            continue
        for leaf in jax.tree.leaves(tree):
            value = np.ascontiguousarray(leaf)
            digest.update(f"{value.dtype}{value.shape}".encode())
            if value.dtype == object:
                digest.update(repr(value.tolist()).encode())
            else:
                digest.update(value.reshape(-1).view(np.uint8).data)  # without a copy
    return digest.hexdigest()


def check_share(function: str, name: str, value: Any) -> float:
    """A number between 0 and 1."""
    share = _checks.scalar(function, name, value)
    if not 0 < share < 1 and not (name == "share" and share == 1):
        raise ValueError(f"{function}: {name} must be between 0 and 1, got {share}.")
    return share
