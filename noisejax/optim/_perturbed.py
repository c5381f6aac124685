"""Gradients at noisy weights, to update the clean ones."""

from collections.abc import Callable
from typing import Any

from noisejax import _checks
from noisejax._contract import Amount
from noisejax._noise import bind
from noisejax._noises.additive import gaussian
from noisejax.optim import _streams
from noisejax.weights import perturb
from noisejax.weights._perturb import check_only


def perturbed_gradients(
    grad_fn: Callable,
    noise: Amount | Callable,
    *,
    only: str | tuple[str, ...] | Callable[[str, Any], bool] | None = None,
) -> Callable:
    """Turns ``grad_fn(params, *args)`` into ``f(key, params, *args)``, which evaluates it at noisy parameters.

    The noisy parameters are drawn once, so the forward and the backward pass see the same sample. They only exist while
    the gradient is computed. The gradient is taken with respect to the noisy parameters, even if the noise depends on
    the clean ones. The optimizer then updates the clean parameters, so noise never accumulates. To average over several
    samples, use `jax.vmap` over keys.

    Args:
      grad_fn: ``jax.grad(loss)``, ``jax.value_and_grad(loss, has_aux=True)``, ``nnx.grad(loss)``, or any function whose
        first argument holds the parameters: a dict, linen variables, an nnx state or module.
      noise: the standard deviation of Gaussian noise, a number (traced or not), or a bound noise or function
        ``(key, x) -> x`` of one array.
      only: the leaves that receive noise, as in `noisejax.weights.perturb`: a path pattern such as ``"*/kernel"``, a
        tuple of patterns, or a function of the path and the leaf. None for all leaves.

    Returns:
      A function of a key and grad_fn's arguments.

    References:
      An, "The effects of adding noise during backpropagation training on a
      generalization performance", Neural Computation 8(3), 1996.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> def loss(params, x, y):
      ...     return jnp.mean((x @ params["w"] - y) ** 2)
      >>> value_and_grad = noisejax.optim.perturbed_gradients(
      ...     jax.value_and_grad(loss), 0.1, only="w"
      ... )
      >>> params = {"w": jnp.zeros((3, 1)), "scale": jnp.ones(1)}
      >>> value, grads = value_and_grad(jax.random.key(0), params, jnp.ones((4, 3)), jnp.ones((4, 1)))

    An nnx module is copied before noise is added, together with its other variables. If the forward pass writes to them
    (batch statistics, random streams), split the parameters off and write the rest back::

        graphdef, params, rest = nnx.split(model, nnx.Param, ...)
        def loss(params, x, y):
            model = nnx.merge(graphdef, params, rest, copy=True)
            return loss_of(model, x, y), nnx.state(model, nnx.Not(nnx.Param))
        grads, rest = perturbed_gradients(jax.grad(loss, has_aux=True), 0.1)(key, params, x, y)
        nnx.update(model, rest)
        optimizer.update(model, grads)
    """
    if not callable(grad_fn):
        raise TypeError(f"perturbed_gradients: grad_fn must be a function such as jax.grad(loss), got {grad_fn!r}.")
    if hasattr(noise, "__noise__"):
        raise TypeError(
            f"perturbed_gradients: bind the noise first: nj.bind(nj.{getattr(noise, '__name__', '...')}, ...)."
        )
    check_only("perturbed_gradients", only)
    if not callable(noise):
        noise = bind(gaussian, std=_streams.checked("perturbed_gradients", "noise", noise, _streams.nonnegative))

    def evaluated(key, params, /, *args, **kwargs):
        _checks.key("perturbed_gradients", key)
        return grad_fn(perturb(key, params, noise, only=only), *args, **kwargs)

    return evaluated
