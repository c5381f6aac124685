"""Dropout, the residual sum and RMSNorm in one pass: ``h = residual + dropout(x)``, ``y = h / rms(h) * scale``.

XLA makes two passes of it, because of the reduction over the row between h and y. A row that fits a block needs one.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from benchmarks.kernels.dispatch import dispatch
from benchmarks.kernels.draws import key_words, word_at
from noisejax._random import sample
from noisejax._random.stream import words

TAG = "dropout_norm"


def dropout_norm(key, x, residual, scale, rate, *, epsilon: float = 1e-6, implementation: str | None = None):
    """(h, y) for x and residual of shape (..., features) and scale of (features,); rate, a scalar, is below 1."""
    rate = jnp.asarray(rate, jnp.float32)

    def specification():
        return _rows(words(key, TAG, x.shape), x, residual, scale, rate, epsilon)

    kernel = functools.partial(_call, key, x, residual, scale, rate, epsilon)
    return dispatch(TAG, implementation, why_not(x, residual), specification, kernel)


def why_not(x, residual) -> str | None:
    features = x.shape[-1] if x.ndim else 0
    if x.shape != residual.shape or x.dtype != residual.dtype:
        return f"x and residual must be alike, got {x.dtype}{list(x.shape)} and {residual.dtype}{list(residual.shape)}"
    if not 128 <= features <= 16384 or features & (features - 1):
        return f"the number of features must be a power of two from 128 to 16384, got {features}"
    if math.prod(x.shape) > 2**32:
        return f"x has more than 2**32 elements: {x.shape}"
    return None


def _rows(word, x, residual, scale, rate, epsilon):
    kept = jnp.where(sample.bernoulli(word, rate), 0, x.astype(jnp.float32) / (1 - rate))
    h = residual.astype(jnp.float32) + kept
    scale = scale.astype(jnp.float32).reshape((1,) * (x.ndim - 1) + scale.shape)
    y = h * jax.lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True) + jnp.float32(epsilon)) * scale
    return h.astype(x.dtype), y.astype(x.dtype)


def _call(key, x, residual, scale, rate, epsilon, *, interpret):
    features, word = x.shape[-1], word_at(TAG)
    rows = x.size // features

    def kernel(keys, rate, x, residual, scale, h, y):
        index = jax.lax.iota(jnp.int32, features).astype(jnp.uint32)
        index = index + pl.program_id(0).astype(jnp.uint32) * jnp.uint32(features)
        drawn = word(keys[0], keys[1], index)
        h[0, :], y[0, :] = _rows(drawn, x[0, :], residual[0, :], scale[...], rate[0], epsilon)

    row, one = pl.BlockSpec((1, features), lambda i: (i, 0)), lambda size: pl.BlockSpec((size,), lambda i: (0,))
    flat = jax.ShapeDtypeStruct((rows, features), x.dtype)
    outputs = pl.pallas_call(
        kernel,
        grid=(rows,),
        in_specs=[one(2), one(1), row, row, one(features)],
        out_specs=[row, row],
        out_shape=[flat, flat],
        compiler_params=None if interpret else triton.CompilerParams(num_warps=min(8, max(1, features // 512))),
        interpret=interpret,
        name=TAG,
    )(key_words(key), rate.reshape(1), x.reshape(flat.shape), residual.reshape(flat.shape), scale)
    return tuple(out.reshape(x.shape) for out in outputs)
