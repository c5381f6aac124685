"""The report: scores of every example, and what can be said from them about means, differences and tolerance."""

import base64
import dataclasses
import hashlib
import json
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np

from noisejax._statistics import crossed_interval


class Interval(NamedTuple):
    """A mean with the bounds of its confidence interval: numbers, or arrays with one entry per level."""

    mean: Any
    lower: Any
    upper: Any

    def scaled(self, factor: float) -> "Interval":
        """In other units: ``interval.scaled(100)`` is an accuracy in percent, a difference in points."""
        return Interval(*(factor * value for value in self))

    def excludes(self, value: float) -> Any:
        """Whether a value lies outside."""
        return (value < self.lower) | (value > self.upper)

    def __format__(self, spec: str) -> str:
        """``f"{interval:.3f}"`` gives ``0.861 ± 0.007``; the longer side counts."""
        spec = spec or ".4f"
        half = max(self.upper - self.mean, self.mean - self.lower)
        return f"{self.mean:{spec}} ± {half:{spec.replace('+', '')}}"


class Passes(NamedTuple):
    """The level up to which a curve stays at or above a threshold, for the mean and for the bounds of its interval.

    NaN where it fails at the first level already, infinity where it does not fail within the range.
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
    """What `sweep` measured, as NumPy arrays: made by it, or read from JSON.

    Intervals speak about new examples and, where several models were measured at once, about new seeds: both are
    taken as random and crossed, every model having seen the same examples. They know nothing of another training set.
    """

    levels: dict[str, np.ndarray]  # of each family
    scores: dict[str, np.ndarray]  # of each family: (levels, models, examples), averaged over draws
    clean_scores: np.ndarray  # (models, examples)
    metric: str
    draws: int
    pairing: str  # two reports can be compared example by example if they agree in it

    def clean(self, confidence: float = 0.95) -> Interval:
        """The score without noise."""
        return self._interval(self.clean_scores, confidence)

    def interval(self, family: str, level: float | None = None, confidence: float = 0.95) -> Interval:
        """The score under a family of noise, at one of its levels or at all.

        The half width towards either side is ``sqrt(a**2 + max(b**2 - c**2, 0))``: a is Student's t interval of the
        mean over S models (S - 1 degrees of freedom), b the interval over examples, and c that part of b which a
        holds already, the variance of single answers (the interaction of the two). Of an accuracy, b is Wilson's
        interval for the number of independent yes-or-no examples whose mean would have the variance seen; else it is
        the normal one. For a single model b alone remains, which then is Wilson's interval itself.
        """
        return self._interval(self._at(family, level), confidence)

    def difference(
        self, other: "Report", family: str | None = None, level: float | None = None, confidence: float = 0.95
    ) -> Interval:
        """This report's score minus another's, paired by model and example: without noise, or under a family.

        Both are to be made with the same key, data, families and number of models. The half width is that of
        `interval`, from Student's and the normal interval of the paired differences.
        """
        if self.pairing != other.pairing or self.clean_scores.shape != other.clean_scores.shape:
            raise ValueError(
                "difference: the reports are not paired: they need the same key, the same data and as many models; "
                f"here models and examples are {self.clean_scores.shape} and {other.clean_scores.shape}."
            )
        if family is None:
            return Interval(*crossed_interval(self.clean_scores - other.clean_scores, confidence))
        for report in (self, other):
            report._known(family)
        if not np.array_equal(self.levels[family], other.levels[family]) or self.draws != other.draws:
            raise ValueError(f"difference: the reports have other levels or draws of {family!r}.")
        return Interval(*crossed_interval(self._at(family, level) - other._at(family, level), confidence))

    def passes(self, threshold: float, confidence: float = 0.95) -> dict[str, Passes]:
        """For each family, up to which level the score is at least a threshold: linear between levels.

        It is where the mean, and the bounds of its interval, first fall below it; a later recovery does not count.
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
        """For each family, up to which level a share of a baseline's clean score is kept (of its own by default).

        The threshold is taken as known: the intervals hold nothing of the baseline's own uncertainty.
        """
        if not 0 < share <= 1:
            raise ValueError(f"tolerance: share must be in (0, 1], got {share!r}. It is a share of the clean score.")
        return self.passes(share * (baseline or self).clean().mean, confidence)

    def worst(self, threshold: float) -> tuple[str, Passes]:
        """The family under which the score falls below a threshold first, for levels that mean comparable things."""
        found = self.passes(threshold)
        name = min(found, key=lambda name: -np.inf if np.isnan(found[name].mean) else found[name].mean)
        return name, found[name]

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Means and intervals as plain numbers, for JSON."""

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
        """The whole report as JSON: a readable summary, and the scores (compressed), which `from_json` reads."""
        data = {
            "levels": {name: levels.tolist() for name, levels in self.levels.items()},
            "scores": {name: _pack(scores) for name, scores in self.scores.items()},
            "clean_scores": _pack(self.clean_scores),
            "pairing": self.pairing,
        }
        return json.dumps({"noisejax": "robustness report, 1", **self.summary(), "data": data})

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that `to_json` wrote."""
        read = json.loads(text)
        if not isinstance(read, dict) or read.get("noisejax") != "robustness report, 1":
            raise ValueError("from_json: the text is no report written by to_json of this version.")
        data = read["data"]
        return cls(
            levels={name: np.asarray(levels, np.float64) for name, levels in data["levels"].items()},
            scores={name: _unpack(scores) for name, scores in data["scores"].items()},
            clean_scores=_unpack(data["clean_scores"]),
            metric=read["metric"],
            draws=read["draws"],
            pairing=data["pairing"],
        )

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
            raise KeyError(f"report: there is no family {family!r}; there are {', '.join(map(repr, self.levels))}.")

    def _at(self, family, level):
        self._known(family)
        if level is None:
            return self.scores[family]
        near = np.flatnonzero(np.isclose(self.levels[family], level, rtol=1e-6, atol=1e-9))
        if not near.size:
            raise ValueError(
                f"report: {family!r} was not measured at {level!r}, but at {self.levels[family].tolist()}."
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
    """A short hash of arrays: what two reports must have in common to be paired."""
    digest = hashlib.blake2b(digest_size=8)
    for leaf in jax.tree.leaves(trees):
        value = np.ascontiguousarray(leaf)
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _pack(scores: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(scores, "<f4")
    return {"shape": list(data.shape), "float32": base64.b85encode(zlib.compress(data.tobytes(), 9)).decode()}


def _unpack(packed: dict[str, Any]) -> np.ndarray:
    data = zlib.decompress(base64.b85decode(packed["float32"]))
    return np.frombuffer(data, "<f4").reshape(packed["shape"]).astype(np.float32)
