"""noisejax.optim: clipping and noise for differential privacy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import noisejax.optim as no

N = 1 << 16


def normal(sample, scale):
    """Whether a Kolmogorov-Smirnov test lets a sample pass as normal; a right one fails once in 10,000 times."""
    return scipy.stats.kstest(np.asarray(sample, np.float64).ravel() / scale, "norm").pvalue > 1e-4


def once(tx, grads, params=None):
    """The first updates of a transform."""
    return jax.jit(lambda grads: tx.update(grads, tx.init(None), params)[0])(grads)


def like(grads):
    """Parameters that have these gradients per example."""
    return jax.tree.map(lambda g: jnp.zeros(g.shape[1:], g.dtype), grads)


clipped_sum = jax.jit(no.clipped_sum)


@pytest.fixture
def grads():
    rng = np.random.default_rng(0)
    scale = np.exp2(rng.integers(-4, 5, 20)).astype(np.float32)
    tree = {"w": rng.normal(size=(20, 3, 4)), "b": rng.normal(size=(20, 5))}
    return jax.tree.map(lambda g: jnp.asarray((g.astype(np.float32).T * scale).T), tree)


def reference(grads, clip, rows=slice(None)):
    """The clipped sum in float64, example by example."""
    flat = np.concatenate([np.asarray(g, np.float64).reshape(len(g), -1) for g in jax.tree.leaves(grads)], 1)[rows]
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return (flat * np.minimum(1, clip / norms)).sum(0)


def flat(tree):
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def test_clipped_sum_is_the_definition(grads):
    total = clipped_sum(grads, 2.0)
    np.testing.assert_allclose(flat(total), reference(grads, 2.0), rtol=1e-5, atol=1e-5)
    where = jnp.arange(20) < 13
    some = clipped_sum(grads, 2.0, where=where)
    np.testing.assert_allclose(flat(some), reference(grads, 2.0, slice(13)), rtol=1e-5, atol=1e-5)
    halves = [
        clipped_sum(jax.tree.map(lambda g, s=s: np.asarray(g)[s], grads), 2.0) for s in (slice(8), slice(8, None))
    ]
    np.testing.assert_allclose(flat(halves[0]) + flat(halves[1]), flat(total), atol=1e-5)


def test_one_example_moves_the_sum_by_the_clip_at_most(grads):
    clip = 0.7
    total = flat(clipped_sum(grads, clip))
    hostile = [jnp.nan, jnp.inf, 1e30, 1e15, 0.0, 1e-30]
    for value in hostile:
        changed = jax.tree.map(
            lambda g, v=value: np.where(np.arange(20).reshape(20, *[1] * (g.ndim - 1)) == 3, np.float32(v), g), grads
        )
        rest = flat(clipped_sum(grads, clip, where=jnp.arange(20) != 3))
        moved = flat(clipped_sum(changed, clip)) - rest
        assert np.isfinite(moved).all()
        assert np.linalg.norm(moved) <= clip * (1 + 1e-5)
    assert np.linalg.norm(total - rest) <= clip * (1 + 1e-5)


@pytest.mark.slow
def test_the_aggregate_is_optaxs_without_noise_and_the_mechanism_with(grads, key):
    ours = no.differentially_private_aggregate(key, 2.0, 0.0)
    theirs = optax.contrib.differentially_private_aggregate(2.0, 0.0, key)
    mean = once(ours, grads, like(grads))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = once(theirs, grads)
    np.testing.assert_allclose(flat(mean), flat(expected), rtol=1e-5, atol=1e-6)
    # Zero gradients: the noise alone, of std clip * multiplier / batch size.
    zeros = jnp.zeros((4, N))
    for batch_size, divisor in ((None, 4), (1, 1), (6.5, 6.5)):
        tx = no.differentially_private_aggregate(key, 2.0, 1.5, batch_size)
        update = jax.jit(tx.update)
        noise, state = update(zeros, tx.init(None), like(zeros))
        assert noise.shape == (N,)
        assert normal(noise, 2.0 * 1.5 / divisor)
    again, _ = update(zeros, state, like(zeros))
    assert abs(np.corrcoef(noise, again)[0, 1]) < 5 / np.sqrt(N)


def test_bfloat16_gradients_get_float32_noise(key):
    tx = no.differentially_private_aggregate(key, 1.0, 1.0)
    noise = once(tx, jnp.zeros((1, N), jnp.bfloat16), jnp.zeros(N, jnp.bfloat16))
    assert noise.dtype == jnp.bfloat16
    assert len(np.unique(noise)) > 2000
    theirs = optax.contrib.differentially_private_aggregate(1.0, 1.0, key)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        other = once(theirs, jnp.zeros((1, N), jnp.bfloat16))
    assert len(np.unique(other)) < 200  # the defect that this one does not have
    # The clipping and the sum are float32, too: in bfloat16 a sum of ones would stop at 256.
    exact = no.differentially_private_aggregate(key, 1.0, 0.0, 1)
    total = once(exact, jnp.ones((500, 1), jnp.bfloat16), jnp.ones(1, jnp.bfloat16))
    assert total == 500


def test_noise_is_added_once_to_accumulated_sums(grads, key):
    whole = no.differentially_private_aggregate(key, 2.0, 1.1, 20)
    added = no.add_private_noise(key, 2.0, 1.1, 20)
    total = jax.tree.map(jnp.add, *(
        clipped_sum(jax.tree.map(lambda g, s=s: np.asarray(g)[s], grads), 2.0) for s in (slice(8), slice(8, None))
    ))  # fmt: skip
    np.testing.assert_allclose(flat(once(added, total)), flat(once(whole, grads, like(grads))), atol=1e-5)


def test_padding_and_schedules_go_through_a_chain(grads, key):
    clip = optax.linear_schedule(2.0, 1.0, 1)
    tx = optax.chain(no.differentially_private_aggregate(key, clip, 0.0, 10.0), optax.sgd(1.0))
    update, where = jax.jit(tx.update), jnp.arange(20) < 13
    state = tx.init(None)
    for level in (2.0, 1.0):
        updates, state = update(grads, state, like(grads), where=where)
        np.testing.assert_allclose(flat(updates), -reference(grads, level, slice(13)) / 10, rtol=1e-5, atol=1e-5)
    assert update._cache_size() == 1


def test_errors_of_privacy(grads, key):
    with pytest.raises(ValueError, match="l2_norm_clip must be above 0"):
        no.differentially_private_aggregate(key, 0.0, 1.0)
    with pytest.raises(ValueError, match="noise_multiplier must be at least 0"):
        no.add_private_noise(key, 1.0, -1.0, 10)
    with pytest.raises(ValueError, match=r"where must be booleans of shape \(20,\)"):
        no.clipped_sum(grads, 1.0, where=jnp.ones(3, bool))
    with pytest.raises(TypeError, match="leading axis of examples"):
        no.clipped_sum({"w": jnp.ones(())}, 1.0)


PARAMS = {"k": jnp.ones((4, 4)), "b": jnp.ones(4)}
MEAN = jax.tree.map(jnp.ones_like, PARAMS)


@pytest.mark.parametrize(
    ("params", "grads", "match"),
    [
        (PARAMS, MEAN, r"the gradient of 'b' must have shape \(B, 4\), .* got \(4,\)\. Take gradients per example"),
        (jnp.ones((8, 8)), jnp.ones((8, 8)), r"the gradient must have shape \(B, 8, 8\)"),
        ({"s": jnp.ones(())}, {"s": jnp.ones(())}, r"of 's' must have shape \(B,\)"),
        (PARAMS, {"k": jnp.ones((8, 4, 4)), "b": jnp.ones((4, 4))}, r"of 'k' .*\(B, 4, 4\)"),
        (PARAMS, {"k": jnp.ones((4, 4)), "b": jnp.ones((8, 4))}, r"of 'k' .*\(B, 4, 4\)"),
        (PARAMS, {"k": jnp.ones((3, 4, 4)), "b": jnp.ones((3, 1, 4))}, r"of 'b' "),
        (PARAMS, {"k": jnp.ones((3, 4, 4)), "c": jnp.ones((3, 4))}, "params must have the structure"),
        (None, MEAN, r"params must be given, got None. Write update\(grads, state, params\)"),
    ],
    ids=["a mean", "a square", "scalars", "two sizes", "one of two", "a rank more", "other names", "no params"],
)
def test_gradients_that_are_not_per_example(params, grads, match, key):
    tx = optax.chain(no.differentially_private_aggregate(key, 1.0, 1.0), optax.sgd(0.1))
    for update in (tx.update, jax.jit(tx.update)):
        with pytest.raises(ValueError, match=f"differentially_private_aggregate: .*{match}"):
            update(grads, tx.init(params), params)


@pytest.mark.slow
def test_sums_that_are_not_sums(key):
    tx = no.add_private_noise(key, 1.0, 1.0, 8)
    for grads in (jnp.ones((8, 4, 4)), jnp.ones((8, 4))):
        with pytest.raises(ValueError, match=r"add_private_noise: the sum .* shape of the parameter, \(4, 4\)"):
            tx.update(grads, tx.init(PARAMS["k"]), PARAMS["k"])
    assert tx.update(MEAN, tx.init(PARAMS), PARAMS)[0]["b"].shape == (4,)


@pytest.mark.slow
def test_accumulation_before_clipping_raises_and_its_advice_works(key):
    private = optax.chain(no.differentially_private_aggregate(key, 1.0, 1.1), optax.sgd(0.1))
    for tx in (optax.MultiSteps(private, 2), optax.MultiSteps(private, 2).gradient_transformation()):
        for grads in (MEAN, jax.tree.map(lambda p: jnp.ones((4, *p.shape)), PARAMS)):
            raises = pytest.raises(TypeError, match=r"averaged before they are clipped, got .* optax\.MultiSteps")
            with raises, jax.numpy_dtype_promotion("standard"):
                jax.jit(tx.update)(grads, tx.init(PARAMS), PARAMS)
    per_example = jax.tree.map(lambda p: jnp.ones((4, *p.shape)), PARAMS)
    advised = no.add_private_noise(key, 1.0, 0.0, 8)
    total = jax.tree.map(jnp.add, clipped_sum(per_example, 1.0), clipped_sum(per_example, 1.0))
    mean, _ = advised.update(total, advised.init(PARAMS), PARAMS)
    np.testing.assert_allclose(optax.tree.norm(mean), 1, rtol=1e-6)


def test_sizes_and_variances_follow_no_schedule(key):
    calls = {
        "add_private_noise: batch_size": lambda s: no.add_private_noise(key, 1.0, 0.5, s),
        "differentially_private_aggregate: batch_size": lambda s: no.differentially_private_aggregate(key, 1.0, 0.5, s),
        "annealed_std: eta": lambda s: no.annealed_std(s),
        "annealed_std: gamma": lambda s: no.annealed_std(0.1, s),
        "clipped_sum: l2_norm_clip": lambda s: no.clipped_sum(jnp.ones((2, 3)), s),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"{name} must be a number, not a function of the step"):
            call(lambda step: 0.1)


def test_a_sum_of_nothing():
    for grads in ({}, [], None):
        with pytest.raises(ValueError, match="clipped_sum: grads must be a tree of arrays, one gradient for each"):
            no.clipped_sum(grads, 1.0)


def test_gradients_of_different_numbers_of_examples():
    with pytest.raises(ValueError, match=r"clipped_sum: all entries must have the same number .* grads 0 .* grads 1"):
        no.clipped_sum({"a": jnp.ones((4, 2)), "b": jnp.ones((3, 2))}, 1.0)
