"""Law 5: same shape, same dtype, one rounding, an exact identity, nothing lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from cases import every, every_even_heavy
from laws import programs


def wide(x):
    """As NumPy's: results are compared there, since in JAX every comparison would be compiled for every shape."""
    return np.asarray(x).astype(np.float64)


LOW = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])


def changes(case, before, after):
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    before, after = wide(before), wide(after)
    if case.function is not nj.nonfinite:
        assert np.isfinite(after).all()
    assert (after != before).any(), "the noise did nothing"


@every_even_heavy
def test_keeps_shape_and_dtype_and_stays_finite(case, key):
    changes(case, case.x(), case.bind()(key, case.x()))


@LOW
@every
def test_keeps_shape_and_low_precision_and_stays_finite(case, dtype):
    changes(case, programs.kinds(case)[dtype], programs.on_kinds(case)(case.bind())[dtype])


@every
def test_float64_stays_float64_where_x64_is_on(case, key):
    with jax.enable_x64(True):
        x = jnp.asarray(case.x().astype(np.float64) + 1e-12)
        y = case.bind()(key, x)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        same = case.bind(**case.neutral)(key, x)
        np.testing.assert_array_equal(same, x)  # float32 arithmetic would have lost the 1e-12


@every_even_heavy
def test_neutral_amounts_are_the_identity(case, key):
    np.testing.assert_array_equal(case.bind(**case.neutral)(key, case.x()), case.x())


@LOW
@every
def test_neutral_amounts_are_the_identity_in_low_precision(case, dtype):
    same = programs.on_kinds(case)(case.bind(**case.neutral))[dtype]
    np.testing.assert_array_equal(same, programs.kinds(case)[dtype])


@every
def test_low_precision_is_the_rounded_float32_result(case):
    if case.measures:
        pytest.skip("its draw depends on x, which is another one in bfloat16")
    x = programs.kinds(case)["bfloat16"]
    low = np.asarray(programs.on_kinds(case)(case.bind())["bfloat16"])
    full = np.asarray(case.bind()(programs.KEYS[0], x.astype(np.float32))).astype(jnp.bfloat16)
    # jit may contract a multiply and an add, which can move the result across a rounding boundary. A normal that goes
    # into bfloat16 is within 0.003 of that for float32 (tests/random/test_sample.py).
    normal = case.name in ("gaussian", "speckle", "gaussian_dropout")
    assert np.mean(low.view(np.uint16) != full.view(np.uint16)) < (0.25 if normal else 0.02)
    np.testing.assert_allclose(wide(low), wide(full), rtol=0.01, atol=0.003 if normal else 1e-6)


@every
def test_uint8_images_round_and_saturate_or_are_refused(case):
    x, key = case.array(jnp.uint8), programs.KEYS[0]
    if not case.images:
        with pytest.raises(TypeError, match="uint8"):
            case.bind()(key, x)
        return
    y = programs.on_kinds(case)(case.bind())["uint8"]
    assert (y.shape, y.dtype) == (x.shape, jnp.uint8)
    if not case.measures:
        white = np.float32(255 if case.unit else 1)
        exact = white * wide(case.bind()(key, np.asarray(x, np.float32) / white))
        expected = np.clip(np.round(np.nan_to_num(exact, nan=0.0)), 0, 255)
        assert np.abs(wide(y) - expected).max() <= 1
        assert np.mean(wide(y) != expected) < 0.02


@every
def test_integers_are_exact_or_refused(case, key):
    if case.codes:
        pytest.skip("it acts on codes, which its own tests do")
    x = programs.integers(case)
    if not case.integers:
        with pytest.raises(TypeError, match="int32"):
            case.bind()(key, x)
        return
    y = programs.on_kinds(case)(case.bind())["int32"]
    assert y.dtype == jnp.int32
    assert 0 < np.mean(np.asarray(y) == x) < 1


@every_even_heavy
def test_nan_and_inf_pass_where_they_are_not_hit(case, key):
    if case.measures:
        pytest.skip("it measures x, and a measure of NaN is NaN")
    special = case.x()
    special[(0,) * special.ndim], special[(-1,) * special.ndim] = np.nan, np.inf
    y = case.bind(**case.neutral)(key, special)
    np.testing.assert_array_equal(y, special)
    if case.hits and not case.gathers:
        y, hit = map(np.asarray, programs.jitted(case)[0](case.bind(), key, special))
        was, now = np.isnan(special), np.isnan(y)
        np.testing.assert_array_equal(now[~hit], was[~hit])
        if case.function.__name__ == "ternary_mask":  # it may only flip the sign
            assert not (now & ~was).any()
        elif case.function is not nj.nonfinite:
            assert not now[hit].any()


@every
def test_padding_is_never_touched(case):
    x, run, changed = case.x(), programs.on_kinds(case), []
    for where, lengths in programs.padding(case):
        y = np.asarray(run(case.bind(), where, lengths)["padded"])
        valid = np.arange(x.shape[1])[None] < lengths[:, None]
        touchable = where & valid.reshape(valid.shape + (1,) * (x.ndim - 2))
        np.testing.assert_array_equal(np.where(touchable, 0, y), np.where(touchable, 0, x))
        changed.append((y != x).any())
    assert changed[0] or changed[1], "the noise did nothing"  # where both say what is padding, little may be left


@every
def test_empty_scalar_and_odd_shapes(case):
    values = programs.on_kinds(case)(case.bind())
    for name in ("empty", "scalar", "line"):
        if name in values:
            assert values[name].shape == programs.kinds(case)[name].shape
    assert ("scalar" in values) == (case.elementwise and not case.options)


@every_even_heavy
def test_numpy_arrays_are_welcome(case, key):
    np.testing.assert_array_equal(case.bind()(key, case.x()), case.bind()(key, case.array()))
