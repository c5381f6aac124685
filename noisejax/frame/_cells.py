"""The cells of one column of a data frame: read as NumPy, changed, and written back in the column's own dtype."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import narwhals as nw
import numpy as np

from noisejax.tabular import Column

_PER_SECOND = {"ns": 10**9, "us": 10**6, "ms": 10**3, "s": 1}
_DICTIONARY = (nw.Categorical, nw.Enum)


@contextlib.contextmanager
def named(function: str) -> Iterator[None]:
    """Errors inside are those of a public function."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("frame: the column"):
            raise
        raise ValueError(str(error).replace("frame:", f"{function}:", 1)) from None


class Cells:
    """The cells of one column.

    Numbers, dates and codes are an array `values` and a mask `null`. Strings and other objects are not read as a whole:
    `touched` marks the cells that have changed, and `new` holds their values.

    Args:
      series: the column, a narwhals series.
      column: its description in a schema; None without one.
      infer: infers the description of a column of strings, if a fault asks for its classes.
    """

    def __init__(self, series: nw.Series, column: Column | None = None, infer: Callable[[], Any] = lambda: None):
        self.series, self.name, self.n = series, series.name, len(series)
        self.kind = _kind(series.dtype)
        self._classes = None if column is None else tuple(column.classes)
        self._infer = infer
        self.labels: tuple = ()  # the classes, with the new spellings that faults of strings add to a dictionary
        self.values: Any = None
        self.null: np.ndarray | None = None  # None if nothing is missing
        self.new: Any = None
        self.touched: Any = None
        self.nullable = False  # whether a fault may have made cells missing: decides the dtype of the result
        self.owned = False  # whether `values` is a copy
        self._codes: Any = None
        self._only: np.ndarray | None = None  # what the only fault so far has changed
        getattr(self, f"_read_{self.kind}")()
        self.clean, self.clean_null = self.values, self.null

    # What it is.

    def _read_float(self) -> None:
        # What is missing is NaN here, and `null` stays None.
        self.values = self.series.to_numpy() if _is_numpy(self.series) else self.series.fill_null(np.nan).to_numpy()

    def _read_int(self) -> None:
        self.null = _null(self.series)
        self.values = (self.series if self.null is None else self.series.fill_null(0)).to_numpy()

    def _read_time(self) -> None:
        self.null = _null(self.series)
        values = self.series.to_numpy()
        if values.dtype == object:  # dates of Arrow in pandas
            null = np.zeros(self.n, bool) if self.null is None else self.null
            plain = [None if lost else value for value, lost in zip(values, null, strict=True)]
            values = np.array(plain, f"M8[{'D' if self.series.dtype == nw.Date else 'ns'}]")
        self.per_second = 0 if self.series.dtype == nw.Date else _PER_SECOND[np.datetime_data(values.dtype)[0]]
        self.values = values.view(np.int64)

    def _read_flag(self) -> None:
        self._classes = self.labels = self._classes or (False, True)
        self.null = _null(self.series)
        series = self.series if self.null is None else self.series.fill_null(False)
        self.values = series.to_numpy().astype(np.int32)

    def _read_dictionary(self) -> None:
        self.labels = self._classes = self._classes or categories(self.series)
        self.values = codes(self.series, self.classes)
        missing = self.values < 0
        self.null = missing if missing.any() else None

    def _read_text(self) -> None:
        self.null = _null(self.series)

    def _read_object(self) -> None:
        self.null = _null(self.series)

    @property
    def classes(self) -> tuple:
        if self._classes is None:
            column = self._infer() if self.kind == "text" else None
            self._classes = () if column is None else tuple(column.classes)
        return self._classes

    @property
    def numeric(self) -> bool:
        return self.kind in ("float", "int", "time")

    @property
    def coded(self) -> bool:
        return bool(self.classes)

    def array(self) -> np.ndarray:
        """The values as an array that noises take: numbers, whole seconds of dates, or codes, -1 where unknown."""
        if self.kind == "time":
            return self.values // self.per_second if self.per_second > 1 else self.values
        if self.kind in ("int", "float") and self.coded:
            return self._class_of(self.values)
        if self.values is not None:
            return self.values
        if self._codes is None:
            self._codes = codes(self.series, self.classes)
            if self.touched is not None:
                place = {label: n for n, label in enumerate(self.classes)}
                rows = np.flatnonzero(self.touched)
                self._codes[rows] = [place.get(value, -1) for value in self.new[rows]]
        return self._codes

    def where(self) -> np.ndarray | None:
        """The cells that hold data, for noises of integers. Floats have NaN."""
        if self.kind == "float" and not self.coded:
            return None
        if self.coded and self.kind not in ("flag", "dictionary"):
            known = self.array() >= 0
            known = known if self.null is None else known & ~self.null  # of floats that are classes NaN has no code
            return None if known.all() else known
        return None if self.null is None else ~self.null

    def missing(self) -> np.ndarray | None:
        """The cells that are missing; None if none is."""
        if self.kind != "float":
            return self.null
        found = np.isnan(self.values)
        return found if found.any() else None

    def numbers(self) -> np.ndarray:
        """The values as float64 with NaN where they are missing: what a mechanism conditions on."""
        values = self.array().astype(np.float64)
        if self.coded:
            values[values < 0] = np.nan  # a spelling that is no class says nothing
        if (missing := self.missing()) is not None:
            values[missing] = np.nan
        return values

    # What changes.

    def lose(self, hit: np.ndarray) -> None:
        """Makes cells missing."""
        if not hit.any():
            return
        if self.kind == "float":
            first = not self.owned
            np.putmask(self._own(), hit, np.nan)
            self._only = hit if first else None
            return
        self.null = hit.copy() if self.null is None else self.null | hit
        if self.values is None:
            self._touch(hit, None)

    def set(self, hit: np.ndarray, values: np.ndarray) -> None:
        """Replaces cells by the values of `array` of the same length as the column."""
        if not hit.any():
            return
        if self.kind == "time":
            scale = max(self.per_second, 1)
            rows = np.flatnonzero(hit)
            beyond = rows[np.abs(values[rows]) > np.iinfo(np.int64).max // scale - 1]
            if len(beyond):
                raise ValueError(
                    f"frame: the column {self.name!r} of dtype {self.series.dtype} cannot hold {values[beyond[0]]} "
                    f"seconds since 1970, which a fault gave in row {beyond[0]}. Amounts for dates are in seconds."
                )
            moved = values[rows] - self.values[rows] // scale
            self._own()[rows] += moved * scale
        elif self.coded:
            self._check_codes(hit, values)
            if self.kind == "text":
                labels = np.array([*self.classes, None], object)
                self._touch(hit, labels[values[hit]])
            elif self.kind in ("int", "float"):
                self._own()[hit] = np.array(self.classes)[values[hit]]
            else:
                self._replace(hit, values)
        else:
            self._replace(hit, values)

    def set_text(self, rows: np.ndarray, values: list[str], extend: bool) -> None:
        """Replaces cells by strings, which may be no classes."""
        if self.kind == "text":
            self._touch(rows, np.array([*values, None], object)[:-1])
            return
        place = {label: n for n, label in enumerate(self.labels)}
        fresh = [value for value in dict.fromkeys(values) if value not in place]
        fixed = isinstance(self.series.dtype, nw.Enum) and _pandas(self.series) is None  # pandas' ordered ones can grow
        if fresh and (fixed or not extend):
            raise ValueError(
                f"frame: the column {self.name!r} is of dtype {self.series.dtype} and has no category {fresh[0]!r}, "
                f"which row {int(rows[values.index(fresh[0])])} would become. Pass extend=True to add categories to a "
                "dtype that can grow, or cast the column to strings."
            )
        self.labels = (*self.labels, *fresh)
        place |= {label: len(place) + n for n, label in enumerate(fresh)}
        self._own()[rows] = [place[value] for value in values]

    def take(self, source: np.ndarray) -> None:
        """Each cell becomes that of a different row."""
        moved = source != np.arange(self.n)
        null = self.null
        if self.values is not None:
            self.values, self.owned, self._only = self.values[source], True, None
        elif moved.any():
            rows = np.flatnonzero(moved)
            self._touch(rows, self.at(source[rows]))
        self.null = null if null is None else null[source]

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The values of a few cells as objects: strings, or whatever the column holds."""
        out = np.empty(len(rows), object)
        if self.values is not None:
            out[:] = np.array(self.labels, object)[self.values[rows]]
            return out
        out[:] = list(self.series[rows].to_list()) if len(rows) else []
        if self.touched is not None:
            again = self.touched[rows]
            out[again] = self.new[rows[again]]
        if self.null is not None:
            out[self.null[rows]] = None
        return out

    def _touch(self, which: np.ndarray, values: Any) -> None:
        if self.touched is None:
            self.touched, self.new = np.zeros(self.n, bool), np.empty(self.n, object)
        self.touched[which], self.new[which], self._codes = True, values, None

    def _own(self) -> np.ndarray:
        if not self.owned:
            self.values, self.owned = self.values.copy(), True
        self._only = None
        return self.values

    def _replace(self, hit: np.ndarray, values: np.ndarray) -> None:
        """Takes an array whose other cells are equal to the bit."""
        self._only = None if self.owned else hit
        self.values, self.owned = values, True

    def _class_of(self, values: np.ndarray) -> np.ndarray:
        """The codes of numbers that are classes."""
        order = np.argsort(self.classes)
        ordered = np.asarray(self.classes)[order]
        place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
        missing = self.missing()
        missing = np.zeros(self.n, bool) if missing is None else missing
        wrong = (ordered[place] != values) & ~missing
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(_no_class(self.name, values[row].item(), row, len(ordered)))
        return np.where(missing, -1, order[place]).astype(np.int32)

    def _check_codes(self, hit: np.ndarray, values: np.ndarray) -> None:
        rows = np.flatnonzero(hit)
        wrong = rows[(values[rows] < 0) | (values[rows] >= len(self.classes))]
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"frame: the column {self.name!r} has the codes 0 to {len(self.classes) - 1}, and a fault gave "
                f"{values[row]} in row {row}. Use a fault for categories, such as nj.tabular.category with "
                f"num_classes={len(self.classes)}."
            )

    # What is different.

    def changed(self) -> np.ndarray:
        """The cells that differ from the clean column. Two missing values are equal."""
        if self._only is not None and self.null is self.clean_null:
            return self._only
        if self.kind == "float":
            different = self.values != self.clean
            rows = np.flatnonzero(different)
            both = np.isnan(self.values[rows]) & np.isnan(self.clean[rows])
            different[rows[both]] = False
            return different
        if self.values is not None and self.null is None and self.clean_null is None:
            return self.values != self.clean
        before = np.zeros(self.n, bool) if self.clean_null is None else self.clean_null
        after = np.zeros(self.n, bool) if self.null is None else self.null
        if self.values is not None:
            different = self.values != self.clean
        elif self.touched is None:
            different = np.zeros(self.n, bool)
        else:
            different = np.zeros(self.n, bool)
            rows = np.flatnonzero(self.touched & ~before & ~after)
            clean = self.series[rows].to_list() if len(rows) else []
            if self.kind == "text":
                different[rows] = np.array([*clean, None], object)[:-1] != self.new[rows]
            else:
                different[rows] = [_differ(a, b) for a, b in zip(clean, self.new[rows], strict=True)]
        return (before != after) | (different & ~before & ~after)


def _differ(a: Any, b: Any) -> bool:
    same = a == b
    return not (same if isinstance(same, bool) else np.all(same))


def _kind(dtype: Any) -> str:
    if dtype.is_float():
        return "float"
    if dtype.is_integer():
        return "int"
    if dtype == nw.Boolean:
        return "flag"
    if dtype in (nw.Date, nw.Datetime, nw.Duration):
        return "time"
    if dtype in _DICTIONARY:
        return "dictionary"
    return "text" if dtype == nw.String else "object"


def _null(series: nw.Series) -> np.ndarray | None:
    missing = series.is_null()
    return missing.to_numpy() if missing.any() else None


def _is_numpy(series: nw.Series) -> bool:
    return isinstance(getattr(series.to_native(), "dtype", None), np.dtype)


def _pandas(series: nw.Series) -> Any:
    """pandas, if the series is one of it."""
    return nw.get_native_namespace(series) if nw.dependencies.is_pandas_series(series.to_native()) else None


def categories(series: nw.Series) -> tuple:
    """The categories of a dictionary in their order; in the order of the alphabet where the dtype has none."""
    if _pandas(series) is not None and hasattr(series.to_native(), "cat"):
        return tuple(series.to_native().cat.categories.tolist())
    if isinstance(series.dtype, nw.Enum):
        return tuple(series.dtype.categories)
    return distinct(series)


def distinct(series: nw.Series, most: float = float("inf")) -> tuple:
    """The different values of a column, in order, without missing ones; none if there are more than `most`."""
    found = series.unique()
    if len(found) > most + 1:  # one may say that a value is missing
        return ()
    values = found.drop_nulls().to_list()
    return tuple(sorted(values)) if len(values) <= most else ()


def codes(series: nw.Series, classes: tuple) -> np.ndarray:
    """The index of each value among the classes, int32; -1 where it is missing. A value that is no class raises."""
    pandas = _pandas(series)
    if pandas is not None and isinstance(series.to_native().dtype, pandas.CategoricalDtype):
        native = series.to_native()
        if tuple(native.cat.categories.tolist()) == classes:
            return native.cat.codes.to_numpy().astype(np.int32)
        order = {label: n for n, label in enumerate(classes)}
        renumber = np.array([order.get(label, -2) for label in native.cat.categories.tolist()] + [-1], np.int32)
        result = renumber[native.cat.codes.to_numpy()]
    elif pandas is not None:
        places, values = series.to_native().factorize()
        known = {label: n for n, label in enumerate(classes)}
        result = np.array([*(known.get(value, -2) for value in values.tolist()), -1], np.int32)[places]
    else:
        series = series.cast(nw.String) if series.dtype in _DICTIONARY else series
        known = {label: n for n, label in enumerate(classes)}
        values = series.unique().to_list()
        numbers = [-1 if value is None else known.get(value, -2) for value in values]
        result = series.replace_strict(values, numbers, return_dtype=nw.Int32).to_numpy() if values else np.zeros(0)
        result = result.astype(np.int32)
    if (wrong := result == -2).any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(_no_class(series.name, series[row], row, len(classes)))
    return result


def _no_class(name: Any, value: Any, row: int, classes: int) -> str:
    return (
        f"frame: the column {name!r} holds {value!r} in row {row}, which is none of the {classes} classes of its "
        f"schema. Add it: schema.replace({name!r}, classes=(...))."
    )
