"""Faults on data frames: `corrupt`, more rows with `augment`, and `noise` for sweeps."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import narwhals as nw
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._random import host
from noisejax.frame._cells import Cells, named
from noisejax.frame._faults import TEXT, Step, fitted_to, makes_missing, steps
from noisejax.frame._rebuild import mask_frame, rebuilt, with_columns
from noisejax.frame._run import on_host, progress_of, run
from noisejax.frame._schema import described, enter_frame
from noisejax.frame._texts import needs_strings, noisy_texts
from noisejax.tabular import Schema

Faults = Sequence[tuple[Any, Any]]


def corrupt(
    key: jax.Array,
    df: Any,
    faults: Faults,
    *,
    chunk_rows: int | None = 2**18,
    ids: Any = None,
    schema: Schema | None = None,
    missing: str = "nullable",
    extend: bool = False,
    progress: bool = False,
) -> tuple[Any, Any]:
    """Faults of real data in a data frame, and the mask of the cells that they changed.

    A draw depends on the key, the fault's position in the list, the column's name and the row's number. It does not
    depend on other columns, on `chunk_rows`, or on the order of rows that have `ids`. Numbers run through the same
    functions as arrays, on the CPU, in float64 for float64 columns and in int64 for integers.

    Args:
      key: a JAX key.
      df: a pandas or polars data frame, or an Arrow table. It is not modified.
      faults: pairs (columns, noise), applied in order. The columns are a name, a list of names, a kind of
        `noisejax.tabular.Column` or `'text'`, or None for all. The noise is bound, such as
        ``nj.bind(nj.tabular.missing, rate=0.1)`` or ``nj.bind(frame.mistyped, rate=0.1)``, or a function that makes a
        noise from each column's `Column`, such as
        ``lambda column: nj.bind(nj.tabular.category, rate=0.1, num_classes=column.num_classes)``.
      chunk_rows: the number of rows that are computed at once; None for all. It bounds memory and changes no result.
        Faults that read neighbouring rows (``exact=True``, `bursty`, `permute_rows`, `duplicate`, functions of your
        own) read their whole column in any case.
      ids: the number of each row in all draws: integers, or the name of a column that holds them. None numbers the rows
        0, 1, ... Give the ids of records if rows come in a different order or in parts. Faults leave that column out.
      schema: the columns' kinds and classes; None infers them with `schema`. Give one if df is a part of a table.
      missing: what becomes of a dtype that cannot hold missing values: `'nullable'` converts pandas' integers and
        booleans to ``Int64``, ``UInt8``, ``boolean`` and so on, and `'raise'` refuses. For a value that means "missing"
        write ``nj.bind(nj.tabular.missing, rate=0.1, fill=-1)``.
      extend: whether faults of strings may add categories to a categorical dtype.
      progress: whether to show a progress bar (needs rich).

    Returns:
      The corrupted frame, of df's type, dtypes, index and order, and a boolean frame of the cells that differ. Columns
      that no fault names are shared with df. Amounts for dates are in seconds, and for dates without a time in days.

    Raises:
      TypeError: df is no data frame, or a fault that does not fit a column.
      KeyError: a fault names a column that df does not have.
      ValueError: two columns of one name, a value that is none of its column's classes, or a fault that needs all rows
        together with `ids`.

    Example:
      >>> import jax, pandas as pd, noisejax as nj
      >>> from noisejax import frame
      >>> df = pd.DataFrame({"age": [31, 45, 27, 31], "pay": [1.5, 2.5, 0.5, 2.0]})
      >>> faults = [("age", nj.bind(nj.tabular.missing, rate=0.5)), ("pay", nj.bind(nj.tabular.sign, rate=0.5))]
      >>> dirty, mask = frame.corrupt(jax.random.key(0), df, faults)
      >>> dirty.dtypes.tolist(), bool((dirty["age"].isna() == mask["age"]).all())
      ([Int64Dtype(), dtype('float64')], True)
    """
    return Table("corrupt", df, schema, missing, extend).corrupted(key, faults, chunk_rows, ids, progress)


class Table:
    """A frame whose cells are changed fault by fault."""

    def __init__(self, function: str, df: Any, schema: Schema | None, missing: str, extend: bool):
        self.function, self.frame, self.extend, self.missing = function, enter_frame(function, df), extend, missing
        _checks.one_of(function, "missing", missing, ("nullable", "raise"))
        if schema is not None and not isinstance(schema, Schema):
            raise TypeError(f"{function}: schema must be a noisejax.tabular.Schema, got {schema!r}.")
        if schema is not None and (unknown := [name for name in schema.names if name not in self.frame.columns]):
            raise ValueError(f"{function}: df has no column {unknown[0]!r}, which is in the schema.")
        self.schema, self.cells, self._described = schema, {}, {}

    def series(self, name: Any) -> nw.Series:
        return self.frame[:, self.frame.columns.index(name)]  # a name may be a number or a tuple

    def describe(self, name: Any) -> Any:
        if self.schema is not None and name in self.schema.names:
            return self.schema[name]
        if name not in self._described:
            # A part of a table has other classes than the table, so a schema that leaves strings out decides.
            series = self.series(name)
            known = self.schema is not None and series.dtype == nw.String
            self._described[name] = None if known else described(series)
        return self._described[name]

    def kind(self, name: Any, wanted: str) -> str:
        """A column's kind. Strings are read only if they may be what is wanted."""
        known = self.schema is not None and name in self.schema.names
        if not known and wanted not in ("category", "ordinal", TEXT) and self.series(name).dtype == nw.String:
            return TEXT
        column = self.describe(name)
        return TEXT if column is None else column.kind

    def column(self, name: Any) -> Cells:
        if name not in self.cells:
            known = self.schema[name] if self.schema is not None and name in self.schema.names else None
            self.cells[name] = Cells(self.series(name), known, lambda: self.describe(name))
        return self.cells[name]

    def corrupted(self, key: Any, faults: Any, chunk_rows: Any, ids: Any, progress: bool, whole_table: bool = True):
        _checks.key(self.function, key)
        if isinstance(key, Tracer):
            raise TypeError(f"{self.function}: data frames live on the host. Call it outside of jit, with a real key.")
        if chunk_rows is not None and (not isinstance(chunk_rows, (int, np.integer)) or chunk_rows < 1):
            raise ValueError(f"{self.function}: chunk_rows must be at least 1, or None for all, got {chunk_rows!r}.")
        numbers = self._numbers(ids)
        found = steps(self.function, faults, self.frame.columns, self.describe, self.kind, ids)
        with on_host(), progress_of(progress, len(found) * max(len(self.frame), 1)) as done:
            base = host.host_stream(key)
            for step in found:
                if step.whole is not None and (ids is not None or not whole_table):
                    raise ValueError(
                        f"{self.function}: {step.whole} reads several rows of {_shown(step.names)}, so it needs the "
                        "whole table in one order. Call frame.corrupt without ids."
                    )
                with named(self.function):
                    self._apply(step, base, numbers, None if chunk_rows is None else int(chunk_rows), done)
        changed = {name: cells.changed() for name, cells in self.cells.items()}
        moved = {name: rebuilt(self.cells[name], mask) for name, mask in changed.items() if self._rebuild(name, mask)}
        return with_columns(self.frame, moved), mask_frame(self.frame, changed)

    def _rebuild(self, name: Any, mask: np.ndarray) -> bool:
        return bool(mask.any()) or self.cells[name].nullable

    def _numbers(self, ids: Any) -> np.ndarray:
        n = len(self.frame)
        if ids is None:
            return np.arange(n, dtype=np.uint32 if n <= 2**32 else np.uint64)
        if isinstance(ids, str):
            if ids not in self.frame.columns:
                raise KeyError(f"{self.function}: ids names the column {ids!r}, and df has {self.frame.columns}.")
            if self.frame[ids].is_null().any():
                row = int(np.flatnonzero(self.frame[ids].is_null().to_numpy())[0])
                raise ValueError(f"{self.function}: the column {ids!r} of ids is missing in row {row}.")
            ids = self.frame[ids].to_numpy()
        ids = np.asarray(ids)
        if ids.dtype.kind not in "iu" or ids.shape != (n,):
            raise ValueError(f"{self.function}: ids must be {n} integers, got {ids.dtype} of shape {ids.shape}.")
        return ids.astype(np.uint32) if n and ids.min() >= 0 and ids.max() < 2**32 else ids

    def _apply(self, step: Step, base: Any, numbers: np.ndarray, size: int | None, done: Callable) -> None:
        cells = [self.column(name) for name in step.names]
        if step.strings:
            self._strings(step, cells[0], base, numbers)
            return done(len(self.frame))
        noise = fitted_to(self.function, step.noise, step, lambda name: self._conditions(name))
        if step.texts:
            noisy_texts(self.function, noise, step.stream(base), cells[0], numbers, self.extend)
            return done(len(self.frame))
        key = step.stream(base)
        given = {"rows": None if step.whole is not None else numbers, "size": size, "done": done}
        if step.rows:
            return self._move_rows(step, noise, key, cells, given)
        if step.loses:
            for c in cells:
                self._may_lose(c)
            x = self._stacked(step, cells) if _needs_values(noise) else np.zeros((cells[0].n, len(cells)), np.float32)
            hit = run(noise, key, x, _where(cells, every=True), hits=True, **given)
            for n, c in enumerate(cells):
                c.lose(hit[:, n])
            return None
        x = self._stacked(step, cells)
        y, changed = run(noise, key, x, _where(cells), hits=False, **given)
        for n, c in enumerate(cells):
            c.set(changed[:, n], y[:, n])
        return None

    def _conditions(self, name: Any) -> np.ndarray:
        if name not in self.frame.columns:
            raise KeyError(f"{self.function}: a mechanism depends on the column {name!r}, which df does not have.")
        cells = self.column(name)
        if cells.numeric or cells.coded:
            return cells.numbers()
        raise TypeError(
            f"{self.function}: a mechanism depends on the column {name!r} of dtype {cells.series.dtype}, which is "
            "neither a number nor a category."
        )

    def _may_lose(self, cells: Cells) -> None:
        native = getattr(cells.series.to_native(), "dtype", None)
        if self.missing == "raise" and isinstance(native, np.dtype) and native.kind in "iub":
            raise TypeError(
                f"{self.function}: the column {cells.name!r} of {native} cannot hold missing values. Pass "
                f"missing='nullable', give missing a fill=, or convert the column."
            )
        cells.nullable = True

    def _stacked(self, step: Step, cells: list[Cells]) -> np.ndarray:
        """The columns as one array (rows, columns) for a noise that calculates with them."""
        name = step.noise.function.__name__.lstrip("_")
        for c in cells:
            if not (c.numeric or c.coded):
                kind = "text" if c.kind == "text" else f"objects ({_types(c)})"
                raise TypeError(
                    f"{self.function}: {name} needs numbers or categories, and the column {c.name!r} of dtype "
                    f"{c.series.dtype} holds {kind}. Name the columns it is for, or a kind such as 'number'."
                )
            if c.kind != "float" and not step.loses and makes_missing(step.noise):
                raise TypeError(
                    f"{self.function}: {name} may make cells of the column {c.name!r} missing, of dtype "
                    f"{c.series.dtype}. Except for floats, missing must be a fault of its own or a stage of a chain."
                )
        arrays = [c.array() for c in cells]
        dtypes = {a.dtype for a in arrays}
        if len(dtypes) > 1 and not step.loses and any(a.dtype.kind != "f" for a in arrays):
            shown = ", ".join(f"{c.name!r} of {a.dtype}" for c, a in zip(cells, arrays, strict=True))
            raise TypeError(f"{self.function}: {name} sees several columns at once, which need one dtype: {shown}.")
        if step.loses:
            arrays = [c.numbers() for c in cells]
        dtype = np.result_type(*arrays)
        return arrays[0][:, None] if len(arrays) == 1 else np.stack([a.astype(dtype) for a in arrays], axis=1)

    def _move_rows(self, step: Step, noise: Any, key: Any, cells: list[Cells], given: dict) -> None:
        """Values that move between rows: the noise moves row numbers, so their dtype does not matter."""
        if not (n := cells[0].n):
            return
        place = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)[:, None]
        observed = _where(cells, every=True) if len(cells) == 1 else None
        source = run(noise, key, place, observed, hits=False, **given)[0][:, 0]
        for c in cells:
            c.take(source)

    def _strings(self, step: Step, cells: Cells, base: Any, numbers: np.ndarray) -> None:
        fault = step.noise.function
        needs_strings(self.function, fault.__name__, cells)
        null = np.zeros(cells.n, bool) if cells.null is None else cells.null
        noise = fitted_to(self.function, step.noise, step, self._conditions)
        given = {**noise.amounts, **dict(noise.options)}
        if (mechanism := given.pop("mechanism", None)) is not None:
            if not hasattr(mechanism, "values"):
                raise TypeError(
                    f"{self.function}: the mechanism of {fault.__name__} must depend on a different column, "
                    "nj.tabular.at_random(columns, on='age') or nj.tabular.block(columns, on='age'), got "
                    f"{mechanism!r}."
                )
            nothing = np.zeros((cells.n, 1), np.float32)
            given["rate"] = np.asarray(mechanism.probability(step.stream(base), nothing, given["rate"]))[:, 0]
        rows, values = fault.__strings__(step.host_stream(base), cells.at, ~null, numbers, **given)
        if len(rows):
            cells.set_text(rows, values, self.extend)


def _where(cells: list[Cells], every: bool = False) -> np.ndarray | None:
    """The cells that hold data, of shape (rows, columns); None if all do."""
    lost = [c.missing() if every else None for c in cells]
    masks = [c.where() if not every else None if gone is None else ~gone for c, gone in zip(cells, lost, strict=True)]
    if all(mask is None for mask in masks):
        return None
    return np.stack([np.ones(c.n, bool) if m is None else m for c, m in zip(cells, masks, strict=True)], axis=1)


def _needs_values(noise: Any) -> bool:
    """Whether a mechanism reads the cells that it hits."""
    mechanism = noise.amounts.get("mechanism")
    while getattr(mechanism, "mechanism", None) is not None and not hasattr(mechanism, "values"):
        mechanism = mechanism.mechanism
    return getattr(mechanism, "on", 0) is None


def _types(cells: Cells) -> str:
    """The types in a column of objects, each with its first row."""
    first: dict[str, int] = {}
    for row, value in enumerate(cells.series.to_list()):
        if value is not None:
            first.setdefault(type(value).__name__, row)
    return ", ".join(f"{name} in row {row}" for name, row in list(first.items())[:4]) or "nothing"


def _shown(names: tuple) -> str:
    return "the column " + repr(names[0]) if len(names) == 1 else "the columns " + ", ".join(map(repr, names))


def augment(key: jax.Array, df: Any, faults: Faults, copies: int = 1, **options: Any) -> Any:
    """A longer data frame: the rows of df, followed by corrupted copies of all of them.

    It is for models that are trained once on a whole table, such as trees. Corrupt training rows only, and leave the
    target out of the faults.

    Args:
      key: a JAX key. Each copy draws from a key of its own.
      df: a pandas or polars data frame, or an Arrow table. It is not modified.
      faults: pairs (columns, noise), as in `corrupt`.
      copies: the number of corrupted copies, at least 0.
      **options: those of `corrupt`.

    Returns:
      A frame of ``(1 + copies) * len(df)`` rows. The index of a pandas frame is repeated, so it names the row that a
      copy comes from.

    Example:
      >>> import jax, pandas as pd, noisejax as nj
      >>> from noisejax import frame
      >>> df = pd.DataFrame({"pay": [1.5, 2.5], "hired": [0, 1]})
      >>> more = frame.augment(jax.random.key(0), df, [("pay", nj.bind(nj.gaussian, std=0.1))], copies=3)
      >>> len(more), more["hired"].tolist()
      (8, [0, 1, 0, 1, 0, 1, 0, 1])
    """
    copies = _checks.count("augment", "copies", copies)
    _checks.key("augment", key)
    _check_options("augment", options)
    frames = [enter_frame("augment", df)]
    for copy in range(copies):
        dirty, _ = corrupt(jax.random.fold_in(key, copy), df, faults, **options)
        frames.append(nw.from_native(dirty, eager_only=True))
    return _joined(frames)


def _joined(frames: list[nw.DataFrame]) -> Any:
    """All rows of some frames. A column has the dtype that holds all of them."""
    native = frames[0].to_native()
    if nw.dependencies.is_pandas_dataframe(native):
        pandas: Any = nw.get_native_namespace(frames[0])
        parts = [frame.to_native() for frame in frames]
        for place, name in enumerate(native.columns):
            dtypes = [part.dtypes.iloc[place] for part in parts]
            wide = dtypes[-1]
            if all(dtype == wide for dtype in dtypes):
                continue
            if isinstance(wide, pandas.CategoricalDtype):  # each copy may have new categories of its own
                labels = dict.fromkeys(label for dtype in dtypes for label in dtype.categories)
                wide = pandas.CategoricalDtype(list(labels), ordered=wide.ordered)
            parts = [part.astype({name: wide}) for part in parts]
        return pandas.concat(parts)
    return nw.concat(frames, how="vertical").to_native()


@dataclasses.dataclass(frozen=True, eq=False)
class FrameNoise:
    """Faults as a noise of frames, ``noise(key, df) -> df``, which `noise` makes."""

    faults: Faults
    options: dict[str, Any]

    def __call__(self, key: jax.Array, df: Any) -> Any:
        return corrupt(key, df, self.faults, **self.options)[0]


def noise(faults: Faults, **options: Any) -> FrameNoise:
    """Faults as a function ``(key, df) -> df``, for sweeps over noise levels and for pipelines. It can be pickled.

    Args:
      faults: pairs (columns, noise), as in `corrupt`.
      **options: those of `corrupt`.

    Returns:
      A function of a key and a data frame. It returns the corrupted frame without the mask.

    Example:
      >>> import jax, pandas as pd, noisejax as nj
      >>> from noisejax import frame
      >>> df = pd.DataFrame({"pay": [1.5, 2.5]})
      >>> def at(level):
      ...     return frame.noise([("pay", nj.bind(nj.gaussian, std=level))])
      >>> bool((at(0.0)(jax.random.key(0), df) == df).all(axis=None))
      True
    """
    _check_options("noise", options)
    return FrameNoise(tuple(faults) if isinstance(faults, list) else faults, options)


def _check_options(function: str, options: dict[str, Any]) -> None:
    """Requires options of `corrupt`."""
    known = [p.name for p in inspect.signature(corrupt).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"{function} got an unexpected keyword argument {unknown[0]!r}. Its options are {known}.")
