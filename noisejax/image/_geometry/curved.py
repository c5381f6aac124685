"""Perspective, elastic and thin-plate deformations of pictures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Mask, Moved, array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax._sharding import automatic
from noisejax.image._corruptions.severity import of_examples
from noisejax.image._geometry.draws import flat_amount, moved_by, settings
from noisejax.image._geometry.places import Places, centred, inverse, matrix_of

_EXACT = lax.Precision.HIGHEST


@array_noise(_checks.numbers, **settings("perspective", amount=_checks.rate))
def perspective(
    key: jax.Array,
    x: jax.Array,
    amount: Amount,
    value: Amount = 0.0,
    *,
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Perspective: each corner of the picture moves inwards, by up to `amount` halves of the height and the width.

    The two coordinates of the four corners are uniform.

    Args:
      key: a JAX key.
      x: pictures, as in `translate`.
      amount: the largest movement as a part of half the size, in [0, 1]; one number, or one per example, of shape
        (B, 1, 1, 1). 0 is the identity. Traced values are clamped.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      `RandomPerspective(distortion_scale)` of torchvision and kornia; the map of a square to a quadrilateral is that of
      Heckbert, "Fundamentals of texture mapping and image warping", 1989.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.ones((2, 9, 9, 1))
      >>> y = nj.image.perspective(jax.random.key(0), x, 0.5, fill="constant")
      >>> y[:, 4, 4].tolist(), bool((y[:, 0, 0] < 1).all())  # the corners have moved inwards
      ([[1.0], [1.0]], True)
    """
    amount = jnp.clip(flat_amount("perspective", "amount", amount), 0, 1)
    drawn = sample.uniform(words(key, "image.perspective", **of_examples(x, 4, 2, 1)))[..., 0]
    inwards = amount[..., None, None] * drawn if amount.ndim else amount * drawn
    # The corners of the square [-1, 1], around: top left, top right, bottom right, bottom left.
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (
        (corner[0] * (1 - inwards[..., n, 0]), corner[1] * (1 - inwards[..., n, 1]))
        for n, corner in enumerate([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    )
    # Heckbert's map of the unit square to them
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    ax, ay, bx, by = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    whole = ax * by - bx * ay
    g, h = (sx * by - bx * sy) / whole, (ax * sy - sx * ay) / whole
    a, b, d, e = x1 - x0 + g * x1, x3 - x0 + h * x3, y1 - y0 + g * y1, y3 - y0 + h * y3
    # The unit square is (1 + p) / 2 for p in [-1, 1], which is a pixel's place in halves of the size.
    half = [max((n - 1) / 2, 0.5) for n in (x.shape[-2], x.shape[-3])]
    last = 1 + (g + h) / 2
    rows = [[a / 2, b / 2, x0 + (a + b) / 2], [d / 2, e / 2, y0 + (d + e) / 2], [g / 2, h / 2, last]]
    sizes = (*half, 1.0)
    pixels = [[entry / last * np.float32(sizes[i] / sizes[j]) for j, entry in enumerate(r)] for i, r in enumerate(rows)]
    return moved_by(Places(inverse(matrix_of(pixels))), x, value, where, order, fill)


@array_noise(_checks.numbers, **settings("elastic", alpha=_checks.nonnegative, sigma=_checks.nonnegative))
def elastic(
    key: jax.Array,
    x: jax.Array,
    alpha: Amount,
    sigma: Amount = 5.0,
    value: Amount = 0.0,
    *,
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Elastic deformation: each pixel is read at a displacement, and the displacements vary smoothly.

    A displacement is ``alpha`` times a number uniform in [-1, 1], blurred by a Gaussian of standard deviation `sigma`.
    Away from the edges its standard deviation is ``alpha / (sigma * sqrt(12 * pi))`` pixels: 0.16 for each unit of
    alpha if sigma is 1, 0.033 if it is 5. If that is more than about a third of sigma, the picture folds. Points can
    then not be carried along.

    Args:
      key: a JAX key.
      x: pictures, as in `translate`.
      alpha: the factor of the displacements, in pixels, at least 0; one number, or one per example, of shape
        (B, 1, 1, 1). 0 is the identity.
      sigma: the standard deviation of the blur in pixels, at least 0; one number, or one per example.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document
      analysis", ICDAR 2003; `ElasticTransform(alpha, sigma)` of albumentations and torchvision. The blur mirrors the
      draws at the edges, and is not cut.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.broadcast_to(jnp.arange(32.0)[:, None], (2, 32, 32, 1))
      >>> moved = nj.image.elastic(jax.random.key(0), x, 60.0, 4.0) - x
      >>> 1.0 < float(moved[:, 8:-8].std()) < 4.0  # 60 / (4 * sqrt(12 * pi)) is 2.4
      True
    """
    alpha, sigma = flat_amount("elastic", "alpha", alpha), flat_amount("elastic", "sigma", sigma)
    height, width = x.shape[-3:-1]
    field = sample.symmetric_uniform(words(key, "image.elastic", **of_examples(x, 2, height, width)))
    vertical = _blur(height, sigma)
    horizontal = vertical if height == width else _blur(width, sigma)

    def blurred(field, vertical, horizontal):
        field = jnp.einsum("...ij,...jw->...iw", vertical, field, precision=_EXACT)
        return jnp.einsum("...hj,...ij->...hi", field, horizontal, precision=_EXACT)

    field = automatic(blurred, field, vertical, horizontal)
    field = jnp.moveaxis((alpha[..., None, None, None] if alpha.ndim else alpha) * field, -3, -1)
    return moved_by(Places(jnp.eye(3, dtype=jnp.float32), field), x, value, where, order, fill)


def _blur(n: int, sigma: jax.Array) -> jax.Array:
    """The (n, n) matrix of a Gaussian blur that mirrors at the borders; (..., 1, n, n) for a sigma for each example."""
    sigma = sigma[..., None, None, None] if sigma.ndim else sigma
    i, j = np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.float32)[None, :]
    distances = (i - j, i + j + 1, 2 * n - 1 - i - j)
    scale = -0.5 / jnp.maximum(sigma, np.float32(1e-3)) ** 2
    lead = (1,) * (sigma.ndim - 2) if sigma.ndim else ()
    here, *mirrored = (jnp.exp(scale * np.square(d).reshape(*lead, n, n)) for d in distances)
    weights = here + mirrored[0] + mirrored[1]
    return weights / weights.sum(-1, keepdims=True)


def _knots(knots, **_) -> None:
    if not isinstance(knots, int) or not 2 <= knots <= 16:
        raise ValueError(f"thin_plate: knots must be an integer from 2 to 16, got {knots!r}.")


@array_noise(_checks.numbers, **settings("thin_plate", _knots, std=_checks.summed))
def thin_plate(
    key: jax.Array,
    x: jax.Array,
    std: Amount,
    value: Amount = 0.0,
    *,
    knots: int = 3,
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Thin-plate deformation: a grid of points is displaced at random, and all other pixels follow by a smooth spline.

    The grid has ``knots * knots`` points, from corner to corner. At these points the picture is read at a displacement,
    of which both coordinates are normal. In between is the thin-plate spline, the interpolation that bends least.

    Args:
      key: a JAX key.
      x: pictures, as in `translate`.
      std: the standard deviation of the displacements in pixels, at least 0; one number, or one per example, of shape
        (B, 1, 1, 1). 0 is the identity.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      knots: the number of points along each axis, from 2 to 16. Static.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      Bookstein, "Principal warps: thin-plate splines and the decomposition of deformations", IEEE Transactions on
      Pattern Analysis and Machine Intelligence 11(6), 1989; `ThinPlateSpline` of albumentations.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.broadcast_to(jnp.arange(32.0)[:, None], (64, 32, 32, 1))
      >>> moved = nj.image.thin_plate(jax.random.key(0), x, 2.0, fill="reflect") - x
      >>> 1.5 < float(moved[:, 15:17, 15:17].std()) < 2.5
      True
    """
    std = flat_amount("thin_plate", "std", std)
    drawn = sample.normal(words(key, "image.thin_plate", **of_examples(x, knots * knots, 2, 1)))[..., 0]
    drawn = (std[..., None, None] if std.ndim else std) * drawn
    size = (x.shape[-3], x.shape[-2])
    points, solved = _spline(knots, *size)
    coefficients = jnp.einsum("ik,...kc->...ic", solved, drawn, precision=_EXACT)
    length = np.float32(max(*size, 2) / 2)
    across, down = (place / length for place in centred(size, 0))
    basis = []
    for px, py in points:
        square = (across - px) ** 2 + (down - py) ** 2
        basis.append(square * jnp.log(jnp.maximum(square, np.float32(1e-12))))
    ones = jnp.ones(size, jnp.float32)
    basis = jnp.stack([*basis, ones, across * ones, down * ones])
    field = jnp.einsum("ihw,...ic->...hwc", basis, coefficients, precision=_EXACT)
    return moved_by(Places(jnp.eye(3, dtype=jnp.float32), field), x, value, where, order, fill)


@functools.cache
def _spline(knots: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The grid in halves of the longer side, and the matrix from its displacements to the coefficients of the spline.

    An axis of one pixel has a grid as if it had two, since points in one place have no spline.
    """
    length = max(height, width, 2) / 2
    steps = np.linspace(-1, 1, knots)
    x, y = (steps * max(n - 1, 1) / 2 / length for n in (width, height))
    points = np.stack([a.ravel() for a in np.meshgrid(x, y)], -1)
    square = ((points[:, None] - points[None]) ** 2).sum(-1)
    bending = square * np.log(np.maximum(square, 1e-12))
    plane = np.concatenate([np.ones((len(points), 1)), points], 1)
    system = np.block([[bending, plane], [plane.T, np.zeros((3, 3))]])
    return points.astype(np.float32), np.linalg.inv(system)[:, : len(points)].astype(np.float32)
