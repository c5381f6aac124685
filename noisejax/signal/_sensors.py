"""Faults of sensors that change all samples of a channel: offsets, gains, limits, converters, crosstalk."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, fault, straight_through, wide
from noisejax._random import sample
from noisejax._random.stream import along, words
from noisejax.signal._axes import chosen, one_each, same_at_all_times, time_axis


@array_noise(ranges={"std": _checks.nonnegative})
def bias(
    key: jax.Array,
    x: jax.Array,
    std: Amount,
    *,
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """A constant offset: ``x + std * n``, with one standard normal n for each channel of each example.

    Args:
      key: a JAX key.
      x: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      std: the standard deviation of the offset, in the units of x; at least 0, broadcastable to x. 0 is the identity.
      mode: `'channel'`, or `'example'` for one offset that all channels of an example share. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      El-Sheimy et al., "Analysis and modeling of inertial sensors using Allan variance", IEEE Transactions on
      Instrumentation and Measurement 57(1), 2008 (turn-on bias).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.bias(jax.random.key(0), jnp.zeros((2, 50, 3)), 0.1)
      >>> bool((y == y[:, :1]).all())
      True
    """
    draw = one_each("bias", x, time_axis("bias", x, axis), mode)
    return x + std * sample.normal(words(key, "signal.bias", **draw)).astype(x.dtype)


@array_noise(ranges={"std": _checks.nonnegative})
def gain(
    key: jax.Array,
    x: jax.Array,
    std: Amount,
    *,
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """A wrong scale: ``x * (1 + std * n)``, with one standard normal n for each channel of each example.

    Args:
      key: a JAX key.
      x: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      std: the standard deviation of the relative error, such as 0.02 for 2 %; at least 0, broadcastable to x. 0 is the
        identity.
      mode: `'channel'`, or `'example'` for one factor that all channels of an example share. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
      neural networks", ICMI 2017 (scaling).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.gain(jax.random.key(0), jnp.ones((2, 50, 3)), 0.02)
      >>> bool((y == y[:, :1]).all())
      True
    """
    draw = one_each("gain", x, time_axis("gain", x, axis), mode)
    return x * (1 + std * sample.normal(words(key, "signal.gain", **draw)).astype(x.dtype))


def _ordered(low, high, **_) -> None:
    if isinstance(low, np.ndarray) and isinstance(high, np.ndarray) and np.any(low > high):
        raise ValueError(f"saturate: low must not exceed high, got low={low} and high={high}.")


@array_noise(amounts=_ordered, ranges={"low": _checks.real, "high": _checks.real, "rate": _checks.rate}, widen=False)
def saturate(
    key: jax.Array,
    x: jax.Array,
    low: Amount,
    high: Amount,
    rate: Amount = 1.0,
    *,
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Saturation: samples beyond the range of the sensor become its ends, low or high.

    Args:
      key: a JAX key. It decides which channels saturate if `rate` is below 1.
      x: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      low, high: the ends of the range, in the units of x, each broadcastable to x. -inf and inf are the identity.
      rate: the probability that a channel saturates, in [0, 1]; traced values are clamped. 0 is the identity.
      mode: `'channel'`, or `'example'` for all channels of an example together. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype. Samples within the range are unchanged to the bit.

    Raises:
      ValueError: low exceeds high.

    References:
      Ni et al., "Sensor network data fault types", ACM Transactions on Sensor Networks 5(3), 2009 (clipping).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.signal.saturate(jax.random.key(0), jnp.array([-3.0, 0.5, 2.0]), -1.0, 1.0).tolist()
      [-1.0, 0.5, 1.0]
    """
    hit = chosen(key, "saturate", x, time_axis("saturate", x, axis), mode, rate)
    return fault(x, hit, jnp.clip(wide(x), low, high))


_level = _checks.Range("at least 0", lambda v: v >= 0, "It is a fraction of the full scale; inf is the identity.")


@array_noise(_checks.floats, ranges={"level": _level, "rate": _checks.rate}, widen=False)
def clipping(
    key: jax.Array,
    x: jax.Array,
    level: Amount,
    rate: Amount = 1.0,
    *,
    mode: str = "example",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Clipping of a waveform whose full scale is [-1, 1]: samples are limited to ``[-level, level]``.

    Args:
      key: a JAX key. It decides which examples are clipped if `rate` is below 1.
      x: floats: waveforms of shape (B, T) or (B, T, C), or a single signal of shape (T,).
      level: the limit as a fraction of the full scale, which is 1; at least 0, broadcastable to x. inf is the identity.
      rate: the probability that an example is clipped, in [0, 1]; traced values are clamped. 0 is the identity.
      mode: `'example'`, or `'channel'` for each channel on its own. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype. Samples within the limits are unchanged to the bit.

    References:
      Janssen et al., "Adaptive interpolation of discrete-time signals", 1986 (hard clipping as a loss of samples). The
      level is not a percentile of the signal, as in audiomentations: that would read the batch.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.signal.clipping(jax.random.key(0), jnp.array([-0.9, 0.2, 0.6]), 0.5).tolist()
      [-0.5, 0.20000000298023224, 0.5]
    """
    hit = chosen(key, "clipping", x, time_axis("clipping", x, axis), mode, rate)
    level = jnp.maximum(level, 0)
    return fault(x, hit, jnp.clip(wide(x), -level, level))


@array_noise(_checks.floats, ranges={"rate": _checks.rate}, widen=False)
def polarity(
    key: jax.Array,
    x: jax.Array,
    rate: Amount = 0.5,
    *,
    mode: str = "example",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Inverted polarity: an example becomes ``-x``.

    Args:
      key: a JAX key.
      x: floats: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      rate: the probability that an example is inverted, in [0, 1], one for each example or channel; traced values are
        clamped. 0 is the identity.
      mode: `'example'`, or `'channel'` for each channel on its own, as a sensor mounted upside down. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      audiomentations 0.43 (PolarityInversion); Um et al., ICMI 2017 (rotation by half a turn).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.signal.polarity(jax.random.key(0), jnp.array([1.0, -2.0]), 1.0).tolist()
      [-1.0, 2.0]
    """
    return fault(x, chosen(key, "polarity", x, time_axis("polarity", x, axis), mode, rate), -x)


def _adc_options(x, missing_codes, **_) -> None:
    if not isinstance(missing_codes, tuple) or not all(isinstance(code, int) for code in missing_codes):
        raise TypeError(f"adc: missing_codes must be a tuple of integers, got {missing_codes!r}.")


_bits = _checks.Range("at least 1", lambda v: v >= 1, "It is the number of bits of a code; inf does not round.")
_span = _checks.Range("above 0", lambda v: v > 0, "It is the width of the range; inf does not clip.")


@array_noise(
    options=_adc_options,
    ranges={
        "bits": _bits,
        "span": _span,
        "gain": _checks.real,
        "offset": _checks.real,
        "rate": _checks.rate,
    },
)
def adc(
    key: jax.Array,
    x: jax.Array,
    bits: Amount,
    span: Amount,
    gain: Amount = 1.0,
    offset: Amount = 0.0,
    rate: Amount = 1.0,
    *,
    missing_codes: tuple[int, ...] = (),
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """An analog-to-digital converter: ``q * clip(round((gain * x + offset) / q), -2**(bits - 1), 2**(bits - 1) - 1)``.

    The step is ``q = span / 2**bits``. Ties are rounded to even. The gradient in x is that of the clipped signal before
    it is rounded.

    Args:
      key: a JAX key. It decides which channels are converted if `rate` is below 1.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      bits: the number of bits, at least 1 and rounded down, broadcastable to x. Above 24, which are those of float32,
        the signal is clipped and not rounded, as for inf.
      span: the width of the range, which lies symmetrically about 0, in the units of x; above 0, broadcastable to x. If
        `span` and `bits` are inf, the converter is ideal.
      gain, offset: the errors of the converter, each broadcastable to x.
      rate: the probability that a channel is converted, in [0, 1]; traced values are clamped. 0 is the identity.
      missing_codes: codes that never occur. The next lower one takes their place. Static.
      mode: `'channel'`, or `'example'` for all channels of an example together. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      IEEE Standard 1241, "Terminology and test methods for analog-to-digital converters", 2010.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.signal.adc(jax.random.key(0), jnp.array([-9.0, 0.3, 0.7, 9.0]), bits=3, span=4.0).tolist()
      [-2.0, 0.5, 0.5, 1.5]
    """
    hit = chosen(key, "adc", x, time_axis("adc", x, axis), mode, rate)
    bits, span, gain, offset = (jnp.asarray(v, x.dtype) for v in (bits, span, gain, offset))
    coarse = bits <= 24
    whole = jnp.where(coarse, jnp.floor(jnp.maximum(bits, 1)), 24)
    half = _power_of_two(whole - 1).astype(x.dtype)
    ranged = jnp.isfinite(span)
    step = jnp.where(ranged, span, 1) / (2 * half)
    analog = gain * x + offset
    ends = jnp.where(ranged, span / 2, jnp.inf), jnp.where(ranged, span / 2 - jnp.where(coarse, step, 0), jnp.inf)
    clipped = jnp.clip(analog, -ends[0], ends[1])
    code = jnp.clip(jnp.round(analog / step), -half, half - 1)
    for missing in sorted(missing_codes, reverse=True):
        code = jnp.where(code == missing, missing - 1, code)
    rounded = straight_through(code * step, clipped)
    return jnp.where(hit, jnp.where(coarse & ranged, rounded, clipped), x)


def _power_of_two(exponent: jax.Array) -> jax.Array:
    """2**n, exactly, for whole n from -126 to 127: jnp.exp2 is off by an ulp on some devices."""
    return lax.bitcast_convert_type((exponent.astype(jnp.int32) + 127) << 23, jnp.float32)


@array_noise(_checks.floats, ranges={"std": _checks.summed})
def leakage(
    key: jax.Array,
    x: jax.Array,
    std: Amount,
    *,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Crosstalk: each channel receives a little of every other one, ``y = (I + std * E) x``.

    E is a matrix of standard normal values with a diagonal of zeros, drawn for each example and constant in time.
    Values that are not finite, and padding, do not leak.

    Args:
      key: a JAX key.
      x: floats of shape (B, T, C) or (T, C): series with an axis of channels after that of time.
      std: the standard deviation of the shares, at least 0, broadcastable to x and constant in time: of shape (B, 1, 1)
        for one per example. 0 is the identity.
      axis: the axis of time, which is that before the last. None for that axis. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    Raises:
      ValueError: x has no axis of channels after the axis of time.

    References:
      IEEE Standard 1241, 2010 (crosstalk between channels).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1, 5, 3)).at[:, :, 0].set(1.0)
      >>> y = nj.signal.leakage(jax.random.key(0), x, 0.1)
      >>> bool((y[..., 0] == 1).all()), bool((y[..., 1:] != 0).all())
      (True, True)
    """
    axis = x.ndim - 2 if axis is None else time_axis("leakage", x, axis)
    if x.ndim < 2 or axis != x.ndim - 2:
        raise ValueError(
            f"leakage: x must have an axis of channels after that of time, (B, T, C), got shape {x.shape} with time "
            f"along axis {axis}."
        )
    same_at_all_times("leakage", "std", std, axis)
    channels = x.shape[-1]
    draw = along(x, [n for n in range(x.ndim) if n != axis])
    draw["shape"] = (*draw["shape"][:axis], channels, channels)
    share = std * sample.normal(words(key, "signal.leakage", **draw)).astype(x.dtype)
    share = jnp.where(jnp.eye(channels, dtype=bool).reshape((1,) * (x.ndim - 2) + (channels, channels)), 0, share)
    valid = jnp.isfinite(x) if where is None else jnp.isfinite(x) & where
    leaked = jnp.einsum("...tj,...jc->...tc", jnp.where(valid, x, 0), share, precision=lax.Precision.HIGHEST)
    return x + leaked
