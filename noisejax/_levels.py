"""Levels that change: by a schedule of the step, or adaptively, raised only while a validation metric allows it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, arithmetic_amount
from noisejax._noise import Noise, Schedule


def at_step(noise: Any, step: int | jax.Array) -> Any:
    """Replaces every amount that follows a schedule with its value at a step. Works inside jit without recompiling.

    Args:
      noise: a `Noise` with `scheduled` amounts, or any pytree of noises.
      step: the step, traced or not.

    Returns:
      The noise with numbers in place of the schedules.

    Example:
      >>> import noisejax as nj
      >>> noise = nj.bind(nj.gaussian, std=nj.scheduled(lambda step: 0.1 * step))
      >>> nj.at_step(noise, 3)
      nj.bind(nj.gaussian, std=0.3)
    """

    _checks.operand("at_step", "step", step)  # a Python number stays one, which promotes like any other
    found = any(isinstance(leaf, (Noise, Schedule)) for leaf in jax.tree.leaves(noise, is_leaf=_is_whole))
    if not found and not callable(noise):
        raise TypeError(
            f"at_step: noise must be a bound noise, or a pytree that holds some, got {_checks.shown(noise)}."
        )

    def resolve(leaf):
        if not isinstance(leaf, Schedule):
            return leaf
        value = leaf.function(step)
        _checks.operand("at_step", "the value of a schedule", value)
        return value.astype(jnp.float32) if isinstance(value, jax.Array) else np.asarray(value, np.float32)[()]

    return jax.tree.map(resolve, noise, is_leaf=lambda leaf: isinstance(leaf, Schedule))


def _is_whole(value: Any) -> bool:
    return isinstance(value, (Noise, Schedule))


def scheduled(function: Callable[[Any], Any]) -> Any:
    """An amount that follows a schedule: a function of the step, such as an optax schedule.

    The function is static: make it once, outside the train step. `at_step` replaces the amount with its value.

    Args:
      function: ``function(step)``, a number or an array; the step may be traced.

    Returns:
      A value that `bind` and the combinators accept in place of an amount.

    Example:
      >>> import noisejax as nj
      >>> noise = nj.bind(nj.gaussian, std=nj.scheduled(lambda step: 0.1 * step))
      >>> nj.at_step(noise, 3)
      nj.bind(nj.gaussian, std=0.3)
    """
    if not callable(function):
        raise TypeError(f"scheduled: function must be a function of the step, got {function!r}.")
    return Schedule(function)


class AdaptiveState(NamedTuple):
    """The state of an adaptive level. All fields are arrays, so it is carried, mapped and saved like other state."""

    level: jax.Array  # the level to use now, float32
    best_value: jax.Array  # the best metric so far, or the reference passed to `init`
    plateau_count: jax.Array  # consecutive failed evaluations, int32
    cooldown_count: jax.Array  # evaluations for which the level is still held, int32
    count: jax.Array  # values in the running average, int32
    avg_value: jax.Array  # the running average of the values since the last evaluation


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("start", "step", "ceiling"),
    meta_fields=("patience", "cooldown", "accumulation_size", "rtol", "atol", "mode"),
)
@dataclasses.dataclass(frozen=True)
class Adaptive:
    """The rule of an adaptive level, made by `adaptive`: a pytree whose leaves are `start`, `step` and `ceiling`."""

    start: Any
    step: Any
    ceiling: Any
    patience: int
    cooldown: int
    accumulation_size: int
    rtol: float
    atol: float
    mode: str

    def init(self, best_value: Amount | None = None) -> AdaptiveState:
        """The initial state.

        Args:
          best_value: the metric to maintain, such as that of a run without noise. None to compare with the best so far.
        """
        shape = jnp.broadcast_shapes(*(jnp.shape(amount) for amount in (self.start, self.step, self.ceiling)))
        if best_value is None:
            best_value = -jnp.inf if self.mode == "max" else jnp.inf
        # Each field has a buffer of its own, so that a train step may donate the state.
        return AdaptiveState(
            level=jnp.broadcast_to(jnp.asarray(self.start, jnp.float32), shape).copy(),
            best_value=jnp.broadcast_to(jnp.asarray(best_value, jnp.float32), shape).copy(),
            plateau_count=jnp.zeros(shape, jnp.int32),
            cooldown_count=jnp.zeros(shape, jnp.int32),
            count=jnp.zeros(shape, jnp.int32),
            avg_value=jnp.zeros(shape, jnp.float32),
        )

    def update(self, state: AdaptiveState, *, value: Amount) -> AdaptiveState:
        """The state after one more value of the metric: a scalar, or one per level."""
        value = jnp.asarray(value).astype(jnp.float32)
        if value.shape not in ((), state.level.shape):
            raise ValueError(
                f"adaptive: value must be a scalar or have the levels' shape {state.level.shape}, got {value.shape}. "
                "Average the metric over examples first."
            )
        count = state.count + 1
        average = state.avg_value + (value - state.avg_value) / count.astype(jnp.float32)
        accumulating = state._replace(count=count, avg_value=average)
        evaluated = self._evaluate(state, average)
        return jax.tree.map(functools.partial(jnp.where, count >= self.accumulation_size), evaluated, accumulating)

    def _evaluate(self, state: AdaptiveState, value: jax.Array) -> AdaptiveState:
        sign = 1 if self.mode == "max" else -1
        score, best = sign * value, sign * state.best_value
        known = jnp.isfinite(best)
        tolerance = self.rtol * jnp.abs(jnp.where(known, best, 0)) + self.atol
        passes = jnp.isfinite(score) & (~known | (score >= best - tolerance))
        held = state.cooldown_count > 0
        failed = jnp.where(passes | held, 0, state.plateau_count + 1)
        back_off = failed >= self.patience
        direction = (passes & ~held).astype(jnp.float32) - back_off.astype(jnp.float32)
        level = state.level + direction * jnp.asarray(self.step, jnp.float32)
        return AdaptiveState(
            level=jnp.clip(level, jnp.asarray(self.start, jnp.float32), jnp.asarray(self.ceiling, jnp.float32)),
            best_value=jnp.where(jnp.isfinite(score) & (score > best), value, state.best_value),
            plateau_count=jnp.where(back_off, 0, failed),
            cooldown_count=jnp.where(held, state.cooldown_count - 1, jnp.where(back_off, self.cooldown, 0)),
            count=jnp.zeros_like(state.count),
            avg_value=jnp.zeros_like(state.avg_value),
        )


def adaptive(
    start: Amount,
    step: Amount,
    ceiling: Amount,
    *,
    patience: int = 2,
    cooldown: int = 0,
    accumulation_size: int = 1,
    rtol: float = 0.01,
    atol: float = 0.0,
    mode: str,
) -> Adaptive:
    """A level that starts small and is raised only while a validation metric stays within tolerance of its best.

    Every `accumulation_size` values, their average is evaluated. It passes if it is finite and at most
    ``rtol * |best| + atol`` worse than the best one so far. The first always passes. With both tolerances 0 the metric
    must equal or improve on its best. The level follows three rules:

    - A pass raises it by `step`.
    - A failure holds it. `patience` consecutive failures lower it by `step`, and the next `cooldown` evaluations hold
      it, whatever their outcome.
    - It stays within [start, ceiling].

    It settles at the level where the metric is just within tolerance, and fluctuates by a step or two. If the tolerance
    is below the standard error of the metric, sqrt(p (1 - p) / n) for an accuracy p on n examples, the level falls back
    by chance. While the model is still learning, its progress may hide the cost of the noise. To detect this cost, use
    ``init(best_value=...)`` with the metric of a run without noise, or a slower rise (a larger accumulation_size, a
    smaller step).

    Args:
      start: the first and lowest level.
      step: the change of the level in one move, above 0.
      ceiling: the highest level, at least `start`. All three are scalars, or arrays for several independent levels.
      patience: the number of consecutive failures that lower the level, at least 1.
      cooldown: the number of evaluations for which a lowered level is held, at least 0.
      accumulation_size: the number of values averaged for one evaluation, at least 1.
      rtol: relative tolerance, in [0, 1].
      atol: absolute tolerance, in the units of the metric, at least 0.
      mode: `'max'` if higher is better (an accuracy), `'min'` if lower is better (a loss).

    Returns:
      An `Adaptive` a: ``s = a.init()`` is its first state, ``s = a.update(s, value=metric)`` the next one, and
      ``s.level`` the level, as for ``nj.bind(nj.gaussian, std=s.level)``. All are pure, and work under jit, scan and
      vmap.

    References:
      The parameters and the state follow `optax.contrib.reduce_on_plateau`. There the tolerance raises the bar for an
      improvement; here it allows a small loss.

    Example:
      >>> import noisejax as nj
      >>> a = nj.adaptive(0.0, 0.1, 0.5, patience=1, mode="max")
      >>> s = a.init()
      >>> for accuracy in (0.80, 0.85, 0.70):
      ...     s = a.update(s, value=accuracy)
      ...     print(f"{s.level:.1f}")
      0.1
      0.2
      0.1
    """
    start, step, ceiling = (
        arithmetic_amount("adaptive", name, amount, inside)
        for name, amount, inside in (
            ("start", start, _checks.real), ("step", step, _checks.positive), ("ceiling", ceiling, _checks.real)
        )
    )  # fmt: skip
    known = all(isinstance(amount, (np.generic, np.ndarray)) for amount in (start, ceiling))
    if known and not np.all(start <= ceiling):
        raise ValueError(f"adaptive: ceiling must be at least start, got start={start} and ceiling={ceiling}.")
    for name, count, least in (
        ("patience", patience, 1), ("cooldown", cooldown, 0), ("accumulation_size", accumulation_size, 1)
    ):  # fmt: skip
        _checks.count("adaptive", name, count, least)
    rtol = _checks.scalar("adaptive", "rtol", rtol, 0, 1)
    atol = _checks.scalar("adaptive", "atol", atol, 0)
    _checks.one_of("adaptive", "mode", mode, ("max", "min"))
    return Adaptive(start, step, ceiling, int(patience), int(cooldown), int(accumulation_size), rtol, atol, mode)


def linear_rates(rate: Amount, depth: int, *, start: Amount = 0.0) -> Any:
    """Rates that grow linearly with depth, for stochastic depth: from `start` at the first block to `rate` at the last.

    Args:
      rate: the last block's rate, in [0, 1]; it may be traced.
      depth: the number of blocks.
      start: the first block's rate: 0, as in timm, or ``rate / depth``, as in the paper.

    Returns:
      float32 rates of shape (depth,), one for each block's `drop_path`: iterate over them, or pass them to a vmapped
      or scanned constructor of layers.

    References:
      Huang et al., "Deep networks with stochastic depth", ECCV 2016.

    Example:
      >>> import noisejax as nj
      >>> [round(float(rate), 2) for rate in nj.linear_rates(0.3, 4)]
      [0.0, 0.1, 0.2, 0.3]
    """
    depth = _checks.count("linear_rates", "depth", depth, 1, "It is the number of blocks.")
    ends = (("start", start), ("rate", rate))
    start, rate = (arithmetic_amount("linear_rates", n, v, _checks.rate) for n, v in ends)
    for name, end in (("start", start), ("rate", rate)):
        if np.shape(end):
            raise ValueError(f"linear_rates: {name} must be one number, got shape {np.shape(end)}.")
    where = np.arange(depth, dtype=np.float32) / np.float32(max(depth - 1, 1))
    if depth == 1:
        where = np.ones(1, np.float32)  # the only block is the last one
    first, last = (v.astype(jnp.float32) if isinstance(v, jax.Array) else np.float32(v) for v in (start, rate))
    return first * (1 - where) + last * where
