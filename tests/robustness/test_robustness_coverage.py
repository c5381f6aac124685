"""How often 95 % intervals hold the truth, in simulation: at least 93 % of the time, or as the docstring says.

Of 1000 intervals at least 930 are asked for. An interval that covers exactly 95 % of the time misses that once in 400.
Intervals of accuracies and of seeds are in `test_robustness_intervals.py`, those by the bootstrap in
`test_robustness_metrics.py`.
"""

import numpy as np
import pytest
from scipy import special

from noisejax._statistics import crossed_interval
from noisejax.robustness._metrics import sets
from noisejax.robustness._report.samples import Bounded
from noisejax.robustness._sweep.collect import Setup
from robustness.sweeps import report

pytestmark = pytest.mark.slow
RESAMPLES = 300


def answers(rng, n, spread, heats):
    """Probabilities of several models for two classes, and labels. The probabilities are right at a heat of 1."""
    logit = rng.normal(0, spread, n)
    y = (rng.random(n) < special.expit(logit)).astype(int)
    return [np.stack([special.expit(-heat * logit), special.expit(heat * logit)], 1) for heat in heats], y


def calibration_error(spread, heat):
    """The population's error in the bins, by integration over a grid of quantiles."""
    logit = spread * special.ndtri((np.arange(2_000_000) + 0.5) / 2_000_000)
    sure, right = special.expit(heat * np.abs(logit)), special.expit(np.abs(logit))
    of = np.clip(np.ceil(sure * sets.BINS).astype(int) - 1, 0, sets.BINS - 1)
    return np.abs(np.bincount(of, sure - right, sets.BINS)).sum() / len(logit)


def bounded(setup, weights, outputs, y):
    found = [sets.calibration_bounds(out, y, weights, setup.normals()) for out in outputs]
    return Bounded(*(np.stack(kind) for kind in zip(*found, strict=True)), least=0.0)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
@pytest.mark.parametrize(("spread", "heat"), [(2, 1.0), (5, 1.0), (0.7, 1.0), (2, 1.1), (2, 1.5), (2, 3.0), (2, 0.6)])
def test_coverage_of_a_calibration_error(n, spread, heat):
    """Well calibrated, sharp and blunt, and errors from 0.01 to 0.13.

    At 10,000 examples 279 of 300 are asked for: exactly 95 % would miss that once in 20.
    """
    rng, setup, times = np.random.default_rng(21), Setup((), n, {}, RESAMPLES), 1000 if n < 10_000 else 300
    weights, truth = list(setup.weights()), calibration_error(spread, heat)
    inside = sum(
        not bounded(setup, weights, *answers(rng, n, spread, [heat])).interval(0.95).excludes(truth)
        for _ in range(times)
    )
    assert inside >= 0.93 * times


@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("heats", [(1.0, 1.5), (1.0, 3.0), (1.5, 1.6)])
def test_coverage_of_a_paired_difference_of_calibration_errors(n, heats):
    rng, setup, inside = np.random.default_rng(22), Setup((), n, {}, RESAMPLES), 0
    weights, truths = list(setup.weights()), [calibration_error(2, heat) for heat in heats]
    for _ in range(1000):
        both, y = answers(rng, n, 2, heats)
        one, two = (bounded(setup, weights, [out], y) for out in both)
        inside += not two.combined(1.0, one, -1.0).interval(0.95).excludes(truths[1] - truths[0])
    assert inside >= 930


def test_an_interval_of_a_large_calibration_error_is_not_merely_wide():
    """At 10,000 examples and an error of 0.1 it is at most a tenth longer than the normal interval of known signs."""
    rng, n = np.random.default_rng(23), 10_000
    setup = Setup((), n, {}, RESAMPLES)
    (out,), y = answers(rng, n, 2, [3.0])
    gaps, _ = sets._gaps(out, y)
    signed = (gaps * np.sign(gaps.sum(0))).sum(1)
    found = bounded(setup, list(setup.weights()), [out], y).interval(0.95)
    assert 0.9 < (found.upper - found.lower) / (2 * 1.96 * signed.std() / n**0.5) < 1.2


def log_loss(rng, shape, skill):
    return np.log1p(np.exp(-2 * skill * (skill + rng.standard_normal(shape))))


def squared(rng, shape, df):
    return rng.standard_t(df, shape) ** 2


@pytest.mark.parametrize(
    ("score", "how", "n", "least", "most"),
    [
        (log_loss, 1, 100, 930, 1000), (log_loss, 1, 1000, 930, 1000), (log_loss, 2, 1000, 895, 950),
        (log_loss, 2, 100, 750, 830), (squared, 100, 300, 930, 1000), (squared, 5, 100, 835, 900),
        (squared, 5, 10_000, 920, 1000),
    ],
)  # fmt: skip
def test_coverage_of_means_of_skewed_scores(score, how, n, least, most):
    """Student's interval covers less where few examples hold most of the sum, as the docstring of `interval` says.

    The bounds are four standard deviations from the coverage of 2000 simulations, where that is less than 93 %.
    """
    rng = np.random.default_rng(24)
    truth = 5 / 3 if how == 5 else 100 / 98 if how == 100 else score(rng, 4_000_000, how).mean()
    inside = 0
    for _ in range(10):
        _, low, high = crossed_interval(score(rng, (100, 1, n), how), 0.95)
        inside += np.sum((low <= truth) & (truth <= high))
    assert least <= inside <= most


LEVELS = np.linspace(0, 1, 5)


def curves(rng, models, n, slope):
    """Right answers under growing noise: (levels, models, n), with a mean accuracy of 0.95 - slope * level.

    Models differ as a whole if there are several: of a single one, the interval is of its own accuracy.
    """
    of_model = 0.3 if models > 1 else 0.0
    effects = of_model * rng.standard_normal((1, models, 1)) + 0.7 * rng.standard_normal((1, 1, n))
    drawn = (effects + 0.7 * rng.standard_normal((1, models, n))) / np.sqrt(of_model**2 + 2 * 0.7**2)
    return special.ndtr(drawn) < (0.95 - slope * LEVELS)[:, None, None]


@pytest.mark.parametrize(("models", "n"), [(1, 100), (1, 1000), (3, 200)])
def test_coverage_of_tolerance(models, n):
    """The level at which the accuracy falls below 0.8 is 0.3: the curve is straight."""
    rng, inside = np.random.default_rng(25), 0
    for _ in range(1000):
        found = report(curves(rng, models, n, 0.5), LEVELS).passes(0.8)["f"]
        lower, upper = (-np.inf if np.isnan(v) else v for v in (found.lower, found.upper))
        inside += lower <= 0.3 <= upper
    assert inside >= 930


@pytest.mark.parametrize(("models", "n"), [(1, 100), (1, 1000), (3, 200)])
def test_coverage_of_area_and_corruption_error(models, n):
    rng, inside = np.random.default_rng(26), np.zeros(2, int)
    ratio = sum(0.05 + 0.3 * LEVELS[1:]) / sum(0.05 + 0.5 * LEVELS[1:])
    for _ in range(1000):
        state = rng.bit_generator.state
        good = report(curves(rng, models, n, 0.3), LEVELS)
        rng.bit_generator.state = state
        bad = report(curves(rng, models, n, 0.5), LEVELS)
        inside += [not good.area()["f"].excludes(0.8), not good.corruption_error(bad)["f"].excludes(ratio)]
    assert min(inside) >= 930
