"""Masking noise against its definitions. Keys are fixed; a right noise fails a test for one key in 10,000."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax._random.stream import words

ALPHA = 1e-4
KEY = jax.random.key(11)
SCALED = [nj.dropout, nj.spatial_dropout, nj.drop_path]
FILLED = [nj.mask, nj.image.channel_dropout, nj.image.pixel_dropout]
FAMILY = [*SCALED, nj.gaussian_dropout, nj.alpha_dropout, nj.drop_block]


def close_to(count, n, rate):
    return stats.binomtest(int(count), n, rate).pvalue > ALPHA


def drawn(noise, x, **amounts):
    return np.asarray(nj.hits(nj.bind(noise, **amounts))(KEY, x))


# --- what is hit, and how often


@pytest.mark.parametrize("noise", [*SCALED, nj.alpha_dropout, *FILLED])
@pytest.mark.parametrize("rate", [0.004, 0.3, 0.97])
def test_rates_are_met(noise, rate):
    """One draw each for 2**16 examples of one pixel and one channel."""
    assert close_to(drawn(noise, jnp.ones((2**16, 1, 1)), rate=rate).sum(), 2**16, rate)


@pytest.mark.slow
def test_the_draw_is_the_word_below_the_rate():
    """The mask, computed once more in NumPy from the words."""
    x = jnp.ones((5, 6, 7))
    for noise, shape in (
        (nj.dropout, (5, 6, 7)),
        (nj.spatial_dropout, (5, 1, 7)),
        (nj.alpha_dropout, (5, 6, 7)),
        (nj.drop_path, (5, 1, 1)),
        (nj.mask, (5, 6, 7)),
        (nj.image.channel_dropout, (5, 1, 7)),
        (nj.image.pixel_dropout, (5, 6, 1)),
    ):
        expected = np.asarray(words(KEY, noise.__name__, shape)) < np.uint32(0.25 * 2**32)
        np.testing.assert_array_equal(drawn(noise, x, rate=0.25), np.broadcast_to(expected, x.shape))


def test_dropout_shares_draws_along_broadcast_dims():
    x = jnp.ones((6, 50, 40))
    for dims, shape in (((1,), (6, 1, 40)), ((-1, 0), (1, 50, 1)), ((), (6, 50, 40))):
        y = np.asarray(nj.dropout(KEY, x, 0.5, broadcast_dims=dims))
        np.testing.assert_array_equal(y, np.broadcast_to(y[tuple(slice(0, n) for n in shape)], x.shape))
        assert 0.3 < (y == 0).mean() < 0.7
    np.testing.assert_array_equal(nj.dropout(KEY, x, 0.5, broadcast_dims=()), nj.dropout(KEY, x, 0.5))


def test_drop_path_by_example_and_by_batch():
    x = jnp.ones((400, 3, 2))
    y = np.asarray(nj.drop_path(KEY, x, 0.2))
    assert set(np.unique(y)) == {0, np.float32(1) / np.float32(0.8)}
    assert np.ptp(y, axis=(1, 2)).max() == 0 and close_to((y[:, 0, 0] == 0).sum(), 400, 0.2)
    assert set(np.unique(nj.drop_path(KEY, x, 0.2, scale_by_keep=False))) == {0, 1}
    batches = jax.vmap(lambda k: nj.drop_path(k, x, 0.2, mode="batch"))(jax.random.split(KEY, 500))
    assert np.ptp(batches, axis=(1, 2, 3)).max() == 0 and close_to((batches[:, 0, 0, 0] == 0).sum(), 500, 0.2)


# --- what stands there then


@pytest.mark.parametrize("noise", SCALED)
def test_inverted_scaling_keeps_the_expectation(noise):
    x = 1 + jnp.arange(2**15, dtype=jnp.float32).reshape(-1, 1, 1) / 2**15
    for rate in (0.1, 0.5, 0.9):
        y, hit = np.asarray(noise(KEY, x, rate)), drawn(noise, x, rate=rate)
        np.testing.assert_array_equal(y[hit], 0)
        np.testing.assert_allclose(y[~hit], x[~hit] / (1 - rate), rtol=3e-7)
        error = (y - x).mean() / (np.std(y - x) / np.sqrt(y.size))
        assert abs(error) < stats.norm.isf(ALPHA / 2)


def test_gaussian_dropout_has_the_moments_of_dropout():
    y = np.asarray(nj.gaussian_dropout(KEY, jnp.full(2**18, 3.0), 0.2), np.float64) / 3
    z = (y - 1) / np.sqrt(0.2 / 0.8)
    assert stats.kstest(z, "norm").pvalue > ALPHA


def test_gaussian_dropout_at_rate_one_has_the_largest_finite_spread():
    y = np.asarray(nj.gaussian_dropout(KEY, jnp.ones(2**16), 1.0), np.float64)
    assert stats.kstest((y - 1) / 4096, "norm").pvalue > ALPHA


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.asarray(nj.gaussian(jax.random.key(1), jnp.zeros(2**20), 1.0), np.float64)
    for rate in (0.05, 0.3, 0.8):
        y = np.asarray(nj.alpha_dropout(KEY, x.astype(np.float32), rate), np.float64)
        # Where dropped x is the floor, so y is bounded in its fourth moment: 5e-3 is 3 standard errors and more.
        assert abs(y.mean()) < 5e-3 and abs(y.var() - 1) < 1e-2


def test_alpha_dropout_is_the_papers_affine_map():
    scale, alpha = 1.0507009873554805, 1.6732632423543772  # SELU, Klambauer et al., equation 14
    x = np.linspace(-2, 3, 4001).astype(np.float32)
    for rate in (0.1, 0.5, 0.9):
        q, floor = 1 - rate, -scale * alpha
        a = (q + floor**2 * q * (1 - q)) ** -0.5
        b = -a * (1 - q) * floor
        hit = drawn(nj.alpha_dropout, x, rate=rate)
        expected = a * np.where(hit, floor, x) + b
        np.testing.assert_allclose(nj.alpha_dropout(KEY, x, rate), expected, rtol=2e-6, atol=2e-6)
    # torch 2.13, torch.nn.functional.alpha_dropout(torch.zeros(..), 0.5, True): its two values
    np.testing.assert_allclose(np.unique(nj.alpha_dropout(KEY, jnp.zeros(50), 0.5)), [-0.7791939, 0.7791939], rtol=1e-6)
    np.testing.assert_array_equal(nj.alpha_dropout(KEY, x, 1.0), 0)


@pytest.mark.slow
@pytest.mark.parametrize("noise", FAMILY)
def test_traced_rates_clamp_and_gradients_stay_finite(noise):
    x = jnp.linspace(-1, 2, 3 * 8 * 8 * 2).reshape(3, 8, 8, 2)

    @jax.jit
    @jax.vmap
    def run(rate):
        def loss(x, rate):
            y = noise(KEY, x, rate)
            return jnp.sum(y**2), y

        return jax.grad(loss, (0, 1), has_aux=True)(x, rate)

    (by_x, by_rate), y = run(jnp.array([-0.5, 0.0, 0.5, 1.0, 1.5]))
    assert np.isfinite(by_x).all() and np.isfinite(by_rate).all()
    np.testing.assert_array_equal(y[0], x)
    np.testing.assert_array_equal(y[1], x)
    np.testing.assert_array_equal(y[4], y[3])


@pytest.mark.parametrize("noise", FAMILY)
def test_rate_zero_keeps_nan_infinities_and_the_sign_of_zero(noise):
    x = jnp.array([-0.0, jnp.nan, jnp.inf, -jnp.inf]).reshape(1, 2, 2, 1)
    y = np.asarray(noise(KEY, x, 0.0))
    np.testing.assert_array_equal(y, x)
    assert np.signbit(y[0, 0, 0, 0])


def test_a_hit_replaces_whatever_was_there():
    x = jnp.full((100, 2, 2, 2), jnp.nan)
    for noise in (*SCALED, *FILLED, nj.alpha_dropout):
        assert np.isfinite(noise(KEY, x, 1.0)).all()


# --- fills


@pytest.mark.parametrize("noise", FILLED)
def test_fills_of_every_shape_and_dtype(noise):
    x = jnp.arange(1, 4001, dtype=jnp.float32).reshape(50, 20, 4) / 1000
    mean = x.mean((0, 1))
    hit = drawn(noise, x, rate=0.4)
    for fill in (-1, mean, x[:, :1, :1], jnp.nan):
        expected = np.where(hit, np.broadcast_to(fill, x.shape), x)
        np.testing.assert_array_equal(noise(KEY, x, 0.4, fill), expected)
    whole = jnp.full((50, 20, 4), 2**24 + 1, jnp.int32)
    np.testing.assert_array_equal(noise(KEY, whole, 0.4, 2**24 + 3), np.where(hit, 2**24 + 3, whole))
    np.testing.assert_array_equal(noise(KEY, x > 1, 0.4, True), np.where(hit, True, x > 1))


def test_masking_by_the_mean_of_each_feature():
    table = np.random.default_rng(0).normal(3, 2, (500, 5)).astype(np.float32)
    y = np.asarray(nj.mask(KEY, table, 0.3, table.mean(0)))
    hit = drawn(nj.mask, table, rate=0.3)
    np.testing.assert_array_equal(y, np.where(hit, table.mean(0), table))


# --- marginal draws and groups

TABLE = np.stack([np.arange(8), 10 + np.arange(8), 20 + np.arange(8), 30 + np.arange(8)], 1).astype(np.float32)


def test_marginal_draws_take_each_features_own_values_uniformly_and_independently():
    x = jnp.full((8000, 4), -1.0)
    y = np.asarray(nj.mask(KEY, x, 0.5, nj.marginals(TABLE)))
    row = y - np.array([0, 10, 20, 30])
    np.testing.assert_array_equal(y != -1, drawn(nj.mask, x, rate=0.5))
    for column in range(4):
        counts = np.bincount(row[y[:, column] != -1, column].astype(int), minlength=8)
        assert len(counts) == 8 and stats.chisquare(counts).pvalue > ALPHA / 4  # four columns
    both = (y[:, 1] != -1) & (y[:, 2] != -1)
    pairs = np.bincount((8 * row[both, 1] + row[both, 2]).astype(int), minlength=64)
    assert stats.chisquare(pairs).pvalue > ALPHA


def test_groups_are_hit_together_and_filled_from_one_row():
    x = jnp.full((5000, 4), -1.0)
    groups = (3, 0, 3, 0)
    y = np.asarray(nj.mask(KEY, x, 0.3, nj.marginals(TABLE), groups=groups))
    np.testing.assert_array_equal(y[:, 0] == -1, y[:, 2] == -1)
    np.testing.assert_array_equal(y[:, 1] == -1, y[:, 3] == -1)
    hit = y != -1
    np.testing.assert_array_equal(y[hit[:, 0], 2] - y[hit[:, 0], 0], 20)
    np.testing.assert_array_equal(y[hit[:, 1], 3] - y[hit[:, 1], 1], 20)
    assert close_to(hit[:, 0].sum(), 5000, 0.3) and close_to(hit[:, 1].sum(), 5000, 0.3)
    assert close_to((hit[:, 0] & hit[:, 1]).sum(), 5000, 0.09)
    zero = np.asarray(nj.mask(KEY, x, 0.3, groups=groups))
    np.testing.assert_array_equal(zero == 0, hit)


def test_one_hot_categories_stay_one_hot():
    rng = np.random.default_rng(0)
    table = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 1000)]
    y = np.asarray(nj.mask(KEY, table, 0.5, nj.marginals(table), groups=(0, 0, 0)))
    np.testing.assert_array_equal(y.sum(1), 1)
    assert (y != table).any()


def test_marginals_of_rows_with_several_axes():
    table = np.arange(6 * 3 * 2, dtype=np.float32).reshape(6, 3, 2)
    y = np.asarray(nj.mask(KEY, jnp.full((40, 3, 2), -1.0), 1.0, nj.marginals(table)))
    assert all(y[n, i, j] in table[:, i, j] for n in range(40) for i in range(3) for j in range(2))
    series = np.asarray(nj.mask(KEY, jnp.full((9, 5, 4), -1.0), 1.0, nj.marginals(TABLE)))
    np.testing.assert_array_equal(series // 10, np.broadcast_to(np.arange(4), series.shape))


def test_marginals_are_a_value_of_a_noise():
    noise = nj.bind(nj.mask, rate=0.5, fill=nj.marginals(TABLE))
    assert repr(noise) == "nj.bind(nj.mask, rate=0.5, fill=nj.marginals(float32[8,4]))"
    x = jnp.full((6, 4), -1.0)
    y = noise(KEY, x)
    for other in (pickle.loads(pickle.dumps(noise)), jax.tree.map(lambda leaf: leaf, noise)):
        np.testing.assert_array_equal(other(KEY, x), y)
    np.testing.assert_array_equal(jax.jit(lambda noise, x: noise(KEY, x))(noise, x), y)
    assert noise(KEY, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    whole = nj.per_example(noise)(KEY, x)
    half = nj.per_example(noise, jnp.arange(3, 6))(KEY, x[3:])  # 6 examples, 8 rows: nothing to take apart
    np.testing.assert_array_equal(whole[3:], half)
    eight = nj.per_example(noise)(KEY, jnp.full((8, 4), -1.0))  # as many examples as rows: the table is shared still
    np.testing.assert_array_equal(eight[:6], whole)


def test_marginals_of_some_columns():
    x = jnp.full((50, 4), -1.0)
    for columns in ((1, 3), (2,)):
        y = np.asarray(nj.on_columns(nj.bind(nj.mask, rate=0.5, fill=nj.marginals(TABLE)), columns)(KEY, x))
        assert np.isin(y[:, columns], [*np.unique(TABLE[:, columns]), -1]).all()
        assert (y[:, columns] != -1).any() and (np.delete(y, columns, 1) == -1).all()
    with pytest.raises(ValueError, match="Fit marginals on all columns of x"):
        nj.on_columns(nj.bind(nj.mask, rate=0.5, fill=nj.marginals(TABLE[:, [1, 3]])), (1, 3))(KEY, x)


def test_marginals_keep_evenly_spaced_rows():
    table = np.arange(1000.0)[:, None]
    np.testing.assert_array_equal(nj.marginals(table, rows=4).table[:, 0], [0, 250, 500, 750])
    assert len(nj.marginals(table, rows=None).table) == len(nj.marginals(table).table) == 1000
    assert nj.marginals(np.zeros((5000, 1))).table.shape == (4096, 1)


def test_missing_values_of_the_training_set_are_drawn_too():
    table = np.array([[np.nan], [1.0]])
    y = np.asarray(nj.mask(KEY, jnp.zeros((400, 1)), 1.0, nj.marginals(table)))
    assert close_to(np.isnan(y).sum(), 400, 0.5)


# --- errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: nj.mask(KEY, x, 1.2), ValueError, "rate must be in"),
        (lambda x: nj.mask(KEY, x, 0.1, groups=(0, 1)), ValueError, r"groups must be one nonnegative integer"),
        (lambda x: nj.mask(KEY, x, 0.1, groups=(0, 1, 1, 0.5)), ValueError, r"0\.5"),
        (lambda x: nj.mask(KEY, x, 0.1, nj.marginals(TABLE[:, :3])), ValueError, r"got rows of shape \(3,\)"),
        (lambda x: nj.mask(KEY, x, 0.1, jnp.ones(3)), ValueError, r"fill of shape \(3,\)"),
        (lambda x: nj.marginals(np.array([["a"], ["b"]])), TypeError, "table must hold numbers"),
        (lambda x: nj.marginals(np.zeros((0, 3))), ValueError, "table must have rows"),
        (lambda x: nj.marginals(3.0), ValueError, "table must have rows"),
        (lambda x: nj.marginals(TABLE, rows=0), ValueError, "rows must be an integer, at least 1"),
        (lambda x: nj.dropout(KEY, x, 0.1, broadcast_dims=(2,)), ValueError, "broadcast_dims must be axes of x"),
        (lambda x: nj.dropout(KEY, x, 0.1, broadcast_dims=(0, -2)), ValueError, "different axes"),
        (lambda x: nj.dropout(KEY, x, 0.1, broadcast_dims=1), TypeError, "tuple of integers"),
        (lambda x: nj.drop_path(KEY, x, 0.1, mode="row"), ValueError, "'example', 'batch'"),
        (lambda x: nj.alpha_dropout(KEY, x.astype(jnp.int32), 0.1), TypeError, "floats"),
    ],
)
def test_bad_input_says_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call(jnp.ones((5, 4)))
