"""Auto-PGD: an attack that chooses its own steps, as `optax` transforms that watch the loss."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax import _sample
from noisejax._stream import stage
from noisejax.adversarial._attacks.driver import attack, choose_examples
from noisejax.adversarial._options import ApgdOptions, check_options
from noisejax.adversarial._threats.balls import Threat, as_column, divide_or, streams_per_example, words_per_element
from noisejax.adversarial._threats.sparse import L1, last_level

MOMENTUM = 0.75  # the share of the new step; the rest goes on as the last one did


class ApgdState(NamedTuple):
    """What `scale_by_apgd` remembers of each example."""

    count: jax.Array  # how many points have been seen
    step: jax.Array  # the step's size over the first one's, (B,)
    last: Any  # the point before this one, and its loss
    last_value: jax.Array
    best: Any  # the point of the highest loss, its gradient, its loss
    best_grad: Any
    best_value: jax.Array
    checked: jax.Array  # the highest loss at the last checkpoint
    rises: jax.Array  # how many steps since then raised the loss
    reduced: jax.Array  # whether that checkpoint made the step smaller


class SparseApgdState(NamedTuple):
    """What `scale_by_sparse_apgd` remembers of each example."""

    count: jax.Array
    step: jax.Array
    moves: jax.Array  # how many features a step moves, but for ties
    changed: jax.Array  # how many features the best point changed at the last checkpoint
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
    """Auto-PGD: gradient ascent with momentum that halves its steps where the loss no longer rises; no step to choose.

    It starts on the ball's surface with a step of 2 eps, goes back to the best point whenever it makes its steps
    smaller, and returns the point of the highest loss. For `L1` steps are sparse, and how sparse is chosen on the way.

    Args:
      key: a JAX key.
      loss: ``loss(x, *args) -> (B,)``, which is maximised; with eot, ``loss(key, x, *args)``. Of a model:
        ``untargeted(predict)`` for APGD-CE, ``untargeted(predict, dlr)`` for APGD-DLR, and for targets
        ``untargeted(predict, targeted_dlr)`` with args of (labels, targets).
      x: floats of shape (B, ...), inside the bounds.
      threat: what may be done to x, as ``Linf(8 / 255, bounds=(0, 1))``.
      args: arrays with x's leading axis, as (labels,).
      steps: how many gradients are taken. Static.
      random_start: whether to start on the ball's surface, for `L1` from normal draws projected into it; otherwise
        from x.
      restarts, eot: as `attack` has them.
      shrinking: whether the first 30 % of the steps are taken in a ball of 3 eps and the next 30 % in one of 2 eps, as
        AutoAttack does for `L1`. Static.
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
    options.setdefault("keep", "best")
    drawn = start is None and random_start

    def transform(steps, top=None):
        return scale_by_sparse_apgd(steps, top=top) if sparse else scale_by_apgd(steps)

    def surface(threat):
        if sparse:
            return lambda key, x, ids: _projected_normal(threat, key, x, ids)
        return threat.boundary

    first = surface(threat) if drawn else start
    run = functools.partial(attack, loss=loss, x=x, args=args, random_start=random_start, eot=eot)
    if not shrinking:
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
    """Auto-PGD as a transform: the whole step from the gradient of -loss to the next point, with nothing after it.

    It needs the extra arguments ``value``, ``x`` and ``threat``, which `attack` gives. A step goes by ``step`` along
    the threat's steepest direction and is projected; three quarters of it and one quarter of the last step are added.
    At each of the `checkpoints` an example halves its step and goes back to its best point if the loss rose in no more
    than a share rho of the steps since the last one, or if the step was not halved then and the best has not changed.

    Args:
      steps: how many steps will be taken: the checkpoints lie at shares of them. Static.
      rho: the share of rising steps that is enough. Static.

    References:
      Croce and Hein, ICML 2020, algorithm 1, as their code has it.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_apgd(10)
      >>> delta, x, threat = jnp.zeros((1, 2)), jnp.zeros((1, 2)), adversarial.Linf(0.5, bounds=None)
      >>> extra = {"value": jnp.zeros(1), "x": x, "threat": threat}
      >>> tx.update(jnp.array([[0.25, -2.0]]), tx.init(delta), delta, **extra)[0].tolist()
      [[-0.5, 0.5]]
    """
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
        few = rises <= rho * window
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
            last_value=jnp.where(first, 0, value),  # as in the authors' code, which compares the first step's with 0
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
    """Auto-PGD for `L1` as a transform: signs of the largest elements of the gradient, fewer where fewer are enough.

    It needs the extra arguments ``value``, ``x`` and ``threat``, which `attack` gives. Every 4 % of the steps, the
    share of features that a step moves becomes two thirds of those that the best point has changed. If these have
    become fewer by 5 %, the example goes back to its best point with a step of eps, otherwise its step is divided by
    1.5, down to eps / 10.

    Args:
      steps: how many steps will be taken. Static.
      top: the share of features that the first steps move; None for two thirds of those that the start has changed.

    References:
      Croce and Hein, ICML 2021, as their code has it.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_sparse_apgd(100, top=0.5)
      >>> delta, x, threat = jnp.zeros((1, 4)), jnp.zeros((1, 4)), adversarial.L1(1.0, bounds=None)
      >>> extra = {"value": jnp.zeros(1), "x": x, "threat": threat}
      >>> tx.update(jnp.array([[0.25, -2.0, 1.0, 0.0]]), tx.init(delta), delta, **extra)[0].tolist()
      [[0.0, 0.5, -0.5, 0.0]]
    """
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


def checkpoints(steps: int) -> tuple[int, ...]:
    """After how many steps `scale_by_apgd` looks back: at 22 % first, then at distances that shrink by 3 % to 6 %."""
    window, least, smaller = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    found, at = [], window
    while at <= steps:
        found.append(at)
        window = max(window - smaller, least)
        at += window
    return tuple(found)


def _windows(steps: int, points: tuple[int, ...]) -> np.ndarray:
    """For each number of steps taken, the distance to the checkpoint before if it is one, else 0."""
    windows = np.zeros(steps + 1, np.float32)
    windows[list(points)] = np.diff(points, prepend=0)
    return windows


def _seen(name: str, grads, params, value, x, threat) -> tuple:
    """The point, the direction of ascent and the loss; a loss that is NaN is lower than any."""
    if value is None or x is None or threat is None or params is None:
        raise TypeError(f"{name}: update needs params and the extra arguments value=, x= and threat=, as of `attack`.")
    return params, -grads, jnp.where(jnp.isnan(value), -jnp.inf, -value)


def _zero(params) -> jax.Array:
    return jnp.zeros_like(jnp.sum(params, axis=tuple(range(1, params.ndim))))


def _largest_signs(grad: jax.Array, count: jax.Array) -> jax.Array:
    """The sign of the elements that are at least as large as the one of that rank from above; ties are in."""
    size = jnp.abs(grad).reshape(grad.shape[0], -1)
    least = last_level(lambda level: jnp.sum(size >= level, axis=1, keepdims=True) >= as_column(count, size), size)
    return jnp.where(jnp.abs(grad) >= as_column(least[:, 0], grad), jnp.sign(grad), 0)


def _of_share(share: Any, features: int) -> Any:
    """How many of the features are a float32 share of them, rounded as the authors' code does."""
    return features - np.clip((1 - share) * np.float32(features), 0, features - 1).astype(np.int32)


def _moves(features: int) -> np.ndarray:
    """How many features are moved after a number of them has changed: two thirds.

    A third of these numbers are whole, and float32 decides between them and the next. So they are computed here:
    compilers turn divisions by constants into products, round otherwise, and one feature more or less leads elsewhere.
    """
    share = np.arange(features + 1, dtype=np.float32) / np.float32(features) / np.float32(1.5)
    return _of_share(share, features)


def _at(table: np.ndarray, index: jax.Array) -> jax.Array:
    """A table's entries for indices that are floats of shape (B,); by comparison, with no gather over the examples."""
    places = jnp.arange(len(table), dtype=jnp.int32)[None]
    return jnp.sum(jnp.where(index[:, None].astype(jnp.int32) == places, table[None], 0), axis=1, dtype=jnp.int32)


def _projected_normal(threat: Threat, key, x, ids) -> jax.Array:
    fitted = threat.fitted(x)
    return fitted.project(_sample.normal(words_per_element(streams_per_example(key, ids, x), "adversarial.apgd", x)), x)


def _widened(threat: Threat, factor: float) -> Threat:
    wider = copy.copy(threat)
    wider.eps = jnp.asarray(threat.eps, jnp.float32) * factor
    return wider
