"""Dtypes that are seldom met: every fault that fits them keeps them, and the others say why they cannot."""

import datetime
import decimal

import jax
import numpy as np
import pytest
from frames import assert_mask_is_the_comparison, dtypes, pandas, polars, pyarrow

import noisejax as nj
from noisejax import frame

T = nj.tabular
KEY = jax.random.key(0)
N = 40
LOSE, MOVE = nj.bind(T.missing, rate=0.4), nj.bind(T.permute_rows, rate=1.0)
ADD = nj.bind(T.add_delta, rate=0.5, delta=3.0)


def wrong(column):
    return nj.bind(T.category, rate=0.5, num_classes=column.num_classes)


def of_pandas():
    yield "categories of numbers", pandas.Categorical([1, 2, None, 3] * 10), (LOSE, MOVE, wrong)
    yield "uint64", np.full(N, 2**63 + 5, "uint64"), (LOSE, MOVE, ADD)
    yield "UInt64", pandas.array([2**63 + 5, None] * 20, "UInt64"), (LOSE, MOVE, ADD)
    yield "int8", np.full(N, 120, "int8"), (LOSE, MOVE, ADD)
    yield "float16", np.arange(N, dtype="float16"), (LOSE, MOVE, ADD)
    yield "dates in objects", np.array([datetime.date(2020, 1, 1)] * N, object), (LOSE, MOVE)
    yield "numbers in objects", np.array([1, None] * 20, object), (LOSE, MOVE)
    yield "flags in objects", np.array([True, None] * 20, object), (LOSE, MOVE)
    yield "nothing", np.array([None] * N, object), (LOSE, MOVE)
    yield "intervals", pandas.interval_range(0.0, float(N)), (LOSE, MOVE)
    yield "long strings", np.array(["y" * 5000] * N, object), (LOSE, MOVE, nj.bind(frame.mistyped, rate=1.0))


def of_arrow_in_pandas():
    def made(values, kind):
        return pandas.array(values, dtype=pandas.ArrowDtype(kind))

    stamps = pandas.date_range("2020", periods=N)
    yield "timestamps", made(stamps, pyarrow.timestamp("us", "Europe/Berlin")), (LOSE, MOVE, ADD)
    yield "dates", made([datetime.date(2020, 1, 1), None] * 20, pyarrow.date32()), (LOSE, MOVE, ADD)
    yield "durations", made(pandas.to_timedelta(range(N), "s"), pyarrow.duration("ms")), (LOSE, MOVE, ADD)
    yield "decimals", made([decimal.Decimal("1.5"), None] * 20, pyarrow.decimal128(5, 2)), (LOSE, MOVE)
    yield (
        "dictionaries",
        made(["a", None, "b", "c"] * 10, pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
        (
            LOSE,
            MOVE,
            wrong,
        ),
    )


def of_polars():
    yield "enum", polars.Series(["a", None, "b", "a"] * 10, dtype=polars.Enum(["a", "b"])), (LOSE, MOVE, wrong)
    yield "categorical", polars.Series(["a", None, "b", "a"] * 10, dtype=polars.Categorical), (LOSE, MOVE, wrong)
    yield "date", polars.Series([datetime.date(2020, 1, 1), None] * 20), (LOSE, MOVE, ADD)
    zoned = polars.Datetime("ms", "Europe/Berlin")
    yield "datetime", polars.Series([datetime.datetime(2020, 1, 1), None] * 20, dtype=zoned), (LOSE, MOVE, ADD)
    yield "duration", polars.Series([datetime.timedelta(1), None] * 20), (LOSE, MOVE, ADD)
    yield "uint64", polars.Series([2**63 + 5, None] * 20, dtype=polars.UInt64), (LOSE, MOVE, ADD)
    yield "NaN and null", polars.Series([1.0, None, float("nan"), 2.0] * 10), (LOSE, MOVE, ADD)
    yield "boolean", polars.Series([True, None] * 20), (LOSE, MOVE, wrong)
    yield "time", polars.Series([datetime.time(1, 2), None] * 20), (LOSE, MOVE)
    yield "decimal", polars.Series([decimal.Decimal("1.5"), None] * 20), (LOSE, MOVE)
    yield "list", polars.Series([[1], None] * 20), (LOSE, MOVE)
    yield "struct", polars.Series([{"a": 1}, None] * 20), (LOSE, MOVE)
    yield "binary", polars.Series([b"a", None] * 20), (LOSE, MOVE)
    yield "null", polars.Series([None] * N), (LOSE, MOVE)


def check(clean, faults):
    name = next(iter(dtypes(clean)))
    for fault in faults:
        dirty, mask = frame.corrupt(KEY, clean, [(None, fault)])
        assert_mask_is_the_comparison(clean, dirty, mask)
        if fault is not LOSE or str(dtypes(clean)[name]) not in ("uint64", "int8"):
            assert dtypes(dirty) == dtypes(clean)
        if fault in (LOSE, ADD, wrong) and "nothing" not in name and name != "null":
            assert np.asarray(mask[name] if not hasattr(mask, "column_names") else mask[name].to_pylist()).any()


def test_pandas():
    for name, values, faults in of_pandas():
        check(pandas.DataFrame({name: values}), faults)


@pytest.mark.skipif(pyarrow is None, reason="pyarrow is not installed")
def test_arrow_in_pandas():
    for name, values, faults in of_arrow_in_pandas():
        check(pandas.DataFrame({name: values}), faults)


@pytest.mark.skipif(polars is None or pyarrow is None, reason="polars or pyarrow is not installed")
def test_polars_and_arrow():
    for name, values, faults in of_polars():
        clean = polars.DataFrame({name: values})
        check(clean, faults)
        if name != "decimal":
            check(clean.to_arrow(), faults)


def test_dtypes_that_take_no_new_cells_say_so():
    whole = pandas.DataFrame({"x": pandas.interval_range(0, N)})
    with pytest.raises(TypeError, match=r"the column 'x' of dtype interval\[int64, right\] does not take what a fault"):
        frame.corrupt(KEY, whole, [("x", LOSE)])
    sparse = pandas.DataFrame({"x": pandas.arrays.SparseArray([0.0, 1.0] * 20)})
    with pytest.raises(TypeError, match=r"the column 'x' of dtype Sparse.* does not take what a fault makes of row"):
        frame.corrupt(KEY, sparse, [("x", LOSE)])


def test_copies_with_different_new_categories_are_joined():
    clean = pandas.DataFrame({"size": pandas.Categorical(["small", "large"] * 20)})
    more = frame.augment(KEY, clean, [("size", nj.bind(frame.mistyped, rate=0.3))], copies=2, extend=True)
    assert isinstance(more["size"].dtype, pandas.CategoricalDtype)
    assert more["size"].cat.categories.tolist()[:2] == ["large", "small"] and len(more["size"].cat.categories) > 5
    assert more["size"].iloc[:40].tolist() == clean["size"].tolist() and not more["size"].isna().any()
