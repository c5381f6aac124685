"""The intervals of scores, and the coverage that they promise."""

import numpy as np
import pytest
from scipy import stats

from robustness.sweeps import RNG, X, Y, gaussian, report, sweep


@pytest.mark.parametrize("right", [0, 1, 30, 99, 100])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_single_model_has_wilsons_interval(right, confidence):
    found = report((np.arange(100) < right)[None, None]).interval("f", 0.0, confidence)
    expected = stats.binomtest(right, 100).proportion_ci(confidence, "wilson")
    np.testing.assert_allclose([found.lower, found.upper], expected, atol=1e-9)


def by_hand(scores):
    """Half the interval of the mean of (models, examples), from a two-way analysis of variance without replication."""
    models, examples = scores.shape
    error = sum(
        (scores[i, j] - scores[i].mean() - scores[:, j].mean() + scores.mean()) ** 2
        for i in range(models)
        for j in range(examples)
    ) / ((models - 1) * (examples - 1))
    t = stats.t.ppf(0.975, examples - 1)
    a = stats.t.ppf(0.975, models - 1) * stats.sem(scores.mean(1))
    b, c = t * stats.sem(scores.mean(0)), t * np.sqrt(error / scores.size)
    return np.sqrt(a**2 + max(b**2 - c**2, 0))


def test_other_scores_have_the_interval_of_a_two_way_analysis():
    scores = RNG.standard_normal((2, 5, 40))
    found = report(scores, metric="error").interval("f")
    half = [by_hand(of) for of in scores]
    np.testing.assert_allclose(found.upper - found.mean, half, rtol=1e-4)
    np.testing.assert_allclose(found.mean - found.lower, half, rtol=1e-4)


def test_accuracy_of_many_rows_is_close_to_the_normal_interval():
    """Far from 0 and 1 Wilson's interval with the effective number of examples is the normal one."""
    right = RNG.random((1, 5, 5000)) < 0.8
    found, other = report(right).interval("f"), report(right, metric="error").interval("f")
    np.testing.assert_allclose(found.upper - found.lower, other.upper - other.lower, rtol=0.01)


def test_intervals_stay_in_range_and_know_that_all_right_is_not_certain():
    found = report(np.ones((1, 5, 50))).interval("f", 0.0)
    assert found.mean == found.upper == 1 and 0.9 < found.lower < 0.95
    assert report(np.zeros((1, 5, 50))).interval("f", 0.0).lower == 0


@pytest.mark.parametrize(
    ("seed", "row", "models"), [(0.2, 1, 5), (0, 1, 5), (0, 0.1, 5), (0.2, 0.2, 5), (0.02, 1, 2), (0.02, 0.3, 10)]
)
def test_coverage(seed, row, models):
    """Of 1000 intervals of 95 % at least 930 hold the truth (at exactly 95 % chance misses that once in 400), alone
    and as paired differences, for models and rows that differ much, little and not at all.

    Probit with both effects, so that the mean is known; of the means 995 at most, so that they are not merely wide.
    """
    rng, n, rows = np.random.default_rng(11), 1000, 200
    effects = seed * rng.standard_normal((n, models, 1)) + row * rng.standard_normal((n, 1, rows))
    shifts, spread = (0.8, 1.0), np.sqrt(1 + seed**2 + row**2)
    one, two = (report(rng.standard_normal(effects.shape) < shift + effects, np.arange(n)) for shift in shifts)
    truth = stats.norm.cdf(np.array(shifts) / spread)
    assert 930 <= np.sum(~one.interval("f").excludes(truth[0])) <= 995
    assert 930 <= np.sum(~two.difference(one, "f").excludes(truth[1] - truth[0])) <= 995


def test_coverage_of_a_single_model():
    """1000 Wilson intervals at 0.97 with 100 examples: their true coverage there is 0.968, so 945 to 990 (4 sigma)."""
    rng = np.random.default_rng(12)
    right = rng.random((1000, 1, 100)) < 0.97
    found = report(right, np.arange(1000)).interval("f")
    assert 945 <= np.sum(~found.excludes(0.97)) <= 990


def test_differences_are_paired():
    a, b = RNG.random((2, 1, 5, 200)) < 0.7
    found = report(a).difference(report(b), "f", 0.0)
    scores = a[0].astype(float) - b[0]
    mean, half = scores.mean(), by_hand(scores)
    np.testing.assert_allclose(found, (mean, mean - half, mean + half), rtol=1e-4)
    same = report(a).difference(report(a), "f")
    assert same.lower == same.upper == 0 and not same.excludes(0)
    with pytest.raises(ValueError, match="not paired"):
        report(a).difference(report(a[..., :100]))
    with pytest.raises(ValueError, match="not paired"):
        sweep().difference(sweep(data=(X + 1, Y)))
    with pytest.raises(ValueError, match="different levels"):
        sweep().difference(sweep(families={"gaussian": (gaussian, (0.0, 0.1))}), "gaussian")
