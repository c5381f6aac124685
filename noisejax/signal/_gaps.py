"""Samples and packets that are lost in bursts: the channel of Gilbert and Elliott, and packets out of order."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, fault, wide
from noisejax._random import sample
from noisejax._random.stream import fold, positions, words
from noisejax._sharding import automatic, own_loop_on_cpus
from noisejax.signal import _axes
from noisejax.signal._axes import extent, latest, latest_flag, one_each, read, same_at_all_times, steps, time_axis

FILLS = ("hold", "linear", "value")


def _fill_options(x, fill, **_) -> None:
    _checks.one_of("bursts", "fill", fill, FILLS)


def feasible(rate, burst, bad=None, good=None, **_) -> None:
    """Bursts that are as short as independent losses of this rate are, at least."""
    given = (rate, burst, *(loss for loss in (bad, good) if loss is not None))
    if not all(isinstance(value, np.ndarray) for value in given):
        return
    high, low = (1.0 if bad is None else bad), (0.0 if good is None else good)
    if np.any((rate > high) | (rate < low)):
        raise ValueError(
            f"bursts: rate must lie between the losses of the good and the bad state, {low} and {high}, got {rate}."
        )
    share = np.clip((rate - low) / np.where(high > low, high - low, 1.0), 0, 1).astype(np.float64)
    shortest = np.where(share < 1, 1 / np.maximum(1 - share, 1e-30), 0)
    if np.any(burst < shortest * (1 - 1e-6)):
        raise ValueError(
            f"bursts: burst must be at least 1 / (1 - rate), the mean length of independent losses, got burst={burst} "
            f"for rate={rate}, where that is {np.max(shortest):.4g}. Give longer bursts or a lower rate."
        )


_burst = _checks.Range("at least 1 and finite", lambda v: (v >= 1) & (v < np.inf), "It is a mean length in steps.")
_RANGES = {
    "rate": _checks.rate,
    "burst": _burst,
    "bad": _checks.rate,
    "good": _checks.rate,
}


@array_noise(_checks.numbers, options=_fill_options, amounts=feasible, like_x=("value",), ranges=_RANGES, widen=False)
def bursts(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    burst: Amount,
    value: Amount = 0.0,
    bad: Amount | None = None,
    good: Amount | None = None,
    *,
    fill: str = "hold",
    mode: str = "example",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Samples lost in bursts, by the channel of Gilbert and Elliott: a chain of a good and a bad state.

    A burst ends after each step with probability ``r = 1 / burst``, and one begins with probability
    ``p = rate * r / (1 - rate)``, so that the share of lost steps is `rate` and their mean length is `burst`. The first
    state is drawn from the stationary distribution. If `bad` and `good` are given, a step is lost with these
    probabilities in the two states, `rate` is the share of all lost steps and `burst` the mean length of the bad state.
    Bursts are not shorter than independent losses: ``burst >= 1 / (1 - rate)``, where traced values are clamped.

    Args:
      key: a JAX key.
      x: numbers of any dtype: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      rate: the share of steps that are lost, in [0, 1]; one for each example, or for each channel with
        ``mode="channel"``. Traced values are clamped. 0 is the identity.
      burst: the mean length of a burst in steps, at least 1.
      value: the value of lost samples with ``fill="value"``, such as 0, NaN or the mean of each channel, and of those
        that have no neighbour to be filled from; broadcastable to x.
      bad: the probability of a loss in the bad state, in [0, 1]. None for 1.
      good: the probability of a loss in the good state, in [0, 1]. None for 0.
      fill: `'hold'` repeats the last sample that arrived, `'linear'` interpolates between the last and the next one,
        and `'value'` sets `value`. Static.
      mode: `'example'` loses all channels of an example together, `'channel'` each on its own. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding fills no gap.

    Returns:
      An array of x's shape and dtype. Hits are the samples that change: a lost sample that is equal to what fills it is
      none.

    Raises:
      ValueError: burst is shorter than 1 / (1 - rate), or rate does not lie between `good` and `bad`.

    References:
      Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39, 1960; Elliott, "Estimates of error
      rates for codes on burst-noise channels", Bell System Technical Journal 42, 1963.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(1.0, 1001.0)[None, :, None]
      >>> y = nj.signal.bursts(jax.random.key(0), x, 0.2, burst=5.0, fill="value")
      >>> round(float((y == 0).mean()), 1)
      0.2
    """
    axis = time_axis("bursts", x, axis)
    if x.size == 0:
        return Hit(False, x)
    lost, _ = losses(key, x, rate, burst, bad, good, mode, axis)
    return fault(x, lost, filled(x, lost, value, fill, axis, where))


def filled(x: jax.Array, lost: jax.Array, value: Amount, fill: str, axis: int, where: Mask) -> jax.Array:
    """What takes the place of lost samples. Only that of lost ones counts."""
    if fill == "value":
        return jnp.asarray(value, x.dtype)
    number, valid = positions(x, axis), ~lost
    if where is not None:
        valid = valid & where
    before = latest(valid, axis)
    held = jnp.where(before >= 0, read(x, before, axis), jnp.asarray(value, x.dtype))
    if fill == "hold":
        return held
    after = lax.rev(latest(lax.rev(valid, (axis,)), axis), (axis,))
    after = jnp.where(after >= 0, x.shape[axis] - 1 - after, -1)  # counted from the end
    following, wider = wide(read(x, after, axis)), wide(held)
    share = (number - before).astype(wider.dtype) / jnp.maximum(after - before, 1).astype(wider.dtype)
    between = wider + share * (following - wider)
    both = jnp.where(before < 0, following, between)
    return jnp.where(after < 0, wider, both)


def losses(key: Any, x, rate, burst, bad, good, mode: str, axis: int, offset: Any = 0, carried: Any = None):
    """Which steps are lost, and the state of the chain at each: the windows of a stream carry the last one."""
    for name, amount in (("rate", rate), ("burst", burst), ("bad", bad), ("good", good)):
        if amount is not None:
            same_at_all_times("bursts", name, amount, axis)
            if mode == "example":
                _axes.same_in_all_channels("bursts", name, amount, x, axis)
    if x.shape[axis] >= 2**30:
        raise ValueError(f"bursts: x must have fewer than 2**30 steps, got {x.shape[axis]}. Cut it into windows.")
    draw, stream = one_each("bursts", x, axis, mode), steps(key, x, axis, offset)
    rate = jnp.clip(jnp.asarray(rate, jnp.float32), 0, 1)
    share = rate
    high = jnp.float32(1) if bad is None else jnp.asarray(bad, jnp.float32)
    low = jnp.float32(0) if good is None else jnp.asarray(good, jnp.float32)
    if bad is not None or good is not None:
        share = jnp.clip((rate - low) / jnp.where(high > low, high - low, 1), 0, 1)
    number = positions(x, axis)
    begins = number + offset == 0
    set_to = sample.gilbert(words(stream, "signal.bursts", **draw), share, burst, begins)
    set_to = own_loop_on_cpus(set_to, always=True)  # by a vectorized loop: two sums over bits read it
    last = latest_flag(set_to >= 0, set_to == 1, axis)
    state = (last >= 0) & (last % 2 == 1)
    if carried is not None:
        state = jnp.where(last < 0, carried, state)
    lost = state
    if bad is not None or good is not None:
        lost = sample.bernoulli(words(stream, "signal.bursts.loss", **draw), jnp.where(state, high, low))
    return lost, state


KINDS = ("lost", "repeated", "reordered")


def _packet_options(x, size, kind, window, **_) -> None:
    _checks.one_of("packets", "kind", kind, KINDS)
    for name, number, least in (("size", size, 1), ("window", window, 2)):
        _checks.count("packets", name, number, least)


@array_noise(_checks.numbers, options=_packet_options, like_x=("value",), ranges={"rate": _checks.rate}, widen=False)
def packets(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    value: Amount = 0.0,
    *,
    size: int,
    kind: str = "lost",
    window: int = 4,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Packets of consecutive samples that are lost, repeated or out of order.

    Packet number n holds the samples from ``n * size`` to ``(n + 1) * size - 1`` of all channels.

    Args:
      key: a JAX key.
      x: numbers of any dtype: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      rate: the probability that a packet is hit, or with ``kind="reordered"`` that a window of packets is, in [0, 1];
        one for each example. Traced values are clamped. 0 is the identity.
      value: the value of lost samples, and of those repeated from before the signal; broadcastable to x.
      size: the number of samples of a packet, at least 1. The last packet may be shorter. Static.
      kind: `'lost'` sets `value`. `'repeated'` repeats the last packet that arrived. `'reordered'` arranges the packets
        of each hit window in a random order. Static.
      window: the number of consecutive packets among which the order changes. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Only packets that are full are reordered.

    Returns:
      An array of x's shape and dtype. Hits are the samples that change.

    References:
      Perkins et al., "A survey of packet loss recovery techniques for streaming audio", IEEE Network 12(5), 1998.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.packets(jax.random.key(1), jnp.arange(8.0), 1.0, size=2, kind="reordered")
      >>> sorted(y.tolist()) == list(range(8)), bool((y[1::2] == y[::2] + 1).all())
      (True, True)
    """
    axis = time_axis("packets", x, axis)
    same_at_all_times("packets", "rate", rate, axis)
    _axes.same_in_all_channels("packets", "rate", rate, x, axis)
    if x.size == 0:
        return Hit(False, x)
    number = positions(x, axis)
    count = -(-x.shape[axis] // size)
    draw = one_each("packets", x, axis, "example")
    shape = tuple(count if n == axis else 1 for n in range(x.ndim))
    packet = lax.broadcasted_iota(jnp.int32, shape, axis)
    if kind == "reordered":
        order = _reordered(key, draw, packet, rate, extent(x, axis, where) // size, window, axis)
        return fault(x, True, read(x, _of_packet(order, x, axis, size) * size + number % size, axis))
    lost = sample.bernoulli(words(fold(key, packet), "signal.packets", **draw), jnp.asarray(rate))
    hit = _of_packet(lost, x, axis, size)
    if kind == "lost":
        return fault(x, hit, value)
    before = _of_packet(latest(~lost, axis), x, axis, size)
    repeated = read(x, before * size + number % size, axis)
    return fault(x, hit, jnp.where(before >= 0, repeated, jnp.asarray(value, x.dtype)))


def _of_packet(values: jax.Array, x: jax.Array, axis: int, size: int) -> jax.Array:
    """What belongs to each packet, at each of its samples."""
    repeated = jnp.repeat(values, size, axis=axis, total_repeat_length=values.shape[axis] * size)
    return lax.slice_in_dim(repeated, 0, x.shape[axis], axis=axis)


def _reordered(key, draw: dict, packet: jax.Array, rate, full: jax.Array, window: int, axis: int) -> jax.Array:
    """The number of the packet that takes the place of each one."""
    stream, group = fold(key, packet), fold(key, packet // window)
    hit = sample.bernoulli(words(group, "signal.packets.window", **draw), jnp.asarray(rate)) & (packet < full)
    # The whole sorts by window, then by a random word. Packets that stay keep their own number in place of the word,
    # and within a window either all full packets are drawn or none, so a stable sort leaves the others in place.
    word = words(stream, "signal.packets.order", **draw)
    shape = jnp.broadcast_shapes(word.shape, hit.shape)
    place = jnp.where(hit, word >> 1, jnp.uint32(2**31) + packet.astype(jnp.uint32))
    place, packet = jnp.broadcast_to(place, shape), jnp.broadcast_to(packet, shape)

    def order(place, packet):
        return lax.sort((packet // window, place, packet), dimension=axis, num_keys=2)[2]

    return automatic(order, place, packet)
