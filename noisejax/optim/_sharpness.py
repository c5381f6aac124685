"""Sharpness-aware minimization and similar methods: the weight perturbations of their papers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from noisejax import _checks
from noisejax._contract import Amount
from noisejax.optim import _streams
from noisejax.optim._adversary import adversarial_weights, check_optimizer
from noisejax.optim._streams import ScalarOrSchedule
from noisejax.weights._perturb import check_only, selected

Only = str | tuple[str, ...] | Callable[[str, Any], bool] | None


def sam(
    inner: optax.GradientTransformation,
    rho: ScalarOrSchedule = 0.05,
    *,
    only: Only = None,
    alternate: bool = False,
    axis_name: Any = None,
    synchronize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Sharpness-aware minimization: ``e = rho * g / |g|``, with the norm of the whole tree.

    Args:
      inner: the optimizer of the weights.
      rho: the length of the perturbation, at least 0: a number, traced or not, or a schedule, a function of the step. 0
        gives `inner` itself, at the cost of two gradients.
      only: the weights to perturb, as in `noisejax.weights.perturb`: a path pattern such as ``"head/*"``, a tuple of
        patterns, or a function of the path and the leaf. None for all. The others count in no norm. `inner` still
        updates them: to freeze weights, also mask it. Static.
      alternate, axis_name, synchronize: as in `adversarial_weights`, which also documents how to call `update`.

    Returns:
      An `optax.GradientTransformationExtraArgs`.

    References:
      Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021, equation 2.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import optim
      >>> optimizer = optim.sam(optax.sgd(0.1), rho=0.5)
      >>> f = jax.value_and_grad(lambda w: 0.5 * jnp.sum(w**2))
      >>> w = jnp.array([3.0, 4.0])
      >>> updates, state = optimizer.update(f(w)[1], optimizer.init(w), w, value_and_grad_fn=f)
      >>> (updates / w).tolist()  # minus 0.1 times (1 + 0.5 / 5)
      [-0.11..., -0.11...]
    """

    def ascent(g, w, rho):
        del w
        return _scaled(g, _ratio(rho, _norm(g)))

    adversary = _adversary("sam", inner, "rho", rho, ascent, only)
    return adversarial_weights(inner, adversary, alternate=alternate, axis_name=axis_name, synchronize=synchronize)


def asam(
    inner: optax.GradientTransformation,
    rho: ScalarOrSchedule = 0.5,
    eta: Amount = 0.01,
    *,
    only: Only = None,
    adaptive: Callable[[jax.Array], bool] = lambda w: w.ndim > 1,
    alternate: bool = False,
    axis_name: Any = None,
    synchronize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adaptive SAM: ``e = rho * T**2 g / |T g|`` with ``T = |w| + eta``, which is invariant to the scale of weights.

    Args:
      inner: the optimizer of the weights.
      rho: as in `sam`, in units of T. The paper uses 0.5 to 2.
      eta: the value of T at weights that are 0; above 0.
      adaptive: a function of a leaf that tells whether to scale by T. Other leaves have T = 1, as the biases do in the
        authors' code. Static.
      only: as in `sam`. Static.
      alternate, axis_name, synchronize: as in `adversarial_weights`, which also documents how to call `update`.

    Returns:
      An `optax.GradientTransformationExtraArgs`.

    References:
      Kwon et al., "ASAM: adaptive sharpness-aware minimization for scale-invariant learning of deep neural networks",
      ICML 2021, equation 8, with p = 2.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import optim
      >>> optimizer = optim.asam(optax.sgd(0.1), rho=0.5)
      >>> f = jax.value_and_grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.ones((2, 2))
      >>> updates, state = optimizer.update(f(w)[1], optimizer.init(w), w, value_and_grad_fn=f)
    """
    eta = _number("asam", "eta", eta, _streams.positive)
    _check_function("asam", "adaptive", adaptive)

    def ascent(g, w, rho):
        def scaled(leaf, w):
            return _wide(leaf) * (jnp.abs(_wide(w)) + _as(eta, w)).astype(_wide(leaf).dtype) if adaptive(w) else leaf

        once = jax.tree.map(scaled, g, w)
        twice = jax.tree.map(scaled, once, w)
        ratio = _ratio(rho, _norm(once))
        return jax.tree.map(lambda g, e: _scaled(e, ratio).astype(g.dtype), g, twice)

    adversary = _adversary("asam", inner, "rho", rho, ascent, only)
    return adversarial_weights(inner, adversary, alternate=alternate, axis_name=axis_name, synchronize=synchronize)


def gsam(
    inner: optax.GradientTransformation,
    rho: ScalarOrSchedule = 0.05,
    alpha: Amount = 0.1,
    *,
    only: Only = None,
    alternate: bool = False,
    axis_name: Any = None,
    synchronize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Surrogate gap guided SAM: SAM's gradient minus ``alpha`` times the component of the clean gradient normal to it.

    With the gradients g at w and h at ``w + rho * g / |g|`` it is ``h - alpha * (g - (g.h / h.h) h)``, which also
    reduces the gap between the two losses.

    Args:
      inner: the optimizer of the weights.
      rho: as in `sam`. In the paper it follows the learning rate, as the schedule
        ``rho_min + (rho_max - rho_min) * (lr(t) - lr_min) / (lr_max - lr_min)``.
      alpha: the weight of the gap, at least 0; 0 gives `sam`.
      only: as in `sam`. Static.
      alternate, axis_name, synchronize: as in `adversarial_weights`, which also documents how to call `update`.

    Returns:
      An `optax.GradientTransformationExtraArgs`.

    References:
      Zhuang et al., "Surrogate gap minimization improves sharpness-aware training", ICLR 2022, algorithm 1. With
      `axis_name`, each part of a batch decomposes its own gradient, as in the authors' code.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import optim
      >>> optimizer = optim.gsam(optax.sgd(0.1), rho=0.1, alpha=0.4)
      >>> f = jax.value_and_grad(lambda w: jnp.sum(w**4))
      >>> w = jnp.array([1.0, 2.0])
      >>> updates, state = optimizer.update(f(w)[1], optimizer.init(w), w, value_and_grad_fn=f)
    """
    alpha = _number("gsam", "alpha", alpha, _checks.nonnegative)

    def ascent(g, w, rho):
        del w
        return _scaled(g, _ratio(rho, _norm(g)))

    def combine(g, h):
        a, b = _chosen("gsam", only, g, g), _chosen("gsam", only, h, h)
        along = _ratio(_dot(a, b), _dot(b, b))

        def leaf(g, h):
            normal = _wide(g) - _as(along, g) * _wide(h)
            return (_wide(h) - _as(alpha, g) * normal).astype(h.dtype)

        if only is None:
            return jax.tree.map(leaf, g, h)
        return jax.tree.map(lambda take, g, h: leaf(g, h) if take else h, selected("gsam", g, only), g, h)

    adversary = _adversary("gsam", inner, "rho", rho, ascent, only)
    return adversarial_weights(
        inner, adversary, combine=combine, alternate=alternate, axis_name=axis_name, synchronize=synchronize
    )


def awp(
    inner: optax.GradientTransformation,
    gamma: ScalarOrSchedule = 0.01,
    *,
    only: Only = None,
    perturbed: Callable[[jax.Array], bool] = lambda w: w.ndim > 1,
    alternate: bool = False,
    axis_name: Any = None,
    synchronize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Adversarial weight perturbation: each leaf moves by ``gamma * |w| * g / |g|``, with the norms of that leaf.

    Use it in adversarial training, with gradients of the loss at adversarial inputs.

    Args:
      inner: the optimizer of the weights.
      gamma: the size of the perturbation relative to the leaf's norm, at least 0: a number, traced or not, or a
        schedule. The paper uses 0.01 with PGD training and 0.005 with TRADES.
      perturbed: a function of a leaf that tells whether to perturb it. By default biases and scales are not perturbed.
        Static.
      only: as in `sam`. Static.
      alternate, axis_name, synchronize: as in `adversarial_weights`, which also documents how to call `update`.

    Returns:
      An `optax.GradientTransformationExtraArgs`.

    References:
      Wu, Xia and Wang, "Adversarial weight perturbation helps robust generalization", NeurIPS 2020, with one step. The
      authors' code applies weight decay at the perturbed weights; here `inner` applies it at w.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import optim
      >>> optimizer = optim.awp(optax.sgd(0.1), gamma=0.01)
      >>> f = jax.value_and_grad(lambda w: jnp.sum(w**2))
      >>> w = jnp.ones((2, 2))
      >>> updates, state = optimizer.update(f(w)[1], optimizer.init(w), w, value_and_grad_fn=f)
      >>> round(float(updates[0, 0]), 4)  # minus 0.1 times 2 * 1.01
      -0.202
    """

    _check_function("awp", "perturbed", perturbed)

    def ascent(g, w, gamma):
        def leaf(g, w):
            return _scaled(g, _ratio(gamma * _norm(w), _norm(g))) if perturbed(w) else jnp.zeros_like(g)

        return jax.tree.map(leaf, g, w)

    adversary = _adversary("awp", inner, "gamma", gamma, ascent, only)
    return adversarial_weights(inner, adversary, alternate=alternate, axis_name=axis_name, synchronize=synchronize)


class _Count(NamedTuple):
    count: jax.Array


def _adversary(function: str, inner, name: str, amount, ascent: Callable, only: Only) -> optax.GradientTransformation:
    """A transformation whose updates are ``ascent(g, w, amount)``, where -g is the gradient it receives."""
    check_optimizer(function, "inner", inner)
    amount = _streams.checked(function, name, amount, _checks.nonnegative)
    check_only(function, only)

    def update(updates, state, params=None):
        now = _streams.at_count(amount, state.count)
        count = jnp.asarray(optax.safe_increment(state.count))
        g = _chosen(function, only, jax.tree.map(jnp.negative, updates), params)
        return ascent(g, params, now), _Count(count)

    return optax.GradientTransformation(lambda params: _Count(jnp.zeros((), jnp.int32)), update)


def _number(function: str, name: str, value: Any, inside: Callable) -> Any:
    if callable(value):
        raise TypeError(
            f"{function}: {name} must be a number, got the function {value!r}. Only rho follows a schedule."
        )
    return _streams.checked(function, name, value, inside)


def _check_function(function: str, name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(
            f"{function}: {name} must be a function of a leaf, such as lambda w: w.ndim > 1, got {value!r}."
        )


def _chosen(function: str, only: Only, g, params):
    """The gradient with zeros at the weights that are not perturbed, so that they count in no norm."""
    if only is None:
        return g
    return jax.tree.map(lambda take, leaf: leaf if take else jnp.zeros_like(leaf), selected(function, params, only), g)


def _wide(leaf: jax.Array) -> jax.Array:
    return leaf if leaf.dtype == jnp.float64 else leaf.astype(jnp.float32)


def _as(amount, leaf: jax.Array) -> jax.Array:
    return jnp.asarray(amount).astype(_wide(leaf).dtype)


def _dot(a, b) -> jax.Array:
    """The inner product of two trees, computed for each leaf in float32 or wider."""
    parts = jax.tree.map(lambda a, b: jnp.sum(_wide(a) * _wide(b)).astype(jnp.float32), a, b)
    return sum(jax.tree.leaves(parts), jnp.zeros((), jnp.float32))


def _norm(tree) -> jax.Array:
    return jnp.sqrt(_dot(tree, tree))


def _ratio(a, b) -> jax.Array:
    """a / b, and 0 where b is 0: a zero gradient has no direction."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def _scaled(tree, factor):
    return jax.tree.map(lambda leaf: (_as(factor, leaf) * _wide(leaf)).astype(leaf.dtype), tree)
