"""The report of a sweep: scores of every example, with intervals for means and differences, and tolerated levels."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from noisejax import _checks
from noisejax._statistics import crossed_interval
from noisejax.robustness import _json


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


class Passes(NamedTuple):
    """The level up to which a curve stays at or above a threshold, for the mean and the bounds of its interval.

    The level is NaN if the curve is below the threshold at the first level, and infinity if it never falls below it.
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


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The results of `sweep` as NumPy arrays. A report is returned by `sweep` or read from JSON.

    Intervals cover the variation between examples and, if several models were measured at once, between seeds. Both
    are treated as random and crossed, since every model has scored the same examples. The intervals do not cover the
    variation between training sets.
    """

    levels: dict[str, np.ndarray]  # by family
    scores: dict[str, np.ndarray]  # by family: (levels, models, examples), averaged over draws
    clean_scores: np.ndarray  # (models, examples)
    metric: str
    draws: int
    pairing: str  # reports with the same value can be compared example by example

    def clean(self, confidence: float = 0.95) -> Interval:
        """The score without noise."""
        return self._interval(self.clean_scores, confidence)

    def interval(self, family: str, level: float | None = None, confidence: float = 0.95) -> Interval:
        """The score under a family of noise, at one of its levels or, by default, at all of them.

        The half width on either side is ``sqrt(a**2 + max(b**2 - c**2, 0))``: a is Student's t interval of the mean
        over S models (S - 1 degrees of freedom), b the interval over examples, and c the part of b that a already
        contains, the variance of single answers (the interaction of the two). For an accuracy, b is Wilson's interval
        for the number of independent yes-or-no examples that would have the observed variance. For other metrics, b is
        the normal interval. For a single model only b remains, which for an accuracy is then Wilson's interval itself.
        """
        return self._interval(self._at(family, level), confidence)

    def difference(
        self, other: "Report", family: str | None = None, level: float | None = None, confidence: float = 0.95
    ) -> Interval:
        """This report's score minus that of another report, paired by model and example.

        Without a family, it is the difference of the scores without noise. Both reports need the same key, data,
        families and number of models. The half width is computed as in `interval`, from Student's and the normal
        interval of the paired differences.
        """
        if self.pairing != other.pairing or self.clean_scores.shape != other.clean_scores.shape:
            raise ValueError(
                "difference: the reports are not paired, got (models, examples) of "
                f"{self.clean_scores.shape} and {other.clean_scores.shape}. Make both with the same key, the same data "
                "and the same number of models."
            )
        if family is None:
            return Interval(*crossed_interval(self.clean_scores - other.clean_scores, confidence))
        for report in (self, other):
            report._known(family)
        if not np.array_equal(self.levels[family], other.levels[family]) or self.draws != other.draws:
            raise ValueError(f"difference: the reports have different levels or numbers of draws for {family!r}.")
        return Interval(*crossed_interval(self._at(family, level) - other._at(family, level), confidence))

    def passes(self, threshold: float, confidence: float = 0.95) -> dict[str, Passes]:
        """For each family, the level up to which the score is at least a threshold, interpolated linearly.

        This is where the mean, and each bound of its interval, first falls below the threshold. A later recovery does
        not count.
        """
        found = {}
        for name, levels in self.levels.items():
            mean, lower, upper = (
                _crossing(levels, curve, threshold) for curve in self.interval(name, confidence=confidence)
            )
            found[name] = Passes(mean, lower, upper, float(levels[0]), float(levels[-1]))
        return found

    def tolerance(
        self, share: float = 0.95, baseline: "Report | None" = None, confidence: float = 0.95
    ) -> dict[str, Passes]:
        """For each family, the level up to which the score is at least a share of the baseline's clean score.

        If that score is negative, it is minus an error, and the error may be at most ``1 / share`` times the
        baseline's. The default baseline is this report. The threshold is treated as known: the intervals do not include
        the uncertainty of the baseline's score.
        """
        if not 0 < share <= 1:
            raise ValueError(f"tolerance: share must be in (0, 1], got {share!r}. It is a share of the clean score.")
        baseline = baseline or self
        if baseline.metric != self.metric:
            raise ValueError(
                f"tolerance: baseline must have the metric of this report, {self.metric!r}, got {baseline.metric!r}. "
                "Measure both with the same metric, or give a threshold: report.passes(threshold)."
            )
        clean = baseline.clean().mean
        return self.passes(share * clean if clean >= 0 else clean / share, confidence)

    def worst(self, threshold: float) -> tuple[str, Passes]:
        """The family whose score falls below a threshold at the lowest level; levels must be comparable."""
        found = self.passes(threshold)
        name = min(found, key=lambda name: -np.inf if np.isnan(found[name].mean) else found[name].mean)
        return name, found[name]

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """The means and intervals as plain numbers, for JSON."""

        def numbers(interval):
            return {k: np.round(v, 6).tolist() for k, v in interval._asdict().items()}

        models, examples = self.clean_scores.shape
        head = {
            "metric": self.metric,
            "models": models,
            "examples": examples,
            "draws": self.draws,
            "confidence": confidence,
        }
        families = {
            name: {"levels": np.round(levels, 6).tolist(), **numbers(self.interval(name, confidence=confidence))}
            for name, levels in self.levels.items()
        }
        return {**head, "clean": numbers(self.clean(confidence)), "families": families}

    def to_json(self) -> str:
        """The whole report as JSON: a readable summary, and the compressed scores, which `from_json` reads."""
        return _json.written(self)

    @classmethod
    def from_json(cls, text: str, *, max_bytes: int = 2**28) -> "Report":
        """Reads a report that `to_json` wrote.

        Nothing is expanded before its structure and its size have been checked, so text from others is safe to read.

        Args:
          text: the JSON.
          max_bytes: the largest size of the text, and of the expanded scores, which take 4 bytes for each family,
            level, model and example.

        Raises:
          ValueError: the text is not a report, is damaged or is too large. The message says where.
        """
        return cls(**_json.read(text, max_bytes))

    def table(self, confidence: float = 0.95) -> str:
        """A table in plain text: one block per family, one line per level."""
        lines = [f"{'clean':>12}  {self.clean(confidence)}"]
        for name, levels in self.levels.items():
            mean, lower, upper = self.interval(name, confidence=confidence)
            lines += ["", f"{name:>12}  {self.metric}  {confidence:.0%} interval"]
            lines += [
                f"{v:12g}  {m:.4f}  {a:.4f} to {b:.4f}" for v, m, a, b in zip(levels, mean, lower, upper, strict=True)
            ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        models, examples = self.clean_scores.shape
        families = ", ".join(f"{name} at {len(levels)} levels" for name, levels in self.levels.items())
        counts = f"{models} models on {examples} examples, {self.draws} draws"
        return f"Report({families or 'no family'}; {self.metric} of {counts})"

    def __str__(self) -> str:
        return self.table()

    def _known(self, family):
        if family not in self.levels:
            raise KeyError(f"report: there is no family {family!r}, only {', '.join(map(repr, self.levels))}.")

    def _at(self, family, level):
        self._known(family)
        if level is None:
            return self.scores[family]
        near = np.flatnonzero(np.isclose(self.levels[family], level, rtol=1e-6, atol=1e-9))
        if not near.size:
            raise ValueError(
                f"report: {family!r} was not measured at {level!r}. Its levels are {self.levels[family].tolist()}."
            )
        return self.scores[family][near[0]]

    def _interval(self, scores, confidence):
        return Interval(*crossed_interval(scores, confidence, self.draws if self.metric == "accuracy" else 0))


def _crossing(levels: np.ndarray, curve: np.ndarray, threshold: float) -> float:
    below = np.flatnonzero(curve < threshold)
    if not below.size:
        return np.inf
    i = below[0]
    if i == 0:
        return np.nan
    share = (curve[i - 1] - threshold) / (curve[i - 1] - curve[i])
    return float(levels[i - 1] + share * (levels[i] - levels[i - 1]))


def fingerprint(*trees: Any) -> str:
    """A short hash of arrays. Two reports can be paired if they have the same hash."""
    digest = hashlib.blake2b(digest_size=8)
    for leaf in jax.tree.leaves(trees):
        value = np.ascontiguousarray(leaf)
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def check_reports(function: str, reports: Any) -> dict[str, "Report"]:
    """Reports by the names of models."""
    if not isinstance(reports, Mapping) or not all(isinstance(report, Report) for report in reports.values()):
        raise TypeError(
            f"{function}: reports must be a mapping from model names to reports of sweep, got {_checks.shown(reports)}."
        )
    if not reports:
        raise ValueError(f"{function}: reports must hold at least one report, got none.")
    return dict(reports)


def check_share(function: str, name: str, value: Any) -> float:
    """A number between 0 and 1."""
    share = _checks.scalar(function, name, value)
    if not 0 < share < 1 and not (name == "share" and share == 1):
        raise ValueError(f"{function}: {name} must be between 0 and 1, got {share}.")
    return share
