"""An evaluation that stops early: a slot whose example is misclassified takes the next example."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax import _checks
from noisejax._random.stream import examples, fold
from noisejax.adversarial._attacks.driver import (
    Best,
    choose_examples,
    is_better,
    keys_of_steps,
    loss_on_batch,
    measure_point,
    take_step,
    worst_start,
)
from noisejax.adversarial._attacks.transforms import for_each_example
from noisejax.adversarial._health import doubt, host_value
from noisejax.adversarial._inputs import check_attack, is_outside, without_outside
from noisejax.adversarial._options import check_transform
from noisejax.adversarial._threats.balls import Threat, as_column, check_ids


class Evaluation(NamedTuple):
    """The result of `evaluate`, for each of N examples.

    Args:
      x: the adversarial examples, float32: the first one that succeeded, or the one with the highest loss if none did.
        NaN for examples that cannot be judged.
      success: whether the attack succeeded, (N,) booleans. It is also True for examples that cannot be judged, so that
        they never pass for robust: those outside their bounds, and those whose loss was not finite on the way.
      steps: the number of gradients for each example, (N,) integers; 0 where x itself is misclassified.
      passes: the number of gradients of a full set of slots, an integer: the total work.
    """

    x: jax.Array
    success: jax.Array
    steps: jax.Array
    passes: jax.Array


class _Slots(NamedTuple):
    index: jax.Array  # which example of the data; N or more for none
    restart: jax.Array
    step: jax.Array
    spent: jax.Array
    delta: jax.Array
    state: Any
    best: Best
    broken: jax.Array  # whether a loss was not finite on the way


def evaluate(
    key: jax.Array,
    tx: optax.GradientTransformation,
    loss: Callable,
    x: jax.Array,
    threat: Threat,
    args: tuple = (),
    *,
    success: Callable,
    steps: int,
    slots: int,
    restarts: int = 1,
    random_start: bool = True,
    eot: int = 0,
    ids: jax.Array | None = None,
) -> Evaluation:
    """Attacks N examples, `slots` at a time, and stops with each example as soon as the attack succeeds on it.

    `attack` takes all steps for all examples. Here a slot takes the next example once the attack on its current one has
    succeeded, or has used up all steps and restarts. So every gradient is that of a full set of slots, except for the
    last examples. It runs as a single loop on the device. Each example follows the same path as in `attack` with
    `success` (up to rounding, and with different eot keys), so the flags are the same.

    Args:
      key: a JAX key.
      tx: an optax transform of the perturbation, as for `attack`. It must not close over arrays with an axis of
        examples, which it receives as the extra arguments ``x`` and ``threat``. `scale_by_reach` takes steps relative
        to the eps of each example.
      loss: ``loss(x, *args) -> (slots,)``, maximized; with eot ``loss(key, x, *args)``.
      x: the clean examples, floats of shape (N, ...), inside the threat's bounds.
      threat: the perturbations that are allowed.
      args: arrays with x's leading axis, such as labels.
      success: ``success(x, *args) -> (slots,)`` booleans, such as ``misclassified(predict)``; with eot
        ``success(key, x, *args)``, which must hold for more than half of the keys.
      steps: the number of steps for each example in each restart. All arguments from here on are static, except `ids`.
      slots: the number of examples that are attacked at a time.
      restarts: the number of successive attacks on an example that stays correctly classified.
      random_start: whether to start from ``threat.sample``; otherwise from x.
      eot: the number of keys over which loss and success are averaged.
      ids: integers of shape (N,). The starts of example i depend only on ``(key, ids[i])``.

    Returns:
      An `Evaluation`. Outside jit, a warning counts the examples whose loss was not finite on the way.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import adversarial
      >>> predict = lambda x: jnp.concatenate([x, 1 - x], axis=1)
      >>> x, y = jnp.linspace(0.1, 0.9, 9)[:, None], jnp.array([1] * 5 + [0] * 4)
      >>> result = adversarial.evaluate(
      ...     jax.random.key(0),
      ...     optax.chain(adversarial.scale_by_steepest(), adversarial.scale_by_reach(0.25)),
      ...     adversarial.untargeted(predict),
      ...     x,
      ...     adversarial.Linf(0.15, bounds=(0, 1)),
      ...     args=(y,),
      ...     success=adversarial.misclassified(predict),
      ...     steps=10,
      ...     slots=3,
      ... )
      >>> result.success.astype(int).tolist()
      [0, 0, 0, 1, 1, 1, 0, 0, 0]
    """
    x = check_attack("evaluate", key, loss, x, threat, args, steps=steps, restarts=restarts, eot=eot)
    check_transform("evaluate", tx)
    _checks.count("evaluate", "slots", slots, 1, "It is static.")
    random_start = _checks.flag("evaluate", "random_start", random_start)
    _checks.function("evaluate", "success", success, "success(x, *args) -> (B,) booleans")
    count = x.shape[0]
    if not count:
        raise ValueError(f"evaluate: x must hold at least one example, got shape {x.shape}.")
    slots = min(int(slots), count)
    data = jax.lax.stop_gradient((x, threat.fitted(x), jax.tree.map(jnp.asarray, args)))
    if not eot:
        _warn_of_batch(loss, x, args)
    ids = check_ids("evaluate", ids, x)
    ids = examples(key, count) if ids is None else ids
    tx = for_each_example(tx)
    trials = keys_of_steps(key, eot)

    def gathered(index):
        """The data of the slots: all leaves with an axis of examples, gathered."""
        place = jnp.minimum(index, count - 1)
        return jax.tree.map(lambda leaf: leaf[place] if np.shape(leaf)[:1] == (count,) else leaf, data)

    def functions(x, args):
        return loss_on_batch("evaluate", loss, x, args, eot), loss_on_batch("evaluate success", success, x, args, eot)

    def filled(index, restart):
        x, threat, _ = gathered(index)
        if not random_start:
            return jnp.zeros_like(x), tx.init(x)
        starts = jax.vmap(lambda restart: fold(key, restart))(restart)
        ids_now = ids[jnp.minimum(index, count - 1)]
        return _sampled(threat, starts, x, ids_now), tx.init(x)

    def clean(order):
        """Which examples are misclassified without an attack, in groups of `slots`."""
        x, _, args = gathered(order)
        return measure_point(*functions(x, args), x, trials(-1 - jnp.min(order) // slots)).success

    whole = -(-count // slots)
    fallen = jax.lax.map(clean, jnp.arange(whole * slots, dtype=jnp.int32).reshape(whole, slots)).reshape(-1)[:count]
    outside = is_outside(threat, data[0])
    fallen = fallen if outside is None else fallen | outside
    queue = jnp.argsort(fallen, stable=True).astype(jnp.int32)  # examples that have to be attacked come first
    waiting = jnp.sum(~fallen, dtype=jnp.int32)

    def taken(number):
        return jnp.where(number < waiting, queue[jnp.minimum(number, count - 1)], count)

    index = taken(jnp.arange(slots, dtype=jnp.int32))
    zero = jnp.zeros(slots, jnp.int32)
    first = _Slots(index, zero, zero, zero, *filled(index, zero), worst_start(gathered(index)[0]), zero > 0)
    result = Evaluation(without_outside(threat, data[0], data[0]), fallen, jnp.zeros(count, jnp.int32), jnp.int32(0))

    def unfinished(carry):
        now, _, _ = carry
        return jnp.any(now.index < count)

    def advance(carry):
        now, result, following = carry
        x, threat, args = gathered(now.index)
        values, held = functions(x, args)
        trial = trials(result.passes)

        def objective(delta):
            each = values(trial, threat.perturbed(x, delta))
            return -jnp.sum(each), each

        grads, each = jax.grad(objective, has_aux=True)(now.delta)
        seen = measure_point(values, held, threat.perturbed(x, now.delta), trial)
        best = choose_examples(is_better(seen, now.best), seen, now.best)
        broken = now.broken | ~jnp.isfinite(each) | ~jnp.isfinite(seen.value)
        over = now.step >= steps
        leaves = (now.index < count) & (seen.success | (over & (now.restart >= restarts - 1)))
        delta, state = take_step(tx, threat, x, now.delta, now.state, grads, each)
        now = now._replace(
            delta=delta,
            state=state,
            best=best,
            step=now.step + 1,
            spent=now.spent + (~over).astype(jnp.int32),
            broken=broken,
        )
        again = over | leaves
        carry = now, result._replace(passes=result.passes + 1), following
        return jax.lax.cond(jnp.any(again), lambda carry: renewed(carry, leaves, again), lambda carry: carry, carry)

    def renewed(carry, leaves, again):
        now, result, following = carry
        place = jnp.where(leaves, now.index, count)  # the others are out of range and dropped
        unjudged = now.broken & ~now.best.success
        x_adv = jnp.where(as_column(unjudged, now.best.x), jnp.nan, now.best.x)
        result = result._replace(
            x=result.x.at[place].set(x_adv, mode="drop"),
            success=result.success.at[place].set(now.best.success | unjudged, mode="drop"),
            steps=result.steps.at[place].set(now.spent, mode="drop"),
        )
        number = following + jnp.cumsum(leaves, dtype=jnp.int32) - 1
        index = jnp.where(leaves, taken(number), now.index)
        restart = jnp.where(leaves, 0, now.restart + again.astype(jnp.int32))
        fresh = filled(index, restart)
        delta, state = choose_examples(again, fresh, (now.delta, now.state))
        best = choose_examples(leaves, worst_start(gathered(index)[0]), now.best)
        now = _Slots(
            index,
            restart,
            jnp.where(again, 0, now.step),
            jnp.where(leaves, 0, now.spent),
            delta,
            state,
            best,
            jnp.where(leaves, False, now.broken),
        )
        return now, result, following + jnp.sum(leaves, dtype=jnp.int32)

    carry = first, result, jnp.int32(slots)
    result = jax.lax.stop_gradient(jax.lax.while_loop(unfinished, advance, carry)[1])
    doubt("evaluate", jnp.any(jnp.isnan(result.x), axis=tuple(range(1, x.ndim))))
    return result


def _sampled(threat, starts, x, ids):
    """The same draws as ``threat.sample(start, x, ids)``, with a separate start for each slot."""

    def single(start, x, threat, number):
        x = x[None]
        return threat.project(threat.sample(start, x, number[None]), x)[0]

    count = x.shape[0]
    axes = jax.tree.map(lambda leaf: 0 if np.ndim(leaf) and np.shape(leaf)[0] == count else None, threat)
    lifted = jax.tree.map(
        lambda along, leaf: leaf if along is None else leaf[:, None], axes, threat, is_leaf=lambda leaf: leaf is None
    )
    return jax.vmap(single, in_axes=(0, 0, axes, 0))(starts, x, lifted, ids)


def _warn_of_batch(loss: Callable, x: jax.Array, args: tuple) -> None:
    """Warns if the loss of an example depends on the others of its batch, by two calls on at most 16 examples.

    Only where the examples are known: a compiled function cannot warn, and would pay for the calls every time.
    """
    if len(x) < 2 or any(host_value(leaf) is None for leaf in jax.tree.leaves((x, args))):
        return
    order = np.arange(min(len(x), 8))

    def asked(index, points):
        values = loss_on_batch("evaluate", loss, points, jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], args), 0)
        return host_value(values(None, points))

    few = x[order]
    alone = asked(order, few)
    among = asked(np.concatenate([order[::-1], order]), jnp.concatenate([few[::-1], jnp.flip(few, axis=-1)]))
    if alone is None or among is None:  # inside jit, where even constants are traced
        return
    among = among[: len(order)][::-1]
    known = np.isfinite(alone) & np.isfinite(among)
    apart = np.max(np.abs(np.where(known, alone, 0) - np.where(known, among, 0)))
    if apart > 1e-3 * np.max(np.abs(alone), initial=0, where=known):
        warnings.warn(
            "evaluate: the loss of an example depends on the other examples of its batch, so the result depends on how "
            "examples are batched. BatchNorm in train mode does this: use eval mode.",
            UserWarning,
            stacklevel=3,
        )
