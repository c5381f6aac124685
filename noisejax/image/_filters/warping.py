"""Resampling of a picture at given places, with mirrored edges."""

import jax
import jax.numpy as jnp
import numpy as np


def _mirrored(index: jax.Array, n: int, whole_edge: bool) -> jax.Array:
    """An index beyond the picture, mirrored as often as needed."""
    if n == 1:
        return jnp.zeros_like(index)
    period = 2 * n if whole_edge else 2 * n - 2
    index = index % period
    return jnp.minimum(index, period - int(whole_edge) - index)


def at_places(x: jax.Array, rows: jax.Array, columns: jax.Array, *, whole_edge: bool) -> jax.Array:
    """A picture (H, W, C) at real places (H, W), by linear interpolation.

    The mirror is the border of the picture with ``whole_edge``, which repeats the border pixels, and else their centre.
    """
    height, width, channels = x.shape
    flat = x.reshape(-1, channels)
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    top, left = (place.astype(jnp.int32) for place in (top, left))
    lines = [_mirrored(top + n, height, whole_edge) * width for n in (0, 1)]
    places = [_mirrored(left + n, width, whole_edge) for n in (0, 1)]
    upper, lower = (
        before + right * (after - before)
        for before, after in (
            [flat.at[line + place].get(mode="promise_in_bounds") for place in places] for line in lines
        )
    )
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
