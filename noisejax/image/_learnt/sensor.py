"""The noise of a camera: learnt from pairs of developed pictures."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise, wide
from noisejax._random import sample
from noisejax._random.fourier import fourier, smooth
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import of_examples, unit
from noisejax.image._learnt.model import LEVELS, SensorModel


@array_noise(_checks.images, ranges={"strength": _checks.nonnegative}, widen=False)
def sensor(
    key: jax.Array,
    x: jax.Array,
    model: SensorModel,
    strength: Amount = 1.0,
    *,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """The noise of a camera, learnt from pairs of clean and noisy pictures by `fit_sensor`.

    Each picture takes the size of a random fitted picture. Its noise is a Gaussian field with the fitted power spectrum
    and the fitted correlation of the channels: developed pictures have noise in blotches of a few pixels, not
    independent from pixel to pixel. Nothing is clipped; results for images are rounded and saturate.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C): floats in [0, 1], or uint8/uint16 images, with the channels of the fitted pictures.
      model: the result of `fit_sensor`.
      strength: a factor of the noise, at least 0: a scalar, or one per example, of shape (B, 1, 1, 1). 0 is the
        identity, 1 as fitted.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    Raises:
      TypeError: a model that is none.
      ValueError: x has a different number of channels than the fitted pictures.

    References:
      Timmer and König, "On generating power law noise", Astronomy and Astrophysics 300, 1995 (fields from spectra).

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, noisejax as nj
      >>> clean = np.full((2, 64, 64, 3), 0.5, np.float32)
      >>> noise = np.random.default_rng(0).normal(size=clean.shape).astype(np.float32)
      >>> model = nj.image.fit_sensor(clean, clean + 0.05 * noise)
      >>> y = nj.image.sensor(jax.random.key(0), jnp.full((4, 32, 32, 3), 0.5), model)
      >>> round(float(y.std()), 2)
      0.05
    """
    if not isinstance(model, SensorModel):
        raise TypeError(f"sensor: model must be fitted, nj.image.fit_sensor(clean, noisy), got {model!r}.")
    channels = np.shape(model.channels)[0]
    if x.ndim < 3 or x.shape[-1] != channels:
        raise ValueError(
            f"sensor: the model was fitted to pictures with {channels} channels, and x must have shape (..., H, W, "
            f"{channels}), got {x.shape}. Fit it to pictures of the same kind."
        )
    if jnp.ndim(strength) and jnp.shape(strength)[-3:] != (1, 1, 1):
        raise ValueError(
            f"sensor: strength must be one number, or one per example, of shape (B, 1, 1, 1), got "
            f"{jnp.shape(strength)}. Reshape it: strength.reshape(-1, 1, 1, 1)."
        )
    if x.size == 0:
        return x
    white = unit(x.dtype)
    values = wide(x)
    sizes, factor, curve = (jnp.asarray(v, jnp.float32) for v in (model.sizes, model.channels, model.curve))
    u = sample.uniform(words(key, "image.sensor.size", **of_examples(x)))
    number = (u * sizes.shape[0]).astype(jnp.int32)
    one_each = (1,) * (x.ndim - 1) + (-1,)
    picked = number == np.arange(sizes.shape[0], dtype=np.int32).reshape(one_each)  # a mask keeps the sharding of u
    size = jnp.where(picked, sizes.reshape(one_each), 0).sum(-1, keepdims=True)
    field = _field(key, x, jnp.asarray(model.spectrum, jnp.float32), channels)
    field = jnp.einsum("...c,dc->...d", field, factor, precision=lax.Precision.HIGHEST)
    scale = jnp.asarray(strength, jnp.float32) * size * _read(curve, values.astype(jnp.float32) * np.float32(1 / white))
    return values + (np.float32(white) * scale * field).astype(values.dtype)


def _field(key, x: jax.Array, spectrum: jax.Array, channels: int) -> jax.Array:
    """Independent fields of unit variance for each channel, with one power spectrum.

    White noise is filtered on a torus that is larger than the picture by the reach of the filter, so that opposite
    edges are independent. The real and the imaginary part of one complex field are two channels.
    """
    reach = spectrum.shape[0]
    height, width = (max(smooth(n + reach // 2), smooth(reach)) for n in x.shape[-3:-1])
    fields = (channels + 1) // 2
    real, imaginary = (
        sample.normal(words(key, f"image.sensor.{part}", **of_examples(x, fields, height, width)))
        for part in ("real", "imaginary")
    )
    amplitude = _amplitude(spectrum, (height, width))
    amplitude = amplitude.reshape((1,) * (real.ndim - 2) + amplitude.shape)
    waves = lax.complex(amplitude * real, amplitude * imaginary)
    found = fourier(waves)[..., : x.shape[-2]]
    found = jnp.swapaxes(fourier(jnp.swapaxes(found, -1, -2))[..., : x.shape[-3]], -1, -2)
    both = jnp.moveaxis(jnp.concatenate([found.real, found.imag], -3), -3, -1)
    return both[..., :channels]


def _amplitude(spectrum: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """The root of the spectrum at the frequencies of a larger torus: that of the same filter, with unit power."""
    reach, half = spectrum.shape[0], spectrum.shape[0] // 2
    kernel = jnp.roll(jnp.fft.ifft2(jnp.sqrt(spectrum)).real, (half, half), (0, 1))
    wide = jnp.pad(kernel, [(0, n - reach) for n in shape])
    power = jnp.abs(jnp.fft.fft2(wide)) ** 2
    return jnp.sqrt(power / jnp.maximum(power.sum(), np.float32(1e-30)))


def _read(curve: jax.Array, values: jax.Array) -> jax.Array:
    """The curve at each value, as a sum of hats: gathers would have to be differentiated and sharded."""
    place = jnp.clip(values, 0, 1) * np.float32(LEVELS - 1)
    found = curve[0] * jnp.ones_like(place)
    for n in range(1, LEVELS):
        found = found + (curve[n] - curve[n - 1]) * jnp.clip(place - (n - 1), 0, 1)
    return found
