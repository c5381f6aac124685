"""DDN and FMN: gradient ascent on a ball whose radius shrinks while the model is fooled and grows otherwise."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax._contract import Amount
from noisejax._random import sample
from noisejax._random.stream import fold
from noisejax.adversarial._attacks.boundary import (
    Nearest,
    attack_lead,
    dual_norm,
    is_fooled,
    keep_allowed,
    prepare_attack,
)
from noisejax.adversarial._attacks.driver import choose_examples, steps_unrolled
from noisejax.adversarial._health import doubt
from noisejax.adversarial._losses import log_odds
from noisejax.adversarial._options import amount_per_example, decay, one_amount, positive
from noisejax.adversarial._threats.balls import (
    L2,
    Linf,
    Threat,
    as_column,
    check_ids,
    divide_or,
    max_abs,
    streams_per_example,
    words_per_element,
)
from noisejax.adversarial._threats.sparse import L0, L1, _unblocked


def ddn(
    key: jax.Array,
    logits_fn: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    initial_norm: Amount = 1.0,
    gamma: Amount = 0.05,
    *,
    steps: int = 100,
    targeted: bool = False,
    ids: jax.Array | None = None,
    unroll: int | None = None,
) -> jax.Array:
    """Decoupled direction and norm: unit steps of gradient ascent on a sphere that shrinks when the model is fooled.

    Args:
      key: a JAX key. Where a gradient is 0, a random direction is drawn.
      logits_fn: ``logits_fn(x) -> (B, classes)``.
      x: floats of shape (B, ...), inside the bounds.
      labels: integers of shape (B,).
      threat: `L2`. Its eps is the largest perturbation that counts.
      initial_norm: the first radius of the sphere: a scalar, or one value per example (B,).
      gamma: the relative change of the radius in a step: a scalar, or one value per example (B,).
      steps: the number of gradients. Static.
      targeted: whether the labels are targets that the model should predict. Static.
      ids: integers of shape (B,). The draws of example i depend only on ``(key, ids[i])``.
      unroll: how many steps of the loop are unrolled, as in `attack`. Static.

    Returns:
      The adversarial examples: float32, of x's shape, without gradient. An example is x itself if no perturbation
      inside the threat was found (check with `misclassified`), or if x is already misclassified.

    References:
      Rony et al., "Decoupling direction and norm for efficient gradient-based L2 adversarial attacks and defenses",
      CVPR 2019.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> logits_fn = lambda x: x @ jnp.array([[1.0, -1.0], [0.5, -0.5]])
      >>> x, labels = jnp.array([[0.5, 0.5]]), jnp.array([0])
      >>> threat = adversarial.L2(2.0, bounds=None)
      >>> x_adv = adversarial.ddn(jax.random.key(0), logits_fn, x, labels, threat)
      >>> round(float(threat.norm(x_adv - x)[0]), 1)
      0.7
    """
    x, threat, labels, logits_of = prepare_attack(
        "ddn", key, logits_fn, x, labels, threat, (L2,), targeted, steps=steps
    )
    initial_norm = amount_per_example("ddn", "initial_norm", initial_norm, x.shape[0], positive)
    gamma = amount_per_example("ddn", "gamma", gamma, x.shape[0], decay)

    def value(logits):  # unit steps along its gradient are those along the gradient of the cross-entropy
        return -log_odds(logits, labels) if targeted else log_odds(logits, labels)

    def rule(radius, now, seen, best, value, slope, size, share):
        return radius * jnp.where(now, 1 - gamma, 1 + gamma)

    def onto(delta, radius):
        delta = delta * as_column(divide_or(radius, threat.norm(delta)), delta)
        return threat._clip(delta, x)

    walk = _Walk("ddn", key, ids, logits_of, x, threat, labels, targeted, steps, unroll)
    radius = jnp.zeros_like(jnp.sum(x, axis=tuple(range(1, x.ndim)))) + initial_norm
    return walk(value, radius, rule, onto, lambda share: 0.01 + 0.99 * share)


def fmn(
    key: jax.Array,
    logits_fn: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    step_size: Amount | None = None,
    gamma: Amount = 0.05,
    *,
    steps: int = 100,
    targeted: bool = False,
    ids: jax.Array | None = None,
    unroll: int | None = None,
) -> jax.Array:
    """Fast minimum norm: steps of gradient ascent on the margin, projected onto a ball whose radius is adapted.

    The radius starts as the distance to the decision boundary, to first order. It then shrinks while the model is
    fooled, and grows otherwise. Step sizes and radius changes decay along half a cosine.

    Args:
      key: a JAX key. Where a gradient is 0, a random direction is drawn.
      logits_fn: ``logits_fn(x) -> (B, classes)``.
      x: floats of shape (B, ...), inside the bounds.
      labels: integers of shape (B,).
      threat: `Linf`, `L2`, `L1` or `L0`. Its eps is the largest perturbation that counts.
      step_size: the Euclidean length of the first step; the last step is a hundredth of it. None for 1, the authors'
        value, and for `L0` for the Euclidean size of the bounds: under L0 the size of a change is free, and with steps
        of 1 on images more features have to change.
      gamma: the relative change of the radius in the first step; it decays to 0.001. A scalar, or one value per
        example (B,).
      steps: the number of gradients. Static.
      targeted: whether the labels are targets that the model should predict. Static.
      ids: integers of shape (B,). The draws of example i depend only on ``(key, ids[i])``.
      unroll: how many steps of the loop are unrolled, as in `attack`. Static.

    Returns:
      The adversarial examples: float32, of x's shape, without gradient. An example is x itself if no perturbation
      inside the threat was found (check with `misclassified`), or if x is already misclassified.

    References:
      Pintor et al., "Fast minimum-norm adversarial attacks through adaptive norm constraints", NeurIPS 2021. Here
      the L2 and L1 forms ignore elements of the gradient that push against a bound. Without this the L2 form rarely
      succeeds on images that are mostly black. (Foolbox 3.3.4 does not project in its L2 form.)

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> logits_fn = lambda x: x @ jnp.array([[1.0, -1.0], [0.5, -0.5]])
      >>> x, labels = jnp.array([[0.5, 0.5]]), jnp.array([0])
      >>> threat = adversarial.Linf(2.0, bounds=None)
      >>> x_adv = adversarial.fmn(jax.random.key(0), logits_fn, x, labels, threat)
      >>> round(float(threat.norm(x_adv - x)[0]), 1)
      0.5
    """
    norms = (Linf, L2, L1, L0)
    x, threat, labels, logits_of = prepare_attack(
        "fmn", key, logits_fn, x, labels, threat, norms, targeted, steps=steps
    )
    gamma = amount_per_example("fmn", "gamma", gamma, x.shape[0], decay)

    def value(logits):
        return attack_lead(logits, labels, targeted)

    def rule(radius, now, seen, best, value, slope, size, share):
        change = 0.001 + (gamma - 0.001) * share
        if isinstance(threat, L0):
            fewer = jnp.minimum(jnp.minimum(radius - 1, jnp.floor(radius * (1 - change))), best)
            more = jnp.maximum(radius + 1, jnp.floor(radius * (1 + change)))
            return jnp.maximum(jnp.where(now, fewer, more), 1)
        first = size + jnp.where(slope > 0, jnp.abs(value) / jnp.where(slope > 0, slope, 1), jnp.inf)
        first = 1.001 * first  # otherwise rounding may keep it on the near side of the boundary
        return jnp.where(now, jnp.minimum(radius * (1 - change), best), jnp.where(seen, radius * (1 + change), first))

    def onto(delta, radius):
        ball = copy.copy(threat)
        ball.eps = as_column(radius, delta)
        return ball.project(delta, x)

    within = isinstance(threat, (L2, L1))
    walk = _Walk("fmn", key, ids, logits_of, x, threat, labels, targeted, steps, unroll, within)
    each_one = jnp.zeros_like(jnp.sum(x, axis=tuple(range(1, x.ndim))))
    radius = each_one + (1 if isinstance(threat, L0) else jnp.inf)
    if step_size is not None:
        length = one_amount("fmn", "step_size", step_size, positive)
    else:
        length = _size_of_bounds(threat, x) if isinstance(threat, L0) else 1.0
    return walk(value, radius, rule, onto, lambda share: length * (0.01 + 0.99 * share))


def _size_of_bounds(threat: Threat, x: jax.Array) -> jax.Array:
    """The length of the diagonal of the bounds over the features that may change, as a column."""
    wide = threat.masked(jnp.zeros_like(x) + threat.reach(x).astype(jnp.float32))
    wide = jnp.where(jnp.isfinite(wide), wide, 1)
    return jnp.sqrt(jnp.sum(wide * wide, axis=tuple(range(1, x.ndim)), keepdims=True))


class _Walk:
    """Unit steps of gradient ascent, each projected onto a ball whose radius depends on the previous step."""

    def __init__(self, name, key, ids, logits_of, x, threat, labels, targeted, steps, unroll, within=False):
        self.name, self.streams = name, streams_per_example(key, check_ids(name, ids, x), x)
        self.logits_of, self.x, self.threat, self.labels = logits_of, x, threat, labels
        self.targeted, self.steps = targeted, steps
        self.unroll = steps_unrolled(name, unroll, steps, logits_of, x)
        self.within = within  # whether to ignore elements of the gradient that push against a bound

    def __call__(self, value_of, radius, rule, onto, length) -> jax.Array:
        x, threat = self.x, self.threat
        headroom = threat.headroom(x)
        widest = jnp.inf if headroom is None else threat.norm(threat.masked(jnp.maximum(-headroom[0], headroom[1])))

        def judged(delta):
            logits = self.logits_of(threat.perturbed(x, delta))
            value = value_of(logits)
            return jnp.sum(value), (value, is_fooled(logits, self.labels, self.targeted))

        def kept(best, delta, now):
            size = threat.norm(delta)
            return choose_examples(now & (size < best.size), Nearest(delta, size), best), size

        def step(carry, number):
            delta, radius, best, broken, flat = carry
            grads, (value, now) = jax.grad(judged, has_aux=True)(delta)
            grads = threat.masked(jnp.where(jnp.isfinite(grads), grads, 0))
            grads = _unblocked(threat, grads, x, delta) if self.within else grads
            best, size = kept(best, delta, now)
            broken, flat = broken | ~jnp.isfinite(value), flat & (jnp.reshape(max_abs(grads), now.shape) == 0)
            share = (1 + jnp.cos(jnp.pi * number.astype(jnp.float32) / self.steps)) / 2
            seen, slope = jnp.isfinite(best.size), dual_norm(threat, grads)
            radius = jnp.minimum(rule(radius, now, seen, best.size, value, slope, size, share), widest)
            delta = onto(delta + length(share) * self.unit(grads, number), radius)
            return (delta, radius, best, broken, flat), None

        best = Nearest(jnp.zeros_like(x), jnp.full_like(radius, jnp.inf))
        never = jnp.zeros_like(radius, bool)
        carry = jnp.zeros_like(x), radius, best, never, never | (self.steps > 0)
        numbers = jnp.arange(self.steps, dtype=jnp.int32)
        delta, _, best, broken, flat = jax.lax.scan(step, carry, numbers, unroll=self.unroll)[0]
        value, now = judged(delta)[1]
        best, _ = kept(best, delta, now)
        found = jnp.isfinite(best.size)
        doubt(self.name, (broken | ~jnp.isfinite(value)) & ~found, flat & ~found)
        return jax.lax.stop_gradient(keep_allowed(threat, x, best))

    def unit(self, grads, number) -> Any:
        """The gradient divided by its length, or a random direction where it is 0."""
        streams = jax.vmap(lambda stream: fold(stream, number))(self.streams)
        drawn = self.threat.masked(sample.normal(words_per_element(streams, "adversarial.walk", self.x)))
        top = max_abs(grads)
        grads = jnp.where(top > 0, divide_or(grads, top), drawn)
        squares = jnp.sum(grads * grads, axis=tuple(range(1, grads.ndim)), keepdims=True)
        return divide_or(grads, jnp.sqrt(squares))
