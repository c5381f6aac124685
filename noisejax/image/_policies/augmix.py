"""AugMix: a random mixture of a picture and of chains of operations on it."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._pictures import of_examples
from noisejax.image._policies.operations import applied
from noisejax.image._policies.pictures import augmented, settings, uniform

OPERATIONS = (
    *("autocontrast", "equalize", "posterize", "rotate", "solarize"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
)
_SIGNED = np.array([name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y") for name in OPERATIONS])
_DEEPEST = 3
_LEVEL = _checks.Range(
    "in [0.1, 10]", lambda v: (v >= 0.1) & (v <= 10), "The paper has 3 for CIFAR and 1 for ImageNet."
)


def _check(width, depth, **_) -> None:
    _checks.count("augmix", "width", width, 1)
    if depth is not None:
        _checks.count("augmix", "depth", depth, 1)


@array_noise(_checks.images, **settings("augmix", _check, severity=_LEVEL, alpha=_checks.positive))
def augmix(
    key: jax.Array,
    x: jax.Array,
    severity: Amount = 3.0,
    rate: Amount = 1.0,
    alpha: Amount = 1.0,
    *,
    width: int = 3,
    depth: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """AugMix: each picture is mixed with a mixture of chains of operations on it.

    A chain has 1 to 3 operations, drawn from autocontrast, equalization, posterization, rotation, solarization, and
    shear and translation along both axes. The weights of the chains are uniform among those that sum to 1, and the
    weight of their mixture is from Beta(alpha, alpha). Each operation draws its level, uniform between 0.1 and
    `severity`. At level 10 it has 30 degrees, a shear of 0.3, a third of the width or the height, the threshold 0, or 0
    bits. Degrees, pixels, grey levels and bits are whole numbers, as published. Pictures are black beyond their edges.
    Values stay in float32 between the operations.

    On a CPU only the drawn operations of a picture are computed. On a GPU, and inside `jax.vmap`, all of them are.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: the largest level, in [0.1, 10]: one number, or one per example, of shape (B, 1, 1, 1). The paper has 3
        for CIFAR and 1 for ImageNet.
      rate: the probability that a picture is augmented, in [0, 1], as `severity`. 0 is the identity.
      alpha: the parameter of the beta distribution, above 0, as `severity`.
      width: the number of chains. Static.
      depth: the number of operations of every chain; None for a random one from 1 to 3. Static.
      where, lengths: padding, which has the mean of the data; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks et al., "AugMix: a simple data processing method to improve robustness and uncertainty", ICLR 2020. The
      consistency loss of the paper is part of training, and not of this function.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
      >>> first, second = (nj.image.augmix(jax.random.key(n), x) for n in (2, 3))  # two views for the loss of the paper
      >>> bool((first != second).any())
      True
    """
    deepest = _DEEPEST if depth is None else depth
    parts = ("operation", "level", "sign")
    draws = [uniform(key, f"image.augmix.{part}", x, width, deepest, 1) for part in parts]
    depths = uniform(key, "image.augmix.depth", x, width, 1, 1)
    chains = sample.exponential(words(key, "image.augmix.weights", **of_examples(x, width, 1, 1)))
    mixing = [words(key, f"image.augmix.mix{part}", **of_examples(x)) for part in ("", ".2")]

    def picture(image, severity, alpha, which, level, sign, depths, chains, w, w2):
        lengths = 1 + (depths.reshape(width) * _DEEPEST).astype(jnp.int32)
        lengths = lengths if depth is None else jnp.full_like(lengths, deepest)
        weights = chains.reshape(width)
        weights = weights / weights.sum()
        severity = jnp.clip(severity, np.float32(0.1), 10)

        def chain(total, drawn):
            length, weight, *steps = drawn

            def step(image, drawn):
                which, level, sign, place = drawn
                number = (which * len(OPERATIONS)).astype(jnp.int32)
                amount = _amount(number, np.float32(0.1) + level * (severity - np.float32(0.1)), sign, image.shape)
                number = jnp.where(place < length, number, len(OPERATIONS))
                return applied(image, OPERATIONS, number, amount, 1), None

            found = lax.scan(step, image, (*steps, np.arange(deepest, dtype=np.int32)))[0]
            return total + weight * jnp.clip(found, 0, 1), None

        steps = (part.reshape(width, deepest) for part in (which, level, sign))
        mixture = lax.scan(chain, jnp.zeros_like(image), (lengths, weights, *steps))[0]
        share = sample.symmetric_beta(w, w2, jnp.maximum(alpha, np.float32(1e-3))).reshape(())
        return (1 - share) * image + share * mixture

    return augmented(
        key, "augmix", x, rate, where, picture, (severity, alpha), *draws, depths, chains, mixing[0], mixing[1]
    )


def _amount(number: jax.Array, level: jax.Array, sign: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The amount of one operation at a level: whole degrees, pixels, grey levels and bits."""
    share = level * np.float32(0.1)
    size = {"translate_x": shape[1] / 3, "translate_y": shape[0] / 3}
    amounts = {
        "posterize": 4 - jnp.floor(share * 4),
        "rotate": jnp.floor(share * 30),
        "solarize": (256 - jnp.floor(share * 256)) * np.float32(1 / 255),
        **{name: share * np.float32(0.3) for name in ("shear_x", "shear_y")},
        **{name: jnp.floor(share * np.float32(n)) for name, n in size.items()},
    }
    found = jnp.stack([amounts.get(name, jnp.zeros_like(share)) for name in OPERATIONS])[number]
    signed = jnp.asarray(_SIGNED)[number] & (sign < 0.5)
    return jnp.where(signed, -found, found)
