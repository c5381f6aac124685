"""Flips, and maps that the user knows: a matrix, or a field of displacements."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Mask, Moved, array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import of_examples
from noisejax.image._geometry.draws import each_picture, moved_by, settings
from noisejax.image._geometry.places import Places, inverse, matrix_of, product


@array_noise(_checks.numbers, **settings("flip", rate=_checks.rate))
def flip(
    key: jax.Array,
    x: jax.Array,
    rate: Amount = 0.5,
    value: Amount = 0.0,
    *,
    along: str = "width",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Mirrors each picture with probability `rate`, left to right by default.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of any dtype and number of channels.
      rate: the probability that a picture is mirrored, in [0, 1]; one number, or one per example, of shape
        (B, 1, 1, 1). Traced values are clamped. 0 is the identity.
      value: what comes in from padding, a value of x's dtype.
      along: `'width'`, `'height'`, or `'both'` for half a turn. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding that is read has `value`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      `RandomHorizontalFlip` and `RandomVerticalFlip` of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.flip(jax.random.key(0), jnp.arange(4).reshape(1, 1, 4, 1), 1.0).ravel().tolist()
      [3, 2, 1, 0]
    """
    w = words(key, "image.flip", **of_examples(x))[..., 0, 0, 0]
    sign = jnp.where(sample.bernoulli(w, each_picture("flip", "rate", rate)), -1, 1).astype(jnp.float32)
    across, down = (sign if along in ("both", axis) else 1 for axis in ("width", "height"))
    return moved_by(Places(matrix_of([[across, 0, 0], [0, down, 0], [0, 0, 1]])), x, value, where, 0, "nearest")


def _matrix(matrix, **_) -> None:
    if matrix.ndim < 2 or matrix.shape[-2:] != (3, 3):
        raise ValueError(
            f"affine: matrix must be of shape (3, 3), or (B, 3, 3) with one for each picture, got "
            f"{tuple(matrix.shape)}. A matrix of two rows needs a third one, 0, 0, 1."
        )
    if isinstance(matrix, np.ndarray) and not np.all(np.abs(np.linalg.det(matrix)) > 1e-12):
        raise ValueError(f"affine: matrix must have an inverse, got determinant {np.min(np.linalg.det(matrix)):g}.")


@array_noise(_checks.numbers, tables=("matrix",), amounts=_matrix, **settings("affine", matrix=_checks.real))
def affine(
    key: jax.Array,
    x: jax.Array,
    matrix: Amount,
    value: Amount = 0.0,
    *,
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Moves pictures by a known matrix, which maps the place (x, y, 1) of each point to its new place.

    Coordinates are (x, y) in pixels, to the right and downwards, with the centre of the first pixel at (0, 0). The
    third row is 0, 0, 1 for an affine map; others are perspectives.

    Args:
      key: a JAX key, which has no effect.
      x: pictures, as in `translate`.
      matrix: numbers of shape (3, 3), or (B, 3, 3) with one matrix for each picture. The unit matrix is the identity.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    Raises:
      ValueError: the matrix has another shape, or no inverse.

    References:
      `warpPerspective` of OpenCV and `warp_perspective` of kornia, with the same matrix.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> right = jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
      >>> nj.image.affine(jax.random.key(0), jnp.arange(4).reshape(1, 1, 4, 1), right, order=0).ravel().tolist()
      [0, 0, 1, 2]
    """
    matrix = _of_pictures("affine", "matrix", jnp.asarray(matrix), x, 2)
    right, down = np.float32((x.shape[-2] - 1) / 2), np.float32((x.shape[-3] - 1) / 2)
    there, back = (matrix_of([[1, 0, s * right], [0, 1, s * down], [0, 0, 1]]) for s in (-1, 1))
    lead = (1,) * (matrix.ndim - 2)
    centred = product(product(there.reshape(*lead, 3, 3), matrix), back.reshape(*lead, 3, 3))
    return moved_by(Places(inverse(centred)), x, value, where, order, fill)


def _field(field, **_) -> None:
    if field.ndim < 3 or field.shape[-1] != 2:
        raise ValueError(
            f"warp: field must be of shape (H, W, 2), or (B, H, W, 2) with one for each picture, got "
            f"{tuple(field.shape)}."
        )


@array_noise(_checks.numbers, tables=("field",), amounts=_field, **settings("warp", field=_checks.real))
def warp(
    key: jax.Array,
    x: jax.Array,
    field: Amount,
    value: Amount = 0.0,
    *,
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Reads each pixel of pictures at a known displacement from it.

    Args:
      key: a JAX key, which has no effect.
      x: pictures, as in `translate`.
      field: numbers of shape (H, W, 2), or (B, H, W, 2) with one field for each picture: how far to the right of and
        below each pixel its new value is read, in pixels. An axis of length 1 is shared. 0 is the identity.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    Raises:
      ValueError: the field does not have the shape of the pictures.

    References:
      `remap` of OpenCV, with the displacements instead of the places; `map_coordinates` of SciPy.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(4.0).reshape(1, 1, 4, 1)
      >>> field = jnp.zeros((1, 4, 2)).at[..., 0].set(0.5)  # half a pixel to the right
      >>> nj.image.warp(jax.random.key(0), x, field).ravel().tolist()
      [0.5, 1.5, 2.5, 3.0]
    """
    field = _of_pictures("warp", "field", jnp.asarray(field), x, 3)
    if any(n not in (1, m) for n, m in zip(field.shape[-3:-1], x.shape[-3:-1], strict=True)):
        raise ValueError(
            f"warp: field must have the height and width of x, {x.shape[-3:-1]}, got shape {tuple(field.shape)}."
        )
    field = jnp.broadcast_to(field.reshape((1,) * (x.ndim - field.ndim) + field.shape), (*x.shape[:-1], 2))
    return moved_by(Places(jnp.eye(3, dtype=jnp.float32), field), x, value, where, order, fill)


def _of_pictures(name: str, argument: str, value: jax.Array, x: jax.Array, own: int) -> jax.Array:
    """An amount of `own` axes for all pictures, or with the batch axes of x before them."""
    batch, pictures = value.shape[: value.ndim - own], x.shape[:-3]
    if len(batch) > len(pictures) or any(n not in (1, m) for n, m in zip(batch[::-1], pictures[::-1], strict=False)):
        raise ValueError(
            f"{name}: {argument} must be one for all pictures, or one for each, with {x.shape[:-3]} before its own "
            f"axes, got shape {tuple(value.shape)}."
        )
    return value
