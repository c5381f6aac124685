"""DropBlock and PatchDropout against their definitions. Keys are fixed; a right one fails for one key in 10,000."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from scipy import stats

import noisejax as nj
from noisejax._random.stream import words

ALPHA = 1e-4
KEY = jax.random.key(13)


def blocks(x, **arguments):
    return np.asarray(nj.hits(nj.bind(nj.drop_block, **arguments))(KEY, x))


# --- drop_block


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "block_size"),
    [((20,), 3), ((20,), 4), ((9, 14), 3), ((9, 14), 4), ((6, 15), (2, 5)), ((5, 6, 7), 2), ((6, 6), 1), ((4, 9), 6)],
)
def test_blocks_are_those_of_the_paper(sizes, block_size):
    """Corners and blocks, computed once more in NumPy from the words, by loops."""
    rate, shape = 0.2, (3, *sizes, 2)
    block = [min(b, n) for b, n in zip(np.broadcast_to(block_size, len(sizes)), sizes, strict=True)]
    gamma = np.float32(rate)
    for n, b in zip(sizes, block, strict=True):
        gamma = gamma * np.float32(n / (b * (n - b + 1)))
    corner = np.asarray(words(KEY, "drop_block", shape)) < np.float64(gamma) * 2**32
    expected = np.zeros(shape, bool)
    for place in itertools.product(*(range(n - b + 1) for n, b in zip(sizes, block, strict=True))):
        hit = corner[(slice(None), *place)]
        window = tuple(slice(p, p + b) for p, b in zip(place, block, strict=True))
        expected[(slice(None), *window)] |= np.expand_dims(hit, tuple(range(1, 1 + len(sizes))))
    x = jnp.ones(shape)
    np.testing.assert_array_equal(blocks(x, rate=rate, block_size=block_size), expected)
    y = nj.drop_block(KEY, x, rate, block_size=block_size)
    spatial = tuple(range(1, 1 + len(sizes)))
    kept = (~expected).mean(spatial, keepdims=True)
    np.testing.assert_allclose(y, np.where(expected, 0, 1 / np.where(kept > 0, kept, 1)), rtol=1e-6)


@pytest.mark.parametrize("block_size", [1, 3, 6])
def test_the_dropped_share_is_near_the_rate(block_size):
    rate, n = 0.1, 24
    share = blocks(jnp.ones((400, n, n, 4)), rate=rate, block_size=block_size).mean((1, 2))
    gamma = rate * n**2 / (block_size**2 * (n - block_size + 1) ** 2)
    corners = np.arange(n - block_size + 1)
    cover = np.array([(corners <= i).sum() - (corners <= i - block_size).sum() for i in range(n)])
    expected = (1 - (1 - gamma) ** np.outer(cover, cover)).mean()  # a pixel is kept if none of its corners is drawn
    assert abs(share.mean() - expected) < stats.norm.isf(ALPHA / 2) * share.std() / np.sqrt(share.size)
    assert 0.9 * rate < expected <= rate


def test_rescaling_stays_within_an_example_and_a_channel():
    x = jnp.linspace(1, 2, 6 * 12 * 12 * 3).reshape(6, 12, 12, 3)
    y = np.asarray(nj.drop_block(KEY, x, 0.3, block_size=4))
    hit = blocks(x, rate=0.3, block_size=4)
    scale = 144 / (~hit).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(y, np.where(hit, 0, x * scale), rtol=1e-6)
    assert len(np.unique(scale)) > 6
    other = np.asarray(nj.drop_block(KEY, x.at[1:].set(7.0), 0.3, block_size=4))
    np.testing.assert_array_equal(other[0], y[0])
    unscaled = nj.drop_block(KEY, x, 0.3, block_size=4, scale_by_keep=False)
    np.testing.assert_array_equal(unscaled, np.where(hit, 0, x))


def test_padding_is_not_counted_in_the_rescaling():
    x, lengths = jnp.ones((5, 16, 6, 2)), jnp.array([16, 10, 6, 1, 0])
    y = np.asarray(nj.drop_block(KEY, x, 0.3, block_size=3, lengths=lengths))
    for example, length in zip(y, (16, 10, 6, 1, 0), strict=True):
        np.testing.assert_array_equal(example[length:], 1)
        sums = example[:length].sum((0, 1))
        assert all(s == 0 or abs(s - length * 6) < 1e-3 for s in sums)  # what is kept stands for what is not


def test_blocks_shared_over_channels_and_along_other_axes():
    hit = blocks(jnp.ones((4, 12, 12, 5)), rate=0.3, block_size=3, broadcast_dims=(-1,))
    np.testing.assert_array_equal(hit, np.broadcast_to(hit[..., :1], hit.shape))
    first = blocks(jnp.ones((4, 5, 12, 12)), rate=0.3, block_size=3, broadcast_dims=(1,), axes=(2, 3))
    np.testing.assert_array_equal(first[:, 0], hit[..., 0])
    one = blocks(jnp.ones((12, 12, 5)), rate=0.3, block_size=3, broadcast_dims=(-1,), axes=(0, 1))
    np.testing.assert_array_equal(one, hit[0])


def test_blocks_that_do_not_fit_become_the_axis():
    x = jnp.ones((4000, 3, 2, 1))
    hit = blocks(x, rate=0.25, block_size=7)
    assert set(hit.sum((1, 2, 3))) == {0, 6}
    assert stats.binomtest(int(hit[:, 0, 0, 0].sum()), 4000, 0.25).pvalue > ALPHA
    for shape in ((3, 1, 1, 2), (3, 0, 4, 2), (0, 4, 4, 2)):
        assert nj.drop_block(KEY, jnp.ones(shape), 1.0).shape == shape
    assert not np.asarray(nj.drop_block(KEY, jnp.ones((3, 1, 1, 2)), 1.0)).any()


def test_rates_per_example():
    column = jnp.array([0.0, 0.0, 0.4, 0.4]).reshape(4, 1, 1, 1)
    x = jnp.ones((4, 12, 12, 3))
    hit = blocks(x, rate=column, block_size=3)
    assert not hit[:2].any()
    np.testing.assert_array_equal(hit[2:], blocks(x, rate=0.4, block_size=3)[2:])


# --- patch_dropout


def tokens(batch, n):
    return jnp.arange(batch * n, dtype=jnp.int32).reshape(batch, n, 1) % n


@pytest.mark.parametrize(
    ("n", "rate", "prefix", "kept"),
    [(197, 0.5, 1, 98), (10, 0.0, 0, 10), (10, 1.0, 0, 1), (10, 0.25, 0, 7), (100, 0.9, 0, 10), (102, 0.9, 2, 10)],
)
def test_the_number_of_tokens_kept(n, rate, prefix, kept):
    """floor(L * (1 - rate)) of the L tokens after the prefix, in their order, no two alike."""
    y = np.asarray(nj.patch_dropout(KEY, tokens(5, n), rate=rate, num_prefix_tokens=prefix))[..., 0]
    assert y.shape == (5, prefix + kept)
    np.testing.assert_array_equal(y[:, :prefix], np.broadcast_to(np.arange(prefix), (5, prefix)))
    assert (np.diff(y, axis=1) > 0).all()
    if 1 < kept < n - prefix:
        assert len({row.tobytes() for row in y}) == 5


def test_every_set_of_tokens_is_as_likely():
    y = np.asarray(nj.patch_dropout(KEY, tokens(20000, 5), rate=0.4, num_prefix_tokens=0))[..., 0]
    subsets = {s: n for n, s in enumerate(itertools.combinations(range(5), 3))}
    counts = np.bincount([subsets[tuple(row.tolist())] for row in y], minlength=10)
    assert stats.chisquare(counts).pvalue > ALPHA


def test_padding_goes_first():
    lengths = jnp.array([9, 5, 3, 1])
    y = np.asarray(nj.patch_dropout(KEY, tokens(4, 9), rate=0.5, lengths=lengths))[..., 0]
    assert y.shape == (4, 5)
    for row, length in zip(y, (9, 5, 3, 1), strict=True):
        valid = min(length, 5)
        assert row[0] == 0 and (row[:valid] < length).all() and (row[valid:] >= length).all()
        assert (np.diff(row) > 0).all()


@pytest.mark.slow
def test_patch_dropout_works_in_chains_under_jit_and_backwards():
    x = jnp.linspace(0, 1, 4 * 10 * 3).reshape(4, 10, 3)
    noise = nj.chain(nj.bind(nj.patch_dropout, rate=0.5, num_prefix_tokens=0), nj.bind(nj.gaussian, std=0.0))
    y = noise(KEY, x)
    assert y.shape == (4, 5, 3)
    np.testing.assert_array_equal(jax.jit(noise)(KEY, x), y)
    kept = jax.grad(lambda x: nj.patch_dropout(KEY, x, rate=0.5, num_prefix_tokens=0).sum())(x)
    np.testing.assert_array_equal(kept.sum((1, 2)), 15)
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(lambda k: nj.patch_dropout(k, x))(keys)
    np.testing.assert_array_equal(mapped, jnp.stack([nj.patch_dropout(k, x) for k in keys]))
    assert nj.patch_dropout(KEY, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_patches_of_a_sharded_batch_need_no_other_device(axis_type):
    x = jnp.linspace(0, 1, 8 * 10 * 3).reshape(8, 10, 3)
    alone = np.asarray(nj.patch_dropout(KEY, x))
    mesh = jax.make_mesh((8,), ("a",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("a")))
        compiled = jax.jit(lambda x: nj.patch_dropout(KEY, x)).lower(sharded).compile()
        result = np.asarray(compiled(sharded))
    assert not [name for name in ("all-", "collective", "reduce-scatter") if name in compiled.as_text()]
    np.testing.assert_array_equal(result, alone)


# --- errors

X = jnp.ones((4, 8, 8, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nj.drop_block(KEY, X, 0.1, block_size=0), ValueError, "block_size must be a positive integer"),
        (lambda: nj.drop_block(KEY, X, 0.1, block_size=(3,)), ValueError, r"block_size .* got \(3,\)"),
        (lambda: nj.drop_block(KEY, jnp.ones((4, 8)), 0.1), ValueError, "x must have axes to lay blocks on"),
        (lambda: nj.drop_block(KEY, X, 0.1, broadcast_dims=(1,)), ValueError, "must lie outside of axes"),
        (lambda: nj.drop_block(KEY, X, 1.2), ValueError, "rate must be in"),
        (lambda: nj.patch_dropout(0, X), TypeError, "key must be a JAX key"),
        (lambda: nj.patch_dropout(KEY, X, rate=1.2), ValueError, "rate must be in"),
        (lambda: nj.patch_dropout(KEY, X, rate=jnp.float32(0.5)), TypeError, "rate is an option: it is static"),
        (
            lambda: nj.patch_dropout(KEY, X, num_prefix_tokens=8),
            ValueError,
            "more tokens along axis 1 than num_prefix_tokens=8",
        ),
        (
            lambda: nj.patch_dropout(KEY, X, lengths=jnp.ones((3,), jnp.int32)),
            ValueError,
            "lengths must have the shape",
        ),
        (lambda: nj.patch_dropout(KEY, jnp.ones(4)), ValueError, r"x must be \(B, L"),
    ],
)
def test_bad_input_says_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()
