"""One float32 array of numbers and codes from a data frame, and back."""

import importlib
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax.frame._cells import Cells, named
from noisejax.frame._rebuild import rebuilt, with_columns
from noisejax.frame._schema import enter_frame, schema as inferred
from noisejax.tabular import Schema

EXACT = 2**24  # float32 holds all integers up to it


class Encoded(NamedTuple):
    """A data frame as an array.

    Args:
      x: float32 numbers and codes of shape (rows, columns), NaN where a value is missing.
      schema: the schema of the columns of x.
      host: the names of the other columns, which stay in the data frame: dates, text, large integers.
    """

    x: np.ndarray
    schema: Schema
    host: tuple


def encode(df: Any, schema: Schema | None = None) -> Encoded:
    """One float32 array of the numbers and codes of a data frame, for `noisejax.tabular`.

    Add faults to the codes, and make the model's input afterwards, inside jit, with `noisejax.tabular.one_hot`. Dates,
    text, and integers whose column exceeds 2**24 by its schema do not survive float32. They stay in the data frame, and
    the result names them.

    Args:
      df: a pandas or polars data frame, or an Arrow table.
      schema: the columns to encode; None infers it, see `frame.schema`. Give that of the training table for every other
        table, so that codes mean the same classes.

    Returns:
      A named tuple: the array x, the schema of its columns, and the names of the columns that are not in it.

    Raises:
      ValueError: df does not have a column of the schema, a value is none of its column's classes, or an integer that
        float32 cannot hold.

    Example:
      >>> import pandas as pd, noisejax as nj
      >>> from noisejax import frame
      >>> df = pd.DataFrame({"age": [31, 45], "job": pd.Categorical(["cook", None]), "id": [2**40, 2**41]})
      >>> x, schema, host = frame.encode(df)
      >>> x.tolist(), host
      ([[31.0, 0.0], [45.0, nan]], ('id',))
      >>> nj.tabular.one_hot(x, schema).shape
      (2, 2)
    """
    frame = enter_frame("encode", df)
    if schema is not None and not isinstance(schema, Schema):
        raise TypeError(f"encode: schema must be a noisejax.tabular.Schema, got {schema!r}. See frame.schema(df).")
    schema = inferred(df) if schema is None else schema
    for name in schema.names:
        if name not in frame.columns:
            raise ValueError(f"encode: df has no column {name!r}, which is in the schema. It has {frame.columns}.")
    kept = Schema([column for column in schema if _survives(column)])
    x = np.empty((len(frame), len(kept)), np.float32)
    for place, column in enumerate(kept):
        with named("encode"):
            x[:, place] = _encoded(frame[:, frame.columns.index(column.name)], column)
    return Encoded(x, kept, tuple(name for name in frame.columns if name not in kept.names))


def _survives(column: Any) -> bool:
    ends = [abs(end) for end in (column.low, column.high) if end is not None]
    return column.kind != "datetime" and (column.kind != "integer" or max(ends, default=0) <= EXACT)


def _encoded(series: nw.Series, column: Any) -> np.ndarray:
    cells = Cells(series, column)
    if (column.num_classes and cells.kind == "object") or not (cells.numeric or cells.coded):
        raise TypeError(
            f"encode: the column {column.name!r} of kind {column.kind!r} has the dtype {series.dtype}, which holds "
            "neither numbers nor classes. Leave it out of the schema."
        )
    values = cells.array()
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    missing = cells.missing()
    missing = np.zeros(len(values), bool) if missing is None else missing
    missing = missing | (values < 0) if cells.coded else missing
    if column.kind == "integer":
        lost = (np.abs(values.astype(np.float64)) > EXACT) & (result.astype(np.float64) != values) & ~missing
        if lost.any():
            row = int(np.flatnonzero(lost)[0])
            raise ValueError(
                f"encode: the column {column.name!r} holds {values[row]} in row {row}, which float32 cannot hold: it "
                "is exact for integers up to 2**24. Leave the column out of the schema, so that it stays in the frame."
            )
    result[missing] = np.nan
    return result


def decode(x: Any, schema: Schema, like: Any = None) -> Any:
    """The data frame of an array that `encode` made, with its dtypes.

    Args:
      x: numbers and codes of shape (rows, columns), NaN where a value is missing.
      schema: the schema of the columns of x, as `encode` returns it.
      like: the frame that was encoded, or one with its columns. The result has its dtypes, its columns that are not in
        x, its index and its order. Integers and flags with missing values become a nullable dtype. None makes a pandas
        frame with one column for each of x.

    Returns:
      A data frame of the type of `like`.

    Raises:
      ValueError: x does not fit the schema or the rows of `like`, or holds a number that is no code of its column.

    Example:
      >>> import pandas as pd
      >>> from noisejax import frame
      >>> df = pd.DataFrame({"age": [31, 45], "job": pd.Categorical(["cook", "nurse"])})
      >>> x, schema, _ = frame.encode(df)
      >>> frame.decode(x, schema, like=df).equals(df)
      True
    """
    if isinstance(x, Tracer):
        raise TypeError(
            f"decode: x must be known, since data frames live on the host, got {_checks.shown(x)} that is traced. Call "
            "decode outside of jax.jit."
        )
    values = np.asarray(_checks.operand("decode", "x", x))
    if not isinstance(schema, Schema):
        raise TypeError(f"decode: schema must be a noisejax.tabular.Schema, got {schema!r}.")
    if values.ndim != 2 or values.shape[1] != len(schema):
        raise ValueError(f"decode: x must have shape (rows, {len(schema)}), as the schema says, got {values.shape}.")
    for place, column in enumerate(schema):
        _check_codes(values[:, place], column)
    if like is None:
        pandas: Any = importlib.import_module("pandas")
        return pandas.DataFrame({column.name: _plain(values[:, n], column) for n, column in enumerate(schema)})
    frame = enter_frame("decode", like, "like")
    if len(frame) != len(values):
        raise ValueError(f"decode: x has {len(values)} rows, and like {len(frame)}.")
    columns = {}
    for place, column in enumerate(schema):
        if column.name not in frame.columns:
            raise ValueError(f"decode: like has no column {column.name!r}, which is in the schema.")
        with named("decode"):
            cells = Cells(frame[:, frame.columns.index(column.name)], column)
            _fill(cells, values[:, place])
        columns[column.name] = rebuilt(cells, cells.changed())
    return with_columns(frame, columns)


def _check_codes(values: np.ndarray, column: Any) -> None:
    if not column.num_classes:
        return
    wrong = ~np.isnan(values) & ~((values >= 0) & (values < column.num_classes) & (values == np.floor(values)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"decode: the column {column.name!r} of x must hold the codes 0 to {column.num_classes - 1} or NaN, got "
            f"{values[row]:g} in row {row}."
        )


def _fill(cells: Cells, values: np.ndarray) -> None:
    """Sets every cell to its value in the array. What float32 has rounded is not a change."""
    missing = np.isnan(values)
    before = cells.missing()
    before = np.zeros(cells.n, bool) if before is None else before
    own = cells.array()
    same = own.astype(np.float32) == values
    filled = np.where(missing, 0, values)
    if own.dtype.kind in "iu":
        filled = np.round(filled.astype(np.float64)).astype(own.dtype)
    if cells.kind != "float":
        cells.null = before & missing if before.any() else None
    # A number that differs from its own in what float32 rounds is the same.
    filled = np.where(same & ~before, own, filled.astype(own.dtype))
    cells.set(~missing & (~same | before), filled if cells.kind != "float" else np.where(missing & before, own, filled))
    cells.lose(missing & ~before)


def _plain(values: np.ndarray, column: Any) -> Any:
    """A column of pandas from one of x, without a frame that says its dtype."""
    pandas: Any = importlib.import_module("pandas")
    missing = np.isnan(values)
    if column.kind == "flag" and column.classes == (False, True):
        return pandas.arrays.BooleanArray(values == 1, missing) if missing.any() else values == 1
    if column.num_classes:
        codes = np.where(missing, -1, values).astype(np.int64)
        return pandas.Categorical.from_codes(codes, list(column.classes), ordered=column.kind == "ordinal")
    if column.kind == "integer":
        whole = np.where(missing, 0, values).astype(np.int64)
        return pandas.arrays.IntegerArray(whole, missing) if missing.any() else whole
    return values
