"""Flips: pictures in a mirror."""

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._contract import Amount, Mask, Moved, array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import of_examples
from noisejax.image._geometry.draws import flat_amount, moved_by, settings
from noisejax.image._geometry.places import Places, matrix_of


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
    sign = jnp.where(sample.bernoulli(w, flat_amount("flip", "rate", rate)), -1, 1).astype(jnp.float32)
    across, down = (sign if along in ("both", axis) else 1 for axis in ("width", "height"))
    return moved_by(Places(matrix_of([[across, 0, 0], [0, down, 0], [0, 0, 1]])), x, value, where, 0, "nearest")
