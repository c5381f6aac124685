"""``x + std * n`` with two normals from one word: the sine and the cosine of one angle, at one radius.

Element i of the first half of x takes the sine and element i of the second half the cosine, so both are stored in
order. It needs half the words and half the logarithms of `noisejax.gaussian`, and has a different stream. The draw at
an element depends on the size of x, which the library does not allow, so this is for experiments on the limits of a
device.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from benchmarks.kernels.dispatch import dispatch
from benchmarks.kernels.draws import key_words, word_at
from noisejax._random import sample
from noisejax._random.stream import words

TAG = "normal_pairs"
BLOCK = 1024


def normal_pairs(key, x, std, *, implementation: str | None = None) -> jax.Array:
    """Noise for a flat x of an even number of elements; arithmetic in float32, one rounding; std is a scalar."""
    std = jnp.asarray(std, jnp.float32)

    def specification():
        word = words(key, TAG, (x.size // 2,))
        return _add(x, jnp.concatenate(pair(word)), std)

    kernel = functools.partial(_call, key, x, std)
    return dispatch(TAG, implementation, why_not(x), specification, kernel)


def pair(word: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two standard normals: the angle runs over half a turn, and the cosine's sign is a bit that the radius shares."""
    turn = word * jnp.uint32(0x9E3779B1)
    radius = jnp.sqrt(sample.exponential(word) * 2)
    # cos(pi x / 2) = sin(pi (1 - |x|) / 2) is never negative on the half turn; a bit of the product gives its sign.
    signed = turn.astype(jnp.int32)
    complement = jnp.uint32(0x7FFFFFFF) - jnp.where(signed < 0, ~turn, turn)
    cosine = radius * sample._sine(complement)
    return radius * sample._sine(turn), jnp.where(turn & jnp.uint32(1) == 0, cosine, -cosine)


def why_not(x) -> str | None:
    if x.ndim != 1 or x.size % (2 * BLOCK):
        return f"x must be flat with a size that is a multiple of {2 * BLOCK}, got shape {x.shape}"
    if x.size > 2**32:
        return f"x has more than 2**32 elements: {x.size}"
    return None


def _add(x, noise, std):
    return (x.astype(jnp.float32) + std * noise).astype(x.dtype)


def _call(key, x, std, *, interpret):
    word = word_at(TAG)

    def kernel(keys, std, x, out):
        index = jax.lax.iota(jnp.int32, BLOCK) + pl.program_id(0) * BLOCK
        for row, noise in enumerate(pair(word(keys[0], keys[1], index.astype(jnp.uint32)))):
            out[row, :] = _add(x[row, :], noise, std[0])

    halves = jax.ShapeDtypeStruct((2, x.size // 2), x.dtype)
    block = pl.BlockSpec((2, BLOCK), lambda i: (0, i))
    noisy = pl.pallas_call(
        kernel,
        grid=(x.size // 2 // BLOCK,),
        in_specs=[pl.BlockSpec((2,), lambda i: (0,)), pl.BlockSpec((1,), lambda i: (0,)), block],
        out_specs=block,
        out_shape=halves,
        compiler_params=None if interpret else triton.CompilerParams(num_warps=4),
        interpret=interpret,
        name=TAG,
    )
    return noisy(key_words(key), std.reshape(1), x.reshape(halves.shape)).reshape(-1)
