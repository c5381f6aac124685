"""Faults of clocks, segments in a different order, and rotations: samples are read at other times or turned."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._calls.replay import MOVED
from noisejax._contract import Amount, Mask, Moved, array_noise
from noisejax._noise import Run
from noisejax._padded import with_lengths
from noisejax._random import sample
from noisejax._random.stream import positions, words
from noisejax._sharding import automatic, computed_once
from noisejax.signal._axes import (
    chosen,
    extent,
    one_each,
    read,
    same_at_all_times,
    same_in_all_channels,
    steps,
    time_axis,
)

ORDERS = ("linear", "cubic")


def _order_options(function: str):
    def check(x, order="cubic", **_) -> None:
        _checks.one_of(function, "order", order, ORDERS)

    return check


def per_example(function: str, x: jax.Array, axis: int, **amounts: Any) -> None:
    for name, value in amounts.items():
        same_at_all_times(function, name, value, axis)
        same_in_all_channels(function, name, value, x, axis)


def displaced(x: jax.Array, shift: jax.Array, number: jax.Array, axis: int, order: str) -> Moved:
    """x at the times ``t + shift``, clamped to the steps of each example. A shift of 0 gives x to the bit.

    The time is kept as a step and a fraction: float32 alone has steps of 0.004 after a second of audio.
    """
    whole = jnp.floor(shift)
    last = jnp.maximum(number - 1, 0)
    step, part = positions(x, axis) + whole.astype(jnp.int32), (shift - whole).astype(x.dtype)
    part = jnp.where((step < 0) | (step >= last), 0, part)
    step = jnp.clip(step, 0, last)
    source = computed_once(x)

    def at(offset: int) -> jax.Array:
        index = jnp.clip(step + offset, 0, last)
        return automatic(lambda x, i: jnp.take_along_axis(x, i, axis=axis, mode="clip"), source, index)

    here, after = at(0), at(1)
    if order == "linear":
        between = here + part * (after - here)
    else:  # the cubic convolution of Keys, with a = -1/2
        before, later = at(-1), at(2)
        slope, bend = after - before, 2 * before - 5 * here + 4 * after - later
        between = here + part * (slope + part * (bend + part * (3 * (here - after) + later - before))) / 2
    between = jnp.where(part == 0, here, between)
    time = step.astype(jnp.float32) + part.astype(jnp.float32)
    place = positions(x, axis)
    time = jnp.where(place < number, time, place.astype(jnp.float32))
    return Moved(between, jnp.broadcast_to(time, tuple(n if a in (0, axis) else 1 for a, n in enumerate(x.shape))))


@array_noise(options=_order_options("jitter_time"), moves=True, ranges={"std": _checks.nonnegative})
def jitter_time(
    key: jax.Array,
    x: jax.Array,
    std: Amount,
    *,
    order: str = "cubic",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Jitter of the sampling clock: step t is read at the time ``t + std * n``, with a standard normal n for each step.

    All channels of an example are read at the same times. Times before the first or after the last step are those of
    the first or the last step.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      std: the standard deviation of the time in steps, at least 0; one for each example, or for each step. 0 is the
        identity.
      order: `'linear'`, or `'cubic'` for the cubic convolution of Keys. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. No time lies beyond the last step that is data.

    Returns:
      An array of x's shape and dtype. `moved` gives the times at which x was read.

    References:
      IEEE Standard 1241, 2010 (aperture jitter); Keys, "Cubic convolution interpolation for digital image processing",
      IEEE Transactions on Acoustics, Speech, and Signal Processing 29(6), 1981.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.sin(jnp.arange(100.0) / 20)
      >>> y = nj.signal.jitter_time(jax.random.key(0), x, 0.1)
      >>> bool(jnp.abs(y - x).max() < 0.02)
      True
    """
    axis = time_axis("jitter_time", x, axis)
    same_in_all_channels("jitter_time", "std", std, x, axis)
    draw = one_each("jitter_time", x, axis, "example")
    if x.size == 0:
        return Moved(x, positions(x, axis).astype(jnp.float32))
    shift = sample.normal(words(steps(key, x, axis), "signal.jitter_time", **draw)) * jnp.asarray(std, jnp.float32)
    return displaced(x, shift, extent(x, axis, where), axis, order)


def _clock_options(x, order, kind, **_) -> None:
    _order_options("clock_drift")(x, order)
    _checks.one_of("clock_drift", "kind", kind, ("uniform", "exact"))


_ppm = _checks.Range("finite", lambda v: abs(v) < np.inf, "It is in parts per million; 0 is the identity.")


@array_noise(options=_clock_options, moves=True, ranges={"ppm": _ppm, "start": _ppm})
def clock_drift(
    key: jax.Array,
    x: jax.Array,
    ppm: Amount,
    start: Amount = 0.0,
    *,
    kind: str = "uniform",
    order: str = "cubic",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """A clock that runs fast or slow: step t is read at the time ``t * (1 + e * 1e-6) + start``.

    The error e is uniform between -ppm and ppm and drawn for each example. With ``kind="exact"`` it is `ppm`. Times
    before the first or after the last step are those of the first or the last step.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      ppm: the error of the clock in parts per million, one for each example. 0 is the identity.
      start: the time of the first step, in steps; one for each example.
      kind: `'uniform'`, or `'exact'` for a known error, which does not use the key. Static.
      order: `'linear'`, or `'cubic'` for the cubic convolution of Keys. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. No time lies beyond the last step that is data.

    Returns:
      An array of x's shape and dtype. `moved` gives the times at which x was read.

    References:
      Allan, "Time and frequency (time-domain) characterization, estimation, and prediction of precision clocks and
      oscillators", IEEE Transactions on Ultrasonics, Ferroelectrics, and Frequency Control 34(6), 1987.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.clock_drift(jax.random.key(0), jnp.arange(5.0), 100_000.0, kind="exact", order="linear")
      >>> [round(v, 3) for v in y.tolist()]
      [0.0, 1.1, 2.2, 3.3, 4.0]
    """
    axis = time_axis("clock_drift", x, axis)
    per_example("clock_drift", x, axis, ppm=ppm, start=start)
    number = positions(x, axis)
    if x.size == 0:
        return Moved(x, number.astype(jnp.float32))
    rate = jnp.asarray(ppm, jnp.float32) * jnp.float32(1e-6)
    if kind == "uniform":
        draw = one_each("clock_drift", x, axis, "example")
        rate = rate * sample.symmetric_uniform(words(key, "signal.clock_drift", **draw))
    shift = number.astype(jnp.float32) * rate + jnp.asarray(start, jnp.float32)
    return displaced(x, shift, extent(x, axis, where), axis, order)


def _segment_options(x, segments, shortest, axis, **_) -> None:
    for name, value in (("segments", segments), ("shortest", shortest)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"permute_segments: {name} must be a positive integer, got {value!r}.")
    length = x.shape[time_axis("permute_segments", x, axis)]
    if segments * shortest > length and x.size:
        raise ValueError(
            f"permute_segments: {segments} segments of at least {shortest} steps need {segments * shortest} steps, and "
            f"x has {length}. Give fewer or shorter segments: segments=..., shortest=..."
        )


@array_noise(_checks.numbers, options=_segment_options, ranges={"rate": _checks.rate}, widen=False, moves=True)
def permute_segments(
    key: jax.Array,
    x: jax.Array,
    rate: Amount = 1.0,
    *,
    segments: int = 4,
    shortest: int = 10,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Segments in a random order: each example is cut at random places, and its segments are permuted.

    The lengths of the segments are uniform over the cuts of the steps that remain after each segment has its shortest
    length. All channels of an example are cut alike.

    Args:
      key: a JAX key.
      x: numbers of any dtype: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      rate: the probability that an example is permuted, in [0, 1], one for each example; traced values are clamped. 0
        is the identity.
      segments: the number of segments. Static.
      shortest: the smallest number of steps of a segment. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. An example that is too short is unchanged.

    Returns:
      An array of x's shape and dtype, which holds the same samples. `moved` gives the steps that were read.

    Raises:
      ValueError: the segments are longer than x.

    References:
      Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
      neural networks", ICMI 2017 (permutation).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.permute_segments(jax.random.key(1), jnp.arange(8), segments=2, shortest=3)
      >>> sorted(y.tolist())
      [0, 1, 2, 3, 4, 5, 6, 7]
    """
    axis = time_axis("permute_segments", x, axis)
    per_example("permute_segments", x, axis, rate=rate)
    number, place = extent(x, axis, where), positions(x, axis)
    if x.size == 0:
        return Moved(x, place.astype(jnp.float32))
    hit = chosen(key, "permute_segments", x, axis, "example", rate) & (number >= segments * shortest)
    draw = one_each("permute_segments", x, axis, "example")
    draw["shape"] = tuple(segments if n == axis else size for n, size in enumerate(draw["shape"]))
    high, low, order = (words(key, f"signal.permute_segments.{part}", **draw) for part in ("cut", "cut.low", "order"))
    free = jnp.maximum(number - segments * shortest, 0)
    cuts = sample.integers(high, low, free + 1)
    where_it_is = lax.broadcasted_iota(jnp.int32, (1,) * axis + (segments,) + (1,) * (x.ndim - 1 - axis), axis)
    # The first segment begins at 0, and the others after a sorted cut and the shortest lengths before it.
    cuts = automatic(lambda cuts: lax.sort(cuts, dimension=axis), jnp.where(where_it_is == 0, -1, cuts))
    begins = jnp.where(where_it_is == 0, 0, cuts + where_it_is * shortest)
    rest = lax.slice_in_dim(begins, 1, segments, axis=axis)
    ends = 0 * lax.slice_in_dim(begins, 0, 1, axis=axis) + number
    size = lax.concatenate([rest, ends], axis) - begins
    begins, size = _sorted(order, begins, size, axis)
    source, passed = place, jnp.zeros_like(lax.slice_in_dim(begins, 0, 1, axis=axis))
    for n in range(segments):
        begin, long = (lax.slice_in_dim(v, n, n + 1, axis=axis) for v in (begins, size))
        inside = (place >= passed) & (place < passed + long)
        source = jnp.where(inside, begin + place - passed, source)
        passed = passed + long
    source = jnp.where(hit & (place < number), source, place)
    return Moved(read(x, source, axis), source.astype(jnp.float32))


def _sorted(order: jax.Array, begins: jax.Array, size: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Segments in the order of their words."""

    def pick(values, order):
        return lax.sort((order, values), dimension=axis, num_keys=1)[1]

    return automatic(pick, begins, order), automatic(pick, size, order)


def _triples(x, axis, **_) -> None:
    axis = time_axis("rotate3", x, axis)
    if x.ndim < 2 or axis == x.ndim - 1 or x.shape[-1] % 3:
        raise ValueError(
            f"rotate3: the last axis of x must hold triples of channels, such as x, y and z of a sensor, got shape "
            f"{x.shape} with time along axis {axis}. Slice them: x[..., :3]."
        )


@array_noise(_checks.floats, options=_triples, ranges={"angle": _checks.nonnegative})
def rotate3(
    key: jax.Array,
    x: jax.Array,
    angle: Amount,
    *,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Rotation of sensors with three axes: each triple of channels is rotated in space, as a device worn differently.

    The axis of the rotation is uniform on the sphere, and its angle uniform between -angle and angle. Both are drawn
    for each example and are the same at all times and in all triples, such as those of an accelerometer and a
    gyroscope in one device.

    Args:
      key: a JAX key.
      x: floats of shape (B, T, C), with C a multiple of 3.
      angle: the largest angle in radians, at least 0, one for each example. pi is any rotation about the axis, and 0 is
        the identity.
      axis: the axis of time. None for the second axis. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype. The norm of each triple stays.

    Raises:
      ValueError: the number of channels is no multiple of 3.

    References:
      Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
      neural networks", ICMI 2017 (rotation); Rodrigues, "Des lois geometriques qui regissent les deplacements d'un
      systeme solide dans l'espace", 1840.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.ones((2, 10, 3))
      >>> y = nj.signal.rotate3(jax.random.key(0), x, 3.14)
      >>> bool(jnp.allclose(jnp.linalg.norm(y, axis=-1), jnp.linalg.norm(x, axis=-1)))
      True
    """
    axis = time_axis("rotate3", x, axis)
    same_at_all_times("rotate3", "angle", angle, axis)
    same_in_all_channels("rotate3", "angle", angle, x, axis)
    draw = one_each("rotate3", x, axis, "example")
    turn = jnp.asarray(angle, jnp.float32) * sample.symmetric_uniform(words(key, "signal.rotate3", **draw))
    normals = [sample.normal(words(key, f"signal.rotate3.{part}", **draw)) for part in "xyz"]
    norm = jnp.sqrt(normals[0] ** 2 + normals[1] ** 2 + normals[2] ** 2)
    unit = [(n / jnp.where(norm > 0, norm, 1)).astype(x.dtype) for n in normals]
    cosine, sine = jnp.cos(turn).astype(x.dtype), jnp.sin(turn).astype(x.dtype)
    # Rodrigues: v cos + (k x v) sin + k (k . v) (1 - cos), channel by channel
    ends = x.shape[-1]
    part = [lax.slice_in_dim(x, min(n, ends), ends, 3, axis=x.ndim - 1) for n in range(3)]
    dot = unit[0] * part[0] + unit[1] * part[1] + unit[2] * part[2]
    rotated = []
    for n in range(3):
        b, c = (n + 1) % 3, (n + 2) % 3
        cross = unit[b] * part[c] - unit[c] * part[b]
        rotated.append(part[n] * cosine + cross * sine + unit[n] * dot * (1 - cosine))
    together = jnp.stack(rotated, axis=-1).reshape(x.shape)
    return jnp.where(turn.astype(x.dtype) == 0, x, together)


def moved(noise: Callable) -> Callable:
    """The times at which a noise reads x: ``moved(noise)(key, x)``, replayed from the key, for labels and timestamps.

    The result has one float32 time in steps for each step of y: ``y[t] = x[moved[t]]``, up to interpolation. It works
    through the combinators. A noise that moves nothing has the times 0, 1, 2, ... Time is the second axis, or the only
    axis of a single signal.

    Args:
      noise: a bound noise, or a combination of noises of this library.

    Returns:
      A function of a key and x, with ``where`` and ``lengths`` as the noise has them. The times have x's rank, and one
      channel: (B, T, 1) for x of shape (B, T, C).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x, labels = jax.random.key(0), jnp.arange(60.0)[None], (jnp.arange(60) > 30)[None]
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.signal.time_warp, std=0.2))
      >>> time = nj.signal.moved(noise)(key, x)
      >>> warped = jnp.take_along_axis(labels, jnp.round(time).astype(int), axis=1)
      >>> bool((warped == (noise(key, x) > 30.5)).mean() > 0.95)
      True
    """

    def replay(key: jax.Array, x: Any, *, where=None, lengths=None) -> Any:
        x = x if lengths is None else with_lengths("moved", x, lengths)
        return Run(where, MOVED)(noise, key, x)[1]

    return replay
