"""How robust a model is: scores under growing noise with intervals, comparisons, tolerated levels and pages."""

from noisejax.robustness._advice.advise import Advice as Advice, advise as advise
from noisejax.robustness._families import Family as Family, by_column as by_column
from noisejax.robustness._metrics.metric import Metric as Metric
from noisejax.robustness._models.mlp import Adapted as Adapted, mlp as mlp, mlp_adaptive as mlp_adaptive
from noisejax.robustness._plot import plot as plot, plot_features as plot_features
from noisejax.robustness._report.compare import Comparison as Comparison, compare as compare
from noisejax.robustness._report.records import Passes as Passes, Sensitivity as Sensitivity
from noisejax.robustness._report.report import Report as Report
from noisejax.robustness._report.samples import Interval as Interval
from noisejax.robustness._sweep.sweep import sweep as sweep
from noisejax.robustness._tuning.result import Candidate as Candidate, Tuned as Tuned
from noisejax.robustness._tuning.space import Space as Space
from noisejax.robustness._tuning.tune import tune as tune

__all__ = [
    "Adapted",
    "Advice",
    "Candidate",
    "Comparison",
    "Family",
    "Interval",
    "Metric",
    "Passes",
    "Report",
    "Sensitivity",
    "Space",
    "Tuned",
    "advise",
    "by_column",
    "compare",
    "mlp",
    "mlp_adaptive",
    "plot",
    "plot_features",
    "sweep",
    "tune",
]
