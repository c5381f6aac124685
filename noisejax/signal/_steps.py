"""Faults whose state passes from one window of a recording to the next, as pure steps for `jax.lax.scan`."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount, saturate, wide
from noisejax._random.stream import enter
from noisejax.signal._axes import MODES, latest, read, time_axis
from noisejax.signal._events import _KINDS, _duration, _finite, _tau, stuck_steps, wandering
from noisejax.signal._gaps import _burst, feasible, losses

_RANGES = {
    "rate": _checks.rate,
    "burst": _burst,
    "amount": _checks.nonnegative,
    "tau": _tau,
    "value": None,  # NaN and the infinities are values of missing samples
}


class State(NamedTuple):
    """What one window of a recording hands to the next: a pytree of three arrays, made by `start`."""

    step: jax.Array  # the number of steps that have passed
    count: jax.Array  # int32 for each example and channel: whether a burst lasts, or for how long a sensor is stuck
    value: jax.Array  # for each example and channel: the value that is held, or the sum of a drift


def start(x: jax.Array | np.ndarray, *, axis: int | None = None) -> State:
    """The state before the first window of a recording, for `bursts_step`, `drift_step` and `stuck_step`.

    Args:
      x: floats: a window, or the whole recording. Windows may differ from it in length only.
      axis: the axis of time. None for the second axis, or the only axis of a single signal.

    Returns:
      A `State`, whose arrays have one step.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> nj.signal.start(jnp.ones((2, 50, 3))).value.shape
      (2, 1, 3)
    """
    _checks.array("start", x, _checks.floats)
    x = jnp.asarray(x)
    one = lax.slice_in_dim(x, 0, 1, axis=time_axis("start", x, axis))
    return State(jnp.int32(0), jnp.zeros_like(one, jnp.int32), wide(jnp.zeros_like(one)))


def bursts_step(
    key: jax.Array,
    state: State,
    x: jax.Array | np.ndarray,
    rate: Amount,
    burst: Amount,
    value: Amount = 0.0,
    *,
    fill: str = "hold",
    mode: str = "example",
    axis: int | None = None,
) -> tuple[State, jax.Array]:
    """`bursts` on one window of a recording: windows that follow one another equal one call on the whole, bit for bit.

    Args:
      key: the key of the recording, the same for all its windows.
      state: the state before the window, from `start` or from the last call.
      x: floats: the window.
      rate, burst, value: as in `bursts`.
      fill: `'hold'` or `'value'`. Static.
      mode, axis: as in `bursts`. Static.

    Returns:
      The state after the window, and the noisy window.

    Raises:
      ValueError: fill is `'linear'`, which reads samples of the next window.

    References:
      Elliott, "Estimates of error rates for codes on burst-noise channels", Bell System Technical Journal 42, 1963.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x = jax.random.key(0), jnp.arange(1.0, 101.0).reshape(1, 100, 1)
      >>> step = lambda state, window: nj.signal.bursts_step(key, state, window, 0.3, 4.0)
      >>> windows = jnp.moveaxis(x.reshape(1, 10, 10, 1), 1, 0)
      >>> _, noisy = jax.lax.scan(step, nj.signal.start(x), windows)
      >>> whole = nj.signal.bursts(key, x, 0.3, 4.0)
      >>> bool((jnp.moveaxis(noisy, 0, 1).reshape(x.shape) == whole).all())
      True
    """
    _checks.one_of("bursts_step", "fill", fill, ("hold", "value"))
    key, x, axis = _window("bursts_step", key, state, x, axis)
    _checks.one_of("bursts_step", "mode", mode, MODES)
    rate, burst, value = _amounts("bursts_step", x, rate=rate, burst=burst, value=value)
    return _bursts(key, state, x, rate, burst, value, fill=fill, mode=mode, axis=axis)


@functools.partial(jax.jit, static_argnames=("fill", "mode", "axis"))
def _bursts(key, state, x, rate, burst, value, *, fill: str, mode: str, axis: int):
    lost, now = losses(key, x, rate, burst, None, None, mode, axis, state.step, state.count == 1)
    filled = jnp.asarray(value, x.dtype)
    # The value is that of the last sample that arrived in this window or in an earlier one. Before the first one it is
    # `value`, which the state holds from the first window on.
    earlier = jnp.where(state.step == 0, filled.astype(state.value.dtype), state.value)
    arrived = latest(~lost, axis)
    held = jnp.where(arrived >= 0, read(x, arrived, axis), saturate(earlier, x.dtype))
    y = jnp.where(lost & (x == x), held if fill == "hold" else filled, x)
    return _after(state, axis, x, now.astype(jnp.int32), held), y


def stuck_step(
    key: jax.Array,
    state: State,
    x: jax.Array | np.ndarray,
    rate: Amount,
    duration: Amount,
    value: Amount | None = None,
    *,
    mode: str = "channel",
    axis: int | None = None,
) -> tuple[State, jax.Array]:
    """`stuck` on one window of a recording: windows that follow one another equal one call on the whole, bit for bit.

    Args:
      key: the key of the recording, the same for all its windows.
      state: the state before the window, from `start` or from the last call.
      x: floats: the window.
      rate, duration, value: as in `stuck`.
      mode, axis: as in `stuck`. Static.

    Returns:
      The state after the window, and the noisy window.

    References:
      Ni et al., "Sensor network data fault types", ACM Transactions on Sensor Networks 5(3), 2009 (stuck-at faults).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x = jax.random.key(0), jnp.arange(40.0)
      >>> state, first = nj.signal.stuck_step(key, nj.signal.start(x), x[:25], 0.5, 8)
      >>> state, second = nj.signal.stuck_step(key, state, x[25:], 0.5, 8)
      >>> bool((jnp.concatenate([first, second]) == nj.signal.stuck(key, x, 0.5, 8)).all())
      True
    """
    key, x, axis = _window("stuck_step", key, state, x, axis)
    _checks.one_of("stuck_step", "mode", mode, MODES)
    rate, duration = _amounts("stuck_step", x, rate=rate, duration=duration)
    given = None if value is None else _amounts("stuck_step", x, value=value)[0]
    return _stuck(key, state, x, rate, duration, given, mode=mode, axis=axis)


@functools.partial(jax.jit, static_argnames=("mode", "axis"))
def _stuck(key, state, x, rate, duration, value, *, mode: str, axis: int):
    hit, left = stuck_steps(key, x, rate, duration, mode, axis, state.step, state.count)
    onset = latest(~hit, axis) + 1
    before = (onset == 0) & (state.count > 0)  # stuck since an earlier window
    held = jnp.where(before, saturate(state.value, x.dtype), read(x, onset, axis))
    y = jnp.where(hit & (x == x), held if value is None else value.astype(x.dtype), x)
    return _after(state, axis, x, left, held), y


def drift_step(
    key: jax.Array,
    state: State,
    x: jax.Array | np.ndarray,
    amount: Amount,
    tau: Amount = np.inf,
    duration: Amount = 1.0,
    *,
    kind: str = "linear",
    mode: str = "channel",
    axis: int | None = None,
) -> tuple[State, jax.Array]:
    """`drift` on one window of a recording: windows that follow one another equal one call, up to rounding.

    Args:
      key: the key of the recording, the same for all its windows.
      state: the state before the window, from `start` or from the last call.
      x: floats: the window.
      amount, tau: as in `drift`.
      duration: as in `drift`. A stream has no length of its own, so the default is one step: `amount` is the standard
        deviation after one step.
      kind, mode, axis: as in `drift`. Static.

    Returns:
      The state after the window, and the noisy window.

    References:
      IEEE Standard 952, 1997, annex C.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x = jax.random.key(0), jnp.zeros((1, 60, 2))
      >>> state, first = nj.signal.drift_step(key, nj.signal.start(x), x[:, :20], 1.0, duration=60.0)
      >>> state, second = nj.signal.drift_step(key, state, x[:, 20:], 1.0, duration=60.0)
      >>> whole = nj.signal.drift(key, x, 1.0)
      >>> bool(jnp.allclose(jnp.concatenate([first, second], axis=1), whole))
      True
    """
    _checks.one_of("drift_step", "kind", kind, _KINDS)
    key, x, axis = _window("drift_step", key, state, x, axis)
    _checks.one_of("drift_step", "mode", mode, MODES)
    amount, tau, duration = _amounts("drift_step", x, amount=amount, tau=tau, duration=duration)
    return _drift(key, state, x, amount, tau, duration, kind=kind, mode=mode, axis=axis)


@functools.partial(jax.jit, static_argnames=("kind", "mode", "axis"))
def _drift(key, state, x, amount, tau, duration, *, kind: str, mode: str, axis: int):
    wider = wide(x)
    carried = state.value.astype(jnp.float32)
    error, summed = wandering(key, wider, amount, tau, duration, kind, mode, axis, state.step, carried)
    return _after(state, axis, x, state.count, summed), saturate(wider + error, x.dtype)


def _window(function: str, key: Any, state: Any, x: Any, axis: int | None) -> tuple[Any, jax.Array, int]:
    key = enter(function, key)
    _checks.array(function, x, _checks.floats)
    axis, x = time_axis(function, x, axis), jnp.asarray(x)
    one = tuple(1 if n == axis else size for n, size in enumerate(x.shape))
    if not isinstance(state, State) or state.value.shape != one:
        got = f"arrays of shape {state.value.shape}" if isinstance(state, State) else f"a {type(state).__name__}"
        raise ValueError(
            f"{function}: state must be that of signal.start(x, axis={axis}), with arrays of shape {one} for x of "
            f"shape {x.shape}, got {got}."
        )
    return key, x, axis


def _amounts(function: str, x: jax.Array, **given: Any) -> list[jax.Array]:
    """Amounts of x's rank, checked as those of the noise."""
    found, ranges = [], {**_RANGES, "duration": _finite if function == "drift_step" else _duration}
    given = {name: arithmetic_amount(function, name, value, ranges[name]) for name, value in given.items()}
    if {"rate", "burst"} <= given.keys():
        feasible(given["rate"], given["burst"])
    for name, value in given.items():
        value = jnp.asarray(value)
        _checks.broadcastable(function, name, value.shape, x.shape)
        value = value.astype(wide(x).dtype)
        found.append(value.reshape((1,) * (x.ndim - value.ndim) + value.shape) if value.ndim else value)
    return found


def _after(state: State, axis: int, x: jax.Array, count: jax.Array, value: jax.Array) -> State:
    """The state after a window: its last step, for every channel."""

    def last(values, like):
        size = values.shape[axis]
        values = lax.slice_in_dim(values, size - 1, size, axis=axis)
        return jnp.broadcast_to(values.astype(like.dtype), like.shape)

    return State(state.step + x.shape[axis], last(count, state.count), last(value, state.value))
