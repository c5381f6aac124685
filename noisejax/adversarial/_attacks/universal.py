"""Universal perturbations: one for a whole data set, trained on minibatches as parameters are."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax import _sample
from noisejax._stream import fold
from noisejax.adversarial._attacks.boundary import check_norm, check_number
from noisejax.adversarial._attacks.driver import check_attack, loss_on_batch
from noisejax.adversarial._attacks.transforms import scale_by_reach, scale_by_steepest, scale_by_step
from noisejax.adversarial._threats.balls import Threat


def universal(
    key: jax.Array,
    loss: Callable,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    ceiling: float | jax.Array | None = None,
    *,
    epochs: int = 10,
    batch: int = 64,
    tx: optax.GradientTransformation | None = None,
) -> jax.Array:
    """A universal perturbation: a single delta for all examples, which raises their mean loss.

    The data set is gone through in minibatches, shuffled anew in every epoch; each gives a gradient, a step, and a
    projection into the ball. The bounds are each example's own: apply it with ``threat.perturbed(x, delta)``, to these
    examples or to others.

    Args:
      key: a JAX key, which orders the minibatches.
      loss: ``loss(x, *args) -> (batch,)``, which is maximised.
      x: the examples, floats of shape (N, ...), inside the bounds.
      threat: `Linf`, `L2` or `L1`, with one eps for all examples.
      step_size: of the default transform: a scalar; None for eps / 10.
      args: arrays with x's leading axis, as (labels,).
      ceiling: losses above it count as it, and have no gradient, so that examples which are fooled already do not drown
        the others; None for no ceiling.
      epochs: how often the data set is gone through. Static, as `batch`.
      batch: how many examples a gradient is the mean of; what is left over in an epoch is left out.
      tx: an optax transform of delta, (1, ...), given the extra arguments of `attack`; None for steps of steepest
        ascent, the sign of the gradient for `Linf`.

    Returns:
      delta: float32, of shape (1, ...), inside the ball, without gradient.

    References:
      Shafahi et al., "Universal adversarial training", AAAI 2020 (algorithm 1, and the ceiling). Moosavi-Dezfooli et
      al., "Universal adversarial perturbations", CVPR 2017.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> loss = lambda x: x @ jnp.array([1.0, -2.0])
      >>> x, threat = jnp.linspace(0.25, 0.75, 16).reshape(8, 2), adversarial.Linf(0.125, bounds=(0, 1))
      >>> adversarial.universal(jax.random.key(0), loss, x, threat, batch=4).tolist()
      [[0.125, -0.125]]
    """
    x = check_attack("universal", key, loss, x, threat, args, steps=epochs)
    check_norm("universal", threat)
    count = x.shape[0]
    if not isinstance(batch, (int, np.integer)) or not 1 <= batch <= max(count, 1):
        raise ValueError(f"universal: batch must be an integer from 1 to the {count} examples, got {batch!r}.")
    check_number("universal", "step_size", step_size, 0)
    if np.ndim(threat.eps) and np.shape(threat.eps)[0] != 1:
        raise ValueError(
            f"universal: one perturbation for all has one eps, got eps of shape {np.shape(threat.eps)}. One per "
            "feature has shape (1, ..., features)."
        )
    x, threat, args = jax.lax.stop_gradient((x, threat, jax.tree.map(jnp.asarray, args)))
    ball = copy.copy(threat)
    ball.bounds = None
    if tx is None:
        step = scale_by_reach(0.1) if step_size is None else scale_by_step(jnp.asarray(step_size, jnp.float32))
        tx = optax.chain(scale_by_steepest(), step)
    tx = optax.with_extra_args_support(tx)
    delta = jnp.zeros_like(x[:1])
    origin = delta

    def minibatch(carry, index):
        delta, state = carry
        points = x[index]
        values = loss_on_batch("universal", loss, points, jax.tree.map(lambda leaf: leaf[index], args), 0)

        def objective(delta):
            each = values(None, threat.perturbed(points, delta))
            each = each if ceiling is None else jnp.minimum(each, ceiling)
            return -jnp.mean(each), -jnp.mean(each, keepdims=True)

        grads, value = jax.grad(objective, has_aux=True)(delta)
        grads = ball.masked(jnp.where(jnp.isfinite(grads), grads, 0))
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it
            updates, state = tx.update(grads, state, delta, value=value, x=origin, threat=ball)
        return (ball.project(delta + jnp.asarray(updates), origin), state), None

    def epoch(carry, number):
        order = _sample.permutation(fold(key, number), "adversarial.universal", count)
        order = order[: count // batch * batch].reshape(-1, batch)
        return jax.lax.scan(minibatch, carry, order)[0], None

    carry = delta, tx.init(delta)
    delta = jax.lax.scan(epoch, carry, jnp.arange(epochs, dtype=jnp.int32))[0][0]
    return jax.lax.stop_gradient(delta)
