"""Losses of adversarial training, one number per example: each makes its adversarial examples by itself.

They have their gradient in whatever the model closes over, its parameters, and none through the attack.
"""

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp

from noisejax import _sample
from noisejax._stream import stage
from noisejax.adversarial._attacks.driver import check_attack
from noisejax.adversarial._attacks.pgd import pgd
from noisejax.adversarial._losses import cross_entropy, is_label, kl, untargeted
from noisejax.adversarial._options import PairingOptions, TrainingOptions, check_options
from noisejax.adversarial._threats.balls import Threat, as_column, fit_to_rank, streams_per_example, words_per_element


def trades(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    beta: float | jax.Array = 6.0,
    step_size: Any = None,
    std: float | jax.Array = 0.001,
    *,
    attacked: Callable | None = None,
    attack: Callable = pgd,
    ids: jax.Array | None = None,
    **options: Unpack[TrainingOptions],
) -> jax.Array:
    """TRADES: ``CE(f(x), y) + beta * KL(f(x) || f(x'))``, with the x' near x that maximises the KL.

    x' is sought from ``x + std * N(0, 1)``. Both terms and both arguments of the KL have their gradient. The clean
    logits that the attack compares with are computed once.

    Args:
      key: a JAX key.
      predict: ``predict(x) -> logits`` of shape (B, classes), called on x and then on x'. It may be an nnx model in
        train mode, which changes its statistics: in these two calls it does.
      x: floats of shape (B, ...), inside the threat's bounds.
      labels: integers of shape (B,).
      threat: what may be done to x.
      beta: the weight of the KL: a scalar, or one per example (B,). 0 is ordinary training.
      step_size: of the attack, as `pgd` has it.
      std: how far from x the attack starts, in units of x.
      attacked: the model that the attack sees, a pure function ``attacked(x) -> logits``: in eval mode, as the authors
        have it. None for `predict`, which then must be pure itself.
      attack: `pgd` or another one with its signature. Static.
      ids, **options: as `attack` has them: ``steps=10``, ``unroll=10``, ...

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
    x = check_attack("trades", key, predict, x, threat, (labels,))
    clean = predict(x)
    reference = jax.lax.stop_gradient(clean if attacked is None else attacked(x))
    x_adv = attack(
        key,
        untargeted(attacked or predict, kl),
        x,
        threat,
        step_size,
        args=(reference,),
        start=normal_start(key, "adversarial.trades", x, std, ids),
        ids=ids,
        **options,
    )
    return cross_entropy(clean, labels) + _weight("trades", "beta", beta, labels) * kl(predict(x_adv), clean)


def mart(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    beta: float | jax.Array = 6.0,
    step_size: Any = None,
    std: float | jax.Array = 0.001,
    *,
    attacked: Callable | None = None,
    attack: Callable = pgd,
    ids: jax.Array | None = None,
    **options: Unpack[TrainingOptions],
) -> jax.Array:
    """MART: a boosted cross-entropy of x', and a KL that weighs most where the clean example is misclassified.

    With p of x, q of x', the probabilities: ``-log q_y - log(1 - max_{j != y} q_j) + beta * KL(p || q) * (1 - p_y)``.
    x' maximises the cross-entropy, from ``x + std * N(0, 1)``. All terms have their gradient.

    Args:
      key, predict, x, labels, threat, step_size, std, attacked, attack, ids, **options: as in `trades`.
      beta: the weight of the KL: a scalar, or one per example (B,). The authors' code has 6 and 5.

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Wang et al., "Improving adversarial robustness requires revisiting misclassified examples", ICLR 2020, equation
      11. As the authors do, 1.0001 stands for 1 in the logarithm.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> x, y, threat = jnp.array([[0.25, 0.5]]), jnp.array([0]), adversarial.Linf(0.25, bounds=(0, 1))
      >>> jax.jit(lambda key: adversarial.mart(key, lambda x: 4 * x, x, y, threat))(jax.random.key(0)).shape
      (1,)
    """
    check_options(mart, options, TrainingOptions)
    x = check_attack("mart", key, predict, x, threat, (labels,))
    start = normal_start(key, "adversarial.mart", x, std, ids)
    loss = untargeted(attacked or predict)
    x_adv = attack(key, loss, x, threat, step_size, args=(labels,), start=start, ids=ids, **options)
    clean, logits = predict(x), predict(x_adv)
    p, q = (jax.nn.softmax(z.astype(jnp.float32), axis=-1) for z in (clean, logits))
    own = is_label(clean, labels)
    runner_up = jnp.max(jnp.where(own, 0, q), axis=-1)
    boosted = cross_entropy(logits, labels) - jnp.log(1.0001 - runner_up)
    doubt = 1.0000001 - jnp.sum(jnp.where(own, p, 0), axis=-1)
    return boosted + _weight("mart", "beta", beta, labels) * kl(logits, clean) * doubt


def alp(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    weight: float | jax.Array = 0.5,
    step_size: Any = None,
    *,
    attacked: Callable | None = None,
    attack: Callable = pgd,
    **options: Unpack[PairingOptions],
) -> jax.Array:
    """Adversarial logit pairing: ``CE(f(x'), y) + weight * |f(x) - f(x')|**2``, for comparison with other work.

    Its robustness does not withstand strong attacks (Engstrom, Ilyas and Athalye, 2018): the pairing flattens the loss
    that PGD climbs. Evaluate what it trains with many steps and restarts, or train with `trades`.

    Args:
      key, predict, x, labels, threat, step_size, attacked, attack, **options: as in `trades`; the attack maximises the
        cross-entropy, from where `attack` starts by itself.
      weight: of the pairing: a scalar, or one per example (B,). 0 is PGD training.

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
    x = check_attack("alp", key, predict, x, threat, (labels,))
    x_adv = attack(key, untargeted(attacked or predict), x, threat, step_size, args=(labels,), **options)
    clean, logits = predict(x), predict(x_adv)
    pairing = jnp.sum(jnp.square((clean - logits).astype(jnp.float32)), axis=-1)
    return cross_entropy(logits, labels) + _weight("alp", "weight", weight, labels) * pairing


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
    """One replay of free adversarial training: the gradient of the weights and the next perturbation, of one backward.

    A batch is replayed m times, each time at the perturbation that the last replay, or the last batch, has left.

    Args:
      loss: ``loss(params, x, *args) -> (B,)``, or with `has_aux` a pair of that and anything else (the statistics of a
        BatchNorm). The gradient is that of its mean.
      params: the parameters, a pytree of floats.
      x: floats of shape (B, ...), inside the threat's bounds.
      threat: what may be done to x.
      delta: the perturbation so far, of x's shape: zeros at first, and then what the last call returned, also across
        batches.
      step_size: a scalar, one per example (B,), or of x's rank; None for eps, as the authors have it.
      args: arrays with x's leading axis, as (labels,).
      has_aux: whether loss returns a pair. Static.

    Returns:
      ``(values, grads, delta)``: the loss of each example at the old delta (with `has_aux` the pair), the gradient of
      the mean in params, and the next delta.

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
    if getattr(delta, "shape", None) != x.shape:
        got = getattr(delta, "shape", None) or type(delta).__name__
        raise ValueError(f"free_step: delta must have x's shape {x.shape}, got {got}. Start with jnp.zeros_like(x).")
    threat = threat.fitted(x)
    delta = threat.project(jnp.asarray(delta).astype(jnp.float32), x)

    def objective(params, delta):
        result = loss(params, threat.perturbed(x, delta), *args)
        values = result[0] if has_aux else result
        if getattr(values, "shape", None) != x.shape[:1]:
            got = getattr(values, "shape", None) or type(values).__name__
            raise ValueError(
                f"free_step: the loss must give one number per example, of shape {x.shape[:1]}, got {got}."
            )
        return jnp.mean(values.astype(jnp.float32)), result

    (grads, ascent), result = jax.grad(objective, argnums=(0, 1), has_aux=True)(params, delta)
    ascent = threat.masked(jnp.where(jnp.isfinite(ascent), ascent, 0).astype(jnp.float32))
    size = threat.reach(x) if step_size is None else per_example_size("free_step", step_size, x)
    return result, grads, threat.project(delta + size * threat.steepest(ascent, x, delta), x)


# What other losses share with these.


def normal_start(key, tag: str, x: jax.Array, std, ids: jax.Array | None) -> jax.Array:
    """Normal draws of x's shape, example i's from ``(key, ids[i])`` alone."""
    return jnp.asarray(std).astype(jnp.float32) * _sample.normal(
        words_per_element(streams_per_example(stage(key, "training"), ids, x), tag, x)
    )


def without_gradient(function: Callable, *example: Any) -> Callable:
    """The same function, without derivatives in what it closes over."""
    pure, closed = jax.closure_convert(function, *example)
    closed = jax.lax.stop_gradient(closed)
    return lambda *inputs: pure(*inputs, *closed)


def per_example_size(function: str, size: Any, x: jax.Array) -> jax.Array:
    """A scalar, one per example, or an array of x's rank, to multiply x with."""
    size = jnp.asarray(size).astype(jnp.float32)
    return fit_to_rank(function, "step_size", as_column(size, x) if size.shape == x.shape[:1] else size, x)


def _weight(function: str, name: str, weight: Any, labels: jax.Array) -> jax.Array:
    weight = jnp.asarray(weight).astype(jnp.float32)
    if weight.shape not in ((), labels.shape):
        raise ValueError(f"{function}: {name} must be a scalar or of shape {labels.shape}, got shape {weight.shape}.")
    return weight
