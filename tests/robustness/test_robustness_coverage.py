"""How often 95 % intervals hold the truth, in simulation: at least 93 % of the time, or as the docstring says.

Of 1000 intervals at least 930 are asked for. An interval that covers exactly 95 % of the time misses that once in 400,
and 365 of 400 about once in 1000.
Intervals of accuracies and of seeds are in `test_robustness_intervals.py`, those by the bootstrap in
`test_robustness_metrics.py`.
"""

import numpy as np
import pytest
from scipy import special

from noisejax._statistics import crossed_interval
from noisejax.robustness._metrics import sets
from noisejax.robustness._report.samples import Bounded
from noisejax.robustness._sweep.collect import UNITS, Setup
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


def log_loss(skill):
    """Of a classifier that is right 84, 93 or 98 % of the time for a skill of 1, 1.5 or 2."""
    return lambda errors: np.log1p(np.exp(-2 * skill * (skill + errors)))


def lognormal(sigma):
    return lambda errors: np.exp(sigma * errors)


def laplace(errors):
    """Squared errors of Laplace residuals."""
    below = special.ndtr(-np.abs(errors))
    return np.log(2 * below) ** 2


def student(errors):
    """Squared errors of residuals of Student's t distribution with 5 degrees of freedom."""
    return special.stdtrit(5, special.ndtr(errors)) ** 2


SCORES = {
    "log loss, 84 %": log_loss(1), "log loss, 93 %": log_loss(1.5), "log loss, 98 %": log_loss(2),
    "lognormal, 1": lognormal(1), "lognormal, 1.5": lognormal(1.5), "normal": np.square, "laplace": laplace,
    "student": student,
}  # fmt: skip
LEAST = {("log loss, 98 %", 50): 890}  # one example in 50 is wrong on average, and holds the loss


def shared_units(scores):
    """As a sweep keeps them: of more than 4096 examples some share a unit."""
    n, units = scores.shape[-1], min(scores.shape[-1], UNITS)
    counts = np.bincount(np.arange(n) % units)
    padded = np.pad(scores, ((0, 0), (0, 0), (0, -n % units)))
    return padded.reshape(*scores.shape[:-1], -1, units).sum(-2) / counts, counts


@pytest.mark.parametrize("models", [1, 3, 5])
@pytest.mark.parametrize("n", [50, 200, 1000, 10_000])
@pytest.mark.parametrize("name", SCORES)
def test_coverage_of_means_of_skewed_scores(name, n, models):
    """Models differ if there are several. At 10,000 examples 365 of 400 are asked for."""
    rng, times, at_once = np.random.default_rng(24), 1000 if n < 10_000 else 400, 100 if n < 10_000 else 20
    score, of_model, inside = SCORES[name], 0.1 if models > 1 else 0.0, 0
    truth = score(special.ndtri((np.arange(4_000_000) + 0.5) / 4_000_000)).mean()
    for _ in range(times // at_once):
        parts = [(of_model, (models, 1)), (1.0, (1, n)), (0.3, (models, n))]
        errors = sum(of * rng.standard_normal((at_once, *shape)) for of, shape in parts)
        scores, counts = shared_units(score(errors / np.sqrt(of_model**2 + 1.09)))
        _, low, high = crossed_interval(scores, 0.95, 0, counts)
        inside += np.sum((low <= truth) & (truth <= high))
    assert inside >= LEAST.get((name, n), 930 if n < 10_000 else 365)


@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize("name", [name for name in SCORES if name != "log loss, 98 %"])
def test_coverage_of_paired_differences_of_skewed_scores(name, n, models):
    """The residuals of one model are four fifths of the other's, plus its own."""
    rng, score, of_model = np.random.default_rng(27), SCORES[name], 0.1 if models > 1 else 0.0
    truth = 0.0
    errors = of_model * rng.standard_normal((1000, models, 1)) + rng.standard_normal((1000, 1, n))
    own = 0.6 * rng.standard_normal((1000, models, n))
    first, second = errors / np.sqrt(1 + of_model**2), (0.8 * errors + own) / np.sqrt(1 + 0.64 * of_model**2)
    _, low, high = crossed_interval(score(first) - score(second), 0.95)
    assert np.sum((low <= truth) & (truth <= high)) >= 930


@pytest.mark.parametrize(
    ("p", "n", "share"), [(0.05, 50, 0.86), (0.02, 100, 0.82), (0.01, 100, 0.61), (0.02, 200, 0.94)]
)
def test_a_loss_of_examples_that_are_not_drawn_is_not_covered(p, n, share):
    """The figures of `Report.interval`."""
    rng = np.random.default_rng(28)
    scores = rng.exponential(np.where(rng.random((4000, 1, n)) < p, 3.0, 0.02))
    _, low, high = crossed_interval(scores, 0.95)
    truth = 3 * p + 0.02 * (1 - p)
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("models", [1, 3, 5])
@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize(("more", "less"), [(1, 0), (2, 0), (3, 0), (5, 2), (10, 10), (50, 50), (20, 0)])
def test_coverage_of_differences_of_accuracies(more, less, n, models):
    """The expected numbers of examples on which only one of two models is right, and which one."""
    rng, at = np.random.default_rng(29), np.minimum(np.cumsum([more, less]) / n, 1)

    def draw(shape):
        drawn = rng.random(shape)
        return np.where(drawn < at[0], 1.0, np.where(drawn < at[1], -1.0, 0.0))

    scores = np.where(rng.random((1000, models, n)) < 0.2, draw((1000, models, n)), draw((1000, 1, n)))
    _, low, high = crossed_interval(scores, 0.95, limits=(-1.0, 1.0))
    truth = at[0] - (at[1] - at[0])
    assert np.sum((low <= truth) & (truth <= high)) >= 930


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


@pytest.mark.parametrize("models", [1, 2])
def test_one_example_says_nothing_about_the_others(models):
    scores = np.linspace(0.3, 0.5, models)[:, None]
    mean, low, high = crossed_interval(scores, 0.95)
    assert (low, high) == (-np.inf, np.inf) and mean == pytest.approx(scores.mean())
    assert crossed_interval(scores, 0.95, limits=(0.0, 1.0))[1:] == (0.0, 1.0)
