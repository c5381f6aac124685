"""Checks of what an attack is called with, and the guard of its results where nothing can be checked: inside jit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._random.stream import enter
from noisejax.adversarial._health import host_value
from noisejax.adversarial._threats.balls import Threat, as_column

_ARRAYS = (jax.Array, np.ndarray)


def check_attack(
    name: str,
    key,
    loss,
    x,
    threat,
    args,
    *,
    steps: int = 1,
    restarts: int = 1,
    eot: int = 0,
    order: str = "key, loss, x, threat",
    counted: str = "",
) -> jax.Array:
    """Checks the arguments of an attack as far as the host knows them, and returns x as float32.

    Args:
      order: the order of the arguments, for an error that names it.
    """
    if callable(key) or any(isinstance(value, Threat) for value in (key, loss, x)) or isinstance(loss, _ARRAYS):
        got = ", ".join(_described(value) for value in (key, loss, x, threat))
        raise TypeError(f"{name}: the first arguments must be {order}, in this order, got {got}.")
    enter(name, key)
    called = order.split(", ")[1]
    form = "loss(x, *args) -> (B,)" if called == "loss" else f"{called}(x) -> logits"
    _checks.function(name, called, loss, form)
    _checks.array(name, x, _checks.floats)
    if np.ndim(x) == 0:
        raise ValueError(f"{name}: x must be a batch, of shape (B, ...), got a scalar.")
    if not isinstance(threat, Threat):
        raise TypeError(f"{name}: threat must be a threat such as Linf(eps, bounds=(low, high)), got {threat!r}.")
    if not isinstance(args, tuple):
        raise TypeError(f"{name}: args must be a tuple such as args=(labels,), got a {type(args).__name__}.")
    for leaf in jax.tree.leaves(args):
        _checks.native(name, "args", leaf)
        if not isinstance(leaf, _ARRAYS):
            got = _checks.shown(leaf)
            raise TypeError(
                f"{name}: args must be arrays with x's leading axis of {np.shape(x)[0]} examples, got {got}. Pass "
                "other values to the loss through functools.partial or a closure."
            )
        if np.shape(leaf)[:1] != np.shape(x)[:1]:
            raise ValueError(
                f"{name}: every array in args must have x's leading axis of {np.shape(x)[0]} examples, got shape "
                f"{np.shape(leaf)}. Pass other values to the loss through functools.partial or a closure."
            )
    # `counted` is what an attack calls its steps or restarts.
    for what, count, least in (("steps", steps, 0), ("restarts", restarts, 1), ("eot", eot, 0)):
        _checks.count(name, counted or what, count, least, "It is static.")
    check_inside_bounds(name, x, threat)
    return jnp.asarray(x).astype(jnp.float32)


def _described(value: Any) -> str:
    if isinstance(value, _ARRAYS):
        return "a key" if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) else f"{value.dtype}{list(value.shape)}"
    return "a function" if callable(value) else repr(value) if isinstance(value, Threat) else type(value).__name__


def check_inside_bounds(name: str, x: Any, threat: Threat) -> None:
    """Checks that values lie inside the bounds, if both are known: NumPy arrays, and JAX arrays outside of jit."""
    if threat.bounds is None or any(isinstance(v, Tracer) for v in (x, *threat.bounds)):
        return
    known, low, high = host_value(x), host_value(threat.bounds[0]), host_value(threat.bounds[1])
    if known is None or low is None or high is None or not known.size:
        return
    known, bounds = known.astype(np.float32), (low, high)
    for bound in bounds:
        _checks.broadcastable(type(threat).__name__, "bounds", bound.shape, known.shape)
    slack = 1e-6 * max(np.max(np.abs(np.where(np.isfinite(bound), bound, 1))) for bound in bounds)
    if not np.all((known >= bounds[0] - slack) & (known <= bounds[1] + slack)):
        raise ValueError(
            f"{name}: x must lie inside the bounds of {threat!r}, got values from {known.min():g} to {known.max():g}. "
            "Use bounds in the units of x, or x in the units of the bounds (divide pixels of 0 to 255 by 255). "
            "normalized(predict, mean, std) keeps a threat in pixel space, and jnp.clip removes a small overshoot."
        )


def is_outside(threat: Threat, x: jax.Array) -> jax.Array | None:
    """Which examples, (B,), lie outside their bounds or are NaN there. None without bounds."""
    if threat.bounds is None:
        return None
    low, high = (jnp.asarray(bound) for bound in threat.fitted(x).bounds)
    sizes = (jnp.abs(jnp.where(jnp.isfinite(bound), bound, 1)) for bound in (low, high))
    # One slack for each example, so that examples on different devices need not be compared.
    slack = 1e-6 * jnp.maximum(*(jnp.max(b, axis=tuple(range(1, b.ndim)), keepdims=True) for b in sizes))
    return jnp.any(~((x >= low - slack) & (x <= high + slack)), axis=tuple(range(1, x.ndim)))


def without_outside(threat: Threat, x: jax.Array, x_adv: jax.Array) -> jax.Array:
    """The adversarial examples, and NaN for examples outside their bounds, which were attacked as different inputs.

    Inside jit no error can be raised about them, and x_adv clipped to the bounds would pass for a robust example.
    """
    outside = is_outside(threat, x)
    return x_adv if outside is None else jnp.where(as_column(outside, x), jnp.nan, x_adv)
