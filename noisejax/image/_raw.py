"""The noise of a sensor before development: photons, electronics, and the converter to whole numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise, straight_through, wide
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.image._pictures import unit

_above_zero = _checks.Range("above 0", lambda v: v > 0, "inf turns this part off.")
_MOST_ELECTRONS = 2.0**23  # above it float32 cannot count them


@array_noise(
    _checks.images,
    sees="element",
    ranges={"photons": _above_zero, "read_std": _checks.nonnegative, "gain": _above_zero},
    widen=False,
)
def raw_sensor(
    key: jax.Array,
    x: jax.Array,
    photons: Amount,
    read_std: Amount = 0.0,
    gain: Amount = 1.0,
    *,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """The noise of a raw picture: electrons from photons, noise of the read-out, and the rounding of the converter.

    A pixel of intensity x collects ``Poisson(photons * x)`` electrons. The read-out adds a normal number of electrons
    with the standard deviation `read_std`. The converter makes ``round(gain * electrons)`` of it, and the result is
    divided by ``gain * photons``, so that its mean is x. The variance is ``x / photons + (read_std / photons)**2``, and
    1/12 of a squared step of the converter. Negative intensities have no photons. Nothing is clipped; a stage
    ``nj.clip(0, 1)`` saturates floats. The gradient in x is straight-through: that of the expectation, 1.

    It is for linear intensities. Developed pictures have noise in blotches: use `fit_sensor` and `sensor`.

    Args:
      key: a JAX key.
      x: linear intensities of any shape: floats with 1 for white, or uint8/uint16 images. Results for images are
        rounded and saturate.
      photons: the mean number of electrons for white, above 0, broadcastable to x. inf is the identity. Above 2**23
        electrons, the photons of a pixel are not drawn.
      read_std: the standard deviation of the read-out in electrons, at least 0, broadcastable to x.
      gain: numbers of the converter per electron, above 0, broadcastable to x. inf leaves the rounding out.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      EMVA Standard 1288, "Standard for characterization of image sensors and cameras"; Foi et al., "Practical
      Poissonian-Gaussian noise modeling and fitting for single-image raw-data", IEEE Transactions on Image Processing
      17(10), 2008.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.full((1, 64, 64, 1), 0.5)
      >>> y = nj.image.raw_sensor(jax.random.key(0), x, 1000.0, read_std=2.0)
      >>> electrons = 1000 * y
      >>> bool((jnp.abs(electrons - electrons.round()) < 1e-3).all()), round(float(electrons.std()))
      (True, 22)
    """
    white, values = unit(x.dtype), wide(x)
    values = values if white == 1 else values * np.float32(1 / white)
    photons, read_std, gain = (jnp.asarray(v).astype(values.dtype) for v in (photons, read_std, gain))
    mean = values * photons
    lit = (mean > 0) & (mean <= _MOST_ELECTRONS)  # not NaN, nor infinite
    expected = jnp.where(lit, mean, 0).astype(jnp.float32)
    drawn = sample.poisson(words_like(key, "image.raw_sensor", x), expected, x.dtype.itemsize < 4)
    read = sample.normal(words_like(key, "image.raw_sensor.read", x)).astype(values.dtype)
    electrons = jnp.where(lit, drawn.astype(values.dtype), mean) + read_std * read
    converted = jnp.where(gain < jnp.inf, jnp.round(gain * electrons) / gain, electrons)
    noisy = jnp.where((photons > 0) & (photons < jnp.inf) & (gain > 0), converted / photons, values)
    noisy = straight_through(noisy, values)
    return noisy if white == 1 else noisy * np.float32(white)
