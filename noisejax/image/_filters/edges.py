"""Edges of a grey picture and the distance to them, in the whole numbers in which OpenCV computes them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._sharding import own_loop_on_cpus

_FAR = np.int32(2**24)
_UNIT = 2**16  # distances have 16 bits behind the point
_ACROSS, _DIAGONAL, _KNIGHT = (np.int32(round(length * _UNIT)) for length in (1, 1.4, 2.1969))


def neighbours(x: jax.Array, beyond: str = "mirror") -> list[list[jax.Array]]:
    """The nine neighbours of each pixel (H, W).

    Beyond the border are the pixels mirrored about those of the border, those of the border (`edge`), or zeros.
    """
    height, width = x.shape
    # The border is written over a padding of zeros: loops that read pieces of a concatenation are not vectorized, and
    # neither are those that pad what they compute.
    padded = jnp.pad(own_loop_on_cpus(x, always=True), 1)
    if beyond != "zero":
        row, column = (2 if beyond == "mirror" and n > 1 else 1 for n in x.shape)
        padded = padded.at[0].set(padded[row]).at[-1].set(padded[-1 - row])
        padded = padded.at[:, 0].set(padded[:, column]).at[:, -1].set(padded[:, -1 - column])
    return [[padded[i : i + height, j : j + width] for j in range(3)] for i in range(3)]


def canny(grey: jax.Array, low: int, high: int) -> jax.Array:
    """The edges of Canny (1986) of whole grey levels (H, W), with Sobel's derivatives and the sum of their sizes."""
    n = neighbours(grey, "edge")
    dx = (n[0][2] + 2 * n[1][2] + n[2][2]) - (n[0][0] + 2 * n[1][0] + n[2][0])
    dy = (n[2][0] + 2 * n[2][1] + n[2][2]) - (n[0][0] + 2 * n[0][1] + n[0][2])
    size = jnp.abs(dx) + jnp.abs(dy)
    (nw, north, ne), (west, _, east), (sw, south, se) = neighbours(size, "zero")
    x, y = jnp.abs(dx).astype(jnp.float32), jnp.abs(dy).astype(jnp.float32)
    flat, steep = y < np.float32(np.tan(np.pi / 8)) * x, y > np.float32(np.tan(3 * np.pi / 8)) * x
    rising = (dx ^ dy) < 0
    before = jnp.where(flat, west, jnp.where(steep, north, jnp.where(rising, ne, nw)))
    after = jnp.where(flat, east, jnp.where(steep, south, jnp.where(rising, sw, se) + 1))  # of two equal ones, neither
    ridge = (size > jnp.maximum(low, before)) & (size >= after)
    strong = ridge & (size > high)

    def grow(state):
        edges, _ = state
        padded = jnp.pad(edges, 1)
        spread = padded[:-2] | padded[1:-1] | padded[2:]
        grown = ridge & (spread[:, :-2] | spread[:, 1:-1] | spread[:, 2:])
        return grown, (grown != edges).sum(0, dtype=jnp.int32).any()  # sums of columns are vectorized

    return lax.while_loop(lambda state: state[1], grow, (strong, strong.any()))[0]


def distance(edges: jax.Array, most: int) -> jax.Array:
    """The chamfer distance of each pixel (H, W) to the nearest edge, by steps to 16 neighbours, in units of 2**-16.

    Steps have the lengths 1, 1.4 and 2.1969 (Borgefors, 1986), and distances are cut at `most`. A shortest path never
    turns back, and its steps may come in any order. So the steps along the rows are taken first, and then one sweep
    downwards and one upwards take all others.
    """
    height, width = edges.shape
    there = jnp.pad(jnp.where(edges, 0, _FAR), ((0, 0), (most, most)), constant_values=_FAR)
    across = there[:, most : most + width]
    for n in range(1, most + 1):
        nearer = jnp.minimum(there[:, most - n : most - n + width], there[:, most + n : most + n + width])
        across = jnp.minimum(across, nearer + n * _ACROSS)

    # Both sweeps at once, in place: each step reads the last two rows, which have two pixels more on each side.
    across = own_loop_on_cpus(across, always=True)  # or the padding below computes it pixel by pixel
    rows = jnp.stack([across, across[::-1]], 1)
    rows = jnp.pad(rows, ((2, 0), (0, 0), (2, 2)), constant_values=_FAR)

    def sweep(n, rows):
        seen = lax.dynamic_slice_in_dim(rows, n, 3)

        def at(row, column):
            return seen[row, :, column + 2 : column + 2 + width]

        diagonal = jnp.minimum(at(1, -1), at(1, 1)) + _DIAGONAL
        knight = jnp.minimum(jnp.minimum(at(1, -2), at(1, 2)), jnp.minimum(at(0, -1), at(0, 1))) + _KNIGHT
        found = jnp.minimum(jnp.minimum(at(2, 0), at(1, 0) + _ACROSS), jnp.minimum(diagonal, knight))
        return lax.dynamic_update_slice(rows, found[None], tuple(jnp.asarray(i, jnp.int32) for i in (n + 2, 0, 2)))

    rows = lax.fori_loop(0, height, sweep, rows)[2:, :, 2:-2]
    return jnp.minimum(jnp.minimum(rows[:, 0], rows[::-1, 1]), most * _UNIT)


def equalized(level: jax.Array, most: int) -> jax.Array:
    """Histogram equalization to 0 ... 255 of whole numbers (H, W) from 0 to `most`."""
    # Four counts share a word, eight bits each. So columns are summed in pieces of at most 255 pixels.
    pieces = -(-level.shape[0] // 255)
    cut = jnp.pad(level, ((0, -level.shape[0] % pieces), (0, 0)), constant_values=-1)
    cut = cut.reshape(1, pieces, -1, level.shape[1])
    word = np.arange(most // 4 + 1, dtype=np.int32).reshape(-1, 1, 1, 1)
    bits = np.arange(0, 32, 8, dtype=np.int32).reshape(1, -1, 1, 1)
    words = jnp.where(cut >> 2 == word, 1 << (8 * (cut & 3)), 0).sum(2, dtype=jnp.int32)
    counts = ((words[:, None] >> bits) & 255).sum((2, 3), dtype=jnp.int32).reshape(-1)[: most + 1]
    sums = (np.tri(most + 1, dtype=np.int32) * counts[None]).sum(1, dtype=jnp.int32)
    start, total = jnp.where(sums > 0, sums, sums[-1]).min(), sums[-1]
    scale = 255 / jnp.maximum(total - start, 1).astype(jnp.float32)
    table = jnp.clip(jnp.round((sums - start).astype(jnp.float32) * scale), 0, 255).astype(jnp.int32)
    table = jnp.where(total > start, table, np.arange(most + 1, dtype=np.int32))  # of one level only, it stays
    return table.at[level].get(mode="promise_in_bounds")


def drops(grey: jax.Array) -> jax.Array:
    """The relief of drops of water at the edges of a layer of whole grey levels (H, W), in grey levels."""
    away = distance(canny(grey, 50, 150), 20)
    mean = jnp.asarray(sum(part for row in neighbours(away) for part in row)) // (9 * _UNIT)
    level = equalized(mean, 20)
    n = neighbours(level)
    weights = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
    lit = jnp.asarray(sum(w * part for line, row in zip(weights, n, strict=True) for w, part in zip(line, row)))  # noqa: B905
    lit = jnp.clip(lit, 0, 255)
    return (2 * jnp.asarray(sum(part for row in neighbours(lit) for part in row)) + 9) // 18
