"""The report of a sweep: scores with intervals, tolerated levels, areas, corruption errors, sensitive columns."""

import dataclasses
from typing import Any

import numpy as np

from noisejax import _checks
from noisejax._statistics import holm
from noisejax.robustness._report import exports
from noisejax.robustness._report.records import Passes, Sensitivity, check_share, crossing
from noisejax.robustness._report.samples import Interval, Units, of_set, p_value

CLEAN = ""  # the key of the scores without noise


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The results of `sweep`. A report is returned by `sweep` or read from JSON.

    Intervals cover the variation between examples and, if several models were measured at once, between seeds. Both
    are treated as random and crossed, since every model has scored the same examples. The intervals do not cover the
    variation between training sets, nor that between draws of a noise that is the same for all examples.

    A `metric` argument is the name of a metric; None is the first.
    """

    levels: dict[str, np.ndarray]  # by family
    labels: dict[str, tuple[str, ...]]  # names of levels that have no order, by family
    metrics: tuple[tuple[str, str, bool, float | None], ...]  # name, 'example' or 'set', higher is better, best value
    draws: int
    examples: int
    counts: np.ndarray  # the number of examples in each unit
    parts: dict[str, tuple[list[str], np.ndarray]]  # classes and groups: names, and examples by unit
    cells: dict[str, list[dict[str, np.ndarray] | None]]  # by family and level: arrays by metric and kind
    problems: dict[str, dict[int, str]]  # by family: levels that could not be measured, and why
    shown: dict[str, list[Any]]  # by family and level: the first rows of x
    shift: dict[str, list[Any]]  # by family and level: how far columns have moved
    pairing: str  # reports with the same value can be compared example by example

    @property
    def metric(self) -> str:
        """The name of the first metric."""
        return self.metrics[0][0]

    @property
    def models(self) -> int:
        return self.scores(None).shape[1]

    def scores(self, family: str | None, metric: str | None = None) -> np.ndarray:
        """The scores of a family, or without noise for None.

        Of shape (levels, models, units) for metrics of examples, where a unit is an example if there are at most 4096,
        and (levels, models) for metrics of sets. NaN where a level could not be measured.
        """
        return np.asarray(self._sample(family, metric).values)

    def clean(self, confidence: float = 0.95, metric: str | None = None) -> Interval:
        """The score without noise."""
        return self._sample(None, metric).at(0).interval(confidence)

    def interval(
        self, family: str, level: float | None = None, confidence: float = 0.95, metric: str | None = None
    ) -> Interval:
        """The score under a family of noise, at one of its levels or, by default, at all of them.

        For metrics of examples the half width on either side is ``sqrt(a**2 + max(b**2 - c**2, 0))``: a is Student's t
        interval of the mean over S models (S - 1 degrees of freedom), b the interval over examples, and c the part of b
        that a already contains, the variance of single answers (the interaction of the two). For an accuracy, b is
        Wilson's interval for the number of independent yes-or-no examples that would have the observed variance. For
        other metrics and for differences, each side of b is the longer one of Student's t interval and Hall's (1992)
        for skewed scores. For metrics of sets, each side of b is the longer one of the BCa bootstrap interval (Efron
        1987) and the same interval for skewed scores, from the values without each of 50 parts of the set.

        Where few examples hold most of the sum, as for a log loss or a squared error, the side of the long tail is up
        to four times as long as Student's. In simulations with 50 to 10,000 examples and 1 to 5 models, 95 % intervals
        covered at least 93 % of the time for lognormal scores (sigma up to 1.5), for squared errors of normal, Laplace
        and t (5 degrees of freedom) residuals, and for log losses. The exception is a model that is right 98 % of the
        time, with 50 examples: 91 %. No interval can allow for examples that were not drawn. If the loss is in a share
        p of all examples, n of them must hold about 4 of those: 95 % intervals covered 86 % of the time for n = 50 and
        p = 5 %, 82 % for n = 100 and p = 2 %, 61 % for n = 100 and p = 1 %, and 94 % for n = 200 and p = 2 %. The same
        holds for metrics of sets that are nearly perfect: a sample on which the AUC is 1 has the interval [1, 1].

        The interval of a calibration error is of the error that the population has in the same 15 bins. The estimate is
        biased upwards, most where the model is well calibrated: for 1,000 examples of a perfect model it is 0.02 to
        0.03. So the interval reaches further down than up, and the estimate may be far from its middle. It covers at
        least 95 % of the time, and almost always for small sets.
        """
        return self._at(family, level, metric).interval(confidence)

    def difference(
        self,
        other: "Report",
        family: str | None = None,
        level: float | None = None,
        confidence: float = 0.95,
        metric: str | None = None,
    ) -> Interval:
        """This report's score minus that of another report, paired by model and example.

        Without a family, it is the difference of the scores without noise. Both reports need the same key, data,
        levels and number of models. Two models that were right on the same examples may still differ on others, so the
        difference of their accuracies is 0, and its interval is not: of 100 examples it is ± 0.028.
        """
        return self._difference(other, family, level, metric).interval(confidence)

    def p_value(
        self, other: "Report", family: str | None = None, level: float | None = None, metric: str | None = None
    ) -> float:
        """The two-sided p-value of the paired difference: one minus the confidence at which its interval meets 0."""
        return p_value(self._difference(other, family, level, metric))

    def passes(self, threshold: float, confidence: float = 0.95, metric: str | None = None) -> dict[str, Passes]:
        """For each family, the level up to which the score is at least a threshold, interpolated linearly.

        A loss must be at most the threshold. This is where the mean, and each bound of its interval, first fails. A
        later recovery does not count.
        """
        sign = 1.0 if self._metric(metric)[2] else -1.0
        return {
            name: self._passes(name, self._sample(name, metric).interval(confidence), sign, sign * threshold)
            for name in self._ordered()
        }

    def tolerance(
        self,
        share: float = 0.95,
        baseline: "Report | None" = None,
        confidence: float = 0.95,
        metric: str | None = None,
    ) -> dict[str, Passes]:
        """For each family, the level up to which the score is at least a share of the baseline's clean score.

        A loss may be at most ``1 / share`` times the baseline's, and so may minus a score that is negative. The default
        baseline is this report. If the baseline was measured on the same examples with as many models, the interval
        includes the uncertainty of its score; otherwise that score is treated as known.
        """
        share = check_share("tolerance", "share", share)
        baseline = baseline or self
        name, _, higher, _ = self._metric(metric)
        if name not in [m[0] for m in baseline.metrics]:
            raise ValueError(
                f"tolerance: baseline must have the metric {name!r}, got {[m[0] for m in baseline.metrics]}. Measure "
                "both with the same metric, or give a threshold: report.passes(threshold)."
            )
        reference = baseline._sample(None, name).at(0)
        clean = float(reference.mean())
        factor = share if higher == (clean >= 0) else 1 / share
        sign = 1.0 if higher else -1.0
        if not self._paired(baseline):
            return self.passes(factor * clean, confidence, name)
        found = {}
        for family in self._ordered():
            margin = self._sample(family, name).combined(sign, reference, -sign * factor)
            found[family] = self._passes(family, margin.interval(confidence), 1.0, 0.0)
        return found

    def worst(self, threshold: float, metric: str | None = None) -> tuple[str, Passes]:
        """The family that fails a threshold at the lowest level; levels must be comparable."""
        found = self.passes(threshold, metric=metric)
        name = min(found, key=lambda name: -np.inf if np.isnan(found[name].mean) else found[name].mean)
        return name, found[name]

    def area(self, confidence: float = 0.95, metric: str | None = None) -> dict[str, Interval]:
        """For each family, the area under the curve divided by the range of levels: the mean score along it."""
        return {name: self._area(name, metric).interval(confidence) for name in self._ordered()}

    def corruption_error(
        self, baseline: "Report", *, relative: bool = False, confidence: float = 0.95, metric: str | None = None
    ) -> dict[str, Interval]:
        """The corruption error of each family, and their mean, 'mean' (Hendrycks and Dietterich 2019).

        It is the sum of the errors over levels above 0, divided by the baseline's sum. 1 is as bad as the baseline.
        ``relative=True`` takes the increase over the clean error instead of the error.

        Args:
          baseline: a report on the same examples, with the same families, levels and number of models.
          relative: whether to subtract each model's clean error first.
          confidence: the confidence level of the intervals.
          metric: a metric with a best value; an error is the distance to it.

        Raises:
          ValueError: the reports are not paired, or the metric has no best value.
        """
        name, _, higher, best = self._metric(metric)
        if best is None:
            raise ValueError(
                f"corruption_error: metric must have a best value, got {name!r}. Measure with "
                "robustness.Metric(..., best=value of a perfect model)."
            )
        if not isinstance(baseline, Report):
            raise TypeError(f"corruption_error: baseline must be a report, got {_checks.shown(baseline)}.")
        self._check_paired("corruption_error", baseline)
        sign, parts = (-1.0 if higher else 1.0), {}
        for family in self._ordered():
            self._check_levels("corruption_error", baseline, family)
            above = (self.levels[family] > 0).astype(float)
            if not above.any():
                raise ValueError(f"corruption_error: {family!r} must have a level above 0.")
            both = []
            for report in (self, baseline):
                total = report._sample(family, name).over_levels(above)
                clean = report._sample(None, name).at(0)
                if relative:
                    both.append(total.combined(sign, clean, -sign * above.sum()))
                else:
                    one = clean.combined(0.0).raised(1.0)
                    both.append(total.combined(sign, one, -sign * best * above.sum()))
            parts[family] = both[0].over(both[1])
        if not parts:
            raise ValueError("corruption_error: the report must have a family with ordered levels.")
        total = None
        for part in parts.values():
            total = part if total is None else total.combined(1.0, part, 1.0)
        found = {family: part.interval(confidence) for family, part in parts.items()}
        assert total is not None
        return {**found, "mean": total.combined(1 / len(parts)).interval(confidence)}

    def sensitivity(self, confidence: float = 0.95, metric: str | None = None) -> dict[str, list[Sensitivity]]:
        """For each family of `by_column`, the columns with what they cost when they alone are hit, worst first."""
        sign, clean, found = (-1.0 if self._metric(metric)[2] else 1.0), self._sample(None, metric).at(0), {}
        for family, labels in self.labels.items():
            losses = [
                self._sample(family, metric).at(i).combined(sign, clean, -sign) for i in range(len(self.levels[family]))
            ]
            p = holm([p_value(loss) for loss in losses])
            rows = [
                Sensitivity(label, loss.interval(confidence), float(q))
                for label, loss, q in zip(labels, losses, p, strict=True)
            ]
            found[family] = sorted(rows, key=lambda row: -np.nan_to_num(row.loss.mean, nan=np.inf))
        return found

    def by_part(
        self, part: str = "class", family: str | None = None, confidence: float = 0.95, metric: str | None = None
    ) -> dict[str, Interval]:
        """The scores of each class, or of each group of a grouping, at all levels of a family or without noise."""
        name, over, _, _ = self._metric(metric)
        if part not in self.parts or over != "example":
            raise KeyError(
                f"by_part: part must be one of {sorted(self.parts)} and metric one of examples, got {part!r} and "
                f"{name!r}. Pass groups= to sweep."
            )
        names, counts = self.parts[part]
        values = self._stacked(family, f"{name}/part/{part}")
        return {
            label: Units.of(name, self.draws, values[:, :, g], counts[g]).interval(confidence)
            for g, label in enumerate(names)
        }

    def to_json(self) -> str:
        """The whole report as JSON: a readable summary, and the compressed scores, which `from_json` reads."""
        return exports.to_json(self)

    @classmethod
    def from_json(cls, text: str, *, max_bytes: int = 2**28) -> "Report":
        """Reads a report that `to_json` wrote.

        Nothing is expanded before its size has been checked, and nothing is executed, so text from others is safe.

        Args:
          text: the JSON.
          max_bytes: the largest size of the text, and of all expanded scores together.

        Raises:
          ValueError: the text is not a report, is damaged or is too large. The message says where.
        """
        return exports.from_json(cls, text, max_bytes)

    def rows(self, confidence: float = 0.95) -> list[dict[str, Any]]:
        """One row for each family, level and metric: score, interval, change from the clean score."""
        return exports.rows(self, confidence)

    def to_frame(self, confidence: float = 0.95) -> Any:
        """`rows` as a pandas data frame, or a polars one where pandas is not installed."""
        return exports.to_frame(self, confidence)

    def to_csv(self, path: Any = None, confidence: float = 0.95) -> str:
        """`rows` as CSV, written to a path if one is given."""
        return exports.to_csv(self, path, confidence)

    def to_html(self, path: Any = None, *, title: str = "Robustness", confidence: float = 0.95) -> str:
        """One page that needs nothing else: curves, tables, and examples before and after noise.

        Args:
          path: the file to write; None only returns the page.
          title: the heading.
          confidence: the confidence level of all intervals.
        """
        from noisejax.robustness._report import page

        return page.to_html(self, path, title, confidence)

    def plot(self, **options: Any) -> Any:
        """The figure of `robustness.plot`, with its options."""
        from noisejax.robustness._plot import plot

        return plot(self, **options)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """The means and intervals of the first metric as plain numbers, for JSON."""
        return exports.summary(self, confidence)

    def table(self, confidence: float = 0.95) -> str:
        """A table in plain text: one block for each family, one line for each level."""
        return exports.text(self, confidence)

    def print(self, confidence: float = 0.95) -> None:
        """Prints the tables in colour (needs rich)."""
        exports.show(self, confidence)

    def __repr__(self) -> str:
        families = ", ".join(f"{name} at {len(levels)} levels" for name, levels in self.levels.items())
        counts = f"{self.models} models on {self.examples} examples, {self.draws} draws"
        return f"Report({families or 'no family'}; {self.metric} of {counts})"

    def __str__(self) -> str:
        return self.table()

    def _metric(self, metric: str | None) -> tuple[str, str, bool, float | None]:
        for known in self.metrics:
            if metric is None or known[0] == metric:
                return known
        raise KeyError(f"report: there is no metric {metric!r}, only {', '.join(repr(m[0]) for m in self.metrics)}.")

    def _stacked(self, family: str | None, kind: str) -> np.ndarray:
        if family is not None and family not in self.levels:
            raise KeyError(f"report: there is no family {family!r}, only {', '.join(map(repr, self.levels))}.")
        clean = self.cells[CLEAN][0]
        assert clean is not None
        missing = np.full_like(clean[kind], np.nan)
        return np.stack([missing if cell is None else cell[kind] for cell in self.cells[family or CLEAN]])

    def _sample(self, family: str | None, metric: str | None) -> Any:
        name, over, _, _ = self._metric(metric)
        values = self._stacked(family, f"{name}/values")
        if over == "set":
            clean = self.cells[CLEAN][0]
            assert clean is not None
            return of_set(name, clean, lambda kind: self._stacked(family, f"{name}/{kind}"))
        return Units.of(name, self.draws, values, self.counts)

    def _at(self, family: str | None, level: float | None, metric: str | None) -> Any:
        sample = self._sample(family, metric)
        if family is None:
            return sample.at(0)
        if level is None:
            return sample
        near = np.flatnonzero(np.isclose(self.levels[family], level, rtol=1e-6, atol=1e-9))
        if not near.size:
            raise ValueError(
                f"report: {family!r} was not measured at {level!r}. Its levels are {self.levels[family].tolist()}."
            )
        return sample.at(near[0])

    def _difference(self, other: "Report", family: str | None, level: float | None, metric: str | None) -> Any:
        self._check_paired("difference", other)
        if family is not None:
            self._check_levels("difference", other, family)
        own = self._at(family, level, metric)
        return own.combined(0.0) if other is self else own.combined(1.0, other._at(family, level, metric), -1.0)

    def _paired(self, other: "Report") -> bool:
        return (self.pairing, self.models, self.examples) == (other.pairing, other.models, other.examples)

    def _check_paired(self, function: str, other: "Report") -> None:
        if not self._paired(other):
            raise ValueError(
                f"{function}: the reports are not paired, got (models, examples) of {(self.models, self.examples)} and "
                f"{(other.models, other.examples)}. Make both with the same key, the same data and the same number of "
                "models."
            )

    def _check_levels(self, function: str, other: "Report", family: str) -> None:
        for report in (self, other):
            report._stacked(family, f"{report.metric}/values")
        if not np.array_equal(self.levels[family], other.levels[family]) or self.draws != other.draws:
            raise ValueError(f"{function}: the reports have different levels or numbers of draws for {family!r}.")

    def _ordered(self) -> list[str]:
        """Families whose levels are amounts."""
        return [name for name in self.levels if name not in self.labels]

    def _area(self, family: str, metric: str | None) -> Any:
        levels = self.levels[family]
        weights = np.ones(1)
        if len(levels) > 1:
            steps = np.diff(levels) / (levels[-1] - levels[0])
            weights = (np.append(steps, 0) + np.append(0, steps)) / 2
        return self._sample(family, metric).over_levels(weights)

    def _passes(self, family: str, curve: Interval, sign: float, threshold: float) -> Passes:
        levels = self.levels[family]
        bounds = (curve.mean, *((curve.lower, curve.upper) if sign > 0 else (curve.upper, curve.lower)))
        mean, lower, upper = (crossing(levels, sign * np.asarray(bound), threshold) for bound in bounds)
        return Passes(mean, lower, upper, float(levels[0]), float(levels[-1]))
