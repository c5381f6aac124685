"""Operations on light and colour, as torchvision and Pillow define them, on one picture (H, W, C) in [0, 1].

`light` has the functions that users call. The policies of augmentation choose among these here.
"""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax._contract import straight_through
from noisejax._sharding import computed_once
from noisejax.image._filters.codec import rounded

LUMA = (0.299, 0.587, 0.114)  # the shares of red, green and blue in grey, as OpenCV and Pillow have them
_GREYS = np.float32(255)


def grey_of(image: jax.Array, shares: tuple[float, ...] = LUMA) -> jax.Array:
    """The luma (..., 1) of pictures.

    It is no reduction over the channels: XLA makes a loop of its own of one over so few numbers, which takes a CPU four
    times as long. Here and below no constant is an array: one in a branch of a switch becomes its operand, and inside
    shard_map it would be made to vary over the mesh twice.
    """
    if image.shape[-1] == 1:
        return image
    red, green, blue = (np.float32(share) * image[..., n : n + 1] for n, share in enumerate(shares))
    return red + green + blue


def blended(other: jax.Array, image: jax.Array, factor: jax.Array) -> jax.Array:
    """The picture for a factor of 1, the other one for 0, and beyond both on the line through them."""
    return jnp.clip(_unless(factor == 1, image, other + factor * (image - other)), 0, 1)


def _unless(neutral: jax.Array, image: jax.Array, found: jax.Array) -> jax.Array:
    """What was found, but the picture to the bit where the amount is neutral. Derivatives are of what was found."""
    return jnp.where(neutral, straight_through(image, found), found)


def lighter(image: jax.Array, factor: jax.Array) -> jax.Array:
    return jnp.clip(image * factor, 0, 1)


def contrasted(image: jax.Array, factor: jax.Array) -> jax.Array:
    mean = grey_of(image).mean(0, keepdims=True).mean(1, keepdims=True)
    return blended(mean, image, factor)


def colored(image: jax.Array, factor: jax.Array) -> jax.Array:
    return blended(grey_of(image), image, factor)


def sharpened(image: jax.Array, factor: jax.Array) -> jax.Array:
    height, width = image.shape[:2]
    if min(height, width) < 3:
        return image
    image = computed_once(image)  # it is read nine times
    around = jnp.asarray(sum(image[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)))
    inside = image[1:-1, 1:-1]
    smooth = (around + 4 * inside) * np.float32(1 / 13)
    return jnp.clip(image, 0, 1).at[1:-1, 1:-1].set(blended(smooth, inside, factor))


def curved(image: jax.Array, exponent: jax.Array, gain: jax.Array) -> jax.Array:
    lit = image > 0
    safe = jnp.where(lit, image, 1)
    power = jnp.where(lit, jnp.power(safe, exponent), jnp.where(exponent == 0, 1, 0))
    # At 1 this is the picture to the bit, and has the slopes of the power, also that of a black pixel.
    near_1 = image * (1 + (exponent - 1) * jnp.log(safe))
    return jnp.clip(gain * jnp.where(exponent == 1, near_1, power), 0, 1)


def turned(image: jax.Array, turns: jax.Array) -> jax.Array:
    """The hue of a colour picture is turned, in HSV, by a share of the whole circle."""
    value, least = image.max(-1), image.min(-1)
    span = value - least
    red, green, blue = (image[..., n] for n in range(3))
    safe = jnp.where(span > 0, span, 1)
    sector = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = jnp.where(span > 0, sector, 0) + 6 * turns
    # A channel lies below the value by a share of the span that is a trapezoid of the hue: 0, up, 1 and down again.
    below = [jnp.clip(2 - jnp.abs((sector + shift) % 6 - 3), 0, 1) for shift in (3, 1, 5)]
    return _unless(turns == 0, image, jnp.stack([value - span * (1 - share) for share in below], -1))


def inverted(image: jax.Array) -> jax.Array:
    return 1 - image


def solarized(image: jax.Array, threshold: jax.Array) -> jax.Array:
    return jnp.where(image >= threshold, 1 - image, image)


def posterized(image: jax.Array, bits: jax.Array) -> jax.Array:
    step = jnp.exp2(8 - jnp.floor(jnp.clip(bits, 0, 8)))
    return jnp.where(bits >= 8, image, jnp.floor(rounded(image * _GREYS) / step) * step / _GREYS)


def stretched(image: jax.Array) -> jax.Array:
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    span = high - low
    return jnp.where(span > 0, (image - low) / jnp.where(span > 0, span, 1), image)


def equalized(image: jax.Array) -> jax.Array:
    """Histogram equalization of each channel, in the whole numbers of Pillow."""
    channels = image.shape[-1]
    level = jnp.clip(rounded(jnp.nan_to_num(image) * _GREYS), 0, 255).astype(jnp.int32)
    place = level + 256 * jnp.arange(channels, dtype=jnp.int32).reshape(1, 1, -1)
    counts = jnp.zeros(256 * channels, jnp.int32).at[place.reshape(-1)].add(1, mode="promise_in_bounds")
    counts = counts.reshape(channels, 256)
    levels = jnp.arange(256, dtype=jnp.int32)[None, :]
    last = jnp.where(level.max((0, 1))[:, None] == levels, counts, 0).sum(1, keepdims=True, dtype=jnp.int32)
    step = (image.shape[0] * image.shape[1] - last) // 255
    before = jnp.cumsum(counts, 1, dtype=jnp.int32) - counts
    table = jnp.minimum((step // 2 + before) // jnp.maximum(step, 1), 255)
    found = table.reshape(-1).at[place].get(mode="promise_in_bounds").astype(jnp.float32) / _GREYS
    return jnp.where(step.reshape(1, 1, -1) > 0, found, image)
