"""Dropout, the residual sum and the norm in one pass over the rows, forward. The backward pass is the plain one.

XLA makes two passes of it, because of the reduction over the row between the sum and the norm. A row that fits a block
needs one.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from noisejax._random.sample import bernoulli
from noisejax.fused._attention.tiles import keep_scale
from noisejax.fused._kernels.dispatch import parameters
from noisejax.fused._kernels.draws import row_index, words_at
from noisejax.fused._tiles import Place, place_of

WIDTH = 1024  # of the parts of a row on a TPU: no register is spilled


def why_not(x, rate) -> str | None:
    features = x.shape[-1]
    if x.dtype not in (jnp.float32, jnp.bfloat16):
        return f"x must be float32 or bfloat16, got {x.dtype}"
    if not 128 <= features <= 16384 or features & (features - 1):
        return f"the number of features must be a power of two from 128 to 16384, got {features}"
    if x.size // features % 8:
        return f"the number of rows must be a multiple of 8, got {x.size // features}"
    if jnp.ndim(rate):
        return f"rate must be one number, got shape {tuple(rate.shape)}"
    return None


def dropped_and_normed(static, how: tuple, x, residual, scale, shift, rate, key) -> tuple[jax.Array, jax.Array]:
    features, options = x.shape[-1], dict(how)
    flat = jax.ShapeDtypeStruct((x.size // features, features), x.dtype)
    size = 1 if options["gpu"] else 8  # a GPU's program has registers for one long row, and a TPU's tile has eight
    place, k0, k1 = place_of(key, "dropout", flat.shape)
    scale = jnp.ones(features) if scale is None else scale
    shift = jnp.zeros(features) if shift is None else shift
    one = pl.BlockSpec((1, 1), lambda n: (0, 0))
    rows, gain = pl.BlockSpec((size, features), lambda n: (n, 0)), pl.BlockSpec((1, features), lambda n: (0, 0))
    h, y = pl.pallas_call(
        functools.partial(_row_kernel if options["gpu"] else _part_kernel, place, static),
        grid=(flat.shape[0] // size,),
        in_specs=[one, one, one, rows, rows, gain, gain],
        out_specs=[rows, rows],
        out_shape=[flat, flat],
        name="dropout_residual_norm",
        **parameters(options, min(8, max(1, features // 512))),
    )(
        k0.reshape(1, 1),
        k1.reshape(1, 1),
        rate.astype(jnp.float32).reshape(1, 1),
        x.reshape(flat.shape),
        residual.reshape(flat.shape),
        scale.astype(jnp.float32).reshape(1, features),
        shift.astype(jnp.float32).reshape(1, features),
    )
    return h.reshape(x.shape), y.reshape(x.shape)


def _row_kernel(place: Place, static, k0, k1, rate_ref, x_ref, residual_ref, scale_ref, shift_ref, h_ref, y_ref):
    """Rows that stay in registers until they are normed."""
    norm, epsilon = static
    rate = rate_ref[...]
    hit = _hits(place, k0, k1, rate, _rows(x_ref.shape[0]), 0, x_ref.shape[1])
    h = _summed(hit, rate, x_ref[...], residual_ref[...], h_ref.dtype)
    h_ref[...] = h
    h = h.astype(jnp.float32)
    if norm == "layer":
        h = h - h.mean(1, keepdims=True)
    y = h * lax.rsqrt((h * h).mean(1, keepdims=True) + jnp.float32(epsilon))
    y_ref[...] = (y * scale_ref[...] + shift_ref[...]).astype(y_ref.dtype)


def _part_kernel(place: Place, static, k0, k1, rate_ref, x_ref, residual_ref, scale_ref, shift_ref, h_ref, y_ref):
    """Rows in parts, read again for the norm: eight long rows do not fit the registers of a TPU."""
    (norm, epsilon), (size, features) = static, x_ref.shape
    width, rate, row = math.gcd(features, WIDTH), rate_ref[...], _rows(size)

    def over(step, start):
        def part(n, carry):
            first = n * width if features == width else pl.multiple_of(n * width, width)
            return step(first, pl.ds(first, width), carry)

        return lax.fori_loop(0, features // width, part, start)

    def kept(part) -> jax.Array:
        return h_ref[:, part].astype(jnp.float32)

    def add(first, part, total):
        hit = _hits(place, k0, k1, rate, row, first, width)
        h = _summed(hit, rate, x_ref[:, part], residual_ref[:, part], h_ref.dtype)
        h_ref[:, part] = h
        h = h.astype(jnp.float32)
        return total + (h if norm == "layer" else h * h)

    def square(_, part, total):
        return total + (kept(part) - mean) ** 2

    def scaled(_, part, carry):
        y = (kept(part) - mean) * inverse * scale_ref[:, part] + shift_ref[:, part]
        y_ref[:, part] = y.astype(y_ref.dtype)
        return carry

    zeros = jnp.zeros((size, width), jnp.float32)
    total, mean = over(add, zeros).sum(1, keepdims=True), jnp.float32(0)
    if norm == "layer":
        mean = total / features
        total = over(square, zeros).sum(1, keepdims=True)
    inverse = lax.rsqrt(total / features + jnp.float32(epsilon))
    over(scaled, 0)


def _rows(size: int) -> jax.Array:
    return pl.program_id(0) * size + lax.broadcasted_iota(jnp.int32, (size, 1), 0)


def _hits(place: Place, k0, k1, rate, row, first, width: int) -> jax.Array:
    """What is dropped of rows, from a column on."""
    column = first + lax.broadcasted_iota(jnp.int32, (1, width), 1)
    return bernoulli(words_at(place, k0[...], k1[...], row_index(place, [(row, place.shape[1])]), column), rate)


def _summed(hit, rate, x, residual, dtype) -> jax.Array:
    kept = jnp.where(hit, 0.0, x.astype(jnp.float32) * keep_scale(rate))
    return (residual.astype(jnp.float32) + kept).astype(dtype)
