"""Where faults hit: realized rates, what the probability depends on, and exact counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

import noisejax as nj
from tabular.tables import COLUMNS, KINDS, TABLE

RATES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 1.0)
SHAPES = ("right", "left", "mid", "tail", "upper", "lower")
X = np.where(np.isnan(TABLE), np.float32(10), TABLE)  # complete, for faults of all cells
WHOLE = nj.tabular.fit(X)
MECHANISMS = {
    "completely at random": None,
    **{f"at random, {shape}": nj.tabular.at_random(WHOLE, 1, 1.5, shape=shape) for shape in SHAPES},
    "at random, few": nj.tabular.at_random(WHOLE, 4, 2.0),
    "at random, binary, upper": nj.tabular.at_random(WHOLE, 2, shape="upper"),
    **{f"not at random, {shape}": nj.tabular.not_at_random(WHOLE, 1.5, shape=shape) for shape in SHAPES},
    "block of itself": nj.tabular.block(WHOLE),
    "block of zeros": nj.tabular.block(WHOLE, 5),
    "copula": nj.tabular.copula(0.5),
    "copula, at random": nj.tabular.copula(0.3, nj.tabular.at_random(WHOLE, 0)),
}
KEYS = jax.random.split(jax.random.key(11), 50)


@functools.partial(jax.jit, static_argnames="exact")
def counts(rates, mechanism, exact=False):
    """Hits of each column, for every rate and key."""

    def one(rate, key):
        fault = nj.bind(nj.tabular.missing, rate=rate, mechanism=mechanism, exact=exact)
        return jnp.isnan(fault(key, jnp.asarray(X))).sum(0)

    return jax.lax.map(lambda rate: jax.lax.map(lambda key: one(rate, key), KEYS), rates)


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_the_realised_rate_is_the_rate_asked(name):
    """Seven rates, 50 keys. The total of a column deviates by at most 4.5 standard errors: 1 error in 150,000 draws."""
    found = np.asarray(counts(jnp.array(RATES), MECHANISMS[name])) / len(X)  # (rates, keys, columns)
    rates = np.array(RATES)[:, None]
    mean, spread = found.mean(1), found.std(1, ddof=1)
    # The spread of a block is that of its window; of the rest, at most the binomial one. One per mille is allowed for
    # the interpolation between knots.
    error = np.maximum(spread, np.sqrt(rates * (1 - rates) / len(X))) / np.sqrt(len(KEYS))
    np.testing.assert_array_less(np.abs(mean - rates), 4.5 * error + 1e-3 * rates + 1e-9)
    assert (mean[0] == 0).all() and (mean[-1] == 1).all()


@pytest.mark.parametrize(
    "name",
    [
        "completely at random",
        "block of itself",
        *(pytest.param(n, marks=pytest.mark.slow) for n in MECHANISMS if "right" in n or "zeros" in n or "copula" in n),
    ],
)
def test_exact_counts_are_the_integer(name):
    found = np.asarray(counts(jnp.array(RATES), MECHANISMS[name], exact=True))
    wanted = np.round(np.array(RATES) * len(X))[:, None, None]
    np.testing.assert_array_equal(found, np.broadcast_to(wanted, found.shape))


@pytest.mark.parametrize("n", [1, 2, 5, 15, 25, 97])
def test_exact_rounds_half_to_even_and_counts_what_is_observed(n, key):
    x = np.ones((n + 4, 1), np.float32)
    x[:4] = np.nan
    for rate in (0.1, 0.3, 0.5, 0.7):
        y = nj.tabular.missing(key, x, rate, exact=True)
        assert int(jnp.isnan(y).sum()) - 4 == round(rate * n)


def test_exact_counts_of_a_million_rows(key):
    x = jnp.ones((1_000_003, 1))
    for rate in (0.123, 0.5, 0.999):
        assert int(jnp.isnan(nj.tabular.missing(key, x, rate, exact=True)).sum()) == round(rate * 1_000_003)


def test_exact_draws_are_uniform_over_the_rows():
    """Each of 8 rows is one of the 4 hit in half of 4,000 draws; chi-squared with one error in 10,000."""
    keys = jax.random.split(jax.random.key(0), 4000)
    hit = jax.vmap(lambda key: jnp.isnan(nj.tabular.missing(key, jnp.ones((8, 1)), 0.5, exact=True))[:, 0])(keys)
    assert (hit.sum(1) == 4).all()
    per_row = np.asarray(hit.sum(0))
    variance = 4000 * 0.25 * 8 / 7  # of draws without replacement, whose total is fixed
    assert ((per_row - 2000) ** 2 / variance).sum() * 7 / 8 < stats.chi2.ppf(0.9999, 7)


@pytest.mark.slow
def test_equal_words_are_taken_in_the_order_of_the_rows():
    from noisejax.tabular._hit import smallest

    words = jnp.array([[7], [3], [7], [7], [2**32 - 1], [2**32 - 1]], jnp.uint32)
    for count, wanted in enumerate([[], [1], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]):
        chosen = smallest(words, jnp.ones((6, 1), bool), jnp.float32(count / 6))
        assert jnp.flatnonzero(chosen[:, 0]).tolist() == wanted


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES[:4])
@pytest.mark.parametrize("column", [0, 1, 4, 5], ids=[KINDS[c] for c in (0, 1, 4, 5)])
def test_probabilities_follow_the_logistic_curve(shape, column, key):
    """The shift is that which SciPy finds for the table itself."""
    mechanism = nj.tabular.at_random(WHOLE, column, 1.7, shape=shape)
    p = np.asarray(mechanism.probability(key, jnp.asarray(X), 0.3))[:, 0]
    z = (X[:, column].astype(np.float64) - X[:, column].mean(dtype=np.float64)) / X[:, column].std(dtype=np.float64)
    curve = {"right": z, "left": -z, "mid": 0.75 - np.abs(z), "tail": np.abs(z) - 0.75}[shape]
    shift = optimize.brentq(lambda b: special.expit(1.7 * curve + b).mean() - 0.3, -50, 50)
    np.testing.assert_allclose(p, special.expit(1.7 * curve + shift), atol=2e-3)


@pytest.mark.slow
def test_the_shift_has_the_derivatives_of_the_implicit_function(key):
    def mean(rate, slope):
        mechanism = nj.tabular.at_random(WHOLE, 0, 1.0)
        mechanism = mechanism.__class__(**{**vars(mechanism), "slope": slope})
        return mechanism.probability(key, jnp.asarray(X), rate).mean()

    by_rate, by_slope = jax.grad(mean, (0, 1))(jnp.float32(0.3), jnp.float32(1.0))
    assert abs(by_rate - 1) < 0.01 and abs(by_slope) < 0.01  # the mean is the rate, whatever the slope


def score_test(hit, z):
    """The p-value of a slope in a logistic regression of hits on z, at 0: Rao's score test."""
    centred = z - z.mean()
    rate = hit.mean()
    statistic = (centred * hit).sum() / np.sqrt(rate * (1 - rate) * (centred**2).sum())
    return 2 * stats.norm.sf(abs(statistic))


@pytest.mark.slow
def test_score_tests_tell_the_mechanisms_apart():
    """Hits depend on what they are said to depend on, and on nothing else: p-values over 60 keys."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 3)).astype(np.float32)
    columns = nj.tabular.fit(x)
    mechanisms = {
        "mcar": None,
        "mar": nj.tabular.at_random(columns, 0, 1.0),
        "mnar": nj.tabular.not_at_random(columns, 1.0),
    }
    keys = jax.random.split(jax.random.key(3), 60)
    found = {}
    for name, mechanism in mechanisms.items():
        fault = nj.on_columns(nj.bind(nj.tabular.missing, rate=0.3, mechanism=mechanism), (1,))
        lost = np.isnan(np.asarray(jax.vmap(lambda key, fault=fault: fault(key, jnp.asarray(x)))(keys)))[:, :, 1]
        found[name] = np.array([[score_test(hit, x[:, c].astype(np.float64)) for c in range(3)] for hit in lost])
    # Uniform p-values where nothing depends: the Kolmogorov-Smirnov test errs in one of 10,000.
    for name, column in (("mcar", 0), ("mcar", 1), ("mcar", 2), ("mar", 1), ("mar", 2), ("mnar", 0), ("mnar", 2)):
        assert stats.kstest(found[name][:, column], "uniform").pvalue > 1e-4, (name, column)
    assert (found["mar"][:, 0] < 1e-3).all() and (found["mnar"][:, 1] < 1e-3).all()


def little(x):
    """Little's test of missing completely at random, for two columns of which the second has holes."""
    hole = np.isnan(x[:, 1])
    whole, part = x[~hole], x[hole, 0]
    # Maximum likelihood of the mean and variance of the first column uses all rows.
    mean, variance = x[:, 0].mean(), x[:, 0].var()
    statistic = 0.0
    for group in (whole[:, 0], part):
        statistic += len(group) * (group.mean() - mean) ** 2 / variance
    return stats.chi2.sf(statistic, 1)


def test_littles_test():
    """It accepts what is completely at random, and rejects what is at random."""
    x = np.random.default_rng(2).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=800).astype(np.float32)
    columns = nj.tabular.fit(x)
    keys = jax.random.split(jax.random.key(4), 100)
    found = []
    for mechanism in (None, nj.tabular.at_random(columns, 0, 1.0)):
        fault = nj.on_columns(nj.bind(nj.tabular.missing, rate=0.3, mechanism=mechanism), (1,))
        tables = np.asarray(jax.vmap(lambda key, fault=fault: fault(key, jnp.asarray(x)))(keys), np.float64)
        found.append(np.array([little(table) for table in tables]))
    assert stats.kstest(found[0], "uniform").pvalue > 1e-4
    assert (found[1] < 1e-3).mean() > 0.95


@pytest.mark.slow
def test_a_block_is_a_window_of_the_quantiles(key):
    x = np.random.default_rng(0).permutation(1000).astype(np.float32)[:, None]
    mechanism = nj.tabular.block(nj.tabular.fit(x, quantiles=1001))
    starts = []
    for k in jax.random.split(key, 200):
        hit = np.sort(x[np.isnan(np.asarray(nj.tabular.missing(k, x, 0.2, mechanism))[:, 0]), 0])
        assert np.all(np.diff(hit) == 1) and abs(len(hit) - 200) <= 1
        starts.append(hit[0] / 800)
    assert stats.kstest(starts, "uniform").pvalue > 1e-4


def test_a_block_of_a_binary_column_hits_the_share_of_the_tie(key):
    """Without the rule for ties, a window inside one value would hit all of it, half the table."""
    x = np.repeat(np.float32([0, 1]), 500)[:, None]
    mechanism = nj.tabular.block(nj.tabular.fit(x))
    for k in jax.random.split(key, 20):
        assert 150 < int(jnp.isnan(nj.tabular.missing(k, x, 0.2, mechanism)).sum()) < 250


def test_the_window_is_that_of_the_conditioning_column(key):
    x = np.stack([np.random.default_rng(0).permutation(500), np.arange(500)], 1).astype(np.float32)
    fault = nj.on_columns(
        nj.bind(nj.tabular.missing, rate=0.3, mechanism=nj.tabular.block(nj.tabular.fit(x), on=0)), (1,)
    )
    y = np.asarray(fault(key, x))
    hit = np.sort(x[np.isnan(y[:, 1]), 0])
    assert not np.isnan(y[:, 0]).any() and np.all(np.diff(hit) <= 2) and 140 < len(hit) < 160


@pytest.mark.slow
def test_a_missing_condition_gives_the_mean_probability(key):
    x = np.array([[np.nan, 1.0]], np.float32)
    for mechanism in (nj.tabular.at_random(COLUMNS, 0, 3.0), nj.tabular.block(COLUMNS, 0)):
        wide = np.full((1, 7), np.nan, np.float32)
        p = np.broadcast_to(mechanism.probability(key, jnp.asarray(wide), 0.3), (1, 7))
        np.testing.assert_allclose(p, 0.3)
    assert x.shape == (1, 2)


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 5.0), (0.3, 2.0), (0.05, 20.0), (0.5, 10.0)])
def test_bursts_have_the_rate_and_the_length_asked(rate, burst, key):
    n = 400_000
    y = nj.tabular.missing(key, jnp.zeros((n, 1)), rate, nj.tabular.bursty(burst))
    lost = np.isnan(np.asarray(y)[:, 0])
    enter = rate / burst / (1 - rate)
    correlation = 1 - 1 / burst - enter
    error = np.sqrt(rate * (1 - rate) * (1 + correlation) / (1 - correlation) / n)
    assert abs(lost.mean() - rate) < 4.5 * error
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(int), [0]])))
    lengths = (edges[1::2] - edges[::2])[1:-1]
    assert abs(lengths.mean() - burst) < 4.5 * lengths.std() / np.sqrt(len(lengths))
    # Lengths are geometric: chi-squared over the first eight, one error in 10,000.
    observed = np.bincount(np.minimum(lengths, 8), minlength=9)[1:]
    share = np.append((1 - 1 / burst) ** np.arange(7) / burst, (1 - 1 / burst) ** 7)
    assert stats.chisquare(observed, share * len(lengths)).pvalue > 1e-4


def test_bursts_that_are_too_short_are_independent_hits(key):
    lost = np.isnan(np.asarray(nj.tabular.missing(key, jnp.zeros((50_000, 1)), 0.6, nj.tabular.bursty(1.0)))[:, 0])
    assert abs(lost.mean() - 0.6) < 0.01 and abs(np.corrcoef(lost[1:], lost[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize("r", [0.3, 0.8])
def test_the_copula_has_the_correlation_asked(r, key):
    """The tetrachoric correlation of hits, by the share of rows in which both are hit."""
    n = 200_000
    matrix = np.array([[1, r, -r / 2], [r, 1, 0], [-r / 2, 0, 1]])
    for mechanism, wanted in ((nj.tabular.copula(matrix), matrix), (nj.tabular.copula(r), np.full((3, 3), r))):
        lost = np.isnan(np.asarray(nj.tabular.missing(key, jnp.zeros((n, 3)), jnp.array([0.1, 0.3, 0.5]), mechanism)))
        np.testing.assert_allclose(lost.mean(0), [0.1, 0.3, 0.5], atol=0.005)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            a, b = stats.norm.ppf([0.1, 0.3, 0.5])[[i, j]]
            both = (lost[:, i] & lost[:, j]).mean()

            def gap(c, a=a, b=b, both=both):
                return stats.multivariate_normal.cdf([a, b], cov=[[1, c], [c, 1]]) - both

            assert abs(optimize.brentq(gap, -0.99, 0.99) - wanted[i, j]) < 0.02


def test_columns_of_a_group_are_hit_together(key):
    y = np.isnan(np.asarray(nj.tabular.missing(key, jnp.zeros((500, 4)), 0.3, together=(0, 1, 0, 2))))
    np.testing.assert_array_equal(y[:, 0], y[:, 2])
    assert (y[:, 0] != y[:, 1]).any() and (y[:, 1] != y[:, 3]).any()
    exact = np.isnan(np.asarray(nj.tabular.missing(key, jnp.zeros((500, 4)), 0.3, exact=True, together=(0, 1, 0, 2))))
    np.testing.assert_array_equal(exact[:, 0], exact[:, 2])
    assert (exact.sum(0) == 150).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: nj.tabular.bursty(0.5), "burst must be at least 1"),
        (lambda key: nj.tabular.copula(1.5), r"correlation must be in \[0, 1\]"),
        (lambda key: nj.tabular.copula(np.array([[1, 2], [2, 1]])), "positive semidefinite"),
        (lambda key: nj.tabular.copula(np.ones((2, 3))), "symmetric matrix"),
        (lambda key: nj.tabular.copula(0.5, nj.tabular.bursty(2.0)), "mechanism must be None"),
        (lambda key: nj.tabular.at_random(COLUMNS, 9), "one of the 7 columns"),
        (lambda key: nj.tabular.at_random(COLUMNS, "age"), "no column 'age'"),
        (lambda key: nj.tabular.at_random(COLUMNS, 0, shape="up"), "shape must be one of"),
        (lambda key: nj.tabular.missing(key, X, 0.1, 0.5), "mechanism must be None"),
        (lambda key: nj.tabular.missing(key, X, 0.1, nj.tabular.bursty(2.0), exact=True), "has no bursts"),
        (lambda key: nj.tabular.missing(key, X[:, :3], 0.1, nj.tabular.not_at_random(COLUMNS)), "at least 7 columns"),
        (lambda key: nj.tabular.missing(key, X[:, :3], 0.1, nj.tabular.at_random(COLUMNS, 5)), "at least 6 columns"),
        (lambda key: nj.tabular.missing(key, X[:, :3], 0.1, exact="yes"), "exact must be True or False"),
        (lambda key: nj.tabular.missing(key, X[:, :3], 0.1, together=(0, 1)), "one nonnegative integer for each"),
        (lambda key: nj.tabular.missing(key, X, np.full((len(X), 1), 0.1), exact=True), "same in all rows"),
        (lambda key: nj.tabular.missing(key, X, 1.5), r"rate must be in \[0, 1\]"),
        (lambda key: nj.tabular.missing(key, np.ones((3, 2), np.int32), 0.1), "can hold"),
        (lambda key: nj.per_example(nj.bind(nj.tabular.missing, rate=0.1, exact=True)), "with exact=True reads"),
        (
            lambda key: nj.per_example(
                nj.chain(nj.bind(nj.tabular.missing, rate=0.1, mechanism=nj.tabular.bursty(2.0)))
            ),
            "reads the other examples",
        ),
    ],
)
def test_mistakes_are_named(call, message, key):
    with pytest.raises((TypeError, ValueError, LookupError), match=message):
        call(key)
