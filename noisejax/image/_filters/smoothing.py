"""Blurs of pictures: Gaussian by matrices, disks by prefix sums, and paths by their taps."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._sharding import own_loop_on_cpus

EXACT = lax.Precision.HIGHEST


def rows_by(matrix: jax.Array, x: jax.Array) -> jax.Array:
    """A matrix (..., H', H) applied to the rows of (..., H, W, C)."""
    flat = x.reshape(*x.shape[:-2], -1)
    return jnp.matmul(matrix, flat, precision=EXACT).reshape(*x.shape[:-3], matrix.shape[-2], *x.shape[-2:])


def columns_by(matrix: jax.Array, x: jax.Array) -> jax.Array:
    """A matrix (..., W', W) applied to the columns of (..., H, W, C)."""
    turned = jnp.swapaxes(x, -2, -1)
    return jnp.swapaxes(jnp.matmul(turned, jnp.swapaxes(matrix, -2, -1)[..., None, :, :], precision=EXACT), -2, -1)


def banded(vertical: jax.Array, horizontal: jax.Array, x: jax.Array, reach: int) -> jax.Array:
    """Square matrices applied to the rows and the columns of one picture, with zeros beyond `reach` of their diagonals.

    On a CPU, most products with zeros are left out, and the picture is turned only once.
    """

    def whole(vertical, horizontal, x):
        return columns_by(horizontal, rows_by(vertical, x))

    def in_bands(vertical, horizontal, x):
        height, width, channels = x.shape

        def across(rows, near):
            return jnp.matmul(lines[:, near], horizontal[rows, near].T, precision=EXACT)

        def along(rows, near):
            return jnp.matmul(vertical[rows, near], turned[near], precision=EXACT)

        lines = jnp.swapaxes(x, 1, 2).reshape(-1, width)
        turned = jnp.concatenate([across(*band) for band in _bands(width, reach)], 1).reshape(height, -1)
        found = jnp.concatenate([along(*band) for band in _bands(height, reach)])
        return jnp.swapaxes(found.reshape(height, channels, width), 1, 2)

    return lax.platform_dependent(vertical, horizontal, x, cpu=in_bands, default=whole)


def _bands(n: int, reach: int) -> list[tuple[slice, slice]]:
    """Pieces of n rows of a matrix, and the columns of which each has others than zeros."""
    count = max(min(n // max(2 * reach, 48), 8), 1)
    ends = [n * i // count for i in range(count + 1)]
    return [(slice(a, b), slice(max(a - reach, 0), b + reach)) for a, b in itertools.pairwise(ends)]


def gaussian_matrix(n: int, std: jax.Array, most: int, truncate: float = 4.0) -> jax.Array:
    """The (n, n) matrix of a Gaussian blur cut at ``truncate`` deviations, whose edges are repeated; std is a scalar.

    ``most`` bounds the radius. A standard deviation of 0 is the identity.
    """
    reach = jnp.floor(truncate * std + np.float32(0.5))
    scale = -0.5 / jnp.maximum(std, np.float32(1e-3)) ** 2

    def weight(distance):
        return jnp.where(distance <= reach, jnp.exp(scale * distance * distance), 0)

    i = np.arange(n, dtype=np.float32)
    inside = weight(np.abs(i[:, None] - i[None, :]))
    # What lies beyond an edge has the value of the edge: the weights at all larger distances, from the smallest on.
    beyond = weight(np.arange(max(most, n) + 1, dtype=np.float32))
    sums = jnp.cumsum(beyond[::-1])[::-1]
    tail = sums[1 : n + 1]
    total = 2 * sums[0] - beyond[0]
    first = np.eye(1, n, dtype=np.float32)  # sums of whole matrices compile faster than updates of a column
    return (inside + tail[:, None] * first + tail[::-1, None] * first[:, ::-1]) / total


def gaussian(x: jax.Array, std: jax.Array, most: int, truncate: float = 4.0) -> jax.Array:
    """A Gaussian blur of one picture (H, W, C) in each channel, with repeated edges; std is a scalar."""
    height, width = x.shape[0], x.shape[1]
    vertical = gaussian_matrix(height, std, most, truncate)
    horizontal = vertical if width == height else gaussian_matrix(width, std, most, truncate)
    return columns_by(horizontal, rows_by(vertical, x))


class Reach(NamedTuple):
    """How many pixels a filter may read beyond each side."""

    above: int
    below: int
    left: int
    right: int


def along_path(x: jax.Array, weights: jax.Array, rows: jax.Array, columns: jax.Array, reach: Reach) -> jax.Array:
    """The weighted sum of a picture (H, W, C) at offsets (rows[i], columns[i]), downwards and to the right.

    Edges are repeated.
    """
    height, width, channels = x.shape
    padded = jnp.pad(x, ((reach.above, reach.below), (reach.left, reach.right), (0, 0)), mode="edge")
    flat = padded.reshape(padded.shape[0], -1)

    def add(total, taps):
        for weight, row, column in zip(*taps, strict=True):
            start = (reach.above + row, (reach.left + column) * channels)
            total = total + weight * lax.dynamic_slice(flat, start, (height, width * channels))
        return total, None

    # Several taps at once, so that the sum is read and written less often. The last ones may have no weight.
    least = -len(weights) % _TAPS
    weights = jnp.concatenate([weights, jnp.zeros_like(weights[:1]).repeat(least)])
    rows, columns = (jnp.concatenate([place, place[-1:].repeat(least)]) for place in (rows, columns))
    taps = tuple(v.reshape(-1, _TAPS) for v in (weights, rows, columns))
    # Zeros of x rather than of its shape: inside shard_map they vary over the mesh as x does.
    total = jnp.zeros_like(x).reshape(height, width * channels)
    return lax.scan(add, total, taps)[0].reshape(x.shape)


_TAPS = 4


class Mirrored(NamedTuple):
    """A picture (H, W, C) with `edge` pixels more on each side, mirrored about its border pixels, as blurs read it."""

    lines: jax.Array  # (H + 2 edge, (W + 2 edge) C)
    sums: jax.Array  # of all lines above each, one more than lines

    def part(self, row, column, shape: tuple[int, ...]) -> jax.Array:
        return self._cut(self.lines, row, column, shape)

    def column(self, first, last, column, shape: tuple[int, ...]) -> jax.Array:
        """The sum of the lines from the first one to that before the last one."""
        return self._cut(self.sums, last, column, shape) - self._cut(self.sums, first, column, shape)

    @staticmethod
    def _cut(lines: jax.Array, row, column, shape: tuple[int, ...]) -> jax.Array:
        height, width, channels = shape
        start = (jnp.asarray(row, jnp.int32), jnp.asarray(column * channels, jnp.int32))  # of one type under x64, too
        return lax.dynamic_slice(lines, start, (height, width * channels))


def mirrored(x: jax.Array, edge: int) -> Mirrored:
    lines = _with_edges(x, edge)

    def up_to(total, line):
        return total + line, total + line

    def scanned(lines):  # on a CPU, jnp.cumsum takes twice as long
        lines = jnp.concatenate([jnp.zeros_like(lines[:1]), lines])
        return lax.scan(up_to, lines[0], lines)[1]

    def summed(lines):
        return jnp.pad(jnp.cumsum(lines, 0), ((1, 0), (0, 0)))

    return Mirrored(lines, lax.platform_dependent(lines, cpu=scanned, default=summed))


def _with_edges(x: jax.Array, edge: int) -> jax.Array:
    """The lines of `Mirrored`. On a CPU this takes a third of the time of `jnp.pad`."""
    height, width, _ = x.shape
    if min(height, width) <= edge:
        lines = jnp.pad(x, ((edge, edge), (edge, edge), (0, 0)), mode="reflect")
        return lines.reshape(lines.shape[0], -1)

    def joined(first, middle, last, axis):  # loops of their own, so that each piece is copied as a whole
        pieces = (own_loop_on_cpus(v.reshape(v.shape[0], -1), always=True) for v in (first, middle, last))
        return own_loop_on_cpus(jnp.concatenate(list(pieces), axis), always=True)

    wide = joined(x[:, edge:0:-1], x, x[:, -2 : -2 - edge : -1], 1)
    return joined(wide[edge:0:-1], wide, wide[-2 : -2 - edge : -1], 0)


def disk_edge(radius: float) -> int:
    return int(radius) + (1 if radius <= 8 else 2)


def by_disk(seen: Mirrored, shape: tuple[int, ...], edge: int, radius: float, alias: float) -> jax.Array:
    """The blur of one picture of a shape (H, W, C) by a disk with a soft edge.

    The disk is a difference of two prefix sums along each of its columns. Its softening mirrors the grid on which the
    disk is defined, so a few pixels at its ends have weights of their own. `edge` is that of the mirrored picture.
    """
    size, half = (3 if radius <= 8 else 5), int(radius)
    soft = small_gaussian(size, alias)
    offsets = np.arange(-half, half + 1)
    tops = np.floor(np.sqrt(radius**2 - offsets**2)).astype(np.int32)
    area = int((2 * tops + 1).sum())
    weights = (soft / np.sqrt(area)).astype(np.float32)
    disk = _over_columns(seen, shape, edge, jnp.asarray(tops), weights)

    rest = _at_the_ends(radius, soft, edge)
    if not len(rest):
        return disk

    def correct(total, tap):
        row, column, weight = tap
        return total + weight * seen.part(row, column, shape), None

    taps = (*jnp.asarray(rest[:, :2].astype(np.int32)).T, jnp.asarray(rest[:, 2].astype(np.float32)))
    return lax.scan(correct, disk.reshape(shape[0], -1), taps)[0].reshape(shape)


def soft_disk(x: jax.Array, radius: jax.Array, alias: jax.Array, largest: int) -> jax.Array:
    """The blur of one picture (H, W, C) by a disk of a traced radius up to `largest`, softened by a small Gaussian.

    The Gaussian has three taps along each axis, or five above a radius of 8.
    """
    edge = largest + 2
    seen = mirrored(x, edge)
    squared = radius * radius - np.arange(-largest, largest + 1, dtype=np.float32) ** 2
    tops = jnp.floor(jnp.sqrt(jnp.maximum(squared, 0)) + np.float32(1e-4))
    tops = jnp.where(squared >= 0, tops, -1).astype(jnp.int32)
    area = jnp.where(tops >= 0, 2 * tops + 1, 0).sum().astype(jnp.float32)
    distance = np.arange(-2, 3, dtype=np.float32)
    weights = jnp.exp(-0.5 * (distance / jnp.maximum(alias, np.float32(1e-3))) ** 2)
    weights = jnp.where((np.abs(distance) < 2) | (radius > 8), weights, 0)
    return _over_columns(seen, x.shape, edge, tops, weights / (weights.sum() * jnp.sqrt(area)))


def _over_columns(seen: Mirrored, shape: tuple[int, ...], edge: int, tops: jax.Array, weights: Any) -> jax.Array:
    """Sums over columns of 2 tops + 1 pixels, the same to both sides, and then over a small separable kernel.

    No column is counted whose top is negative, and the middle one has none.
    """
    half, pad = len(tops) // 2, len(weights) // 2
    height, width, channels = shape
    larger = (height + 2 * pad, width + 2 * pad, channels)

    def column(away, top):
        first = edge - pad
        return seen.column(first - top, first + top + 1, first + away, larger)

    def add(total, both):
        for away, top in zip(*both, strict=True):
            total = total + jnp.where(top >= 0, column(-away, top) + column(away, top), 0)
        return total, None

    # Two columns in a step, so that the sum is read and written less often.
    tops = jnp.pad(jnp.asarray(tops)[half:], (0, half % 2), constant_values=-1)
    rest = (jnp.arange(1, len(tops), dtype=jnp.int32).reshape(-1, 2), tops[1:].reshape(-1, 2))
    disk = lax.scan(add, column(0, tops[0]), rest)[0]
    disk = jnp.asarray(sum(weights[n] * disk[n : n + height] for n in range(2 * pad + 1)))
    # Lines as a whole rather than pixels of three channels, which are not vectorized.
    shifted = [disk[:, n * channels : (n + width) * channels] for n in range(2 * pad + 1)]
    return jnp.asarray(sum(weights[n] * part for n, part in enumerate(shifted))).reshape(shape)


def _at_the_ends(radius: float, soft: np.ndarray, edge: int) -> np.ndarray:
    """By how much the published kernel differs from a softened disk: rows of (row, column, difference)."""
    pad = len(soft) // 2
    reach = 8 if radius <= 8 else int(radius)
    i = np.arange(-reach, reach + 1)
    disk = (i[:, None] ** 2 + i[None, :] ** 2 <= radius**2).astype(np.float64)
    disk /= disk.sum()

    def softened(mode: Any, more: int) -> np.ndarray:
        found = np.pad(disk, more)
        for axis in (0, 1):
            widths = [(pad, pad) if axis == n else (0, 0) for n in (0, 1)]
            wide = np.pad(found, widths, mode=mode)
            found = np.asarray(
                sum(w * np.take(wide, np.arange(found.shape[axis]) + n, axis) for n, w in enumerate(soft))
            )
        return found

    difference = np.pad(softened("reflect", 0), pad) - softened("constant", pad)
    rows, columns = np.nonzero(np.abs(difference) > 1e-6)
    shift = edge - reach - pad
    return np.stack([rows + shift, columns + shift, difference[rows, columns]], 1)


def small_gaussian(size: int, std: float) -> np.ndarray:
    """The normalized weights of a Gaussian of few taps, as OpenCV has them for a size and a standard deviation."""
    distance = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (distance / std) ** 2)
    return weights / weights.sum()
