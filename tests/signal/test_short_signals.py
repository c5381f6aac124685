"""Every fault of signals on single steps, odd numbers of steps and examples of different lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from cases import signal as family

STEPS = 17
LENGTHS = np.array([STEPS, 9, 1, 0], np.int32)
X = np.random.default_rng(0).standard_normal((4, STEPS, 6)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("case", family.CASES, ids=repr)
def test_padding_stays_and_what_it_holds_has_no_effect(case, key):
    noise = case.bind()
    other = X.copy()
    for row, n in zip(other, LENGTHS, strict=True):
        row[n:] = -99.0
    run = jax.jit(lambda x: noise(key, x, lengths=LENGTHS))
    y, again = np.asarray(run(X)), np.asarray(run(other))
    for n, a, b, x in zip(LENGTHS, y, again, X, strict=True):
        np.testing.assert_array_equal(a[n:], x[n:])
        np.testing.assert_array_equal(a[:n], b[:n])
    assert np.isfinite(y).all()
    padded = noise(key, nj.Padded(jnp.asarray(X), LENGTHS))
    np.testing.assert_allclose(padded.values, y, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("case", [c for c in family.CASES if "segments" not in c.options], ids=repr)
def test_a_single_step_and_the_identity(case, dtype, key):
    x = jnp.asarray(X[:, :1], dtype)
    y = jax.jit(case.bind())(key, x)
    assert y.shape == x.shape and y.dtype == dtype and bool(jnp.isfinite(y).all())
    same = jax.jit(case.bind(**case.neutral))(key, x)
    np.testing.assert_array_equal(np.asarray(same, np.float32), np.asarray(x, np.float32))
