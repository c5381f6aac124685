"""Layouts on a mesh with explicit axes, and the places where XLA must not fuse."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import AxisType, PartitionSpec


def automatic(function: Callable, leaf: jax.Array, *rest: jax.Array) -> jax.Array:
    """Runs a function that moves data along sharded axes and returns an array sharded as `leaf`.

    On a mesh with explicit axes such a move has no sharding rule. The compiler chooses one, as on other meshes.
    """
    sharding = jax.typeof(leaf).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return function(leaf, *rest)
    laid_out: Callable = jax.sharding.auto_axes(function, out_sharding=sharding)
    return laid_out(leaf, *rest)


def computed_once(x: Any) -> Any:
    """x, computed before its readers, for a reader of other places than its own.

    XLA takes the operand of a gather to be read once, and computes everything that led to it again for every element
    that is gathered: after a noise in the same program, that took up to 18 times as long as the two alone.
    """
    return jax.lax.platform_dependent(x, cpu=_separate, default=jax.lax.optimization_barrier) if _traced(x) else x


def own_loop_on_cpus(x: Any, always: bool = False) -> Any:
    """x, computed in a loop of its own on CPUs if its last axis is short, or always; on other devices x itself.

    A loop over three channels is vectorized only as long as its body is small enough to be unrolled. Two noises of
    images in one loop therefore took up to four times as long as in two loops.
    """
    apart = _traced(x) and (always or (x.ndim > 1 and 1 < x.shape[-1] < _VECTOR))
    return jax.lax.platform_dependent(x, cpu=_separate, default=lambda x: x) if apart else x


_VECTOR = 8  # float32 numbers in a register of AVX2
_OLD = jax.__version_info__ < (0, 11, 1)  # its CPU backend removes barriers before it fuses


def _separate(x: jax.Array) -> jax.Array:
    if not _OLD:
        return jax.lax.optimization_barrier(x)
    with set_xla_metadata(inlineable="false"):  # a call that stays a call is no part of a loop
        return _barrier(x)


_barrier = jax.jit(jax.lax.optimization_barrier)


def _traced(x: Any) -> bool:
    """Whether x is part of a program that is being traced. A batch may hold other things than arrays."""
    return isinstance(x, Tracer)


def axis_names(x: jax.Array, ndim: int) -> tuple:
    """The mesh axes of each of `ndim` axes, of which x has the first ones; None where it is not sharded."""
    spec = jax.typeof(x).sharding.spec
    return (*spec, *[None] * (ndim - len(spec)))


def with_axis_names(x: jax.Array, names: Sequence) -> jax.sharding.NamedSharding:
    """The sharding of an array on x's mesh, from the mesh axes of each of its axes."""
    return jax.typeof(x).sharding.update(spec=PartitionSpec(*names))


def one_per_example(leaf: jax.Array) -> dict:
    """Shape (B,) and sharding of one draw per example, for `words`."""
    return {"shape": leaf.shape[:1], "sharding": with_axis_names(leaf, axis_names(leaf, leaf.ndim)[:1])}


def like_examples(leaf: jax.Array, x: jax.Array) -> jax.Array:
    """A leaf with x's leading axis, sharded along it as x is if the mesh has explicit axes."""
    sharding = jax.typeof(x).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return leaf
    names = (*axis_names(x, 1)[:1], *[None] * (np.ndim(leaf) - 1))
    return jax.sharding.reshard(leaf, with_axis_names(x, names))
