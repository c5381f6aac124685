"""JPEG without its entropy coding, which loses nothing, and the block means of small pictures."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from noisejax._sharding import computed_once
from noisejax.image._filters.smoothing import EXACT

# ITU-T T.81, Annex K, tables K.1 and K.2.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_CHROMINANCE = np.full((8, 8), 99, np.float32)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

_i = np.arange(8)
_COSINES = np.cos((2 * _i[None, :] + 1) * _i[:, None] * np.pi / 16) * np.where(_i[:, None] == 0, np.sqrt(1 / 8), 0.5)
_COSINES = _COSINES.astype(np.float32)
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)


def rounded(x: jax.Array) -> jax.Array:
    return jnp.floor(x + np.float32(0.5))


def compressed(x: jax.Array, quality: jax.Array, rounding: Callable = rounded) -> jax.Array:
    """One picture (H, W, C) in [0, 255] after JPEG compression with halved chroma; quality is a scalar in [1, 100]."""
    lower = rounding(5000 / jnp.maximum(quality, 1) - np.float32(0.5))  # the integer below, as libjpeg divides
    scale = jnp.where(quality < 50, lower, 200 - 2 * quality)
    height, width, channels = x.shape
    grey = jnp.pad(rounding(x), ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    if channels == 1:
        return jnp.clip(rounding(_blocks(grey[..., 0], _LUMINANCE, scale, rounding)), 0, 255)[:height, :width, None]
    # Each plane is computed once, before and after its coding, and not again for each of its readers.
    y, cb, cr = (
        computed_once(rounding(jnp.asarray(sum(w * grey[..., c] for c, w in enumerate(row))))) for row in _TO_YCC
    )
    y = computed_once(_blocks(y, _LUMINANCE, scale, rounding)[:height, :width])
    cb, cr = (computed_once(_chroma(plane, scale, rounding, (height, width))) for plane in (cb, cr))
    planes = (y + 1.402 * cr, y - 0.344136286 * cb - 0.714136286 * cr, y + 1.772 * cb)
    return jnp.clip(jnp.stack([rounding(plane) for plane in planes], -1), 0, 255)


def _chroma(plane: jax.Array, scale: jax.Array, rounding: Callable, size: tuple[int, int]) -> jax.Array:
    height, width = size
    # As in libjpeg: below the picture the last halved row is repeated, and to its right the last column before halving.
    tall, wide = height + height % 2, plane.shape[1]
    # As in libjpeg: halves go down in every other column, and the remainders differ by column after the doubling.
    lower = np.where(np.arange(wide // 2) % 2 == 0, 0.25, 0).astype(np.float32)[None]
    small = rounding(plane[:tall].reshape(tall // 2, 2, wide // 2, 2).mean((1, 3)) - lower)
    small = jnp.pad(small, ((0, -(tall // 2) % 8), (0, 0)), mode="edge")
    coded = _blocks(small + 128, _CHROMINANCE, scale, rounding)[: (height + 1) // 2, : (width + 1) // 2] - 128
    odd = np.where(np.arange(width) % 2 == 1, 1 / 16, 0).astype(np.float32)[None]
    return rounding(_doubled(_doubled(coded, 0), 1)[:height, :width] - odd)


def _doubled(x: jax.Array, axis: int) -> jax.Array:
    """Twice as many rows: each is three quarters of the nearest and one quarter of the next nearest."""
    n = x.shape[axis]
    wide = jnp.pad(x, [(1, 1) if axis == a else (0, 0) for a in (0, 1)], mode="edge")
    before, after = (jnp.take(wide, np.arange(n) + shift, axis) for shift in (0, 2))
    pair = jnp.stack([(3 * x + before) / 4, (3 * x + after) / 4], axis + 1)
    return pair.reshape(*(2 * n if axis == a else m for a, m in enumerate(x.shape)))


def _blocks(plane: jax.Array, table: np.ndarray, scale: jax.Array, rounding: Callable) -> jax.Array:
    """A plane after the quantization of its cosine transform in blocks of 8 by 8."""
    steps = jnp.clip(rounding(table * scale / 100), 1, 255)
    height, width = plane.shape

    def transform(x, matrix):
        return jnp.einsum("ij,hjwk,lk->hiwl", matrix, x, matrix, precision=EXACT)

    steps = steps.reshape(1, 8, 1, 8)
    coefficients = transform((plane - 128).reshape(height // 8, 8, width // 8, 8), _COSINES)
    whole = coefficients / steps
    whole = jnp.where(whole < 0, -rounding(-whole), rounding(whole))
    decoded = transform(whole * steps, np.ascontiguousarray(_COSINES.T))
    return jnp.clip(rounding(decoded.reshape(height, width) + 128), 0, 255)


def shrunk(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Whole grey levels (H, W, C) at a smaller size: means of the pixels whose centres lie in the new pixel.

    Each axis, the width first, is rounded to whole grey levels.
    """
    for axis in (1, 0):
        index, weights = _box(x.shape[axis], size[axis])
        shape = tuple(-1 if a == axis else 1 for a in range(3))
        x = computed_once(x)  # each pixel is read by several
        x = jnp.asarray(sum(jnp.take(x, i, axis) * w.reshape(shape) for i, w in zip(index, weights, strict=True)))
        x = jnp.floor(x + np.float32(0.5 + 1e-4))
    return x


def _box(n: int, small: int) -> tuple[np.ndarray, np.ndarray]:
    """For each new pixel, which old ones count, and with which weights."""
    scale = n / small
    centre = (np.arange(small) + 0.5) * scale
    first = np.maximum((centre - scale / 2 + 0.5).astype(int), 0)
    last = np.minimum((centre + scale / 2 + 0.5).astype(int), n)
    index = first[None] + np.arange((last - first).max())[:, None]
    place = (index - centre[None] + 0.5) / scale
    inside = (index < last[None]) & (place > -0.5) & (place <= 0.5)
    return np.minimum(index, n - 1), (inside / inside.sum(0)).astype(np.float32)


def pixelated(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """One picture (H, W, C) of whole grey levels, shrunk, and enlarged by repetition."""
    small = shrunk(x, size)
    for axis in (0, 1):
        step = size[axis] / x.shape[axis]
        # The sum is rounded at every step, as Pillow's is, which decides where a place is a whole number.
        nearest = np.cumsum([step / 2] + [step] * (x.shape[axis] - 1)).astype(int)
        small = jnp.take(small, np.minimum(nearest, size[axis] - 1), axis)
    return small
