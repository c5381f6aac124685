"""Draws against scipy. Every p-value below has a fixed key, and fails one time in 10,000 keys if the draw is right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from noisejax._random import sample
from noisejax._random.stream import words

N = 2**18
ALPHA = 1e-4


def draw(function, *, n=N, second=False):
    key = jax.random.key(11)
    arguments = [words(key, f"test.{i}", (n,)) for i in range(1 + second)]
    return np.asarray(jax.jit(function)(*arguments), np.float64)


CONTINUOUS = {
    "uniform": (sample.uniform, stats.uniform()),
    "open_uniform": (sample.open_uniform, stats.uniform()),
    "symmetric_uniform": (sample.symmetric_uniform, stats.uniform(-1, 2)),
    "normal": (sample.normal, stats.norm()),
    "exponential": (sample.exponential, stats.expon()),
    "laplace": (sample.laplace, stats.laplace()),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distributions(name):
    function, reference = CONTINUOUS[name]
    drawn = draw(function)
    assert np.isfinite(drawn).all()
    assert stats.kstest(drawn, reference.cdf).pvalue > ALPHA


@pytest.mark.parametrize("name", CONTINUOUS)
def test_tails(name):
    """How many draws lie beyond the quantiles of 1e-3 and 1e-4 on either side: binomial."""
    function, reference = CONTINUOUS[name]
    drawn = draw(function, n=2**21)
    for q in (1e-3, 1e-4):
        for count in ((drawn < reference.ppf(q)).sum(), (drawn > reference.isf(q)).sum()):
            assert stats.binomtest(int(count), len(drawn), q).pvalue > ALPHA, (q, count)


# Into which dtype: the largest error of the distribution function, of the variance and of the tails' probabilities.
NORMALS = {jnp.float32: (2e-6, 1e-5, 0.003), jnp.bfloat16: (6e-5, 3e-4, 0.01)}


@pytest.mark.slow
@pytest.mark.parametrize("into", NORMALS)
def test_normal_over_evenly_spaced_words_has_the_right_distribution_and_tails(into):
    """Every 257th of all words, an even sample of the draws: what they miss is the transform's, but for 257 / 2**32."""
    w = np.arange(0, 2**32, 257, dtype=np.uint64).astype(np.uint32)
    z = np.sort(np.asarray(jax.jit(lambda w: sample.normal(w, into))(w), np.float64))
    steps = (np.arange(len(z)) + 0.5) / len(z)
    error, variance, tail = NORMALS[into]
    # Sixteen thousand angles of these words are not as even as those of all words are: about 1e-5 of the error.
    assert np.abs(stats.norm.cdf(z) - steps).max() < error + 1.5e-5
    assert abs(z.mean()) < 1e-5 and abs(z.var() - 1) < variance + 1e-5
    for edge in (2, 3, 4, 4.5):
        expected = 2 * stats.norm.sf(edge)
        assert abs((np.abs(z) > edge).mean() / expected - 1) < min(0.05, tail + 4 / np.sqrt(expected * len(z)))


@pytest.mark.parametrize("into", NORMALS)
def test_normal_reaches_beyond_six_and_stays_finite(into):
    """The smallest words make the largest radii; the largest ones, radii near 0, whose squares must not be below."""
    ends = jnp.arange(2**18, dtype=jnp.uint32)
    z = np.asarray(sample.normal(ends, into))
    assert np.isfinite(z).all() and 6.0 < np.abs(z).max() < 6.7 and z[0] == 0
    z = np.asarray(sample.normal(~ends, into))
    assert np.isfinite(z).all() and np.abs(z).max() < 0.05


def test_a_bfloat16_draw_is_that_of_float32_to_its_precision():
    """The same word, by shorter polynomials: apart by less than half of the step that bfloat16 makes at 1.

    In the tails, where its steps are longer, two words in a million are further apart, and none of these by 0.006.
    """
    w = words(jax.random.key(5), "both", (2**18,))
    long, short = sample.normal(w), sample.normal(w, jnp.bfloat16)
    assert long.dtype == short.dtype == jnp.float32
    away = np.abs(np.asarray(long - short, np.float64))
    assert np.mean(away > 0.003) < 2e-5 and away.max() < 0.006


def test_neighbouring_normals_are_uncorrelated_in_value_and_in_square():
    z = draw(sample.normal, n=2**20)
    for lag in (1, 2, 3, 64, 1024):
        for u in (z, z * z - 1, np.abs(z) - np.sqrt(2 / np.pi)):
            r = np.corrcoef(u[:-lag], u[lag:])[0, 1]
            assert abs(r) < 4.5 / np.sqrt(len(u)), lag
    pairs = z[0::2] + z[1::2]
    assert stats.kstest(pairs / np.sqrt(2), "norm").pvalue > ALPHA


@pytest.mark.parametrize("df", [1.0, 2.5, 5.0, 30.0, 1000.0])
def test_student_t(df):
    drawn = draw(lambda w, w2: sample.student_t(w, w2, jnp.float32(df)), second=True)
    assert stats.kstest(drawn, stats.t(df).cdf).pvalue > ALPHA


@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.001, 0.1, 0.5, 0.9999, 1.0, 1.5, -0.5])
def test_bernoulli(rate):
    drawn = draw(lambda w: sample.bernoulli(w, jnp.float32(rate)), n=2**22)
    exact = float(np.clip(np.float32(rate), 0, 1))
    if exact in (0, 1):
        assert (drawn == exact).all()
    else:
        assert stats.binomtest(int(drawn.sum()), len(drawn), exact).pvalue > ALPHA


def test_bernoulli_is_exact_to_the_last_bit():
    """The number of words that hit is rate * 2**32: its edge, word by word, for rates that floats hold exactly."""
    for rate in (2.0**-32, 3 * 2.0**-32, 0.25, 1 - 2.0**-24):
        edge = int(rate * 2**32)
        w = jnp.array([edge - 1, edge], jnp.uint32)
        assert sample.bernoulli(w, jnp.float32(rate)).tolist() == [True, False]
    top = jnp.array([2**32 - 1], jnp.uint32)
    assert sample.bernoulli(top, jnp.float32(1)).tolist() == [True]


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000, 3 * 2**29])
def test_integers(n):
    drawn = draw(lambda w, w2: sample.integers(w, w2, n), second=True).astype(np.int64)
    assert drawn.min() >= 0 and drawn.max() < n
    cells = min(n, 1000)
    # 3 * 2**29 shows a modulo bias at once: the words' 2**32 are 2.67 times as many.
    counts = np.bincount(drawn * cells // n, minlength=cells)
    if cells > 1:
        assert stats.chisquare(counts).pvalue > ALPHA


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 4.0, 50.0])
def test_symmetric_beta(alpha):
    drawn = draw(lambda w, w2: sample.symmetric_beta(w, w2, jnp.float32(alpha)), second=True)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    below_half(drawn, stats.beta(alpha, alpha))


def below_half(drawn, reference):
    """Floats are 6e-8 apart near 1 and much finer near 0: the lower half by KS, its share by the binomial."""
    part = drawn[drawn < 0.5]
    assert stats.kstest(part, lambda t: reference.cdf(t) / reference.cdf(0.5)).pvalue > ALPHA
    assert stats.binomtest(len(part), len(drawn), reference.cdf(0.5)).pvalue > ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.0, 0.01, 0.3, 3.0, 9.99, 10.0, 10.5, 30.0, 300.0, 1e4, 1e6])
def test_poisson(mean):
    drawn = draw(lambda w: sample.poisson(w, jnp.float32(mean)), n=2**20)
    assert (drawn == np.round(drawn)).all() and (drawn >= 0).all()
    if mean == 0:
        assert (drawn == 0).all()
        return
    reference = stats.poisson(np.float64(np.float32(mean)))
    edges = np.unique(reference.ppf(np.linspace(0.002, 0.998, 60)))
    probability = np.diff(np.concatenate([[0], reference.cdf(edges), [1]]))
    counts = np.bincount(np.searchsorted(edges, drawn), minlength=len(edges) + 1)
    keep = probability * len(drawn) > 5
    expected = probability[keep] / probability[keep].sum() * counts[keep].sum()
    assert stats.chisquare(counts[keep], expected).pvalue > ALPHA
    spread = np.sqrt(mean / len(drawn))
    assert abs(drawn.mean() - mean) < 4 * spread
    assert abs(drawn.var() / mean - 1) < 4 * np.sqrt((2 + 1 / mean) / len(drawn))


def test_permutation_is_a_permutation_and_uniform():
    assert sorted(np.asarray(sample.permutation(jax.random.key(1), "p", 101)).tolist()) == list(range(101))
    keys = jax.random.split(jax.random.key(2), 2**15)
    drawn = np.asarray(jax.jit(jax.vmap(lambda k: sample.permutation(k, "p", 4)))(keys))
    index = drawn @ np.array([64, 16, 4, 1])
    _, counts = np.unique(index, return_counts=True)
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > ALPHA


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_draws_are_rounded_float32_draws(dtype):
    """One rounding at the end keeps the tails that draws made in the narrow type lose."""
    w = words(jax.random.key(3), "low", (2**20,))
    z = np.asarray(sample.normal(w, dtype).astype(dtype).astype(jnp.float32))
    assert len(np.unique(z)) >= 3500 and np.abs(z).max() > 4.5
    assert abs(z.mean()) < 4 / np.sqrt(len(z)) and abs(z.std() - 1) < 4e-3


def test_the_largest_words_give_counts_of_the_tail():
    """Cumulative sums end below 1 by a few roundings, which once gave such words the number of terms as their count."""
    mean = np.linspace(0, 10, 5001).astype(np.float32)[:-1]
    for word in (0xFFFFFFFF, 0xFFFFFDFF, 0xFFFFFBFF):
        counts = np.asarray(jax.jit(sample.poisson)(jnp.full(mean.shape, word, jnp.uint32), jnp.asarray(mean)))
        assert np.abs(counts - stats.poisson.ppf(1 - 2.0**-20, mean)).max() <= 1
