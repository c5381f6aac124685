"""Noise with a given signal-to-noise ratio, and noise with a given spectrum along time."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Mask, array_noise, wide
from noisejax._random import sample
from noisejax._random.fourier import smooth, waves
from noisejax._random.stream import along, words, words_like

decibels = _checks.Range("above -inf", lambda v: v > -math.inf, "It is in decibels; +inf is the identity.")
_finite = _checks.Range("finite", lambda v: abs(v) < math.inf, "0 is white noise, 1 pink, 2 brown, -1 blue.")


@array_noise(ranges={"snr_db": decibels}, widen=False)
def gaussian_snr(
    key: jax.Array,
    x: jax.Array,
    snr_db: Amount,
    *,
    axes: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Additive Gaussian noise at a signal-to-noise ratio: ``x + rms(x) * 10**(-snr_db / 20) * n``.

    The power of the signal is its mean square over `axes`. The mean is not subtracted, and padding and values that are
    not finite are not counted. A silent example, with power 0, is unchanged. The gradient in x includes the growth of
    the noise with the signal.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      snr_db: the ratio of signal power to noise power in decibels; above -inf, broadcastable to x: of shape
        (B, 1, ...) for one ratio per example. inf is the identity.
      axes: the axes over which power is measured. None for all but the first, so that it is measured for each example,
        or for the only axis of a single signal. ``(1,)`` measures each channel of (B, T, C) separately. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding is neither noised nor measured.

    Returns:
      An array of x's shape and dtype.

    References:
      Ko et al., "Audio augmentation for speech recognition", Interspeech 2015; the formula is that of audiomentations
      0.43 (AddGaussianSNR), whose power is also the mean square.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.sin(jnp.arange(8000.0)).reshape(2, 4000)
      >>> y = nj.signal.gaussian_snr(jax.random.key(0), x, jnp.array([[10.0], [30.0]]))
      >>> (10 * jnp.log10((x**2).sum(1) / ((y - x) ** 2).sum(1))).round().tolist()
      [10.0, 30.0]
    """
    if axes is None:
        axes = tuple(range(min(1, x.ndim - 1), x.ndim)) if x.ndim else ()
    noise = sample.normal(words_like(key, "gaussian_snr", x), into=x.dtype)
    x = wide(x)
    std = rms(x, _checks.axes("gaussian_snr", "axes", axes, x.ndim), where) * jnp.exp(snr_db * (-math.log(10) / 20))
    return x + std * noise.astype(x.dtype)


@array_noise(ranges={"std": _checks.nonnegative, "exponent": _finite})
def colored(
    key: jax.Array,
    x: jax.Array,
    std: Amount,
    exponent: Amount = 1.0,
    *,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Additive Gaussian noise with power spectrum ``1 / f**exponent`` along one axis.

    Each frequency has a sine and a cosine with normal amplitudes of variance ``f**-exponent``. Frequency 0 has the
    variance of the lowest frequency, so that exponent 0 is exactly white. The spectrum is scaled so that every sample
    has standard deviation `std`, for any exponent and length. With a large exponent, most of the noise is a slow drift.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images with at least one axis. Results for images are rounded and saturate.
      std: the standard deviation of the noise, in the units of x; at least 0, broadcastable to x. 0 is the identity.
      exponent: the exponent of the spectrum: 0 is white, 1 pink, 2 brown and -1 blue noise; finite, broadcastable to
        x, and constant along `axis`.
      axis: the axis along which the noise is correlated. None for the second axis, which is time in (B, T) and
        (B, T, C), or for the only axis of a single signal. The axis may have any length n: the noise is the first n
        samples of a period, whose length is the next number without a prime factor above 7. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. The noise is drawn for the whole axis, and padding is
        then restored.

    Returns:
      An array of x's shape and dtype.

    Raises:
      ValueError: x does not have this axis, or `exponent` varies along it.

    References:
      Timmer and König, "On generating power law noise", Astronomy and Astrophysics 300, 1995.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.signal.colored(jax.random.key(0), jnp.zeros((2, 100)), 0.1, exponent=2).shape
      (2, 100)
    """
    axis = _checks.axis("colored", "axis", min(1, x.ndim - 1) if axis is None else axis, x.ndim)
    _checks.short("colored", x.shape, (axis,))
    exponent = jnp.asarray(exponent).astype(jnp.float32)
    if exponent.ndim and exponent.shape[axis] != 1:
        raise ValueError(f"colored: exponent must not vary along axis {axis}, got shape {exponent.shape}.")
    if x.size == 0:
        return x
    period = smooth(x.shape[axis])
    _checks.short("colored", (*x.shape[:axis], period), (axis,))  # a period is up to 1 % longer than the axis
    half = period // 2 + 1
    draw = along(x, [a for a in range(x.ndim) if a != axis])
    draw["shape"] = (*draw["shape"][:axis], half, *draw["shape"][axis + 1 :])
    cosine, sine = (sample.normal(words(key, f"colored.{name}", **draw)) for name in ("cosine", "sine"))
    column = (1,) * axis + (half,) + (1,) * (x.ndim - 1 - axis)
    index = lax.broadcasted_iota(jnp.float32, column, axis)
    weight = jnp.where((index == 0) | (2 * index == period), 1, 2).astype(jnp.float32)  # these frequencies have no sine
    log_power = jnp.log(weight) - exponent * jnp.log(jnp.maximum(index, 1))
    amplitude = jnp.sqrt(jax.nn.softmax(log_power, axis=axis))  # so that the powers sum to 1
    real, imaginary = (jnp.moveaxis(amplitude * part, axis, 0) for part in (cosine, -sine))
    noise = jnp.moveaxis(waves(real, imaginary, period)[: x.shape[axis]], 0, axis)
    return x + std * noise.astype(x.dtype)


def rms(x: jax.Array, axes: tuple[int, ...], where: Mask) -> jax.Array:
    """The root mean square of the finite elements outside padding; 0, with gradient 0, if there are none."""
    valid = jnp.isfinite(x) if where is None else jnp.isfinite(x) & where
    count = jnp.maximum(jnp.sum(valid, axis=axes, keepdims=True, dtype=x.dtype), 1)
    x = jnp.where(valid, x, 0)
    # Divide by the largest value first, since squares of very large or small data leave the range of float32.
    largest = lax.stop_gradient(jnp.max(abs(x), axis=axes, keepdims=True, initial=0))
    relative = x / jnp.where(largest > 0, largest, 1)
    power = jnp.sum(relative * relative, axis=axes, keepdims=True) / count
    return largest * jnp.sqrt(jnp.where(largest > 0, power, 1))
