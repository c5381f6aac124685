"""Mixing: the laws of the weights, the pairs and the boxes, every kind of label, and who talks to whom.

Statistical tests use fixed keys and a threshold of p = 1e-4, so each would fail once in 10,000 keys.
"""

import pickle
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from scipy import stats

import noisejax as nj

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
P_VALUE = 1e-4
axis_types = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])


class Batch(NamedTuple):
    image: jax.Array
    label: jax.Array


def images(n=6, dtype=np.float32):
    x = np.random.default_rng(1).random((n, 8, 7, 3))
    return jnp.asarray(np.round(255 * x) if dtype == np.uint8 else x).astype(dtype)


# --- weights and pairs


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0])
def test_weights_follow_the_beta_distribution(alpha, key):
    lam = np.asarray(nj.mixup_pairs(key, 400_000, alpha)[0], np.float64)
    beta = stats.beta(alpha, alpha)
    low = lam[lam < 0.5]  # above, float32 has no room between 1 and what is nearly 1
    assert stats.kstest(low, lambda v: 2 * beta.cdf(v)).pvalue > P_VALUE
    assert stats.binomtest(len(low), len(lam)).pvalue > P_VALUE
    for edge in (0.6, 0.9, 0.99):
        assert stats.binomtest(int((lam > edge).sum()), len(lam), beta.sf(edge)).pvalue > P_VALUE


def test_alpha_may_differ_from_example_to_example_and_be_traced(key):
    alpha = jnp.where(jnp.arange(40_000) % 2 == 0, 0.2, 4.0)
    lam = jax.jit(lambda a: nj.mixup_pairs(key, 40_000, a)[0])(alpha)
    np.testing.assert_allclose(lam[::2], nj.mixup_pairs(key, 40_000, 0.2)[0][::2], rtol=1e-5)
    np.testing.assert_allclose(lam[1::2], nj.mixup_pairs(key, 40_000, 4.0)[0][1::2], rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("pairing", ["permutation", "roll"])
def test_partners_are_a_permutation(n, pairing, key):
    lam, partner = nj.mixup_pairs(key, n, 1.0, pairing=pairing)
    assert (lam.shape, lam.dtype, partner.dtype) == ((n,), jnp.float32, jnp.int32)
    np.testing.assert_array_equal(np.sort(partner), np.arange(n))
    if pairing == "roll" and n:
        np.testing.assert_array_equal(partner, (np.arange(n) - 1) % n)


@pytest.mark.parametrize("pairing", ["permutation", "roll"])
def test_partners_stay_within_their_part(pairing, key):
    _, partner = nj.mixup_pairs(key, 24, 1.0, pairing=pairing, shards=4)
    parts = np.asarray(partner).reshape(4, 6)
    np.testing.assert_array_equal(np.sort(parts, axis=1), np.arange(24).reshape(4, 6))
    orders = {tuple(part % 6) for part in parts}
    assert len(orders) == (4 if pairing == "permutation" else 1)


def test_every_partner_is_equally_likely(key):
    partners = jax.vmap(lambda k: nj.mixup_pairs(k, 5, 1.0)[1])(jax.random.split(key, 20_000))
    for example in range(5):
        counts = np.bincount(partners[:, example], minlength=5)
        assert stats.chisquare(counts).pvalue > P_VALUE


def test_batch_mode_draws_one_weight(key):
    lam, _ = nj.mixup_pairs(key, 50, 0.3, mode="batch")
    assert lam.shape == (50,) and len(set(lam.tolist())) == 1
    lams = jax.vmap(lambda k: nj.mixup_pairs(k, 2, 0.5, mode="batch")[0][0])(jax.random.split(key, 20_000))
    low = np.asarray(lams, np.float64)
    low = low[low < 0.5]
    assert stats.kstest(low, lambda v: 2 * stats.beta(0.5, 0.5).cdf(v)).pvalue > P_VALUE


@pytest.mark.slow
def test_the_weight_has_a_finite_and_right_derivative_in_alpha(key):
    for alpha in (0.0, 1e-8, 0.05, 0.7, 30.0, 1e5):
        slopes = jax.jvp(lambda a: nj.mixup_pairs(key, 100_000, a)[0], (jnp.float32(alpha),), (jnp.float32(1),))[1]
        assert bool(jnp.isfinite(slopes).all()), alpha
    low, high = (nj.mixup_pairs(key, 100_000, a)[0] for a in (0.69, 0.71))
    slopes = jax.jvp(lambda a: nj.mixup_pairs(key, 100_000, a)[0], (jnp.float32(0.7),), (jnp.float32(1),))[1]
    np.testing.assert_allclose(slopes, (high - low) / 0.02, atol=2e-3)


# --- mixup


@pytest.mark.parametrize(
    ("mode", "pairing", "shards"),
    [("example", "permutation", 1), ("batch", "permutation", 1), ("example", "roll", 1), ("batch", "roll", 2)],
)
def test_mixup_is_its_formula(mode, pairing, shards, key):
    options = {"mode": mode, "pairing": pairing, "shards": shards}
    x, y = images(), jnp.array([0, 1, 2, 2, 1, 0])
    mixed, rows = nj.mixup(key, (x, y), 0.7, num_classes=3, **options)
    lam, partner = nj.mixup_pairs(key, 6, 0.7, **options)
    w = np.asarray(lam, np.float64)[:, None, None, None]
    np.testing.assert_allclose(mixed, w * np.asarray(x) + (1 - w) * np.asarray(x)[partner], atol=1e-6)
    one_hot = np.eye(3)[np.asarray(y)]
    np.testing.assert_allclose(rows, w[:, :, 0, 0] * one_hot + (1 - w[:, :, 0, 0]) * one_hot[partner], atol=1e-6)
    again = nj.blend((x, y), lam, partner, num_classes=3, shards=shards)
    for a, b in zip((mixed, rows), again, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_means_are_conserved(key):
    x = images(16)
    mixed = nj.mixup(key, x, 1.0, mode="batch")  # one weight and a permutation: the batch's mean itself
    np.testing.assert_allclose(mixed.mean(0), x.mean(0), atol=1e-6)
    many = jax.vmap(lambda k: nj.mixup(k, x[:, 0, 0], 1.0))(jax.random.split(key, 20_000))
    z = (many.mean((0, 1)) - x[:, 0, 0].mean(0)) / (many.mean(1).std(0) / np.sqrt(20_000))
    assert bool((jnp.abs(z) < 4.5).all())  # three z-values, each beyond 4.5 once in 147,000 keys


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8, np.int64])
def test_integer_labels_become_rows_that_sum_to_one(dtype, key):
    y = np.arange(9).astype(dtype) % 4 if dtype == np.int64 else (jnp.arange(9) % 4).astype(dtype)
    _, rows = nj.mixup(key, (jnp.ones((9, 2)), y), 0.4, num_classes=4)
    assert (rows.shape, rows.dtype) == ((9, 4), jnp.float32)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-6)
    assert float(rows.min()) >= 0 and bool((rows.max(-1) < 1).any())


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_soft_labels_and_targets_keep_their_dtype_and_are_rounded_once(dtype, key):
    soft = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(5), 33)).astype(dtype)
    targets = jnp.linspace(-3, 3, 33).astype(dtype)
    mixed = nj.mixup(key, {"y": soft, "t": targets}, 0.4)
    full = nj.mixup(key, {"y": soft.astype(jnp.float32), "t": targets.astype(jnp.float32)}, 0.4)
    for name in mixed:
        assert mixed[name].dtype == dtype
        np.testing.assert_array_equal(mixed[name], full[name].astype(dtype))
    np.testing.assert_allclose(full["y"].sum(-1), soft.astype(jnp.float32).sum(-1).mean(), atol=2e-2)


def test_float64_is_blended_in_float64(key):
    with jax.enable_x64(True):
        x = jnp.full((5, 2), 1.0 + 1e-12, jnp.float64)
        y = nj.mixup(key, x, 0.5)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y - 1, 1e-12, rtol=1e-3)


def test_images_of_bytes_are_rounded(key):
    x = images(7, np.uint8)
    mixed = nj.mixup(key, x, 1.0)
    lam, partner = nj.mixup_pairs(key, 7, 1.0)
    exact = nj.blend(x.astype(jnp.float32), lam, partner)
    assert mixed.dtype == jnp.uint8
    np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.5001)


@pytest.mark.parametrize("n", [1, 3])
def test_batches_of_any_size(n, key):
    x, y = images(n), jnp.arange(n) % 3
    for mixing in (nj.mixup, nj.cutmix):
        mixed, rows = nj.bind(mixing, alpha=1.0, num_classes=3)(key, (x, y))
        assert mixed.shape == x.shape and rows.shape == (n, 3)
        if n == 1:
            np.testing.assert_allclose(mixed, x, atol=1e-6)


def test_an_empty_batch(key):
    x, y = nj.mixup(key, (jnp.ones((0, 3)), jnp.zeros(0, jnp.int32)), 0.5, num_classes=4)
    assert x.shape == (0, 3) and y.shape == (0, 4)
    assert nj.cutmix(key, jnp.ones((0, 4, 4, 3)), 0.5).shape == (0, 4, 4, 3)
    assert nj.swap(key, jnp.ones((0, 4)), 0.5).shape == (0, 4)


def test_any_pytree_and_what_is_kept(key):
    x, y, ids = images(), jnp.arange(6), jnp.arange(6) + 100
    lam, partner = nj.mixup_pairs(key, 6, 0.5)
    wanted = nj.blend(x, lam, partner)
    named = nj.mixup(key, Batch(x, y), 0.5, keep=("label",))
    assert isinstance(named, Batch) and named.label is y
    np.testing.assert_array_equal(named.image, wanted)
    nested = {"in": [x, {"b": x[:, 0]}], "id": ids, "label": y, "none": None}
    mixed = nj.mixup(key, nested, 0.5, num_classes=6, keep="id")
    assert mixed["id"] is ids and mixed["none"] is None and mixed["label"].shape == (6, 6)
    np.testing.assert_array_equal(mixed["in"][0], wanted)
    np.testing.assert_array_equal(mixed["in"][1]["b"], wanted[:, 0])
    np.testing.assert_array_equal(nj.mixup(key, (x, y), 0.5, keep=(1,))[0], wanted)
    np.testing.assert_array_equal(nj.mixup(key, x, 0.5), wanted)


@pytest.mark.parametrize("mixing", [nj.mixup, nj.cutmix])
def test_alpha_zero_is_the_identity_to_the_bit(mixing, key):
    x = images().at[0, 0, 0, 0].set(jnp.nan).at[1, 0, 0, 0].set(-jnp.inf).at[2, 0, 0, 0].set(-0.0)
    y = jnp.arange(6) % 3
    for alpha in (0.0, jnp.zeros(6)):
        mixed, rows = jax.jit(nj.bind(mixing, alpha=alpha, num_classes=3))(key, (x, y))
        np.testing.assert_array_equal(np.asarray(mixed).view(np.uint32), np.asarray(x).view(np.uint32))
        np.testing.assert_array_equal(rows, jax.nn.one_hot(y, 3))
    one = nj.mixup(key, x, jnp.array([0.0, 1, 1, 1, 1, 1]))
    np.testing.assert_array_equal(one[0], x[0])


@pytest.mark.slow
def test_weight_zero_leaves_no_trace_of_nan_nor_in_gradients():
    x = jnp.array([[1.0, 2.0], [jnp.nan, jnp.inf], [5.0, 6.0]])
    lam, partner = jnp.array([1.0, 0.0, 0.5]), jnp.array([1, 0, 2])

    def total(x, lam):
        return nj.blend(x, lam, partner)[:2].sum()

    np.testing.assert_array_equal(nj.blend(x, lam, partner), [[1.0, 2.0], [1.0, 2.0], [5.0, 6.0]])
    for gradient in jax.grad(total, (0, 1))(x, lam):
        assert bool(jnp.isfinite(gradient).all())


def test_gradients_in_x_are_the_weights(key):
    x = images()
    lam, partner = nj.mixup_pairs(key, 6, 0.8)
    gradient = jax.grad(lambda x: nj.mixup(key, x, 0.8).sum())(x)
    expected = np.asarray(lam, np.float64)
    np.add.at(expected, partner, 1 - np.asarray(lam))
    np.testing.assert_allclose(gradient, np.broadcast_to(expected[:, None, None, None], x.shape), rtol=1e-5)
    _, forward = jax.jvp(lambda x: nj.mixup(key, x, 0.8), (x,), (x,))
    np.testing.assert_allclose(forward, nj.mixup(key, x, 0.8), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [nj.mixup, nj.cutmix])
def test_as_a_bound_noise(mixing, key):
    batch = (images(), jnp.arange(6) % 3)
    noise = nj.bind(mixing, alpha=0.4, num_classes=3)
    assert pickle.loads(pickle.dumps(noise)).options == noise.options
    traces = []

    @jax.jit
    def step(noise, key, batch):
        traces.append(noise)
        return noise(key, batch)

    for alpha in (0.4, 2.0):
        for a, b in zip(
            step(nj.bind(mixing, alpha=alpha, num_classes=3), key, batch),
            mixing(key, batch, alpha, num_classes=3),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(traces) == 1
    keys = jax.random.split(key, 2)
    mapped = jax.vmap(noise, (0, None))(keys, batch)
    for n, k in enumerate(keys):
        for a, b in zip(mapped, noise(k, batch), strict=True):
            np.testing.assert_allclose(a[n], b, atol=1e-6)
    first, second = nj.chain(noise, nj.bind(mixing, alpha=0.4))(key, batch), noise(key, batch)
    assert bool((first[0] != second[0]).any())
    whole = nj.chain(nj.on_entries((nj.bind(nj.gaussian, std=0.1), None)), noise)(key, batch)
    assert whole[1].shape == (6, 3)


@pytest.mark.slow
def test_alpha_learns_on_request(key):
    x = images()
    for learn in (False, True):
        noise = nj.bind(nj.mixup, alpha=0.5)
        noise = nj.learnable(noise) if learn else noise
        gradient = jax.grad(lambda noise: (noise(key, x) ** 2).sum())(noise)
        assert (float(gradient.amounts["alpha"]) != 0) == learn


def test_a_roll_by_a_number(key):
    x = images()
    np.testing.assert_allclose(nj.blend(x, 0.25, 2), 0.25 * x + 0.75 * jnp.roll(x, 2, 0), atol=1e-6)
    np.testing.assert_array_equal(nj.blend(x, 0.0, 1, shards=6), x)


# --- switching


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["example", "batch"])
def test_switching_between_mixup_and_cutmix(mode, key):
    x = jnp.broadcast_to(jnp.arange(8.0).reshape(8, 1, 1, 1), (8, 6, 6, 1))
    y = jnp.arange(8)
    both = [nj.bind(nj.mixup, alpha=1.0, num_classes=8), nj.bind(nj.cutmix, alpha=1.0, num_classes=8)]
    noise = nj.choose(*both, weights=(0.25, 0.75), mode=mode)
    mixed, rows = jax.jit(jax.vmap(noise, (0, None)))(jax.random.split(key, 3000), (x, y))
    assert rows.shape == (3000, 8, 8)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-6)
    mean = np.asarray(rows) @ np.arange(8.0)  # the labels went the way of the images, whichever it was
    np.testing.assert_allclose(mean, mixed.mean((2, 3, 4)), atol=1e-4)
    fractional = np.asarray((mixed != jnp.round(mixed)).any((2, 3, 4)))  # only mixup makes values in between
    itself = 1 / 8  # a permutation leaves an example to itself
    if mode == "batch":
        used_mixup = fractional.any(1)
        assert abs(used_mixup.mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / 3000)
    else:
        assert abs(fractional.mean() - 0.25 * (1 - itself)) < 0.02
        assert ((fractional.sum(1) > 0) & (fractional.sum(1) < 6)).mean() > 0.3


def test_a_schedule_moves_alpha(key):
    noise = nj.bind(nj.mixup, alpha=nj.scheduled(lambda step: 0.1 * step))
    x = images()
    np.testing.assert_array_equal(nj.at_step(noise, 0)(key, x), x)
    assert bool((nj.at_step(noise, 5)(key, x) != x).any())


# --- bad input

X, Y = np.ones((6, 8, 8, 3), np.float32), np.arange(6, dtype=np.int32)


@pytest.mark.parametrize("mixing", [nj.mixup, nj.cutmix])
@pytest.mark.parametrize(
    ("batch", "amounts", "options", "error", "match"),
    [
        ((X, Y), (0.2,), {}, ValueError, r"entry \[1\].*num_classes.*keep"),
        ((X, Y), (-0.2,), {"num_classes": 6}, ValueError, "alpha must be at least 0"),
        ((X, Y), (np.array([0.1, -1, 1, 1, 1, 1]),), {"num_classes": 6}, ValueError, "alpha"),
        ((X, Y), (np.ones(5),), {"num_classes": 6}, ValueError, "alpha.*6 examples"),
        ((X, Y), (np.ones(6),), {"num_classes": 6, "mode": "batch"}, ValueError, "alpha must be a scalar"),
        ((X, Y), (0.2,), {"num_classes": 5}, ValueError, r"\[0, 5\).*got 5"),
        ((X, Y - 1), (0.2,), {"num_classes": 6}, ValueError, "got -1"),
        ((X, Y[:5]), (0.2,), {"num_classes": 6}, ValueError, "same number of examples"),
        ({"x": X, "y": 3}, (0.2,), {}, TypeError, "entry.*'y'.*leading axis"),
        ({"x": X, "tokens": np.ones((6, 5), int)}, (0.2,), {}, TypeError, "tokens.*keep"),
        ({"x": X, "valid": np.ones((6, 5), bool)}, (0.2,), {}, TypeError, "valid.*cannot be blended"),
        ({"x": X}, (0.2,), {"keep": ("id",)}, KeyError, "keep names 'id'"),
        ((X,), (0.2,), {"mode": "pair"}, ValueError, "mode must be one of"),
        ((X,), (0.2,), {"pairing": "sort"}, ValueError, "pairing must be one of"),
        ((X,), (0.2,), {"shards": 4}, ValueError, "shards.*divisor of 6"),
        ((X,), (), {}, TypeError, "alpha"),
        ((X,), (0.2,), {"nonsense": 1}, TypeError, "nonsense"),
        ((), (0.2,), {}, ValueError, "no entries"),
    ],
)
def test_bad_batches_are_refused(mixing, batch, amounts, options, error, match, key):
    with pytest.raises(error, match=match):
        mixing(key, batch, *amounts, **options)


def test_other_bad_input_is_refused(key):
    for bad in (0, 0.5, jnp.ones(3)):
        with pytest.raises(TypeError, match="key"):
            nj.mixup(bad, X, 0.2)
    with pytest.raises(TypeError, match="Padded"):
        nj.bind(nj.mixup, alpha=0.2)(key, X, lengths=Y)
    with pytest.raises(TypeError, match="takes no padding"):
        nj.bind(nj.mixup, alpha=0.2)(key, X, where=Y > 2)
    with pytest.raises(ValueError, match="alpha"):
        nj.bind(nj.mixup, alpha=-1.0)
    with pytest.raises(TypeError, match="changed"):
        nj.hits(nj.bind(nj.mixup, alpha=1.0))(key, X)
    with pytest.raises(ValueError, match="one structure"):
        nj.sometimes(nj.bind(nj.mixup, alpha=1.0, num_classes=6), 0.5)(key, (X, Y))
    with pytest.raises(ValueError, match=r"n must be an integer, .* number of examples"):
        nj.mixup_pairs(key, X, 0.2)
    with pytest.raises(ValueError, match="alpha"):
        nj.mixup_pairs(key, 6, -0.2)
    with pytest.raises(ValueError, match="lam must be in"):
        nj.blend(X, 1.5, 1)
    with pytest.raises(ValueError, match="lam must be a scalar"):
        nj.blend(X, np.ones(5), 1)
    with pytest.raises(ValueError, match="partner must be the indices"):
        nj.blend(X, 0.5, np.arange(5))
    for axes in ((), (0, 1), (1, 1), (1, 4)):
        with pytest.raises(ValueError, match="axes"):
            nj.cutmix(key, X, 1.0, axes=axes)
