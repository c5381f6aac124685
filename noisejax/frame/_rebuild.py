"""Columns and frames built again after their cells have changed, in the dtype, index and order that they had."""

import importlib
from typing import Any

import narwhals as nw
import numpy as np

from noisejax.frame._cells import Cells


def rebuilt(cells: Cells, changed: np.ndarray) -> Any:
    """The column as a native series with its new cells. Its dtype depends on the faults and not on what they hit."""
    if nw.dependencies.is_pandas_series(cells.series.to_native()):
        return _of_pandas(cells, changed)
    return _of_others(cells, changed)


def _of_pandas(cells: Cells, changed: np.ndarray) -> Any:
    native: Any = cells.series.to_native()
    pandas: Any = nw.get_native_namespace(cells.series)
    if cells.kind == "float" and isinstance(native.dtype, np.dtype):
        array = cells.values if cells.owned else cells.values.copy()
        return pandas.Series(array, index=native.index, name=native.name, copy=False)
    null = cells.missing()
    null = np.zeros(cells.n, bool) if null is None else null
    array = _pandas_array(cells, native, null, pandas)
    if array is None:  # every other dtype sets the cells that are different
        array = native.array.copy()
        rows = np.flatnonzero(changed)
        lost, kept = rows[null[rows]], rows[~null[rows]]
        try:
            if len(lost):
                array[lost] = None if native.dtype == object else native.dtype.na_value
            if len(kept):
                array[kept] = _values(cells, kept, native.dtype, pandas)
        except (TypeError, NotImplementedError) as error:
            raise TypeError(
                f"corrupt: the column {cells.name!r} of dtype {native.dtype} does not take what a fault makes of row "
                f"{int(rows[0])} ({error}). Convert the column."
            ) from None
    return pandas.Series(array, index=native.index, name=native.name, copy=False)


def _pandas_array(cells: Cells, native: Any, null: np.ndarray, pandas: Any) -> Any:
    """The whole array of a dtype that pandas makes from NumPy; None for all others."""
    dtype: Any = native.dtype
    arrays, unit = pandas.arrays, getattr(cells.series.dtype, "time_unit", "")
    values = cells.values
    plain = native.dtype.kind if isinstance(native.dtype, np.dtype) else ""
    if isinstance(dtype, pandas.CategoricalDtype):
        return _categorical(cells, dtype, null, pandas)
    if cells.kind == "dictionary":  # of Arrow in pandas, whose arrays lose what is missing when they are set
        pyarrow: Any = importlib.import_module("pyarrow")
        strings = np.array([*cells.labels, None], object)[np.where(null, -1, cells.values)]
        return arrays.ArrowExtensionArray(pyarrow.array(strings.tolist(), type=dtype.pyarrow_dtype))
    if plain in ("i", "u", "b"):
        values = values.astype(dtype, copy=not cells.owned)  # never the memory of the clean frame
        if not (cells.nullable or null.any()):
            return values
        return (arrays.BooleanArray if plain == "b" else arrays.IntegerArray)(values, null.copy())
    kind = {"IntegerArray": arrays.IntegerArray, "BooleanArray": arrays.BooleanArray}.get(type(native.array).__name__)
    if kind is not None:
        values = values.astype(dtype.numpy_dtype, copy=False)  # np.where copies
        return kind(np.where(null, np.ones(1, values.dtype), values), null.copy())
    if cells.kind == "time" and getattr(dtype, "kind", "") in "mM" and not hasattr(dtype, "pyarrow_dtype"):
        stamps = np.where(null, np.iinfo(np.int64).min, values).view(f"{dtype.kind}8[{unit}]")
        if getattr(dtype, "tz", None) is None:
            return stamps
        return pandas.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(dtype.tz).array
    return None


def _categorical(cells: Cells, dtype: Any, null: np.ndarray, pandas: Any) -> Any:
    own = dtype.categories.tolist()
    if tuple(own) == cells.labels:
        new = cells.values if cells.null is None else np.where(null, -1, cells.values)
        return pandas.Categorical.from_codes(new, dtype=dtype)
    fresh = [label for label in cells.labels if label not in set(own)]
    used = set(np.unique(cells.values[~null]).tolist())
    fresh = [label for label in fresh if cells.labels.index(label) in used]
    place = {label: n for n, label in enumerate([*own, *fresh])}
    renumber = np.array([*(place.get(label, -1) for label in cells.labels), -1])
    new = renumber[np.where(null, -1, cells.values)]
    if fresh:
        dtype = pandas.CategoricalDtype([*own, *fresh], ordered=dtype.ordered)
    return pandas.Categorical.from_codes(new, dtype=dtype)


def _values(cells: Cells, rows: np.ndarray, dtype: Any, pandas: Any) -> Any:
    """New values of a few cells, none of them missing, as the column's dtype takes them."""
    if cells.kind != "time":
        return cells.values[rows] if cells.kind in ("int", "float") else cells.at(rows)
    pyarrow: Any = importlib.import_module("pyarrow")  # all other dates are whole arrays
    whole = cells.values[rows].astype(np.int32 if cells.series.dtype == nw.Date else np.int64)
    return pandas.arrays.ArrowExtensionArray(pyarrow.array(whole).cast(dtype.pyarrow_dtype))


def _of_others(cells: Cells, changed: np.ndarray) -> Any:
    series, dtype = cells.series, cells.series.dtype
    backend = nw.get_native_namespace(series)
    rows = np.flatnonzero(changed)
    if not len(rows):
        return series.to_native()
    null = cells.missing()
    null = np.zeros(cells.n, bool) if null is None else null
    if cells.kind == "dictionary":
        labels = np.array([*cells.labels, None], object)
        strings = labels[np.where(null, -1, cells.values)].tolist()
        made = nw.new_series(series.name, strings, nw.String, backend=backend).cast(dtype)
        return made.to_native()
    if cells.kind == "object":
        return _of_objects(cells, changed, null, backend)
    if cells.kind == "time":
        numbers = [None if lost else int(v) for v, lost in zip(cells.values[rows], null[rows], strict=True)]
        whole = nw.Int32 if dtype == nw.Date else nw.Int64
        new = nw.new_series(series.name, numbers, whole, backend=backend).cast(dtype)
    else:
        new = nw.new_series(series.name, _listed(cells, rows, null[rows]), dtype, backend=backend)
    return series.scatter(rows.tolist(), new).to_native()


def _of_objects(cells: Cells, changed: np.ndarray, null: np.ndarray, backend: Any) -> Any:
    """Lists, structs, decimals and whatever else: cells become missing, or are those of different rows."""
    series = cells.series
    if not (changed & ~null).any():
        keep = nw.new_series("keep", ~(changed & null), nw.Boolean, backend=backend)
        return series.zip_with(keep, series.shift(cells.n)).to_native()  # a shift by all rows leaves none
    values = cells.at(np.arange(cells.n)).tolist()
    return nw.new_series(series.name, values, series.dtype, backend=backend).to_native()


def _listed(cells: Cells, rows: np.ndarray, lost: np.ndarray) -> list:
    values = cells.at(rows) if cells.values is None or cells.kind == "flag" else cells.values[rows]
    values = values.tolist()
    return [None if missing else value for value, missing in zip(values, lost, strict=True)] if lost.any() else values


def with_columns(df: nw.DataFrame, columns: dict[Any, Any]) -> Any:
    """The native frame with some columns replaced. The others are shared with it and not copied."""
    native = df.to_native()
    if nw.dependencies.is_pandas_dataframe(native):
        pandas: Any = nw.get_native_namespace(df)
        places = {df.columns.index(name): series for name, series in columns.items()}
        if type(native) is pandas.DataFrame:  # setting a column would copy it
            every = {n: places.get(n, native.iloc[:, n]) for n in range(len(df.columns))}
            out = pandas.DataFrame(every, index=native.index, copy=False)
            out.columns = native.columns
            return out.__finalize__(native)
        out = native.copy(deep=False)
        for place, series in places.items():
            out.isetitem(place, series)
        return out
    made = [nw.from_native(series, series_only=True).alias(name) for name, series in columns.items()]
    return df.with_columns(*made).to_native() if made else native


def mask_frame(df: nw.DataFrame, changed: dict[Any, np.ndarray]) -> Any:
    """A boolean frame of the same columns and index: the cells that differ."""
    native = df.to_native()
    table = np.zeros((len(df), len(df.columns)), bool, order="F")
    for name, mask in changed.items():
        table[:, df.columns.index(name)] = mask
    if nw.dependencies.is_pandas_dataframe(native):
        pandas: Any = nw.get_native_namespace(df)
        return pandas.DataFrame(table, index=native.index, columns=native.columns, copy=False)
    columns = {name: table[:, n] for n, name in enumerate(df.columns)}
    return nw.from_dict(columns, backend=nw.get_native_namespace(df)).to_native()
