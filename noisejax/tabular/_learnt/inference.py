"""Two-sample tests in NumPy, and the intervals that belong to them."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

_NORMAL = NormalDist()


class Change(NamedTuple):
    """A figure in two samples: its values, the change, a 95 % interval of the change, and the p-value of no change."""

    before: float
    after: float
    change: float
    low: float
    high: float
    p: float


def shares(first: int, n_first: int, second: int, n_second: int) -> Change:
    """Two shares: Fisher's exact test, and Newcombe's interval (Statistics in Medicine 17, 1998)."""
    one, two = first / max(n_first, 1), second / max(n_second, 1)
    (l1, h1), (l2, h2) = _wilson(first, n_first), _wilson(second, n_second)
    low = two - one - np.hypot(two - l2, h1 - one)
    high = two - one + np.hypot(h2 - two, one - l1)
    return Change(one, two, two - one, float(low), float(high), fisher(first, n_first, second, n_second))


def _wilson(count: int, n: int) -> tuple[float, float]:
    z = 1.959963984540054
    if n == 0:
        return 0.0, 1.0
    share = count / n
    width = z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return tuple((share + z * z / (2 * n) + side * width) / (1 + z * z / n) for side in (-1, 1))


def fisher(first: int, n_first: int, second: int, n_second: int) -> float:
    """The two-sided p-value of Fisher's exact test: all tables that are at most as probable as this one."""
    total = first + second
    if total in (0, n_first + n_second) or n_first == 0 or n_second == 0:
        return 1.0
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n_first + n_second + 1)))])
    k = np.arange(max(0, total - n_second), min(total, n_first) + 1)
    log = -(logs[k] + logs[n_first - k] + logs[total - k] + logs[n_second - total + k])
    weights = np.exp(log - log.max())
    own = weights[first - k[0]]
    return float(min(weights[weights <= own * (1 + 1e-7)].sum() / weights.sum(), 1.0))


def means(first: np.ndarray, second: np.ndarray) -> Change:
    """Two means, by Welch's test with the normal distribution, for samples of at least a few dozen."""
    one, two = float(first.mean()), float(second.mean())
    error = np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    difference = two - one
    if error == 0:
        return Change(one, two, difference, difference, difference, 1.0 if difference == 0 else 0.0)
    half = 1.959963984540054 * error
    p = 2 * _NORMAL.cdf(-abs(difference) / float(error))
    return Change(one, two, difference, difference - half, difference + half, p)


def spreads(first: np.ndarray, second: np.ndarray) -> Change:
    """Two standard deviations, on the scale of the logarithm, by the variance of the squares: the change is a factor.

    Squares about the mean are used because an error of the mean does not change their sum to first order.
    """
    squares = [(values - values.mean()) ** 2 for values in (first, second)]
    one, two = (float(s.mean()) for s in squares)
    if one <= 0 or two <= 0:
        return Change(one**0.5, two**0.5, float("nan"), float("nan"), float("nan"), 1.0 if one == two else 0.0)
    error = np.sqrt(sum(s.var(ddof=1) / len(s) / s.mean() ** 2 for s in squares)) / 2
    size = float(np.log(two / one)) / 2
    half = 1.959963984540054 * float(error)
    p = 1.0 if size == 0 else 0.0 if error == 0 else 2 * _NORMAL.cdf(-abs(size) / float(error))
    low, middle, high = (float(np.exp(size + side * half)) for side in (-1, 0, 1))
    return Change(one**0.5, two**0.5, middle, low, high, p)


def holm(p: np.ndarray, level: float) -> np.ndarray:
    """The tests that reject at a familywise level (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p, kind="stable")
    passed = p[order] <= level / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), bool)
    rejected[order] = np.cumprod(passed).astype(bool)
    return rejected
