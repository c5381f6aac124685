"""Transforms for attacks as `optax` chains. The perturbation plays the role of the parameters.

`attack` passes every transform the gradient of -loss, since optax minimizes, and the extra arguments ``value`` (-loss
of each example, of shape (B,)), ``x`` (the clean examples) and ``threat``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax import _checks
from noisejax._contract import Amount
from noisejax.adversarial._options import check_amount, check_transform, one_amount
from noisejax.adversarial._threats.balls import Threat, as_column, divide_or, fit_to_rank, max_abs
from noisejax.adversarial._threats.sparse import L1


def for_each_example(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Applies a transform to each example separately, with a separate state, so that norms do not mix examples.

    It maps `tx` over the leading axis, so `tx` sees each example as a batch of one. Extra arguments that have a leading
    axis of examples are mapped too; the others are shared.

    Args:
      tx: any optax transform, such as ``optax.clip_by_global_norm(1.0)``.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from noisejax import adversarial
      >>> tx = adversarial.for_each_example(optax.clip_by_global_norm(1.0))
      >>> grads = jnp.array([[0.0, -4.0], [0.5, 0.0]])
      >>> tx.update(grads, tx.init(grads))[0].tolist()
      [[0.0, -1.0], [0.5, 0.0]]
    """
    check_transform("for_each_example", tx)
    tx = optax.with_extra_args_support(tx)

    def single(leaf):
        return leaf[None]

    def init(params):
        return jax.vmap(lambda params: tx.init(jax.tree.map(single, params)))(params)

    def update(updates, state, params=None, **extra):
        n = jax.tree.leaves(updates)[0].shape[0]

        def axis(leaf):
            return 0 if np.ndim(leaf) and np.shape(leaf)[0] == n else None

        shared = jax.tree.map(axis, extra)

        def one(updates, state, params, extra):
            updates, params = jax.tree.map(single, (updates, params))
            extra = jax.tree.map(
                lambda along, leaf: leaf if along is None else leaf[None],
                shared,
                extra,
                is_leaf=lambda leaf: leaf is None,
            )
            updates, state = tx.update(updates, state, params, **extra)
            return jax.tree.map(lambda leaf: leaf[0], updates), state

        return jax.vmap(one, in_axes=(0, 0, 0, shared))(updates, state, params, extra)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_steepest() -> optax.GradientTransformationExtraArgs:
    """Replaces the gradient by the threat's steepest direction: the sign for `Linf`, the unit gradient for `L2`.

    It needs the extra arguments ``x`` and ``threat``, which `attack` passes.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_steepest()
      >>> delta = x = jnp.zeros((1, 2))
      >>> threat = adversarial.Linf(0.1, bounds=None)
      >>> tx.update(jnp.array([[0.3, -2.0]]), tx.init(delta), delta, x=x, threat=threat)[0].tolist()
      [[1.0, -1.0]]
    """

    def update(grads, params, x, threat):
        return -threat.steepest(-grads, x, params)  # threats ascend, optax descends

    return _stateless("scale_by_steepest", update)


def scale_by_norm(order: float | str = 2) -> optax.GradientTransformationExtraArgs:
    """Divides each example's gradient by its norm; a gradient of 0 stays 0.

    Args:
      order: 1, 2, inf, or `'mean'`, the mean absolute value. Static.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_norm(1)
      >>> tx.update(jnp.array([[3.0, -1.0], [0.0, 0.0]]), tx.init(None))[0].tolist()
      [[0.75, -0.25], [0.0, 0.0]]
    """
    _checks.one_of("scale_by_norm", "order", order, (1, 2, np.inf, "mean"))

    def update(grads, params, x, threat):
        largest = max_abs(grads)
        unit = divide_or(grads, largest)  # so that squares neither underflow nor overflow
        axes = tuple(range(1, grads.ndim))
        if order == np.inf:
            return unit
        if order == 2:
            return divide_or(unit, as_column(jnp.sqrt(jnp.sum(unit * unit, axis=axes)), unit))
        total = jnp.mean if order == "mean" else jnp.sum
        return divide_or(unit, as_column(total(jnp.abs(unit), axis=axes), unit))

    return _stateless("scale_by_norm", update, needs=False)


def scale_by_top_sign(share: float = 0.01) -> optax.GradientTransformationExtraArgs:
    """Replaces each example's gradient by a sparse step of L1 norm 1: the signs of its largest elements.

    The signs are divided by their number; all other elements are 0.

    Args:
      share: the share of elements that are kept, at least one element. Static.

    References:
      Tramèr and Boneh, "Adversarial training and robustness for multiple perturbations", NeurIPS 2019 (SLIDE).

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_top_sign(0.5)
      >>> tx.update(jnp.array([[3.0, -1.0, 0.5, -7.0]]), tx.init(None))[0].tolist()
      [[0.5, 0.0, 0.0, -0.5]]
    """
    share = _checks.scalar("scale_by_top_sign", "share", share)
    if not 0 < share <= 1:
        raise ValueError(f"scale_by_top_sign: share must be a share of the elements, in (0, 1], got {share!r}.")
    ball = L1(1.0, None, top=share)

    def update(grads, params, x, threat):
        return ball.steepest(grads, grads, grads)

    return _stateless("scale_by_top_sign", update, needs=False)


def scale_by_step(step_size: Any) -> optax.GradientTransformationExtraArgs:
    """Multiplies by -step_size, which turns a direction into a descent step as optax defines it.

    Args:
      step_size: a scalar, one value per example (B,), or an array of x's rank. It may be traced.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_step(jnp.array([1.0, 2.0]))
      >>> tx.update(jnp.ones((2, 3)), tx.init(None))[0].tolist()
      [[-1.0, -1.0, -1.0], [-2.0, -2.0, -2.0]]
    """
    check_amount("scale_by_step", "step_size", step_size)

    def update(grads, params, x, threat):
        size = jnp.asarray(step_size).astype(jnp.float32)
        if size.ndim == 1 and size.shape[0] == grads.shape[0] and grads.ndim > 1:
            size = as_column(size, grads)
        return -fit_to_rank("scale_by_step", "step_size", size, grads) * grads

    return _stateless("scale_by_step", update, needs=False)


def scale_by_reach(share: Amount) -> optax.GradientTransformationExtraArgs:
    """Multiplies by -share times the threat's reach (eps, except for `L0`): a step relative to the ball.

    Args:
      share: a scalar, which may be traced. Madry et al. use 2.5 / steps.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> tx = adversarial.scale_by_reach(0.25)
      >>> x, threat = jnp.zeros((2, 1)), adversarial.Linf(jnp.array([0.5, 1.0]), bounds=None)
      >>> tx.update(jnp.ones((2, 1)), tx.init(None), x=x, threat=threat)[0].tolist()
      [[-0.125], [-0.25]]
    """
    size = one_amount("scale_by_reach", "share", share)

    def update(grads, params, x, threat):
        return -(size * threat.reach(x)) * grads

    return _stateless("scale_by_reach", update)


def project_onto(threat: Threat, x: jax.Array) -> optax.GradientTransformationExtraArgs:
    """Shortens the update so that the perturbation stays inside the threat. Use it last in a chain.

    `attack` already projects. This transform is for custom loops whose parameters are a perturbation of x.

    Args:
      threat: the perturbations that are allowed.
      x: the clean examples, of shape (B, ...).

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from noisejax import adversarial
      >>> x, threat = jnp.full((1, 2), 0.5), adversarial.Linf(0.25, bounds=(0, 1))
      >>> tx = optax.chain(optax.sgd(1.0), adversarial.project_onto(threat, x))
      >>> delta = jnp.zeros_like(x)
      >>> updates, state = tx.update(jnp.array([[-3.0, 0.125]]), tx.init(delta), delta)
      >>> optax.apply_updates(delta, updates).tolist()
      [[0.25, -0.125]]
    """
    if not isinstance(threat, Threat):
        raise TypeError(f"project_onto: threat must be a threat such as Linf(eps, bounds), got {threat!r}.")
    x = jnp.asarray(_checks.operand("project_onto", "x", x, integers=False))
    x = x.astype(jnp.float32) if x.dtype.itemsize == 1 else x  # floats of 8 bits are not promoted

    def update(updates, params, _x, _threat):
        if params is None or params.shape != x.shape:
            raise ValueError(f"project_onto: the perturbation must have the shape of x, {x.shape}. Pass it as params.")
        return threat.project(params + updates, x) - params

    return _stateless("project_onto", update, needs=False)


def _stateless(name: str, function, needs: bool = True) -> optax.GradientTransformationExtraArgs:
    def update(updates, state, params=None, *, x=None, threat=None, **extra):
        del extra
        if needs and (x is None or threat is None):
            raise TypeError(f"{name}: update needs the extra arguments x= and threat=, which `attack` passes.")
        return function(updates, params, x, threat), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
