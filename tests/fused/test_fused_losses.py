"""Losses of soft targets against the same losses of rows that are built: values, gradients, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisejax as nj
from noisejax.fused._losses.statistics import _blockwise_sums, _sums

B, K = 6, 11
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(3 * RNG.standard_normal((B, K)), jnp.float32)
LABELS = jnp.asarray(RNG.integers(0, K, B), jnp.int32)
PARTNER = jnp.asarray(RNG.permutation(B), jnp.int32)
LAM = jnp.asarray(RNG.uniform(size=B), jnp.float32)
TRANSITION = RNG.dirichlet(np.ones(K), K).astype(np.float32)
POSSIBLE = jnp.asarray(RNG.uniform(size=K) < 0.7).at[:2].set(jnp.array([True, False]))


def rows(labels, transition=None):
    found = jax.nn.one_hot(labels, K)
    return found if transition is None else found @ transition


def mixed(own, partner, lam):
    return own if partner is None else lam[:, None] * own + (1 - lam[:, None]) * own[partner]


CASES = {
    "plain": ({}, lambda: rows(LABELS)),
    "smoothed": ({"alpha": 0.1}, lambda: nj.labels.smooth(LABELS, 0.1, num_classes=K)),
    "smoothed by example": (
        {"alpha": np.linspace(0, 1, B, dtype=np.float32)},
        lambda: nj.labels.smooth(LABELS, np.linspace(0, 1, B, dtype=np.float32), num_classes=K),
    ),
    "mixed": (
        {"alpha": 0.2, "lam": LAM, "partner": PARTNER},
        lambda: nj.labels.smooth(mixed(rows(LABELS), PARTNER, LAM), 0.2),
    ),
    "rolled": (
        {"lam": 0.3, "partner": 1},
        lambda: nj.blend(LABELS, 0.3, 1, num_classes=K),
    ),
    "flipped": ({"transition": TRANSITION}, lambda: rows(LABELS, TRANSITION)),
    "flipped and mixed": (
        {"transition": TRANSITION, "alpha": 0.1, "lam": LAM, "partner": PARTNER},
        lambda: nj.labels.smooth(mixed(rows(LABELS, TRANSITION), PARTNER, LAM), 0.1),
    ),
    "ignored": (
        {"ignore": int(LABELS[0]), "alpha": 0.1},
        lambda: nj.labels.smooth(LABELS, 0.1, num_classes=K, ignore=int(LABELS[0])),
    ),
    "ignored and mixed": (
        {"ignore": int(LABELS[0]), "lam": LAM, "partner": PARTNER},
        lambda: mixed(jnp.where((LABELS[0] == LABELS)[:, None], 0, rows(LABELS)), PARTNER, LAM),
    ),
    "possible": (
        {"where": POSSIBLE, "alpha": 0.3},
        lambda: nj.labels.smooth(LABELS, 0.3, num_classes=K, where=POSSIBLE),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_soft_rows(name):
    options, soft = CASES[name]
    where = options.get("where")
    target = soft()

    def unfused(logits):
        shown = logits if where is None else jnp.where(where[None], logits, -jnp.inf)
        logs = jnp.where(target > 0, jax.nn.log_softmax(shown), 0)
        loss = -(target * logs).sum(-1)
        return (loss * jnp.arange(1.0, B + 1)).sum(), loss

    def fused(logits):
        loss = nj.fused.cross_entropy(logits, LABELS, **options)
        return (loss * jnp.arange(1.0, B + 1)).sum(), loss

    (_, wanted), wanted_gradient = jax.value_and_grad(unfused, has_aux=True)(LOGITS)
    (_, got), gradient = jax.jit(jax.value_and_grad(fused, has_aux=True))(LOGITS)
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-5, atol=2e-6)


@pytest.mark.slow
def test_gradients_of_the_amounts_are_those_of_soft_rows():
    def unfused(alpha, lam):
        target = nj.labels.smooth(mixed(rows(LABELS), PARTNER, lam), alpha)
        return optax.softmax_cross_entropy(LOGITS, target).sum()

    def fused(alpha, lam):
        return nj.fused.cross_entropy(LOGITS, LABELS, alpha, lam, PARTNER).sum()

    for a, b in zip(*(jax.grad(f, (0, 1))(jnp.float32(0.2), LAM) for f in (fused, unfused)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1500, 2049])
def test_bfloat16_goes_by_blocks_and_agrees_with_the_widened_logits(classes):
    logits = jnp.asarray(20 * RNG.standard_normal((4, classes)) - 300, jnp.bfloat16)
    labels = jnp.array([0, 5, classes - 1, -1], jnp.int32)
    where = jnp.arange(classes) != 7

    def loss(logits):
        return nj.fused.cross_entropy(logits, labels, 0.1, where=where).sum()

    got, gradient = jax.jit(jax.value_and_grad(loss))(logits)
    wanted, wide = jax.value_and_grad(loss)(logits.astype(jnp.float32))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(gradient.astype(jnp.float32), wide, rtol=1e-2, atol=1e-6)


@pytest.mark.slow
def test_labels_that_are_no_class_cost_nothing():
    labels = jnp.array([K, -1, 0, 3, 255, -100])
    loss, gradient = jax.value_and_grad(lambda z: nj.fused.cross_entropy(z, labels, 0.1).sum())(LOGITS)
    assert not gradient[jnp.array([0, 1, 4, 5])].any() and gradient[2].any()
    assert np.isfinite(loss)
    none = nj.fused.cross_entropy(LOGITS, LABELS, 0.1, where=jnp.zeros(K, bool))
    assert not none.any()


def test_binary_targets_are_smoothed_and_ignored():
    labels = jnp.asarray(RNG.integers(-1, 2, (B, K)), jnp.int8)
    seen = labels >= 0

    def unfused(z):
        target = nj.labels.smooth(jnp.where(seen, labels, 0).astype(jnp.float32), 0.2, binary=True)
        return jnp.where(seen, optax.sigmoid_binary_cross_entropy(z, target), 0).sum()

    def fused(z):
        return nj.fused.binary_cross_entropy(z, labels, 0.2, ignore=-1).sum()

    for a, b in zip(*(jax.value_and_grad(f)(LOGITS) for f in (fused, unfused)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_lists_of_labels_are_binary_targets():
    labels = np.array([[0, 3, 3], [1, -1, -1], [-1, 2, -1], [4, 5, 6], [-1, -1, -1], [10, 0, 10]], np.int32)
    target = np.stack([np.isin(np.arange(K), row) for row in labels]).astype(np.float32)
    alpha = jnp.linspace(0, 0.5, B)

    def unfused(z, alpha):
        smooth = nj.labels.smooth(target, alpha[:, None], binary=True)
        return optax.sigmoid_binary_cross_entropy(z, smooth).sum()

    def fused(z, alpha):
        return nj.fused.multi_label_cross_entropy(z, labels, alpha).sum()

    found = [jax.value_and_grad(f, (0, 1))(LOGITS, alpha) for f in (fused, unfused)]
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1024, 32_768), (2048, 131_072)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_nothing_of_the_size_of_the_logits_is_stored(shape, dtype):
    logits, labels = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(shape[:1], jnp.int32)
    partner = jax.ShapeDtypeStruct(shape[:1], jnp.int32)

    def loss(logits, labels, partner):
        return nj.fused.cross_entropy(logits, labels, 0.1, 0.7, partner).mean()

    compiled = jax.jit(jax.value_and_grad(loss)).lower(logits, labels, partner).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 0.1 * np.prod(shape) * jnp.dtype(dtype).itemsize


@pytest.mark.parametrize(
    ("function", "change", "message"),
    [
        ("cross_entropy", {"labels": np.array([0, K, 0, 0, 0, 0])}, r"labels in \[0, 11\), got 11"),
        ("cross_entropy", {"labels": np.zeros((B, K), np.int32)}, r"labels must have shape \(6,\)"),
        ("cross_entropy", {"labels": np.zeros(B, np.float32)}, "labels must be an array of integers"),
        ("cross_entropy", {"alpha": 1.5}, r"alpha must be in \[0, 1\]"),
        ("cross_entropy", {"lam": 0.5}, "give partner"),
        ("cross_entropy", {"partner": np.full(B, B), "lam": 0.5}, r"partner must be in \[0, 6\)"),
        ("cross_entropy", {"transition": np.ones((K, K))}, "transition"),
        ("cross_entropy", {"transition": np.eye(3)}, r"transition must have shape \(11, 11\)"),
        ("cross_entropy", {"where": np.ones(K)}, "where must be booleans"),
        ("binary_cross_entropy", {"labels": np.full((B, K), 2)}, r"labels must lie in \[0, 1\]"),
        ("binary_cross_entropy", {}, "labels must have the shape of logits"),
        ("multi_label_cross_entropy", {}, "labels must be lists"),
    ],
)
def test_bad_arguments(function, change, message):
    with pytest.raises((TypeError, ValueError), match=f"{function}: .*{message}"):
        getattr(nj.fused, function)(**({"logits": LOGITS, "labels": LABELS} | change))


def test_vmap_is_a_loop():
    mapped = jax.vmap(functools.partial(nj.fused.cross_entropy, alpha=0.1))(LOGITS[:, None], LABELS[:, None])
    np.testing.assert_allclose(mapped[:, 0], nj.fused.cross_entropy(LOGITS, LABELS, 0.1), rtol=1e-5)


def test_sums_over_blocks_of_classes_are_those_over_whole_rows():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2500)), jnp.float32)
    where = jnp.arange(2500) % 3 > 0
    for seen in (None, where[None]):
        for a, b in zip(_sums(x, seen), _blockwise_sums(x, seen), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)
