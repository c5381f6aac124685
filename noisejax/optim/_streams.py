"""What all transforms share: a state that holds a key and a count, and a stream for every leaf of every step."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import host_amount
from noisejax._noise import Noise
from noisejax._stream import Stream, fold, stage, stream

ScalarOrSchedule = float | jax.Array | Callable[[jax.Array], Any]


class NoiseState(NamedTuple):
    """The state of a transform that draws: how many steps it has made, and the data of its key.

    The key is kept as its data, uint32, and not as a typed key: so every checkpoint format stores it, and every wrapper
    of optax takes it.
    """

    count: jax.Array
    key: jax.Array


def init(key: jax.Array) -> NoiseState:
    """A fresh state. The key is copied, so that a train step may donate its state and the caller keep the key."""
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return NoiseState(count=jnp.zeros((), jnp.int32), key=jnp.array(data, copy=True))


def leafwise(function: Callable, tag: str, steps: tuple[Stream, ...], tree: Any, *others: Any) -> Any:
    """``function(*streams, leaf, *other_leaves)`` on every float leaf: one stream per step, by tag and path.

    Leaves of other dtypes stay as they are, as do None and what optax masks.
    """

    def at_leaf(path, leaf, *rest):
        if not is_float(leaf):
            return leaf
        return function(*(at_path(step, tag, path) for step in steps), jnp.asarray(leaf), *rest)

    return jax.tree_util.tree_map_with_path(at_leaf, tree, *others)


def at_step(key: jax.Array, state: Any) -> Stream:
    """The stream of the step that the state's count names: the state has the words, the key its generator."""
    return fold(dataclasses.replace(stream(key), key=state.key), state.count)


def at_path(step: Stream, tag: str, path: tuple) -> Stream:
    """A leaf's stream, from the bare names along its path, so that a dict and an nnx state of one model agree."""
    if path and getattr(path[-1], "name", None) == "value":  # the inside of an nnx variable
        path = path[:-1]
    return stage(step, tag, *(jax.tree_util.keystr((entry,), simple=True) for entry in path))


def is_float(leaf: Any) -> bool:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)
    return jnp.issubdtype(dtype, jnp.floating)


def following(count: jax.Array) -> jax.Array:
    """The next count; the largest int32 stays."""
    return jnp.where(count < jnp.iinfo(jnp.int32).max, count + 1, count)


def checked(function: str, name: str, value: Any, inside: Callable) -> Any:
    """A number checked and made float32, a scalar array as it is, or a schedule: a function of the step's count."""
    if isinstance(value, Noise):
        raise TypeError(
            f"{function}: {name} must be a number or a schedule, got {value!r}. See apply_noise(key, noise)."
        )
    if callable(value):
        return value
    value = host_amount(function, name, value, inside)
    if getattr(value, "shape", None) != ():
        raise ValueError(
            f"{function}: {name} must be one number or a function of the step, got {value!r}. For other amounts in "
            "other parameters use optax.multi_transform."
        )
    return value


def at_count(value: Any, count: jax.Array) -> jax.Array:
    """An amount at one step, in float32 whatever a schedule or optax.inject_hyperparams made of it."""
    return jnp.asarray(value(count) if callable(value) else value).astype(jnp.float32)


nonnegative = _checks.nonnegative
positive = _checks.Range("above 0 and finite", lambda v: (v > 0) & (v < float("inf")), "")
