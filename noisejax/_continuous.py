"""Continuous noise: additive and multiplicative, each by its published definition."""

import jax

from noisejax import _checks, _sample
from noisejax._contract import array_noise
from noisejax._stream import words_like


@array_noise(std=_checks.nonnegative)
def gaussian(key: jax.Array, x: jax.Array, std: float | jax.Array) -> jax.Array:
    """Additive Gaussian noise: ``x + std * n``, with n standard normal for each element.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape; a uint8 result is rounded and saturates.
      std: the standard deviation, in the units of x; at least 0, broadcastable to x. 0 is the identity.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7(1), 1995.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.gaussian(jax.random.key(0), jnp.zeros((2, 3)), 0.1).shape
      (2, 3)
    """
    return x + std * _sample.normal(words_like(key, "gaussian", x)).astype(x.dtype)
