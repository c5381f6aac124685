"""Batches of examples that the host selects: their sizes, transfers and threads."""

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import Partial

# The operations of `_look` on a batch that keeps one core busy: a gradient then takes some tenths of a millisecond,
# well above the overhead of each operation.
_BUSY = 2**26


class Batches:
    """The examples on the host, and batches of some of them on the device.

    An accelerator processes one batch after the other, as large as allowed. XLA makes poor use of several CPU cores for
    small operations. On a CPU, batches are therefore as small as possible while they keep a core busy, and each core
    processes one batch. This also wastes less on batches that are not full.

    Args:
      model: a function, or a ``Partial`` of a function and its parameters.
      key: a key, or a stream.
      x: the examples, of shape (N, ...). If they are sharded along their first axis, so are the batches.
      labels: of shape (N,).
      threat: the perturbations that are allowed.
      ids: the numbers of the examples, of shape (N,); None for 0, 1, ..., N - 1.
      batch_size: the maximum number of examples in a batch.
    """

    def __init__(self, model: Callable, key: Any, x: Any, labels: Any, threat: Any, ids: Any, batch_size: int):
        self.model = model if isinstance(model, Partial) else Partial(model)
        self.key = key
        self.threat = jax.device_get(threat.fitted(jnp.asarray(x, jnp.float32)))
        self.split, shards = None, 1
        sharding = getattr(x, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.spec and sharding.spec[0] is not None:
            self.split = NamedSharding(sharding.mesh, PartitionSpec(sharding.spec[0]))
            shards = len(x) // sharding.shard_shape(x.shape)[0]
        self.x = np.asarray(jax.device_get(x)).astype(np.float32)
        self.labels = np.asarray(jax.device_get(labels))
        self.ids = np.arange(len(x), dtype=np.int32) if ids is None else np.asarray(jax.device_get(ids))
        if self.ids.shape != self.labels.shape or not np.issubdtype(self.ids.dtype, np.integer):
            raise ValueError(f"autoattack: ids must be integers of shape {self.labels.shape}, got {ids!r}.")
        self.sizes = sorted({-(-max(batch_size // part, 1) // shards) * shards for part in (1, 2, 4, 8, 16)})
        self.workers, self.least = 1, self.sizes[-1]
        self.used: dict[Any, set[int]] = {}  # the sizes that each program has been compiled for

    def measure(self, program: Callable, **static: Any) -> None:
        """Determines from a program the smallest useful batch, and how many batches to process at a time."""
        size = self.sizes[-1]
        arguments = self._put(np.zeros(size, np.int32))
        if self.split is not None or next(iter(arguments[0].devices())).platform != "cpu":
            return
        cost = program.lower(self.model, self.key, *arguments, **static).cost_analysis() or {}
        each = cost.get("flops", 0) / size
        self.least = next((size for size in self.sizes if size * each >= _BUSY), size)
        self.workers = _cores()

    def run_each(self, which: np.ndarray, program: Callable, numbers: tuple, **static: Any) -> Iterator[tuple]:
        """Runs a jitted ``program(model, key, x, labels, threat, ids, *numbers)`` on batches of some examples.

        Yields the examples of each batch and the result of the program, on the host. The last batch is padded with its
        last example.
        """
        if not len(which):
            return
        size = self._chosen(len(which), self.used.setdefault((program, *static.items()), set()))
        parts = [which[first : first + size] for first in range(0, len(which), size)]
        parts[-1] = np.concatenate([parts[-1], np.full(size - len(parts[-1]), parts[-1][-1])])
        # Transfer and compile here: the caller's JAX configuration does not apply in other threads.
        numbers = tuple(jax.device_put(np.int32(number)) for number in numbers)
        inputs = [(self.model, self.key, *self._put(part), *numbers) for part in parts]
        compiled = program.lower(*inputs[0], **static).compile()
        if self.workers == 1 or len(parts) == 1:
            found = [compiled(*arguments) for arguments in inputs]
            yield from zip(parts, map(jax.device_get, found), strict=True)
            return
        with ThreadPoolExecutor(min(self.workers, len(parts))) as pool:
            yield from zip(parts, pool.map(lambda given: jax.device_get(compiled(*given)), inputs), strict=True)

    def _chosen(self, count: int, used: set[int]) -> int:
        """The batch size with the shortest time; a size that needs compiling has to take half the time."""

        def cost(size: int) -> tuple:
            time = -(-count // (size * self.workers)) * size
            return time * (1 if size in used else 2), size not in used, -count % size, -size

        enough = next((size for size in self.sizes if size >= count), self.sizes[-1])
        size = min({size for size in self.sizes if size >= self.least} | {enough}, key=cost)
        used.add(size)
        return size

    def _put(self, part: np.ndarray) -> tuple:
        count = len(self.x)

        def gathered(leaf):
            if np.shape(leaf)[:1] != (count,):
                return jax.device_put(leaf)
            return jax.device_put(np.asarray(leaf)[part], self.split)

        return jax.tree.map(gathered, (self.x, self.labels, self.threat, self.ids))


@functools.cache
def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not available on this system
        return os.cpu_count() or 1
