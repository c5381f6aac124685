"""Auto-PGD: an attack that adapts its step size, as `optax` transforms that monitor the loss."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax import _checks
from noisejax._random import sample
from noisejax._random.stream import stage
from noisejax.adversarial._attacks.driver import choose_examples, run_attack
from noisejax.adversarial._losses import climbed
from noisejax.adversarial._options import ApgdOptions, check_options, one_amount, share
from noisejax.adversarial._threats.balls import Threat, as_column, divide_or, streams_per_example, words_per_element
from noisejax.adversarial._threats.sparse import L1, last_level

MOMENTUM = 0.75  # the share of the new step; the rest repeats the previous one


class ApgdState(NamedTuple):
    """The state of `scale_by_apgd`, for each example."""

    count: jax.Array  # the number of points so far
    step: jax.Array  # the step size divided by the first one, (B,)
    last: Any  # the previous point and its loss
    last_value: jax.Array
    best: Any  # the point with the highest loss, its gradient and its loss
    best_grad: Any
    best_value: jax.Array
    checked: jax.Array  # the highest loss at the last checkpoint
    rises: jax.Array  # how many steps since then increased the loss
    reduced: jax.Array  # whether that checkpoint reduced the step size


class SparseApgdState(NamedTuple):
    """The state of `scale_by_sparse_apgd`, for each example."""

    count: jax.Array
    step: jax.Array
    moves: jax.Array  # how many features a step moves, apart from ties
    changed: jax.Array  # how many features differed in the best point at the last checkpoint
    best: Any
    best_grad: Any
    best_value: jax.Array


def apgd(
    key: jax.Array,
    loss: Any,
    x: jax.Array,
    threat: Threat,
    args: tuple = (),
    *,
    steps: int = 100,
    random_start: bool = True,
    restarts: int = 1,
    eot: int = 0,
    shrinking: bool = False,
    start: jax.Array | Callable | None = None,
    **options: Unpack[ApgdOptions],
) -> jax.Array:
    """Auto-PGD: gradient ascent with momentum, which halves its step size when the loss stops increasing.

    There is no step size to choose. The attack starts on the surface of the ball with a step of 2 eps, returns to the
    best point whenever it reduces the step size, and returns the point with the highest loss. For `L1` the steps are
    sparse, and their sparsity is adapted during the attack.

    Args:
      key: a JAX key.
      loss: ``loss(x, *args) -> (B,)``, which is maximized; with eot, ``loss(key, x, *args)``. For a model, use
        ``untargeted(predict)``, ``untargeted(predict, dlr)`` (APGD-DLR), or for targets
        ``untargeted(predict, targeted_dlr)`` with (labels, targets) as args. ``untargeted(predict, cross_entropy)`` is
        APGD-CE as published, which fails where the cross-entropy saturates.
      x: floats of shape (B, ...), inside the bounds.
      threat: the allowed perturbations, such as ``Linf(8 / 255, bounds=(0, 1))``.
      args: arrays with x's leading axis, such as (labels,).
      steps: the number of gradients. Static.
      random_start: whether to start on the surface of the ball (for `L1`, from normal draws projected into the ball);
        otherwise from x.
      restarts, eot: as in `attack`.
      shrinking: whether the first 30 % of the steps use a ball of 3 eps and the next 30 % a ball of 2 eps, as in
        AutoAttack for `L1`. Static.
      start: the perturbation to start from, or a function that draws one, as in `attack`. It overrides `random_start`.
      **options: `success`, `keep` (here `'best'`), `ids`, `unroll` and `limit`, as in `attack`.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient.

    References:
      Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
      attacks", ICML 2020; for `L1`, "Mind the box: l1-APGD for sparse adversarial attacks", ICML 2021.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> predict = lambda x: x @ jnp.array([[1.0, -1.0, 0.0], [0.5, 0.0, -1.0]])
      >>> x, y = jnp.array([[0.5, 0.5], [0.25, 0.5]]), jnp.array([0, 1])
      >>> @jax.jit
      ... def attack(key, x, y, eps):
      ...     loss = adversarial.untargeted(predict, adversarial.dlr)
      ...     return adversarial.apgd(key, loss, x, adversarial.Linf(eps, bounds=(0, 1)), args=(y,), steps=20)
      >>> attack(jax.random.key(0), x, y, 0.25).shape
      (2, 2)
    """
    sparse = isinstance(threat, L1)
    check_options(apgd, options, ApgdOptions)
    _check_steps("apgd", steps)
    options.setdefault("keep", "best")
    random_start = _checks.flag("apgd", "random_start", random_start)
    drawn = start is None and random_start

    def transform(steps, top=None):
        return scale_by_sparse_apgd(steps, top=top) if sparse else scale_by_apgd(steps)

    def surface(threat):
        if sparse:
            return lambda key, x, ids: _projected_normal(threat, key, x, ids)
        return threat.boundary

    first = surface(threat) if drawn and isinstance(threat, Threat) else start  # the driver objects to other threats
    run = functools.partial(
        run_attack, "apgd", loss=climbed(loss, eot), x=x, args=args, random_start=random_start, eot=eot
    )
    if not _checks.flag("apgd", "shrinking", shrinking):
        tx = transform(steps, 0.2 if drawn else None)
        return run(key, tx, threat=threat, steps=steps, start=first, restarts=restarts, **options)
    part = math.ceil(0.3 * steps)

    def descended(key: Any, x, ids):
        """The perturbation that the attacks in the wider balls lead to."""
        before = surface(_widened(threat, 3.0))(key, x, ids) if drawn else start
        kept: Any = {name: value for name, value in options.items() if name in ("ids", "unroll")}
        for factor in (3.0, 2.0):
            place: Any = stage(key, "adversarial", f"apgd.{factor}")
            wider = _widened(threat, factor)
            there = run(place, transform(part), threat=wider, steps=part, start=before, keep="best", **kept)
            before = there - x
        return before

    rest = max(steps - 2 * part, 0)
    return run(key, transform(rest), threat=threat, steps=rest, start=descended, restarts=restarts, **options)


def scale_by_apgd(steps: int, rho: float = 0.75) -> optax.GradientTransformationExtraArgs:
    """Auto-PGD as a transform: it maps the gradient of -loss to the complete update, and needs no further transform.

    It needs the extra arguments ``value``, ``x`` and ``threat``, which `attack` passes. A step moves by ``step`` along
    the threat's steepest direction and is projected. The update adds three quarters of it and one quarter of the
    previous step. At each checkpoint an example halves its step size and returns to its best point under either of two
    conditions: the loss increased in at most a share rho of the steps since the last checkpoint; or the last checkpoint
    did not halve the step size, and the best loss has not changed since.

    Args:
      steps: the total number of steps, which sets the checkpoints. Static.
      rho: the share of steps that must increase the loss. Static.

    References:
      Croce and Hein, ICML 2020, algorithm 1, as implemented in their code.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_apgd(10)
      >>> delta, x, threat = jnp.zeros((1, 2)), jnp.zeros((1, 2)), adversarial.Linf(0.5, bounds=None)
      >>> extra = {"value": jnp.zeros(1), "x": x, "threat": threat}
      >>> tx.update(jnp.array([[0.25, -2.0]]), tx.init(delta), delta, **extra)[0].tolist()
      [[-0.5, 0.5]]
    """
    _check_steps("scale_by_apgd", steps)
    most = one_amount("scale_by_apgd", "rho", rho)
    windows = _windows(steps, checkpoints(steps))

    def init(params):
        zeros, none = jnp.zeros_like(params), _zero(params)
        return ApgdState(
            count=jnp.int32(0),
            step=none + 1,
            last=zeros,
            last_value=none,
            best=zeros,
            best_grad=zeros,
            best_value=none,
            checked=none,
            rises=none,
            reduced=none == 0,
        )

    def update(updates, state, params=None, *, value: Any = None, x: Any = None, threat: Any = None, **extra):
        del extra
        delta, ascent, value = _seen("scale_by_apgd", updates, params, value, x, threat)
        first = state.count == 0
        best, best_grad, best_value = choose_examples(
            first | (value > state.best_value),
            (delta, ascent, value),
            (state.best, state.best_grad, state.best_value),
        )
        checked = jnp.where(first, value, state.checked)
        rises = state.rises + (~first & (value > state.last_value)).astype(value.dtype)
        window = jnp.asarray(windows)[jnp.minimum(state.count, len(windows) - 1)]
        check = window > 0
        few = rises <= most * window
        stuck = ~state.reduced & (checked >= best_value)
        back = check & (few | stuck)
        step = jnp.where(back, state.step / 2, state.step)
        here, ascent = choose_examples(back, (best, best_grad), (delta, ascent))
        moved = here + as_column(2 * step, x) * threat.reach(x) * threat.steepest(ascent, x, here)
        moved = threat.project(moved, x)
        share = jnp.where(first, 1.0, MOMENTUM)
        target = here + share * (moved - here) + (1 - share) * (here - state.last)
        state = ApgdState(
            count=state.count + 1,
            step=step,
            last=here,
            last_value=jnp.where(first, 0, value),  # the authors' code compares the first step with 0
            best=best,
            best_grad=best_grad,
            best_value=best_value,
            checked=jnp.where(check, best_value, checked),
            rises=jnp.where(check, 0, rises),
            reduced=jnp.where(check, back, state.reduced),
        )
        return target - delta, state

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_sparse_apgd(steps: int, top: float | None = None) -> optax.GradientTransformationExtraArgs:
    """Auto-PGD for `L1` as a transform: steps along the signs of the largest gradient elements, with adapted sparsity.

    It needs the extra arguments ``value``, ``x`` and ``threat``, which `attack` passes. Every 4 % of the steps, the
    number of features that a step moves is set to two thirds of the number that differ in the best point. If that
    number has dropped by 5 %, the example returns to its best point with a step of eps. Otherwise its step is divided
    by 1.5, down to eps / 10.

    Args:
      steps: the total number of steps. Static.
      top: the share of features that the first steps move; None for two thirds of the features that the start changes.
        Static.

    References:
      Croce and Hein, ICML 2021, as implemented in their code.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_sparse_apgd(100, top=0.5)
      >>> delta, x, threat = jnp.zeros((1, 4)), jnp.zeros((1, 4)), adversarial.L1(1.0, bounds=None)
      >>> extra = {"value": jnp.zeros(1), "x": x, "threat": threat}
      >>> tx.update(jnp.array([[0.25, -2.0, 1.0, 0.0]]), tx.init(delta), delta, **extra)[0].tolist()
      [[0.0, 0.5, -0.5, 0.0]]
    """
    _check_steps("scale_by_sparse_apgd", steps)
    if top is not None:
        top = _checks.scalar("scale_by_sparse_apgd", "top", top)
        share("scale_by_sparse_apgd", "top", top)
    every = max(int(0.04 * steps), 1)

    def init(params):
        zeros, none = jnp.zeros_like(params), _zero(params)
        return SparseApgdState(jnp.int32(0), none + 1, none.astype(jnp.int32), none, zeros, zeros, none)

    def update(updates, state, params=None, *, value: Any = None, x: Any = None, threat: Any = None, **extra):
        del extra
        delta, ascent, value = _seen("scale_by_sparse_apgd", updates, params, value, x, threat)
        features = math.prod(x.shape[1:])
        first = state.count == 0
        best, best_grad, best_value = choose_examples(
            first | (value > state.best_value),
            (delta, ascent, value),
            (state.best, state.best_grad, state.best_value),
        )
        changed = jnp.sum(best != 0, axis=tuple(range(1, x.ndim))).astype(jnp.float32)
        fewer = _at(_moves(features), changed)
        if top is None:
            moves, before = fewer, changed
        else:
            moves = jnp.full_like(state.moves, _of_share(np.float32(top), features))
            before = jnp.full_like(value, features)
        moves, before = jnp.where(first, moves, state.moves), jnp.where(first, before, state.changed)
        check = (state.count > 0) & (state.count % every == 0)
        back = check & (changed < 0.95 * before)
        step = jnp.where(check, jnp.where(back, 1, jnp.maximum(state.step / 1.5, 0.1)), state.step)
        moves = jnp.where(check, fewer, moves)
        here, ascent = choose_examples(back, (best, best_grad), (delta, ascent))
        signs = _largest_signs(ascent, moves)
        reach = threat.reach(x)
        target = here + as_column(step, x) * reach * divide_or(signs, as_column(threat.norm(signs), x))
        state = SparseApgdState(
            count=state.count + 1,
            step=step,
            moves=moves,
            changed=jnp.where(check, changed, before),
            best=best,
            best_grad=best_grad,
            best_value=best_value,
        )
        return target - delta, state

    return optax.GradientTransformationExtraArgs(init, update)


_MOST_STEPS = 2**24  # there is a number for each in a table


def _check_steps(name: str, steps: Any) -> None:
    if not isinstance(steps, (int, np.integer)) or isinstance(steps, bool) or not 0 <= steps <= _MOST_STEPS:
        raise ValueError(
            f"{name}: steps must be an integer, at least 0 and at most {_MOST_STEPS}, got {steps!r}. It is static."
        )


def checkpoints(steps: int) -> tuple[int, ...]:
    """The checkpoints of `scale_by_apgd`: first at 22 % of the steps, then at distances that shrink by 3 % to 6 %."""
    window, least, smaller = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    found, at = [], window
    while at <= steps:
        found.append(at)
        window = max(window - smaller, least)
        at += window
    return tuple(found)


def _windows(steps: int, points: tuple[int, ...]) -> np.ndarray:
    """For each number of steps, the distance to the previous checkpoint if it is a checkpoint, else 0."""
    windows = np.zeros(steps + 1, np.float32)
    windows[list(points)] = np.diff(points, prepend=0)
    return windows


def _seen(name: str, grads, params, value, x, threat) -> tuple:
    """The point, the direction of ascent and the loss; a NaN loss counts as -inf."""
    if value is None or x is None or threat is None or params is None:
        raise TypeError(
            f"{name}: update needs params and the extra arguments value=, x= and threat=, which `attack` passes."
        )
    return params, -grads, jnp.where(jnp.isnan(value), -jnp.inf, -value)


def _zero(params) -> jax.Array:
    return jnp.zeros_like(jnp.sum(params, axis=tuple(range(1, params.ndim))))


def _largest_signs(grad: jax.Array, count: jax.Array) -> jax.Array:
    """The signs of the `count` largest elements, ties included; 0 elsewhere."""
    size = jnp.abs(grad).reshape(grad.shape[0], -1)
    least = last_level(lambda level: jnp.sum(size >= level, axis=1, keepdims=True) >= as_column(count, size), size)
    return jnp.where(jnp.abs(grad) >= as_column(least[:, 0], grad), jnp.sign(grad), 0)


def _of_share(share: Any, features: int) -> Any:
    """The number of features in a float32 share of them, rounded as in the authors' code."""
    return features - np.clip((1 - share) * np.float32(features), 0, features - 1).astype(np.int32)


def _moves(features: int) -> np.ndarray:
    """The number of features to move for each number of changed features: two thirds of it.

    A third of these values are whole numbers, where float32 rounding decides. So the table is computed in NumPy:
    compilers replace divisions by constants with products, which round differently, and one feature more or less
    changes the attack.
    """
    share = np.arange(features + 1, dtype=np.float32) / np.float32(features) / np.float32(1.5)
    return _of_share(share, features)


def _at(table: np.ndarray, index: jax.Array) -> jax.Array:
    """Looks up a table at float indices of shape (B,), by comparison: no gather over the examples."""
    places = jnp.arange(len(table), dtype=jnp.int32)[None]
    return jnp.sum(jnp.where(index[:, None].astype(jnp.int32) == places, table[None], 0), axis=1, dtype=jnp.int32)


def _projected_normal(threat: Threat, key, x, ids) -> jax.Array:
    fitted = threat.fitted(x)
    return fitted.project(sample.normal(words_per_element(streams_per_example(key, ids, x), "adversarial.apgd", x)), x)


def _widened(threat: Threat, factor: float) -> Threat:
    wider = copy.copy(threat)
    wider.eps = jnp.asarray(threat.eps, jnp.float32) * factor
    return wider
