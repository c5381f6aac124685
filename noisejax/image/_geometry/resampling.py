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

    def at(i: tuple[jax.Array, jax.Array], j: tuple[jax.Array, jax.Array]) -> jax.Array:
        """The pixels in rows i and columns j, each with the mask of what lies beyond the edges."""
        places = i[0] * width + j[0]
        found = automatic(_read, flat, places.reshape(*places.shape[:-2], height * width))
        found = found.reshape(*places.shape, x.shape[-1])
        found = wide(found) if order else found
        if fill != "constant":
            return found
        outside = jnp.asarray(value, x.dtype)
        return jnp.where((i[1] | j[1])[..., None], wide(outside) if order else outside, found)

    def taps(whole: jax.Array, part: jax.Array, n: int) -> list[tuple[jax.Array, jax.Array]]:
        """The rows or columns around a place. On a pixel they are all its own, so that no NaN comes from others."""
        steps = (0,) if order == 0 else (0, 1) if order == 1 else (-1, 0, 1, 2)
        return [_inside(whole + (jnp.where(part == 0, 0, step) if step else 0), n, fill) for step in steps]

    rows, columns = taps(row, down, height), taps(column, right, width)
    if order == 0:
        return at(rows[0], columns[0])
    own, dtype = (down == 0) & (right == 0), jnp.float64 if x.dtype == jnp.float64 else jnp.float32
    down, right = (part[..., None].astype(dtype) for part in (down, right))
    blend = _linear if order == 1 else _cubic
    lines = [[at(i, j) for j in columns] for i in rows]
    here = lines[0][0] if order == 1 else lines[1][1]
    blended = blend([blend(line, right) for line in lines], down)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return blended
    return jnp.where(own[..., None], here, blended)  # infinities have no differences


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
    return here + part * (after - here)


def _cubic(values: list[jax.Array], part: jax.Array) -> jax.Array:
    before, here, after, later = values
    # Differences alone: a constant picture stays as it is, and large values do not overflow in their multiples.
    slope, bend = after - before, 2 * (before - here) + 3 * (after - here) + (after - later)
    return here + part * (slope + part * (bend + part * (3 * (here - after) + later - before))) / 2
