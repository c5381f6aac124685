"""`Metric`: a score of predictions, of each example or of a whole set, and the names of those that are built in."""

import dataclasses
from collections.abc import Callable
from typing import Any

from noisejax import _checks
from noisejax.robustness._metrics import examples, sets


@dataclasses.dataclass(frozen=True)
class Metric:
    """A score of predictions.

    Args:
      name: the name in reports.
      function: a function of (outputs, y). For ``over='example'`` it returns one score per example, of shape (..., B),
        and must not mix examples; with a JAX predictor it is traced. For ``over='set'`` it gets NumPy arrays of one
        model, of shapes (B, ...) and (B,), and returns one number.
      over: ``'example'`` or ``'set'``. A score of a set has intervals by the bootstrap.
      higher_is_better: False for losses.
      best: the value of a perfect model; the mean corruption error needs it. None if there is none.

    Example:
      >>> import numpy as np
      >>> from noisejax import robustness
      >>> worst = robustness.Metric("worst", lambda o, y: np.abs(o - y).max(), over="set", higher_is_better=False)
      >>> worst.over
      'set'
    """

    name: str
    function: Callable[..., Any]
    over: str = "example"
    higher_is_better: bool = True
    best: float | None = None

    def __post_init__(self):
        _checks.string("Metric", "name", self.name)
        if not self.name.strip():
            raise ValueError(f"Metric: name must not be blank, since reports show it, got {self.name!r}.")
        _checks.function("Metric", "function", self.function, "of (outputs, y)")
        _checks.one_of("Metric", "over", self.over, ("example", "set"))
        _checks.flag("Metric", "higher_is_better", self.higher_is_better)
        if self.best is not None:
            object.__setattr__(self, "best", _checks.scalar("Metric", "best", self.best))


KNOWN = {
    metric.name: metric
    for metric in (
        Metric("accuracy", examples.accuracy, best=1.0),
        Metric("log_loss", examples.log_loss, higher_is_better=False, best=0.0),
        Metric("brier", examples.brier, higher_is_better=False, best=0.0),
        Metric("squared_error", examples.squared_error, higher_is_better=False, best=0.0),
        Metric("absolute_error", examples.absolute_error, higher_is_better=False, best=0.0),
        Metric("ndcg", examples.ndcg, best=1.0),
        Metric("auc", sets.auc, "set", best=1.0),
        Metric("f1", sets.f1, "set", best=1.0),
        Metric("balanced_accuracy", sets.balanced_accuracy, "set", best=1.0),
        Metric("calibration_error", sets.calibration_error, "set", higher_is_better=False, best=0.0),
        Metric("r2", sets.r2, "set", best=1.0),
        Metric("rmse", sets.rmse, "set", higher_is_better=False, best=0.0),
        Metric("spearman", sets.spearman, "set", best=1.0),
    )
}
PROBABILITIES = ("log_loss", "brier", "calibration_error")  # of logits, the softmax is taken first
CLASSES = ("accuracy", "log_loss", "brier", "f1", "balanced_accuracy", "calibration_error", "auc")


def chosen(metrics: Any, function: str = "sweep", argument: str = "metrics") -> tuple[Metric, ...]:
    """The metrics of a sweep, by name, as functions or as `Metric`."""
    several = metrics if isinstance(metrics, (list, tuple)) else [metrics]
    found = []
    for metric in several:
        if isinstance(metric, str) and metric in KNOWN:
            found.append(KNOWN[metric])
        elif isinstance(metric, Metric):
            found.append(metric)
        elif callable(metric) and not isinstance(metric, type):
            found.append(Metric(getattr(metric, "__name__", "score"), metric))
        else:
            raise ValueError(
                f"{function}: {argument} must be names, functions of (outputs, y) or robustness.Metric, got "
                f"{_checks.shown(metric)}. The names are {', '.join(KNOWN)}."
            )
    names = [metric.name for metric in found]
    if not found or len(set(names)) < len(names):
        raise ValueError(f"{function}: {argument} must be at least one, with different names, got {names}.")
    return tuple(found)
