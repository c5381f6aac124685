"""Shrinking and perturbing parameters, between two phases of a training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax._random.stream import stage
from noisejax.optim._additive import add, normal
from noisejax.weights import perturb


def shrink_and_perturb(
    key: jax.Array,
    params: Any,
    shrink: Amount,
    std: Amount,
    *,
    only: str | tuple[str, ...] | Callable[[str, Any], bool] | None = None,
) -> Any:
    """Shrinks parameters towards 0 and adds Gaussian noise: ``shrink * w + std * n``, with n standard normal.

    Call it between two phases of a training, such as when new data arrive or every few epochs, and keep the state of
    the optimizer. A network that was trained on some data and continues on more generalizes worse than a new one.
    Shrinking keeps what it computes, as its hidden layers scale alike, and gives the gradients of the new and the old
    data similar sizes again. Each leaf has its own stream, derived from its path, as in `noisejax.weights.perturb`.

    Args:
      key: a JAX key. Use a different key in every call.
      params: a tree of parameters: a dict, linen variables, an nnx state or module.
      shrink: the factor of the parameters, in [0, 1]: one number, which may be traced. 1 leaves them as they are.
      std: the standard deviation of the noise, in the units of the parameters, at least 0: one number, which may be
        traced. With ``shrink=1`` and ``std=0`` nothing changes, so that both may be selected in each step of a loop:
        ``jnp.where(step % 1000 == 0, 0.4, 1.0)``.
      only: the leaves to change, as in `noisejax.weights.perturb`. None for all. Integers do not change.

    Returns:
      The new parameters, in the dtypes of the old ones; computed in float32 and rounded once.

    References:
      Ash and Adams, "On warm-starting neural network training", NeurIPS 2020. Their code adds a freshly initialized
      network instead, scaled by a factor.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.optim
      >>> params = {"kernel": jnp.full((2, 2), 0.5), "bias": jnp.zeros(2)}
      >>> new = noisejax.optim.shrink_and_perturb(jax.random.key(0), params, 0.4, 0.0)
      >>> new["kernel"].tolist()
      [[0.2..., 0.2...], [0.2..., 0.2...]]
    """
    _checks.key("shrink_and_perturb", key)
    floats = [jnp.issubdtype(getattr(leaf, "dtype", str), jnp.floating) for leaf in jax.tree.leaves(params)]
    if floats and not any(floats):
        raise TypeError(f"shrink_and_perturb: params must hold floating-point arrays, got {_checks.shown(params)}.")
    for leaf in jax.tree.leaves(params):
        if not hasattr(leaf, "dtype"):
            raise TypeError(f"shrink_and_perturb: params must be a tree of arrays, got {_checks.shown(leaf)} in it.")
    amounts = []
    for name, value, inside in (("shrink", shrink, _share), ("std", std, _checks.nonnegative)):
        value = jnp.asarray(arithmetic_amount("shrink_and_perturb", name, value, inside), jnp.float32)
        if value.shape != ():
            raise ValueError(f"shrink_and_perturb: {name} must be one number, got shape {value.shape}.")
        amounts.append(value)

    def changed(stream, w):
        if not jnp.issubdtype(w.dtype, jnp.floating):
            return w
        w = jnp.asarray(w)
        return add(w, amounts[1] * normal(stage(stream, "shrink_and_perturb"), w), amounts[0])

    return perturb(key, params, changed, only=only)


_share = _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "1 leaves the parameters as they are.")
