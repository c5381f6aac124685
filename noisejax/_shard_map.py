"""Inside `jax.shard_map`: a shard draws its own part of what the whole array would draw."""

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

    Inside `jax.shard_map` an array is one device's part and its indices start at 0, so that with one key, every device
    would draw the same noise. Under this combinator an element has the index that it has in the whole array. What the
    devices draw together is then what the noise draws outside for the whole array, to the bit, and they exchange
    nothing for it.

    The rule is that x is not cut through what a noise sees. Noises of single elements (`gaussian`, `dropout`, `mask`,
    also where a draw is shared along some axes) may be cut along any axis; those that see an example (`cutout`,
    `gaussian_snr`, `drop_block`) along the leading one, unless they work along it; those that see the batch (`swap`,
    `mixup`) along none. All else raises at trace time, and so do functions that draw from a JAX key of their own.

    Args:
      noise: a noise of one array; for a batch of several, wrap each one's:
        ``nj.on_entries((nj.in_shard_map(noise, spec), None))``. Its amounts are what the shard sees of them, as x is:
        what has x's cut axes must be cut with them.
      spec: the names of mesh axes over which each axis of x is cut, as given to `jax.shard_map` for x.

    Returns:
      A noise. Outside of `jax.shard_map` it raises, as its axes have no names there.

    Raises:
      ValueError: x is cut through what a noise sees; or `lengths` count along a cut axis (give `where`).

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
            f"in_shard_map: x must be one array with the axes of {spec}, got {got}. Entries of a batch are wrapped one "
            "by one: nj.on_entries((nj.in_shard_map(noise, spec), None))."
        )
    parent = stream(key)
    if parent.layout is not None:
        raise ValueError("in_shard_map: one around another; x is cut once, so give the outer one the whole spec.")
    layout = tuple(_names(entry) for entry in (*spec, *[None] * (values.ndim - len(spec))))
    if isinstance(x, Padded) and layout[x.lengths.ndim]:
        raise ValueError(
            f"in_shard_map: lengths count along axis {x.lengths.ndim}, which is cut over {layout[x.lengths.ndim]}. "
            "Give where instead, cut as x is."
        )
    return run(noises[0], dataclasses.replace(parent, layout=layout), x)


def _names(entry) -> tuple[str, ...]:
    return () if entry is None else entry if isinstance(entry, tuple) else (entry,)
