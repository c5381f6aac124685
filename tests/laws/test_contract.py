"""Law 5: same shape, same dtype, one rounding, an exact identity, nothing lost."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from cases import every


def wide(x):
    """As NumPy's: results are compared there, since in JAX every comparison would be compiled for every shape."""
    return np.asarray(x).astype(np.float64)


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_keeps_shape_and_dtype_and_stays_finite(case, dtype, key):
    x = case.array(dtype)
    y = case.bind()(key, x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    before, after = wide(x), wide(y)
    if case.function.__name__ != "nonfinite":
        assert np.isfinite(after).all()
    assert (after != before).any(), "the noise did nothing"


@every
def test_float64_stays_float64_where_x64_is_on(case, key):
    with jax.enable_x64(True):
        x = jnp.asarray(case.x(), jnp.float64) + 1e-12
        y = case.bind()(key, x)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        same = case.bind(**case.neutral)(key, x)
        np.testing.assert_array_equal(same, x)  # float32 arithmetic would have lost the 1e-12


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_neutral_amounts_are_the_identity(case, dtype, key):
    x = case.array(dtype)
    np.testing.assert_array_equal(case.bind(**case.neutral)(key, x), x)


@every
def test_low_precision_is_the_rounded_float32_result(case, key):
    if case.measures:
        pytest.skip("its draw depends on x, which is another one in bfloat16")
    x = case.array(jnp.bfloat16)
    low = case.bind()(key, x)
    full = case.bind()(key, x.astype(jnp.float32)).astype(jnp.bfloat16)
    # jit may contract a multiply and an add, which can move the result across a rounding boundary. A normal that goes
    # into bfloat16 is within 0.003 of that for float32 (tests/test_sample.py).
    normal = case.name in ("gaussian", "speckle", "gaussian_dropout")
    assert np.mean(np.asarray(low).view(np.uint16) != np.asarray(full).view(np.uint16)) < (0.25 if normal else 0.02)
    np.testing.assert_allclose(wide(low), wide(full), rtol=0.01, atol=0.003 if normal else 1e-6)


@every
def test_uint8_images_round_and_saturate_or_are_refused(case, key):
    x = case.array(jnp.uint8)
    if not case.images:
        with pytest.raises(TypeError, match="uint8"):
            case.bind()(key, x)
        return
    y = case.bind()(key, x)
    assert (y.shape, y.dtype) == (x.shape, jnp.uint8)
    if not case.measures:
        exact = wide(case.bind()(key, x.astype(jnp.float32)))
        expected = np.clip(np.round(np.nan_to_num(exact, nan=0.0)), 0, 255)
        assert np.abs(wide(y) - expected).max() <= 1
        assert np.mean(wide(y) != expected) < 0.02


@every
def test_integers_are_exact_or_refused(case, key):
    shape = case.x().shape
    x = jnp.asarray(2**24 + 1 + 2 * np.arange(math.prod(shape), dtype=np.int32).reshape(shape))  # none is a float32
    if not case.integers:
        with pytest.raises(TypeError, match="int32"):
            case.bind()(key, x)
        return
    y = case.bind()(key, x)
    assert y.dtype == jnp.int32
    assert 0 < np.mean(np.asarray(y) == np.asarray(x)) < 1


@every
def test_nan_and_inf_pass_where_they_are_not_hit(case, key):
    x = case.array()
    if case.measures:
        pytest.skip("it measures x, and a measure of NaN is NaN")
    special = np.array(x)
    special[(0,) * x.ndim], special[(-1,) * x.ndim] = np.nan, np.inf
    y = case.bind(**case.neutral)(key, special)
    np.testing.assert_array_equal(y, special)
    if case.hits and not case.gathers:
        mask = np.asarray(nj.hits(case.bind())(key, special))
        was, now = np.isnan(special), np.isnan(case.bind()(key, special))
        np.testing.assert_array_equal(now[~mask], was[~mask])
        if case.function.__name__ == "ternary_mask":  # it may only flip the sign
            assert not (now & ~was).any()
        elif case.function.__name__ != "nonfinite":
            assert not now[mask].any()


@every
def test_padding_is_never_touched(case, key):
    x = case.array()
    where = np.random.default_rng(1).random(x.shape) < 0.5
    y = case.bind()(key, x, where=jnp.asarray(where))
    np.testing.assert_array_equal(np.where(where, 0, y), np.where(where, 0, x))
    assert (np.asarray(y) != np.asarray(x)).any()
    lengths = np.arange(x.shape[0], dtype=np.int32) % (x.shape[1] + 1)
    y = case.bind()(key, x, lengths=jnp.asarray(lengths))
    valid = np.arange(x.shape[1])[None] < lengths[:, None]
    valid = valid.reshape(valid.shape + (1,) * (x.ndim - 2))
    np.testing.assert_array_equal(np.where(valid, 0, y), np.where(valid, 0, x))


@every
def test_empty_scalar_and_odd_shapes(case, key):
    x = case.array()
    empty = x[:0]
    assert case.bind()(key, empty).shape == empty.shape
    if case.elementwise and not case.options:
        assert case.bind()(key, jnp.float32(1.5)).shape == ()
        assert case.bind()(key, jnp.ones(7)).shape == (7,)


@every
def test_numpy_arrays_are_welcome(case, key):
    x = case.x()
    np.testing.assert_array_equal(case.bind()(key, x), case.bind()(key, jnp.asarray(x)))
