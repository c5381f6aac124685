"""Noise that removes: elements, features, channels and whole branches."""

import jax
import jax.numpy as jnp

from noisejax import _checks, _sample
from noisejax._contract import Hit, array_noise
from noisejax._stream import words_like


@array_noise(_checks.floats, rate=_checks.rate)
def dropout(key: jax.Array, x: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Inverted dropout: each element is 0 with probability `rate`, else divided by 1 - rate.

    Args:
      key: a JAX key.
      x: floats of any shape.
      rate: the probability that an element is dropped, in [0, 1], broadcastable to x; traced values clamp. 0 is the
        identity.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype, of x's expectation for every rate below 1.

    References:
      Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> sorted(set(nj.dropout(jax.random.key(0), jnp.ones(100), 0.5).tolist()))
      [0.0, 2.0]
    """
    hit = _sample.bernoulli(words_like(key, "dropout", x), rate)
    return Hit(hit, 0.0, x / jnp.where(rate < 1, 1 - rate, 1))


@array_noise(_checks.numbers, rate=_checks.rate, like_x=("fill",))
def mask(
    key: jax.Array, x: jax.Array, rate: float | jax.Array, fill: float | jax.Array = 0.0
) -> jax.Array:
    """Masking noise.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> sorted(set(nj.mask(jax.random.key(0), jnp.ones(100), 0.5).tolist()))
      [0.0, 1.0]
    """
    return Hit(_sample.bernoulli(words_like(key, "mask", x), rate), fill)
