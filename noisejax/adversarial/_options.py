"""The options that attacks pass on to the driver, with their types, and the check of their names at run time."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax import _checks
from noisejax.adversarial._health import host_value


class CommonOptions(TypedDict, total=False):
    """Options that every gradient attack and every loss of adversarial training accepts."""

    success: Callable | None
    keep: Literal["last", "best"]
    unroll: int | None
    limit: int | jax.Array | None


class ApgdOptions(CommonOptions, total=False):
    """Options of `apgd`, besides its own."""

    ids: jax.Array | None


class AttackOptions(ApgdOptions, total=False):
    """Options of `pgd` and similar attacks, besides their own."""

    start: jax.Array | Callable | None
    lookahead: Callable | None


class TrainingOptions(CommonOptions, total=False):
    """Options of a training loss that sets the start of its attack."""

    steps: int
    restarts: int
    eot: int
    lookahead: Callable | None


class PairingOptions(AttackOptions, total=False):
    """Options of a training loss that leaves the start to its attack."""

    steps: int
    random_start: bool
    restarts: int
    eot: int


nonnegative = _checks.Range("at least 0 and finite", lambda v: (v >= 0) & (v < np.inf), "")
positive = _checks.Range("above 0 and finite", lambda v: (v > 0) & (v < np.inf), "")
decay = _checks.Range("in [0, 1)", lambda v: (v >= 0) & (v < 1), "It is the share of the past that is kept.")
share = _checks.Range("in (0, 1]", lambda v: (v > 0) & (v <= 1), "")
real = _checks.Range("a finite number", lambda v: (v == v) & (abs(v) < np.inf), "")


def check_transform(function: str, tx: Any) -> None:
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"{function}: tx must be an optax transform such as optax.sgd(0.1), got {_checks.shown(tx)}.")


def check_amount(function: str, name: str, value: Any, inside: Callable = nonnegative) -> None:
    """Checks an amount of an attack or a training loss wherever it is known: numbers, and arrays outside of jit.

    Its shape is left to the caller: `one_amount` and `amount_per_example` check that too.
    """
    _checks.native(function, name, value)
    labels = isinstance(value, (tuple, list)) and any(hasattr(v, "dtype") for v in value)
    dtype = getattr(value, "dtype", None)
    integers = dtype is not None and jnp.issubdtype(dtype, jnp.integer)
    labels = labels or (integers and np.ndim(value) > 0)
    if labels:
        got = f"a {type(value).__name__} of arrays" if isinstance(value, (tuple, list)) else "integers"
        raise TypeError(
            f"{function}: {name} must be a number or floats, got {got}. Are these the arguments of the loss? Pass them "
            "by name: args=(labels,)."
        )
    real = isinstance(value, (int, float)) if dtype is None else jnp.issubdtype(dtype, jnp.floating)
    if not real and not (dtype is not None and (jnp.issubdtype(dtype, jnp.integer) or dtype == jnp.bool_)):
        raise TypeError(f"{function}: {name} must be a number or an array of numbers, got {_checks.shown(value)}.")
    known = host_value(value)
    if known is not None:
        known = known.astype(np.float64)
        if np.any(np.abs(known[np.isfinite(known)]) > np.finfo(np.float32).max):
            raise ValueError(
                f"{function}: {name} must lie in the range of float32, in which it is used, got {value!r}."
            )
        inside(function, name, known if known.ndim else known.item())


def check_options(function: Callable, options: Mapping[str, Any], known: type) -> None:
    """Raises if `function` was given an option that `known` does not declare."""
    declared: frozenset[str] = getattr(known, "__optional_keys__", frozenset())
    unknown = [name for name in options if name not in declared]
    if unknown:
        own = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        name = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"{name} got an unknown option {unknown[0]!r}. Its options are {', '.join((*own, *sorted(declared)))}."
        )


def one_amount(function: str, name: str, value: Any, inside: Callable = nonnegative) -> jax.Array:
    """An amount that all examples share, traced or not, as a float32 scalar."""
    check_amount(function, name, value, inside)
    if np.shape(value) != ():
        raise TypeError(f"{function}: {name} must be one number, got {_checks.shown(value)}.")
    return jnp.asarray(value).astype(jnp.float32)


def amount_per_example(
    function: str, name: str, value: Any, examples: int, inside: Callable = nonnegative
) -> jax.Array:
    """An amount that is one number, or one for each of so many examples, as float32 of shape () or (examples,)."""
    check_amount(function, name, value, inside)
    if np.shape(value) not in ((), (examples,)):
        raise ValueError(
            f"{function}: {name} must be one number, or one for each example of x, of shape ({examples},), got shape "
            f"{np.shape(value)}."
        )
    return jnp.asarray(value).astype(jnp.float32)
