"""The corruption of a splashed lens: drops of water, and mud."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import branches, each, mixed, of_examples, pairs, pictures, settings
from noisejax.image._filters.edges import drops
from noisejax.image._filters.smoothing import gaussian
from noisejax.image._operations.photometric import grey_of

_WATER, _MUD = (np.array(colour, np.float32) / 255 for colour in ((175, 238, 238), (63, 42, 20)))


@array_noise(_checks.images, **settings("spatter", least=lambda table: 2))
def spatter(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Spatter of the common corruptions: drops of water on the lens at low severities, and mud at high ones.

    Both grow from smoothed normal noise above a threshold. The relief of the drops is found as the published code finds
    it: edges of Canny, the distance to them, histogram equalization and a small filter. Between the levels, the two
    neighbouring results are mixed. With one channel, the colours become grey. Edges grow until none grows any more, so
    where the batch is sharded, devices agree on one bit after each of these steps.

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
      2019; Canny, "A computational approach to edge detection", IEEE TPAMI 8(6), 1986; Borgefors, "Distance
      transformations in digital images", Computer Vision, Graphics, and Image Processing 34(3), 1986.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.spatter(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 4).shape
      (1, 32, 32, 3)
    """
    seen = pictures("spatter", x, severity, where)
    levels = pairs("spatter", table)
    z = sample.normal(words(key, "image.spatter", **of_examples(x, *x.shape[-3:-1], 1)))
    most = int(4 * max(level[2] for level in levels) + 0.5)
    most_mud = int(4 * max(level[4] for level in levels if level[5]) + 0.5)

    numbers, mud = np.array([level[:5] for level in levels], np.float32), [level[5] for level in levels]

    def coloured(colour, image):
        colour = colour.reshape(1, 1, -1)
        return grey_of(colour) if image.shape[-1] == 1 else colour

    def muddy(layer, cut, strength, image):
        mask = gaussian((layer > cut).astype(jnp.float32), strength, most_mud)
        mask = jnp.where(mask < 0.8, 0, mask)
        return jnp.clip(image * (1 - mask) + coloured(_MUD, image) * mask, 0, 1)

    def watery(layer, cut, strength, image):
        grey = jnp.floor(jnp.where(layer < cut, 0, layer) * 255).astype(jnp.int32) % 256
        mask = (grey * drops(grey[..., 0])[..., None]).astype(jnp.float32)
        mask = mask * (strength / jnp.maximum(mask.max(), 1))
        return jnp.clip(image + coloured(_WATER, image) * mask, 0, 1)

    def at(level, image, z):
        mean, std, blur, cut, strength = (jnp.asarray(column)[level - 1] for column in numbers.T)
        layer = gaussian(mean + std * z, blur, most)
        return branches([muddy if m else watery for m in mud], level, layer, cut, strength, image)

    def wet(image, severity, z):
        return mixed(image, severity, lambda level: at(level, image, z))

    return each(wet, seen, z)
