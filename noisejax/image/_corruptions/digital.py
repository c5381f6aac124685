"""The corruptions of files and shapes: pixelation, JPEG compression and elastic deformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import (
    between,
    branches,
    each,
    mixed,
    of_examples,
    pairs,
    pictures,
    row,
    settings,
)
from noisejax.image._corruptions.tables import TABLES
from noisejax.image._filters.codec import compressed, pixelated, rounded
from noisejax.image._filters.smoothing import banded
from noisejax.image._filters.warping import at_places, folded_gaussian, inverse_affine


def _least_side(table: str) -> int:
    return int(np.ceil(1 / min(TABLES[table]["pixelate"])))


@array_noise(_checks.images, **settings("pixelate", least=_least_side))
def pixelate(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Pixelation of the common corruptions: means over boxes, and repetition of their pixels.

    A box holds the pixels whose centres lie in it. Grey levels are whole numbers after each axis, as in Pillow, so the
    gradient in x is 0. Between the levels, the two neighbouring results are mixed. Padding has the mean of the data.


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
      2019; `Image.resize` of Pillow.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jax.random.uniform(jax.random.key(1), (1, 32, 32, 1))
      >>> len(set(nj.image.pixelate(jax.random.key(0), x, 5)[0, 0].ravel().tolist())) <= 8
      True
    """
    seen = pictures("pixelate", x, severity, where)
    sizes = [(int(x.shape[-3] * share), int(x.shape[-2] * share)) for share in pairs("pixelate", table)]
    levels = {size: functools.partial(pixelated, size=size) for size in sizes}

    def coarse(image, severity):
        grey = rounded(image * 255)
        return mixed(image, severity, lambda level: branches([levels[size] for size in sizes], level, grey) / 255)

    return each(coarse, seen)


@array_noise(_checks.images, **settings("jpeg_compression"))
def jpeg_compression(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """JPEG compression of the common corruptions: blocks of 8 by 8 in frequency, with halved chroma.

    The quality is linear in the severity between the published values; below 1, the picture and the result of level 1
    are mixed. The entropy coding of files is left out, since it loses nothing. The arithmetic is in floats, so single
    values may differ from those of libjpeg by a few grey levels. The gradient in x is 0.


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
      2019; ITU-T T.81, Annex K.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.jpeg_compression(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.4), 3).std().round(4).item()
      0.0
    """
    seen = pictures("jpeg_compression", x, severity, where)
    points = row("jpeg_compression", table)

    def coded(image, severity):
        quality = between(severity, points, points[0])
        # A quality in a file is a whole number, but the formula of its tables is not.
        found = compressed(image * 255, quality) / 255
        share = jnp.minimum(severity, 1)
        return share * found + (1 - share) * image

    return each(coded, seen)


@array_noise(_checks.images, moves=True, **settings("elastic_transform", least=lambda table: 6))
def elastic_transform(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Elastic deformation of the common corruptions: a random affine map, then a smooth random displacement.

    Both resample with linear interpolation from a mirrored picture. Between the levels, the two neighbouring results
    are mixed. Padding has the mean of the data.


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
      >>> nj.image.elastic_transform(jax.random.key(0), jnp.ones((1, 32, 32, 3)), 3).min().round(5).item()
      1.0
    """
    seen = pictures("elastic_transform", x, severity, where)
    levels = np.float32(_ELASTIC_UNIT[table]) * row("elastic_transform", table)
    height, width = x.shape[-3:-1]
    corners = sample.symmetric_uniform(words(key, "image.elastic_transform.affine", **of_examples(x, 3, 2, 1)))
    field = sample.symmetric_uniform(words(key, "image.elastic_transform", **of_examples(x, height, width, 2)))
    smooth = [np.stack([folded_gaussian(n, float(std)) for std in levels[:, 1]]) for n in (height, width)]
    reaches = [int(3 * float(std) + 0.5) for std in levels[:, 1]]
    narrow = max((reach for reach in reaches if 8 * reach <= max(height, width)), default=0)
    near, far = (functools.partial(banded, reach=reach) for reach in (narrow, max(reaches)))
    smoothed = [near if reach <= narrow else far for reach in reaches]

    def at(image, level, corners, field):
        amplitude, _, shift = (jnp.asarray(column)[level - 1] for column in levels.T)
        rows, columns = inverse_affine((height, width), shift * corners[..., 0])
        image = at_places(image, rows, columns, whole_edge=False)
        vertical, horizontal = (jnp.asarray(matrices)[level - 1] for matrices in smooth)
        moved = amplitude * branches(smoothed, level, vertical, horizontal, field)
        i, j = (jnp.arange(n, dtype=jnp.float32) for n in (height, width))
        return at_places(image, i[:, None] + moved[..., 1], j[None, :] + moved[..., 0], whole_edge=True)

    def bent(image, severity, corners, field):
        return mixed(image, severity, lambda level: at(image, level, corners, field))

    return each(bent, seen, corners, field)


# The published parameters are multiples of these, whatever the size of the picture is.
_ELASTIC_UNIT = {"imagenet": 244, "tiny": 64, "cifar": 32}
