"""Shared by all transforms: a state with a key and a count, and one stream for each leaf and step."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisejax import _checks
from noisejax._calls.arguments import host_amount
from noisejax._contract import Amount
from noisejax._noise import Noise
from noisejax._random.stream import Stream, fold, stage, stream
from noisejax.weights._perturb import fixed_amounts

ScalarOrSchedule = Amount | Callable[[jax.Array], Any]


class NoiseState(NamedTuple):
    """The state of a transform that draws noise: its number of steps, and the data of its key.

    The key is stored as uint32 data instead of a typed key, so that every checkpoint format and every optax wrapper
    supports it.
    """

    count: jax.Array
    key: jax.Array


def init(key: jax.Array) -> NoiseState:
    """The initial state. The key is copied, so that a train step may donate its state and the caller keeps the key."""
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return NoiseState(count=jnp.zeros((), jnp.int32), key=jnp.array(data, copy=True))


def leafwise(function: Callable, tag: str, steps: tuple[Stream, ...], tree: Any, *others: Any) -> Any:
    """``function(*streams, leaf, *other_leaves)`` on every float leaf: one stream per step, by tag and path.

    Leaves of other dtypes, amounts of noises, None and leaves that optax masks stay unchanged.
    """

    def at_leaf(path, leaf, fixed, *rest):
        if fixed or not is_float(leaf):
            return leaf
        return function(*(at_path(step, tag, path) for step in steps), jnp.asarray(leaf), *rest)

    for other in others:
        same_structure("update", "updates", tree, "params", other)
    fixed = jax.tree.unflatten(jax.tree.structure(tree), fixed_amounts(tree))
    return jax.tree_util.tree_map_with_path(at_leaf, tree, fixed, *others)


def same_structure(function: str, name: str, tree: Any, other_name: str, other: Any) -> None:
    """Requires two trees of the same structure."""
    try:
        same = jax.tree_util.all_leaves(jax.tree.structure(tree).flatten_up_to(other))
    except (TypeError, ValueError):
        same = False
    if not same:
        raise ValueError(
            f"{function}: {name} must have the structure of {other_name}, got {jax.tree.structure(tree)} and "
            f"{jax.tree.structure(other)}."
        )


def same_shapes(function: str, name: str, tree: Any, other_name: str, other: Any) -> None:
    """Requires two trees of the same structure whose arrays have the same shapes."""
    same_structure(function, name, tree, other_name, other)
    for leaf, others in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        if np.shape(leaf) != np.shape(others):
            raise ValueError(
                f"{function}: {name} must have the shapes of {other_name}, got {_checks.shown(leaf)} and "
                f"{_checks.shown(others)} at one place."
            )


def at_step(key: jax.Array, state: Any) -> Stream:
    """The stream of the step in the state's count. The state holds the key's words, and the key its generator."""
    return fold(dataclasses.replace(stream(key), key=state.key), state.count)


def at_path(step: Stream, tag: str, path: tuple) -> Stream:
    """The stream of a leaf, from the names along its path, so that a dict and an nnx state of the same model agree."""
    if path and getattr(path[-1], "name", None) == "value":  # the inside of an nnx variable
        path = path[:-1]
    return stage(step, tag, *(jax.tree_util.keystr((entry,), simple=True) for entry in path))


def is_float(leaf: Any) -> bool:
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
        raise TypeError(f"update: updates must be a tree of arrays, got {_checks.shown(leaf)} in it.")
    dtype = getattr(leaf, "dtype", None) or np.result_type(leaf)
    return jnp.issubdtype(dtype, jnp.floating)


def refuse_accumulation(function: str, advice: str) -> None:
    """Raises inside the update of `optax.MultiSteps`, which hands on its average but only the last call's keywords.

    optax tells a wrapped transform nothing about its wrapper, so this looks for it among the callers. It runs only
    while the update is traced.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is optax.MultiSteps.update.__code__:
            raise TypeError(f"{function}: {advice}")
        frame = frame.f_back


def following(count: jax.Array) -> jax.Array:
    """The next count, at most the largest int32."""
    return jnp.where(count < jnp.iinfo(jnp.int32).max, count + 1, count)


def checked(function: str, name: str, value: Any, inside: Callable) -> Any:
    """Checks an amount: a number becomes float32; a scalar array or a schedule, a function of the step, is kept."""
    if isinstance(value, Noise):
        raise TypeError(
            f"{function}: {name} must be a number or a schedule, got {value!r}. See apply_noise(key, noise)."
        )
    if callable(value) and not isinstance(value, type):
        return _checked_schedule(function, name, value)
    value = host_amount(function, name, value, inside)
    if getattr(value, "shape", None) != ():
        raise ValueError(
            f"{function}: {name} must be one number or a function of the step, got {value!r}. To use different amounts "
            "for different parameters, use optax.multi_transform."
        )
    return value


def constant(function: str, name: str, value: Any, inside: Callable) -> Any:
    """Checks an amount that cannot follow a schedule."""
    if callable(value):
        raise TypeError(f"{function}: {name} must be a number, not a function of the step, got {_checks.shown(value)}.")
    return checked(function, name, value, inside)


def _checked_schedule(function: str, name: str, schedule: Callable) -> Callable:
    """The schedule, with an error if it does not return one number."""

    def call(count):
        value = schedule(count)
        if np.shape(_checks.operand(function, name, value)) != ():
            got = _checks.shown(value)
            raise ValueError(f"{function}: {name} must be a function of the step that returns one number, got {got}.")
        return value

    return call


def at_count(value: Any, count: jax.Array) -> jax.Array:
    """An amount at one step, in float32 whatever the result of a schedule or optax.inject_hyperparams."""
    return jnp.asarray(value(count) if callable(value) else value).astype(jnp.float32)


nonnegative = _checks.nonnegative
positive = _checks.Range("above 0 and finite", lambda v: (v > 0) & (v < float("inf")), "")
