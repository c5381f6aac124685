"""Engines that split a table give the faults of one call: batches of any kind here, real engines in the slow tests."""

import pickle
import sys

import jax
import numpy as np
import pytest
from frames import assert_same, make, values

import noisejax as nj
from noisejax import frame

pandas = pytest.importorskip("pandas", reason="pandas is not installed")
KEY = jax.random.key(17)
T = nj.tabular


def table(n=3000):
    rng = np.random.default_rng(0)
    columns = {"id": rng.permutation(n) + 10**6, "age": rng.integers(18, 90, n), "pay": rng.lognormal(size=n)}
    columns["job"] = rng.choice(["cook", "nurse", "clerk"], n)
    columns["note"] = [f"row {i} é" for i in range(n)]
    return pandas.DataFrame(columns)


def category(column):
    return nj.bind(T.category, rate=0.1, num_classes=column.num_classes)


FAULTS = [
    ("age", nj.bind(T.missing, rate=0.1)),
    ("pay", nj.bind(T.wrong_unit, rate=0.1, scale=100.0)),
    ("job", category),
    ("note", nj.bind(frame.mistyped, rate=0.2)),
]


def test_batches_of_any_size_and_kind_have_the_faults_of_the_whole_table():
    clean = table(600)
    schema = frame.schema(clean)
    f = pickle.loads(pickle.dumps(frame.map_batches(KEY, FAULTS[:2] + FAULTS[3:], ids="id", schema=schema)))
    whole, mask = frame.corrupt(KEY, clean, FAULTS[:2] + FAULTS[3:], ids="id", schema=schema)
    assert mask[["age", "pay", "note"]].mean().between(0.05, 0.3).all()
    for size in (1, 250, 600):
        starts = range(0, 30 if size == 1 else 600, size)
        parts = pandas.concat([f(clean[low : low + size]) for low in starts])
        pandas.testing.assert_frame_equal(parts, whole[: len(parts)])
    batch = {name: clean[name].to_numpy() for name in clean}
    with pytest.raises(TypeError, match="the column 'age' of int64 cannot hold missing values"):
        f(batch)
    filled = [("age", nj.bind(T.missing, rate=0.1, fill=-1)), *FAULTS[1:2]]
    arrays = frame.map_batches(KEY, filled, ids="id")(batch)
    np.testing.assert_array_equal(arrays["pay"], whole["pay"])
    np.testing.assert_array_equal(arrays["age"] == -1, mask["age"])
    assert list(arrays) == list(clean) and arrays["age"].dtype == np.int64
    polars = pytest.importorskip("polars", reason="polars is not installed")
    other = polars.DataFrame({name: clean[name].tolist() for name in clean})
    assert f(other)["pay"].to_list() == whole["pay"].tolist()


def test_an_empty_batch_has_the_dtypes_of_the_others():
    clean = table(100)
    f = frame.map_batches(KEY, FAULTS, ids="id", schema=frame.schema(clean))
    assert f(clean[:0]).dtypes.tolist() == f(clean).dtypes.tolist()


def test_wrong_arguments_of_map_batches():
    with pytest.raises(TypeError, match="ids must be the name of a column with the rows' numbers, got None"):
        frame.map_batches(KEY, FAULTS, ids=None)
    with pytest.raises(KeyError, match="map_batches: ids names the column 'row'"):
        frame.map_batches(KEY, FAULTS, ids="row")(table(10))
    lost = table(10)
    lost["id"] = lost["id"].astype("Int64").mask(lost.index == 3)
    with pytest.raises(ValueError, match="the column 'id' of ids is missing in row 3"):
        frame.map_batches(KEY, FAULTS, ids="id")(lost)
    with pytest.raises(ValueError, match=r"the column 'x' must hold one value per row, got shape \(2, 3\)"):
        frame.map_batches(KEY, FAULTS, ids="id")({"x": np.ones((2, 3))})


@pytest.mark.parametrize("key", [jax.random.key(3), nj.key(3), nj.key(3, generator="threefry2x32")], ids=str)
def test_keys_of_every_kind_travel(key):
    clean = table(50)
    f = pickle.loads(pickle.dumps(frame.map_batches(key, FAULTS[1:2], ids="id")))
    pandas.testing.assert_frame_equal(f(clean), frame.corrupt(key, clean, FAULTS[1:2], ids="id")[0])


@pytest.mark.parametrize("n", [1, 3, 8, 13])
def test_numpy_in_and_out_gives_the_draws_of_the_noise(n):
    x = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    noise = nj.chain(nj.bind(nj.gaussian, std=0.5), nj.bind(T.missing, rate=0.2))
    door = pickle.loads(pickle.dumps(frame.numpy_door(noise)))
    y = door(KEY, x)
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, jax.jit(noise)(KEY, x), rtol=1e-6)
    batch = {"x": x, "label": np.arange(n)}
    both = frame.numpy_door(nj.on_entries({"x": noise}))(KEY, batch)
    np.testing.assert_array_equal(both["label"], batch["label"])
    assert both["x"].shape == x.shape


def test_wrong_arguments_of_numpy_door():
    with pytest.raises(TypeError, match="permute_rows reads several examples, and would see the padding"):
        frame.numpy_door(nj.bind(T.permute_rows, rate=0.5))
    with pytest.raises(TypeError, match="noise must be bound"):
        frame.numpy_door(lambda key, x: x)
    with pytest.raises(TypeError, match="x must be NumPy arrays with a leading axis of examples, got float"):
        frame.numpy_door(nj.bind(nj.gaussian, std=1.0))(KEY, [1.0])
    assert frame.numpy_door(nj.bind(nj.gaussian, std=1.0))(KEY, np.zeros((0, 3))).shape == (0, 3)


def grain_or_skip():
    return pytest.importorskip("grain", reason="grain is not installed: pip install grain")


def test_a_record_has_the_draws_of_per_example():
    grain = grain_or_skip()
    noise = nj.chain(nj.bind(nj.gaussian, std=1.0), nj.bind(nj.mask, rate=0.3))
    x, ids = np.ones((6, 4), np.float32), np.array([3, 2**31, 0, 7, 7, 2**32 - 1])
    step = pickle.loads(pickle.dumps(frame.grain_map(KEY, noise)))
    assert isinstance(step, grain.transforms.RandomMap)
    records = [step.random_map({"id": i, "x": row}, np.random.default_rng(0)) for i, row in zip(ids, x, strict=True)]
    wanted = jax.jit(nj.per_example(noise, ids.astype(np.uint32)))(KEY, x)
    assert_same_draws(np.stack([r["x"] for r in records]), wanted)
    assert [r["id"] for r in records] == ids.tolist()
    pair = frame.grain_map(KEY, nj.on_entries({"x": noise}))
    both = pair.random_map({"id": 3, "x": x[0], "label": 1}, None)
    assert both["label"] == 1 and both["x"].shape == (4,)
    with pytest.raises(TypeError, match="a record must be a dict with its number in 'id', got \\['x'\\]"):
        step.random_map({"x": x[0]}, None)
    with pytest.raises(TypeError, match="swap reads several examples, and a record is alone"):
        frame.grain_map(KEY, nj.bind(nj.swap, rate=0.1))


def assert_same_draws(found, wanted):
    """Masks to the bit; continuous draws agree to a few units in the last place between programs."""
    np.testing.assert_array_equal(found == 0, wanted == 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


class Records:
    """A random access source of records that know their number."""

    def __init__(self, n):
        self.n = n

    def __repr__(self):
        return f"Records({self.n})"  # grain compares it when a run is resumed

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return {"id": int(index), "x": np.full(3, index, np.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_grain_shuffled_in_workers_and_restarted(workers):
    grain = grain_or_skip()
    pytest.importorskip("absl.flags").FLAGS.mark_as_parsed()  # grain reads flags, which a program's main parses
    noise = nj.bind(nj.gaussian, std=1.0)

    def loader(seed):
        sampler = grain.samplers.IndexSampler(24, shuffle=True, seed=seed, num_epochs=1)
        steps = [frame.grain_map(KEY, noise)]
        return grain.DataLoader(data_source=Records(24), sampler=sampler, operations=steps, worker_count=workers)

    wanted = jax.jit(nj.per_example(noise, np.arange(24)))(
        KEY, np.repeat(np.arange(24, dtype=np.float32), 3).reshape(24, 3)
    )
    for seed in (1, 2):
        iterator = iter(loader(seed))
        first = [next(iterator) for _ in range(5)]
        state = iterator.get_state()
        rest = list(iterator)
        again = iter(loader(seed))
        again.set_state(state)
        for record, resumed in zip(rest, list(again), strict=True):
            np.testing.assert_array_equal(record["x"], resumed["x"])
        found = {int(r["id"]): r["x"] for r in first + rest}
        assert sorted(found) == list(range(24))
        assert_same_draws(np.stack([found[i] for i in range(24)]), wanted)


def whole_table():
    clean = table()
    schema = frame.schema(clean)
    return clean, schema, frame.corrupt(KEY, clean, FAULTS, ids="id", schema=schema)[0].set_index("id").sort_index()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the engine's own packages
def test_ray_data_gives_the_faults_of_one_call():
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'ray[data]'")
    pytest.importorskip("ray.data", reason="ray is not installed: pip install 'ray[data]'")
    clean, schema, wanted = whole_table()
    environment = {"env_vars": {"PYTHONPATH": ":".join(filter(None, sys.path)), "JAX_PLATFORMS": "cpu"}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        # The function travels by value here, since workers do not know this module.
        f = frame.map_batches(KEY, by_value(FAULTS), ids="id", schema=schema)
        data = ray.data.from_pandas(clean).repartition(7).random_shuffle(seed=1)
        found = data.map_batches(f, batch_format="pandas", batch_size=311).to_pandas()
    finally:
        ray.shutdown()
    found = found.set_index("id").sort_index()
    for name in wanted:
        assert values(found, name) == values(wanted, name)


def by_value(faults):
    """Faults whose function is a lambda, which cloudpickle takes along."""
    make_category = lambda column: nj.bind(nj.tabular.category, rate=0.1, num_classes=column.num_classes)  # noqa: E731
    make_category.__module__ = "__main__"
    return [(columns, make_category if noise is category else noise) for columns, noise in faults]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the engine's own packages
def test_dask_gives_the_faults_of_one_call():
    dask = pytest.importorskip("dask.dataframe", reason="dask is not installed: pip install 'dask[dataframe]'")
    clean, schema, wanted = whole_table()
    f = frame.map_batches(KEY, FAULTS, ids="id", schema=schema)
    data = dask.from_pandas(clean, npartitions=5).repartition(npartitions=3)
    found = data.map_partitions(f, meta=f(data._meta)).compute(scheduler="threads").set_index("id").sort_index()
    assert found["age"].dtype == wanted["age"].dtype
    for name in wanted:  # Dask has a dtype of its own for strings
        assert values(found, name) == values(wanted, name)


def test_batches_of_arrow():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    clean = make("arrow")
    f = frame.map_batches(KEY, [("number", nj.bind(T.missing, rate=0.5))], ids="whole")
    assert_same(f(clean), frame.corrupt(KEY, clean, f.faults, ids="whole")[0])
