"""Checks of arguments by their kind, which the generator of bad input found missing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax._checks import kinds

KEY = jax.random.key(0)
X = np.ones((4, 3), np.float32)


@pytest.mark.parametrize("value", ["no", None, 2, 0.5, [1], np.ones(2), jax.random.key(0)])
def test_what_is_neither_true_nor_false(value):
    with pytest.raises(TypeError, match="drop_connect: rescale must be True or False, got"):
        nj.weights.drop_connect(KEY, X, 0.5, rescale=value)


def test_true_and_false():
    for value in (True, np.True_, 1):
        assert kinds.flag("f", "x", value) is True
    assert kinds.flag("f", "x", 0) is False


@pytest.mark.parametrize("value", [True, 2.0, "2", None, -1, 2**31, np.ones(2)])
def test_counts(value):
    with pytest.raises(ValueError, match=r"f: n must be an integer, at least 1( and below 2\*\*31)?, got"):
        kinds.count("f", "n", value, 1)


@pytest.mark.parametrize(
    "value",
    [np.array([None]), np.array(["a"]), np.datetime64("2020"), 1j, [[1], [1, 2]], {1}, jax.random.key(0), object],
)
def test_what_is_no_amount(value):
    with pytest.raises(TypeError, match="std must be a number or an array"):
        nj.gaussian(KEY, X, value)


def test_integers_beyond_64_bits_are_amounts():
    assert np.isfinite(nj.gaussian(KEY, X, 2**70)).all()
    with pytest.raises(ValueError, match="std must lie in the range of float32"):
        nj.gaussian(KEY, X, 10**40)


@pytest.mark.parametrize("where", ["a", {"a": 1}, object(), 0.5])
def test_what_is_no_mask(where):
    with pytest.raises(TypeError, match="gaussian: where must be"):
        nj.gaussian(KEY, X, 1.0, where=where)
    mask = [[True, False, True]] * 4
    assert (nj.gaussian(KEY, X, 1.0, where=mask) == nj.gaussian(KEY, X, 1.0, where=np.array(mask))).all()


def test_changed_compares_two_arrays():
    for y in (None, [1.0], X[:2], "a"):
        with pytest.raises((TypeError, ValueError), match="changed: y must"):
            nj.changed(X, y)


def test_a_noise_that_forgets_to_return():
    with pytest.raises(TypeError, match="must return the noisy x, got None"):
        nj.chain(lambda key, x: None)(KEY, X)


def test_rates_of_other_examples():
    with pytest.raises(ValueError, match="sometimes: rate must be one number, or one for each of"):
        nj.sometimes(nj.bind(nj.gaussian, std=1.0), np.full(7, 0.5))(KEY, X)


def test_clipping_takes_float64_where_jax_has_none():
    assert nj.clip(0, 1)(KEY, 2 * X.astype(np.float64)).dtype == jnp.float32
