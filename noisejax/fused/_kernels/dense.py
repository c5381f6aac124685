"""``x @ nj.gaussian(key, w, std)`` with the noise drawn inside the tiles of w.

XLA fuses no draw into a matrix product: it reads w, writes the noisy weights and reads those. Drawing inside can be
faster while the product waits for w, for small batches, since every block of rows of x draws the noise of all of w.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from noisejax._noise import Noise
from noisejax._noises.additive import gaussian
from noisejax._random import sample
from noisejax._random.stream import Stream
from noisejax.fused._kernels.dispatch import parameters
from noisejax.fused._kernels.draws import row_index, words_at
from noisejax.fused._tiles import Place, place_of

COLUMNS, DEPTH = 128, 128  # of a tile of w, which a TPU reads in whole registers


def why_not(x, w, noise: Noise) -> str | None:
    if noise.function is not gaussian or jnp.ndim(noise.amounts["std"]):
        return f"noise must be nj.gaussian with one std, got {noise!r}"
    if w.dtype not in (jnp.float32, jnp.bfloat16):
        return f"x and w must be float32 or bfloat16, got {w.dtype}"
    if w.shape[0] % DEPTH or w.shape[1] % COLUMNS:
        return f"the sizes of w must be multiples of {DEPTH} and {COLUMNS}, got {tuple(w.shape)}"
    return None


def product(how: tuple, x, w, std, drawn: Stream) -> jax.Array:
    place, k0, k1 = place_of(drawn, "gaussian", w.shape)
    batch, (n, m) = x.shape[0], w.shape
    rows = 16 if batch <= 16 else 64
    padded = jnp.pad(x, ((0, -batch % rows), (0, 0)))
    one = pl.BlockSpec((1, 1), lambda r, c: (0, 0))
    (out,) = pl.pallas_call(
        functools.partial(_kernel, place),
        grid=(padded.shape[0] // rows, m // COLUMNS),
        in_specs=[
            one,
            one,
            one,
            pl.BlockSpec((rows, n), lambda r, c: (r, 0)),
            pl.BlockSpec((n, COLUMNS), lambda r, c: (0, c)),
        ],
        out_specs=[pl.BlockSpec((rows, COLUMNS), lambda r, c: (r, c))],
        out_shape=[jax.ShapeDtypeStruct((padded.shape[0], m), x.dtype)],
        name="noisy_dense",
        **parameters(dict(how), 8, 2),
    )(k0.reshape(1, 1), k1.reshape(1, 1), jnp.asarray(std, jnp.float32).reshape(1, 1), padded, w)
    return out[:batch]


def _kernel(place: Place, k0_ref, k1_ref, std_ref, x_ref, w_ref, out_ref):
    column = pl.program_id(1) * COLUMNS + lax.broadcasted_iota(jnp.int32, (1, COLUMNS), 1)

    def tile(step, total):
        depth = pl.ds(step * DEPTH, DEPTH)
        row = step * DEPTH + lax.broadcasted_iota(jnp.int32, (DEPTH, 1), 0)
        word = words_at(place, k0_ref[...], k1_ref[...], row_index(place, [(row, place.strides[0])]), column)
        w = w_ref[depth, :]
        noisy = (w.astype(jnp.float32) + std_ref[...] * sample.normal(word, into=w.dtype)).astype(w.dtype)
        return total + jnp.dot(x_ref[:, depth], noisy, preferred_element_type=jnp.float32)

    start = jnp.zeros(out_ref.shape, jnp.float32)
    out_ref[...] = lax.fori_loop(0, x_ref.shape[1] // DEPTH, tile, start).astype(out_ref.dtype)
