"""Starts and directions that diversify a model's outputs instead of its inputs (ODS)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from noisejax import _checks
from noisejax._random import sample
from noisejax._random.stream import enter
from noisejax.adversarial._attacks.driver import steps_unrolled, take_step
from noisejax.adversarial._attacks.transforms import (
    scale_by_norm,
    scale_by_reach,
    scale_by_steepest,
    scale_by_step,
)
from noisejax.adversarial._options import check_amount
from noisejax.adversarial._outputs import as_logits
from noisejax.adversarial._threats.balls import Threat, check_ids, streams_per_example, words_per_element


def ods(key: jax.Array, predict: Callable, x: jax.Array, ids: jax.Array | None = None) -> jax.Array:
    """Output-diversified direction: the gradient of ``sum(w * predict(x))`` in x, divided by its Euclidean length.

    w is uniform on [-1, 1] for each example and output. Directions that are uniform in the space of inputs change the
    outputs of a model in similar ways; these spread in the space of outputs. An example whose gradient is 0 gets 0.

    Args:
      key: a JAX key.
      predict: ``predict(x) -> logits`` of shape (B, ...). ``lambda x: jax.nn.softmax(predict(x) / temperature)``
        diversifies probabilities instead.
      x: floats of shape (B, ...).
      ids: integers of shape (B,). The weights of example i depend only on ``(key, ids[i])``. None for 0, ..., B - 1.

    Returns:
      Directions: float32, of x's shape and of length 1 (or 0) per example, without gradient.

    References:
      Tashiro, Song and Ermon, "Diversity can be transferred: output diversification for white- and black-box attacks",
      NeurIPS 2020.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> predict = lambda x: x @ jnp.array([[3.0, 0.0], [4.0, 0.0]])  # one direction changes its outputs
      >>> direction = adversarial.ods(jax.random.key(0), predict, jnp.zeros((1, 2)))
      >>> jnp.abs(direction).round(3).tolist()
      [[0.6..., 0.8...]]
    """
    enter("ods", key)
    _checks.function("ods", "predict", predict, "predict(x) -> logits")
    _checks.array("ods", x, _checks.floats)
    if jnp.ndim(x) == 0:
        raise ValueError("ods: x must be a batch, of shape (B, ...), got a scalar.")
    ids = check_ids("ods", ids, x)
    x = jax.lax.stop_gradient(jnp.asarray(x).astype(jnp.float32))
    gradient = jax.grad(_objective("ods", key, predict, x, ids))(x)
    tx: Any = scale_by_norm(2)
    unit, _ = tx.update(jnp.where(jnp.isfinite(gradient), gradient, 0), tx.init(None))
    return jax.lax.stop_gradient(unit)


def odi(
    predict: Callable, threat: Threat, step_size: Any = None, *, steps: int = 2, random_start: bool = True
) -> Callable[..., jax.Array]:
    """Output-diversified initialization: a start for `pgd`, `attack` and the others that take one.

    ``pgd(key, loss, x, threat, start=odi(predict, threat))`` starts each restart from a random perturbation, followed
    by a few steps of steepest ascent along the gradient of ``sum(w * predict(x))``. The weights w, uniform on [-1, 1],
    are drawn once for each example and restart. It costs `steps` gradients in addition to those of the attack.

    Args:
      predict: ``predict(x) -> logits`` of shape (B, ...), the model that is attacked.
      threat: the threat of the attack.
      step_size: a scalar, one value per example (B,), or an array of x's rank; None for eps.
      steps: the number of steps, at least 1. Static.
      random_start: whether to begin at ``threat.sample``, as in the authors' code; otherwise at x. Static.

    Returns:
      A function ``start(key, x, ids=None) -> perturbation`` for the option `start`.

    References:
      Tashiro, Song and Ermon, "Diversity can be transferred: output diversification for white- and black-box attacks",
      NeurIPS 2020 (ODI, with 2 steps of eps).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> predict = lambda x: x @ jnp.array([[1.0, -1.0], [0.5, 0.0]])
      >>> x, y, threat = jnp.full((2, 2), 0.5), jnp.array([0, 1]), adversarial.Linf(0.25, bounds=(0, 1))
      >>> start = adversarial.odi(predict, threat)
      >>> loss = adversarial.untargeted(predict)
      >>> adversarial.pgd(jax.random.key(0), loss, x, threat, args=(y,), restarts=3, start=start).tolist()
      [[0.25, 0.25], [0.75, 0.75]]
    """
    _checks.function("odi", "predict", predict, "predict(x) -> logits")
    if not isinstance(threat, Threat):
        raise TypeError(f"odi: threat must be a threat such as Linf(eps, bounds=(low, high)), got {threat!r}.")
    steps = _checks.count("odi", "steps", steps, 1, "It is static.")
    random_start = _checks.flag("odi", "random_start", random_start)
    size = scale_by_reach(1.0)
    if step_size is not None:
        check_amount("odi", "step_size", step_size)
        size = scale_by_step(jnp.asarray(step_size).astype(jnp.float32))
    tx = optax.chain(scale_by_steepest(), size)

    def start(key: jax.Array, x: jax.Array, ids: jax.Array | None = None) -> jax.Array:
        fitted, ids = threat.fitted(x), check_ids("odi", ids, x)
        objective = _objective("odi", key, predict, x, ids)
        delta = fitted.sample(key, x, ids) if random_start else jnp.zeros_like(x)
        state = tx.init(delta)

        def step(delta, _):
            gradient = jax.grad(lambda delta: -objective(fitted.perturbed(x, delta)))(delta)
            return take_step(tx, fitted, x, delta, state, gradient, jnp.zeros(x.shape[0]))[0], None

        unroll = steps_unrolled("odi", None, steps, objective, x)
        return jax.lax.stop_gradient(jax.lax.scan(step, delta, length=steps, unroll=unroll)[0])

    return start


def _objective(name: str, key: Any, predict: Callable, x: jax.Array, ids: jax.Array | None) -> Callable:
    """``f(x)``: the sum of the outputs with weights that are drawn here, once."""
    outputs = jax.eval_shape(lambda x: as_logits(name, predict(x)), x)
    if outputs.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"{name}: predict must return one row per example of x, ({x.shape[0]}, ...), got {outputs.shape}."
        )
    like = jnp.zeros(outputs.shape, jnp.float32)
    weights = sample.symmetric_uniform(words_per_element(streams_per_example(key, ids, x), f"adversarial.{name}", like))
    return lambda x: jnp.sum(weights * predict(x).astype(jnp.float32))
