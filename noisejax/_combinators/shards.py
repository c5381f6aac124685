"""Noise inside `jax.shard_map`: each shard draws its own part of the whole array's draw."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jax.sharding import PartitionSpec

from noisejax import _noise
from noisejax._noise import Noise, Run, combinator
from noisejax._padded import Padded, values_of
from noisejax._random.stream import stream


def in_shard_map(noise: Callable, spec: PartitionSpec) -> Noise:
    """A noise for use inside `jax.shard_map`: each shard draws its own part of the whole array's draw.

    Inside `jax.shard_map` an array is one device's part and its indices start at 0. So with one key, every device would
    draw the same noise. Under this combinator an element has its index in the whole array. Together the devices then
    draw what the noise draws outside for the whole array, to the bit and without communication.

    The axes along which x may be sharded depend on the noise:

    - Any axis, for noises of single elements (`gaussian`, `dropout`, `mask`, also with draws shared along some axes).
    - The leading axis, for noises that see an example (`cutout`, `gaussian_snr`, `drop_block`), unless they work along
      it.
    - No axis, for noises that see the batch (`swap`, `mixup`).

    Everything else raises at trace time, and so do functions that draw from a JAX key of their own.

    Args:
      noise: a noise of one array. For a batch of several arrays, wrap the noise of each:
        ``nj.on_entries((nj.in_shard_map(noise, spec), None))``. Its amounts are local to the shard, as x is: an amount
        with one of x's sharded axes must be sharded along it too.
      spec: the names of the mesh axes over which each axis of x is sharded, as passed to `jax.shard_map` for x.

    Returns:
      A noise. Outside of `jax.shard_map` it raises, since the mesh axes have no names there.

    Raises:
      ValueError: x is sharded along an axis on which the noise needs all of it, or `lengths` count along a sharded axis
        (use `where`).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from jax.sharding import AxisType, PartitionSpec as P
      >>> mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
      >>> key, x = jax.random.key(0), jnp.ones((8, 16))
      >>> noise = nj.bind(nj.dropout, rate=0.5)
      >>> local = nj.in_shard_map(noise, P("data"))
      >>> run = jax.shard_map(local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))
      >>> bool((jax.jit(run)(key, x) == noise(key, x)).all())
      True
    """
    (noise,) = _noise.stages("in_shard_map", (noise,))
    if not isinstance(spec, PartitionSpec):
        raise TypeError(f"in_shard_map: spec must be a jax.sharding.PartitionSpec, as for shard_map, got {spec!r}.")
    return Noise(_in_shard_map, {"noises": (noise,)}, (("spec", spec),))


@combinator(lambda noise: ([*noise.amounts["noises"], *dict(noise.options).values()], {}))
def _in_shard_map(run: Run, key, x: Any, noises, *, spec):
    values = values_of(x)
    if not hasattr(values, "ndim") or values.ndim < len(spec):
        got = f"shape {values.shape}" if hasattr(values, "ndim") else f"a {type(x).__name__}"
        raise ValueError(
            f"in_shard_map: x must be one array with the axes of {spec}, got {got}. Wrap the entries of a batch one "
            "by one: nj.on_entries((nj.in_shard_map(noise, spec), None))."
        )
    parent = stream(key)
    if parent.layout is not None:
        raise ValueError("in_shard_map: must not be nested. Give the outer one the whole spec of x.")
    layout = tuple(_names(entry) for entry in (*spec, *[None] * (values.ndim - len(spec))))
    if isinstance(x, Padded) and layout[x.lengths.ndim]:
        raise ValueError(
            f"in_shard_map: lengths count along axis {x.lengths.ndim}, sharded over {layout[x.lengths.ndim]}. "
            "Give where instead, sharded as x is."
        )
    return run(noises[0], dataclasses.replace(parent, layout=layout), x)


def _names(entry) -> tuple[str, ...]:
    return () if entry is None else entry if isinstance(entry, tuple) else (entry,)
