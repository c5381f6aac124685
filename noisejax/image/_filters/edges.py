"""Edges of a grey picture and the distance to them, in the whole numbers in which OpenCV computes them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_FAR = np.int32(2**24)
_UNIT = 2**16  # distances have 16 bits behind the point
_ACROSS, _DIAGONAL, _KNIGHT = (np.int32(round(length * _UNIT)) for length in (1, 1.4, 2.1969))


def neighbours(x: jax.Array, mode: Any = "reflect") -> list[list[jax.Array]]:
    """The nine neighbours of each pixel (H, W), with the border mirrored about the border pixels, or padded."""
    height, width = x.shape
    more = {} if mode == "constant" else {"mode": mode if min(x.shape) > 1 else "edge"}
    padded = jnp.pad(x, 1, **more)
    return [[padded[i : i + height, j : j + width] for j in range(3)] for i in range(3)]


def canny(grey: jax.Array, low: int, high: int) -> jax.Array:
    """The edges of Canny (1986) of whole grey levels (H, W), with Sobel's derivatives and the sum of their sizes."""
    n = neighbours(grey, "edge")
    dx = (n[0][2] + 2 * n[1][2] + n[2][2]) - (n[0][0] + 2 * n[1][0] + n[2][0])
    dy = (n[2][0] + 2 * n[2][1] + n[2][2]) - (n[0][0] + 2 * n[0][1] + n[0][2])
    size = jnp.abs(dx) + jnp.abs(dy)
    around = neighbours(size, "constant")
    x, y = jnp.abs(dx).astype(jnp.float32), jnp.abs(dy).astype(jnp.float32)
    flat, steep = y < np.float32(np.tan(np.pi / 8)) * x, y > np.float32(np.tan(3 * np.pi / 8)) * x
    along = (size > around[1][0]) & (size >= around[1][2])
    across = (size > around[0][1]) & (size >= around[2][1])
    falling = (size > around[0][0]) & (size > around[2][2])
    rising = (size > around[0][2]) & (size > around[2][0])
    slanted = jnp.where((dx < 0) != (dy < 0), rising, falling)
    ridge = (size > low) & jnp.where(flat, along, jnp.where(steep, across, slanted))
    strong = ridge & (size > high)

    def grow(state):
        edges, _ = state
        spread = jnp.asarray(sum(part.astype(jnp.int32) for row in neighbours(edges, "constant") for part in row)) > 0
        grown = ridge & spread
        return grown, (grown != edges).any()

    return lax.while_loop(lambda state: state[1], grow, (strong, strong.any()))[0]


def distance(edges: jax.Array) -> jax.Array:
    """The chamfer distance of each pixel (H, W) to the nearest edge, by steps to 16 neighbours, in units of 2**-16.

    Steps have the lengths 1, 1.4 and 2.1969 (Borgefors, 1986). A shortest path never turns back, and its steps may come
    in any order. So a sweep to the right and one to the left take the steps along the rows, and then one downwards and
    one upwards all others.
    """
    width = edges.shape[1]
    # Made of the edges, so that inside shard_map it varies over the mesh as they do.
    far = jnp.where(edges, _FAR, _FAR)

    def sideways(last, column):
        found = jnp.where(column, 0, jnp.minimum(last + _ACROSS, _FAR))
        return found, found

    def below(state, row):
        last, before = state  # the two rows above
        wide, wider = (jnp.pad(v, ((0, 0), (n, n)), constant_values=_FAR) for v, n in ((last, 2), (before, 1)))
        found = jnp.minimum(row, last + _ACROSS)
        for shift, length in ((1, _DIAGONAL), (3, _DIAGONAL), (0, _KNIGHT), (4, _KNIGHT)):
            found = jnp.minimum(found, wide[:, shift : shift + width] + length)
        for shift in (0, 2):
            found = jnp.minimum(found, wider[:, shift : shift + width] + _KNIGHT)
        return (found, last), found

    across = _both_ways(sideways, jnp.stack([far[:, 0]] * 2), edges.T).T
    return _both_ways(below, (jnp.stack([far[0]] * 2),) * 2, across)


def _both_ways(step: Callable, start: Any, lines: jax.Array) -> jax.Array:
    """The smaller results of a scan over the lines and of one from the last line to the first, which run at once."""
    found = lax.scan(step, start, jnp.stack([lines, lines[::-1]], 1))[1]
    return jnp.minimum(found[:, 0], found[::-1, 1])


def equalized(level: jax.Array, most: int) -> jax.Array:
    """Histogram equalization to 0 ... 255 of whole numbers from 0 to `most`."""

    def count(n):  # first of columns, which is a vectorized sum
        return (level == n).sum(0, dtype=jnp.int32).sum(dtype=jnp.int32)

    counts = lax.map(count, jnp.arange(most + 1, dtype=jnp.int32)).astype(jnp.float32)
    first = jnp.argmax(counts > 0)
    total, start = counts.sum(), counts[first]
    sums = jnp.cumsum(counts) - start
    table = jnp.round(sums * (255 / jnp.maximum(total - start, 1)))
    table = jnp.where(total > start, jnp.clip(table, 0, 255), first.astype(jnp.float32)).astype(jnp.int32)
    return table.at[level].get(mode="promise_in_bounds")


def drops(grey: jax.Array) -> jax.Array:
    """The relief of drops of water at the edges of a layer of whole grey levels (H, W), in grey levels."""
    cut = jnp.minimum(distance(canny(grey, 50, 150)), 20 * _UNIT)
    mean = jnp.asarray(sum(part for row in neighbours(cut) for part in row)) // (9 * _UNIT)
    level = equalized(mean, 20)
    n = neighbours(level)
    weights = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
    lit = jnp.asarray(sum(w * part for line, row in zip(weights, n, strict=True) for w, part in zip(line, row)))  # noqa: B905
    lit = jnp.clip(lit, 0, 255)
    return (2 * jnp.asarray(sum(part for row in neighbours(lit) for part in row)) + 9) // 18
