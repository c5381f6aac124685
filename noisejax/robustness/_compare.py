"""Comparing models with a baseline: tolerated noise and differences in score, one row for each model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from noisejax import _checks
from noisejax.robustness._report import Interval, Passes, Report, check_reports, check_share


class Comparison(NamedTuple):
    """One model compared with a baseline, as returned by `compare`."""

    clean: Interval  # the score without noise
    passes: dict[str, Passes]  # for each family, the level up to which the score stays at or above the threshold
    difference: Interval  # the clean score minus the baseline's, paired
    differences: dict[str, Interval]  # the same under each family
    level: float  # the level of these differences

    def notes(self, percent: bool = False) -> str:
        """The differences whose intervals exclude 0, in hundredths: ``clean -0.8 ± 0.5; at 0.3: missing +1.5 ± 0.6``.

        The intervals are not corrected for the number of comparisons.
        """
        level = f"{100 * self.level:g} %" if percent else f"{self.level:g}"
        shown = [f"clean {self.difference.scaled(100):+.1f}"] if self.difference.excludes(0) else []
        under = [f"{name} {d.scaled(100):+.1f}" for name, d in self.differences.items() if d.excludes(0)]
        return "; ".join(shown + ([f"at {level}: {', '.join(under)}"] if under else []))

    def numbers(self) -> dict[str, Any]:
        """The row as plain numbers and strings, for JSON."""
        return {
            "clean": self.clean._asdict(),
            "passes": {name: str(passes) for name, passes in self.passes.items()},
            "clean difference": self.difference._asdict(),
            f"differences at {self.level:g}": {name: d._asdict() for name, d in self.differences.items()},
        }


def compare(
    reports: Mapping[str, Report], baseline: str, *, level: float, share: float = 0.95, confidence: float = 0.95
) -> dict[str, Comparison]:
    """Compares several models, measured with the same key and data, with one of them.

    Args:
      reports: a mapping from model names to reports.
      baseline: the name of the model that the others are compared with.
      level: the level at which differences are computed; every family must have been measured there.
      share: the share of the baseline's clean score that a model must keep to pass.
      confidence: the confidence level of all intervals.

    Returns:
      A `Comparison` for each model, the baseline included.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((1000, 2)), 1.0)
      >>> families = {"gaussian": (lambda std: nj.bind(nj.gaussian, std=std), [0.0, 0.1, 0.4])}
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
        for family, levels in report.levels.items():
            if not np.any(np.isclose(levels, level)):
                raise ValueError(
                    f"compare: level must be one at which every family was measured, got {level:g}; {family!r} of "
                    f"{name!r} has {levels.tolist()}."
                )
    if not isinstance(baseline, str) or baseline not in reports:
        raise KeyError(f"compare: the baseline {baseline!r} is not among the reports: {', '.join(map(repr, reports))}.")
    base = reports[baseline]
    return {
        name: Comparison(
            report.clean(confidence),
            report.tolerance(share, base, confidence),
            report.difference(base, confidence=confidence),
            {family: report.difference(base, family, level, confidence) for family in report.levels},
            level,
        )
        for name, report in reports.items()
    }
