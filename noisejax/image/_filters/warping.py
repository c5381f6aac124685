"""Resampling of a picture at given places, with mirrored edges."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def _mirrored(place: jax.Array, n: int, whole_edge: bool) -> jax.Array:
    """Places along an axis of n pixels: those beyond the picture are mirrored as often as needed."""
    if n == 1:
        return jnp.zeros_like(place)
    first = np.float32(-0.5 if whole_edge else 0)  # where the mirror stands
    length = np.float32(n if whole_edge else n - 1)
    away = jnp.abs(place - first)
    away = away - 2 * length * jnp.floor(away / (2 * length))
    return jnp.where((place >= 0) & (place <= n - 1), place, first + jnp.minimum(away, 2 * length - away))


def at_places(x: jax.Array, rows: jax.Array, columns: jax.Array, *, whole_edge: bool) -> jax.Array:
    """A picture (H, W, C) at real places (H, W), by linear interpolation.

    The mirror is the border of the picture with ``whole_edge``, which repeats the border pixels, and else their centre.
    """
    height, width, channels = x.shape
    rows, columns = _mirrored(rows, height, whole_edge), _mirrored(columns, width, whole_edge)
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    # One gather of all four neighbours is faster than four. The picture has a pixel more on each side for that.
    corner = jnp.stack([top, left], -1).astype(jnp.int32) + 1
    corner = jnp.clip(corner, 0, np.array([height, width], np.int32).reshape(1, 1, 2))
    found = lax.gather(
        jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge"),
        corner,
        lax.GatherDimensionNumbers(offset_dims=(2, 3, 4), collapsed_slice_dims=(), start_index_map=(0, 1)),
        (2, 2, channels),
        mode="promise_in_bounds",
    )
    upper, lower = (found[:, :, n, 0] + right * (found[:, :, n, 1] - found[:, :, n, 0]) for n in (0, 1))
    return upper + down * (lower - upper)


def folded_gaussian(n: int, std: float, truncate: float = 3.0) -> np.ndarray:
    """The (n, n) matrix of a Gaussian blur with edges mirrored at the border of the picture."""
    if std <= 0:
        return np.eye(n, dtype=np.float32)
    reach = int(truncate * std + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / std) ** 2)
    weights /= weights.sum()
    index = (np.arange(n)[:, None] + offsets[None, :]) % (2 * n)
    index = np.minimum(index, 2 * n - 1 - index)
    matrix = np.zeros((n, n))
    np.add.at(matrix, (np.broadcast_to(np.arange(n)[:, None], index.shape), index), weights[None, :])
    return matrix.astype(np.float32)


def inverse_affine(size: tuple[int, int], moved: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where each pixel comes from if three corners of the central square move by ``moved``, (3, 2) of (x, y).

    The square has a third of the shorter side.
    """
    height, width = size
    # The published code takes (height, width) for (x, y) here, which is the same for square pictures.
    centre, side = np.array([height // 2, width // 2], np.float32), min(size) // 3
    corners = centre + np.array([[1, 1], [1, -1], [-1, -1]], np.float32) * side
    # Relative to the second corner, the map has the columns (p0 - p1) / (0, 2 side) and (p2 - p1) / (-2 side, 0).
    span = 2 * np.float32(side)
    along_y = np.array([0, 1], np.float32) + (moved[0] - moved[1]) / span
    along_x = np.array([1, 0], np.float32) - (moved[2] - moved[1]) / span
    origin = corners[1] + moved[1]
    determinant = along_x[0] * along_y[1] - along_x[1] * along_y[0]
    i, j = (np.arange(n, dtype=np.float32) for n in size)
    dx, dy = j[None, :] - origin[0], i[:, None] - origin[1]
    columns = corners[1, 0] + (along_y[1] * dx - along_y[0] * dy) / determinant
    rows = corners[1, 1] + (along_x[0] * dy - along_x[1] * dx) / determinant
    return rows, columns
