"""Checks of one argument by its kind: a flag, a count, an array, numbers. What can be converted is converted."""

import numbers as abstract
from collections.abc import Iterable
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

ARRAYS = (jax.Array, np.ndarray, np.generic)


def flag(function: str, name: str, value: Any) -> bool:
    """An option that is True or False. Other values are refused: a string such as "no" would count as True."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{function}: {name} must be True or False, got {shown(value)}.")


def flag_or_none(function: str, name: str, value: Any) -> bool | None:
    return None if value is None else flag(function, name, value)


def count(function: str, name: str, value: Any, least: int = 0, hint: str = "") -> int:
    """A number of things, known when the program is traced."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least or value >= 2**31:
        more = f" {hint}" if hint else ""
        most = " and below 2**31" if whole and value >= 2**31 else ""
        raise ValueError(f"{function}: {name} must be an integer, at least {least}{most}, got {shown(value)}.{more}")
    return int(value)


def whole(function: str, name: str, value: Any) -> int:
    """An integer of any sign that fits 32 bits, such as an axis."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{function}: {name} must be an integer, got {shown(value)}.")
    if not -(2**31) <= value < 2**31:
        raise ValueError(f"{function}: {name} must fit into 32 bits, got {value}.")
    return int(value)


def native(function: str, name: str, value: Any) -> None:
    """Requires an array that JAX can take, if it is one: of JAX or NumPy, of numbers, in this machine's byte order."""
    spelled = name if name.isidentifier() else "value"
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OSUTMmV" and not jnp.issubdtype(value.dtype, jnp.number):
            raise TypeError(
                f"{function}: {name} must hold numbers, got {value.dtype}{list(value.shape)}. If they are numbers, "
                f"convert them: {spelled}.astype(np.float32). Number categories first: np.unique({spelled}, "
                "return_inverse=True)[1]."
            )
        if not value.dtype.isnative:
            raise TypeError(
                f"{function}: {name} must have this machine's byte order, got {value.dtype.str}. Convert it: "
                f"{spelled}.astype({spelled}.dtype.newbyteorder('='))."
            )
    elif isinstance(value, type):
        raise TypeError(f"{function}: {name} must be an array, got the class {value.__name__}.")
    elif hasattr(value, "__array__") and not (isinstance(value, ARRAYS) or hasattr(value, "__jax_array__")):
        kind = type(value)
        raise TypeError(
            f"{function}: {name} must be a JAX or NumPy array, got a {kind.__module__.split('.')[0]} {kind.__name__}. "
            f"Convert it: np.asarray({spelled})."
        )


def operand(function: str, name: str, value: Any, *, ndim: int | None = None, integers: bool | None = None) -> Any:
    """An array of real numbers that JAX can take, from an array of JAX or NumPy, a number or a list.

    Args:
      ndim: the number of axes that it must have; None for any.
      integers: True for integers alone, False for floats alone, None for all numbers and booleans.
    """
    native(function, name, value)
    if isinstance(value, (list, tuple, bool, int, float)):
        value = listed(function, name, value)
    dtype: Any = getattr(value, "dtype", None)
    wanted = {True: jnp.integer, False: jnp.floating, None: jnp.number}[integers]
    text = {True: "integers", False: "floats", None: "numbers"}[integers]
    real = isinstance(value, ARRAYS) and (jnp.issubdtype(dtype, wanted) or (integers is None and dtype == jnp.bool_))
    if not real or jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{function}: {name} must be an array of {text}, got {shown(value)}.")
    if ndim is not None and value.ndim != ndim:
        raise ValueError(f"{function}: {name} must have {ndim} axes, got shape {tuple(value.shape)}.")
    return value


def listed(function: str, name: str, value: Any) -> np.ndarray:
    """A list of numbers as an array."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = None
    if array is None or array.dtype.kind not in "biufc":
        raise TypeError(f"{function}: {name} must be a number or an array of numbers, got {shown(value)}.")
    return array


def several(value: Any) -> TypeGuard[Iterable]:
    """Whether a value holds several things: it can be iterated over, and is no string and no array without axes."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "shape", None) != ()


def mask(function: str, name: str, value: Any) -> Any:
    """A mask of booleans: an array, or a list as NumPy makes one. None stays None."""
    if isinstance(value, (list, tuple, bool)):
        value = listed(function, name, value)
    native(function, name, value)
    if value is not None and not isinstance(value, ARRAYS):
        raise TypeError(f"{function}: {name} must be an array of booleans, True where x is data, got {shown(value)}.")
    return value


def number(function: str, name: str, value: Any, complex_too: bool = False) -> Any:
    """An amount as an array of real numbers, where it is one: of NumPy, JAX or a different library, or a list.

    Python numbers, fitted values, schedules and what is no number at all are returned unchanged.
    """
    if isinstance(value, (str, bytes, set, frozenset)):
        raise TypeError(f"{function}: {name} must be a number or an array, got {shown(value)}.")
    if isinstance(value, (list, tuple)) and all(isinstance(v, (int, float, np.number)) for v in jax.tree.leaves(value)):
        value = listed(function, name, value)
    elif hasattr(value, "__array__") and not isinstance(value, (*ARRAYS, type)):
        value = converted(function, name, value)  # of pandas, or a tensor of another library
    if isinstance(value, np.bool_):
        return bool(value)
    if not isinstance(value, ARRAYS):
        return value
    dtype = value.dtype
    if np.dtype(object) == dtype and all(isinstance(v, abstract.Real) for v in np.ravel(value)):
        return value  # integers beyond 64 bits
    real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer) or dtype == jnp.bool_
    if not real and not (complex_too and jnp.issubdtype(dtype, jnp.complexfloating)):
        raise TypeError(f"{function}: {name} must be a number or an array of numbers, got {shown(value)}.")
    native_order = isinstance(value, jax.Array) or dtype.isnative
    return value if native_order else value.astype(dtype.newbyteorder("="))


def converted(function: str, name: str, value: Any) -> Any:
    """An amount that is an array of a different library, as a NumPy array."""
    if hasattr(value, "__jax_array__"):
        return value.__jax_array__()
    try:
        return np.asarray(value)
    except Exception as error:  # whatever that library raises, for instance for a tensor on a GPU
        raise TypeError(
            f"{function}: {name} must be a number or an array, got a {type(value).__name__} that NumPy cannot read "
            f"({error}). Convert it to a NumPy array."
        ) from None


def shown(value: Any) -> str:
    """A value in a message: an array by its dtype and shape, and others as they are written."""
    if isinstance(value, ARRAYS) and (value.ndim or not isinstance(value, np.generic)):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def function(caller: str, name: str, value: Any, form: str) -> None:
    """Requires a function, and shows how it is called. A class is most often one that was not instantiated."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{caller}: {name} must be a function {form}, got {shown(value)}.")


def scalar(caller: str, name: str, value: Any, low: float = -np.inf, high: float = np.inf) -> float:
    """One finite host number in [low, high], as a Python float."""
    given = number(caller, name, value)
    single = isinstance(given, (int, float, np.ndarray, np.generic)) and np.size(given) == 1
    if not single:
        static = " It is static, so it is a number of Python or NumPy." if isinstance(value, jax.Array) else ""
        raise TypeError(f"{caller}: {name} must be one number, got {shown(value)}.{static}")
    found = float(np.asarray(given).reshape(()))
    if not (np.isfinite(found) and low <= found <= high):
        inside = "a finite number" if np.isinf(low) else f"at least {low:g} and finite"
        inside = inside if np.isinf(high) else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{caller}: {name} must be {inside}, got {shown(value)}.")
    return found


def string(caller: str, argument: str, value: Any) -> str:
    """The name of something, such as a collection of random streams."""
    if not isinstance(value, str):
        raise TypeError(f"{caller}: {argument} must be a name, a string, got {shown(value)}.")
    return str(value)
