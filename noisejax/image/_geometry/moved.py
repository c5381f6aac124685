"""Points and boxes that follow the pixels of a picture, replayed from the key of the noise that moves them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._noise import Run
from noisejax._padded import is_padded, values_of, with_lengths
from noisejax.image._geometry.places import (
    PLACES,
    Places,
    centred,
    displaced,
    displacements,
    inverse,
    product,
)

_STEPS = 8
_ALONG_AN_EDGE = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Placed:
    """Where the pixels of moved pictures came from. `noisejax.image.moved` makes it.

    Coordinates are (x, y): to the right and downwards in pixels, with the centre of the first pixel at (0, 0). Points
    and boxes whose coordinates count the borders of pixels, as those of COCO do, are larger by 0.5. Subtract it first
    and add it afterwards, or ignore it: a translation does not see it.
    """

    places: Places
    size: tuple[int, int] = dataclasses.field(metadata={"static": True})

    @property
    def source(self) -> jax.Array:
        """The place (x, y) in the given picture at which each pixel of the moved one was read: (*batch, H, W, 2)."""
        source = _source(self.places, self.size)
        return source + self._middle.reshape((1,) * (source.ndim - 1) + (2,))

    @property
    def matrix(self) -> jax.Array:
        """The matrix (*batch, 3, 3) that maps (x, y, 1) of the given picture to the moved one, up to a factor.

        For deformations that are no matrix (`elastic`, `thin_plate`), this is the part that is one.
        """
        (x, y), eye = self._middle, np.eye(3, dtype=np.float32)
        there, back = eye.copy(), eye.copy()
        there[:2, 2], back[:2, 2] = (-x, -y), (x, y)
        shape = self.places.matrix.shape
        there, back = (jnp.broadcast_to(jnp.asarray(m), shape) for m in (there, back))
        return product(product(back, inverse(self.places.matrix)), there)

    def points(self, points: jax.Array | np.ndarray) -> jax.Array:
        """The points of the given pictures in the moved ones.

        Args:
          points: numbers (*batch, n, 2), the coordinates (x, y) of n points in each picture.

        Returns:
          float32 of the same shape. Points may leave the picture. Where a deformation folds the picture, a point has
          several places, and the result is one of them or none.

        Raises:
          ValueError: the batch axes are not those of the pictures.
        """
        points = self._checked("points", points, 2)
        middle = self._middle.reshape((1,) * (points.ndim - 1) + (2,))
        return _inverted(self.places, points - middle, self.size) + middle

    def boxes(self, boxes: jax.Array | np.ndarray) -> jax.Array:
        """The smallest upright boxes around what the given boxes become.

        Args:
          boxes: numbers (*batch, n, 4), the least and the largest coordinates (x0, y0, x1, y1) of n boxes in each
            picture.

        Returns:
          float32 of the same shape. Boxes may leave the picture; clip them with `jax.numpy.clip` where they must not.

        Raises:
          ValueError: the batch axes are not those of the pictures.
        """
        boxes = self._checked("boxes", boxes, 4)
        outline = _outline(1 if self.places.field is None else _ALONG_AN_EDGE)
        low, high = boxes[..., None, :2], boxes[..., None, 2:]
        lead = (1,) * (boxes.ndim - 1)
        around = low + (high - low) * outline.reshape(*lead, *outline.shape)
        found = self.points(around.reshape(*boxes.shape[:-2], -1, 2)).reshape(around.shape)
        return jnp.concatenate([found.min(-2), found.max(-2)], -1)

    @property
    def _middle(self) -> np.ndarray:
        height, width = self.size
        return np.array([(width - 1) / 2, (height - 1) / 2], np.float32)

    def _checked(self, name: str, value: Any, last: int) -> jax.Array:
        value = _checks.operand("moved", name, value)
        batch = self.places.matrix.shape[:-2]
        if value.shape[:-2] != batch or value.ndim < 2 or value.shape[-1] != last:
            wanted = ", ".join([*map(str, batch), "n", str(last)])
            raise ValueError(
                f"moved: {name} must have the shape ({wanted}), n for each picture, got {tuple(value.shape)}. Fill up "
                "those of pictures that have fewer, for instance with NaN."
            )
        return jnp.asarray(value, jnp.float32)


@functools.partial(jax.jit, static_argnames="size")
def _inverted(places: Places, points: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The pixels that are read at the places (*batch, n, 2), all of them relative to the centre.

    Without a field this is the inverse matrix. With one, the first steps are Newton's with the matrix alone for the
    derivative, which is a fixed point: take the field off, then the matrix. The others have the whole derivative, and
    count only where they come closer.
    """
    back = inverse(places.matrix)

    def without_matrix(x, y):
        right, down = displaced(back, x, y)
        return x + right, y + down

    x, y = points[..., 0], points[..., 1]
    found = without_matrix(x, y)
    field = places.field
    if field is None:
        return jnp.stack(found, -1)

    def fixed_point(_, found):
        right, down = _field_at(field, found[0], found[1], size)
        return without_matrix(x - right, y - down)

    def missing(a, b):
        """How far the source of (a, b) is from where it should be."""
        right, down = displaced(places.matrix, a, b)
        across, below = _field_at(field, a, b, size)
        return a + right + across - x, b + down + below - y

    def newton(_, found):
        one, zero = jnp.ones_like(x), jnp.zeros_like(x)
        (u, v), (xx, yx) = jax.jvp(missing, found, (one, zero))
        _, (xy, yy) = jax.jvp(missing, found, (zero, one))
        whole = xx * yy - xy * yx
        whole = jnp.where(jnp.abs(whole) < np.float32(1e-3), np.float32(1e-3), whole)
        closer = found[0] - (yy * u - xy * v) / whole, found[1] - (xx * v - yx * u) / whole
        better = _square(missing(*closer)) < _square((u, v))
        return tuple(jnp.where(better, new, old) for new, old in zip(closer, found, strict=True))

    found = lax.fori_loop(0, _STEPS, fixed_point, found)
    return jnp.stack(lax.fori_loop(0, _STEPS, newton, found), -1)


def _square(vector: tuple[jax.Array, jax.Array]) -> jax.Array:
    return vector[0] ** 2 + vector[1] ** 2


@functools.partial(jax.jit, static_argnames="size")
def _source(places: Places, size: tuple[int, int]) -> jax.Array:
    right, down = displacements(places, size)
    x, y = centred(size, right.ndim - 2)
    return jnp.stack([x + right, y + down], -1)


def _field_at(field: jax.Array, x: jax.Array, y: jax.Array, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """A field at points (*batch, n) relative to the centre, by linear interpolation, continued by its edges."""
    height, width = size
    right = jnp.clip(x + np.float32((width - 1) / 2), 0, width - 1)
    down = jnp.clip(y + np.float32((height - 1) / 2), 0, height - 1)
    column, row = jnp.floor(right), jnp.floor(down)
    across, below = (right - column)[..., None], (down - row)[..., None]
    flat = field.reshape(*field.shape[:-3], height * width, 2)

    def at(i: int, j: int) -> jax.Array:
        places = jnp.minimum(row + i, height - 1) * width + jnp.minimum(column + j, width - 1)
        return jnp.take_along_axis(flat, places.astype(jnp.int32)[..., None], axis=-2, mode="clip")

    upper, lower = (at(i, 0) + across * (at(i, 1) - at(i, 0)) for i in (0, 1))
    value = upper + below * (lower - upper)
    return value[..., 0], value[..., 1]


def _outline(parts: int) -> np.ndarray:
    """Points (n, 2) around the unit square, with so many for each edge."""
    steps = np.arange(parts, dtype=np.float32) / parts
    zeros, ones = np.zeros_like(steps), np.ones_like(steps)
    edges = [(steps, zeros), (ones, steps), (1 - steps, ones), (zeros, 1 - steps)]
    return np.concatenate([np.stack(edge, -1) for edge in edges])


def moved(noise: Callable) -> Callable:
    """Where a noise moves the pixels of x: ``moved(noise)(key, x)``, replayed from the key, for points and boxes.

    It works through the combinators, `geometry` included. For a batch of several entries it returns one `Placed` for
    each that is pictures, and None for the others. Noises of values and blurs move nothing: each pixel keeps its place.

    Args:
      noise: a bound noise, or a combination of noises of this library.

    Returns:
      A function of a key and x, with ``where`` and ``lengths`` as the noise has them. It returns a `Placed`, whose
      methods `points` and `boxes` carry them along, and whose `source` has the place of each pixel.

    Raises:
      TypeError: a noise does not say where pixels come from: those that exchange parts of examples or lengths, and
        `elastic_transform`, which between its levels shows two places at once.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x = jax.random.key(0), jnp.zeros((1, 9, 9, 1)).at[0, 2, 6].set(1.0)
      >>> noise = nj.bind(nj.image.rotate, degrees=90.0, kind="exact")
      >>> placed = nj.image.moved(noise)(key, x)
      >>> placed.points(jnp.array([[[6.0, 2.0]]])).tolist()  # column 6, row 2
      [[[2.0, 2.0]]]
      >>> noise(key, x)[0, 2, 2].tolist()
      [1.0]
    """

    def replay(key: jax.Array, x: Any, *, where=None, lengths=None) -> Any:
        x = x if lengths is None else with_lengths("moved", x, lengths)
        places = Run(where, PLACES)(noise, key, x)[1]
        if places is None:
            got = getattr(x, "shape", type(x).__name__)
            raise ValueError(f"moved: x must be pictures (..., H, W, C), or a batch with some, got {got}.")
        return jax.tree.map(_placed, x, places, is_leaf=is_padded)

    return replay


def _placed(x: Any, places: Places | None) -> Placed | None:
    if places is None:
        return None
    height, width = np.shape(values_of(x))[-3:-1]
    return Placed(places, (height, width))
