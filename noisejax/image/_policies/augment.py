"""RandAugment and TrivialAugment: a few operations for each picture, at one magnitude or at random ones."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax.image._policies.operations import applied
from noisejax.image._policies.pictures import augmented, settings, uniform

_BINS = 30  # magnitudes are 0, ..., 30
# After these, the identity is the last choice.
OPERATIONS = (
    *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
_SIGNED, _FACTORS = OPERATIONS[:9], OPERATIONS[5:9]
_MAGNITUDE = _checks.Range("in [0, 30]", lambda v: (v >= 0) & (v <= _BINS), "30 is the last of 31 bins.")


def _amounts(share: jax.Array, sign: jax.Array, most: dict[str, float]) -> jax.Array:
    """The amount of every operation at a share of the largest."""
    found = []
    for name in OPERATIONS:
        signed = sign * share if name in _SIGNED else share
        if name in _FACTORS:
            found.append(1 + signed * np.float32(most[name]))
        elif name == "posterize":
            found.append(8 - jnp.round(share * np.float32(most[name])))
        elif name == "solarize":
            found.append(1 - share)
        else:
            found.append(signed * np.float32(most.get(name, 0)))
    return jnp.stack(found)


def _chosen(image, share, which, sign, most, order):
    number = (which * np.float32(len(OPERATIONS) + 1)).astype(jnp.int32)
    sign = jnp.where(sign < 0.5, np.float32(-1), np.float32(1))
    amount = jnp.append(_amounts(share, sign, most), 0)[number]
    return applied(image, OPERATIONS, number, amount, order)


def _check_n(n, **_) -> None:
    _checks.count("rand_augment", "n", n)


@array_noise(_checks.images, **settings("rand_augment", _check_n, magnitude=_MAGNITUDE))
def rand_augment(
    key: jax.Array,
    x: jax.Array,
    magnitude: Amount = 9.0,
    rate: Amount = 1.0,
    *,
    n: int = 2,
    order: int = 1,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """RandAugment: `n` operations for each picture, drawn from fourteen with replacement, at one magnitude.

    The operations are the identity, shear and translation along both axes, rotation, brightness, colour, contrast,
    sharpness, posterization, solarization, autocontrast and equalization. Those with two directions have a random one.
    At magnitude 30 they have a shear of 0.3, a translation by 150/331 of the width or the height, a rotation by 30
    degrees, a factor of 1.9 or 0.1, 4 bits, and the threshold 0. Pictures are black beyond their edges. Values stay in
    float32 between the operations.

    On a CPU only the drawn operations of a picture are computed. On a GPU, and inside `jax.vmap`, all of them are.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      magnitude: any number in [0, 30]: one, or one per example, of shape (B, 1, 1, 1). At 0 only the operations without
        a magnitude act, and white is solarized.
      rate: the probability that a picture is augmented, in [0, 1], as `magnitude`. 0 is the identity.
      n: the number of operations. Static.
      order: 0 for the nearest pixel, 1 for linear interpolation, 3 for cubics. Static.
      where, lengths: padding, which has the mean of the data; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search space", NeurIPS 2020; the
      ranges are those of torchvision's `RandAugment`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.rand_augment(jax.random.key(0), jnp.full((4, 32, 32, 3), 0.5)).shape
      (4, 32, 32, 3)
    """
    most = {
        **dict.fromkeys(("shear_x", "shear_y"), 0.3),
        "translate_x": 150 / 331 * x.shape[-2],
        "translate_y": 150 / 331 * x.shape[-3],
        "rotate": 30.0,
        **dict.fromkeys(_FACTORS, 0.9),
        "posterize": 4.0,
    }
    draws = [uniform(key, f"image.rand_augment.{part}", x, n, 1, 1) for part in ("operation", "sign")]

    def picture(image, magnitude, which, sign):
        share = jnp.clip(magnitude, 0, _BINS) * np.float32(1 / _BINS)

        def step(image, drawn):
            return _chosen(image, share, drawn[0], drawn[1], most, order), None

        return lax.scan(step, image, (which.reshape(n), sign.reshape(n)))[0]

    return augmented(key, "rand_augment", x, rate, where, picture, (magnitude,), *draws)


@array_noise(_checks.images, **settings("trivial_augment"))
def trivial_augment(
    key: jax.Array,
    x: jax.Array,
    rate: Amount = 1.0,
    *,
    order: int = 1,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """TrivialAugment with the wide ranges: one operation for each picture, at one of 31 random magnitudes.

    The operations are those of `rand_augment`. At the largest magnitude they have a shear of 0.99, a translation by 32
    pixels, a rotation by 135 degrees, a factor of 1.99 or 0.01, 2 bits, and the threshold 0. Pictures are black beyond
    their edges.

    On a CPU only the drawn operation of a picture is computed. On a GPU, and inside `jax.vmap`, all of them are.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      rate: the probability that a picture is augmented, in [0, 1]: one number, or one per example, of shape (B, 1, 1,
        1). 0 is the identity.
      order: 0 for the nearest pixel, 1 for linear interpolation, 3 for cubics. Static.
      where, lengths: padding, which has the mean of the data; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Müller and Hutter, "TrivialAugment: tuning-free yet state-of-the-art data augmentation", ICCV 2021; the ranges are
      those of torchvision's `TrivialAugmentWide`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.trivial_augment(jax.random.key(0), jnp.full((4, 32, 32, 3), 0.5)).shape
      (4, 32, 32, 3)
    """
    most = {
        **dict.fromkeys(("shear_x", "shear_y"), 0.99),
        **dict.fromkeys(("translate_x", "translate_y"), 32.0),
        "rotate": 135.0,
        **dict.fromkeys(_FACTORS, 0.99),
        "posterize": 6.0,
    }
    parts = ("operation", "sign", "magnitude")
    draws = [uniform(key, f"image.trivial_augment.{part}", x) for part in parts]

    def picture(image, which, sign, magnitude):
        share = jnp.floor(magnitude.reshape(()) * np.float32(_BINS + 1)) * np.float32(1 / _BINS)
        return _chosen(image, share, which.reshape(()), sign.reshape(()), most, order)

    return augmented(key, "trivial_augment", x, rate, where, picture, (), *draws)
