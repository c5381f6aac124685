"""Dropout, residual sum and norm in one function against the three one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

RNG = np.random.default_rng(0)
X, RESIDUAL, OF_H, OF_Y = (jnp.asarray(RNG.standard_normal((3, 7, 40)), jnp.float32) for _ in range(4))
SCALE, SHIFT = (jnp.asarray(RNG.standard_normal(40), jnp.float32) for _ in range(2))


def one_by_one(key, x, residual, rate, scale, shift, norm):
    h = residual + nj.dropout(key, x, rate)
    wide = h.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True) if norm == "layer" else wide
    y = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(1e-6))
    y = y if scale is None else y * scale[None, None]
    return h, (y if shift is None else y + shift[None, None]).astype(x.dtype)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("gain", [True, False], ids=["gain", "plain"])
def test_values_and_gradients_are_those_of_the_three_one_by_one(norm, gain, key):
    rows = (SCALE, SHIFT) if gain else (None, None)
    rate = jnp.linspace(0, 1, 3)[:, None, None]

    def run(function):
        out, pullback = jax.vjp(lambda *given: function(*given), X, RESIDUAL, *rows)
        return jax.tree.leaves((out, pullback((OF_H, OF_Y))))

    wanted = run(lambda x, r, *rows: one_by_one(key, x, r, rate, *rows, norm))
    got = run(lambda x, r, *rows: nj.fused.dropout_residual_norm(key, x, r, rate, *rows, norm=norm))
    assert np.array_equal(got[0], wanted[0])
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_as_close_as_the_three_one_by_one(key):
    x, residual = X.astype(jnp.bfloat16), RESIDUAL.astype(jnp.bfloat16)
    h, y = nj.fused.dropout_residual_norm(key, x, residual, 0.2, SCALE)
    other_h, other_y = one_by_one(key, x, residual, 0.2, SCALE, None, "rms")
    assert h.dtype == y.dtype == jnp.bfloat16
    # The three round the dropped x before they add it.
    np.testing.assert_allclose(h.astype(jnp.float32), other_h.astype(jnp.float32), rtol=2e-2, atol=2e-2)
    np.testing.assert_allclose(y.astype(jnp.float32), other_y.astype(jnp.float32), rtol=4e-2, atol=4e-2)


def test_the_backward_pass_keeps_h_and_a_number_for_each_row(key):
    def layer(x, residual):
        return nj.fused.dropout_residual_norm(key, x, residual, 0.2, SCALE)

    _, pullback = jax.jit(lambda *given: jax.vjp(layer, *given))(X, RESIDUAL)
    assert sum(leaf.size for leaf in jax.tree.leaves(pullback)) <= X.size + X.size // 40 + SCALE.size + 8


def test_bad_arguments(key):
    fused = nj.fused.dropout_residual_norm
    with pytest.raises(ValueError, match="dropout_residual_norm: residual must have the shape and dtype"):
        fused(key, X, RESIDUAL[:2], 0.1)
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\]"):
        fused(key, X, RESIDUAL, 2.0)
    with pytest.raises(ValueError, match=r"scale must have shape \(40,\)"):
        fused(key, X, RESIDUAL, 0.1, SCALE[:3])
    with pytest.raises(ValueError, match="norm must be one of"):
        fused(key, X, RESIDUAL, 0.1, norm="batch")
    with pytest.raises(ValueError, match="epsilon must be"):
        fused(key, X, RESIDUAL, 0.1, epsilon=-1.0)
