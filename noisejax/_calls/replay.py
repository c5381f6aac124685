"""What a noise can replay from its key besides the noisy value: one protocol for masks, alignments and points.

A replay needs three rules to pass through every combinator: its value for unchanged input, for two noises applied one
after the other, and for a choice between two noises. The `Spec` of a public noise lists the replays that it supports.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax._padded import Padded, is_padded, values_of


@dataclasses.dataclass(frozen=True)
class Replay:
    """One kind of replay.

    Args:
      name: the name by which a noise's `Spec.replays` knows it.
      identity: ``identity(x)``: the replay of a noise that leaves one array (or `Padded`) as it is.
      then: ``then(first, second)``: the replay of two noises applied one after the other.
      advice: the advice in the error for a noise that does not support the replay.
      select: ``select(drawn, new, old)``: the replay `new` in the examples where `drawn` is True, and `old` in the
        others. None to pick them leaf by leaf.
      alike: ``alike(x, replay)``: the replay in a form that all noises of x share, for branches of a program. None if
        they share one anyway.
      is_leaf: whether a value is one replay, if that is a pytree of several arrays.
      stays: ``stays(spec)``: whether a noise that does not know the replay leaves it unchanged.
      keeps: ``keeps(function)``: whether a function of values, as `keyless` takes it, leaves it unchanged.
    """

    name: str
    identity: Callable[[Any], Any]
    then: Callable[[Any, Any], Any]
    advice: str
    select: Callable[[jax.Array, Any, Any], Any] | None = None
    alike: Callable[[Any, Any], Any] | None = None
    is_leaf: Callable[[Any], bool] | None = None
    stays: Callable[[Any], bool] = lambda spec: False
    keeps: Callable[[Any], bool] = lambda function: True

    def unchanged(self, x: Any) -> Any:
        """The identity for every array of a batch."""
        return jax.tree.map(self.identity, x, is_leaf=is_padded)

    def follow(self, first: Any, second: Any) -> Any:
        structures = (jax.tree.structure(told, is_leaf=self.is_leaf) for told in (first, second))
        if next(structures) != next(structures):
            raise TypeError(f"{self.name}: the stages of a chain must act on batches of one structure. {self.advice}")
        return jax.tree.map(self.then, first, second, is_leaf=self.is_leaf)


def pick_examples(drawn: jax.Array, new: Any, old: Any) -> Any:
    """`new` in the examples where `drawn` is True along its leading axis, and `old` elsewhere, leaf by leaf."""

    def pick(a, b):
        return jnp.where(drawn.reshape(drawn.shape[:1] + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def _no_hit(x: Any) -> jax.Array:
    return jnp.zeros(np.shape(values_of(x)), bool)


def _union(first: jax.Array, second: jax.Array) -> jax.Array:
    if first.shape != second.shape:
        raise TypeError(
            f"hits: a stage changed the shape from {first.shape} to {second.shape}, so no mask describes the "
            "whole chain. Take the hits of each stage separately."
        )
    return first | second


def _own_times(x: Any) -> jax.Array:
    shape = np.shape(values_of(x))
    if not shape:
        raise TypeError("moved: x must have an axis of time, got a scalar.")
    axis = min(1, len(shape) - 1)
    kept = tuple(n if place <= axis else 1 for place, n in enumerate(shape))
    return jax.lax.broadcasted_iota(jnp.float32, kept, axis)


def _at_times(first: jax.Array, second: jax.Array) -> jax.Array:
    """The times of x at which a second noise reads what a first one made."""
    axis = min(1, first.ndim - 1)
    # Both have one time for each step, and one or as many channels as x. Time along a different axis does not fit.
    if first.ndim != second.ndim or first.shape[: axis + 1] != second.shape[: axis + 1]:
        raise TypeError(
            f"moved: the stages of a chain read times of shapes {first.shape} and {second.shape}. Keep time along the "
            "second axis, without the option axis=..."
        )
    shape = np.broadcast_shapes(first.shape, second.shape)
    first, second = jnp.broadcast_to(first, shape), jnp.broadcast_to(second, shape)
    step = jnp.floor(second)
    low = step.astype(jnp.int32)
    here, after = (jnp.take_along_axis(first, low + n, axis=axis, mode="clip") for n in (0, 1))
    return here + (second - step) * (after - here)


MOVED = Replay("moved", _own_times, _at_times, "Apply it outside of moved.")
HITS = Replay("hits", _no_hit, _union, "Compare with nj.changed(x, y) instead of hits.")


def _own_places(x: Any) -> jax.Array | None:
    """Each data entry of a `Padded` came from its own place, and padding from none. Arrays have no alignment."""
    if not isinstance(x, Padded):
        return None
    mask = x.mask
    return jnp.where(mask, jax.lax.broadcasted_iota(jnp.int32, mask.shape, mask.ndim - 1), -1)


def _through(first: jax.Array, second: jax.Array) -> jax.Array:
    """The place in the first stage's input of each entry of the second stage's result; -1 for an inserted one."""
    size = first.shape[-1]
    if size == 0:
        return second
    came = jnp.take_along_axis(first, jnp.clip(second, 0, size - 1), axis=-1, mode="promise_in_bounds")
    return jnp.where(second >= 0, came, -1)


ALIGNMENT = Replay(
    "alignment",
    _own_places,
    _through,
    "Use noises of noisejax.text, and array noises that change each entry by itself.",
)


def in_place(key: Any, x: Any, **arguments: Any) -> jax.Array | None:
    """The alignment of a noise that moves nothing."""
    return _own_places(x)
