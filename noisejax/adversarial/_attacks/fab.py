"""FAB: finds the nearest adversarial example by steps onto the nearest decision boundary, biased towards x."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._random.stream import fold
from noisejax.adversarial._attacks.boundary import (
    Nearest,
    attack_lead,
    is_fooled,
    keep_allowed,
    nearest_boundary,
    prepare_attack,
    rival_classes,
    shorten_perturbations,
    step_to_plane,
)
from noisejax.adversarial._attacks.driver import choose_examples
from noisejax.adversarial._health import doubt
from noisejax.adversarial._options import one_amount, positive, share
from noisejax.adversarial._threats.balls import L2, Linf, Threat, as_column, check_ids
from noisejax.adversarial._threats.sparse import L1


def fab(
    key: jax.Array,
    logits_fn: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    *,
    steps: int = 100,
    restarts: int = 1,
    targets: int | None = 9,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
    refine: int = 3,
    ids: jax.Array | None = None,
) -> jax.Array:
    """Fast adaptive boundary attack: looks for the smallest perturbation that changes the prediction.

    Each step treats the model as linear. It projects both the current point and x onto the decision boundary, within
    the bounds and in the threat's norm, and moves the point slightly beyond a weighted mean of the two projections. If
    that fools the model, the perturbation is kept if it is the smallest so far, and the search continues closer to x.

    With `targets` this is FAB-T: one search for each of the most likely other classes, with the cost of two gradients
    per step. With ``targets=None`` each step considers all classes, and takes one gradient per class.

    There is no `eot`, and AutoAttack's version for stochastic models does not use FAB either. The smallest of many
    perturbations that fooled the model once would merely be the luckiest. For a stochastic model, pass its average over
    a fixed set of keys, ``lambda x: jax.vmap(lambda key: model(key, x))(keys).mean(0)``, and evaluate the result with
    fresh keys.

    Args:
      key: a JAX key. A single restart draws nothing from it.
      logits_fn: ``logits_fn(x) -> (B, classes)``.
      x: floats of shape (B, ...), inside the bounds.
      labels: integers of shape (B,).
      threat: `Linf`, `L2` or `L1`. Its eps is the largest perturbation that counts; it does not limit the search.
      steps: the number of steps of each search. All arguments from here on are static, except `ids`.
      restarts: the number of searches for each target. All except the first start at random, half of eps away from x.
      targets: the number of target classes, at most all other classes; None for the untargeted attack.
      alpha_max: the largest weight of the projection of x.
      eta: the factor by which a step overshoots the boundary.
      beta: the fraction of a successful perturbation from which the search continues.
      refine: the number of evaluations at the end that shorten the result (the final search of the paper).
      ids: integers of shape (B,). The starts of example i depend only on ``(key, ids[i])``.

    Returns:
      The adversarial examples: float32, of x's shape, without gradient. An example is x itself if no perturbation
      inside the threat was found (check with `misclassified`), or if x is already misclassified.

    References:
      Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020. The
      searches follow the code of AutoAttack, which omits the final one.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> logits_fn = lambda x: x @ jnp.array([[1.0, -1.0], [0.5, -0.5]])
      >>> x, labels = jnp.array([[0.5, 0.5]]), jnp.array([0])
      >>> threat = adversarial.L2(2.0, bounds=None)
      >>> x_adv = adversarial.fab(jax.random.key(0), logits_fn, x, labels, threat, steps=20)
      >>> round(float(threat.norm(x_adv - x)[0]), 3)  # the distance to the boundary
      0.671
    """
    norms, tries = (Linf, L2, L1), 1 if targets is None else targets
    x, threat, labels, logits_of = prepare_attack(
        "fab", key, logits_fn, x, labels, threat, norms, steps=steps, restarts=restarts, targets=tries
    )
    most = one_amount("fab", "alpha_max", alpha_max, share)
    rest = one_amount("fab", "beta", beta, share)
    factor = one_amount("fab", "eta", eta, positive)
    refine = _checks.count("fab", "refine", refine, 0, "It is static.")
    ids = check_ids("fab", ids, x)

    def judged(delta):
        logits = logits_of(threat.perturbed(x, delta))
        return attack_lead(logits, labels, False), is_fooled(logits, labels, False)

    def search(carry, number, classes):
        best, broken = carry
        start = 0.5 * threat.boundary(fold(key, number), x, ids) if restarts > 1 else jnp.zeros_like(x)
        delta = jnp.where(number > 0, start, 0)

        def body(carry, _):
            delta, best, broken = carry
            gap, normal, _ = nearest_boundary(logits_of, threat.perturbed(x, delta), threat, labels, classes)
            both = jnp.stack([threat.perturbed(x, delta), x])
            moved = jnp.sum(normal * delta, axis=tuple(range(1, x.ndim)))
            rises = jnp.stack([-gap, moved - gap])
            onto, from_x = jax.vmap(lambda start, rise: step_to_plane(threat, start, normal, rise))(both, rises)
            own, others = (jnp.maximum(threat.norm(d), 1e-8) for d in (onto, from_x))
            alpha = as_column(jnp.minimum(own / (own + others), most), x)
            delta = threat._clip((delta + factor * onto) * (1 - alpha) + factor * from_x * alpha, x)
            (lead, found), size = judged(delta), threat.norm(delta)
            best = choose_examples(found & (size < best.size), Nearest(delta, size), best)
            broken = broken | ~jnp.isfinite(lead)
            return (jnp.where(as_column(found, x), rest * delta, delta), best, broken), None

        return jax.lax.scan(body, (delta, best, broken), length=steps)[0][1:]

    logits = logits_of(x)
    already = is_fooled(logits, labels, False)
    best = Nearest(jnp.zeros_like(x), jnp.where(already, 0.0, jnp.inf))
    classes = rival_classes(logits, labels, targets)
    classes = classes.T[:, :, None] if targets is not None else classes[None]  # one search each, of (B, K) classes

    def several(carry, classes):
        for_each = jnp.arange(restarts, dtype=jnp.int32)
        return jax.lax.scan(lambda carry, number: (search(carry, number, classes), None), carry, for_each)[0], None

    broken = ~jnp.isfinite(attack_lead(logits, labels, False))
    best, broken = jax.lax.scan(several, (best, broken), classes)[0]
    doubt("fab", broken & ~jnp.isfinite(best.size))
    if refine:
        delta = shorten_perturbations(judged, best.delta, refine)
        best = Nearest(delta, jnp.where(jnp.isfinite(best.size), threat.norm(delta), jnp.inf))
    return jax.lax.stop_gradient(keep_allowed(threat, x, best))
