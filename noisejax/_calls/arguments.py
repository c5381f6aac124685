"""Arguments of a call as it takes them: amounts checked on the host, options hashable, and both compared."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._calls.fitted import is_fitted


def host_amount(function: str, name: str, value: Any, inside: Callable | None, like_x: bool = False) -> Any:
    """A host number, checked and made a strong float32, so that no Python float is static. Others are unchanged."""
    value = _checks.number(function, name, value, like_x)
    if value is None and inside is not None:
        raise TypeError(f"{function}: {name} must be a number or an array, got None.")
    if like_x and isinstance(value, complex):
        value = np.asarray(value)
    if not isinstance(value, (bool, int, float, np.number, np.ndarray)):
        return value
    if inside is not None:
        inside(function, name, value)
    if like_x:
        return np.asarray(value)
    return _as_float32(function, name, value, inside)


def _as_float32(function: str, name: str, value: Any, inside: Callable | None) -> np.ndarray:
    """The value in the dtype in which it is used, where it may have left its range."""
    given = np.asarray(value)
    if given.dtype == object:  # Python integers beyond 64 bits
        given = np.asarray(np.clip(given, -(10**300), 10**300), np.float64)
    with np.errstate(over="ignore"):
        used = given.astype(np.float32)
    if given.dtype == np.float32 or given.dtype.kind in "bui":
        return used
    used = np.where(np.abs(used) < np.finfo(np.float32).tiny, np.float32(0), used)  # devices flush subnormal numbers
    if np.any(beyond := np.isinf(used) & np.isfinite(given)):
        raise ValueError(
            f"{function}: {name} must lie in the range of float32, in which it is used, got {given[beyond].flat[0]}. "
            f"The largest is {np.finfo(np.float32).max:.3g}."
        )
    if isinstance(inside, _checks.Range) and not np.all(inside.inside(used)):
        worst = given[~np.asarray(inside.inside(used))].flat[0]
        raise ValueError(f"{function}: {name} must be {inside.text}, got {worst}, which is 0 in float32. {inside.hint}")
    return used


def arithmetic(function: str, name: str, value: Any, none_too: bool) -> None:
    """Requires that an amount of a noise of this library is an array, a fitted value, or None where that is allowed."""
    if (value is None and none_too) or isinstance(value, (jax.Array, np.ndarray, np.generic)) or is_fitted(value):
        return
    raise TypeError(f"{function}: {name} must be a number or an array, got {value!r}.")


def arithmetic_amount(function: str, name: str, value: Any, inside: Callable | None) -> Any:
    """A checked amount of a function that is no noise: always an array."""
    value = host_amount(function, name, value, inside)
    arithmetic(function, name, value, False)
    return value


def option(function: str, name: str, value: Any) -> Hashable:
    """An option, if it can be static."""
    try:
        if not isinstance(value, jax.Array):
            hash(value)
            return value
    except TypeError:
        pass
    raise TypeError(
        f"{function}: {name} is an option: it is static and must be hashable, got {type(value).__name__} {value!r}. "
        "Use Python numbers and tuples."
    )


def as_tuple(value: Any) -> Any:
    """Lists and NumPy arrays, the value of an option, as tuples."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(map(as_tuple, value)) if isinstance(value, list) or type(value) is tuple else value


def same(a: Any, b: Any) -> bool:
    """Whether two amounts or options are equal: arrays by dtype, shape and value, tracers by identity."""
    if a is b:
        return True
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return False
    arrays = (jax.Array, np.ndarray, np.generic)
    if not (isinstance(a, arrays) and isinstance(b, arrays)):
        return bool(a == b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    inexact = jnp.issubdtype(a.dtype, jnp.inexact)
    return (
        np.array_equal(np.asarray(a, np.float64), np.asarray(b, np.float64), equal_nan=True)
        if inexact
        else bool(np.array_equal(np.asarray(a), np.asarray(b)))
    )
