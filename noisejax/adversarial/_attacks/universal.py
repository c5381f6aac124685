"""Universal perturbations: one perturbation for a whole data set, trained on minibatches."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax._contract import Amount
from noisejax._random import sample
from noisejax._random.stream import fold
from noisejax.adversarial._attacks.boundary import check_norm
from noisejax.adversarial._attacks.driver import loss_on_batch
from noisejax.adversarial._attacks.transforms import scale_by_reach, scale_by_steepest, scale_by_step
from noisejax.adversarial._inputs import check_attack
from noisejax.adversarial._options import one_amount, positive, real
from noisejax.adversarial._threats.balls import Threat


def universal(
    key: jax.Array,
    loss: Callable,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    ceiling: Amount | None = None,
    *,
    epochs: int = 10,
    batch: int = 64,
    tx: optax.GradientTransformation | None = None,
) -> jax.Array:
    """A universal perturbation: a single delta for all examples, which increases their mean loss.

    The data set is visited in minibatches, reshuffled in every epoch. Each minibatch gives a gradient, a step and a
    projection into the ball. The bounds apply to each example: use ``threat.perturbed(x, delta)``, on these examples or
    on others.

    Args:
      key: a JAX key, which shuffles the data set.
      loss: ``loss(x, *args) -> (batch,)``, whose mean is maximized, such as ``untargeted(predict)``.
      x: the examples, floats of shape (N, ...), inside the bounds.
      threat: `Linf`, `L2` or `L1`, with one eps for all examples.
      step_size: the step size of the default transform, a scalar; None for eps / 10.
      args: arrays with x's leading axis, such as (labels,).
      ceiling: losses are clipped at this value, where their gradient is 0, so that examples which are already
        misclassified do not dominate the others; None for no ceiling.
      epochs: the number of passes over the data set. Static, like `batch`.
      batch: the number of examples per gradient. An incomplete last minibatch is dropped in each epoch.
      tx: an optax transform of delta, (1, ...), which receives the extra arguments of `attack`; None for steps of
        steepest ascent, the sign of the gradient for `Linf`.

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
    x = check_attack("universal", key, loss, x, threat, args, steps=epochs, counted="epochs")
    check_norm("universal", threat)
    count = x.shape[0]
    if not isinstance(batch, (int, np.integer)) or not 1 <= batch <= max(count, 1):
        raise ValueError(f"universal: batch must be an integer from 1 to the {count} examples, got {batch!r}.")
    size = None if step_size is None else one_amount("universal", "step_size", step_size, positive)
    most = None if ceiling is None else one_amount("universal", "ceiling", ceiling, real)
    if np.ndim(threat.eps) and np.shape(threat.eps)[0] != 1:
        raise ValueError(
            f"universal: all examples share one perturbation and one eps, got eps of shape {np.shape(threat.eps)}. For "
            "one eps per feature, use shape (1, ..., features)."
        )
    x, threat, args = jax.lax.stop_gradient((x, threat, jax.tree.map(jnp.asarray, args)))
    ball = copy.copy(threat)
    ball.bounds = None
    if tx is None:
        step = scale_by_reach(0.1) if size is None else scale_by_step(size)
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
            each = each if most is None else jnp.minimum(each, most)
            return -jnp.mean(each), -jnp.mean(each, keepdims=True)

        grads, value = jax.grad(objective, has_aux=True)(delta)
        grads = ball.masked(jnp.where(jnp.isfinite(grads), grads, 0))
        with jax.numpy_dtype_promotion("standard"):  # optax relies on it
            updates, state = tx.update(grads, state, delta, value=value, x=origin, threat=ball)
        return (ball.project(delta + jnp.asarray(updates), origin), state), None

    def epoch(carry, number):
        order = sample.permutation(fold(key, number), "adversarial.universal", count)
        order = order[: count // batch * batch].reshape(-1, batch)
        return jax.lax.scan(minibatch, carry, order)[0], None

    carry = delta, tx.init(delta)
    delta = jax.lax.scan(epoch, carry, jnp.arange(epochs, dtype=jnp.int32))[0][0]
    return jax.lax.stop_gradient(delta)
