"""Intervals and tests against scipy, in exact arithmetic, and by their coverage."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import scipy.stats

from noisejax._statistics import binomial_tail, clopper_pearson, wilson_interval


def test_clopper_pearson_against_scipy_and_never_above():
    for n in (1, 10, 1000, 100_000):
        k = np.unique(np.linspace(0, n, 40).astype(int))
        for alpha in (0.1, 0.001, 1e-9):
            reference = np.where(k > 0, scipy.stats.beta.ppf(alpha, np.maximum(k, 1), n - k + 1), 0)
            found = clopper_pearson(k, n, alpha)
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, reference, rtol=1e-10)
            assert (found <= reference).all()
            upper = clopper_pearson(k, n, alpha, side="upper")
            reference = np.where(k < n, scipy.stats.beta.ppf(1 - alpha, k + 1, np.maximum(n - k, 1)), 1)
            np.testing.assert_allclose(upper, reference, rtol=1e-7)
            assert (np.diff(found) > 0).all() and (found < upper).all()


def test_clopper_pearson_in_exact_arithmetic():
    """If the probability were the bound, as many successes would have at most probability alpha: in rationals."""
    n = 25
    for alpha in (0.05, 0.001):
        for k, bound in enumerate(clopper_pearson(np.arange(n + 1), n, alpha)):
            p = Fraction(float(bound))
            tail = sum(comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))
            assert tail <= Fraction(alpha) if k else p == 0
            assert k == 0 or tail >= Fraction(alpha) * Fraction(999, 1000)  # and it is no looser than it must be


def test_coverage_of_the_bound():
    """The probability that the bound is above the truth, summed over all outcomes, is at most alpha everywhere."""
    n, alpha = 60, 0.05
    bounds = clopper_pearson(np.arange(n + 1), n, alpha)
    for p in np.linspace(0.01, 0.99, 99):
        assert scipy.stats.binom.pmf(np.arange(n + 1), n, p)[bounds > p].sum() <= alpha


def test_clopper_pearson_refuses_impossible_counts():
    with pytest.raises(ValueError, match=r"successes must lie in \[0, trials\]"):
        clopper_pearson(3, 2, 0.1)
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\)"):
        clopper_pearson(1, 2, 1.0)
    for successes, trials in (
        (np.nan, 10), (3, np.nan), (3, np.inf), (-1, 10), (1.5, 10), (1, 2.5), ([1, np.nan], 10), (None, 3), ("1", 3)
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"clopper_pearson: (successes|trials) must be whole numbers"):
            clopper_pearson(successes, trials, 0.05)
    for alpha in (np.nan, "0.1", None, -0.1):
        with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\)"):
            clopper_pearson(1, 2, alpha)
    np.testing.assert_allclose(clopper_pearson(3.0, 3, 0.5), 0.5 ** (1 / 3))  # whole numbers may be floats


def test_binomial_tail_is_that_of_scipy():
    k = np.arange(31.0)
    for p in (0.03, 0.5, 0.9):
        np.testing.assert_allclose(binomial_tail(k, 30.0, p), scipy.stats.binom.sf(k - 1, 30, p), rtol=1e-10)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_wilsons_interval_is_that_of_scipy(confidence):
    z = scipy.stats.norm.ppf(0.5 + confidence / 2)
    for k in (0, 1, 17, 40):
        expected = scipy.stats.binomtest(k, 40).proportion_ci(confidence, "wilson")
        np.testing.assert_allclose(wilson_interval(k / 40, 40, z), expected, atol=1e-12)
