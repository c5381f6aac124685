"""Measured scores and what is linear in them. Intervals of means, differences, areas and ratios come from here."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from noisejax._statistics import bca_interval, crossed_interval, left_out_halves


class Interval(NamedTuple):
    """A mean and the bounds of its confidence interval: numbers, or arrays with one entry per level."""

    mean: Any
    lower: Any
    upper: Any

    def scaled(self, factor: float) -> "Interval":
        """In different units: ``interval.scaled(100)`` is an accuracy in percent or a difference in points."""
        return Interval(*(factor * value for value in self))

    def excludes(self, value: float) -> Any:
        """Whether a value lies outside the interval."""
        return (value < self.lower) | (value > self.upper)

    def __format__(self, spec: str) -> str:
        """``f"{interval:.3f}"`` gives ``0.861 ± 0.007``; the longer side is shown."""
        spec = spec or ".4f"
        half = max(self.upper - self.mean, self.mean - self.lower)
        return f"{self.mean:{spec}} ± {half:{spec.replace('+', '')}}"


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """Scores of examples: (..., models, units). A unit is an example, or the mean of several in large sets."""

    KINDS = ("values",)
    values: np.ndarray
    counts: np.ndarray  # the number of examples in each unit
    shares: int = 0  # over how many draws each score is a share of successes; 0 for other numbers
    limits: tuple[Any, Any] | None = None  # the smallest and largest possible score, if it is linear in shares

    @classmethod
    def of(cls, metric: str, draws: int, values: np.ndarray, counts: np.ndarray) -> "Units":
        """Scores of a metric."""
        return cls(values, counts, draws, (0.0, 1.0)) if metric == "accuracy" else cls(values, counts)

    def at(self, level: Any) -> "Units":
        return dataclasses.replace(self, values=self.values[level])

    def mean(self) -> Any:
        total = self.counts.sum()
        if not total:
            return np.full(self.values.shape[:-2], np.nan)
        return (np.where(self.counts > 0, self.values, 0) * self.counts).sum(-1).mean(-1, dtype=float) / total

    def combined(self, own: Any, other: "Units | None" = None, of_other: Any = 0.0) -> "Units":
        """``own * self + of_other * other``, by model and unit."""
        values, limits = own * np.asarray(self.values, np.float64), _scaled(self.limits, own)
        if other is not None:
            values, more = values + of_other * other.values, _scaled(other.limits, of_other)
            limits = None if limits is None or more is None else (limits[0] + more[0], limits[1] + more[1])
        return Units(values, self.counts, 0, limits)

    def raised(self, by: float) -> "Units":
        limits = None if self.limits is None else (self.limits[0] + by, self.limits[1] + by)
        return dataclasses.replace(self, values=self.values + by, limits=limits)

    def over_levels(self, weights: np.ndarray) -> "Units":
        """Weights are not negative."""
        values = np.tensordot(weights, np.asarray(self.values, np.float64), 1)
        return Units(values, self.counts, 0, _scaled(self.limits, weights.sum()))

    def over(self, other: "Units") -> "Units":
        """The ratio of two means: its value and, for the interval, its linearization."""
        below = other.mean()[..., None, None]
        ratio = self.mean()[..., None, None] / below
        return Units(ratio + (self.values - ratio * other.values) / below, self.counts)

    def interval(self, confidence: float) -> Interval:
        return Interval(*crossed_interval(self.values, confidence, self.shares, self.counts, self.limits))


def _scaled(limits: tuple[Any, Any] | None, by: Any) -> tuple[Any, Any] | None:
    if limits is None:
        return None
    ends = by * limits[0], by * limits[1]
    return min(ends), max(ends)


@dataclasses.dataclass(frozen=True, eq=False)
class Resampled:
    """Scores of a whole set: (..., models), in R resamples and without each of J parts of the set."""

    KINDS = ("values", "replicates", "left_out")
    values: np.ndarray
    replicates: np.ndarray
    left_out: np.ndarray
    limits: tuple[float, float] = (-np.inf, np.inf)  # the smallest and largest possible score

    def _all(self, function, *others: "Resampled") -> "Resampled":
        parts = zip(*((o.values[..., None], o.replicates, o.left_out) for o in (self, *others)), strict=True)
        value, *rest = (function(*(np.asarray(p, np.float64) for p in part)) for part in parts)
        return Resampled(value[..., 0], *rest)

    def at(self, level: Any) -> "Resampled":
        return Resampled(self.values[level], self.replicates[level], self.left_out[level], self.limits)

    def mean(self) -> Any:
        return self.values.mean(-1, dtype=float)

    def combined(self, own: Any, other: "Resampled | None" = None, of_other: Any = 0.0) -> "Resampled":
        if other is None:
            return self._all(lambda a: own * a)
        return self._all(lambda a, b: own * a + of_other * b, other)

    def raised(self, by: float) -> "Resampled":
        return self._all(lambda a: a + by)

    def over_levels(self, weights: np.ndarray) -> "Resampled":
        return self._all(lambda a: np.tensordot(weights, a, 1))

    def over(self, other: "Resampled") -> "Resampled":
        def ratio(a, b):
            with np.errstate(divide="ignore", invalid="ignore"):
                return a.mean(-2, keepdims=True) / b.mean(-2, keepdims=True) + 0 * a

        return self._all(ratio, other)

    def interval(self, confidence: float) -> Interval:
        """BCa over examples, and at least `left_out_halves`; over models, Student's t interval is added."""
        value, drawn, left = self.values.mean(-1, dtype=float), self.replicates.mean(-2), self.left_out.mean(-2)
        (lower, upper), (below, above) = bca_interval(value, drawn, left, confidence), left_out_halves(left, confidence)
        bounds = np.minimum(lower, value - below), np.maximum(upper, value + above)
        lower, upper = _with_seeds(self.values, self.replicates, bounds, confidence)
        return Interval(value, np.maximum(lower, self.limits[0]), np.minimum(upper, self.limits[1]))


@dataclasses.dataclass(frozen=True, eq=False)
class Bounded:
    """Scores of a whole set whose estimate is biased by an unknown amount: (..., models).

    In each of R resamples there are bounds of the estimate minus the truth.
    """

    KINDS = ("values", "above", "below")
    values: np.ndarray
    above: np.ndarray
    below: np.ndarray
    least: float = -np.inf  # the smallest possible truth

    def at(self, level: Any) -> "Bounded":
        return Bounded(self.values[level], self.above[level], self.below[level], self.least)

    def mean(self) -> Any:
        return self.values.mean(-1, dtype=float)

    def raised(self, by: float) -> "Bounded":
        return Bounded(self.values + by, self.above, self.below)

    def combined(self, own: Any, other: "Bounded | None" = None, of_other: Any = 0.0) -> "Bounded":
        values, (above, below) = own * np.asarray(self.values, np.float64), self._scaled(own)
        if other is not None:
            values = values + of_other * other.values
            more, less = other._scaled(of_other)
            above, below = above + more, below + less
        return Bounded(values, above, below)

    def _scaled(self, by: Any) -> tuple[np.ndarray, np.ndarray]:
        scaled = by * np.asarray(self.above, np.float64), by * np.asarray(self.below, np.float64)
        return np.maximum(*scaled), np.minimum(*scaled)

    def over_levels(self, weights: np.ndarray) -> "Bounded":
        """Weights are not negative."""
        kinds = (self.values, self.above, self.below)
        values, above, below = (np.tensordot(weights, np.asarray(kind, np.float64), 1) for kind in kinds)
        return Bounded(values, above, below, self.least)

    def over(self, other: "Bounded") -> "Bounded":
        """The ratio of two means, by its linearization."""
        divisor = np.asarray(other.mean())[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.asarray(self.mean())[..., None] / divisor
            more, less = other._scaled(-ratio[..., None])
            rest = Bounded(self.values, self.above + more, self.below + less)
            above, below = rest._scaled(1 / divisor[..., None])
        return Bounded(ratio + 0 * self.values, above, below)

    def interval(self, confidence: float) -> Interval:
        """Quantiles of the bounds; over models, Student's t interval is added as in `Resampled`."""
        value = self.mean()
        ends = [
            value - np.quantile(drawn.mean(-2), 0.5 + side * confidence / 2, axis=-1)
            for side, drawn in ((1, self.above), (-1, self.below))
        ]
        lower, upper = _with_seeds(self.values, self.below, ends, confidence)
        return Interval(value, np.maximum(lower, self.least), upper)


_LIMITS = {
    **dict.fromkeys(("auc", "f1", "balanced_accuracy"), (0.0, 1.0)),
    "r2": (-np.inf, 1.0),
    "rmse": (0.0, np.inf),
    "spearman": (-1.0, 1.0),
}


def kind_of_set(name: str, arrays: Any) -> Any:
    """How the scores of a set are kept."""
    return Bounded if f"{name}/above" in arrays else Resampled


def of_set(name: str, arrays: Any, take: Any) -> Any:
    """The scores of a set from its kinds of arrays, as `take` gives them."""
    kind = kind_of_set(name, arrays)
    made = kind(*(take(of) for of in kind.KINDS))
    if isinstance(made, Bounded):
        return dataclasses.replace(made, least=0.0)
    return dataclasses.replace(made, limits=_LIMITS[name]) if name in _LIMITS else made


def _with_seeds(values: np.ndarray, replicates: np.ndarray, bounds: Any, confidence: float) -> Any:
    """Bounds over examples, with Student's t interval over models added."""
    from scipy import special

    models = values.shape[-1]
    if models == 1:
        return bounds
    value = values.mean(-1, dtype=float)
    z = special.ndtri(0.5 + confidence / 2)
    t = special.stdtrit(models - 1, 0.5 + confidence / 2)
    seeds = t**2 * values.var(-1, ddof=1) / models
    each = _variance(replicates).mean(-1)
    shared = z**2 * np.maximum(each - _variance(replicates.mean(-2)), 0) / (models - 1)
    return [
        value + sign * np.sqrt(seeds + np.maximum((bound - value) ** 2 - shared, 0))
        for sign, bound in zip((-1, 1), bounds, strict=True)
    ]


def _variance(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    n = np.maximum(known.sum(-1), 1)
    filled = np.where(known, values, 0)
    mean = filled.sum(-1) / n
    return np.where(known, (filled - mean[..., None]) ** 2, 0).sum(-1) / np.maximum(n - 1, 1)


def p_value(sample: Any) -> float:
    """The two-sided p-value of no difference: one minus the confidence at which the interval meets 0."""
    low, high = 0.0, 1.0
    mean = float(sample.mean())
    if not np.isfinite(mean):
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if 1e-12 < middle < 1 - 1e-12 and bool(sample.interval(middle).excludes(0)):
            low = middle
        else:
            high = middle
    return float(min(1.0, max(1 - low, 1e-12)))
