"""Where the pixels of a moved picture came from: a matrix and a field of displacements, and how they compose.

Coordinates are (x, y) in pixels, to the right and downwards. Inside this folder their origin is the centre of the
picture, ((W - 1) / 2, (H - 1) / 2), so that the matrices of rotations and scales have no offset.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._calls.replay import Replay, pick_examples
from noisejax._padded import is_padded, values_of
from noisejax.image._geometry.resampling import resampled

_NEAR = np.float32(1e-3)  # the smallest denominator of a perspective


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Places:
    """The source of each pixel: ``matrix @ (x, y, 1)``, divided by the third entry, plus the field at the pixel.

    Args:
      matrix: float32 (*batch, 3, 3), whose last entry is 1.
      field: float32 (*batch, H, W, 2), or None for no displacement besides the matrix.
    """

    matrix: jax.Array
    field: jax.Array | None = None


def matrix_of(rows: list[list[Any]]) -> jax.Array:
    """A matrix (*batch, 3, 3) from its entries, which are numbers or of shape (*batch)."""
    entries = jnp.broadcast_arrays(*(jnp.asarray(entry, jnp.float32) for row in rows for entry in row))
    return jnp.stack(entries, -1).reshape(*entries[0].shape, 3, 3)


def product(first: jax.Array, second: jax.Array) -> jax.Array:
    """The product of matrices (*batch, 3, 3), exact to float32 on every device, with 1 as its last entry."""
    found = (first[..., :, :, None] * second[..., None, :, :]).sum(-2)
    return found / found[..., 2:, 2:]


def inverse(matrix: jax.Array) -> jax.Array:
    """The inverse of a matrix (*batch, 3, 3), up to a factor, with 1 as its last entry."""
    a, b, c, d, e, f, g, h, i = (matrix[..., n // 3, n % 3] for n in range(9))
    minors = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    last = minors[2][2]
    return matrix_of([[entry / last for entry in row] for row in minors])


def displaced(matrix: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How far a matrix (*batch, 3, 3) moves the points (*batch, ...): exactly 0 for the identity."""
    more = (1,) * (max(x.ndim, y.ndim) - matrix.ndim + 2)
    a, b, c, d, e, f, g, h = (matrix[..., n // 3, n % 3].reshape(*matrix.shape[:-2], *more) for n in range(8))
    far = g * x + h * y  # the third coordinate is 1 + far
    near = jnp.maximum(1 + far, _NEAR)
    return ((a - 1 - far) * x + b * y + c) / near, (d * x + (e - 1 - far) * y + f) / near


def centred(size: tuple[int, int], batch: int) -> tuple[jax.Array, jax.Array]:
    """The coordinates x (..., 1, W) and y (..., H, 1) of the pixels, with `batch` axes before them."""
    height, width = size
    x = lax.broadcasted_iota(jnp.float32, (*(1,) * batch, 1, width), batch + 1) - np.float32((width - 1) / 2)
    y = lax.broadcasted_iota(jnp.float32, (*(1,) * batch, height, 1), batch) - np.float32((height - 1) / 2)
    return x, y


def displacements(places: Places, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """How far each pixel's source lies to its right and below it: two arrays (*batch, H, W)."""
    right, down = displaced(places.matrix, *centred(size, places.matrix.ndim - 2))
    shape = (*right.shape[:-2], *size)
    right, down = jnp.broadcast_to(right, shape), jnp.broadcast_to(down, shape)
    if places.field is None:
        return right, down
    return right + places.field[..., 0], down + places.field[..., 1]


def read_field(field: jax.Array, right: jax.Array, down: jax.Array) -> jax.Array:
    """A field (*batch, H, W, 2) at displacements (*batch, H, W) from its pixels, continued by its edges."""
    return resampled(field, right, down, 1, "nearest")


def then(first: Places | None, second: Places | None) -> Places | None:
    """The places of x that a second noise reads, if it is given what a first one made of x."""
    if first is None or second is None:
        return None
    matrix = product(first.matrix, second.matrix)
    field = first.field if first.field is not None else second.field
    if field is None:
        return Places(matrix)
    size = (field.shape[-3], field.shape[-2])
    x, y = centred(size, field.ndim - 3)
    right, down = displacements(second, size)
    further = displaced(first.matrix, x + right, y + down)
    total = jnp.stack([right + further[0], down + further[1]], -1)
    if first.field is not None:
        total = total + read_field(first.field, right, down)
    return Places(matrix, total - jnp.stack(displacements(Places(matrix), size), -1))


def dense(places: Places, size: tuple[int, int]) -> Places:
    """The same with a field, so that all places of a picture have one structure."""
    if places.field is not None:
        return places
    return dataclasses.replace(places, field=jnp.zeros((*places.matrix.shape[:-2], *size, 2), jnp.float32))


def is_places(value: Any) -> bool:
    return isinstance(value, Places)


def still(x: Any) -> Places | None:
    """The places of a picture that stays. Arrays of fewer axes than a picture has have none."""
    shape = np.shape(values_of(x))
    if len(shape) < 3:
        return None
    return Places(jnp.broadcast_to(jnp.eye(3, dtype=jnp.float32), (*shape[:-3], 3, 3)))


def _all_alike(x: Any, told: Any) -> Any:
    """A replay in the form that all noises of x share, for branches of a program."""

    def alike(array, places):
        return dense(places, np.shape(values_of(array))[-3:-1]) if is_places(places) else places

    return jax.tree.map(alike, x, told, is_leaf=is_padded)


def _select(drawn: jax.Array, new: Any, old: Any) -> Any:
    def select(a, b):
        if a is None or b is None:
            return None
        if a.matrix.ndim < 3:
            raise ValueError(
                "moved: choose and sometimes draw for each example along the leading axis, so x must be pictures "
                "(B, H, W, C). Add an axis to a single one: x[None]."
            )
        fields = [places.field for places in (a, b) if places.field is not None]
        if fields:
            a, b = (dense(places, (fields[0].shape[-3], fields[0].shape[-2])) for places in (a, b))
        return pick_examples(drawn, a, b)

    return jax.tree.map(select, new, old, is_leaf=is_places)


def _keeps(function: Any) -> bool:
    """Whether a function of values leaves pixels in place: those of this library do, but for two."""
    ours = (getattr(function, "__module__", None) or "").startswith("noisejax.")
    return ours and function.__name__ not in ("affine", "warp")


PLACES = Replay(
    "image.moved",
    still,
    then,
    "Apply it outside of moved.",
    select=_select,
    alike=_all_alike,
    is_leaf=is_places,
    stays=lambda spec: spec.kind == "array" and spec.sees != "batch" and spec.moves is not True,
    keeps=_keeps,
)
