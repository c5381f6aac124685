"""Model accuracy under increasing noise: a sweep over levels, a report with intervals, and plots of both."""

from noisejax.robustness._compare import Comparison as Comparison, compare as compare
from noisejax.robustness._plot import plot as plot, plot_features as plot_features
from noisejax.robustness._report import Interval as Interval, Passes as Passes, Report as Report
from noisejax.robustness._sweep import on_batch as on_batch, sweep as sweep

__all__ = [
    "Comparison",
    "Interval",
    "Passes",
    "Report",
    "compare",
    "on_batch",
    "plot",
    "plot_features",
    "sweep",
]
