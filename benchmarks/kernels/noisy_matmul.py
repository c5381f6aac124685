"""``x @ (w + std * n)`` with the noise drawn inside the tiles, so that the noisy weights are never written to memory.

XLA fuses no draw into a matmul: it reads w, writes the noisy weights and reads those, three passes where one is needed.
Drawing inside can be faster while the product is bound by reading w, for small batches. Every block of rows of x draws
the noise of all of w again.
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

TAG = "noisy_matmul"
COLUMNS, DEPTH = 64, 64  # of a tile of w


def noisy_matmul(key, x, w, std, *, implementation: str | None = None) -> jax.Array:
    """The product of x (batch, n) and noisy weights w (n, m): sums in float32, x's dtype out; std is a scalar."""
    std = jnp.asarray(std, jnp.float32)

    def specification():
        noise = sample.normal(words(key, TAG, w.shape))
        noisy = (w.astype(jnp.float32) + std * noise).astype(w.dtype)
        return jnp.dot(x, noisy, preferred_element_type=jnp.float32).astype(x.dtype)

    kernel = functools.partial(_call, key, x, w, std)
    return dispatch(TAG, implementation, why_not(x, w), specification, kernel)


def why_not(x, w) -> str | None:
    if x.ndim != 2 or w.ndim != 2:
        return f"x and w must be matrices, got shapes {x.shape} and {w.shape}"
    if x.dtype != w.dtype or x.dtype not in (jnp.float32, jnp.bfloat16):
        return f"x and w must both be float32 or bfloat16, got {x.dtype} and {w.dtype}"
    if w.shape[0] % DEPTH or w.shape[1] % COLUMNS:
        return f"the sizes of w must be multiples of {DEPTH} and {COLUMNS}, got {w.shape}"
    if math.prod(w.shape) > 2**32:
        return f"w has more than 2**32 elements: {w.shape}"
    return None


def _call(key, x, w, std, *, interpret):
    batch, (n, m), word = x.shape[0], w.shape, word_at(TAG)
    rows = 16 if batch <= 16 else 64
    x = jnp.pad(x, ((0, -batch % rows), (0, 0)))

    def kernel(keys, std, x, w, out):
        first = pl.program_id(1) * COLUMNS

        def tile(step, total):
            depth = pl.ds(step * DEPTH, DEPTH)
            i = jax.lax.broadcasted_iota(jnp.int32, (DEPTH, COLUMNS), 0) + step * DEPTH
            j = jax.lax.broadcasted_iota(jnp.int32, (DEPTH, COLUMNS), 1) + first
            index = i.astype(jnp.uint32) * jnp.uint32(m) + j.astype(jnp.uint32)
            noise = sample.normal(word(keys[0], keys[1], index))
            noisy = (w[depth, :].astype(jnp.float32) + std[0] * noise).astype(w.dtype)
            return total + jnp.dot(x[:, depth], noisy, preferred_element_type=jnp.float32)

        total = jax.lax.fori_loop(0, n // DEPTH, tile, jnp.zeros((rows, COLUMNS), jnp.float32))
        out[...] = total.astype(out.dtype)

    product = pl.pallas_call(
        kernel,
        grid=(x.shape[0] // rows, m // COLUMNS),
        in_specs=[
            pl.BlockSpec((2,), lambda i, j: (0,)),
            pl.BlockSpec((1,), lambda i, j: (0,)),
            pl.BlockSpec((rows, n), lambda i, j: (i, 0)),
            pl.BlockSpec((n, COLUMNS), lambda i, j: (0, j)),
        ],
        out_specs=pl.BlockSpec((rows, COLUMNS), lambda i, j: (i, j)),
        out_shape=jax.ShapeDtypeStruct((x.shape[0], m), x.dtype),
        compiler_params=None if interpret else triton.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
        name=TAG,
    )
    return product(key_words(key), std.reshape(1), x, w)[:batch]
