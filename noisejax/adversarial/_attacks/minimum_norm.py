"""DeepFool, and the attack of Carlini and Wagner: they look for the smallest perturbation that fools the model."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax._contract import Amount
from noisejax.adversarial._attacks.boundary import (
    Nearest,
    attack_lead,
    dual_norm,
    is_fooled,
    keep_allowed,
    nearest_boundary,
    prepare_attack,
    rival_classes,
)
from noisejax.adversarial._attacks.driver import choose_examples
from noisejax.adversarial._health import doubt
from noisejax.adversarial._options import amount_per_example, one_amount, positive
from noisejax.adversarial._threats.balls import L2, Linf, Threat, as_column, divide_or, spread


def deepfool(
    key: jax.Array,
    logits_fn: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    overshoot: Amount = 0.02,
    *,
    steps: int = 50,
    candidates: int | None = 10,
) -> jax.Array:
    """DeepFool: steps to the nearest decision boundary of the linearised model, until the prediction changes.

    The loop ends when every example is misclassified.

    Args:
      key: a JAX key; nothing is drawn from it.
      logits_fn: ``logits_fn(x) -> (B, classes)``.
      x: floats of shape (B, ...), inside the bounds.
      labels: integers of shape (B,).
      threat: `L2` or `Linf`. It sets the norm, and eps is the largest perturbation that counts.
      overshoot: the fraction by which the sum of the steps is extended: a scalar, or one value per example (B,).
      steps: the maximum number of steps. Static.
      candidates: the number of most likely classes to consider, including the label; None for all classes. A step takes
        ``candidates - 1`` gradients.

    Returns:
      The adversarial examples: float32, of x's shape, without gradient. An example is x itself if no perturbation
      inside the threat was found (check with `misclassified`), or if x is already misclassified.

    References:
      Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool: a simple and accurate method to fool deep neural networks", CVPR
      2016, as implemented in foolbox.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> logits_fn = lambda x: x @ jnp.array([[1.0, -1.0], [0.5, -0.5]])
      >>> x, labels = jnp.array([[0.5, 0.5]]), jnp.array([0])
      >>> threat = adversarial.L2(2.0, bounds=None)
      >>> x_adv = adversarial.deepfool(jax.random.key(0), logits_fn, x, labels, threat)
      >>> round(float(threat.norm(x_adv - x)[0]), 2)  # 1.02 times the distance of the boundary
      0.68
    """
    x, threat, labels, logits_of = prepare_attack(
        "deepfool", key, logits_fn, x, labels, threat, (L2, Linf), steps=steps
    )
    if candidates is not None and (not isinstance(candidates, (int, np.integer)) or candidates < 2):
        raise ValueError(f"deepfool: candidates must be at least 2, the label and a rival, got {candidates!r}.")
    overshoot = amount_per_example("deepfool", "overshoot", overshoot, x.shape[0])
    further = 1 + spread(overshoot, x)
    logits = logits_of(x)
    classes = rival_classes(logits, labels, None if candidates is None else candidates - 1)

    def moved(total):
        return threat._clip(further * total, x)

    def unfinished(carry):
        step, _, done, _, _ = carry
        return (step < steps) & ~jnp.all(done)

    def advance(carry):
        step, total, done, broken, flat = carry
        gap, normal, _ = nearest_boundary(logits_of, threat.perturbed(x, moved(total)), threat, labels, classes)
        slope = dual_norm(threat, normal)
        way = divide_or(jnp.abs(gap), slope) + 1e-4  # so that rounding never leaves a step short of the boundary
        unit = jnp.sign(normal) if isinstance(threat, Linf) else divide_or(normal, as_column(slope, normal))
        total = jnp.where(as_column(done, x), total, total + as_column(way, x) * unit)
        now = logits_of(threat.perturbed(x, moved(total)))
        broken = broken | ~jnp.isfinite(attack_lead(now, labels, False))
        return step + 1, total, done | is_fooled(now, labels, False), broken, flat & (slope == 0)

    done = is_fooled(logits, labels, False)
    broken = ~jnp.isfinite(attack_lead(logits, labels, False))
    start = jnp.int32(0), jnp.zeros_like(x), done, broken, jnp.full_like(done, steps > 0)
    _, total, done, broken, flat = jax.lax.while_loop(unfinished, advance, start)
    doubt("deepfool", broken & ~done, flat & ~done)
    delta = moved(total)
    return jax.lax.stop_gradient(keep_allowed(threat, x, Nearest(delta, jnp.where(done, threat.norm(delta), jnp.inf))))


def cw(
    key: jax.Array,
    logits_fn: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    step_size: Amount = 0.01,
    initial_const: Amount = 1e-3,
    confidence: Amount = 0.0,
    *,
    steps: int = 1000,
    searches: int = 9,
    targeted: bool = False,
) -> jax.Array:
    """Carlini and Wagner's attack: Adam on ``|delta|^2 + c * max(z_y - max_{j != y} z_j + confidence, 0)``.

    A change of variables, ``x + delta = tanh(w)`` scaled to the bounds, keeps the bounds. The constant c is searched
    for each example: it is multiplied by ten until the model is fooled, and then bisected.

    Args:
      key: a JAX key; nothing is drawn from it.
      logits_fn: ``logits_fn(x) -> (B, classes)``.
      x: floats of shape (B, ...), inside the bounds.
      labels: integers of shape (B,).
      threat: `L2`, with finite bounds or None. Its eps is the largest perturbation that counts.
      step_size: Adam's learning rate, in units of w: a scalar.
      initial_const: the first c: a scalar, or one value per example (B,).
      confidence: the margin by which the model must be fooled: a scalar, or one value per example (B,).
      steps: the number of Adam steps in each search. Static.
      searches: the number of values of c. Static.
      targeted: whether the labels are targets that the model should predict. Static.

    Returns:
      The adversarial examples: float32, of x's shape, without gradient. An example is x itself if no perturbation
      inside the threat was found (check with `misclassified`), or if x is already misclassified.

    References:
      Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017. Their code and foolbox stop
      a search when the sum of all losses stalls, so each example depends on the others. Here searches never stop early.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> logits_fn = lambda x: x @ jnp.array([[1.0, -1.0], [0.5, -0.5]])
      >>> x, labels = jnp.array([[0.5, 0.5]]), jnp.array([0])
      >>> threat = adversarial.L2(2.0, bounds=(-1, 1))
      >>> x_adv = adversarial.cw(jax.random.key(0), logits_fn, x, labels, threat, steps=200)
      >>> round(float(threat.norm(x_adv - x)[0]), 2)
      0.67
    """
    x, threat, labels, logits_of = prepare_attack(
        "cw", key, logits_fn, x, labels, threat, (L2,), targeted, steps=steps, searches=searches
    )
    rate = one_amount("cw", "step_size", step_size, positive)
    initial_const = amount_per_example("cw", "initial_const", initial_const, x.shape[0], positive)
    confidence = amount_per_example("cw", "confidence", confidence, x.shape[0])
    to_w, from_w = _stretched(threat)
    adam = optax.scale_by_adam()
    first, origin = to_w(x), from_w(to_w(x))

    def objective(w, const):
        point = from_w(w)
        logits = logits_of(x + threat.masked(point - x))
        ahead = attack_lead(logits, labels, targeted)
        squares = jnp.sum((point - origin) ** 2, axis=tuple(range(1, x.ndim)))
        value = const * jnp.maximum(confidence - ahead, 0) + squares
        now = is_fooled(logits, labels, targeted) & (ahead >= confidence)
        return jnp.sum(value), (threat.masked(point - x), now, ~jnp.isfinite(ahead))

    def search(carry, _):
        const, low, high, best, broken = carry

        def step(carry, _):
            w, state, found, best, broken = carry
            grads, (delta, now, bad) = jax.grad(objective, has_aux=True)(w, const)
            size = threat.norm(delta)
            best = choose_examples(now & (size < best.size), Nearest(delta, size), best)
            with jax.numpy_dtype_promotion("standard"):  # optax relies on it
                updates, state = adam.update(jnp.where(jnp.isfinite(grads), grads, 0), state)
            return (w - rate * jnp.asarray(updates), state, found | now, best, broken | bad), None

        begin = first, adam.init(first), jnp.zeros_like(const, bool), best, broken
        found, best, broken = jax.lax.scan(step, begin, length=steps)[0][2:]
        low, high = jnp.where(found, low, const), jnp.where(found, const, high)
        return (jnp.where(jnp.isfinite(high), (low + high) / 2, const * 10), low, high, best, broken), None

    logits = logits_of(x)
    clean, broken = is_fooled(logits, labels, targeted), ~jnp.isfinite(attack_lead(logits, labels, targeted))
    best = Nearest(jnp.zeros_like(x), jnp.where(clean, 0.0, jnp.inf))
    zero = jnp.zeros_like(best.size)
    carry = zero + initial_const, zero, zero + jnp.inf, best, broken
    best, broken = jax.lax.scan(search, carry, length=searches)[0][3:]
    doubt("cw", broken & ~jnp.isfinite(best.size))
    return jax.lax.stop_gradient(keep_allowed(threat, x, best))


def _stretched(threat: Threat) -> tuple[Callable, Callable]:
    """Maps to an unbounded variable and back."""
    if threat.bounds is None:
        return (lambda x: x), (lambda w: w)
    low, high = (jnp.asarray(bound) for bound in threat.bounds)
    middle, half = (low + high) / 2, (high - low) / 2
    return (lambda x: jnp.arctanh((x - middle) / half * 0.999999)), (lambda w: jnp.tanh(w) * half + middle)
