"""Losses for adversarial training, one number per example. Each loss runs its own attack.

They are differentiable in the parameters that the model closes over. No gradient flows through the attack. Inside jit,
the attack starts from x clipped to the bounds: an overshoot of an augmentation must not end a training run with NaN.
"""

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._contract import Amount
from noisejax._random import sample
from noisejax._random.stream import stage
from noisejax.adversarial._attacks.driver import pure_model
from noisejax.adversarial._attacks.pgd import pgd
from noisejax.adversarial._inputs import check_attack
from noisejax.adversarial._losses import cross_entropy, is_label, kl, untargeted
from noisejax.adversarial._options import (
    PairingOptions,
    TrainingOptions,
    amount_per_example,
    check_amount,
    check_options,
)
from noisejax.adversarial._outputs import check_values, labelled_logits
from noisejax.adversarial._threats.balls import (
    Threat,
    as_column,
    check_ids,
    fit_to_rank,
    spread,
    streams_per_example,
    words_per_element,
)

_ORDER = "key, predict, x, labels, threat"


def trades(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    beta: Amount = 6.0,
    step_size: Any = None,
    std: Amount = 0.001,
    *,
    attacked: Callable | None = None,
    attack: Callable = pgd,
    ids: jax.Array | None = None,
    **options: Unpack[TrainingOptions],
) -> jax.Array:
    """TRADES: ``CE(f(x), y) + beta * KL(f(x) || f(x'))``, where x' maximizes the KL inside the threat.

    The attack starts from ``x + std * N(0, 1)``. Gradients flow through both terms and both arguments of the KL. The
    clean logits that the attack compares with are computed once.

    Args:
      key: a JAX key.
      predict: ``predict(x) -> logits`` of shape (B, classes), called on x and then on x'. It may be an nnx model in
        train mode, whose statistics change in these two calls only.
      x: floats of shape (B, ...), inside the threat's bounds.
      labels: integers of shape (B,).
      threat: the perturbations that are allowed.
      beta: the weight of the KL: a scalar, or one value per example (B,). 0 gives ordinary training.
      step_size: the step size of the attack, as in `pgd`.
      std: the standard deviation of the start around x, in units of x: a scalar, or one value per example (B,).
      attacked: the model that is attacked, a pure function ``attacked(x) -> logits``. The authors use eval mode. None
        for `predict`, which must then be pure.
      attack: `pgd`, or an attack with the same signature. Set further options of it with `functools.partial`. Static.
      ids, **options: as in `attack`: ``steps=10``, ``unroll=10``, ...

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML 2019.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> x, y, w = jnp.array([[0.25, 0.5]]), jnp.array([0]), jnp.array([[2.0, 0.0], [0.0, 1.0]])
      >>> def loss(w, eps):
      ...     threat = adversarial.Linf(eps, bounds=(0, 1))
      ...     return adversarial.trades(jax.random.key(0), lambda x: x @ w, x, y, threat).mean()
      >>> step = jax.jit(jax.value_and_grad(loss))
      >>> bool(step(w, 0.25)[0] > step(w, 0.0)[0])
      True
    """
    check_options(trades, options, TrainingOptions)
    x = check_attack("trades", key, predict, x, threat, (labels,), order=_ORDER)
    beta = _weight("trades", "beta", beta, step_size, x)
    start = normal_start("trades", key, x, std, ids)
    clean = labelled_logits("trades", predict(x), labels)
    reference = jax.lax.stop_gradient(clean if attacked is None else attacked(x))
    x_adv = attack(
        key,
        untargeted(attacked or predict, kl),
        threat.into_bounds(x),
        threat,
        step_size,
        args=(reference,),
        start=start,
        ids=ids,
        **options,
    )
    return cross_entropy(clean, labels) + beta * kl(predict(x_adv), clean)


def mart(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    beta: Amount = 6.0,
    step_size: Any = None,
    std: Amount = 0.001,
    *,
    attacked: Callable | None = None,
    attack: Callable = pgd,
    ids: jax.Array | None = None,
    **options: Unpack[TrainingOptions],
) -> jax.Array:
    """MART: a boosted cross-entropy of x', and a KL with the largest weight where the clean example is misclassified.

    With the probabilities p at x and q at x' it is
    ``-log q_y - log(1 - max_{j != y} q_j) + beta * KL(p || q) * (1 - p_y)``. x' maximizes the cross-entropy, starting
    from ``x + std * N(0, 1)``. Gradients flow through all terms.

    Args:
      key, predict, x, labels, threat, step_size, std, attacked, attack, ids, **options: as in `trades`.
      beta: the weight of the KL: a scalar, or one value per example (B,). The authors' code uses 6 and 5.

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Wang et al., "Improving adversarial robustness requires revisiting misclassified examples", ICLR 2020, equation
      11. As in the authors' code, the logarithm uses 1.0001 instead of 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> x, y, threat = jnp.array([[0.25, 0.5]]), jnp.array([0]), adversarial.Linf(0.25, bounds=(0, 1))
      >>> jax.jit(lambda key: adversarial.mart(key, lambda x: 4 * x, x, y, threat))(jax.random.key(0)).shape
      (1,)
    """
    check_options(mart, options, TrainingOptions)
    x = check_attack("mart", key, predict, x, threat, (labels,), order=_ORDER)
    beta = _weight("mart", "beta", beta, step_size, x)
    start = normal_start("mart", key, x, std, ids)
    clean = labelled_logits("mart", predict(x), labels)
    loss = untargeted(attacked or predict)
    x_adv = attack(key, loss, threat.into_bounds(x), threat, step_size, args=(labels,), start=start, ids=ids, **options)
    logits = labelled_logits("mart", predict(x_adv), labels)
    p, q = (jax.nn.softmax(z, axis=-1) for z in (clean, logits))
    own = is_label(clean, labels)
    runner_up = jnp.max(jnp.where(own, 0, q), axis=-1)
    boosted = cross_entropy(logits, labels) - jnp.log(1.0001 - runner_up)
    doubt = 1.0000001 - jnp.sum(jnp.where(own, p, 0), axis=-1)
    return boosted + beta * kl(logits, clean) * doubt


def alp(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    weight: Amount = 0.5,
    step_size: Any = None,
    *,
    attacked: Callable | None = None,
    attack: Callable = pgd,
    **options: Unpack[PairingOptions],
) -> jax.Array:
    """Adversarial logit pairing: ``CE(f(x'), y) + weight * |f(x) - f(x')|**2``, for comparison with other work.

    Its robustness fails under strong attacks (Engstrom, Ilyas and Athalye, 2018), because the pairing flattens the loss
    that PGD maximizes. Evaluate such models with many steps and restarts, or train with `trades`.

    Args:
      key, predict, x, labels, threat, step_size, attacked, attack, **options: as in `trades`. The attack maximizes the
        cross-entropy, from its default start.
      weight: the weight of the pairing: a scalar, or one value per example (B,). 0 gives PGD training.

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Kannan, Kurakin and Goodfellow, "Adversarial logit pairing", 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> x, y, threat = jnp.array([[0.25, 0.5]]), jnp.array([0]), adversarial.Linf(0.25, bounds=(0, 1))
      >>> @jax.jit
      ... def loss(key, x, y):
      ...     return adversarial.alp(key, lambda x: x, x, y, threat, steps=1, random_start=False)
      >>> loss(jax.random.key(0), x, y).round(3).tolist()
      [1.199...]
    """
    check_options(alp, options, PairingOptions)
    x = check_attack("alp", key, predict, x, threat, (labels,), order=_ORDER)
    weight = _weight("alp", "weight", weight, step_size, x)
    clean = labelled_logits("alp", predict(x), labels)
    loss = untargeted(attacked or predict)
    x_adv = attack(key, loss, threat.into_bounds(x), threat, step_size, args=(labels,), **options)
    logits = labelled_logits("alp", predict(x_adv), labels)
    return cross_entropy(logits, labels) + weight * jnp.sum(jnp.square(clean - logits), axis=-1)


def free_step(
    loss: Callable,
    params: Any,
    x: jax.Array,
    threat: Threat,
    delta: jax.Array,
    step_size: Any = None,
    args: tuple = (),
    *,
    has_aux: bool = False,
) -> tuple[Any, Any, jax.Array]:
    """One replay of free adversarial training: weight gradients and the next perturbation from one backward pass.

    Replay each batch m times. Each replay starts from the perturbation of the previous replay, which carries over to
    the next batch.

    Args:
      loss: ``loss(params, x, *args) -> (B,)``, or with `has_aux` a pair of that and auxiliary data (such as BatchNorm
        statistics). Its mean is differentiated.
      params: the parameters, a pytree of floats.
      x: floats of shape (B, ...), inside the threat's bounds.
      threat: the perturbations that are allowed.
      delta: the current perturbation, of x's shape. Start with zeros, and pass the result of the previous call from
        then on, also across batches.
      step_size: a scalar, one value per example (B,), or an array of x's rank; None for eps, the authors' value.
      args: arrays with x's leading axis, such as (labels,).
      has_aux: whether loss returns a pair. Static.

    Returns:
      ``(values, grads, delta)``: the loss of each example at the old delta (with `has_aux` the pair), the gradient of
      its mean in params, and the next delta.

    References:
      Shafahi et al., "Adversarial training for free!", NeurIPS 2019, algorithm 1.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import adversarial
      >>> def loss(w, x, y):
      ...     return adversarial.cross_entropy(x @ w, y)
      >>> tx, w, threat = optax.sgd(0.1), jnp.zeros((2, 2)), adversarial.Linf(0.25, bounds=(0, 1))
      >>> x, y = jnp.array([[0.25, 0.5]]), jnp.array([0])
      >>> def replay(carry, _):
      ...     w, state, delta = carry
      ...     values, grads, delta = adversarial.free_step(loss, w, x, threat, delta, args=(y,))
      ...     updates, state = tx.update(grads, state, w)
      ...     return (optax.apply_updates(w, updates), state, delta), values.mean()
      >>> carry, values = jax.lax.scan(replay, (w, tx.init(w), jnp.zeros_like(x)), length=4)
      >>> values.shape
      (4,)
    """
    x = check_attack("free_step", jax.random.key(0), loss, x, threat, args)
    has_aux = _checks.flag("free_step", "has_aux", has_aux)
    delta = _checks.operand("free_step", "delta", delta)
    if delta.shape != x.shape:
        got = tuple(delta.shape)
        raise ValueError(f"free_step: delta must have x's shape {x.shape}, got {got}. Start with jnp.zeros_like(x).")
    for leaf in jax.tree.leaves(params):
        _checks.native("free_step", "params", leaf)
        if not (isinstance(leaf, float) or jnp.issubdtype(getattr(leaf, "dtype", None) or object, jnp.inexact)):
            raise TypeError(f"free_step: params must be a pytree of arrays of floats, got {_checks.shown(leaf)} in it.")
    threat = threat.fitted(x)
    delta = threat.project(jnp.asarray(delta).astype(jnp.float32), x)

    def objective(params, delta):
        result = loss(params, threat.perturbed(x, delta), *args)
        values = result[0] if has_aux else result
        check_values("free_step", values, x)
        return jnp.mean(values.astype(jnp.float32)), result

    (grads, ascent), result = jax.grad(objective, argnums=(0, 1), has_aux=True)(params, delta)
    ascent = threat.masked(jnp.where(jnp.isfinite(ascent), ascent, 0).astype(jnp.float32))
    size = threat.reach(x) if step_size is None else per_example_size("free_step", step_size, x)
    return result, grads, threat.project(delta + size * threat.steepest(ascent, x, delta), x)


# Shared with other losses.


def normal_start(function: str, key, x: jax.Array, std, ids: jax.Array | None) -> jax.Array:
    """Normal draws of x's shape. Those of example i depend only on ``(key, ids[i])``."""
    std = amount_per_example(function, "std", std, x.shape[0])
    streams = streams_per_example(stage(key, "training"), check_ids(function, ids, x), x)
    return spread(std, x) * sample.normal(words_per_element(streams, f"adversarial.{function}", x))


def without_gradient(name: str, function: Callable, *example: Any) -> Callable:
    """The same function, without derivatives in the values that it closes over."""
    pure, closed = pure_model(name, function, *example)
    closed = jax.lax.stop_gradient(closed)
    return lambda *inputs: pure(*inputs, *closed)


def per_example_size(function: str, size: Any, x: jax.Array) -> jax.Array:
    """A scalar, one value per example or an array of x's rank, in a shape that broadcasts with x."""
    check_amount(function, "step_size", size)
    size = jnp.asarray(size).astype(jnp.float32)
    return fit_to_rank(function, "step_size", as_column(size, x) if size.shape == x.shape[:1] else size, x)


def _weight(function: str, name: str, weight: Any, step_size: Any, x: jax.Array) -> jax.Array:
    """The weight of a term of a training loss, after checking the step size as far as any attack needs it."""
    if step_size is not None:
        check_amount(function, "step_size", step_size)
    return amount_per_example(function, name, weight, x.shape[0])
