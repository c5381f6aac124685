"""What faults of a frame draw: as arrays do, by place, name and row, in any order; and their errors."""

import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from frames import assert_mask_is_the_comparison, make, polars, pyarrow
from scipy import stats

import noisejax as nj
from noisejax import frame
from noisejax._random.stream import Stream, fold
from noisejax.frame._faults import Step

pandas = pytest.importorskip("pandas", reason="pandas is not installed")
KEY = jax.random.key(11)
T = nj.tabular


def numbers(n=400):
    rng = np.random.default_rng(0)
    table = {"age": rng.integers(18, 90, n), "pay": rng.lognormal(size=n), "rent": rng.normal(size=n)}
    return pandas.DataFrame(table)


def arrays_stream(place, name, path=()):
    """The stream of a column, made by the device's functions from the documented parts."""
    step = Step(place, path, (name,), nj.bind(T.sign, rate=0.5), 1, 0, None)
    with jax.enable_x64(True):
        return Stream(fold(KEY, jnp.asarray(step.number, jnp.uint64)).key, path=path)


@pytest.mark.parametrize(
    "noise",
    [
        nj.bind(T.add_delta, rate=0.3, delta=2.5),
        nj.bind(T.rounding, rate=0.5),
        nj.bind(T.wrong_unit, rate=0.5, scale=2.54),
        nj.bind(nj.gaussian, std=0.5),
        nj.sometimes(nj.bind(T.sign, rate=0.9), 0.5),
        nj.choose(nj.bind(T.sign, rate=0.9), nj.bind(T.missing, rate=0.9)),
        nj.bind(T.missing, rate=0.3, fill=-1.0),
        nj.per_example(nj.bind(nj.gaussian, std=1.0)),
    ],
    ids=str,
)
def test_a_column_has_the_faults_of_an_array(noise):
    """With the key of its place and name, a column (rows, 1) gives the same values, bit for bit."""
    clean = numbers()
    dirty, mask = frame.corrupt(KEY, clean, [("rent", noise)], chunk_rows=64)
    with jax.enable_x64(True):
        wanted = noise(arrays_stream(0, "rent"), clean[["rent"]].to_numpy())
    np.testing.assert_array_equal(dirty[["rent"]].to_numpy(), wanted)
    assert_mask_is_the_comparison(clean, dirty, mask)
    assert mask["rent"].sum() > 50 and not mask[["age", "pay"]].any(axis=None)


def test_stages_of_a_chain_are_faults_one_after_the_other():
    clean = numbers()
    chain = nj.chain(
        nj.bind(T.add_delta, rate=0.3, delta=5.0), nj.chain(nj.bind(T.sign, rate=0.3), nj.bind(T.missing, rate=0.3))
    )
    dirty, mask = frame.corrupt(KEY, clean, [("age", chain)])
    assert_mask_is_the_comparison(clean, dirty, mask)
    assert str(dirty["age"].dtype) == "Int64" and dirty["age"].isna().any() and (dirty["age"] < 0).any()
    with jax.enable_x64(True):
        wanted = chain(arrays_stream(0, "age"), clean[["age"]].to_numpy().astype(float))[:, 0]
    np.testing.assert_array_equal(dirty["age"].to_numpy("float64", na_value=np.nan), wanted)


def test_columns_places_and_keys_draw_separately():
    clean = pandas.DataFrame({name: np.ones(2000) for name in "abc"})
    lose = nj.bind(T.missing, rate=0.5)
    one = frame.corrupt(KEY, clean, [(None, lose)])[1].to_numpy()
    again = frame.corrupt(KEY, clean, [("a", nj.bind(T.sign, rate=0.0)), (None, lose)])[1].to_numpy()
    other = frame.corrupt(jax.random.key(12), clean, [(None, lose)])[1].to_numpy()
    hits = np.column_stack([one, again, other])
    agree = [(hits[:, i] == hits[:, j]).mean() for i in range(9) for j in range(i)]
    assert np.abs(np.array(agree) - 0.5).max() < 5 * 0.5 / np.sqrt(2000)  # 36 pairs, each at 5 standard errors
    alone = frame.corrupt(KEY, clean[["c"]], [("c", lose)])[1]["c"]
    assert (alone == one[:, 2]).all()  # other columns do not matter
    renamed = frame.corrupt(KEY, clean[["c"]].rename(columns={"c": "d"}), [("d", lose)])[1]["d"]
    assert (renamed != one[:, 2]).any()


def test_rates_are_those_asked():
    clean = numbers(20_000)
    _, mask = frame.corrupt(KEY, clean, [(["pay", "rent"], nj.bind(T.missing, rate=[0.02, 0.4]))])
    for name, rate in (("pay", 0.02), ("rent", 0.4)):
        assert stats.binomtest(int(mask[name].sum()), len(clean), rate).pvalue > 1e-4


def test_rows_with_ids_in_any_order_and_in_parts():
    clean = numbers()
    clean["note"] = [f"word {n}" for n in range(len(clean))]
    clean["id"] = np.arange(len(clean)) * 10**6 + 2**35
    faults = [
        (["age", "pay"], nj.bind(T.missing, rate=0.3)),
        ("rent", nj.bind(nj.gaussian, std=1.0)),
        ("note", nj.bind(frame.mistyped, rate=0.5)),
    ]
    whole, mask = frame.corrupt(KEY, clean, faults, ids="id")
    order = np.random.default_rng(1).permutation(len(clean))
    shuffled, _ = frame.corrupt(KEY, clean.iloc[order], faults, ids=clean["id"].to_numpy()[order], chunk_rows=50)
    pandas.testing.assert_frame_equal(shuffled.sort_index(), whole)
    parts = [frame.corrupt(KEY, clean[low : low + 97], faults, ids="id")[0] for low in range(0, len(clean), 97)]
    pandas.testing.assert_frame_equal(pandas.concat(parts), whole)
    assert mask.any().tolist() == [True, True, True, True, False]


@pytest.mark.slow
def test_mechanisms_by_name():
    clean = numbers(4000)
    x, schema, _ = frame.encode(clean)
    fitted = T.fit(x, schema)
    old = T.at_random(fitted, on="age", slope=4.0)
    assert old.on == 0 and T.block(fitted, on="pay").on == 1
    _, mask = frame.corrupt(KEY, clean, [("rent", nj.bind(T.missing, rate=0.3, mechanism=old))], chunk_rows=512)
    hit = mask["rent"].to_numpy()
    assert abs(hit.mean() - 0.3) < 0.03
    assert clean["age"][hit].mean() > clean["age"][~hit].mean() + 10
    rich = T.not_at_random(fitted, shape="upper")
    _, mask = frame.corrupt(KEY, clean, [("pay", nj.bind(T.missing, rate=0.1, mechanism=rich))])
    assert clean["pay"][mask["pay"]].min() > clean["pay"][~mask["pay"]].max()
    _, mask = frame.corrupt(KEY, clean, [("pay", nj.bind(T.outlier, rate=0.1, columns=fitted))])
    assert 0.07 < mask["pay"].mean() < 0.13
    clean["note"] = "some words"
    _, mask = frame.corrupt(KEY, clean, [("note", nj.bind(frame.mistyped, rate=0.3, mechanism=old))])
    hit = mask["note"].to_numpy()
    assert abs(hit.mean() - 0.3) < 0.03 and clean["age"][hit].mean() > clean["age"][~hit].mean() + 10
    copula = T.copula(1.0, old)
    _, mask = frame.corrupt(
        KEY, clean, [(["pay", "note"], nj.bind(T.missing, rate=0.3, mechanism=copula))], chunk_rows=512
    )
    assert (mask["pay"] == mask["note"]).all() and mask["pay"].any()


def test_a_spelling_that_is_no_class_says_nothing_to_a_mechanism():
    clean = pandas.DataFrame({"job": ["cook", "nurse"] * 1000, "pay": np.ones(2000)})
    x, schema, _ = frame.encode(clean)
    nurses = T.at_random(T.fit(x, schema), on="job", slope=50.0)
    lose = ("pay", nj.bind(T.missing, rate=0.5, mechanism=nurses))
    typed = ("job", nj.bind(frame.mistyped, rate=1.0))
    _, known = frame.corrupt(KEY, clean, [lose], schema=schema)
    assert known["pay"].to_numpy()[1::2].mean() > 0.99 and known["pay"].to_numpy()[::2].mean() < 0.01
    _, unknown = frame.corrupt(KEY, clean, [typed, lose], schema=schema)
    for start in (0, 1):
        assert 0.4 < unknown["pay"].to_numpy()[start::2].mean() < 0.6


def test_columns_that_are_hit_together():
    clean = make("pandas")
    noise = nj.bind(T.missing, rate=0.5, together=(0, 0, 1))
    dirty, mask = frame.corrupt(KEY, clean, [(["whole", "flag", "note"], noise)])
    assert (mask["whole"] == mask["flag"]).all() and (mask["whole"] != mask["note"]).any()
    assert_mask_is_the_comparison(clean, dirty, mask)
    table = numbers()
    swapped, mask = frame.corrupt(KEY, table, [(["pay", "rent"], nj.bind(T.swap_columns, rate=0.5, pairs=((0, 1),)))])
    hit = mask["pay"].to_numpy()
    assert (mask["rent"] == hit).all() and 0.4 < hit.mean() < 0.6
    np.testing.assert_array_equal(swapped["pay"][hit], table["rent"][hit])


@pytest.mark.slow
def test_faults_that_read_the_whole_table():
    clean = make("pandas")
    exact = nj.bind(T.missing, rate=0.25, exact=True)
    _, mask = frame.corrupt(KEY, clean, [(["number", "whole"], exact)], chunk_rows=7)
    assert mask["number"].sum() == 12 and mask["whole"].sum() == 15  # of the 48 and 60 that are observed
    moved, mask = frame.corrupt(KEY, clean, [(["number", "note"], nj.bind(T.permute_rows, rate=1.0))], chunk_rows=1)
    assert_mask_is_the_comparison(clean, moved, mask)
    assert sorted(moved["note"].dropna()) == sorted(clean["note"].dropna()) and mask["note"].sum() == 48
    twice, mask = frame.corrupt(KEY, clean, [(None, nj.bind(T.duplicate, rate=0.5))])
    assert_mask_is_the_comparison(clean, twice, mask)
    assert {d: str(t) for d, t in twice.dtypes.items()} == {d: str(t) for d, t in clean.dtypes.items()}
    source = twice["whole"].to_numpy() - clean["whole"].iloc[0]
    assert (source != np.arange(60)).sum() > 15
    for name in clean:  # whole rows move together
        assert twice[name].astype(str).tolist() == clean[name].iloc[source].astype(str).tolist()
    bursts = nj.bind(T.missing, rate=0.3, mechanism=T.bursty(10.0))
    long = pandas.DataFrame({"x": np.ones(4000)})
    lost = frame.corrupt(KEY, long, [("x", bursts)], chunk_rows=7)[1]["x"].to_numpy().astype(int)
    assert 6 < lost.sum() / (np.diff(lost) == 1).sum() < 15
    own, _ = frame.corrupt(KEY, numbers(), [("pay", nj.keyless(lambda x: x - x.mean()))], chunk_rows=7)
    assert abs(own["pay"].mean()) < 1e-12
    for noise in (exact, bursts, nj.bind(T.permute_rows, rate=0.5), nj.keyless(jnp.sort)):
        with pytest.raises(ValueError, match="needs the whole table in one order"):
            frame.corrupt(KEY, numbers(), [("pay", noise)], ids=np.arange(400))
        with pytest.raises(TypeError, match=r"reads several rows, and a batch is a part of a table"):
            frame.map_batches(KEY, [("pay", noise)], ids="id")


def test_a_rate_for_each_row():
    """Amounts of shape (rows, 1) are cut with the rows, such as a sensor that fails gradually."""
    clean = pandas.DataFrame({"x": np.ones(3000), "n": np.ones(3000, int)})
    rate = T.drift_weight(np.arange(3000)[:, None], 1500.0, 1000.0)
    noise = [(["x", "n"], nj.bind(T.missing, rate=rate))]
    _, mask = frame.corrupt(KEY, clean, noise, chunk_rows=128)
    for name in ("x", "n"):
        early, late = mask[name][:1000].mean(), mask[name][2000:].mean()
        assert early < 0.15 and late > 0.85
    pandas.testing.assert_frame_equal(frame.corrupt(KEY, clean, noise, chunk_rows=None)[1], mask)


def test_drift_follows_the_rows_numbers():
    clean = pandas.DataFrame({"x": np.zeros(1000)})
    dirty, _ = frame.corrupt(KEY, clean, [("x", nj.bind(T.drift, shift=5.0, position=400.0))], chunk_rows=64)
    np.testing.assert_array_equal(dirty["x"], np.where(np.arange(1000) >= 400, 5.0, 0.0))


def test_the_last_chunk_compiles_nothing():
    clean = numbers(1000)
    faults = [("pay", nj.bind(T.add_delta, rate=0.5, delta=1.0))]
    frame.corrupt(KEY, clean[:256], faults, chunk_rows=128)
    with jax.log_compiles(False), _counting() as compiled:
        for n in (129, 200, 255, 256, 999):
            frame.corrupt(KEY, clean[:n], faults, chunk_rows=128)
    assert compiled == []


class _counting:
    """The programs that are compiled inside."""

    def __enter__(self):
        self.found = []
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        return self.found

    def _heard(self, event, duration, **_):
        if "backend_compile" in event:
            self.found.append(event)

    def __exit__(self, *_):
        jax.monitoring.unregister_event_duration_listener(self._heard)


def test_augment():
    clean = make("pandas")
    faults = [("number", nj.bind(T.missing, rate=0.5)), ("whole", nj.bind(T.missing, rate=0.2))]
    more = frame.augment(KEY, clean, faults, copies=2)
    assert len(more) == 180 and str(more["whole"].dtype) == "Int64" and more["job"].dtype == clean["job"].dtype
    assert more.index.tolist() == list(range(60)) * 3
    first, second, third = (more[low : low + 60] for low in (0, 60, 120))
    assert first["whole"].tolist() == clean["whole"].tolist()
    assert second["whole"].isna().tolist() != third["whole"].isna().tolist()
    copy, _ = frame.corrupt(jax.random.fold_in(KEY, 1), clean, faults)
    pandas.testing.assert_frame_equal(third, copy)
    assert frame.augment(KEY, clean, faults, copies=0).equals(clean)
    with pytest.raises(ValueError, match="copies must be an integer, at least 0, got -1"):
        frame.augment(KEY, clean, faults, copies=-1)


@pytest.mark.skipif(polars is None or pyarrow is None, reason="polars or pyarrow is not installed")
@pytest.mark.parametrize("backend", ["polars", "arrow"])
def test_augment_of_others(backend):
    clean = make(backend)
    more = frame.augment(KEY, clean, [("number", nj.bind(T.missing, rate=0.5))], copies=2)
    assert type(more) is type(clean) and len(more) == 180


def test_noise_is_a_function_of_key_and_frame_that_can_be_pickled():
    noise = frame.noise([("pay", nj.bind(nj.gaussian, std=1.0))], chunk_rows=7)
    clean = numbers()
    again = pickle.loads(pickle.dumps(noise))
    pandas.testing.assert_frame_equal(again(KEY, clean), frame.corrupt(KEY, clean, noise.faults)[0])


def test_progress_is_a_bar_of_rich():
    pytest.importorskip("rich", reason="rich is not installed")
    faults = [("pay", nj.bind(nj.gaussian, std=1.0))]
    shown, _ = frame.corrupt(KEY, numbers(), faults, progress=True)
    pandas.testing.assert_frame_equal(shown, frame.corrupt(KEY, numbers(), faults)[0])


LOSE = nj.bind(T.missing, rate=0.5)
WRONG = [
    (TypeError, "df must be a pandas or polars data frame or an Arrow table, got a dict", {"a": [1]}, [("a", LOSE)]),
    (TypeError, "got a numpy ndarray", np.ones((2, 2)), [(None, LOSE)]),
    (TypeError, "faults must be a list of pairs", numbers(), LOSE),
    (TypeError, "fault 0 must be a pair (columns, noise), got 'age'", numbers(), ["age"]),
    (TypeError, "fault 0 must be a bound noise", numbers(), [("age", T.missing)]),
    (TypeError, "fault 1 must be a bound noise", numbers(), [("age", LOSE), ("age", 3)]),
    (KeyError, "fault 0 names the column 'wage'. The columns are 'age', 'pay', 'rent'", numbers(), [("wage", LOSE)]),
    (TypeError, "fault 0 makes its noise from the description of a column, and 'note' has none",
     make("pandas"), [("note", lambda column: nj.bind(T.category, rate=0.1, num_classes=column.num_classes))]),
    (TypeError, "imbalance draws whole rows again", numbers(), [("age", nj.bind(T.imbalance, shares=[0.5, 0.5]))]),
    (TypeError, "mistyped is for strings, and the column 'age' has the dtype Int64",
     numbers(), [("age", nj.bind(frame.mistyped, rate=0.1))]),
    (TypeError, "swap_columns sees several columns at once, which need one dtype: 'age' of int64, 'pay' of float64",
     numbers(), [(["age", "pay"], nj.bind(T.swap_columns, rate=0.5, pairs=((0, 1),)))]),
    (TypeError, "sometimes may make cells of the column 'age' missing", numbers(), [("age", nj.sometimes(LOSE, 0.5))]),
    (ValueError, "corrupt: the column 'job' has the codes 0 to 2, and a fault gave",
     make("pandas"), [("job", nj.bind(T.add_delta, rate=1.0, delta=5.0))]),
    (TypeError, "sign needs numbers or categories, and the column 'note' of dtype String holds text",
     make("pandas"), [("note", nj.bind(T.sign, rate=0.5))]),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "df", "faults"), WRONG, ids=[w[1][:40] for w in WRONG])
def test_errors_name_the_column_and_the_row(error, message, df, faults):
    before = df.copy() if isinstance(df, pandas.DataFrame) else None
    with pytest.raises(error, match=re.escape(message)):
        frame.corrupt(KEY, df, faults)
    if before is not None:
        pandas.testing.assert_frame_equal(df, before)


def test_the_column_of_ids_is_left_out():
    clean = numbers(50)
    clean["id"] = np.arange(50)
    dirty, mask = frame.corrupt(KEY, clean, [(None, LOSE), ("integer", LOSE)], ids="id")
    assert dirty["id"].equals(clean["id"]) and mask.any().tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="fault 0 names the column 'id', which numbers the rows by ids"):
        frame.corrupt(KEY, clean, [("id", LOSE)], ids="id")


@pytest.mark.skipif(polars is None, reason="polars is not installed")
def test_lazy_frames_are_collected_first():
    with pytest.raises(TypeError, match=r"got a polars LazyFrame. Call .collect\(\) first."):
        frame.corrupt(KEY, polars.LazyFrame({"a": [1]}), [("a", LOSE)])


def test_other_wrong_arguments():
    good = [("pay", LOSE)]
    with pytest.raises(ValueError, match="two columns have the name 'a'"):
        frame.corrupt(KEY, pandas.DataFrame([[1, 2]], columns=["a", "a"]), [("a", LOSE)])
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\], got 1.5"):
        frame.corrupt(KEY, numbers(), [("pay", nj.bind(T.missing, rate=1.5))])
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, or None for all, got 0"):
        frame.corrupt(KEY, numbers(), good, chunk_rows=0)
    with pytest.raises(ValueError, match="ids must be 400 integers, got float64"):
        frame.corrupt(KEY, numbers(), good, ids=np.ones(400))
    with pytest.raises(KeyError, match="ids names the column 'key'"):
        frame.corrupt(KEY, numbers(), good, ids="key")
    with pytest.raises(ValueError, match="missing must be one of 'nullable', 'raise', got 'maybe'"):
        frame.corrupt(KEY, numbers(), good, missing="maybe")
    with pytest.raises(TypeError, match=r"schema must be a noisejax.tabular.Schema, got 3"):
        frame.corrupt(KEY, numbers(), good, schema=3)
    with pytest.raises(ValueError, match="df has no column 'sex', which is in the schema"):
        frame.corrupt(KEY, numbers(), good, schema=T.Schema({"sex": "flag"}))
    with pytest.raises(TypeError, match="key must be a JAX key, got a raw seed, 0"):
        frame.corrupt(0, numbers(), good)
    with pytest.raises(TypeError, match="data frames live on the host"):
        jax.jit(lambda key: frame.corrupt(key, numbers(), good)[0]["pay"].to_numpy())(KEY)
    other = T.at_random(T.fit(np.ones((3, 2))), on=0)
    with pytest.raises(KeyError, match="a mechanism depends on the column 0, which df does not have"):
        frame.corrupt(KEY, numbers(), [("pay", nj.bind(T.missing, rate=0.5, mechanism=other))])
    with pytest.raises(ValueError, match=r"the column 'pay' is none of the fitted ones, 0, 1. Fit with the names"):
        frame.corrupt(KEY, numbers(), [("pay", nj.bind(T.outlier, rate=0.5, columns=T.fit(np.ones((3, 2)))))])
    strange = pandas.DataFrame({"job": ["cook", "pilot"] * 5})
    schema = T.Schema({"job": ("cook", "nurse")})
    wrong = [("job", nj.bind(T.category, rate=0.5, num_classes=2))]
    with pytest.raises(
        ValueError, match="corrupt: the column 'job' holds 'pilot' in row 1, which is none of the 2 classes"
    ):
        frame.corrupt(KEY, strange, wrong, schema=schema)


def test_options_that_corrupt_does_not_have():
    df = pandas.DataFrame({"a": [1.0, 2.0]})
    faults = [("a", nj.bind(T.missing, rate=0.5))]
    with pytest.raises(TypeError, match=r"augment got an unexpected keyword argument 'quux'.*chunk_rows"):
        frame.augment(KEY, df, faults, quux=1)
    with pytest.raises(TypeError, match=r"noise got an unexpected keyword argument 'quux'.*chunk_rows"):
        frame.noise(faults, quux=1)
    assert len(frame.augment(KEY, df, faults, chunk_rows=1)) == 4
