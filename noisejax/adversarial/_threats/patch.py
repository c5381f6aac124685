"""Masks for threats: a rectangular patch of an image."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax.adversarial._health import host_value


def patch_mask(x: jax.Array, corner: Any, size: tuple[int, int]) -> jax.Array:
    """The `mutable` mask of a rectangle in an image, of shape (B or 1, H, W, 1).

    Args:
      x: images of shape (B, H, W, C).
      corner: row and column of the upper left corner: integers of shape (2,), or (B, 2) for one corner per image. They
        may be traced.
      size: height and width. Static.

    References:
      Brown et al., "Adversarial patch", 2017. With a ball as wide as the bounds, such as Linf(1.0, bounds=(0, 1)), the
      patch may take any values.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> mask = adversarial.patch_mask(jnp.zeros((2, 4, 4, 1)), (1, 2), (2, 2))
      >>> mask[0, :, :, 0].astype(int).tolist()
      [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    """
    x, corner = _checks.operand("patch_mask", "x", x), _checks.operand("patch_mask", "corner", corner, integers=True)
    if x.ndim != 4:
        raise ValueError(f"patch_mask: x must be images of shape (B, H, W, C), got {x.shape}.")
    if (
        not isinstance(size, (tuple, list))
        or len(size) != 2
        or not all(isinstance(n, (int, np.integer)) and 0 < n < 2**31 for n in size)
    ):
        raise ValueError(f"patch_mask: size must be a height and a width, at least 1, got {size!r}. It is static.")
    known, sides = host_value(corner), np.array(size)
    if known is not None and known.shape[-1:] == (2,) and np.any((known + sides <= 0) | (known >= x.shape[1:3])):
        raise ValueError(
            f"patch_mask: corner must leave some of the patch inside images of {x.shape[1:3]}, got {corner!r}."
        )
    corner = jnp.asarray(corner, jnp.int32)
    if corner.shape not in ((2,), (x.shape[0], 2)):
        raise ValueError(f"patch_mask: corner must have shape (2,) or ({x.shape[0]}, 2), got {corner.shape}.")
    corner = corner.reshape(-1, 2)
    inside = None
    for axis in (0, 1):
        place = jnp.arange(x.shape[axis + 1], dtype=jnp.int32)[None]
        first = corner[:, axis : axis + 1]
        hit = (place >= first) & (place - first < size[axis])
        hit = hit[:, :, None, None] if axis == 0 else hit[:, None, :, None]
        inside = hit if inside is None else inside & hit
    return inside
