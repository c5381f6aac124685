"""Filters of pictures with amounts in physical units: Gaussian blur, defocus, JPEG and pixelation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount
from noisejax._contract import straight_through
from noisejax.image._filters.codec import compressed, pixelated, rounded
from noisejax.image._filters.smoothing import columns_by, gaussian_matrix, rows_by, soft_disk
from noisejax.image._operations.contract import operation
from noisejax.image._pictures import each_picture

_quality = _checks.Range("in [1, 100]", lambda v: (v >= 1) & (v <= 100), "75 is the default of Pillow.")


@operation(ranges={"sigma": _checks.nonnegative})
def blur(x: jax.Array, sigma: Amount) -> jax.Array:
    """Gaussian blur with a standard deviation in pixels; edges are repeated.

    The kernel is cut at four standard deviations. Nothing is clipped. `gaussian_blur` is the same filter at the
    published severities. It is differentiable, also in `sigma`.

    Args:
      x: pictures (..., H, W, C) of any number of channels: floats, or uint8/uint16 images.
      sigma: the standard deviation in pixels, at least 0: one number, or one per picture, of shape (B, 1, 1, 1). 0 is
        the identity. Traced values above the longer side act as that.

    Returns:
      An array of x's shape and dtype.

    References:
      `gaussian` of scikit-image.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1, 33, 33, 1)).at[0, 16, 16].set(1.0)
      >>> (1000 * nj.image.blur(x, 1.0).max()).round().item()
      159.0
      >>> noise = nj.keyless(nj.image.blur, sigma=1.0)  # as a stage of a chain
      >>> noise(jax.random.key(0), x).shape
      (1, 33, 33, 1)
    """
    height, width = x.shape[-3:-1]
    most = max(height, width)
    sigma = jnp.clip(sigma, 0, most)

    def matrices(sigma):
        return tuple(gaussian_matrix(n, sigma, 4 * most) for n in (height, width))

    def blurred(image, sigma, *shared):
        vertical, horizontal = shared or matrices(sigma)
        return columns_by(horizontal, rows_by(vertical, image))

    found = each_picture(blurred, x, (sigma,), shared=() if sigma.ndim else matrices(sigma), convert=True)
    return jnp.where(sigma > 0, found, x)


def _check_defocus(radius, largest, **_) -> None:
    _checks.count("defocus", "largest", largest, 1)
    if not isinstance(radius, jax.Array) and np.max(radius, initial=0) > largest:
        raise ValueError(
            f"defocus: radius must be at most largest={largest}, got {np.max(radius):g}. Give a larger one, largest=..."
        )


@operation(ranges={"radius": _checks.nonnegative, "alias": _checks.nonnegative}, least=2, given=_check_defocus)
def defocus(x: jax.Array, radius: Amount, alias: Amount = 0.5, *, largest: int = 10) -> jax.Array:
    """Blur by a disk with a soft edge, as of a lens out of focus; pictures are mirrored at their edges.

    The disk holds the pixels whose centres are no farther than `radius`. It is softened by a Gaussian of three taps
    along each axis, or five where the radius is above 8, as published. `defocus_blur` has the published severities. It
    is the same up to a radius below 8. From there the published kernel differs at a few pixels, because its softening
    mirrors the end of its grid. Nothing is clipped.

    Args:
      x: pictures (..., H, W, C) of any number of channels: floats, or uint8/uint16 images.
      radius: the radius in pixels, at least 0: one number, or one per picture, of shape (B, 1, 1, 1). 0 is the
        identity. Values above `largest` raise, or act as that if they are traced.
      alias: the standard deviation of the softening in pixels, at least 0, as `radius`.
      largest: the largest radius, which sets the cost. Static.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1, 33, 33, 1)).at[0, 16, 16].set(1.0)
      >>> int((nj.image.defocus(x, 3.0, 0.1) > 0.01).sum())  # pixels in a disk of radius 3
      29
    """

    def blurred(image, radius, alias):
        return jnp.where(radius > 0, soft_disk(image, jnp.minimum(radius, largest), alias, largest), image)

    return each_picture(blurred, x, (radius, alias), convert=True)


@operation(ranges={"quality": _quality}, channels=(1, 3), in_unit=True)
def jpeg(x: jax.Array, quality: Amount, *, differentiable: bool = False) -> jax.Array:
    """JPEG compression at a quality, with halved chroma, as Pillow saves it by default.

    The entropy coding of files is left out, since it loses nothing. The arithmetic is in floats, so single values may
    differ from those of libjpeg by a few grey levels. `jpeg_compression` has the published severities.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      quality: the quality, in [1, 100]: one number, or one per picture, of shape (B, 1, 1, 1). Traced values are
        clamped. A file has a whole number; others have the tables of the formula.
      differentiable: whether gradients pass through the rounding unchanged, also those in `quality`. The result is the
        same to the bit. Otherwise gradients are 0. Static.

    Returns:
      An array of x's shape and dtype.

    References:
      ITU-T T.81, Annex K; the scaling of its tables by libjpeg. Straight-through rounding: Bengio, Léonard and
      Courville, "Estimating or propagating gradients through stochastic neurons for conditional computation", 2013.
      Shin and Song, "JPEG-resistant adversarial images", NeurIPS Machine Learning and Computer Security Workshop 2017,
      have a smooth rounding instead, whose result differs.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jax.random.uniform(jax.random.key(0), (1, 16, 16, 3))
      >>> grad = jax.grad(lambda x: nj.image.jpeg(x, 50.0, differentiable=True).sum())(x)
      >>> bool((grad != 0).any())
      True
    """

    def rounding(x):
        return straight_through(rounded(x), x)

    def coded(image, quality):
        return compressed(image * 255, quality, rounding if differentiable else rounded) / 255

    return each_picture(coded, x, (jnp.clip(quality, 1, 100),), convert=True)


def _check_size(x, size, **_) -> None:
    size = _sizes(size)
    for n, most in zip(size, x.shape[-3:-1], strict=True):
        if n > most:
            raise ValueError(
                f"pixelate_to: size must be at most the height and width of x, {x.shape[-3:-1]}, got {size}. It is the "
                "number of boxes along each axis."
            )


def _sizes(size) -> tuple[int, int]:
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"pixelate_to: size must be one number, or (height, width), got {size!r}.")
    height, width = (_checks.count("pixelate_to", "size", n, 1) for n in pair)
    return height, width


@operation(channels=(1, 3), in_unit=True, options=_check_size)
def pixelate_to(x: jax.Array, *, size: int | tuple[int, int]) -> jax.Array:
    """Pixelation: means over boxes, repeated to the size of the picture.

    A box holds the pixels whose centres lie in it. Grey levels are whole numbers of 1/255 after each axis, as in
    Pillow, so gradients are 0. `pixelate` has the published severities.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      size: how many boxes there are along the height and the width: a pair, or one number for both. Static.

    Returns:
      An array of x's shape and dtype.

    References:
      `Image.resize` of Pillow, with `BOX` and then `NEAREST`.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(64.0).reshape(1, 8, 8, 1) / 64
      >>> len(set(nj.image.pixelate_to(x, size=2).ravel().tolist()))
      4
    """
    boxes = functools.partial(pixelated, size=_sizes(size))

    def coarse(image):
        return boxes(rounded(image * np.float32(255))) / 255

    return each_picture(coarse, x, convert=True)
