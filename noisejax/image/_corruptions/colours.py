"""The corruptions of brightness and colour: brightness, contrast and saturation."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax.image._corruptions.severity import LEVELS, Pictures, between, each, mean_of, pictures, row, settings


@array_noise(_checks.images, **settings("brightness"))
def brightness(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Brightness of the common corruptions: a number is added to the value in HSV, which is clipped to [0, 1].

    Hue and saturation are unchanged. The number is linear in the severity between the published values. With one
    channel it is added to the pixel.

    Args:
      key: a JAX key, which has no effect: this corruption draws nothing.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.brightness(jax.random.key(0), jnp.array([[[0.4, 0.2, 0.0]]]), 2)
      >>> (100 * y).round().ravel().tolist()
      [60.0, 30.0, 0.0]
    """
    seen = pictures("brightness", x, severity, where)
    added = between(seen.severity, row("brightness", table), 0)
    value = _over_channels(jnp.maximum, seen.values)
    brighter = jnp.clip(value + added, 0, 1)
    return seen.finish(jnp.where(value > 0, seen.values * (brighter / jnp.where(value > 0, value, 1)), brighter))


@array_noise(_checks.images, **settings("contrast"))
def contrast(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Contrast of the common corruptions: the distance to the mean of the picture's channel shrinks by a factor.

    The factor is linear in the severity between the published values. Padding does not count in the mean.

    Args:
      key: a JAX key, which has no effect: this corruption draws nothing.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.contrast(jax.random.key(0), jnp.array([[[0.0], [1.0]]]), 1)
      >>> (100 * y).round().ravel().tolist()
      [30.0, 70.0]
    """
    seen = pictures("contrast", x, severity, where)
    factors = row("contrast", table)

    def paler(image, severity, mean):
        return (image - mean) * between(severity, factors, 1) + mean

    if seen.where is not None:
        return each(paler, seen, mean_of(seen.values, seen.where))
    return each(lambda image, severity: paler(image, severity, mean_of(image, None)), seen)


@array_noise(_checks.images, **settings("saturate", colour=True))
def saturate(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Saturation of the common corruptions: the saturation in HSV becomes ``a * saturation + b``, clipped to [0, 1].

    Severities 1 and 2 make colours pale, and 3 to 5 make them strong. Between the levels, the two neighbouring results
    are mixed. Grey has the hue of red.

    Args:
      key: a JAX key, which has no effect: this corruption draws nothing.
      x: pictures (..., H, W, 3): floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.saturate(jax.random.key(0), jnp.array([[[0.4, 0.3, 0.2]]]), 3)
      >>> (100 * y).round().ravel().tolist()
      [40.0, 20.0, 0.0]
    """
    seen = pictures("saturate", x, severity, where)
    value, least = (_over_channels(pick, seen.values) for pick in (jnp.maximum, jnp.minimum))
    span = value - least
    grey_hue = np.array([0, 1, 1], np.float32).reshape((1,) * (x.ndim - 1) + (3,))
    # How far the channel lies below the value, as a share of the whole: it depends on the hue alone.
    below = jnp.where(span > 0, (value - seen.values) / jnp.where(span > 0, span, 1), grey_hue)
    saturation = span / jnp.where(value > 0, value, 1)
    return seen.finish(value * (1 - below * _mean_saturation(seen, saturation, row("saturate", table))))


def _over_channels(pick: Callable, values: jax.Array) -> jax.Array:
    """The largest or the smallest channel. A reduction would be a loop of its own, with an array between."""
    return functools.reduce(pick, [values[..., n : n + 1] for n in range(values.shape[-1])])


def _mean_saturation(seen: Pictures, saturation: jax.Array, levels: np.ndarray) -> jax.Array:
    """The mixture of two results is the result of the mixed saturation, as it is linear in that."""
    found = jnp.zeros_like(saturation)
    for n in range(LEVELS + 1):
        weight = jnp.clip(1 - jnp.abs(seen.severity - n), 0, 1)
        new = saturation if n == 0 else jnp.clip(saturation * levels[n - 1, 0] + levels[n - 1, 1], 0, 1)
        found = found + weight * new
    return found
