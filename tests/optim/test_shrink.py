"""Shrink and perturb: the formula, its draws, what it leaves alone, and the claim about hidden layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax import optim

PARAMS = {"kernel": jnp.full((200, 300), 0.5), "bias": jnp.zeros(300), "steps": jnp.int32(3)}


@pytest.mark.slow
def test_the_formula_and_the_distribution(key):
    """One Kolmogorov-Smirnov test of 60,000 draws; a right draw fails for one key in 10,000."""
    new = jax.jit(optim.shrink_and_perturb)(key, PARAMS, 0.4, 0.1)
    z = (np.asarray(new["kernel"], np.float64) - 0.4 * 0.5) / 0.1
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    assert new["steps"] == 3 and new["bias"].dtype == jnp.float32
    assert float(jnp.abs(jnp.corrcoef(z[0], new["bias"])[0, 1])) < 0.3  # streams of their own
    for name in ("kernel", "bias"):
        shrunk = optim.shrink_and_perturb(key, PARAMS, 0.4, 0.0)[name]
        np.testing.assert_allclose(shrunk, 0.4 * PARAMS[name], rtol=1e-6)
        np.testing.assert_array_equal(optim.shrink_and_perturb(key, PARAMS, 1.0, 0.0)[name], PARAMS[name])


@pytest.mark.slow
def test_leaves_are_selected_by_path_and_have_their_own_streams(key):
    only = optim.shrink_and_perturb(key, PARAMS, 0.5, 0.1, only="kernel")
    assert only["bias"] is PARAMS["bias"]
    more = optim.shrink_and_perturb(key, {**PARAMS, "another": jnp.ones(4)}, 0.5, 0.1)
    np.testing.assert_array_equal(more["kernel"], only["kernel"])
    narrow = optim.shrink_and_perturb(key, {"kernel": PARAMS["kernel"].astype(jnp.bfloat16)}, 0.5, 0.1)["kernel"]
    np.testing.assert_array_equal(narrow, only["kernel"].astype(jnp.bfloat16))
    noisy = {"noise": nj.bind(nj.gaussian, std=0.1), "w": jnp.ones(3)}
    assert optim.shrink_and_perturb(key, noisy, 0.5, 0.0)["noise"].amounts["std"] == np.float32(0.1)


@pytest.mark.slow
def test_hidden_layers_of_rectified_networks_scale_alike(key):
    """Without biases, shrinking all layers multiplies the logits, so that decisions remain."""
    layers = [jax.random.normal(k, (16, 16)) for k in jax.random.split(key, 3)]
    x = jax.random.normal(key, (50, 16))

    def logits(layers):
        return jax.nn.relu(jax.nn.relu(x @ layers[0]) @ layers[1]) @ layers[2]

    shrunk = optim.shrink_and_perturb(key, layers, 0.4, 0.0)
    np.testing.assert_allclose(logits(shrunk), 0.4**3 * logits(layers), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_amounts_may_be_traced_mapped_and_selected_in_a_loop(key):
    stacked = jax.vmap(lambda s: optim.shrink_and_perturb(key, PARAMS, s, 0.1)["bias"])(jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(stacked[0], stacked[1])

    def step(params, n):
        at = n % 2 == 1
        new = optim.shrink_and_perturb(jax.random.fold_in(key, n), params, jnp.where(at, 0.5, 1.0), 0.0)
        return new, new["kernel"][0, 0]

    _, values = jax.lax.scan(step, PARAMS, jnp.arange(4))
    np.testing.assert_allclose(values, [0.5, 0.25, 0.25, 0.125])


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"shrink": 1.5}, ValueError, r"shrink must be in \[0, 1\]"),
        ({"std": -0.1}, ValueError, "std must be at least 0"),
        ({"shrink": np.ones(3)}, ValueError, "shrink must be one number"),
        ({"only": "nothing"}, ValueError, "selects no floating-point leaf"),
        ({"key": 0}, TypeError, "shrink_and_perturb: key must be a JAX key"),
    ],
)
def test_bad_input(given, error, match, key):
    arguments = {"key": key, "params": PARAMS, "shrink": 0.5, "std": 0.1, **given}
    with pytest.raises(error, match=match):
        optim.shrink_and_perturb(**arguments)
