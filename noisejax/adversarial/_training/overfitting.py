"""Detecting catastrophic overfitting, the failure of one-step adversarial training, and recovering from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax.adversarial._inputs import check_attack
from noisejax.adversarial._outputs import check_values
from noisejax.adversarial._threats.balls import Threat, as_column, check_ids, divide_or, max_abs


class OverfittingState(NamedTuple):
    """The state of an `overfitting_guard`.

    Args:
      value: the last value before a collapse.
      kept: the pytree that was passed with it: the weights to return to.
      overfit: whether the value has collapsed since. It remains True from then on.
    """

    value: jax.Array
    kept: Any
    overfit: jax.Array


class OverfittingGuard(NamedTuple):
    """The result of `overfitting_guard`: a pair of pure functions."""

    init: Callable[[Any], OverfittingState]
    update: Callable[..., OverfittingState]


def overfitting_guard(drop: Amount = 0.2) -> OverfittingGuard:
    """Early stopping for FGSM training: keeps the weights from before a collapse of the robust accuracy.

    Within a few hundred steps, training with a one-step attack may reach 100 % against FGSM and 0 % against all other
    attacks. A cheap attack of several steps on one training batch reveals it. Pass its accuracy at least once per
    epoch. A value more than `drop` below the last one, or NaN, is a collapse.

    Args:
      drop: how far the accuracy may fall between two checks.

    Returns:
      An `OverfittingGuard` g, pure and jittable: ``s = g.init(params)``, then ``s = g.update(s, params,
      value=accuracy)``. Once ``s.overfit`` is True, ``s.kept`` holds the weights of the previous check. Pass the
      optimizer's state along with the weights to continue from there with `pgd`.

    References:
      Wong, Rice and Kolter, "Fast is better than free: revisiting adversarial training", ICLR 2020, section 5.4.

    Example:
      >>> from noisejax import adversarial
      >>> guard = adversarial.overfitting_guard(drop=0.2)
      >>> state = guard.init(0)
      >>> for epoch, accuracy in enumerate((0.4, 0.45, 0.5, 0.02, 0.6)):
      ...     state = guard.update(state, epoch, value=accuracy)
      >>> bool(state.overfit), int(state.kept)
      (True, 2)
    """
    drop = arithmetic_amount("overfitting_guard", "drop", drop, _checks.nonnegative)

    def init(params):
        return OverfittingState(jnp.float32(-jnp.inf), jax.tree.map(jnp.asarray, params), jnp.bool_(False))

    def update(state, params, *, value):
        value = jnp.asarray(value).astype(jnp.float32)
        overfit = state.overfit | ~(value >= state.value - jnp.asarray(drop).astype(jnp.float32))
        kept = jax.tree.map(lambda old, new: jnp.where(overfit, old, new), state.kept, params)
        return OverfittingState(jnp.where(overfit, state.value, value), kept, overfit)

    return OverfittingGuard(init, update)


def gradient_alignment(
    key: jax.Array,
    loss: Callable,
    x: jax.Array,
    threat: Threat,
    args: tuple = (),
    *,
    ids: jax.Array | None = None,
) -> jax.Array:
    """The cosine between the gradients of the loss at x and at a random point of the threat: 1 for a linear loss.

    A single attack step is as good as many only while this cosine is high, and it falls before catastrophic
    overfitting. As a diagnostic it costs two gradients. It is also differentiable in the parameters that `loss` closes
    over: adding ``weight * (1 - alignment).mean()`` to the loss is GradAlign, at about three times the cost of a step.

    Args:
      key: a JAX key.
      loss: ``loss(x, *args) -> (B,)``, such as ``untargeted(predict)``.
      x: floats of shape (B, ...), inside the bounds.
      threat: the perturbations that are allowed.
      args: arrays with x's leading axis, such as (labels,).
      ids: as in `attack`.

    Returns:
      float32 of shape (B,), in [-1, 1]; 0 where a gradient is 0.

    References:
      Andriushchenko and Flammarion, "Understanding and improving fast adversarial training", NeurIPS 2020, equation 5.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.Linf(0.25, bounds=(0, 1))
      >>> x = jnp.array([[0.5, 0.25]])
      >>> aligned = jax.jit(lambda key: adversarial.gradient_alignment(key, lambda x: 3 * x.sum(-1), x, threat))
      >>> aligned(jax.random.key(0)).round(3).tolist()
      [1.0]
    """
    x = check_attack("gradient_alignment", key, loss, x, threat, args)
    ids = check_ids("gradient_alignment", ids, x)

    def total(point):
        values = loss(point, *args)
        check_values("gradient_alignment", values, x)
        return jnp.sum(values)

    here, there = (_unit(jax.grad(total)(point)) for point in (x, x + threat.sample(key, x, ids)))
    return jnp.sum(here * there, axis=tuple(range(1, x.ndim)))


def _unit(grad: jax.Array) -> jax.Array:
    scaled = divide_or(grad, jax.lax.stop_gradient(max_abs(grad)))  # so that squares neither underflow nor overflow
    squares = jnp.sum(scaled * scaled, axis=tuple(range(1, grad.ndim)))
    length = jnp.sqrt(jnp.where(squares > 0, squares, 1))
    return scaled * as_column(jnp.where(squares > 0, 1 / length, 0), scaled)
