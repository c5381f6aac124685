"""Shifts, translations, rotations, shears and scales of pictures: one draw for each picture, all channels together."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Mask, Moved, array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import of_examples
from noisejax.image._geometry.draws import FINITE, both_axes, flat_amount, moved_by, settings, share
from noisejax.image._geometry.places import Places, matrix_of

_PIXELS = _checks.Range("at least 0 and below 2**20", lambda v: (v >= 0) & (v < 2**20), "0 is the identity.")
_SLANT = _checks.Range("above -90 and below 90", lambda v: abs(v) < 90, "It is in degrees, and 0 is the identity.")
_GROWTH = _checks.Range("above -1 and finite", lambda v: (v > -1) & (v < np.inf), "0 is the identity.")
_SMALLEST = np.float32(1e-3)


@array_noise(_checks.numbers, **settings("pixel_shift", pixels=_PIXELS))
def pixel_shift(
    key: jax.Array,
    x: jax.Array,
    pixels: Amount,
    value: Amount = 0.0,
    *,
    along: str = "both",
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Shifts each picture by whole pixels, with no interpolation.

    The two shifts are integers, uniform on -pixels to pixels.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of any dtype and number of channels. All channels of a picture move together.
      pixels: the largest shift, at least 0; fractions are cut. One number, or one per example, of shape (B, 1, 1, 1).
        0 is the identity.
      value: what comes in at the edges with ``fill="constant"``, a value of x's dtype.
      along: `'both'` axes, `'height'` or `'width'`. Static.
      fill: what comes in at the edges: `'nearest'` repeats the border, `'constant'` is `value`, `'reflect'` mirrors at
        the border (dcba|abcd|dcba), `'mirror'` at the centres of the border pixels (dcb|abcd|cba), and `'wrap'` comes
        from the other side. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding that is read has `value`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      Fukushima, "Neocognitron", Biological Cybernetics 36, 1980; the random crops with padding of He et al., "Deep
      residual learning for image recognition", CVPR 2016.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(5).reshape(1, 1, 5, 1)
      >>> nj.image.pixel_shift(jax.random.key(0), x, 2, along="width", fill="wrap").ravel().tolist()
      [2, 3, 4, 0, 1]
    """
    most = jnp.clip(jnp.floor(flat_amount("pixel_shift", "pixels", pixels)), 0, 2**20)
    drawn = []
    for axis in ("width", "height"):
        draw = of_examples(x)
        high, low = (words(key, f"image.pixel_shift.{axis}{part}", **draw)[..., 0, 0, 0] for part in ("", ".low"))
        steps = sample.integers(high, low, (2 * most + 1).astype(jnp.uint32)).astype(jnp.float32) - most
        drawn.append(steps if along in ("both", axis) else jnp.float32(0))
    return moved_by(Places(matrix_of([[1, 0, -drawn[0]], [0, 1, -drawn[1]], [0, 0, 1]])), x, value, where, 0, fill)


@array_noise(_checks.numbers, **settings("translate", pixels=FINITE))
def translate(
    key: jax.Array,
    x: jax.Array,
    pixels: Amount,
    value: Amount = 0.0,
    *,
    kind: str = "uniform",
    along: str = "both",
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Translates each picture by fractions of a pixel.

    Positive numbers move the picture to the right and downwards. Each axis has a draw of its own.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) with any number of channels, which move together: floats, uint8/uint16 images, or with
        ``order=0`` masks of integers or booleans.
      pixels: the largest translation in pixels; one number, or one per example, of shape (B, 1, 1, 1). 0 is the
        identity.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      kind: `'uniform'` between -pixels and pixels, `'sign'` for one of the two ends, or `'exact'` for pixels itself,
        which does not use the key. Static.
      along: `'both'` axes, `'height'` or `'width'`. Static.
      order: 0 for the nearest pixel, 1 for linear interpolation, or 3 for the cubic convolution of Keys. Static.
      fill: what lies beyond the edges: `'nearest'`, `'constant'`, `'reflect'`, `'mirror'` or `'wrap'`, as in
        `pixel_shift`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding that is read has the mean of the data, or
        `value` with ``fill="constant"`` or ``order=0``.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019, whose ImageNet-P translates by 1 pixel in each frame; `affine` of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.array([0.0, 0.0, 8.0, 0.0, 0.0]).reshape(1, 1, 5, 1)
      >>> nj.image.translate(jax.random.key(0), x, 0.25, along="width", kind="exact").ravel().tolist()
      [0.0, 0.0, 6.0, 2.0, 0.0]
    """
    amount = flat_amount("translate", "pixels", pixels)
    right, down = both_axes(key, "translate", x, amount, kind, along)
    return moved_by(Places(matrix_of([[1, 0, -right], [0, 1, -down], [0, 0, 1]])), x, value, where, order, fill)


@array_noise(_checks.numbers, **settings("rotate", degrees=FINITE))
def rotate(
    key: jax.Array,
    x: jax.Array,
    degrees: Amount,
    value: Amount = 0.0,
    *,
    kind: str = "uniform",
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Rotates each picture about its centre, counterclockwise for positive angles.

    Args:
      key: a JAX key.
      x: pictures, as in `translate`.
      degrees: the largest angle in degrees; one number, or one per example, of shape (B, 1, 1, 1). 0 is the identity,
        and multiples of 90 are exact.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      kind: `'uniform'` between -degrees and degrees, `'sign'` for one of the two ends, or `'exact'`. Static.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      `rotate` of torchvision and of Pillow, of the same direction. ImageNet-P (Hendrycks and Dietterich, ICLR 2019)
      rotates by 1 degree in each frame.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.array([[1, 2], [3, 4]])[None, ..., None]
      >>> nj.image.rotate(jax.random.key(0), x, 90, kind="exact", order=0)[0, ..., 0].tolist()
      [[2, 4], [1, 3]]
    """
    angle = flat_amount("rotate", "degrees", degrees) * share(key, "rotate", x, kind)
    cosine, sine = _direction(angle)
    matrix = matrix_of([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return moved_by(Places(matrix), x, value, where, order, fill)


def _direction(degrees: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine, exact for multiples of 90 degrees."""
    quarters = jnp.round(degrees / 90)
    rest = (degrees - 90 * quarters) * np.float32(np.pi / 180)
    cosine, sine = jnp.cos(rest), jnp.sin(rest)
    quarter = (quarters % 4).astype(jnp.int32)
    turned = [(cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine)]
    which = [quarter == n for n in range(3)]
    cosines, sines = zip(*turned, strict=True)
    return jnp.select(which, cosines[:3], cosines[3]), jnp.select(which, sines[:3], sines[3])


@array_noise(_checks.numbers, **settings("shear", degrees=_SLANT))
def shear(
    key: jax.Array,
    x: jax.Array,
    degrees: Amount,
    value: Amount = 0.0,
    *,
    kind: str = "uniform",
    along: str = "both",
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Shears each picture about its centre: first along the width, then along the height.

    A positive shear along the width moves lower rows to the left, by the tangent of the angle for each row. Along the
    height it moves columns on the right upwards. Areas stay.

    Args:
      key: a JAX key.
      x: pictures, as in `translate`.
      degrees: the largest angle in degrees, below 90; one number, or one per example, of shape (B, 1, 1, 1). 0 is the
        identity. For a shear factor, this is the angle with that tangent.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      kind: `'uniform'` between -degrees and degrees, `'sign'` for one of the two ends, or `'exact'`. Static.
      along: `'both'` axes, with a draw for each, `'height'` or `'width'`. Static.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      `affine` of torchvision and `get_shear_matrix2d` of kornia, of the same signs. ImageNet-P (Hendrycks and
      Dietterich, ICLR 2019) shears by 1 degree in each frame.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.eye(3, dtype=int)[None, ..., None]
      >>> y = nj.image.shear(jax.random.key(0), x, 45, kind="exact", along="width", order=0, fill="constant")
      >>> y[0, ..., 0].tolist()  # lower rows move to the left
      [[0, 1, 0], [0, 1, 0], [0, 1, 0]]
    """
    limit = jnp.clip(flat_amount("shear", "degrees", degrees), -89.9, 89.9)
    across, down = both_axes(key, "shear", x, limit, kind, along)
    a, b = (jnp.tan(angle * np.float32(np.pi / 180)) for angle in (across, down))
    return moved_by(Places(matrix_of([[1 + a * b, a, 0], [b, 1, 0], [0, 0, 1]])), x, value, where, order, fill)


def _growth(amount, kind="uniform", **_) -> None:
    if kind != "exact" and not isinstance(amount, jax.Array) and not np.all(np.abs(amount) < 1):
        raise ValueError(
            f"scale: amount must lie in (-1, 1) with kind={kind!r}, since factors lie between 1 - amount and "
            f"1 + amount, got {np.max(np.abs(amount))}. For a known factor, give kind='exact'."
        )


@array_noise(_checks.numbers, amounts=_growth, **settings("scale", amount=_GROWTH))
def scale(
    key: jax.Array,
    x: jax.Array,
    amount: Amount,
    value: Amount = 0.0,
    *,
    kind: str = "uniform",
    along: str = "both",
    order: int = 1,
    fill: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Scales each picture about its centre, by a factor between ``1 - amount`` and ``1 + amount``.

    Factors above 1 enlarge. The picture keeps its shape: parts beyond the edges are lost, and the fill comes in. Pixels
    are read without a blur, so strong reductions alias.

    Args:
      key: a JAX key.
      x: pictures, as in `translate`.
      amount: the largest change of the factor from 1, below 1; one number, or one per example, of shape (B, 1, 1, 1). 0
        is the identity.
      value: what lies beyond the edges with ``fill="constant"``, a value of x's dtype.
      kind: the factor is `'uniform'`, one of the two ends with `'sign'`, or ``1 + amount`` with `'exact'`, where the
        amount may be any number above -1. Static.
      along: `'both'` axes with one factor, or `'height'` or `'width'` alone. Static.
      order, fill: the interpolation, and what lies beyond the edges, as in `translate`. Static.
      where, lengths: padding, as in `translate`.

    Returns:
      An array of x's shape and dtype. `moved` carries points and boxes along.

    References:
      `RandomAffine` of torchvision and `RandomScale` of albumentations. ImageNet-P (Hendrycks and Dietterich, ICLR
      2019) scales by 2.5 % in each frame.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.array([1, 2, 3]).reshape(1, 1, 3, 1)
      >>> nj.image.scale(jax.random.key(0), x, 2, kind="exact", along="width", order=0).ravel().tolist()
      [2, 2, 2]
    """
    factor = 1 + flat_amount("scale", "amount", amount) * share(key, "scale", x, kind)
    shrunk = 1 / jnp.maximum(factor, _SMALLEST)
    across, down = (shrunk if along in ("both", axis) else 1 for axis in ("width", "height"))
    return moved_by(Places(matrix_of([[across, 0, 0], [0, down, 0], [0, 0, 1]])), x, value, where, order, fill)
