"""Square on models that draw noise: what averaging over keys does, and that no luck is kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisejax import adversarial
from noisejax.adversarial import Linf

# What is compiled here runs for milliseconds: LLVM's passes would take most of the time.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(5)
B, H = 8, 4
X = RNG.uniform(0.3, 0.7, size=(B, H, H, 1)).astype(np.float32)
W = RNG.normal(size=(H * H,)).astype(np.float32)
Y = np.zeros(B, np.int32)
THREAT = Linf(0.1, (-9, 9))
OFFSET = np.float32((X.reshape(B, -1) @ W).max() + 0.1 * np.abs(W).sum() + 0.5)  # so that nothing in the ball is fooled


def lead(x):
    return x.reshape(x.shape[0], -1) @ jnp.asarray(W) - OFFSET


def of_lead(z):
    return jnp.stack([z * 0, z], axis=1)


def still(x):
    return of_lead(lead(x))


def shifted(key, x):
    """Noise that does not depend on x, and larger than what separates the classes: half of all looks see a success."""
    return of_lead(lead(x) + 20 * jax.random.normal(key))


def shaken(key, x):
    """The features' weights are drawn: each key has another worst window."""
    drawn = 4 * jax.random.normal(key, (H * H,))
    return of_lead(lead(x) + (x - X[: x.shape[0]]).reshape(x.shape[0], -1) @ drawn)


@functools.cache
def compiled(model, eot, **options):
    def run(key, x, y, ids=None):
        return adversarial.square(key, model, x, y, THREAT, queries=60, eot=eot, ids=ids, **options)

    return quick(run)


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [1, 2])
def test_a_look_that_was_lucky_is_not_kept(restarts, key):
    # The noise is the same for what is tried and for what is held against it, so it decides nothing. Were the margin
    # of a lucky look remembered, or an example left alone once it seemed fooled, the search would stand still.
    quiet = compiled(still, 0, restarts=restarts)(key, X, Y)
    noisy = compiled(shifted, 2, restarts=restarts)(key, X, Y)
    np.testing.assert_allclose(noisy, quiet, atol=1e-6)
    assert np.all(THREAT.contains(noisy - X, X)) and np.all(lead(quiet) > lead(X))


@pytest.mark.slow
def test_one_look_overstates_success_and_the_majority_does_not(key):
    found = compiled(shifted, 2)(key, X, Y)
    looks = jax.random.split(jax.random.key(9), 401)
    hits = jax.vmap(lambda key: adversarial.misclassified(functools.partial(shifted, key))(found, Y))(looks)
    assert 0.3 < np.mean(hits) < 0.5 and not np.any(np.mean(hits, axis=0) > 0.5)  # no example is fooled on average


@pytest.mark.slow
def test_more_keys_find_more_of_the_mean(key):
    gains = {
        eot: np.mean([np.mean(lead(compiled(shaken, eot)(k, X, Y)) - lead(X)) for k in jax.random.split(key, 3)])
        for eot in (1, 32)
    }
    assert gains[32] > gains[1] + 0.1 * np.abs(W).sum() * 0.1


@pytest.mark.slow
def test_it_depends_on_the_key_and_not_on_the_batch(key):
    run, ids = compiled(shifted, 2), np.arange(B)
    whole = run(key, X, Y, ids)
    np.testing.assert_array_equal(whole, run(key, X, Y, ids))
    assert np.any(compiled(shaken, 1)(key, X, Y) != compiled(shaken, 1)(jax.random.key(1), X, Y))
    some = np.array([5, 2, 3, 7])
    np.testing.assert_allclose(whole[some], run(key, X[some], Y[some], some), atol=1e-6)


def test_bad_arguments_say_what_is_wrong(key):
    with pytest.raises(ValueError, match="eot must be an integer, at least 0"):
        adversarial.square(key, shifted, X, Y, THREAT, eot=-1)
    with pytest.raises(ValueError, match=r"logits of shape \(8, classes\)"):
        adversarial.square(key, lambda key, x: x.sum(), X, Y, THREAT, eot=2)
