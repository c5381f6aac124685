"""Stable noise against its characteristic function, scipy and its closed forms. Fixed keys, one failure in 10,000."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj

N, ALPHA = 2**18, 1e-4
FREQUENCIES = np.array([0.05, 0.2, 0.5, 1.0, 2.0, 4.0])
PAIRS = [(0.3, 0.6), (0.5, 1.0), (0.8, -0.4), (0.999, 1.0), (1.0, 0.0), (1.0, -0.7), (1.001, 0.5), (1.5, -1.0)]
PAIRS += [(1.7, 0.3), (1.99, 1.0), (2.0, 1.0)]
stable = jax.jit(nj.alpha_stable, static_argnames="parameterization")


def drawn(alpha, beta, form="S0", n=N):
    key, x = jax.random.key(41), jnp.zeros(n)
    amounts = jnp.float32(1), jnp.float32(alpha), jnp.float32(beta)
    return np.asarray(stable(key, x, *amounts, parameterization=form), np.float64)


def characteristic(alpha, beta, form, t):
    """Of scale 1 and location 0, for t > 0."""
    alpha, beta = np.float64(np.float32(alpha)), np.float64(np.float32(beta))
    if alpha == 1:
        exponent = -t * (1 + 2j / np.pi * beta * np.log(t))
    elif form == "S1":
        exponent = -(t**alpha) * (1 - 1j * beta * np.tan(np.pi * alpha / 2))
    else:
        exponent = -(t**alpha) * (1 + 1j * beta * np.tan(np.pi * alpha / 2) * (t ** (1 - alpha) - 1))
    return np.exp(exponent)


@pytest.mark.parametrize(("alpha", "beta"), PAIRS)
def test_characteristic_function(alpha, beta):
    """Means of cos(t s) and sin(t s), of known mean and variance, at six frequencies in both parameterizations."""
    z = []
    for form in ("S0", "S1"):
        if form == "S1" and abs(alpha - 1) < 0.1 and beta:
            continue  # its location, 600 and more, is all that these means would see
        s = drawn(alpha, beta, form)
        one, two = (characteristic(alpha, beta, form, t) for t in (FREQUENCIES, 2 * FREQUENCIES))
        waves = np.exp(1j * FREQUENCIES[:, None] * s).mean(1)
        z += list((waves.real - one.real) / np.sqrt(((1 + two.real) / 2 - one.real**2) / N))
        z += list((waves.imag - one.imag) / np.sqrt(((1 - two.real) / 2 - one.imag**2) / N))
    assert np.abs(z).max() < stats.norm.isf(ALPHA / (2 * len(z)))


@pytest.mark.parametrize(
    ("alpha", "beta", "reference"),
    [
        (2.0, 0.7, stats.norm(scale=np.sqrt(2))),
        (1.0, 0.0, stats.cauchy()),
        (0.5, 1.0, stats.levy()),
    ],
)
def test_closed_forms(alpha, beta, reference):
    s = drawn(alpha, beta, "S1")
    assert stats.kstest(s, reference.cdf).pvalue > ALPHA
    far = reference.isf(50 / N)  # 50 draws are expected beyond it
    assert stats.binomtest(int((s > far).sum()), N, 50 / N).pvalue > ALPHA


@pytest.mark.parametrize(("alpha", "beta", "form"), [(1.5, 0.5, "S1"), (1.2, -0.8, "S0"), (0.7, 0.3, "S1")])
def test_quantiles_of_scipy(alpha, beta, form):
    law = stats.levy_stable
    before, law.parameterization = law.parameterization, form
    try:
        edges = np.array([-3.0, -0.5, 0.0, 1.0, 10.0])
        below = law.cdf(edges, alpha, beta)
    finally:
        law.parameterization = before
    s = drawn(alpha, beta, form)
    for edge, share in zip(edges, below, strict=True):
        # scipy integrates to about 1e-4, so that the allowance is that plus the error of the sample.
        assert abs((s < edge).mean() - share) < 1e-4 + stats.norm.isf(ALPHA / 30) * np.sqrt(share * (1 - share) / N)


@pytest.mark.parametrize("alpha", [1.95, 1.3, 0.6])
def test_tails_reach_as_far_as_float32_words_allow(alpha):
    """The tail is C |s| ** -alpha with C = sin(pi alpha / 2) gamma(alpha) / pi on each side, times 1 + beta."""
    n = 2**22
    s = drawn(alpha, 0.5, "S0", n)
    constant = np.sin(np.pi * alpha / 2) * np.exp(float(jax.scipy.special.gammaln(alpha))) / np.pi
    for sign, weight in ((1, 1.5), (-1, 0.5)):
        far = (constant * weight / (40 / n)) ** (1 / alpha)  # about 40 draws lie beyond it
        assert 12 < (sign * s > far).sum() < 80  # 40 +- 4.5 standard errors, and the next term of the tail


def test_it_is_continuous_at_one_and_a_scale_is_a_factor():
    key, x = jax.random.key(3), jnp.zeros(4096)
    for beta in (0.0, 0.6, -1.0):
        at, near = (stable(key, x, 1.0, a, beta, parameterization="S0") for a in (1.0, 1 - 6e-8))
        np.testing.assert_allclose(at, near, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(stable(key, x, 1.0, 1.0, beta), at)
        np.testing.assert_allclose(stable(key, x, 2.5, 1.0, beta), 2.5 * at, rtol=1e-6)
    np.testing.assert_allclose(
        stable(key, x, 1.0, 1.5, 0.4, parameterization="S0"), stable(key, x, 1.0, 1.5, 0.4) + 0.4, rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_everything_is_finite_and_derivatives_are_those_of_the_draw():
    key, x = jax.random.key(5), jnp.zeros(2**16)
    for alpha in (1e-3, 0.1, 0.5, 1.0, 1.999, 2.0, 5.0, -1.0):  # traced: clamped
        for beta in (0.0, 1.0, -3.0):
            assert bool(jnp.isfinite(stable(key, x, 1.0, jnp.float32(alpha), jnp.float32(beta))).all())
    assert float(stable(key, x, 1.0, 0.5, 1.0).min()) > 0  # the support of the Lévy distribution

    def value(alpha, beta):
        return nj.alpha_stable(key, jnp.zeros(512), 1.0, alpha, beta, parameterization="S0")

    slopes = jax.jit(jax.jacfwd(value, (0, 1)))
    for alpha, beta in ((1.0, 0.5), (1.5, -0.3), (0.7, 0.2)):
        found = slopes(jnp.float32(alpha), jnp.float32(beta))
        step = 2.0**-7
        for slope, moved in zip(found, ((step, 0), (0, step)), strict=True):
            high, low = (value(alpha + sign * moved[0], beta + sign * moved[1]) for sign in (1, -1))
            error = np.abs(slope - (high - low) / (2 * step)) / (1 + np.abs(slope))
            assert np.median(error) < 1e-3 and np.quantile(error, 0.98) < 0.05
