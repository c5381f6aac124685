"""Adversarial training on embeddings, (B, length, features). Padding is neither perturbed nor counted."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._contract import Amount
from noisejax._padded import padding
from noisejax._random import sample
from noisejax._random.stream import stage
from noisejax.adversarial._inputs import check_attack
from noisejax.adversarial._losses import kl
from noisejax.adversarial._options import amount_per_example
from noisejax.adversarial._outputs import check_values, pair_of_logits, rows_of_logits
from noisejax.adversarial._threats.balls import (
    Threat,
    as_column,
    check_ids,
    divide_or,
    streams_per_example,
    words_per_element,
)
from noisejax.adversarial._training.losses import normal_start, per_example_size, without_gradient


def freelb(
    key: jax.Array,
    loss: Callable,
    x: jax.Array,
    threat: Threat,
    step_size: Amount = 0.1,
    magnitude: Amount = 0.1,
    args: tuple = (),
    *,
    steps: int = 3,
    where: jax.Array | None = None,
    lengths: jax.Array | None = None,
    ids: jax.Array | None = None,
) -> jax.Array:
    """FreeLB: the mean loss over the steps of an ascent, ``1/K sum_k loss(x + delta_k)``.

    delta_0 is uniform in +- magnitude / sqrt(n), where n is the number of elements of an example without padding. The
    steps are ``delta <- project(delta + step_size * g / |g|)``, with one norm for each whole example. The gradient
    flows through x, so that embeddings are trained too.

    Args:
      key: a JAX key.
      loss: ``loss(x, *args) -> (B,)`` of embeddings. The paper uses the same dropout mask in all steps: close over one
        key.
      x: embeddings, floats of shape (B, length, features).
      threat: the paper uses ``L2(eps, bounds=None)``. Use a huge eps to let the step size alone bound the perturbation.
      step_size: the step size of the ascent: a scalar, or one value per example (B,).
      magnitude: the magnitude of the start: a scalar, or one value per example (B,). 0 starts from x.
      args: arrays with x's leading axis, such as (labels,).
      steps: K, at least 1: the number of perturbations in the mean. No step is taken after the last one. Static.
      where: booleans that broadcast to x, False at padding.
      lengths: integers of shape (B,), the length of each example.
      ids: as in `attack`.

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Zhu et al., "FreeLB: enhanced adversarial training for natural language understanding", ICLR 2020, algorithm 1.
      There, one backward pass gives both gradients. The same holds here for the plain mean of the result, since XLA
      then merges both passes. If examples are weighted, each ascent step has a separate backward pass.

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
    x = jnp.asarray(x)
    size = per_example_size("freelb", step_size, at)
    counted = jnp.ones_like(at) if mask is None else jnp.where(mask, jnp.ones_like(at), 0)
    numbers = jnp.sum(counted, axis=tuple(range(1, at.ndim)))
    reach = amount_per_example("freelb", "magnitude", magnitude, at.shape[0]) * divide_or(1, jnp.sqrt(numbers))
    ids = check_ids("freelb", ids, at)
    u = sample.symmetric_uniform(
        words_per_element(streams_per_example(stage(key, "training"), ids, at), "adversarial.freelb", at)
    )
    delta, total = given.project(as_column(reach, at) * u, at), jnp.float32(0)

    def value(delta):
        values = loss(x + delta.astype(x.dtype), *args)
        check_values("freelb", values, at)
        # Scaled as in the mean of the result, so that XLA merges both backward passes.
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
    step_size: Amount = 1e-3,
    std: Amount = 1e-5,
    *,
    steps: int = 1,
    divergence: Callable | None = None,
    attacked: Callable | None = None,
    where: jax.Array | None = None,
    lengths: jax.Array | None = None,
    ids: jax.Array | None = None,
) -> jax.Array:
    """SMART's smoothness regularizer: the symmetric KL between the outputs at x and at the worst x' nearby.

    The ascent starts from ``x + std * N(0, 1)`` with steps ``delta <- project(delta + step_size * g / max|g|)``, where
    the maximum is over the features of each token. Add the result, weighted, to the task loss. Gradients flow through
    both outputs.

    The other part of the paper, the Bregman proximal point, is the same divergence between the model and a moving
    average of it: ``divergence(predict(x), teacher(x))``, with `symmetric_kl` and `optax.incremental_update`.

    Args:
      key: a JAX key.
      predict: ``predict(x) -> logits`` of embeddings, called on x and then on x'.
      x: embeddings, floats of shape (B, length, features).
      threat: the paper uses ``Linf(1e-5, bounds=None)``.
      step_size: the step size of the ascent: a scalar, or one value per example (B,).
      std: the standard deviation of the start, in units of x: a scalar, or one value per example (B,).
      steps: the number of ascent steps, at least 1. Static.
      divergence: a function of two outputs of shape ``(B,)``; None for `symmetric_kl`. For regression, use the squared
        difference.
      attacked: the model that is attacked, as in `trades`. None for `predict`.
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
    if divergence is not None:
        _checks.function("smart", "divergence", divergence, "of two outputs, of shape (B,)")
    at, given, _ = _embedded("smart", key, predict, x, threat, (), where, lengths, steps)
    x = jnp.asarray(x)
    size = per_example_size("smart", step_size, at)
    clean, still = predict(x), jax.lax.stop_gradient(x)
    if divergence is None:
        clean, divergence = rows_of_logits("smart", clean), symmetric_kl
    model = without_gradient("smart", attacked or predict, still)
    reference = jax.lax.stop_gradient(clean) if attacked is None else model(still)
    delta = given.project(normal_start("smart", key, at, std, ids), at)

    def per_token(g, _):
        largest = jnp.max(jnp.abs(g), axis=-1, keepdims=True)
        return size * divide_or(g, largest)

    for _ in range(steps):
        ascent = jax.grad(lambda delta: jnp.sum(divergence(model(still + delta.astype(x.dtype)), reference)))(delta)
        delta = _ascended(given, at, delta, ascent, per_token)
    return divergence(predict(x + delta.astype(x.dtype)), clean)


def symmetric_kl(logits: jax.Array, other: jax.Array) -> jax.Array:
    """``KL(p || q) + KL(q || p)`` of two sets of logits.

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
    logits, other = pair_of_logits("symmetric_kl", logits, "other", other)
    return kl(logits, other) + kl(other, logits)


def _embedded(name: str, key, function, x, threat: Threat, args, where, lengths, steps: int) -> tuple:
    """x as float32 without gradient, the threat restricted to elements that are not padding, and the mask."""
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
