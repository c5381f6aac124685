"""Faults of recordings: hum of the mains, other sounds mixed in, a limited band."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import positions, words
from noisejax._sharding import automatic, computed_once, own_loop_on_cpus
from noisejax.signal._axes import channel_axes, chosen, one_each, same_at_all_times, same_in_all_channels, time_axis
from noisejax.signal._spectral import decibels, rms

_positive = _checks.Range("above 0 and finite", lambda v: (v > 0) & (v < np.inf), "It is in hertz.")
_TO_FACTOR = -math.log(10) / 20


def _measured(x: jax.Array) -> tuple[int, ...]:
    """The axes over which power is measured: all but that of examples."""
    return tuple(range(min(1, x.ndim - 1), x.ndim))


def _scaled(x: jax.Array, noise: jax.Array, snr_db: Amount, where: Mask) -> jax.Array:
    """The noise at a signal-to-noise ratio. Silence stays silent, on either side."""
    axes = _measured(x)
    power = rms(jnp.broadcast_to(noise, x.shape), axes, where)
    factor = rms(x, axes, where) * jnp.exp(jnp.asarray(snr_db, x.dtype) * _TO_FACTOR)
    return noise * jnp.where(power > 0, factor / jnp.where(power > 0, power, 1), 0)


def _hum_options(x, harmonics, **_) -> None:
    if not isinstance(harmonics, int) or harmonics < 1:
        raise ValueError(f"hum: harmonics must be a positive integer, got {harmonics!r}.")


def _audible(snr_db, rate_hz, frequency=None, **_) -> None:
    frequency = np.asarray(50.0) if frequency is None else frequency
    if isinstance(rate_hz, np.ndarray) and isinstance(frequency, np.ndarray) and np.any(2 * frequency >= rate_hz):
        raise ValueError(
            f"hum: frequency must lie below half of rate_hz, which is {rate_hz / 2} Hz, got {frequency}. Both are in "
            "hertz."
        )


@array_noise(
    options=_hum_options,
    amounts=_audible,
    ranges={"snr_db": decibels, "rate_hz": _positive, "frequency": _positive},
)
def hum(
    key: jax.Array,
    x: jax.Array,
    snr_db: Amount,
    rate_hz: Amount,
    frequency: Amount = 50.0,
    *,
    harmonics: int = 3,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Hum of the mains at a signal-to-noise ratio: sines at multiples of a frequency are added.

    Harmonic h has the amplitude 1 / h and a random phase for each example, which all channels share. Harmonics from
    half of `rate_hz` on are left out. Power is the mean square over an example, and padding and values that are not
    finite are not counted. A silent example is unchanged.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: waveforms of shape (B, T), series of shape (B, T, C), or a signal of shape (T,).
      snr_db: the ratio of signal power to hum power in decibels, one for each example. inf is the identity.
      rate_hz: the sampling rate in hertz, one for each example.
      frequency: the frequency of the first harmonic in hertz, such as 50 or 60; one for each example. It has no
        gradient.
      harmonics: the number of harmonics. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    Raises:
      ValueError: frequency is at least half of rate_hz.

    References:
      Levkov et al., "Removal of power-line interference from the ECG: a review of the subtraction procedure",
      BioMedical Engineering OnLine 4, 2005.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.sin(jnp.arange(8000.0))
      >>> y = nj.signal.hum(jax.random.key(0), x, 20.0, 8000.0)
      >>> round(float(10 * jnp.log10((x**2).sum() / ((y - x) ** 2).sum())), 2)
      20.0
    """
    axis = time_axis("hum", x, axis)
    for name, value in (("snr_db", snr_db), ("rate_hz", rate_hz), ("frequency", frequency)):
        same_at_all_times("hum", name, value, axis)
        same_in_all_channels("hum", name, value, x, axis)
    if x.size == 0:
        return x
    draw = one_each("hum", x, axis, "example")
    cycles = jnp.asarray(frequency, jnp.float32) / jnp.asarray(rate_hz, jnp.float32)
    cycles = jnp.clip(cycles, 0, 0.5)
    # The phase is a 32-bit fraction of a turn, which wraps exactly however long the recording is.
    step = (cycles * jnp.float32(2**32)).astype(jnp.uint32)
    time, total = positions(x, axis).astype(jnp.uint32), jnp.float32(0)
    for h in range(1, harmonics + 1):
        phase = step * jnp.uint32(h) * time + words(key, f"signal.hum.{h}", **draw)
        total = total + jnp.where(h * cycles < 0.5, _sine_of_turn(phase) / h, 0)
    total = own_loop_on_cpus(total, always=True)  # its power is measured
    return x + _scaled(x, total.astype(x.dtype), snr_db, where)


# sin(pi u) = u P(u**2) for |u| <= 1/2, up to 3e-9: a minimax fit by reweighted least squares.
_SINE = (3.14159258, -5.16770688, 2.55003138, -0.598045174, 0.0772201290)


def _sine_of_turn(phase: jax.Array) -> jax.Array:
    """The sine of a phase, 2**32 for a turn. jnp.sin, for any argument, takes four times as long on CPUs."""
    half = lax.bitcast_convert_type(phase, jnp.int32).astype(jnp.float32) * jnp.float32(2**-31)
    u = jnp.where(jnp.abs(half) > 0.5, jnp.sign(half) - half, half)
    square, total = u * u, jnp.float32(_SINE[-1])
    for coefficient in _SINE[-2::-1]:
        total = total * square + jnp.float32(coefficient)
    return u * total


def _slices(steps: int, axis: int, like: jax.Array, first: jax.Array, flat: jax.Array) -> jax.Array:
    """The steps from the first ones on, along the axis."""
    sizes = (steps, *flat.shape[1:])
    offsets = tuple(range(first.ndim, first.ndim + flat.ndim))
    numbers = lax.GatherDimensionNumbers(offset_dims=offsets, collapsed_slice_dims=(), start_index_map=(0,))
    found = lax.gather(flat, first[..., None], numbers, sizes, mode="clip")
    if flat.ndim == 2:  # channels are behind the time, and their axis in front has one element
        return lax.squeeze(found, (axis, axis + 1))
    return jnp.moveaxis(lax.squeeze(found, (axis,)), -1, axis)


@array_noise(banks=("noises",), ranges={"snr_db": decibels, "noises": _checks.real})
def mix(
    key: jax.Array,
    x: jax.Array,
    snr_db: Amount,
    noises: Amount,
    *,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Recorded noise at a signal-to-noise ratio: ``x + n * rms(x) / rms(n) * 10**(-snr_db / 20)``.

    A recording and the step at which it begins are drawn for each example. A recording that is shorter than x repeats.
    Power is the mean square over an example, of x and of the part of the recording that is mixed in. Padding and values
    that are not finite are not counted. A silent example is unchanged, and a silent part adds nothing.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: waveforms of shape (B, T), or series of shape (B, T, C).
      snr_db: the ratio of signal power to noise power in decibels, one for each example. inf is the identity.
      noises: recordings of shape (N, S), which all channels share, or (N, S, C); float32.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    Raises:
      ValueError: noises is not of one of these shapes.

    References:
      Ko et al., "A study on data augmentation of reverberant speech for robust speech recognition", ICASSP 2017;
      audiomentations 0.43 (AddBackgroundNoise).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.sin(jnp.arange(8000.0)).reshape(2, 4000)
      >>> noises = jax.random.normal(jax.random.key(1), (3, 9000))
      >>> y = nj.signal.mix(jax.random.key(0), x, jnp.array([[10.0], [30.0]]), noises)
      >>> (10 * jnp.log10((x**2).sum(1) / ((y - x) ** 2).sum(1))).round().tolist()
      [10.0, 30.0]
    """
    axis = time_axis("mix", x, axis)
    same_at_all_times("mix", "snr_db", snr_db, axis)
    same_in_all_channels("mix", "snr_db", snr_db, x, axis)
    table: Any = jnp.asarray(noises)
    channels = channel_axes(x, axis)
    last = axis == x.ndim - 2 and table.ndim == 3 and x.ndim <= 3
    if (
        table.ndim not in (2, 3)
        or 0 in table.shape
        or (table.ndim == 3 and not (last and table.shape[2] == x.shape[-1]))
    ):
        raise ValueError(
            f"mix: noises must hold recordings of shape (N, S), or (N, S, C) with the channels of x, got shape "
            f"{table.shape} for x of shape {x.shape}."
        )
    if x.size == 0:
        return x
    steps, size, count = x.shape[axis], table.shape[1], table.shape[0]
    draw = one_each("mix", x, axis, "example")
    first, low, start, start_low = (
        words(key, f"signal.mix.{n}", **draw) for n in ("noise", "low", "start", "startlow")
    )
    which = sample.integers(first, low, count)
    # A long recording is cut, and a short one repeats.
    begin = sample.integers(start, start_low, size if size < steps else size - steps + 1)
    flat = table.reshape((count * size, *table.shape[2:]))
    time = positions(x, axis)
    like = time + begin if table.ndim == 2 else x
    if size < steps:
        place = (begin + time) % size + which * size
        place = place if table.ndim == 2 else lax.squeeze(place, channels)
        noise = automatic(lambda _, place, flat: jnp.take(flat, place, axis=0, mode="clip"), like, place, flat)
    else:
        first = computed_once(begin + which * size)  # or XLA draws it again for every element
        noise = automatic(functools.partial(_slices, steps, axis), like, first, flat)
    noise = computed_once(noise)  # its power is measured
    return x + _scaled(x, noise.astype(x.dtype), snr_db, where)


_cut = _checks.Range("at least 0", lambda v: v >= 0, "It is in hertz.")


def _band(low, high, rate_hz, **_) -> None:
    if not all(isinstance(value, np.ndarray) for value in (low, high, rate_hz)):
        return
    if np.any((high > rate_hz / 2) & np.isfinite(high)) or np.any(low > rate_hz / 2):
        raise ValueError(
            f"band_limit: low and high must not exceed half of rate_hz, which is {rate_hz / 2} Hz, got {low} and "
            f"{high}. high=inf is no upper limit."
        )
    if np.any(low >= high):
        raise ValueError(f"band_limit: low must be below high, got low={low} and high={high}.")


def _band_options(x, taps, **_) -> None:
    if not isinstance(taps, int) or taps < 3 or taps % 2 == 0:
        raise ValueError(f"band_limit: taps must be an odd integer of at least 3, got {taps!r}.")


@array_noise(
    options=_band_options,
    amounts=_band,
    ranges={"low": _cut, "high": _cut, "rate_hz": _positive, "rate": _checks.rate},
)
def band_limit(
    key: jax.Array,
    x: jax.Array,
    low: Amount,
    high: Amount,
    rate_hz: Amount,
    rate: Amount = 1.0,
    *,
    taps: int = 101,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """A limited band, as of a telephone or a cheap microphone: frequencies outside of [low, high] are removed.

    The filter is a sinc times a Hamming window, scaled to a gain of 1 in the middle of the band (at 0 if low is 0, and
    at half of `rate_hz` if high is that). It is centred, so it delays nothing. Beyond the ends x is 0.

    Args:
      key: a JAX key. It decides which examples are filtered if `rate` is below 1.
      x: floats or uint8/uint16 images: waveforms of shape (B, T), series of shape (B, T, C), or a signal of shape (T,).
      low: the lower cut-off in hertz, one for each example. 0 is no lower limit.
      high: the upper cut-off in hertz, one for each example. Half of `rate_hz`, or inf, is no upper limit. 0 and inf
        are the identity.
      rate_hz: the sampling rate in hertz, one for each example.
      rate: the probability that an example is filtered, in [0, 1]; traced values are clamped. 0 is the identity.
      taps: the odd number of coefficients of the filter. Its edges are about ``3.3 * rate_hz / taps`` wide. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding counts as 0.

    Returns:
      An array of x's shape and dtype.

    Raises:
      ValueError: a cut-off exceeds half of rate_hz, or low is not below high.

    References:
      Oppenheim and Schafer, "Discrete-time signal processing", 1989 (the window method), as `scipy.signal.firwin`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> t = jnp.arange(2000) / 8000
      >>> x = jnp.sin(2 * jnp.pi * 1000 * t) + jnp.sin(2 * jnp.pi * 3900 * t)
      >>> y = nj.signal.band_limit(jax.random.key(0), x, 300.0, 3400.0, 8000.0)
      >>> bool(jnp.abs(y - jnp.sin(2 * jnp.pi * 1000 * t))[100:-100].max() < 0.01)
      True
    """
    axis = time_axis("band_limit", x, axis)
    for name, value in (("low", low), ("high", high), ("rate_hz", rate_hz)):
        same_at_all_times("band_limit", name, value, axis)
        same_in_all_channels("band_limit", name, value, x, axis)
    hit = chosen(key, "band_limit", x, axis, "example", rate)
    if x.size == 0:
        return x
    bottom, top = (jnp.clip(jnp.asarray(v, x.dtype) / jnp.asarray(rate_hz, x.dtype), 0, 0.5) for v in (low, high))
    kernel = _window_method(_in_front(bottom, x, axis), _in_front(top, x, axis), taps)
    finite = jnp.isfinite(x) if where is None else jnp.isfinite(x) & where
    series = jnp.moveaxis(jnp.where(finite, x, 0), axis, -1)
    filtered = jnp.moveaxis(convolved(series, kernel), -1, axis)
    everything = (bottom <= 0) & (top >= 0.5)
    return jnp.where(hit & ~everything & jnp.isfinite(x), filtered, x)


def _in_front(value: jax.Array, x: jax.Array, axis: int) -> jax.Array:
    """An amount of each example, whose axis of time is last."""
    return jnp.moveaxis(value, axis, -1) if value.ndim else value.reshape((1,) * x.ndim)


def _window_method(low: jax.Array, high: jax.Array, taps: int) -> jax.Array:
    """The coefficients for cut-offs in cycles per step, along the last axis."""
    half = taps // 2
    place = np.arange(-half, half + 1)
    window = 0.54 + 0.46 * np.cos(np.pi * place / half)
    offset = jnp.asarray(place, low.dtype).reshape((1,) * (low.ndim - 1) + (taps,))
    weight = jnp.asarray(window, low.dtype).reshape(offset.shape)
    kernel = weight * (2 * high * jnp.sinc(2 * high * offset) - 2 * low * jnp.sinc(2 * low * offset))
    middle = jnp.where(low <= 0, 0, jnp.where(high >= 0.5, 0.5, (low + high) / 2))
    gain = jnp.sum(kernel * jnp.cos(2 * jnp.pi * middle * offset), axis=-1, keepdims=True)
    return kernel / jnp.where(gain > 0, gain, 1)


_BLOCK = 128


def convolved(series: jax.Array, kernel: jax.Array) -> jax.Array:
    """The centred convolution along the last axis, as products of blocks of the series with a banded matrix.

    A Fourier transform would be a gather of a sharded batch, and costs more for a hundred coefficients.
    """
    steps, taps = series.shape[-1], kernel.shape[-1]
    half = taps // 2
    blocks = -(-steps // _BLOCK)
    reach = _BLOCK + 2 * half
    tail = -(-reach // _BLOCK) * _BLOCK  # whole blocks that one block reads
    pads = [(0, 0, 0)] * (series.ndim - 1) + [(half, blocks * _BLOCK - steps + tail - half, 0)]
    padded = lax.pad(series, jnp.zeros((), series.dtype), pads).reshape(*series.shape[:-1], -1, _BLOCK)
    count = tail // _BLOCK
    parts = [lax.slice_in_dim(padded, n, n + blocks, axis=padded.ndim - 2) for n in range(count)]
    # Row i of the matrix is what sample i of the reach gives to the samples of the block.
    tap = lax.broadcasted_iota(jnp.int32, (tail, _BLOCK), 0) - lax.broadcasted_iota(jnp.int32, (tail, _BLOCK), 1)
    inside = (tap >= 0) & (tap < taps)
    matrix = jnp.take(jnp.flip(kernel, -1), jnp.clip(tap, 0, taps - 1), axis=-1, mode="clip")
    matrix = jnp.where(inside.reshape((1,) * (kernel.ndim - 1) + inside.shape), matrix, 0)
    if kernel.size == taps:  # one filter for all: a single product
        product = "...bi,ij->...bj"
        matrix = matrix.reshape(tail, _BLOCK)
    else:
        product = "...bi,...ij->...bj"
    matrices = jnp.split(matrix, count, axis=-2)
    total = sum(
        jnp.einsum(product, part, m, precision=lax.Precision.HIGHEST) for part, m in zip(parts, matrices, strict=True)
    )
    return lax.slice_in_dim(jnp.reshape(total, (*series.shape[:-1], -1)), 0, steps, axis=series.ndim - 1)
