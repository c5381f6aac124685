"""The same faults where rows come in batches: Ray Data, Dask, Grain, and input pipelines in NumPy."""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._combinators.compose import reads_batch
from noisejax._noise import Noise, Run
from noisejax._random import host
from noisejax._random.host import cpu
from noisejax._random.stream import Stream
from noisejax.frame._corrupt import Faults, Table
from noisejax.frame._faults import check_faults, needs_all_rows
from noisejax.tabular import Schema


@dataclasses.dataclass(frozen=True, eq=False)
class Mapped:
    """Faults on the batches of an engine, which `map_batches` makes."""

    data: np.ndarray
    implementation: Any
    faults: Faults
    ids: Any
    options: dict[str, Any]

    def __call__(self, batch: Any) -> Any:
        key = jax.random.wrap_key_data(jnp.asarray(self.data), impl=self.implementation)
        columns = isinstance(batch, dict)
        if columns:
            pandas: Any = importlib.import_module("pandas")
            batch = pandas.DataFrame({name: _column(name, values) for name, values in batch.items()})
        missing = "raise" if columns else self.options["missing"]  # NumPy's integers hold no missing values
        table = Table("map_batches", batch, self.options["schema"], missing, self.options["extend"])
        dirty, _ = table.corrupted(key, self.faults, self.options["chunk_rows"], self.ids, False, whole_table=False)
        return {name: dirty[name].to_numpy() for name in dirty.columns} if columns else dirty


def _column(name: str, values: Any) -> Any:
    if np.ndim(values) != 1:
        raise ValueError(f"map_batches: the column {name!r} must hold one value per row, got shape {np.shape(values)}.")
    return values


def map_batches(
    key: jax.Array,
    faults: Faults,
    ids: str,
    *,
    schema: Schema | None = None,
    missing: str = "nullable",
    extend: bool = False,
    chunk_rows: int | None = 2**18,
) -> Mapped:
    """Faults as a function of a batch, for engines that hold tables larger than one machine. It can be pickled.

    Together the batches have the faults that `corrupt` gives the whole table with the same `ids`, in whatever way the
    engine splits it. For Ray Data write ``dataset.map_batches(f, batch_format="pandas")``, and for Dask
    ``table.map_partitions(f, meta=f(table._meta))``.

    Args:
      key: a JAX key, the same for all batches.
      faults: pairs (columns, noise), as in `corrupt`. Each row must be separate: faults that read several rows are
        refused.
      ids: the name of a column with the number of each row in the whole table. Faults leave it out.
      schema: the columns' kinds and classes. Give it if faults name kinds or categories, since a batch may lack some.
      missing, extend, chunk_rows: as in `corrupt`.

    Returns:
      A function from a batch to a batch of the same type: a pandas or polars frame, an Arrow table, or a dict of NumPy
      arrays. Integers and booleans of NumPy cannot become missing: there give `missing` a fill.

    Example:
      >>> import jax, pandas as pd, noisejax as nj
      >>> from noisejax import frame
      >>> df = pd.DataFrame({"id": range(6), "pay": [1.5, 2.5, 0.5, 2.0, 3.0, 1.0]})
      >>> key, faults = jax.random.key(0), [("pay", nj.bind(nj.tabular.sign, rate=0.5))]
      >>> f = frame.map_batches(key, faults, ids="id")
      >>> parts = pd.concat([f(df[:2]), f(df[2:])])
      >>> parts.equals(frame.corrupt(key, df, faults, ids="id")[0])
      True
    """
    _checks.key("map_batches", key)
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    if not isinstance(ids, str):
        raise TypeError(f"map_batches: ids must be the name of a column with the rows' numbers, got {ids!r}.")
    host.known("map_batches", key)
    check_faults("map_batches", faults)
    data = np.asarray(jax.random.key_data(key))
    options = {"schema": schema, "missing": missing, "extend": extend, "chunk_rows": chunk_rows}
    mapped = Mapped(data, _implementation(key), tuple(faults) if isinstance(faults, list) else faults, ids, options)
    for _, noise in mapped.faults:
        if isinstance(noise, Noise) and (reader := needs_all_rows(noise)) is not None:
            raise TypeError(
                f"map_batches: {reader} reads several rows, and a batch is a part of a table. Use frame.corrupt."
            )
    return mapped


def _implementation(key: jax.Array) -> Any:
    """The type of a key, in a form that can be pickled."""
    name = str(jax.random.key_impl(key))
    return key.dtype if "noisejax" in name else name


def grain_map(key: jax.Array, noise: Callable, ids: str = "id") -> Any:
    """A Grain transformation that adds noise to each record, by the record's number in the whole data set.

    The draws are those of ``nj.per_example(noise, ids)`` on a batch. So they do not depend on the order of records, on
    the number of workers, or on where a restarted run resumes. Grain's own generator is not used.

    Args:
      key: a JAX key, the same for all records and workers.
      noise: a noise of a record without its number: of an array, of a dict of arrays
        (``nj.on_entries({"x": noise})``), or a bound noise of arrays.
      ids: the field of a record, a dict, that holds its number. It is left out of what the noise sees, and kept. If the
        record has exactly one other field, the noise is that of its array.

    Returns:
      A ``grain.transforms.RandomMap``.

    Raises:
      ModuleNotFoundError: grain is not installed.
      TypeError: a noise that reads several examples.

    Example:
      >>> import jax, numpy as np, noisejax as nj
      >>> from noisejax import frame
      >>> step = frame.grain_map(jax.random.key(0), nj.bind(nj.gaussian, std=1.0))  # doctest: +SKIP
      >>> step.random_map({"id": 7, "x": np.zeros(3, np.float32)}, None)["x"].shape  # doctest: +SKIP
      (3,)
    """
    _checks.key("grain_map", key)
    if (reader := reads_batch(noise)) is not None:
        raise TypeError(f"grain_map: {reader} reads several examples, and a record is alone. Apply it to batches.")
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    return _record_noise(np.asarray(jax.random.key_data(key)), _implementation(key), noise, ids)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordNoise:
    """Noise on each record, drawn from its number. It is registered as a transformation of Grain when it is made."""

    data: np.ndarray
    implementation: Any
    noise: Any
    ids: str

    def random_map(self, element: Any, rng: Any) -> Any:
        return _on_record(self.data, self.implementation, self.noise, self.ids, element)

    def __reduce__(self):
        return _record_noise, (self.data, self.implementation, self.noise, self.ids)


def _record_noise(*fields: Any) -> RecordNoise:
    try:
        transforms: Any = importlib.import_module("grain.transforms")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "grain":
            raise
        raise ModuleNotFoundError("grain_map needs grain: pip install grain.", name=error.name) from None
    transforms.RandomMap.register(RecordNoise)
    return RecordNoise(*fields)


def _on_record(data: np.ndarray, implementation: Any, noise: Callable, ids: str, record: Any) -> Any:
    """A record with noise."""
    if not isinstance(record, dict) or ids not in record:
        got = sorted(map(str, record)) if isinstance(record, dict) else f"a {type(record).__name__}"
        raise TypeError(f"grain_map: a record must be a dict with its number in {ids!r}, got {got}.")
    fields = {name: value for name, value in record.items() if name != ids}
    (only,) = fields if len(fields) == 1 else (None,)
    x = fields if only is None else fields[only]
    key = jax.random.wrap_key_data(jnp.asarray(data), impl=implementation)
    folded = host.fold(host.host_stream(key), int(record[ids]))
    with jax.default_device(cpu()):
        own = Stream(jnp.asarray(np.concatenate([folded.k0, folded.k1])), generator=folded.generator)
        y = jax.tree.map(np.asarray, _record(noise, own, jax.tree.map(np.asarray, x)))
    return {**record, **(y if only is None else {only: y})}


@jax.jit
def _record(noise: Any, key: Any, x: Any) -> Any:
    single = jax.tree.map(lambda leaf: leaf[None], x)
    y, _ = Run()(noise, key, single)
    return jax.tree.map(lambda leaf: leaf[0], y)


def numpy_door(noise: Callable) -> Callable[[jax.Array, Any], Any]:
    """A noise for input pipelines in NumPy: ``(key, x) -> x`` from NumPy arrays to NumPy arrays, on the CPU.

    It gives the draws of ``noise(key, x)``. The batch is padded to a power of two, so that the last batch of an epoch
    does not compile the noise again.

    Args:
      noise: a noise of an array, or of a batch of arrays that share a leading axis of examples.

    Returns:
      A function of a key and a NumPy array, or a batch of them. It can be pickled if the noise can.

    Raises:
      TypeError: a noise that reads several examples, which would see the padding.

    Example:
      >>> import jax, numpy as np, noisejax as nj
      >>> from noisejax import frame
      >>> noise = nj.bind(nj.gaussian, std=0.1)
      >>> door = frame.numpy_door(noise)
      >>> x = np.zeros((5, 3), np.float32)
      >>> np.allclose(door(jax.random.key(0), x), noise(jax.random.key(0), x), atol=1e-6)
      True
    """
    if (reader := reads_batch(noise)) is not None:
        raise TypeError(f"numpy_door: {reader} reads several examples, and would see the padding. Call it directly.")
    if not isinstance(noise, Noise):
        raise TypeError(f"numpy_door: noise must be bound, such as nj.bind(nj.gaussian, std=0.1), got {noise!r}.")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(noise)):
        raise TypeError(
            "numpy_door: noise must not be traced, since the door takes and returns arrays of NumPy. Inside of "
            "jax.jit, call the noise itself."
        )
    return functools.partial(_through, noise)


def _through(noise: Noise, key: jax.Array, x: Any) -> Any:
    _checks.key("numpy_door", key)
    leaves = jax.tree.leaves(x)
    if not leaves or any(not isinstance(leaf, np.ndarray) or leaf.ndim == 0 for leaf in leaves):
        shown = ", ".join(type(leaf).__name__ for leaf in leaves) or "nothing"
        raise TypeError(f"numpy_door: x must be NumPy arrays with a leading axis of examples, got {shown}.")
    n = _checks.batch_size("numpy_door", x)
    if n == 0:
        return x
    room = 1 << (n - 1).bit_length()
    padded = jax.tree.map(lambda leaf: np.concatenate([leaf, np.zeros((room - n, *leaf.shape[1:]), leaf.dtype)]), x)
    with jax.default_device(cpu()):
        y = _jitted(noise, key, padded)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:n], y)


@jax.jit
def _jitted(noise: Any, key: Any, x: Any) -> Any:
    return noise(key, x)
