"""Pictures read at displaced places.

A place is a pixel and a displacement from it, in rows and columns. Float32 then has all its digits for the small
number, and a displacement of 0 gives the picture itself to the bit.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._contract import wide
from noisejax._sharding import automatic, computed_once

FILLS = ("nearest", "constant", "reflect", "mirror", "wrap")
ORDERS = (0, 1, 3)
_FAR = np.float32(2**20)  # pixels: further displacements are cut, so that they are integers


def resampled(
    x: jax.Array, right: jax.Array, down: jax.Array, order: int, fill: str, value: jax.Array | float = 0.0
) -> jax.Array:
    """Pictures (..., H, W, C) read at displacements (..., H, W), by the nearest pixel, linearly, or by cubics.

    Args:
      order: 0 for the nearest pixel, in x's own dtype; 1 for linear interpolation, and 3 for the cubic convolution of
        Keys with a = -1/2, both in float32.
      fill: what lies beyond the edges, as in `jax.scipy.ndimage.map_coordinates`.
      value: what lies there with `fill="constant"`.
    """
    height, width = x.shape[-3:-1]
    source = computed_once(x)
    flat = source.reshape(*x.shape[:-3], height * width, x.shape[-1])
    row, down = _whole(down, order, -2)
    column, right = _whole(right, order, -1)

    def at(below: int, across: int) -> jax.Array:
        """The pixels that lie so far from the whole part of the place."""
        i, outside_i = _inside(row + below, height, fill)
        j, outside_j = _inside(column + across, width, fill)
        places = i * width + j
        found = automatic(_read, flat, places.reshape(*places.shape[:-2], height * width))
        found = found.reshape(*places.shape, x.shape[-1])
        if fill != "constant":
            return wide(found) if order else found
        outside = (outside_i | outside_j)[..., None]
        if order == 0:
            return jnp.where(outside, jnp.asarray(value, x.dtype), found)
        return jnp.where(outside, wide(jnp.asarray(value, x.dtype)), wide(found))

    if order == 0:
        return at(0, 0)
    dtype = jnp.float64 if x.dtype == jnp.float64 else jnp.float32
    down, right = (part[..., None].astype(dtype) for part in (down, right))
    blend = _linear if order == 1 else _cubic
    taps = (0, 1) if order == 1 else (-1, 0, 1, 2)
    return blend([blend([at(i, j) for j in taps], right) for i in taps], down)


def _whole(displacement: jax.Array, order: int, axis: int) -> tuple[jax.Array, jax.Array]:
    """The number of the pixel before a place along an axis, and the rest of the way."""
    displacement = jnp.clip(displacement, -_FAR, _FAR)
    whole = jnp.floor(displacement + np.float32(0.5)) if order == 0 else jnp.floor(displacement)
    ndim = displacement.ndim
    own = lax.broadcasted_iota(jnp.int32, (1,) * (ndim - 2) + displacement.shape[-2:], ndim + axis)
    return own + whole.astype(jnp.int32), displacement - whole


def _inside(index: jax.Array, n: int, fill: str) -> tuple[jax.Array, jax.Array]:
    """The index of the pixel that fills a place beyond the edges, and whether the place lies beyond them."""
    outside = (index < 0) | (index >= n)
    if fill == "wrap":
        return index % n, outside
    if fill == "reflect" or (fill == "mirror" and n > 1):
        once = int(fill == "reflect")  # the border pixels are repeated
        period = 2 * n - 2 * (1 - once)
        index = index % period
        return jnp.minimum(index, period - once - index), outside
    return jnp.clip(index, 0, n - 1), outside


def _read(flat: jax.Array, places: jax.Array) -> jax.Array:
    """The pixels (..., n, C) of pictures (..., H * W, C) with the numbers (..., n)."""

    def read(flat, places):
        return flat.at[places].get(mode="promise_in_bounds")

    batched: Callable = read
    for _ in range(places.ndim - 1):
        batched = jax.vmap(batched)
    return batched(flat, places)


def _linear(values: list[jax.Array], part: jax.Array) -> jax.Array:
    here, after = values
    return jnp.where(part == 0, here, here + part * (after - here))  # NaN across a pixel does not reach it


def _cubic(values: list[jax.Array], part: jax.Array) -> jax.Array:
    before, here, after, later = values
    slope, bend = after - before, 2 * before - 5 * here + 4 * after - later
    curve = here + part * (slope + part * (bend + part * (3 * (here - after) + later - before))) / 2
    return jnp.where(part == 0, here, curve)
