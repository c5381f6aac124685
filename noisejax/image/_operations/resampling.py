"""Pictures read at other places: at a field of displacements, and through a matrix."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount
from noisejax.image._geometry.places import Places, displacements, inverse, product
from noisejax.image._geometry.resampling import FILLS, ORDERS, resampled
from noisejax.image._operations.contract import operation
from noisejax.image._pictures import converted, rounded_to


def _check_reading(name: str, order, fill) -> None:
    _checks.one_of(name, "order", order, ORDERS)
    _checks.one_of(name, "fill", fill, FILLS)


def _require(name: str, argument: str, shape: tuple, lead: tuple, last: tuple[tuple[int, ...], ...], what: str) -> None:
    """Requires an array of one of the last axes, with none before them or those of the batch."""
    for own in last:
        if shape[-len(own) :] == own and shape[: -len(own)] in ((), lead):
            return
    wanted = " or ".join(str((*lead, *own)) for own in last)
    raise ValueError(
        f"{name}: {argument} must be {what} of shape {wanted}, without the axes of the batch to share it, got {shape}."
    )


def _check_warp(x, field, order, fill) -> None:
    _check_reading("warp", order, fill)
    _require("warp", "field", jnp.shape(field), x.shape[:-3], ((*x.shape[-3:-1], 2),), "displacements (x, y)")


@operation(tables=("field",), options=_check_warp)
def warp(x: jax.Array, field: Amount, *, order: int = 1, fill: str = "mirror") -> jax.Array:
    """A picture read at displaced places: pixel (i, j) takes what lies ``field[i, j]`` pixels to its right and below.

    A displacement of 0 is the identity to the bit. `elastic` and `thin_plate` draw such fields. Nothing is clipped.

    Args:
      x: pictures (..., H, W, C) of any number of channels: floats, or uint8/uint16 images.
      field: displacements (x, y) in pixels, (..., H, W, 2), or (H, W, 2) for all pictures.
      order: 0 for the nearest pixel, 1 for linear interpolation, 3 for cubics. Static.
      fill: what lies beyond the edges, as in `pixel_shift`: `'mirror'`, `'reflect'`, `'nearest'`, `'wrap'`, or
        `'constant'` for 0. Static.

    Returns:
      An array of x's shape and dtype.

    References:
      `jax.scipy.ndimage.map_coordinates`; the cubics are those of Keys, "Cubic convolution interpolation for digital
      image processing", IEEE Transactions on Acoustics, Speech, and Signal Processing 29(6), 1981.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(4.0).reshape(1, 4, 1)
      >>> nj.image.warp(x, jnp.full((1, 4, 2), 0.5).at[..., 1].set(0)).ravel().tolist()
      [0.5, 1.5, 2.5, 2.5]
    """
    field = jnp.broadcast_to(jnp.asarray(field), (*x.shape[:-1], 2))
    return rounded_to(x.dtype, resampled(converted(x), field[..., 0], field[..., 1], order, fill))


def _check_affine(x, matrix, order, fill) -> None:
    _check_reading("affine", order, fill)
    _require("affine", "matrix", jnp.shape(matrix), x.shape[:-3], ((3, 3), (2, 3)), "a matrix")


def _invertible(function: str, name: str, value) -> None:
    """Raises if a matrix of the host has no inverse; one of a wrong shape is refused later."""
    shape = np.shape(value)
    if isinstance(value, np.ndarray) and shape[-2:] in ((2, 3), (3, 3)):
        square = value.astype(np.float64)[..., : shape[-2], : shape[-2]]
        finite = np.asarray(np.isfinite(square).all((-2, -1)))
        lost = finite & (np.abs(np.linalg.det(np.where(finite[..., None, None], square, 0))) < 1e-30)
        if lost.any():
            first = value[lost].reshape(-1, *shape[-2:])[0].tolist()
            raise ValueError(
                f"{function}: every {name} must have an inverse, got {first}, which shrinks a picture to a line."
            )


@operation(tables=("matrix",), ranges={"matrix": _invertible}, options=_check_affine)
def affine(x: jax.Array, matrix: Amount, *, order: int = 1, fill: str = "mirror") -> jax.Array:
    """A picture whose points are moved by a matrix: what was at (x, y) comes to ``matrix @ (x, y, 1)``.

    Coordinates count pixels to the right and downwards, with the centre of the first pixel at (0, 0). A third row makes
    a perspective: the result is divided by its third entry. The identity is the identity to the bit. Nothing is
    clipped. ``moved(noise)(key, x).matrix`` is the matrix of a noise that moves pictures.

    Args:
      x: pictures (..., H, W, C) of any number of channels: floats, or uint8/uint16 images.
      matrix: (3, 3) or (2, 3) for all pictures, or one for each, (..., 3, 3) or (..., 2, 3). One without an
        inverse raises, or gives NaN if it is traced.
      order: 0 for the nearest pixel, 1 for linear interpolation, 3 for cubics. Static.
      fill: what lies beyond the edges, as in `warp`. Static.

    Returns:
      An array of x's shape and dtype.

    References:
      `warpAffine` and `warpPerspective` of OpenCV, with the matrix from the source to the result.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(4.0).reshape(1, 4, 1)
      >>> nj.image.affine(x, jnp.array([[1.0, 0, 1], [0, 1, 0]])).ravel().tolist()  # one pixel to the right
      [1.0, 0.0, 1.0, 2.0]
    """
    given = jnp.asarray(matrix)
    if given.shape[-2] == 2:
        last = jnp.broadcast_to(np.array([0, 0, 1], np.float32), (*given.shape[:-2], 1, 3))
        given = jnp.concatenate([given, last], -2)
    given = jnp.broadcast_to(given, (*x.shape[:-3], 3, 3))
    height, width = x.shape[-3:-1]
    there, back = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    middle = ((width - 1) / 2, (height - 1) / 2)
    there[:2, 2], back[:2, 2] = middle, (-middle[0], -middle[1])
    there, back = (jnp.broadcast_to(jnp.asarray(m), given.shape) for m in (there, back))
    about_centre = product(product(back, given), there)
    places = displacements(Places(inverse(about_centre)), (height, width))
    return rounded_to(x.dtype, resampled(converted(x), *places, order, fill))
