"""The intervals of scores, and the coverage that they promise."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from robustness.sweeps import RNG, X, Y, gaussian, report, sweep


@pytest.mark.parametrize("right", [0, 1, 30, 99, 100])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_single_model_has_wilsons_interval(right, confidence):
    found = report((np.arange(100) < right)[None, None]).interval("f", 0.0, confidence)
    expected = stats.binomtest(right, 100).proportion_ci(confidence, "wilson")
    np.testing.assert_allclose([found.lower, found.upper], expected, atol=1e-9)


def by_hand(scores, limits=()):
    """The interval of the mean of (models, examples), from a two-way analysis of variance without replication.

    Hall's bounds are the roots of his polynomial, which is 0 at the mean of scores that are not skewed.
    """
    models, examples = scores.shape
    error = sum(
        (scores[i, j] - scores[i].mean() - scores[:, j].mean() + scores.mean()) ** 2
        for i in range(models)
        for j in range(examples)
    ) / ((models - 1) * (examples - 1))
    t = stats.t.ppf(0.975, examples - 1)
    a = stats.t.ppf(0.975, models - 1) * stats.sem(scores.mean(1))
    from_mean = scores.mean(0) - scores.mean()
    added = [limit - scores.mean() for limit in limits]
    variance = stats.sem(scores.mean(0)) ** 2 + sum(v**2 for v in added) / examples**2
    skew = 1.3 * sum(from_mean**3) / examples**3 / variance**1.5

    def hall(x, c):
        return x + c * x**2 / 3 + c**2 * x**3 / 27 + c / 6

    ends = [optimize.brentq(lambda x, side=side: hall(x, skew) - side * t, -20, 20) for side in (1, -1)]
    found = []
    for side, end in zip((-1, 1), ends, strict=True):
        b = max(t, side * -end) * variance**0.5
        c = b * np.sqrt(error / scores.size / variance)
        found.append(scores.mean() + side * np.sqrt(a**2 + max(b**2 - c**2, 0)))
    return found


def test_other_scores_have_the_interval_of_a_two_way_analysis():
    scores = np.concatenate([RNG.standard_normal((1, 5, 40)), RNG.standard_normal((1, 5, 40)) ** 2])
    found = report(scores, metric="error").interval("f")
    np.testing.assert_allclose(np.stack([found.lower, found.upper], 1), [by_hand(of) for of in scores], rtol=1e-4)


def test_skewed_scores_reach_further_on_the_side_of_the_long_tail():
    scores = np.exp(1.5 * np.random.default_rng(1).standard_normal((1, 1, 50)))
    found, turned = (report(sign * scores, metric="error").interval("f") for sign in (1, -1))
    student = stats.t.ppf(0.975, 49) * stats.sem(scores[0, 0])
    assert found.mean - found.lower == pytest.approx(student)
    assert 1.5 * student < found.upper - found.mean < 4.2 * student
    np.testing.assert_allclose([turned.lower, turned.upper], [-found.upper, -found.lower])


def test_one_example_that_holds_the_sum_has_the_longest_side():
    scores = (np.arange(100) == 0)[None, None].astype(float)
    found, q = report(scores, metric="error").interval("f"), stats.t.ppf(0.975, 99)
    assert (found.upper - found.mean) == pytest.approx(0.01 * 2 * (q + np.sqrt(q**2 + 0.75)))
    nested = [report(scores, metric="error").interval("f", 0.0, level) for level in np.linspace(0.01, 0.99, 50)]
    assert all(a.lower > b.lower and a.upper < b.upper for a, b in itertools.pairwise(nested))


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


@pytest.mark.parametrize("models", [1, 3])
def test_coverage_of_skewed_scores(models):
    """Squared errors of residuals of Student's t distribution, 5 degrees of freedom, alone and as paired differences.

    Of 1000 intervals 930 at least; Student's own cover 84 % of the time for one model.
    """
    rng, n = np.random.default_rng(13), 1000
    residuals = rng.standard_t(5, (n, 1, 50)) + 0.3 * rng.standard_normal((n, models, 50))
    one, two = (report(scores, np.arange(n), "error") for scores in (residuals**2, (0.8 * residuals) ** 2))
    truth = 5 / 3 + 0.09
    assert 930 <= np.sum(~one.interval("f").excludes(truth)) <= 990
    assert 930 <= np.sum(~one.difference(two, "f").excludes(0.36 * truth)) <= 990


def test_coverage_of_a_difference_that_few_examples_decide():
    """3 of 100 examples, of which the better model alone is right on average. No difference is seen 5 % of the time."""
    rng, n = np.random.default_rng(14), 1000
    worse = rng.random((n, 1, 100)) < 0.9
    better = worse | (rng.random(worse.shape) < 0.3)
    one, two = (report(right, np.arange(n)) for right in (worse, better))
    assert np.sum(~two.difference(one, "f").excludes(0.03)) >= 930


def test_differences_are_paired():
    a, b = RNG.random((2, 1, 5, 200)) < 0.7
    found = report(a).difference(report(b), "f", 0.0)
    scores = a[0].astype(float) - b[0]
    np.testing.assert_allclose(found, (scores.mean(), *by_hand(scores, (-1, 1))), rtol=1e-4)
    errors = report(a, metric="error").difference(report(b, metric="error"), "f", 0.0)
    np.testing.assert_allclose(errors, (scores.mean(), *by_hand(scores)), rtol=1e-4)
    one = report(a)
    same, equal = one.difference(one, "f"), one.difference(report(a), "f")
    assert same.lower == same.upper == 0 and not same.excludes(0)
    half = stats.t.ppf(0.975, 199) * np.sqrt(2) / 200  # two models that were right on the same examples may yet differ
    np.testing.assert_allclose([equal.mean, equal.lower, equal.upper], [[0], [-half], [half]], atol=1e-12)
    with pytest.raises(ValueError, match="not paired"):
        report(a).difference(report(a[..., :100]))
    with pytest.raises(ValueError, match="not paired"):
        sweep().difference(sweep(data=(X + 1, Y)))
    with pytest.raises(ValueError, match="different levels"):
        sweep().difference(sweep(families={"gaussian": (gaussian, (0.0, 0.1))}), "gaussian")
