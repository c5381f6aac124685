"""Levels that change: by a schedule of the step, or adaptively, raised only while a validation metric allows it."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax._noise import Noise, Schedule, stages


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
    if not found and callable(noise):
        stages("at_step", (noise,))  # a noise of this library must be bound
    elif not found:
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


# Chosen by simulation over five curves of cost, see experiments/adaptive_simulation.py. A higher bar for raising than
# for holding keeps the level from creeping up by chance; the short memory of the scatter forgets the first epochs.
RAISE, LOWER = 0.25, 1.0  # margins that move the level, in standard errors
AVERAGED, REMEMBERED = 8, 4  # at most so many values in the mean, and differences in the scatter
FEW = 20  # a level has seldom settled after fewer values than this


class AdaptiveState(NamedTuple):
    """The state of an adaptive level. All fields are arrays, so it is carried, mapped and saved like other state."""

    level: jax.Array  # the level to use now, float32
    reference: jax.Array  # the metric to compare with: the one passed to `init`, or the best mean less its error
    given: jax.Array  # whether the reference was passed to `init`, bool
    mean: jax.Array  # the running mean of the values since the last move
    count: jax.Array  # the values in this mean, int32, at most 8
    last_value: jax.Array  # the last finite value
    variance: jax.Array  # half the running mean of the squared differences of successive values
    seen: jax.Array  # all finite values so far, int32


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("start", "step", "ceiling"),
    meta_fields=("rtol", "atol", "mode"),
)
@dataclasses.dataclass(frozen=True)
class Adaptive:
    """The rule of an adaptive level, made by `adaptive`: a pytree whose leaves are `start`, `step` and `ceiling`."""

    start: Any
    step: Any
    ceiling: Any
    rtol: float
    atol: float
    mode: str

    def init(self, reference: Amount | None = None) -> AdaptiveState:
        """The initial state.

        Args:
          reference: the metric of a run without noise: a number, or one per level. It never moves. Average the last
            epochs of a run with the same seed and the same validation rows. None warns, and compares with the best mean
            so far.
        """
        shape = jnp.broadcast_shapes(*(jnp.shape(amount) for amount in (self.start, self.step, self.ceiling)))
        given = reference is not None
        if given:
            compared: Any = arithmetic_amount("adaptive", "reference", reference, _checks.real)
        else:
            warnings.warn(
                "adaptive: without a reference, what the model still learns hides the cost of the noise, and the level "
                "often rises to its ceiling. Pass the metric of a run without noise, averaged over its last epochs: "
                "init(reference=...).",
                stacklevel=2,
            )
            compared = -jnp.inf if self.mode == "max" else jnp.inf
        # Each field has a buffer of its own, so that a train step may donate the state.
        return AdaptiveState(
            level=jnp.broadcast_to(jnp.asarray(self.start, jnp.float32), shape).copy(),
            reference=_per_level("reference", compared, shape).copy(),
            given=jnp.full(shape, given),
            mean=jnp.zeros(shape, jnp.float32),
            count=jnp.zeros(shape, jnp.int32),
            last_value=jnp.zeros(shape, jnp.float32),
            variance=jnp.zeros(shape, jnp.float32),
            seen=jnp.zeros(shape, jnp.int32),
        )

    def update(self, state: AdaptiveState, *, value: Amount, error: Amount | None = None) -> AdaptiveState:
        """The state after one more value of the metric.

        Args:
          state: the last state.
          value: the metric of the model trained at ``state.level``: a scalar, or one per level.
          error: the standard error of one value, at least 0. None estimates it from the values.
        """
        value = _per_level("value", value, state.level.shape)
        sign = 1 if self.mode == "max" else -1
        finite = jnp.isfinite(value)
        value = jnp.where(finite, value, state.last_value)
        seen, paired = state.seen + finite.astype(jnp.int32), finite & (state.seen > 0)
        squared = jnp.square(value - state.last_value) / 2
        share = 1 / jnp.clip(state.seen, 1, REMEMBERED).astype(jnp.float32)
        variance = state.variance + jnp.where(paired, (squared - state.variance) * share, 0)
        count = jnp.minimum(state.count + 1, AVERAGED)
        mean = state.mean + (value - state.mean) / count.astype(jnp.float32)
        if error is None:
            known, scatter = finite & (seen > 1), jnp.sqrt(variance)
        else:
            checked: Any = arithmetic_amount("adaptive", "error", error, _checks.nonnegative)
            known, scatter = finite, _per_level("error", checked, state.level.shape)
        of_mean = scatter / jnp.sqrt(count.astype(jnp.float32))

        score, reference = sign * mean, sign * state.reference
        reference = jnp.where(state.given | ~known, reference, jnp.maximum(reference, score - of_mean))
        margin = score - reference + self._tolerance(reference)
        up, down = known & (margin >= RAISE * of_mean), ~finite | (known & (margin < -LOWER * of_mean))
        level = state.level + jnp.asarray(self.step, jnp.float32) * (up.astype(jnp.float32) - down.astype(jnp.float32))
        return AdaptiveState(
            level=jnp.clip(level, jnp.asarray(self.start, jnp.float32), jnp.asarray(self.ceiling, jnp.float32)),
            reference=sign * reference,
            given=state.given,
            mean=mean,
            count=jnp.where(up | down, 0, count),
            last_value=value,
            variance=variance,
            seen=seen,
        )

    def notes(self, state: AdaptiveState) -> list[str]:
        """Reasons to doubt the level of a run that has ended, as sentences; none if there is no reason.

        It looks for a missing reference, fewer than 20 values, scatter above the tolerance, and a level that ended at
        its ceiling. It cannot see an error in the reference. The state must be concrete.
        """
        state = jax.tree.map(np.asarray, state)
        tolerance, scatter = np.asarray(self._tolerance(state.reference)), np.sqrt(state.variance)
        found = []
        if not state.given.all():
            found.append("There is no reference, so what the model learnt has hidden the cost of the noise.")
        if (fewest := state.seen.min(initial=FEW)) < FEW:
            found.append(f"{fewest} values are few: a level seldom settles in fewer than {FEW}.")
        if (scatter > tolerance).any():
            worst = np.argmax(np.ravel(scatter - tolerance))
            found.append(
                f"The scatter of one value, {np.ravel(scatter)[worst]:.2g}, is above the tolerance, "
                f"{np.ravel(np.broadcast_to(tolerance, scatter.shape))[worst]:.2g}. Use more validation rows, or allow "
                "more."
            )
        if (state.level >= np.asarray(self.ceiling, np.float32)).any():
            found.append("The level is at its ceiling, so the metric would allow more.")
        return found

    def _tolerance(self, reference: Any) -> jax.Array:
        return self.rtol * jnp.abs(jnp.where(jnp.isfinite(reference), reference, 0)) + self.atol


def _per_level(name: str, number: Amount, shape: tuple[int, ...]) -> jax.Array:
    number = jnp.asarray(number).astype(jnp.float32)
    if number.shape not in ((), shape):
        raise ValueError(
            f"adaptive: {name} must be a scalar or have the levels' shape {shape}, got {number.shape}. "
            "Average the metric over examples first."
        )
    return jnp.broadcast_to(number, shape)


def adaptive(
    start: Amount, step: Amount, ceiling: Amount, *, rtol: float = 0.01, atol: float = 0.0, mode: str
) -> Adaptive:
    """A level that starts small and is raised only while a validation metric stays within tolerance of a reference.

    Let m be the mean of the values since the last move (at most the last 8 count), n their number, s the standard error
    of one value, and ``e = s / sqrt(n)``. Let ``margin = m - reference + rtol * |reference| + atol``, with the signs of
    m and the reference reversed for ``mode='min'``. After each value:

    - ``margin >= e / 4`` raises the level by `step`.
    - ``margin < -e`` lowers it by `step`, as does a value that is not finite.
    - Otherwise, it holds and goes on averaging.
    - It stays within [start, ceiling].

    If s is not given, ``s**2`` is the running mean of the squared differences of successive values, divided by 2. It
    remembers about four differences, and the first value only starts it. A given reference never moves. Without one,
    the reference is the largest ``m - e`` so far.

    It settles near the level at which noise costs what the tolerance allows, and fluctuates by a few steps: see
    ``docs/results/adaptive-simulation.md`` for its bias and spread. It cannot repair three things:

    - **An error in the reference** is an error in the level. One as large as the tolerance outweighs everything else.
      Average the last epochs of a run without noise, with the same seed and the same validation rows. If you have the
      metric of each of its epochs, compare epoch by epoch: ``a.init(reference=0.0)``, an `atol`, and
      ``a.update(s, value=metric - clean[epoch])``. The level then rises while the model still learns.
    - **A missing reference**: what the model still learns hides the cost of the noise, and the level rises too far.
    - **Fewer than about 20 values** (epochs): the level has no time to settle. Choose a step that reaches the ceiling
      in about half of the values.

    ``a.init()`` warns of a missing reference, and ``a.notes(state)`` tells at the end what to doubt.

    Args:
      start: the first and lowest level.
      step: the change of the level in one move, above 0.
      ceiling: the highest level, at least `start`. All three are scalars, or arrays for several independent levels.
      rtol: relative tolerance, in [0, 1].
      atol: absolute tolerance, in the units of the metric, at least 0.
      mode: `'max'` if higher is better (an accuracy), `'min'` if lower is better (a loss).

    Returns:
      An `Adaptive` a: ``s = a.init(reference=clean)`` is its first state, ``s = a.update(s, value=metric)`` the next
      one, and ``s.level`` the level, as for ``nj.bind(nj.gaussian, std=s.level)``. Both are pure, and work under jit,
      scan and vmap.

    References:
      The difference estimate of s is von Neumann et al., "The mean square successive difference", Annals of
      Mathematical Statistics 12, 1941. The tolerances are named as in `optax.contrib.reduce_on_plateau`.

    Example:
      >>> import noisejax as nj
      >>> a = nj.adaptive(0.0, 0.1, 0.5, rtol=0.02, mode="max")
      >>> s = a.init(reference=0.85)
      >>> for accuracy in (0.84, 0.85, 0.85, 0.79, 0.78):
      ...     s = a.update(s, value=accuracy)
      ...     print(f"{s.level:.1f}")
      0.0
      0.1
      0.2
      0.1
      0.0
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
    rtol = _checks.scalar("adaptive", "rtol", rtol, 0, 1)
    atol = _checks.scalar("adaptive", "atol", atol, 0)
    _checks.one_of("adaptive", "mode", mode, ("max", "min"))
    return Adaptive(start, step, ceiling, rtol, atol, mode)


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
