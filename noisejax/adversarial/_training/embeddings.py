"""Adversarial training of embeddings, (B, length, features), whose padding is neither moved nor counted."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from noisejax import _sample
from noisejax._contract import padding
from noisejax._stream import stage
from noisejax.adversarial._attacks.driver import check_attack
from noisejax.adversarial._losses import kl
from noisejax.adversarial._threats.balls import Threat, as_column, divide_or, streams_per_example, words_per_element
from noisejax.adversarial._training.losses import normal_start, per_example_size, without_gradient


def freelb(
    key: jax.Array,
    loss: Callable,
    x: jax.Array,
    threat: Threat,
    step_size: float | jax.Array = 0.1,
    magnitude: float | jax.Array = 0.1,
    args: tuple = (),
    *,
    steps: int = 3,
    where: jax.Array | None = None,
    lengths: jax.Array | None = None,
    ids: jax.Array | None = None,
) -> jax.Array:
    """FreeLB: the mean of the loss over an ascent's steps, ``1/K sum_k loss(x + delta_k)``, all of them trained on.

    delta_0 is uniform in +- magnitude / sqrt(n), n the number of an example's numbers, padding not counted. Then
    ``delta <- project(delta + step_size * g / |g|)``, with one norm for each whole example. The gradient goes through
    x, if it is made of parameters, as embeddings are.

    Args:
      key: a JAX key.
      loss: ``loss(x, *args) -> (B,)`` of embeddings. Its dropout should have the same key in all steps, as the paper
        wants it: close over one.
      x: embeddings, floats of shape (B, length, features).
      threat: ``L2(eps, bounds=None)``, the paper's; eps infinite for a step size alone to say how far.
      step_size: of the ascent: a scalar, or one per example (B,).
      magnitude: of the start; 0 starts from x.
      args: arrays with x's leading axis, as (labels,).
      steps: K, at least 1: how many perturbations are trained on; the last one takes no step. Static.
      where: booleans that broadcast to x, False at padding.
      lengths: integers of shape (B,), how long each example is.
      ids: as `attack` has them.

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Zhu et al., "FreeLB: enhanced adversarial training for natural language understanding", ICLR 2020, algorithm 1.
      There one backward gives both gradients. So it does here if the caller takes the plain mean, since XLA then merges
      the two; with weights on the examples each ascent has a backward of its own.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> table, tokens, lengths = jnp.ones((5, 2)), jnp.array([[1, 2, 0], [3, 0, 0]]), jnp.array([2, 1])
      >>> threat = adversarial.L2(0.5, bounds=None)
      >>> def objective(table):
      ...     pooled = lambda x: x.sum((1, 2)) ** 2
      ...     return adversarial.freelb(jax.random.key(0), pooled, table[tokens], threat, lengths=lengths).mean()
      >>> jax.jit(jax.grad(objective))(table).shape
      (5, 2)
    """
    at, given, mask = _embedded("freelb", key, loss, x, threat, args, where, lengths, steps)
    size = per_example_size("freelb", step_size, at)
    counted = jnp.ones_like(at) if mask is None else jnp.where(mask, jnp.ones_like(at), 0)
    numbers = jnp.sum(counted, axis=tuple(range(1, at.ndim)))
    reach = jnp.asarray(magnitude).astype(jnp.float32) * as_column(divide_or(1, jnp.sqrt(numbers)), at)
    u = _sample.symmetric_uniform(
        words_per_element(streams_per_example(stage(key, "training"), ids, at), "adversarial.freelb", at)
    )
    delta, total = given.project(reach * u, at), jnp.float32(0)

    def value(delta):
        values = loss(x + delta.astype(x.dtype), *args)
        if getattr(values, "shape", None) != at.shape[:1]:
            got = getattr(values, "shape", None) or type(values).__name__
            raise ValueError(f"freelb: the loss must give one number per example, of shape {at.shape[:1]}, got {got}.")
        # Scaled as in the mean of what is returned, so that XLA sees one backward and not two.
        return jnp.mean(values.astype(jnp.float32) / steps), values.astype(jnp.float32)

    for step in range(steps):
        if step == steps - 1:
            total = total + value(delta)[1]
        else:
            ascent, values = jax.grad(value, has_aux=True)(delta)
            total = total + values
            delta = _ascended(given, at, delta, ascent, lambda g, d: size * given.steepest(g, at, d))
    return total / steps


def smart(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    threat: Threat,
    step_size: float | jax.Array = 1e-3,
    std: float | jax.Array = 1e-5,
    *,
    steps: int = 1,
    divergence: Callable | None = None,
    attacked: Callable | None = None,
    where: jax.Array | None = None,
    lengths: jax.Array | None = None,
    ids: jax.Array | None = None,
) -> jax.Array:
    """SMART's smoothness: how far the answer moves, by a symmetric KL, at the worst x' near the embeddings.

    From ``x + std * N(0, 1)``: ``delta <- project(delta + step_size * g / max|g|)``, the maximum over each token's
    features. Add it, weighted, to the loss of the task. Both answers have their gradient.

    The paper's other part, the Bregman proximal point, is the same divergence between this model and a moving average
    of it: ``divergence(predict(x), teacher(x))``, with `symmetric_kl` and `optax.incremental_update`.

    Args:
      key: a JAX key.
      predict: ``predict(x) -> logits`` of embeddings, called on x and then on x'.
      x: embeddings, floats of shape (B, length, features).
      threat: ``Linf(eps, bounds=None)``; the paper's eps is 1e-5.
      step_size: of the ascent: a scalar, or one per example (B,).
      std: of the start, in units of x.
      steps: of the ascent, at least 1. Static.
      divergence: of two outputs, ``(B,)``; None for `symmetric_kl`. For a regression their squared difference.
      attacked: the model that x' is sought with, as in `trades`. None for `predict`.
      where, lengths, ids: as in `freelb`.

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Jiang et al., "SMART: robust and efficient fine-tuning for pre-trained natural language models through principled
      regularized optimization", ACL 2020, algorithm 1. The norm of a token is that of the authors' code.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> x, w = jnp.ones((2, 3, 4)), jnp.ones((4, 2)).at[0, 0].set(2.0)
      >>> threat = adversarial.Linf(1e-2, bounds=None)
      >>> predict = lambda x: (x @ w).mean(1)
      >>> smooth = jax.jit(lambda key, x: adversarial.smart(key, predict, x, threat, lengths=jnp.array([3, 1])))
      >>> smooth(jax.random.key(0), x).shape
      (2,)
    """
    divergence = divergence or symmetric_kl
    at, given, _ = _embedded("smart", key, predict, x, threat, (), where, lengths, steps)
    size = per_example_size("smart", step_size, at)
    clean, still = predict(x), jax.lax.stop_gradient(x)
    model = without_gradient(attacked or predict, still)
    reference = jax.lax.stop_gradient(clean) if attacked is None else model(still)
    delta = given.project(normal_start(key, "adversarial.smart", at, std, ids), at)

    def per_token(g, _):
        largest = jnp.max(jnp.abs(g), axis=-1, keepdims=True)
        return size * divide_or(g, largest)

    for _ in range(steps):
        ascent = jax.grad(lambda delta: jnp.sum(divergence(model(still + delta.astype(x.dtype)), reference)))(delta)
        delta = _ascended(given, at, delta, ascent, per_token)
    return divergence(predict(x + delta.astype(x.dtype)), clean)


def symmetric_kl(logits: jax.Array, other: jax.Array) -> jax.Array:
    """``KL(p || q) + KL(q || p)`` of two models' logits.

    Args:
      logits, other: floats of shape (B, classes).

    Returns:
      float32 of shape (B,).

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.symmetric_kl(jnp.array([[0.0, 0.0]]), jnp.array([[0.0, jnp.log(3.0)]])).round(4).tolist()
      [0.27469998598098755]
    """
    return kl(logits, other) + kl(other, logits)


def _embedded(name: str, key, function, x, threat: Threat, args, where, lengths, steps: int) -> tuple:
    """x as float32 without gradient, the threat that spares padding, and the mask."""
    at = jax.lax.stop_gradient(check_attack(name, key, function, x, threat, args, steps=steps))
    if steps < 1:
        raise ValueError(f"{name}: steps must be at least 1.")
    mask = padding(name, at, where, lengths)
    given = threat.fitted(at)
    if mask is not None:
        given.mutable = mask if given.mutable is None else mask & given.mutable
    return at, jax.lax.stop_gradient(given), mask


def _ascended(threat, x, delta, ascent, step: Callable) -> jax.Array:
    ascent = threat.masked(jnp.where(jnp.isfinite(ascent), ascent, 0))
    return jax.lax.stop_gradient(threat.project(delta + step(ascent, delta), x))
