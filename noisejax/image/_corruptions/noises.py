"""The corruptions that act on every value by itself: normal, photon, impulse and speckle noise."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise, straight_through
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax._sharding import own_loop_on_cpus
from noisejax.image._corruptions.severity import as_lines, between, pictures, row, settings


@array_noise(_checks.images, **settings("gaussian_noise"))
def gaussian_noise(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Gaussian noise of the common corruptions: normal noise is added, and the result is clipped to [0, 1].

    The standard deviation is linear in the severity between the published values. `noisejax.gaussian` takes the
    standard deviation itself and does not clip.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: 0 for the identity, 1 to 5 for the published levels, or any number between; one number, or one per
        example, of shape (B, 1, 1, 1). Traced values are clamped.
      table: `'imagenet'`, `'tiny'` or `'cifar'`: the published parameters for 224, 64 and 32 pixels. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.gaussian_noise(jax.random.key(0), jnp.ones((2, 32, 32, 3)) / 2, 3).shape
      (2, 32, 32, 3)
    """
    seen = pictures("gaussian_noise", x, severity, where)
    std = between(seen.severity, row("gaussian_noise", table), 0)
    return seen.finish(seen.values + std * sample.normal(words_like(key, "image.gaussian_noise", x)))


@array_noise(_checks.images, **settings("speckle_noise"))
def speckle_noise(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Speckle noise of the common corruptions: ``x + x * noise`` with normal noise, clipped to [0, 1].

    The standard deviation is linear in the severity between the published values. `noisejax.speckle` takes the
    standard deviation itself and does not clip.

    Args:
      key: a JAX key.
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
      >>> nj.image.speckle_noise(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), 3).max().item()
      0.0
    """
    seen = pictures("speckle_noise", x, severity, where)
    std = between(seen.severity, row("speckle_noise", table), 0)
    return seen.finish(seen.values + seen.values * (std * sample.normal(words_like(key, "image.speckle_noise", x))))


@array_noise(_checks.images, **settings("impulse_noise"))
def impulse_noise(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Impulse noise of the common corruptions: values become 0 or 1, each with half of a probability.

    Every channel of every pixel is drawn by itself, so the impulses are coloured. The probability is linear in the
    severity between the published values. `noisejax.impulse` takes the probability itself.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019; `random_noise(mode="s&p")` of scikit-image.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.impulse_noise(jax.random.key(0), jnp.full((1, 64, 64, 3), 0.5), 5)
      >>> sorted(set(y.ravel().tolist()))
      [0.0, 0.5, 1.0]
    """
    seen = pictures("impulse_noise", x, severity, where)
    amount = between(seen.severity, row("impulse_noise", table), 0)
    w = words_like(key, "image.impulse_noise", x)
    hit, high = sample.bernoulli(w, amount), sample.bernoulli(w, amount / 2)
    return seen.finish(jnp.where(hit, jnp.where(high, np.float32(1), np.float32(0)), seen.values))


@array_noise(_checks.images, **settings("shot_noise"))
def shot_noise(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Shot noise of the common corruptions: ``Poisson(x * photons) / photons``, clipped to [0, 1].

    The variance, ``1 / photons``, is linear in the severity between the published values. The gradient in x is
    straight-through: that of the expectation before the clip. `noisejax.shot` takes the number of photons itself and
    does not clip.

    Args:
      key: a JAX key.
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
      >>> y = nj.image.shot_noise(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 5)
      >>> sorted(set((3 * y).round().ravel().tolist()))
      [0.0, 1.0, 2.0, 3.0]
    """
    seen = as_lines(key, pictures("shot_noise", x, severity, where))
    points = (1 / row("shot_noise", table)).astype(np.float32)
    photons = 1 / jnp.maximum(between(seen.severity, points, 0), np.float32(1e-9))
    photons = jnp.minimum(photons, np.float32(2**22))
    mean = jnp.clip(seen.values, 0, 1) * photons
    lit = jnp.where(mean >= 0, mean, 0)
    counts = sample.poisson(words_like(key, "image.shot_noise", seen.given), lit, x.dtype.itemsize < 4)
    found = seen.finish(straight_through(jnp.where(mean >= 0, counts / photons, seen.values), seen.values))
    return own_loop_on_cpus(found, always=True).reshape(x.shape)  # or the loop would be one over channels again
