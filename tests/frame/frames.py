"""One table in every kind of data frame that is installed, and comparisons that know what is missing."""

import datetime
import importlib
import math

import numpy as np
import pytest

narwhals = pytest.importorskip("narwhals", reason="narwhals is not installed: pip install 'noisejax[frame]'")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")


def optional(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


polars, pyarrow = optional("polars"), optional("pyarrow")
BACKENDS = [
    "pandas",
    pytest.param("pandas-nullable"),
    pytest.param("pandas-arrow", marks=pytest.mark.skipif(pyarrow is None, reason="pyarrow is not installed")),
    pytest.param("polars", marks=pytest.mark.skipif(polars is None, reason="polars is not installed")),
    pytest.param("arrow", marks=pytest.mark.skipif(pyarrow is None, reason="pyarrow is not installed")),
]
BIG = 2**60


def columns(n=60):
    """Plain Python values; every fifth one of most columns is missing."""

    def holed(values):
        return [None if i % 5 == 4 else value for i, value in enumerate(values)]

    start = datetime.datetime(2020, 1, 1, 12, 30)
    words = ["cook", "nurse", "clerk"]
    return {
        "number": holed([i / 7 for i in range(n)]),
        "whole": [BIG + i for i in range(n)],
        "holes": holed([BIG + 7 * i for i in range(n)]),
        "flag": [i % 3 == 0 for i in range(n)],
        "job": holed([words[i % 3] for i in range(n)]),
        "note": holed([f"row {i} é" for i in range(n)]),
        "when": holed([start + datetime.timedelta(hours=i) for i in range(n)]),
    }


def make(backend, data=None):
    data = columns() if data is None else data
    if backend == "polars":
        frame = polars.DataFrame(data, strict=False)
        return frame.with_columns(polars.col("job").cast(polars.Categorical)) if "job" in data else frame
    if backend == "arrow":
        table = pyarrow.table(data)
        if "job" not in data:
            return table
        place = table.column_names.index("job")
        return table.set_column(place, "job", table["job"].dictionary_encode())
    frame = pandas.DataFrame({name: pandas.Series(values) for name, values in data.items()})
    if "holes" in data:
        frame["holes"] = pandas.array(data["holes"], "Int64")  # through a list of floats the digits would be lost
    if "job" in data:
        frame["job"] = pandas.Categorical(data["job"])
    if backend == "pandas-nullable":
        job = frame["job"] if "job" in data else None
        frame = frame.convert_dtypes()
        if job is not None:
            frame["job"] = job
    if backend == "pandas-arrow":
        arrow = [pyarrow.float64(), pyarrow.int64(), pyarrow.int64(), pyarrow.bool_(), pyarrow.string()]
        kinds = dict(zip(("number", "whole", "holes", "flag", "note"), map(pandas.ArrowDtype, arrow), strict=True))
        frame = frame.astype({name: kind for name, kind in kinds.items() if name in data})
    return frame


def values(frame, name):
    """A column as Python values, None where it is missing, whatever the frame means by it."""
    series = narwhals.from_native(frame, eager_only=True)[name]
    null = series.is_null().to_list()
    if series.dtype in (narwhals.Categorical, narwhals.Enum):
        series = series.cast(narwhals.String)
    plain = series.to_list()
    return [
        None if lost or value is None or (isinstance(value, float) and math.isnan(value)) else _plain(value)
        for value, lost in zip(plain, null, strict=True)
    ]


def _plain(value):
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    return value.item() if isinstance(value, np.generic) else value


def names(frame):
    return narwhals.from_native(frame, eager_only=True).columns


def dtypes(frame):
    if isinstance(frame, pandas.DataFrame):
        return dict(zip(frame.columns, frame.dtypes, strict=True))
    return dict(narwhals.from_native(frame, eager_only=True).schema)


def masks(mask):
    return {name: np.asarray(values(mask, name), bool) for name in names(mask)}


def assert_same(a, b):
    """Two frames of one kind, cell by cell and dtype by dtype."""
    assert type(a) is type(b)
    assert dtypes(a) == dtypes(b)
    for name in names(a):
        assert values(a, name) == values(b, name), name
    if isinstance(a, pandas.DataFrame):
        pandas.testing.assert_index_equal(a.index, b.index)


def assert_mask_is_the_comparison(clean, dirty, mask):
    """The mask is where before and after differ; two missing values are equal."""
    for name in names(clean):
        different = [a != b for a, b in zip(values(clean, name), values(dirty, name), strict=True)]
        assert different == masks(mask)[name].tolist(), name
