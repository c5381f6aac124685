"""Law 8: what was wrong, the value, and how to fix it; at trace time, from what the host knows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

X = jnp.ones((4, 3))
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nj.dropout(KEY, X, -0.1), ValueError, ["rate", "-0.1", "[0, 1]"]),
        (lambda: nj.dropout(KEY, X, 1.2), ValueError, ["rate", "1.2", "[0, 1]"]),
        (lambda: nj.mask(KEY, X, np.float32(1.5)), ValueError, ["rate", "1.5"]),
        (lambda: nj.gaussian(KEY, X, -1), ValueError, ["std", "-1"]),
        (lambda: nj.gaussian(KEY, X, float("inf")), ValueError, ["std", "inf"]),
        (lambda: nj.gaussian(0.5, X, 0.1), TypeError, ["key", "0.5", "jax.random.key"]),
        (lambda: nj.gaussian(42, X, 0.1), TypeError, ["raw seed", "jax.random.key(42)"]),
        (lambda: nj.gaussian(np.int64(42), X, 0.1), TypeError, ["raw seed"]),
        (lambda: nj.gaussian(X, KEY, 0.1), TypeError, ["Keys come first", "float32[4, 3]"]),
        (lambda: nj.gaussian(jax.random.split(KEY, 3), X, 0.1), ValueError, ["shape (3,)", "vmap"]),
        (lambda: nj.gaussian(jnp.zeros(4, jnp.uint32), X, 0.1), ValueError, ["shape (4,)", "(2,)"]),
        (lambda: nj.gaussian(KEY, jnp.arange(3), 0.1), TypeError, ["int32", "astype"]),
        (lambda: nj.dropout(KEY, jnp.arange(3), 0.1), TypeError, ["int32", "floats"]),
        (lambda: nj.gaussian(KEY, 1.5, 0.1), TypeError, ["x must be an array", "1.5"]),
        (lambda: nj.gaussian(KEY, X.astype(jnp.complex64), 0.1), TypeError, ["complex64"]),
        (lambda: nj.gaussian(KEY, X, jnp.ones(4)), ValueError, ["std", "(4,)", "(4, 3)", "(4, 1)", "per_example"]),
        (lambda: nj.gaussian(KEY, X, jnp.ones((2, 4, 3))), ValueError, ["std", "(2, 4, 3)"]),
        (lambda: nj.gaussian(KEY, X), TypeError, ["'std'", "missing"]),
        (lambda: nj.gaussian(KEY, X, 0.1, 0.2), TypeError, ["gaussian(", "2 amounts"]),
        (lambda: nj.gaussian(KEY, X, 0.1, std=0.2), TypeError, ["two values", "'std'"]),
        (lambda: nj.gaussian(KEY, X, sigma=0.2), TypeError, ["'sigma'", "std"]),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_same_checks_hold_under_jit_for_what_is_static_there():
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\]"):
        jax.jit(lambda key, x: nj.dropout(key, x, 1.2))(KEY, X)
    with pytest.raises(TypeError, match="int32"):
        jax.jit(lambda key, x: nj.gaussian(key, x, 0.1))(KEY, jnp.arange(3))


def test_traced_rates_clamp_and_device_values_are_not_read():
    run = jax.jit(lambda rate: nj.mask(KEY, X, rate))
    assert bool((run(1.5) == 0).all()) and bool((run(-0.5) == X).all())
    with jax.transfer_guard_device_to_host("disallow"):
        nj.mask(KEY, X, jnp.float32(1.5))
