"""What each dtype of pandas, polars and Arrow becomes: the table of the guide, row by row."""

import copy
import datetime

import jax
import numpy as np
import pytest
from frames import BACKENDS, assert_mask_is_the_comparison, assert_same, columns, dtypes, make, masks, names, values

import noisejax as nj
from noisejax import frame

pandas = pytest.importorskip("pandas", reason="pandas is not installed")
KEY = jax.random.key(7)
LOSE = nj.bind(nj.tabular.missing, rate=0.3)
each = pytest.mark.parametrize("backend", BACKENDS)


def wrong_category(column):
    return nj.bind(nj.tabular.category, rate=0.4, num_classes=column.num_classes)


FAULTS = [
    ("number", nj.bind(nj.tabular.add_delta, rate=0.4, delta=3.0)),
    (["whole", "holes"], nj.bind(nj.tabular.add_delta, rate=0.4, delta=3.0)),
    (["flag", "job"], wrong_category),
    ("note", nj.bind(frame.mistyped, rate=0.4)),
    ("note", nj.bind(frame.mojibake, rate=0.4)),
    ("when", nj.bind(nj.tabular.add_delta, rate=0.4, delta=86400.0)),
    (["number", "holes", "when"], LOSE),
]


@each
def test_missing_in_every_dtype(backend):
    clean = make(backend)
    kept = make(backend)
    dirty, mask = frame.corrupt(KEY, clean, [(None, LOSE)])
    assert_same(clean, kept)  # the input is as it was
    assert_mask_is_the_comparison(clean, dirty, mask)
    for name, hit in masks(mask).items():
        assert 4 < hit.sum() < 35, name
        after = values(dirty, name)
        assert all(after[row] is None for row in np.flatnonzero(hit))
    nullable = {"whole": "Int64", "flag": "boolean"} if backend == "pandas" else {}
    for name, dtype in dtypes(clean).items():
        assert str(dtypes(dirty)[name]) == nullable.get(name, str(dtype)), name


@each
def test_faults_keep_dtypes_and_their_mask_is_the_comparison(backend):
    clean = make(backend)
    dirty, mask = frame.corrupt(KEY, clean, FAULTS)
    assert_mask_is_the_comparison(clean, dirty, mask)
    assert {n: str(d) for n, d in dtypes(dirty).items()} == {n: str(d) for n, d in dtypes(clean).items()}
    before, after, hit = (dict.fromkeys(names(clean)) for _ in range(3))
    for name in names(clean):
        before[name], after[name], hit[name] = values(clean, name), values(dirty, name), masks(mask)[name]
        assert hit[name].any()
    added = {b - a for a, b in zip(before["whole"], after["whole"], strict=True)}
    assert added == {0, 3}  # 2**60 + 3 is none of float64's numbers
    assert set(after["job"]) <= {"cook", "nurse", "clerk", None}
    days = {b - a for a, b in zip(before["when"], after["when"], strict=True) if a is not None and b is not None}
    assert days == {datetime.timedelta(0), datetime.timedelta(days=1)}


@pytest.mark.slow
@each
@pytest.mark.parametrize("chunk_rows", [1, 7, None])
def test_chunks_do_not_change_results(backend, chunk_rows):
    clean = make(backend)
    whole, parts = (frame.corrupt(KEY, clean, FAULTS, chunk_rows=rows) for rows in (65536, chunk_rows))
    assert_same(whole[0], parts[0])
    assert_same(whole[1], parts[1])


def test_all_frames_have_the_same_faults():
    """Draws depend on the row's number and the column's name, and not on who holds the column."""
    dirty = [frame.corrupt(KEY, make(getattr(b, "values", [b])[0]), FAULTS)[0] for b in installed()]
    for other in dirty[1:]:
        for name in columns():
            assert values(other, name) == values(dirty[0], name), name


def installed():
    return [b for b in BACKENDS if isinstance(b, str) or not any(mark.args[0] for mark in b.marks)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "Float32", "Float64"])
def test_floats(dtype):
    data = [1.5, None, *range(98)]
    made = pandas.array(data, dtype) if dtype[0] == "F" else np.array(data, dtype)
    clean = pandas.DataFrame({"x": made})
    dirty, mask = frame.corrupt(KEY, clean, [("x", nj.bind(nj.tabular.add_delta, rate=0.5, delta=0.1))])
    assert dirty["x"].dtype == clean["x"].dtype
    hit = mask["x"].to_numpy()
    assert not hit[1] and 30 < hit.sum() < 70
    delta = np.float64(np.float32(0.1))
    single = dtype.lower() == "float32"
    wanted = clean["x"].to_numpy("float64", na_value=np.nan)[hit]
    wanted = (wanted.astype("float32") + np.float32(0.1)).astype("float64") if single else wanted + delta
    np.testing.assert_array_equal(dirty["x"].to_numpy("float64", na_value=np.nan)[hit], wanted)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"])
def test_integers_become_nullable_only_where_a_fault_makes_them_missing(dtype):
    clean = pandas.DataFrame({"x": (np.arange(100) % 100).astype(dtype)})
    lost, mask = frame.corrupt(KEY, clean, [("x", LOSE)])
    nullable = {"b": "boolean", "u": "UI" + dtype[2:], "i": "I" + dtype[1:]}[dtype[0]]
    assert str(lost["x"].dtype) == nullable
    assert lost["x"].isna().tolist() == mask["x"].tolist()
    never, _ = frame.corrupt(KEY, clean, [("x", nj.bind(nj.tabular.missing, rate=0.0))])
    assert str(never["x"].dtype) == nullable  # by the fault, not by chance
    if dtype != "bool":
        filled, mask = frame.corrupt(KEY, clean, [("x", nj.bind(nj.tabular.missing, rate=0.3, fill=100))])
        assert filled["x"].dtype == dtype
        assert ((filled["x"] == 100) == mask["x"]).all()
    with pytest.raises(TypeError, match=r"the column 'x' of .* cannot hold missing values. Pass missing='nullable'"):
        frame.corrupt(KEY, clean, [("x", LOSE)], missing="raise")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_dates_keep_unit_and_zone_through_a_change_of_clocks(unit, zone):
    when = pandas.date_range("2024-10-26", periods=48, freq="h", tz="UTC").tz_convert(zone).as_unit(unit)
    clean = pandas.DataFrame({"when": when.insert(3, pandas.NaT)})
    faults = [("when", nj.bind(nj.tabular.add_delta, rate=0.5, delta=3600.0)), ("when", LOSE)]
    dirty, mask = frame.corrupt(KEY, clean, faults)
    assert dirty["when"].dtype == clean["when"].dtype
    assert_mask_is_the_comparison(clean, dirty, mask)
    moved = (dirty["when"] - clean["when"]).dropna()
    assert set(moved) == {pandas.Timedelta(0), pandas.Timedelta(hours=1)}
    assert dirty["when"].isna().sum() > 5


def test_dates_that_a_unit_cannot_hold_name_their_row():
    clean = pandas.DataFrame({"when": pandas.date_range("2020", periods=5).as_unit("ns")})
    with pytest.raises(
        ValueError, match=r"corrupt: the column 'when' .* cannot hold \d+ seconds since 1970.* in row 0"
    ):
        frame.corrupt(KEY, clean, [("when", nj.bind(nj.tabular.add_delta, rate=1.0, delta=1e12))])


def test_nan_and_na_of_one_column_stay_apart():
    values = pandas.arrays.FloatingArray(np.array([np.nan, 1.0, 2.0] * 20), np.array([False, True, False] * 20))
    clean = pandas.DataFrame({"x": values})
    dirty, mask = frame.corrupt(KEY, clean, [("x", nj.bind(nj.tabular.sign, rate=0.5))])
    assert mask["x"].to_numpy()[2::3].any() and not mask["x"].to_numpy()[:2].any()
    array = dirty["x"].array
    assert np.isnan(array._data[::3]).all() and not array._mask[::3].any() and array._mask[1::3].all()


def test_durations():
    clean = pandas.DataFrame({"t": pandas.to_timedelta([*range(50), None], unit="s")})
    dirty, mask = frame.corrupt(KEY, clean, [("t", nj.bind(nj.tabular.sign, rate=1.0))])
    assert dirty["t"].dtype == clean["t"].dtype
    assert (dirty["t"].dropna() == -clean["t"].dropna()).all()
    assert mask["t"].sum() == 49  # neither zero nor what is missing


def test_categories_keep_their_order_and_grow_only_when_asked():
    sizes = pandas.Categorical(["small", "large", None, "medium"] * 20, ["small", "medium", "large"], ordered=True)
    clean = pandas.DataFrame({"size": sizes})
    dirty, mask = frame.corrupt(KEY, clean, [("ordinal", wrong_category)])
    assert dirty["size"].dtype == clean["size"].dtype and mask["size"].sum() > 10
    typos = [("size", nj.bind(frame.mistyped, rate=0.3))]
    with pytest.raises(ValueError, match=r"the column 'size' .* has no category '\w+', which row \d+ would become"):
        frame.corrupt(KEY, clean, typos)
    dirty, mask = frame.corrupt(KEY, clean, typos, extend=True)
    both, hit = frame.corrupt(KEY, clean, [("size", wrong_category), *typos], extend=True)
    assert_mask_is_the_comparison(clean, both, hit)
    assert hit["size"].sum() > mask["size"].sum()
    grown = dirty["size"].cat.categories.tolist()
    assert grown[:3] == ["small", "medium", "large"] and len(grown) > 3 and dirty["size"].cat.ordered
    assert_mask_is_the_comparison(clean, dirty, mask)


def test_objects_can_only_become_missing_or_move():
    clean = pandas.DataFrame({"o": [[1], {"a": 2}, None, 3.5, "x"] * 10})
    dirty, mask = frame.corrupt(KEY, clean, [("o", LOSE)])
    assert all(value is None for value in dirty["o"][mask["o"]])
    assert mask["o"].sum() > 5 and not mask["o"][2::5].any()
    moved, mask = frame.corrupt(KEY, clean, [("o", nj.bind(nj.tabular.permute_rows, rate=1.0))])
    assert sorted(map(str, moved["o"])) == sorted(map(str, clean["o"]))
    assert mask["o"].sum() > 20
    with pytest.raises(TypeError, match=r"sign needs numbers .* 'o' of dtype .* objects .list in row 0, dict in row 1"):
        frame.corrupt(KEY, clean, [("o", nj.bind(nj.tabular.sign, rate=0.5))])


def test_extension_arrays_of_others_become_missing():
    clean = pandas.DataFrame({"p": pandas.period_range("2020", periods=40, freq="M")})
    dirty, mask = frame.corrupt(KEY, clean, [("p", LOSE)])
    assert dirty["p"].dtype == clean["p"].dtype
    assert dirty["p"].isna().tolist() == mask["p"].tolist() and mask["p"].any()


INDEXES = {
    "repeated": lambda n: pandas.Index([0, 0, 1, 1, 2] * (n // 5), name="i"),
    "several": lambda n: pandas.MultiIndex.from_product([range(n // 5), list("abcde")], names=["a", "b"]),
    "dates": lambda n: pandas.date_range("2020", periods=n, freq="D"),
}


@pytest.mark.parametrize("index", INDEXES)
def test_index_attributes_and_untouched_columns(index):
    clean = make("pandas").set_index(INDEXES[index](60))
    clean.attrs["source"] = "a register"
    clean.columns.name = "fields"
    before = copy.deepcopy(clean)
    dirty, mask = frame.corrupt(KEY, clean, [("number", LOSE)])
    pandas.testing.assert_frame_equal(clean, before)
    pandas.testing.assert_index_equal(dirty.index, clean.index)
    pandas.testing.assert_index_equal(mask.index, clean.index)
    pandas.testing.assert_index_equal(dirty.columns, clean.columns)
    assert dirty.attrs == {"source": "a register"}
    assert np.shares_memory(dirty["whole"].to_numpy(), clean["whole"].to_numpy())
    assert not np.shares_memory(dirty["number"].to_numpy(), clean["number"].to_numpy())


def test_a_column_whose_dtype_changes_shares_no_memory_with_the_clean_one():
    clean = pandas.DataFrame({"x": np.arange(5)})
    dirty, _ = frame.corrupt(KEY, clean, [("x", nj.bind(nj.tabular.missing, rate=0.0))])
    dirty.loc[0, "x"] = 100
    assert clean["x"].tolist() == [0, 1, 2, 3, 4]


@each
def test_frames_without_rows(backend):
    data = {name: found[:0] for name, found in columns().items()}
    empty = make("pandas", columns())[:0] if backend == "pandas" else None
    if empty is None:
        full = make(backend)
        empty = full[:0] if backend != "arrow" else full.slice(0, 0)
    dirty, mask = frame.corrupt(KEY, empty, [(None, LOSE), ("note", nj.bind(frame.mistyped, rate=0.5))])
    assert names(dirty) == names(mask) == list(data)
    assert all(values(dirty, name) == [] for name in data)


def test_names_that_are_no_strings():
    clean = pandas.DataFrame({0: np.arange(40.0), ("a", 1): np.arange(40.0)})
    dirty, mask = frame.corrupt(KEY, clean, [(0, LOSE), ([("a", 1)], nj.bind(nj.tabular.sign, rate=0.5))])
    assert list(dirty.columns) == [0, ("a", 1)]
    assert dirty[0].isna().sum() == mask[0].sum() > 5
