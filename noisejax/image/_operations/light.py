"""The public operations on light and colour, without a key. Their mathematics on one picture is in `photometric`."""

import math

import jax

from noisejax import _checks
from noisejax._checks import Amount
from noisejax.image._operations import photometric
from noisejax.image._operations.contract import operation
from noisejax.image._pictures import each_picture

_BITS = _checks.Range("in [0, 8]", lambda v: (v >= 0) & (v <= 8), "8 keeps all bits.")
_FINITE = _checks.Range("a finite number", lambda v: (v > -math.inf) & (v < math.inf), "0 is the identity.")


@operation(ranges={"factor": _checks.nonnegative}, channels=(1, 3), in_unit=True)
def adjust_brightness(x: jax.Array, factor: Amount) -> jax.Array:
    """Brightness by a factor: ``factor * x``, clipped to [0, 1].

    `brightness` adds to the value in HSV instead, at the published severities.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      factor: at least 0: one number, or one per picture, of shape (B, 1, 1, 1).
        1 is the identity, 0 is black.

    Returns:
      An array of x's shape and dtype.

    References:
      `Brightness` of Pillow's `ImageEnhance`; `adjust_brightness` of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> (100 * nj.image.adjust_brightness(jnp.array([[[0.2, 0.4, 0.8]]]), 2.0)).ravel().round().tolist()
      [40.0, 80.0, 100.0]
    """
    return each_picture(photometric.lighter, x, (factor,), convert=True)


@operation(ranges={"factor": _checks.nonnegative}, channels=(1, 3), in_unit=True)
def adjust_contrast(x: jax.Array, factor: Amount) -> jax.Array:
    """Contrast by a factor: the distance to the mean luma of the picture, clipped to [0, 1].

    `contrast` keeps the mean of each channel instead, at the published severities. Pillow rounds the mean to a whole
    grey level. Here and in torchvision it is not rounded.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      factor: at least 0: one number, or one per picture, of shape (B, 1, 1, 1).
        1 is the identity, 0 is grey.

    Returns:
      An array of x's shape and dtype.

    References:
      `Contrast` of Pillow's `ImageEnhance`; `adjust_contrast` of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> (100 * nj.image.adjust_contrast(jnp.array([[[0.4], [0.6]]]), 2.0)).ravel().round().tolist()
      [30.0, 70.0]
    """
    return each_picture(photometric.contrasted, x, (factor,), convert=True)


@operation(ranges={"factor": _checks.nonnegative}, channels=(3,), in_unit=True)
def color(x: jax.Array, factor: Amount) -> jax.Array:
    """Saturation by a factor: the distance of each pixel to its luma, clipped to [0, 1].

    `saturate` scales the saturation in HSV instead, at the published severities.

    Args:
      x: pictures (..., H, W, C) of 3 channels: floats in [0, 1], or uint8/uint16 images.
      factor: at least 0: one number, or one per picture, of shape (B, 1, 1, 1).
        1 is the identity, 0 is grey.

    Returns:
      An array of x's shape and dtype.

    References:
      `Color` of Pillow's `ImageEnhance`; `adjust_saturation` of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> (100 * nj.image.color(jnp.array([[[0.2, 0.4, 0.8]]]), 0.0)).ravel().round().tolist()
      [39.0, 39.0, 39.0]
    """
    return each_picture(photometric.colored, x, (factor,), convert=True)


@operation(ranges={"factor": _checks.nonnegative}, channels=(1, 3), in_unit=True)
def sharpness(x: jax.Array, factor: Amount) -> jax.Array:
    """Sharpness by a factor: the distance of each pixel to a smooth picture, clipped to [0, 1].

    The smooth picture has the mean of 3 by 3 pixels, of which the middle one counts five times. Pixels at the border
    stay.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      factor: at least 0: one number, or one per picture, of shape (B, 1, 1, 1).
        1 is the identity, 0 is the smooth picture.

    Returns:
      An array of x's shape and dtype.

    References:
      `Sharpness` of Pillow's `ImageEnhance`; `adjust_sharpness` of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((3, 3, 1)).at[1, 1].set(1.0)
      >>> (100 * nj.image.sharpness(x, 0.0))[1, 1].round().tolist()  # five of thirteen
      [38.0]
    """
    return each_picture(photometric.sharpened, x, (factor,), convert=True)


@operation(ranges={"exponent": _checks.nonnegative, "gain": _checks.nonnegative}, channels=(1, 3), in_unit=True)
def gamma(x: jax.Array, exponent: Amount, gain: Amount = 1.0) -> jax.Array:
    """Gamma correction: ``gain * x ** exponent``, clipped to [0, 1].

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      exponent: at least 0: one number, or one per picture, of shape (B, 1, 1, 1).
        1 is the identity, above 1 is darker.
      gain: a factor of the result, at least 0, as `exponent`.

    Returns:
      An array of x's shape and dtype.

    References:
      `adjust_gamma` of torchvision and scikit-image.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.gamma(jnp.array([[[0.5]]]), 2.0).item()
      0.25
    """
    return each_picture(photometric.curved, x, (exponent, gain), convert=True)


@operation(ranges={"turns": _FINITE}, channels=(3,), in_unit=True)
def hue(x: jax.Array, turns: Amount) -> jax.Array:
    """Hue, turned in HSV by a share of the whole circle.

    Value and saturation stay, and so does grey.

    Args:
      x: pictures (..., H, W, C) of 3 channels: floats in [0, 1], or uint8/uint16 images.
      turns: any number: one number, or one per picture, of shape (B, 1, 1, 1).
        0 is the identity, 1/3 makes green of red, and 0.5 makes the opposite colours.

    Returns:
      An array of x's shape and dtype.

    References:
      `adjust_hue` of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> (100 * nj.image.hue(jnp.array([[[0.8, 0.2, 0.2]]]), 1 / 3)).ravel().round().tolist()
      [20.0, 80.0, 20.0]
    """
    return each_picture(photometric.turned, x, (turns,), convert=True)


@operation(channels=(1, 3), in_unit=True)
def invert(x: jax.Array) -> jax.Array:
    """The negative: ``1 - x``.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.

    Returns:
      An array of x's shape and dtype.

    References:
      `invert` of Pillow's `ImageOps` and of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.invert(jnp.array([[[0.25]]])).item()
      0.75
    """
    return each_picture(photometric.inverted, x, convert=True)


@operation(ranges={"threshold": _checks.real}, channels=(1, 3), in_unit=True)
def solarize(x: jax.Array, threshold: Amount) -> jax.Array:
    """Solarization: values at or above a threshold are inverted.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      threshold: in the unit of x as floats, where white is 1:
        one number, or one per picture, of shape (B, 1, 1, 1). Above 1 is the identity, 0 inverts
        everything.

    Returns:
      An array of x's shape and dtype.

    References:
      `solarize` of Pillow's `ImageOps` and of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.solarize(jnp.array([[[0.25, 0.5, 1.0]]]), 0.5).ravel().tolist()
      [0.25, 0.5, 0.0]
    """
    return each_picture(photometric.solarized, x, (threshold,), convert=True)


@operation(ranges={"bits": _BITS}, channels=(1, 3), in_unit=True)
def posterize(x: jax.Array, bits: Amount) -> jax.Array:
    """Posterization: only the highest bits of the 8 bits of each value remain.

    Floats are rounded to 8 bits first, so gradients are 0. 8 bits are the identity.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      bits: in [0, 8]: one number, or one per picture, of shape (B, 1, 1, 1). Fractions
        are cut off. 0 is black.

    Returns:
      An array of x's shape and dtype.

    References:
      `posterize` of Pillow's `ImageOps` and of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> (255 * nj.image.posterize(jnp.array([[[1.0], [0.7]]]), 2.0)).ravel().round().tolist()
      [192.0, 128.0]
    """
    return each_picture(photometric.posterized, x, (bits,), convert=True)


@operation(channels=(1, 3), in_unit=True)
def autocontrast(x: jax.Array) -> jax.Array:
    """Each channel is stretched, so that its least value becomes 0 and its largest becomes 1.

    A channel of one value stays.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.

    Returns:
      An array of x's shape and dtype.

    References:
      `autocontrast` of Pillow's `ImageOps`, which cuts fractions off, and of torchvision.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> (100 * nj.image.autocontrast(jnp.array([[[0.2], [0.3], [0.6]]]))).ravel().round().tolist()
      [0.0, 25.0, 100.0]
    """
    return each_picture(photometric.stretched, x, convert=True)


@operation(channels=(1, 3), in_unit=True)
def equalize(x: jax.Array) -> jax.Array:
    """Histogram equalization of each channel: grey levels become as frequent as each other, as far as possible.

    Floats are rounded to 8 bits first, so gradients are 0. A channel stays where fewer than 255 pixels are below its
    largest level.

    Args:
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.

    Returns:
      An array of x's shape and dtype.

    References:
      `equalize` of Pillow's `ImageOps` and of torchvision.

    Example:
      >>> import jax, noisejax as nj
      >>> x = jax.random.uniform(jax.random.key(0), (64, 64, 1)) ** 2
      >>> round(float(nj.image.equalize(x).mean()), 2)
      0.5
    """
    return each_picture(photometric.equalized, x, convert=True)
