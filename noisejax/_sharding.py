"""Shardings on a mesh with explicit axes: of amounts, of draws per example, and of data moved along sharded axes."""

from collections.abc import Callable

import jax
import numpy as np
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


def one_per_example(leaf: jax.Array) -> dict:
    """Shape (B,) and sharding of one draw per example, for `words`."""
    sharding = jax.typeof(leaf).sharding
    return {"shape": leaf.shape[:1], "sharding": sharding.update(spec=PartitionSpec(*sharding.spec[:1]))}


def like_examples(leaf: jax.Array, x: jax.Array) -> jax.Array:
    """A leaf with x's leading axis, sharded along it as x is if the mesh has explicit axes."""
    sharding = jax.typeof(x).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return leaf
    spec = (*sharding.spec[:1], *[None] * (np.ndim(leaf) - 1))
    return jax.sharding.reshard(leaf, sharding.update(spec=PartitionSpec(*spec)))
