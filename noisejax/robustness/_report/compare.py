"""Comparing models with a baseline: tolerated noise and differences in score, one row for each model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from noisejax import _checks
from noisejax._statistics import holm
from noisejax.robustness._report.records import Passes, check_share
from noisejax.robustness._report.report import Report
from noisejax.robustness._report.samples import Interval


class Comparison(NamedTuple):
    """One model compared with a baseline, as returned by `compare`."""

    clean: Interval  # the score without noise
    passes: dict[str, Passes]  # for each family, the level up to which the score stays at or above the threshold
    difference: Interval  # the clean score minus the baseline's, paired
    differences: dict[str, Interval]  # the same under each family
    level: float  # the level of these differences
    p: dict[str, float]  # p-values, '' without noise, corrected by Holm's method over all models and families

    def notes(self, percent: bool = False) -> str:
        """The differences that are significant at 5 %, in hundredths: ``clean -0.8 ± 0.5; at 0.3: missing +1.5 ± 0.6``.

        p-values are corrected for the number of comparisons; the intervals that are shown are not.
        """
        level = f"{100 * self.level:g} %" if percent else f"{self.level:g}"
        shown = [f"clean {self.difference.scaled(100):+.1f}"] if self.p[""] < 0.05 else []
        under = [f"{name} {d.scaled(100):+.1f}" for name, d in self.differences.items() if self.p[name] < 0.05]
        return "; ".join(shown + ([f"at {level}: {', '.join(under)}"] if under else []))

    def numbers(self) -> dict[str, Any]:
        """The row as plain numbers and strings, for JSON."""
        return {
            "clean": self.clean._asdict(),
            "passes": {name: str(passes) for name, passes in self.passes.items()},
            "clean difference": self.difference._asdict(),
            f"differences at {self.level:g}": {name: d._asdict() for name, d in self.differences.items()},
            "p, corrected": self.p,
        }


def compare(
    reports: Mapping[str, Report],
    baseline: str,
    *,
    level: float,
    share: float = 0.95,
    confidence: float = 0.95,
    metric: str | None = None,
) -> dict[str, Comparison]:
    """Compares several models, measured with the same key and data, with one of them.

    Args:
      reports: a mapping from model names to reports.
      baseline: the name of the model that the others are compared with.
      level: the level at which differences are computed; every family must have been measured there.
      share: the share of the baseline's clean score that a model must keep to pass.
      confidence: the confidence level of all intervals.
      metric: the name of a metric; None for the first.

    Returns:
      A `Comparison` for each model, the baseline included.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((1000, 2)), 1.0)
      >>> families = [robustness.Family("gaussian", lambda std: nj.bind(nj.gaussian, std=std), [0.0, 0.1, 0.4])]
      >>> models = {"right": lambda x: x[:, 0] > 0, "biased": lambda x: x[:, 0] > 0.2}
      >>> reports = {
      ...     name: robustness.sweep(jax.random.key(1), predict, (x, x[:, 0] > 0), families)
      ...     for name, predict in models.items()
      ... }
      >>> rows = robustness.compare(reports, "right", level=0.4)
      >>> print(f"{rows['right'].clean:.2f}", rows["biased"].difference.excludes(0))
      1.00 ± 0.00 True
    """
    reports = check_reports("compare", reports)
    level = _checks.scalar("compare", "level", level)
    share, confidence = check_share("compare", "share", share), check_share("compare", "confidence", confidence)
    for name, report in reports.items():
        for family in report._ordered():
            levels = report.levels[family]
            if not np.any(np.isclose(levels, level)):
                raise ValueError(
                    f"compare: level must be one at which every family was measured, got {level:g}; {family!r} of "
                    f"{name!r} has {levels.tolist()}."
                )
    if not isinstance(baseline, str) or baseline not in reports:
        raise KeyError(f"compare: the baseline {baseline!r} is not among the reports: {', '.join(map(repr, reports))}.")
    base = reports[baseline]
    others = [name for name in reports if name != baseline]
    places = [(name, family) for name in others for family in (None, *reports[name]._ordered())]
    p = [reports[name].p_value(base, f, None if f is None else level, metric) for name, f in places]
    corrected = {place: float(q) for place, q in zip(places, holm(p), strict=True)}
    return {
        name: Comparison(
            report.clean(confidence, metric),
            report.tolerance(share, base, confidence, metric),
            report.difference(base, confidence=confidence, metric=metric),
            {family: report.difference(base, family, level, confidence, metric) for family in report._ordered()},
            level,
            {family or "": corrected.get((name, family), 1.0) for family in (None, *report._ordered())},
        )
        for name, report in reports.items()
    }


def check_reports(function: str, reports: Any) -> dict[str, Report]:
    """Reports by the names of models."""
    if not isinstance(reports, Mapping) or not all(isinstance(report, Report) for report in reports.values()):
        raise TypeError(
            f"{function}: reports must be a mapping from model names to reports of sweep, got {_checks.shown(reports)}."
        )
    if not reports:
        raise ValueError(f"{function}: reports must hold at least one report, got none.")
    return dict(reports)
