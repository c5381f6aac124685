"""The driver of gradient attacks: an optax transform maximizes the loss of a perturbation inside a threat."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from noisejax import _checks
from noisejax._random.stream import fold, keys, stage
from noisejax.adversarial._health import doubt
from noisejax.adversarial._inputs import check_attack, without_outside
from noisejax.adversarial._options import check_amount, check_transform
from noisejax.adversarial._outputs import check_values
from noisejax.adversarial._threats.balls import Threat, as_column, check_ids

# The time to compile unrolled steps grows with their number. With 100 of them, a small convnet gains in its first run
# what their compilation costs.
MOST_UNROLLED = 100


class Best(NamedTuple):
    """The best adversarial example so far, for each example of the batch."""

    x: jax.Array
    value: jax.Array  # its loss, (B,)
    success: jax.Array  # whether it reached the goal, (B,)


def attack(
    key: jax.Array,
    tx: optax.GradientTransformation,
    loss: Callable,
    x: jax.Array,
    threat: Threat,
    args: tuple = (),
    *,
    steps: int,
    random_start: bool = True,
    restarts: int = 1,
    eot: int = 0,
    success: Callable | None = None,
    keep: Literal["last", "best"] = "last",
    lookahead: Callable | None = None,
    start: jax.Array | Callable | None = None,
    ids: jax.Array | None = None,
    unroll: int | None = None,
    limit: int | jax.Array | None = None,
) -> jax.Array:
    """Maximizes the loss of each example inside a threat, with any optax transform.

    This is the driver behind `pgd` and similar attacks. The perturbation plays the role of the parameters. In each
    step the transform receives the gradient of -loss (optax minimizes), and the updated perturbation is projected. The
    whole attack is a scan. Call it inside `jax.jit`; eps, step sizes and args may be traced. Outside jit it is traced
    again in every call.

    Results do not depend on the number of devices. With `ids` they do not depend on how a data set is split into
    batches either. A gradient that is not finite counts as 0, and a NaN loss is never preferred. Outside jit, a warning
    counts the examples with losses that are not finite, and those whose gradients are all 0.

    Args:
      key: a JAX key.
      tx: an optax transform of the perturbation, an array of x's shape. It receives the extra arguments ``value``
        (-loss of each example, of shape (B,)), ``x`` (the clean examples) and ``threat``.
      loss: ``loss(x, *args) -> (B,)``, the loss of each example, which is maximized; with eot, ``loss(key, x, *args)``.
      x: the clean examples, floats of shape (B, ...), inside the threat's bounds.
      threat: the perturbations that are allowed.
      args: arrays with x's leading axis, such as labels.
      steps: the number of steps. All arguments from here on are static, except `start`, `ids` and `limit`.
      random_start: whether to start from ``threat.sample``; otherwise from x.
      restarts: the number of attacks that run in parallel from different starts. The best result of each example is
        returned. Restart 0 draws the same numbers as a single attack, so more restarts never give a worse result.
      eot: the number of keys over which the loss is averaged (expectation over transformation), for models that draw
        noise; 0 for a loss without a key. Each step uses new keys. Within a step all examples and all restarts share
        them (common random numbers), so that differences between losses are not due to different draws.
      success: ``success(x, *args) -> (B,)`` booleans, or with eot ``success(key, x, *args)``, which must hold for more
        than half of the keys. Once an example succeeds, that result is kept. A model that `success` and `loss` share
        is evaluated once, since XLA merges equal computations.
      keep: `'last'` returns the example of the last step (with `success`, of the last step at which it held), which is
        the definition of PGD. `'best'` returns the example with the highest loss of all steps, including the start and
        the end (with `success`, among those for which it held, if any).
      lookahead: ``lookahead(delta, state) -> delta`` gives the point at which the gradient is taken; None for delta
        itself. NI-FGSM uses it. The point may lie outside the bounds.
      start: the perturbation to start from, of x's shape, or a function ``start(key, x, ids)`` that draws one in each
        restart, such as ``threat.boundary``. It overrides `random_start`.
      ids: integers of shape (B,). The start of example i depends only on ``(key, ids[i])``.
      unroll: how many steps of the scan are unrolled. None unrolls all of up to 100 on a CPU if the loss convolves,
        since convolutions inside a loop are slow there, and otherwise none. With `limit` it has no effect.
      limit: the attack stops after this many of its steps: an integer, which may be traced. None for all of them.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient. Inside jit, an example of x
      that lies outside the bounds becomes NaN; outside jit it is an error.

    References:
      Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018. EOT: Athalye et al.,
      "Synthesizing robust adversarial examples", ICML 2018.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import adversarial
      >>> tx = optax.chain(optax.scale_by_sign(), optax.scale(-0.0625))
      >>> def loss(x, y):
      ...     return jnp.where(y == 1, -x.sum(-1), x.sum(-1))
      >>> x, y = jnp.full((2, 3), 0.5), jnp.array([0, 1])
      >>> threat = adversarial.Linf(0.125, bounds=(0, 1))
      >>> adversarial.attack(jax.random.key(0), tx, loss, x, threat, (y,), steps=10)[:, 0].tolist()
      [0.625, 0.375]
    """
    return run_attack(
        "attack",
        key,
        tx,
        loss,
        x,
        threat,
        args,
        steps=steps,
        random_start=random_start,
        restarts=restarts,
        eot=eot,
        success=success,
        keep=keep,
        lookahead=lookahead,
        start=start,
        ids=ids,
        unroll=unroll,
        limit=limit,
    )


def run_attack(
    name: str,
    key: Any,
    tx: optax.GradientTransformation,
    loss: Callable,
    x: Any,
    threat: Threat,
    args: tuple = (),
    *,
    steps: int,
    random_start: bool = True,
    restarts: int = 1,
    eot: int = 0,
    success: Callable | None = None,
    keep: str = "last",
    lookahead: Callable | None = None,
    start: Any = None,
    ids: Any = None,
    unroll: int | None = None,
    limit: Any = None,
) -> jax.Array:
    """`attack` on behalf of the function `name`, which heads its errors and warnings."""
    x = check_attack(name, key, loss, x, threat, args, steps=steps, restarts=restarts, eot=eot)
    random_start = _checks.flag(name, "random_start", random_start)
    check_transform(name, tx)
    for what, function in (("success", success), ("lookahead", lookahead)):
        if function is not None:
            _checks.function(name, what, function, "of the arguments that the documentation shows")
    _checks.one_of(name, "keep", keep, ("last", "best"))
    if limit is not None:
        limit = _checks.operand(name, "limit", limit, ndim=0, integers=True)
        check_amount(name, "limit", limit)
    if start is not None and not callable(start):
        start = jnp.asarray(_checks.operand(name, "start", start)).astype(jnp.float32)
        _checks.broadcastable(name, "start", start.shape, x.shape)
    ids = check_ids(name, ids, x)
    threat = threat.fitted(x)
    x, threat = jax.lax.stop_gradient((x, threat))
    tx = optax.with_extra_args_support(tx)
    values = loss_on_batch(name, loss, x, args, eot)
    held = None if success is None else loss_on_batch(f"{name} success", success, x, args, eot)
    trials = keys_of_steps(key, eot)
    unroll = steps_unrolled(name, unroll, steps, lambda x: values(trials(0), x), x)
    tracks = keep == "best" or success is not None or restarts > 1

    def judge(best: Best | None, point, step):
        now = measure_point(values, held, point, trials(step))
        return now if best is None else _settle(best, now, keep)

    def restart(number):
        if start is None:
            delta = threat.sample(fold(key, number), x, ids) if random_start else jnp.zeros_like(x)
        elif callable(start):
            delta = jnp.asarray(start(fold(key, number), x, ids))
        else:
            delta = jnp.broadcast_to(start, x.shape)
        delta = threat.project(delta, x)

        def body(carry, step):
            delta, state, best, broken, flat = carry

            def objective(delta):
                point = threat.perturbed(x, delta) if lookahead is None else threat.ahead(x, lookahead(delta, state))
                each = values(trials(step), point)
                return -jnp.sum(each), each

            grads, each = jax.grad(objective, has_aux=True)(delta)
            if best is not None:
                best = judge(best, threat.perturbed(x, delta), step)
            broken, flat = broken | ~jnp.isfinite(each), flat & is_flat(threat, grads)
            delta, state = take_step(tx, threat, x, delta, state, grads, each)
            return (delta, state, best, broken, flat), None

        best = worst_start(x) if keep == "best" or success is not None else None
        never = jnp.zeros_like(worst_start(x).success)
        carry = delta, tx.init(jnp.zeros_like(x)), best, never, ~never
        if steps == 1 and limit is None:  # one turn of a loop is still a loop, in which convolutions are slow on CPUs
            (delta, _, best, broken, flat), _ = body(carry, jnp.int32(0))
        elif limit is not None:
            count = jnp.minimum(limit, steps)
            delta, _, best, broken, flat = jax.lax.fori_loop(0, count, lambda step, c: body(c, step)[0], carry)
            flat = flat & (count > 0)
        else:
            (delta, _, best, broken, flat), _ = jax.lax.scan(body, carry, jnp.arange(steps), unroll=unroll)
            flat = flat & (steps > 0)
        point = threat.perturbed(x, delta)
        if not tracks:
            return Best(point, *worst_start(x)[1:]), broken, flat
        now = judge(None, point, steps)
        return (now if best is None else _settle(best, now, keep)), broken | ~jnp.isfinite(now.value), flat

    if restarts == 1:
        best, broken, flat = restart(jnp.int32(0))
    else:
        many, broken, flat = jax.vmap(restart)(jnp.arange(restarts))
        best, broken, flat = _best_of(many), jnp.any(broken, axis=0), jnp.all(flat, axis=0)
    doubt(name, broken & ~best.success, flat & ~best.success)
    return without_outside(threat, x, jax.lax.stop_gradient(best.x))


# Shared with other attacks.


def loss_on_batch(name: str, function: Callable, x, args: tuple, eot: int) -> Callable:
    """``f(keys, x) -> (B,)``: the mean of a function over the keys (if eot), after checking the shape of its result.

    Derivatives stop at everything the function closes over, so an attack inside a training loss is not differentiated.
    Only the derivative in x remains.
    """
    example = (jax.random.key(0), x) if eot else (x,)
    # args stay outside, so that the function can still read, and refuse, values of NumPy arrays.
    pure, closed = pure_model(name, lambda *inputs: function(*inputs, *args), *example)
    closed = jax.lax.stop_gradient(closed)
    result = jax.eval_shape(lambda *inputs: pure(*inputs, *closed), *example)
    check_values(name, result, x)

    def call(keys, x):
        if not eot:
            return pure(x, *closed).astype(jnp.float32)
        each = jax.vmap(lambda key: pure(key, x, *closed))(keys)
        return jnp.mean(each.astype(jnp.float32), axis=0)

    return call


def pure_model(name: str, function: Callable, *example: Any) -> tuple[Callable, Any]:
    """`jax.closure_convert`, with an error that helps for models that change their own state or give no arrays."""

    def called(*inputs):
        result = function(*inputs)
        for leaf in jax.tree.leaves(result, is_leaf=lambda leaf: leaf is None):
            if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float)):
                raise TypeError(f"{name}: the loss or the model must return an array, got {_checks.shown(result)}.")
        return result

    try:
        # JAX caches by function. A stateful model may have changed since: its weights, its mode.
        return jax.closure_convert(called, *example)
    except Exception as error:
        if type(error).__name__ != "TraceContextError":  # of Flax, which need not be installed
            raise
        raise ValueError(
            f"{name}: the model changes its own state when it is called, as Flax nnx modules in train mode do "
            "(BatchNorm, dropout). Attack it in eval mode: model.eval() before the attack and model.train() after it. "
            "In a training loss, pass a pure copy as attacked=: "
            "functools.partial(*noisejax.nnx.functional(nnx.view(model, use_running_average=True)))."
        ) from error


def steps_unrolled(name: str, unroll: Any, steps: int, function: Callable, x: jax.Array) -> int:
    """The option `unroll` of the attack `name`, or the number of steps that pays where it is None.

    On a CPU, XLA computes gradients of convolutions with plain code inside a loop, and with a fast library outside.
    There they are two to twelve times as fast, so all steps are unrolled where ``function(x)`` convolves.
    """
    if unroll is not None:
        if not isinstance(unroll, (bool, int, np.integer)) or not 0 <= unroll < 2**31:
            raise ValueError(f"{name}: unroll must be a number of steps, or None, got {unroll!r}. It is static.")
        return max(steps if unroll is True else int(unroll), 1)
    if not 1 < steps <= MOST_UNROLLED or _platform(x) != "cpu":
        return 1
    return steps if any(map(_convolves, _equations(jax.make_jaxpr(function)(x).jaxpr))) else 1


def _platform(x: Any) -> str:
    """Where x is, or will be if it is traced."""
    if isinstance(x, jax.Array) and not isinstance(x, Tracer):
        return next(iter(x.devices())).platform
    chosen: Any = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue] set when jax starts
    return jax.default_backend() if chosen is None else getattr(chosen, "platform", chosen)


def _convolves(equation: Any) -> bool:
    """Whether an equation is a convolution over several channels. One channel at a time is no faster without a loop."""
    if equation.primitive.name != "conv_general_dilated":
        return False
    kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
    return kernel[numbers.rhs_spec[1]] > 1 or equation.params["feature_group_count"] == 1


def _equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(value):
                yield from _equations(getattr(value, "jaxpr", value))


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def keys_of_steps(key, eot: int) -> Callable:
    """``f(step)``: the keys of a step, different in every step; None without eot."""
    if not eot:
        return lambda step: None
    draws = jnp.arange(eot, dtype=jnp.int32)
    return lambda step: keys(stage(key, "adversarial", "eot"), jnp.asarray(step).astype(jnp.int32) * eot + draws)


def measure_point(values: Callable, held: Callable | None, point, trial) -> Best:
    """A point with its loss and whether it succeeds."""
    value = values(trial, point)
    reached = jnp.zeros_like(value, bool) if held is None else held(trial, point) > 0.5
    return Best(point, value, reached)


def take_step(tx, threat: Threat, x, delta, state, grads, values) -> tuple[jax.Array, Any]:
    """One step of the transform, followed by the projection."""
    grads = threat.masked(jnp.where(jnp.isfinite(grads), grads, 0))
    with jax.numpy_dtype_promotion("standard"):  # optax relies on it
        updates, state = tx.update(grads, state, delta, value=-values, x=x, threat=threat)
    return threat.project(delta + updates, x), state


def is_flat(threat: Threat, grads: jax.Array) -> jax.Array:
    """Which examples, (B,), have a gradient that leads nowhere: every element is 0, or not finite and counted as 0."""
    return jnp.all(threat.masked(jnp.where(jnp.isfinite(grads), grads, 0)) == 0, axis=tuple(range(1, grads.ndim)))


def worst_start(x) -> Best:
    """A start that any other result improves on."""
    lowest = jnp.full_like(jnp.sum(x, axis=tuple(range(1, x.ndim))), -jnp.inf)
    return Best(x, lowest, lowest > 0)


def choose_examples(which: jax.Array, new: Any, old: Any) -> Any:
    """Selects the examples of `new` where `which`, of shape (B,), is True, and those of `old` elsewhere, by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(as_column(which, a), a, b), new, old)


def is_better(new: Best, old: Best) -> jax.Array:
    """Whether `new` is better: success first, then the higher loss. Ties and NaN keep the old one."""
    return (new.success & ~old.success) | ((new.success == old.success) & (new.value > old.value))


def _settle(best: Best, now: Best, keep: str) -> Best:
    return choose_examples(is_better(now, best) if keep == "best" else now.success | ~best.success, now, best)


def _best_of(many: Best) -> Best:
    """The best along the leading axis, the first among equal ones, without a gather over the examples."""
    value = jnp.where(many.value > -jnp.inf, many.value, -jnp.finfo(jnp.float32).max)  # NaN too
    value = jnp.where(many.success == jnp.any(many.success, axis=0, keepdims=True), value, -jnp.inf)
    chosen = jax.nn.one_hot(jnp.argmax(value, axis=0), value.shape[0], axis=0, dtype=bool)

    def pick(leaf):
        mask = chosen.reshape(chosen.shape + (1,) * (leaf.ndim - chosen.ndim))
        return jnp.sum(jnp.where(mask, leaf, jnp.zeros_like(leaf)), axis=0, dtype=leaf.dtype)

    return jax.tree.map(pick, many)
