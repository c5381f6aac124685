"""No optimizer trains a noise away by accident: amounts of noises in a tree of parameters stay what they are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisejax as nj
from noisejax import optim

NOISES = {
    "bound": nj.bind(nj.gaussian, std=0.1),
    "chain": nj.chain(nj.bind(nj.gaussian, std=jnp.full((1, 3), 0.1)), nj.sometimes(nj.bind(nj.mask, rate=0.5), 0.2)),
}


def params(name):
    return {"w": jnp.ones((4, 3)), "noise": [NOISES[name]]}


def loss(params, key):
    return jnp.sum(jnp.square(params["noise"][0](key, params["w"])))


def train(optimizer, params, key, steps=20):
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(steps):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = update(jax.grad(loss)(params, jax.random.fold_in(key, step)), state, params)
            params = optax.apply_updates(params, updates)
    return params


@pytest.mark.slow
@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize(
    "inner",
    [optax.adamw(0.1, weight_decay=1.0), optax.chain(optax.add_decayed_weights(1.0), optax.sgd(0.1)), optax.lion(0.1)],
    ids=["adamw", "decayed sgd", "lion"],
)
def test_weight_decay_does_not_reach_a_masked_noise(inner, name, key):
    before = params(name)
    bare = train(inner, before, key)
    assert bare["noise"][0] != before["noise"][0]  # the accident
    after = train(optax.masked(inner, optim.trainable), before, key)
    assert after["noise"][0] == before["noise"][0]
    assert bool(jnp.all(after["w"] != before["w"]))


TRANSFORMS = {
    "add_noise": lambda key: optim.add_noise(key, 1.0),
    "apply_noise": lambda key: optim.apply_noise(key, nj.bind(nj.laplace, scale=1.0)),
    "sgld": lambda key: optim.sgld(key, 0.1),
    "preconditioned_sgld": lambda key: optim.preconditioned_sgld(key, 0.1),
    "anticorrelated": lambda key: optim.add_anticorrelated_noise(key, 1.0),
    "private": lambda key: optim.add_private_noise(key, 1.0, 1.0, 4),
    "rounding": lambda key: optim.stochastic_rounding(key),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_noise_of_our_transforms_does_not_reach_a_noise(transform, name, key):
    after = train(TRANSFORMS[transform](key), before := params(name), key, 3)
    assert after["noise"][0] == before["noise"][0]
    assert bool(jnp.any(after["w"] != before["w"]))


@pytest.mark.parametrize("name", NOISES)
def test_perturbed_weights_are_not_perturbed_noises(name, key):
    before = params(name)
    after = nj.weights.perturb(key, before, nj.bind(nj.gaussian, std=1.0))
    assert after["noise"][0] == before["noise"][0] and bool(jnp.all(after["w"] != before["w"]))
    with pytest.raises(ValueError, match="selects no floating-point leaf"):
        nj.weights.perturb(key, before, nj.bind(nj.gaussian, std=1.0), only="noise/*")


def test_learnable_noises_are_trained(key):
    before = {"w": jnp.ones(3), "noise": nj.chain(NOISES["bound"], nj.learnable(nj.bind(nj.gaussian, std=0.1)))}
    mask = optim.trainable(before)
    assert [noise.amounts["std"] for noise in mask["noise"].stages] == [False, True] and mask["w"] is True
    after = nj.weights.perturb(key, before, nj.bind(nj.gaussian, std=1.0))
    assert (
        after["noise"].stages[0] == before["noise"].stages[0] and after["noise"].stages[1] != before["noise"].stages[1]
    )
    np.testing.assert_array_equal(jax.tree.leaves(optim.trainable({"a": 1.0, "b": [jnp.ones(3), None]})), True)
