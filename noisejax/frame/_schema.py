"""What a data frame holds: its columns' kinds and classes, inferred from dtypes and values."""

from typing import Any

import narwhals as nw
import numpy as np

from noisejax.frame._cells import categories, distinct
from noisejax.tabular import Column, Schema


def enter_frame(function: str, df: Any, name: str = "df") -> nw.DataFrame:
    """A pandas, polars or Arrow table as a narwhals frame."""
    try:
        frame = nw.from_native(df, eager_only=True)
    except nw.exceptions.DuplicateError:
        names = list(df.columns)
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{function}: two columns have the name {twice!r}. Rename one of them.") from None
    except TypeError:
        package = type(df).__module__.split(".")[0]
        hint = " Use frame.map_batches for tables in parts." if package in ("dask", "ray") else ""
        hint = " Call .collect() first." if type(df).__name__ == "LazyFrame" else hint
        raise TypeError(
            f"{function}: {name} must be a pandas or polars data frame or an Arrow table, got {_described(df)}.{hint}"
        ) from None
    if len(set(frame.columns)) < len(frame.columns):  # Arrow accepts them
        twice = next(name for name in frame.columns if frame.columns.count(name) > 1)
        raise ValueError(f"{function}: two columns have the name {twice!r}. Rename one of them.")
    return frame


def _described(value: Any) -> str:
    kind = type(value)
    package = kind.__module__.split(".")[0]
    return f"a {kind.__name__}" if package == "builtins" else f"a {package} {kind.__name__}"


def schema(df: Any, *, max_classes: int = 100) -> Schema:
    """The schema of a data frame, inferred. It prints as a table, and `Schema.replace` edits it.

    Floats are `'number'`, integers `'integer'` with their smallest and largest value, booleans `'flag'`, and dates,
    times and durations `'datetime'`. A pandas or polars categorical is `'category'`, and an ordered one `'ordinal'`.
    Strings are `'category'` if they have few different values. Free text, mixed objects, lists and columns without any
    value are left out.

    Args:
      df: a pandas or polars data frame, or an Arrow table.
      max_classes: the largest number of different strings of a category, at least 1. A column in which more than half
        of the values are different is text, whatever their number.

    Returns:
      A `noisejax.tabular.Schema` of the columns that are numbers, dates or categories, in their order.

    Raises:
      TypeError: df is no data frame.
      ValueError: two columns of one name.

    Example:
      >>> import pandas as pd
      >>> from noisejax import frame
      >>> df = pd.DataFrame({"age": [31, 45, 27, 31], "job": ["cook", "nurse", "cook", "cook"]})
      >>> print(frame.schema(df))
      age  integer   27 to 45
      job  category  2 classes: cook, nurse
    """
    if not isinstance(max_classes, (int, np.integer)) or max_classes < 1:
        raise ValueError(f"schema: max_classes must be an integer of at least 1, got {max_classes!r}.")
    frame = enter_frame("schema", df)
    found = (described(frame[:, place], max_classes) for place in range(len(frame.columns)))
    return Schema([column for column in found if column is not None])


def described(series: nw.Series, max_classes: int = 100) -> Column | None:
    """One column's description; None for text and for what is neither a number nor a category."""
    name, dtype = series.name, series.dtype
    if dtype.is_float():
        return Column(name, "number")
    if dtype.is_integer():
        seen = series.drop_nulls()
        return (
            Column(name, "integer", low=int(seen.min()), high=int(seen.max())) if len(seen) else Column(name, "integer")
        )
    if dtype == nw.Boolean:
        return Column(name, "flag")
    if dtype in (nw.Date, nw.Datetime, nw.Duration):
        return Column(name, "datetime")
    if dtype in (nw.Categorical, nw.Enum):
        classes = categories(series)
        ordered = getattr(getattr(series.to_native(), "cat", None), "ordered", False) is True
        return Column(name, "ordinal" if ordered else "category", classes) if classes else None
    if dtype == nw.String:
        found = distinct(series, max_classes)
        if found and len(found) <= max((len(series) - series.null_count()) // 2, 1):
            return Column(name, "category", found)
    return None
