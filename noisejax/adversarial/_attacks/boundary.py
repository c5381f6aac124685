"""Tools of attacks on logits: the model, the nearest decision boundary to first order, and projections onto planes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax.adversarial._attacks.driver import pure_model
from noisejax.adversarial._inputs import check_attack, without_outside
from noisejax.adversarial._losses import classified_as, margin, misclassified
from noisejax.adversarial._outputs import check_labels
from noisejax.adversarial._threats.balls import L2, Linf, Threat, as_column, divide_or, max_abs
from noisejax.adversarial._threats.sparse import L0, L1, last_level

_FAR = 1e18  # the headroom without bounds: finite, so that it can be multiplied by 0


class Nearest(NamedTuple):
    """The smallest perturbation so far that fools the model, for each example."""

    delta: jax.Array
    size: jax.Array  # its norm, (B,); infinite where none was found


def check_norm(name: str, threat: Threat, norms: tuple[type, ...] = (Linf, L2, L1)) -> None:
    """Checks that the attack supports the threat's norm."""
    if type(threat) not in norms:
        known = " or ".join(ball.__name__ for ball in norms)
        raise TypeError(f"{name}: threat must be {known}, got {threat!r}.")


def prepare_attack(
    name: str, key, logits_fn, x, labels, threat, norms, targeted: bool = False, *, eot: int = 0, **counts: int
):
    """Checks the arguments of an attack on logits; returns x as float32, the fitted threat, the labels and the model.

    Args:
      norms: the threats that the attack supports.
      eot: if not 0, the model takes a key as its first argument.
      counts: static integers, by name.
    """
    order = "key, logits_fn, x, labels, threat"
    if isinstance(labels, Threat):
        raise TypeError(f"{name}: the first arguments must be {order}, in this order, got {labels!r} as labels.")
    targeted = _checks.flag(name, "targeted", targeted)
    labels = _labels(name, labels)
    x = check_attack(name, key, logits_fn, x, threat, (labels,), eot=eot, order=order)
    check_norm(name, threat, norms)
    for what, count in counts.items():
        _checks.count(name, what, count, 0 if what in ("steps", "queries") else 1, "It is static.")
    if not isinstance(targeted, bool):
        raise TypeError(f"{name}: targeted must be True or False, got {targeted!r}. It is static.")
    logits_of = model_logits(name, logits_fn, x, labels, eot)
    x, threat = jax.lax.stop_gradient((x, threat.fitted(x)))
    return x, threat, jnp.asarray(labels), logits_of


def model_logits(name: str, logits_fn: Callable, x: jax.Array, labels, eot: int = 0) -> Callable:
    """``f(x) -> float32 logits`` (with eot ``f(key, x)``), after checking its shape and the labels.

    Derivatives stop at everything the function closes over.
    """
    example = (jax.random.key(0), x) if eot else (x,)
    pure, closed = pure_model(name, logits_fn, *example)
    closed = jax.lax.stop_gradient(closed)
    logits = jax.eval_shape(lambda *inputs: pure(*inputs, *closed), *example)
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != x.shape[0] or shape[1] < 2:
        got = (
            f"shape {shape}."
            if shape is not None
            else (f"a {type(logits).__name__}. Select the logits: lambda x: predict(x)[0].")
        )
        raise ValueError(f"{name}: logits_fn must give logits of shape ({x.shape[0]}, classes), got {got}")
    labels = _labels(name, labels)
    check_labels(name, "labels", logits, labels)
    return lambda *inputs: pure(*inputs, *closed).astype(jnp.float32)


def _labels(name: str, labels: Any) -> Any:
    if not isinstance(labels, (jax.Array, np.ndarray)):
        _checks.native(name, "labels", labels)
        raise TypeError(f"{name}: labels must be an array of integers, got {_checks.shown(labels)}.")
    return labels


def is_fooled(logits: jax.Array, labels, targeted: bool) -> jax.Array:
    """Whether the prediction differs from the label, or, with `targeted`, equals the target."""
    return (classified_as if targeted else misclassified)(lambda logits: logits)(logits, labels)


def attack_lead(logits: jax.Array, labels, targeted: bool) -> jax.Array:
    """The attack's objective: `margin`, or with `targeted` minus that. Above 0 where the model is fooled."""
    value = margin(logits, labels)
    return -value if targeted else value


def one_hot(classes: jax.Array, count: int) -> jax.Array:
    return (
        jnp.expand_dims(classes, -1) == jnp.arange(count, dtype=classes.dtype).reshape((1,) * classes.ndim + (-1,))
    ).astype(jnp.float32)


def rival_classes(logits: jax.Array, labels, count: int | None) -> jax.Array:
    """The `count` most likely classes other than the label, of shape (B, count), the most likely one first."""
    classes = logits.shape[1]
    count = classes - 1 if count is None else min(count, classes - 1)
    others = jnp.where(one_hot(labels.astype(jnp.int32), classes) > 0, -jnp.inf, logits)
    return jnp.argsort(-others, axis=1)[:, :count]  # top_k would gather the examples of all devices


def nearest_boundary(logits_of: Callable, x, threat: Threat, labels, classes) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The decision boundary between the label and the given classes, of shape (B, K), that is nearest to first order.

    Returns:
      ``z_k - z_y`` for the class k of that boundary, of shape (B,); its gradient in x; and the logits.
    """
    logits, pull = jax.vjp(logits_of, x)
    count = logits.shape[1]
    directions = one_hot(classes.astype(jnp.int32), count) - one_hot(labels.astype(jnp.int32)[:, None], count)
    gaps = jnp.sum(logits[:, None] * directions, axis=-1)
    if classes.shape[1] == 1:
        return gaps[:, 0], _finite(threat, pull(directions[:, 0])[0]), logits
    grads = jax.vmap(lambda direction: _finite(threat, pull(direction)[0]), in_axes=1)(directions)  # (K, B, ...)
    slopes = jax.vmap(lambda grad: dual_norm(threat, grad))(grads).T
    distance = jnp.where(slopes > 0, jnp.abs(gaps) / jnp.where(slopes > 0, slopes, 1), jnp.inf)
    chosen = one_hot(jnp.argmin(distance, axis=1), classes.shape[1])
    # A gap is infinite if the model rules a class out, and 0 times infinity is NaN.
    gap = jnp.sum(jnp.where(chosen > 0, gaps, 0), axis=1)
    mask = jnp.expand_dims(chosen.T, tuple(range(2, grads.ndim)))
    return gap, jnp.sum(jnp.where(mask > 0, grads, 0), axis=0), logits


def _finite(threat: Threat, grad):
    return threat.masked(jnp.where(jnp.isfinite(grad), grad, 0))


def dual_norm(threat: Threat, grad: jax.Array) -> jax.Array:
    """The rate at which a function with this gradient increases per unit of the threat's norm, of shape (B,)."""
    axes = tuple(range(1, grad.ndim))
    if isinstance(threat, Linf):
        return jnp.sum(jnp.abs(grad), axis=axes)
    if isinstance(threat, (L1, L0)):
        return jnp.max(jnp.abs(grad), axis=axes, initial=0)
    top = max_abs(grad)  # so that squares do not underflow
    return jnp.reshape(top, -1) * jnp.sqrt(jnp.sum(divide_or(grad, top) ** 2, axis=axes))


def step_to_plane(threat: Threat, x: jax.Array, normal: jax.Array, rise: jax.Array) -> jax.Array:
    """The smallest change d in the threat's norm with ``<normal, d> = rise`` that keeps x inside the bounds.

    If the bounds allow no such d, the result is the change that comes closest. The solution is exact.

    Args:
      threat: `Linf`, `L2` or `L1`; its eps does not matter.
      x: the point that is changed, of shape (B, ...), inside the bounds.
      normal: of x's shape; 0 where x may not change.
      rise: of shape (B,).

    References:
      Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020,
      problem (5), and for L1 and Linf Hein and Andriushchenko, NeurIPS 2017.
    """
    largest = max_abs(normal)
    along = divide_or(normal, largest) * jnp.where(as_column(rise, normal) < 0, -1.0, 1.0)
    need = jnp.abs(rise)[:, None] / jnp.maximum(jnp.reshape(largest, (-1, 1)), 1e-30)
    headroom = threat.headroom(x)
    cap = (
        jnp.full_like(along, _FAR)
        if headroom is None
        else jnp.clip(jnp.where(along > 0, headroom[1], -headroom[0]), 0, _FAR)
    )
    rate, cap = (v.reshape(v.shape[0], -1) for v in (jnp.abs(along), cap))
    cap = jnp.where(rate > 0, cap, 0)
    size = _greedy(rate, cap, need) if isinstance(threat, L1) else _level(threat, rate, cap, need)
    return jnp.sign(along) * jnp.where(need > 0, size, 0).reshape(x.shape)


def _level(threat: Threat, rate, cap, need):
    """Sizes ``min(t * speed, cap)`` with ``sum(rate * size) = need``: each element moves until it reaches its cap."""
    speed = jnp.ones_like(rate) if isinstance(threat, Linf) else rate
    slope = rate * speed
    knots = divide_or(cap, speed)  # the t at which an element reaches its cap
    # Between the two floats around the solution the sum is linear in t: the elements that have reached their caps are
    # known there, and t follows from them.
    below = last_level(lambda t: jnp.sum(rate * jnp.minimum(t * speed, cap), axis=1, keepdims=True) < need, rate)
    met = knots <= below
    rest = need - jnp.sum(jnp.where(met, rate * cap, 0), axis=1, keepdims=True)
    t = jnp.maximum(divide_or(rest, jnp.sum(jnp.where(met, 0, slope), axis=1, keepdims=True)), below)
    enough = jnp.sum(rate * cap, axis=1, keepdims=True) >= need
    return jnp.where(enough, jnp.minimum(t * speed, cap), cap)


def _greedy(rate, cap, need):
    """The smallest sum of sizes with ``sum(rate * size) = need``: elements in order of their rate, up to their caps."""
    gain = rate * cap
    falling, gains = jax.lax.sort((-rate, gain), dimension=1, num_keys=1)
    enough = jnp.cumsum(gains, axis=1) >= need
    edge = jnp.max(jnp.where(enough, -falling, 0), axis=1, keepdims=True)
    rest = need - jnp.sum(jnp.where(rate > edge, gain, 0), axis=1, keepdims=True)
    share = divide_or(rest, jnp.sum(jnp.where(rate == edge, gain, 0), axis=1, keepdims=True))
    size = jnp.where(rate > edge, cap, jnp.where(rate == edge, jnp.clip(share, 0, 1) * cap, 0))
    return jnp.where(jnp.any(enough, axis=1, keepdims=True), size, cap)


def shorten_perturbations(judged: Callable, delta: jax.Array, steps: int) -> jax.Array:
    """Shrinks perturbations towards 0 as far as they still fool the model.

    Each step evaluates a point slightly beyond the place where the secant between both ends crosses the boundary.

    Args:
      judged: ``judged(delta) -> (lead, fooled)``, both of shape (B,).
      delta: perturbations that fool the model; others are returned unchanged.
      steps: the number of evaluations of the model.
    """
    low_value, _ = judged(jnp.zeros_like(delta))
    high_value, success = judged(delta)
    low, high = jnp.zeros_like(high_value), jnp.ones_like(high_value)

    def step(_, carry):
        low, low_value, high, high_value = carry
        cross = low + (high - low) * divide_or(-low_value, high_value - low_value, 0.5)
        share = jnp.clip(cross + 0.1 * (high - cross), low, high)
        value, found = judged(delta * as_column(share, delta))
        return (
            jnp.where(found, low, share),
            jnp.where(found, low_value, value),
            jnp.where(found, share, high),
            jnp.where(found, value, high_value),
        )

    high = jax.lax.fori_loop(0, steps, step, (low, low_value, high, high_value))[2]
    return delta * as_column(jnp.where(success, high, 1), delta)


def keep_allowed(threat: Threat, x, best: Nearest) -> jax.Array:
    """The adversarial examples, or x where no perturbation inside the threat was found. NaN where x is outside."""
    allowed = jnp.isfinite(best.size) & threat.contains(best.delta, x)
    return without_outside(threat, x, threat.perturbed(x, jnp.where(as_column(allowed, x), best.delta, 0)))
