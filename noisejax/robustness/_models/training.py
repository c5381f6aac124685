"""How the networks of `mlp` are trained: one program, mapped over seeds, at noise levels that may change by epoch."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from noisejax import _checks, _levels
from noisejax._noises.additive import uniform
from noisejax._random.stream import KEY_TYPES, jax_key, stage
from noisejax.robustness._models import network


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a program depends on."""

    classes: int  # 0 for numbers
    hidden: tuple[int, ...]
    seeds: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float


def _loss(plan: Plan, model: Any, x: Any, y: Any, targets: Any, key: Any, rate: Any) -> jax.Array:
    output = network.applied(model, x, key, rate)
    if not plan.classes:
        return jnp.square(output[:, 0] - (y - targets[0]) / targets[1]).mean()
    if y.ndim == 2:
        return optax.softmax_cross_entropy(output, y).mean()
    return optax.softmax_cross_entropy_with_integer_labels(output, y).mean()


def _trained(plan: Plan, key: Any, data: Any, scales: Any, amounts: Any, noise_at: Callable, level: Any, after: Any):
    """One network. `after(level, model)` gives the level of the next epoch, and what is kept of this one."""
    (x, y), (inputs, targets), (dropout, fgsm) = data, scales, amounts
    batch = min(plan.batch_size, len(x))
    steps = len(x) // batch
    schedule = optax.cosine_decay_schedule(plan.learning_rate, steps * plan.epochs)
    optimizer = optax.adamw(schedule, weight_decay=plan.weight_decay)
    init_key, order_key, step_key = jax.random.split(key, 3)
    structure, params = network.made(init_key, (x.shape[1], *plan.hidden, max(plan.classes, 1)))

    def loss(params, xb, yb, key):
        key = None if dropout is None else key
        return _loss(plan, (structure, params), network.standardized(xb, inputs), yb, targets, key, dropout)

    def step(carry, now):
        (params, state, noise), (rows, key) = carry, now
        noise_key, dropout_key = jax.random.split(key)
        xb, yb = _noisy(plan, noise_at(noise), noise_key, (x[rows], y[rows]))
        if fgsm is not None:

            def attacked(xb):
                return xb + jnp.broadcast_to(fgsm, xb.shape) * jnp.sign(jax.grad(loss, 1)(params, xb, yb, dropout_key))

            xb = jax.lax.cond(jnp.any(fgsm > 0), attacked, lambda xb: xb, xb)
        grads = jax.grad(loss)(params, xb, yb, dropout_key)
        with jax.numpy_dtype_promotion("standard"):  # which optax needs
            updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state, noise), None

    def epoch(carry, n):
        params, state, level = carry
        order = jax.random.permutation(jax.random.fold_in(order_key, n), len(x))[: steps * batch]
        keys = jax.random.split(jax.random.fold_in(step_key, n), steps)
        (params, state, _), _ = jax.lax.scan(step, (params, state, level), (order.reshape(steps, batch), keys))
        level, kept = after(level, (structure, params), n)
        return (params, state, level), kept

    start = (params, optimizer.init(params), level)
    (params, *_), kept = jax.lax.scan(epoch, start, jnp.arange(plan.epochs))
    return (structure, params), kept


def _noisy(plan: Plan, noise: Any, key: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
    found: Any = noise(key, batch)
    size, columns = batch[0].shape
    shapes = [getattr(part, "shape", None) for part in found] if isinstance(found, (tuple, list)) else None
    targets = [(size,), (size, plan.classes)] if plan.classes else [(size,)]
    if shapes not in [[(size, columns), target] for target in targets]:
        got = f"({', '.join(map(_checks.shown, found))})" if isinstance(found, tuple) else _checks.shown(found)
        wanted = " or ".join(map(str, targets))
        raise ValueError(
            f"mlp: noise must return (x, y) of shapes {(size, columns)} and {wanted}, got {got}. A "
            "noise of x alone is written nj.on_entries((noise, None))."
        )
    return found[0], found[1]


def _keys(plan: Plan, key: Any) -> jax.Array:
    """A key for each seed, of the type whose draws compile fastest."""
    data = jax.random.key_data(jax_key(stage(key, "mlp")))
    return jax.random.split(jax.random.wrap_key_data(data, impl=KEY_TYPES["mix"]), plan.seeds)


def _scales(plan: Plan, x: Any, y: Any) -> tuple[Any, Any]:
    if plan.classes:
        return network.scales(x), None
    return network.scales(x), (y.mean(), jnp.where(y.std() > 0, y.std(), 1))


@functools.partial(jax.jit, static_argnums=0)
def fixed(plan: Plan, key: Any, data: Any, noise: Any, dropout: Any, fgsm: Any) -> jax.tree_util.Partial:
    """The predictor of networks trained with one noise."""
    scales = _scales(plan, *data)

    def one(key):
        model, _ = _trained(plan, key, data, scales, (dropout, fgsm), lambda _: noise, None, lambda *_: (None, None))
        return model

    return jax.tree_util.Partial(network.predict, jax.vmap(one)(_keys(plan, key)), *scales)


@functools.partial(jax.jit, static_argnums=(0, 4))
def adaptive(plan: Plan, key: Any, data: Any, validation: Any, noise_at: Callable, clean: Any, amounts: Any):
    """The predictor, and by epoch and seed the level and the metric on the validation rows.

    `clean` is that metric without noise, (seeds, epochs); `amounts` are (ceiling, tolerance, dropout, fgsm).
    """
    ceiling, tolerance, *others = amounts
    scales = _scales(plan, *data)
    batch = min(plan.batch_size, len(data[0]))

    def varied(rule):
        def noise(key, batch_):
            level_key, key = jax.random.split(key)
            made: Any = noise_at(rule.level * uniform(level_key, jnp.full((batch, 1), 0.5), 0.5))
            if not callable(made) or isinstance(made, type):
                raise TypeError(
                    f"mlp_adaptive: noise_at must return a noise (key, (x, y)) -> (x, y), got {_checks.shown(made)}."
                )
            return made(key, batch_)

        return noise

    def one(key, clean):
        def after(state, model, n):
            value = metric(plan, model, validation, scales)
            margin = value - clean[n] + tolerance  # the rule compares with 0: what is left of the allowed cost
            return rule.update(state, value=margin), (state.level, value)

        rule = _levels.Adaptive(0.0, 2 * ceiling / plan.epochs, ceiling, 0.0, 0.0, "max")
        return _trained(plan, key, data, scales, others, varied, rule.init(reference=0.0), after)

    models, log = jax.vmap(one)(_keys(plan, key), clean)
    return jax.tree_util.Partial(network.predict, models, *scales), log


def metric(plan: Plan, model: Any, data: Any, scales: Any) -> jax.Array:
    """Accuracy, or R² of numbers."""
    (x, y), (inputs, targets) = data, scales
    output = network.applied(model, network.standardized(x, inputs))
    if plan.classes:
        return (output.argmax(-1) == y).mean()
    error = output[:, 0] * targets[1] + targets[0] - y
    return 1 - jnp.square(error).mean() / jnp.square(y - y.mean()).mean()
