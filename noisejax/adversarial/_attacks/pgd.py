"""Gradient attacks under their usual names. Each passes a chain of transforms to `attack`."""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax._contract import Amount
from noisejax.adversarial._attacks.driver import run_attack
from noisejax.adversarial._attacks.transforms import scale_by_norm, scale_by_reach, scale_by_steepest, scale_by_step
from noisejax.adversarial._losses import climbed
from noisejax.adversarial._options import AttackOptions, check_amount, check_options, decay as decay_rate, one_amount
from noisejax.adversarial._threats.balls import Threat
from noisejax.adversarial._threats.sparse import L0


def fgsm(
    key: jax.Array,
    loss: Any,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    *,
    random_start: bool = False,
    restarts: int = 1,
    eot: int = 0,
    **options: Unpack[AttackOptions],
) -> jax.Array:
    """Fast gradient sign method: one step of steepest ascent, ``x + step_size * sign(grad)`` for `Linf`.

    With ``random_start=True`` and a step_size of 1.25 eps it is FGSM-RS.

    Args:
      key: a JAX key. Without a random start and eot nothing is drawn from it.
      loss: ``loss(x, *args) -> (B,)``, which is maximized; with eot, ``loss(key, x, *args)``.
      x: floats of shape (B, ...), inside the bounds.
      threat: the allowed perturbations, such as ``Linf(8 / 255, bounds=(0, 1))``.
      step_size: a scalar, one value per example (B,), or an array of x's rank; None for eps.
      args: arrays with x's leading axis, such as (labels,).
      random_start, restarts, eot, **options: as in `attack`.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient.

    References:
      Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015. Wong, Rice and
      Kolter, "Fast is better than free", ICLR 2020 (FGSM-RS).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.Linf(0.125, bounds=(0, 1))
      >>> x = jnp.array([[0.5, 0.95]])
      >>> adversarial.fgsm(jax.random.key(0), lambda x: x.sum(-1), x, threat).tolist()
      [[0.625, 1.0]]
    """
    check_options(fgsm, options, AttackOptions)
    tx = optax.chain(scale_by_steepest(), _step("fgsm", step_size, 1.0))
    return _run("fgsm", key, tx, loss, x, threat, args, 1, random_start, restarts, eot, options)


def bim(
    key: jax.Array,
    loss: Any,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    *,
    steps: int = 10,
    random_start: bool = False,
    restarts: int = 1,
    eot: int = 0,
    **options: Unpack[AttackOptions],
) -> jax.Array:
    """Basic iterative method (I-FGSM): steps of steepest ascent from x, each followed by a projection.

    Args:
      key, loss, x, threat, args: as in `pgd`.
      step_size: a scalar, one value per example (B,), or an array of x's rank; None for eps / steps.
      steps, random_start, restarts, eot, **options: as in `attack`.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient.

    References:
      Kurakin, Goodfellow and Bengio, "Adversarial examples in the physical world", 2016.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.Linf(0.125, bounds=(0, 1))
      >>> adversarial.bim(jax.random.key(0), lambda x: x.sum(-1), jnp.array([[0.5]]), threat).round(3).tolist()
      [[0.625]]
    """
    check_options(bim, options, AttackOptions)
    tx = optax.chain(scale_by_steepest(), _step("bim", step_size, 1 / _at_least_one(steps)))
    return _run("bim", key, tx, loss, x, threat, args, steps, random_start, restarts, eot, options)


def pgd(
    key: jax.Array,
    loss: Any,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    *,
    steps: int = 10,
    random_start: bool = True,
    restarts: int = 1,
    eot: int = 0,
    **options: Unpack[AttackOptions],
) -> jax.Array:
    """Projected gradient ascent: steps of steepest ascent from a random start, each followed by a projection.

    The steepest direction is the sign of the gradient for `Linf`, the gradient divided by its length for `L2`, the sign
    of its largest elements for `L1`, and the gradient divided by its largest element for `L0`.

    Args:
      key: a JAX key.
      loss: ``loss(x, *args) -> (B,)``, which is maximized. For a model, use ``untargeted(predict)``, or
        ``targeted(predict)`` with the targets as args. With eot, ``loss(key, x, *args)``.
      x: floats of shape (B, ...), inside the bounds.
      threat: the allowed perturbations, such as ``Linf(8 / 255, bounds=(0, 1))``.
      step_size: a scalar, one value per example (B,), or an array of x's rank; None for 2.5 eps / steps. For `L0` the
        default is ten times the width of the bounds, so that the gradient alone decides which features change.
      args: arrays with x's leading axis, such as (labels,).
      steps: the number of gradients. Static.
      random_start, restarts, eot, **options: as in `attack`.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient.

    References:
      Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> loss = adversarial.untargeted(lambda x: x @ jnp.array([[1.0, -1.0], [0.5, 0.0]]))
      >>> x, y = jnp.array([[0.5, 0.5], [0.25, 0.5]]), jnp.array([0, 1])
      >>> @jax.jit
      ... def attack(key, x, y, eps):
      ...     return adversarial.pgd(key, loss, x, adversarial.Linf(eps, bounds=(0, 1)), args=(y,))
      >>> attack(jax.random.key(0), x, y, 0.25).tolist()
      [[0.25, 0.25], [0.5, 0.75]]
    """
    check_options(pgd, options, AttackOptions)
    share = 10.0 if isinstance(threat, L0) else 2.5 / _at_least_one(steps)
    tx = optax.chain(scale_by_steepest(), _step("pgd", step_size, share))
    return _run("pgd", key, tx, loss, x, threat, args, steps, random_start, restarts, eot, options)


def mi_fgsm(
    key: jax.Array,
    loss: Any,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    *,
    steps: int = 10,
    random_start: bool = False,
    restarts: int = 1,
    eot: int = 0,
    decay: Amount = 1.0,
    **options: Unpack[AttackOptions],
) -> jax.Array:
    """Momentum iterative FGSM: ``m <- decay * m + grad / mean|grad|``, then a step of steepest ascent along m.

    Args:
      key, loss, x, threat, args: as in `pgd`.
      step_size: a scalar, one value per example (B,), or an array of x's rank; None for eps / steps.
      steps, random_start, restarts, eot, **options: as in `attack`.
      decay: the factor that the momentum is multiplied by in each step. It may be traced. 0 gives `bim`.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient.

    References:
      Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018. The paper divides by the L1 norm, and the
      authors' code by the mean. They differ by a constant factor, which does not affect `Linf`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.Linf(0.125, bounds=(0, 1))
      >>> adversarial.mi_fgsm(jax.random.key(0), lambda x: x.sum(-1), jnp.array([[0.5]]), threat).round(3).tolist()
      [[0.625]]
    """
    check_options(mi_fgsm, options, AttackOptions)
    decay = one_amount("mi_fgsm", "decay", decay)
    tx = optax.chain(
        scale_by_norm("mean"),
        optax.trace(decay),
        scale_by_steepest(),
        _step("mi_fgsm", step_size, 1 / _at_least_one(steps)),
    )
    return _run("mi_fgsm", key, tx, loss, x, threat, args, steps, random_start, restarts, eot, options)


def ni_fgsm(
    key: jax.Array,
    loss: Any,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    *,
    steps: int = 10,
    random_start: bool = False,
    restarts: int = 1,
    eot: int = 0,
    decay: Amount = 1.0,
    **options: Unpack[AttackOptions],
) -> jax.Array:
    """Nesterov iterative FGSM: `mi_fgsm` with the gradient taken at ``x + delta + step_size * decay * m``.

    Args:
      key, loss, x, threat, args: as in `pgd`.
      step_size: a scalar, one value per example (B,), or an array of x's rank; None for eps / steps.
      steps, random_start, restarts, eot, **options: as in `attack`.
      decay: the factor that the momentum is multiplied by in each step. It may be traced. 0 gives `bim`.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient.

    References:
      Lin et al., "Nesterov accelerated gradient and scale invariance for adversarial attacks", ICLR 2020.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.Linf(0.125, bounds=(0, 1))
      >>> adversarial.ni_fgsm(jax.random.key(0), lambda x: x.sum(-1), jnp.array([[0.5]]), threat).round(3).tolist()
      [[0.625]]
    """
    check_options(ni_fgsm, options, AttackOptions)
    decay = one_amount("ni_fgsm", "decay", decay)
    step = _step("ni_fgsm", step_size, 1 / _at_least_one(steps))
    tx = optax.chain(scale_by_norm("mean"), optax.trace(decay), scale_by_steepest(), step)

    def lookahead(delta, state):
        # The momentum is a descent direction of -loss. `step` flips its sign, as in an actual step along it.
        return delta + step.update(decay * state[1].trace, optax.EmptyState(), delta, x=x, threat=threat)[0]

    options.setdefault("lookahead", lookahead)
    return _run("ni_fgsm", key, tx, loss, x, threat, args, steps, random_start, restarts, eot, options)


def adam_pgd(
    key: jax.Array,
    loss: Any,
    x: jax.Array,
    threat: Threat,
    step_size: Any = None,
    args: tuple = (),
    *,
    steps: int = 10,
    random_start: bool = True,
    restarts: int = 1,
    eot: int = 0,
    b1: float = 0.9,
    b2: float = 0.999,
    **options: Unpack[AttackOptions],
) -> jax.Array:
    """Adam on the raw gradient, followed by a projection in each step.

    Args:
      key, loss, x, threat, args: as in `pgd`.
      step_size: Adam's learning rate: a scalar, one value per example (B,), or an array of x's rank; None for
        2.5 eps / steps.
      steps, random_start, restarts, eot, **options: as in `attack`.
      b1, b2: Adam's decay rates.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient.

    References:
      Uesato et al., "Adversarial risk and the dangers of evaluating against weak attacks", ICML 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.Linf(0.125, bounds=(0, 1))
      >>> adversarial.adam_pgd(jax.random.key(0), lambda x: x.sum(-1), jnp.array([[0.5]]), threat).round(3).tolist()
      [[0.625]]
    """
    check_options(adam_pgd, options, AttackOptions)
    decays: Any = (one_amount("adam_pgd", what, value, decay_rate) for what, value in (("b1", b1), ("b2", b2)))
    tx = optax.chain(optax.scale_by_adam(*decays), _step("adam_pgd", step_size, 2.5 / _at_least_one(steps)))
    return _run("adam_pgd", key, tx, loss, x, threat, args, steps, random_start, restarts, eot, options)


def _run(name: str, key, tx, loss, x, threat, args, steps, random_start, restarts, eot, options: Any) -> jax.Array:
    shared: Any = {"random_start": random_start, "restarts": restarts, "eot": eot, **options}
    # Adam's steps depend on how the scale of the gradient changes on the way; all others have the same direction.
    loss = loss if name == "adam_pgd" else climbed(loss, eot)
    return run_attack(name, key, tx, loss, x, threat, args, steps=steps, **shared)


def _step(function: str, step_size: Any, share: float) -> optax.GradientTransformationExtraArgs:
    if step_size is None:
        return scale_by_reach(share)
    check_amount(function, "step_size", step_size)
    return scale_by_step(jnp.asarray(step_size).astype(jnp.float32))


def _at_least_one(steps: Any) -> Any:
    return max(steps, 1) if isinstance(steps, (int, np.integer)) else 1  # the driver objects to anything else
