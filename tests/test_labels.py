"""Noise on labels: confusion matrices against their definition, what a rate counts, and what is refused.

Statistical tests use fixed keys and a threshold of p = 1e-4, so each would fail once in 10,000 keys.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from scipy import stats

import noisejax as nj
from noisejax import labels

KEY = jax.random.key(0)

P_VALUE = 1e-4
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
T = np.array(
    [
        [0.7, 0.3, 0.0, 0.0],
        [0.1, 0.6, 0.2, 0.1],
        [0.0, 0.0, 1.0, 0.0],
        [0.25, 0.25, 0.25, 0.25],
    ]
)
NOISES = {
    "flip": nj.bind(labels.flip, rate=0.3, num_classes=4),
    "flip, true class included": nj.bind(labels.flip, rate=0.3, num_classes=4, include_true=True),
    "flip_pairs": nj.bind(labels.flip_pairs, rate=0.3, num_classes=4),
    "flip_by": nj.bind(labels.flip_by, transition=T),
    "missing": nj.bind(labels.missing, rate=0.3),
}
every = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)


def clean(n=40_000):
    return jnp.arange(n, dtype=jnp.int32) % 4


def expected(name):
    others = (1 - np.eye(4)) / 3
    return {
        "flip": 0.7 * np.eye(4) + 0.3 * others,
        "flip, true class included": 0.7 * np.eye(4) + 0.3 / 4,
        "flip_pairs": 0.7 * np.eye(4) + 0.3 * np.roll(np.eye(4), 1, axis=1),
        "flip_by": T,
    }[name]


@pytest.mark.parametrize("name", [name for name in NOISES if name != "missing"])
def test_confusion_matrices_are_those_of_the_definition(name, key):
    x = clean()
    y = NOISES[name](key, x)
    counts = np.zeros((4, 4))
    np.add.at(counts, (np.asarray(x), np.asarray(y)), 1)
    for row, probabilities in zip(counts, expected(name), strict=True):
        possible = probabilities > 0
        assert row[~possible].sum() == 0
        if possible.sum() > 1:
            assert stats.chisquare(row[possible], probabilities[possible] * row.sum()).pvalue > P_VALUE


@pytest.mark.parametrize(("include_true", "wrong"), [(False, 0.4), (True, 0.4 * 9 / 10)])
def test_the_realised_rate_can_be_read_back(include_true, wrong, key):
    noise = nj.bind(labels.flip, rate=0.4, num_classes=10, include_true=include_true)
    x = jnp.arange(50_000) % 10
    y, hit = noise(key, x), nj.hits(noise)(key, x)
    assert stats.binomtest(int(nj.changed(x, y).sum()), x.size, wrong).pvalue > P_VALUE
    assert stats.binomtest(int(hit.sum()), x.size, 0.4).pvalue > P_VALUE
    assert bool((hit | ~nj.changed(x, y)).all())
    assert bool((hit == nj.changed(x, y)).all()) != include_true


def test_missing_labels(key):
    x = clean()
    y = NOISES["missing"](key, x)
    assert stats.binomtest(int((y == -1).sum()), x.size, 0.3).pvalue > P_VALUE
    np.testing.assert_array_equal(jnp.where(y == -1, x, y), x)
    np.testing.assert_array_equal(nj.hits(NOISES["missing"])(key, x), y == -1)
    targets = labels.missing(key, jnp.linspace(0, 1, 1000), 0.5)
    assert 0.4 < float(jnp.isnan(targets).mean()) < 0.6
    assert set(labels.missing(key, jnp.ones(9, jnp.uint8), 1.0, value=255).tolist()) == {255}
    rows = labels.missing(key, jax.nn.one_hot(clean(1000), 4), 0.5, value=0.0, mode="example")
    assert set(rows.sum(-1).tolist()) == {0.0, 1.0}


@pytest.mark.slow
@every
def test_the_contract(noise, key):
    """What the laws ask of array noises, for integers alone."""
    x = clean(1000)
    y = noise(key, x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype) and bool((y != x).any())
    np.testing.assert_array_equal(jax.jit(noise)(key, x), y)
    np.testing.assert_array_equal(noise(key, np.asarray(x)), y)
    keys = jax.random.split(key, 3)
    np.testing.assert_array_equal(jax.vmap(noise, (0, None))(keys, x), jnp.stack([noise(k, x) for k in keys]))
    assert bool((noise(keys[0], x) != noise(keys[1], x)).any())
    where = jnp.arange(1000) % 3 > 0
    np.testing.assert_array_equal(noise(key, x, where=where), jnp.where(where, y, x))
    np.testing.assert_array_equal(noise(key, x.reshape(50, 20)), y.reshape(50, 20))
    assert noise(key, x[:0]).shape == (0,)
    assert noise(key, jnp.int32(2)).shape == ()
    for dtype in (jnp.int8, jnp.int16):
        np.testing.assert_array_equal(noise(key, x.astype(dtype)), y.astype(dtype))
    batch = nj.on_entries({"y": noise})(key, {"x": jnp.ones(1000), "y": x})
    assert bool((batch["y"] != x).any())


@every
def test_neutral_amounts_are_the_identity_and_trace_once(noise, key):
    x, traces = clean(100), []

    @jax.jit
    def step(noise, key, x):
        traces.append(noise)
        return noise(key, x)

    step(noise, key, x)
    (name,) = noise.amounts
    neutral = {name: np.eye(4) if name == "transition" else 0.0}
    np.testing.assert_array_equal(step(nj.bind(noise.function, **neutral, **dict(noise.options)), key, x), x)
    assert len(traces) == 1


@pytest.mark.parametrize("name", [name for name in NOISES if name != "missing"])
def test_labels_that_are_none_of_the_classes_stay(name, key):
    x = jnp.where(jnp.arange(400) % 2 == 0, jnp.int32(-1), jnp.arange(400, dtype=jnp.int32))
    y = NOISES[name](key, x)
    outside = (x < 0) | (x >= 4)
    np.testing.assert_array_equal(jnp.where(outside, y, 0), jnp.where(outside, x, 0))
    both = nj.chain(NOISES["missing"], NOISES[name])(key, clean(400))
    assert bool((both == -1).any()) and bool((both < 4).all())


def test_booleans_and_bytes(key):
    flags = jnp.arange(100) % 2 == 0
    np.testing.assert_array_equal(labels.flip(key, flags, 1.0, num_classes=2), ~flags)
    small = (jnp.arange(1000) % 200).astype(jnp.uint8)
    y = labels.flip(key, small, 1.0, num_classes=200)
    assert y.dtype == jnp.uint8 and bool((y != small).all()) and int(y.max()) < 200


def test_a_rate_per_example(key):
    x = jnp.zeros(1000, jnp.int32)
    y = labels.flip(key, x, jnp.where(jnp.arange(1000) < 500, 0.0, 1.0), num_classes=3)
    assert bool((y[:500] == 0).all()) and bool((y[500:] != 0).all())


def test_a_matrix_per_example_and_a_traced_one(key):
    x = clean(1000)
    per_example = jnp.where(
        (jnp.arange(1000) < 500)[:, None, None], jnp.eye(4)[None], jnp.asarray(T, jnp.float32)[None]
    )
    y = labels.flip_by(key, x, per_example)
    np.testing.assert_array_equal(y[:500], x[:500])
    np.testing.assert_array_equal(y[500:], labels.flip_by(key, x, T)[500:])
    unnormalised = jax.jit(lambda t: labels.flip_by(key, x, t))(3 * jnp.asarray(T, jnp.float32))
    np.testing.assert_array_equal(unnormalised, labels.flip_by(key, x, T))
    np.testing.assert_array_equal(labels.flip_by(key, x, T.tolist()), labels.flip_by(key, x, T))


def test_rare_classes_of_a_matrix_are_drawn_and_impossible_ones_are_not(key):
    row = np.full((1, 100), 1e-3)
    row[0, 0], row[0, -1] = 1 - row[0, 1:-1].sum(), 0.0
    y = labels.flip_by(key, jnp.zeros(200_000, jnp.int32), np.repeat(row, 100, axis=0))
    counts = np.bincount(y, minlength=100)
    assert counts[-1] == 0
    assert stats.chisquare(counts[:-1], row[0, :-1] * 200_000).pvalue > P_VALUE


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_one_device_and_eight_draw_the_same_without_a_collective(axis_type, key):
    def everything(x):
        return [noise(key, x) for noise in NOISES.values()] + [labels.smooth(x, 0.1, num_classes=4)]

    x = clean(64)
    alone = jax.jit(everything)(x)
    mesh = jax.make_mesh((8,), ("a",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("a")))
        compiled = jax.jit(everything).lower(sharded).compile()
        together = compiled(sharded)
    assert not [c for c in COLLECTIVES if c in compiled.as_text()]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


# --- smoothing


def test_smoothing_is_its_formula():
    y = np.array([[0, 3], [2, 2]])
    rows = labels.smooth(y, 0.3, num_classes=4)
    assert rows.dtype == jnp.float32
    np.testing.assert_allclose(rows, 0.7 * np.eye(4)[y] + 0.3 / 4, atol=1e-7)
    soft = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(4), 7), jnp.float32)
    np.testing.assert_allclose(labels.smooth(soft, 0.3), 0.7 * soft + 0.075, atol=1e-6)
    np.testing.assert_array_equal(labels.smooth(soft, 0.0), soft)
    low = labels.smooth(soft.astype(jnp.bfloat16), 0.3)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        low, labels.smooth(soft.astype(jnp.bfloat16).astype(jnp.float32), 0.3).astype(jnp.bfloat16)
    )
    column = labels.smooth(soft, jnp.linspace(0, 1, 7)[:, None])
    np.testing.assert_allclose(column[-1], 0.25, atol=1e-6)
    np.testing.assert_array_equal(column[0], soft[0])
    per_label = labels.smooth(jnp.array([0, 1]), jnp.array([0.0, 1.0]), num_classes=2)
    np.testing.assert_array_equal(per_label, [[1, 0], [0.5, 0.5]])


@pytest.mark.slow
def test_smoothing_with_impossible_classes():
    y = jnp.array([0, 1, 2, 3])
    where = jnp.array([[True, True, True, False]] * 3 + [[True, False, True, False]])
    rows = labels.smooth(y, 0.3, num_classes=4, where=where)
    np.testing.assert_array_equal(jnp.where(where, 0, rows), 0)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(rows[0], [0.8, 0.1, 0.1, 0], atol=1e-6)
    np.testing.assert_allclose(rows[3], [0.5, 0, 0.5, 0], atol=1e-6)  # its own class is impossible
    soft = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(4), 4), jnp.float32)
    for alpha in (0.0, 0.3, 1.0):
        rows = labels.smooth(soft, alpha, where=where[0])
        np.testing.assert_array_equal(rows[:, 3], 0)
        np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-6)
    gradient = jax.grad(lambda y: (labels.smooth(y, 0.3, where=jnp.zeros((4, 4), bool)) ** 2).sum())(soft)
    assert bool(jnp.isfinite(gradient).all())


def test_a_missing_label_has_no_mass_to_spread():
    rows = labels.smooth(jnp.array([-1, 1]), 0.4, num_classes=2)
    np.testing.assert_allclose(rows, [[0, 0], [0.2, 0.8]], atol=1e-6)


def test_smoothing_as_a_stage_with_a_traced_share(key):
    stage = nj.keyless(labels.smooth, alpha=0.2, num_classes=3)
    _, y = nj.chain(nj.on_entries((None, stage)), nj.bind(nj.mixup, alpha=0.0))(
        key, (jnp.ones((4, 2)), jnp.arange(4) % 3)
    )
    np.testing.assert_allclose(y, labels.smooth(jnp.arange(4) % 3, 0.2, num_classes=3), atol=1e-7)
    traces = []

    @jax.jit
    def step(stage, y):
        traces.append(stage)
        return stage(key, y)

    for alpha in (0.0, 0.1, 0.2):
        step(nj.keyless(labels.smooth, alpha=alpha, num_classes=3), jnp.arange(3))
    assert len(traces) == 1


# --- bad input

Y = np.arange(8) % 4


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda key: labels.flip(key, Y, -0.1, num_classes=4), ValueError, "rate must be in"),
        (lambda key: labels.flip(key, Y, 1.2, num_classes=4), ValueError, "rate must be in"),
        (lambda key: labels.flip(key, Y, 0.1), TypeError, "option 'num_classes' is missing"),
        (lambda key: labels.flip(key, Y, 0.1, num_classes=1), ValueError, "num_classes.*at least 2"),
        (lambda key: labels.flip(key, Y, 0.1, num_classes=3), ValueError, r"\[0, 3\), got 3"),
        (lambda key: labels.flip_pairs(key, Y - 1, 0.1, num_classes=4), ValueError, "got -1.*where"),
        (lambda key: labels.flip(key, Y.astype(np.float32), 0.1, num_classes=4), TypeError, "integer labels"),
        (lambda key: labels.flip(key, Y.astype(np.uint8), 0.1, num_classes=300), ValueError, "uint8"),
        (lambda key: labels.flip(0, Y, 0.1, num_classes=4), TypeError, "key must be a JAX key"),
        (lambda key: labels.flip(key, [0, 1], 0.1, num_classes=4), TypeError, "x must be"),
        (lambda key: labels.flip(key, Y, np.ones(3), num_classes=4), ValueError, "rate of shape"),
        (lambda key: labels.flip_by(key, Y, T.T), ValueError, r"P\(noisy j \| clean i\).*transpose.*cleanlab"),
        (lambda key: nj.bind(labels.flip_by, transition=T.T), ValueError, "every row sums to 1"),
        (lambda key: labels.flip_by(key, Y, T[:, :3]), ValueError, "square"),
        (lambda key: labels.flip_by(key, Y, 2 * np.eye(4) - 1 / 4), ValueError, "smallest entry is -0.25"),
        (lambda key: labels.flip_by(key, Y, T[:3, :3] / T[:3, :3].sum(1, keepdims=True)), ValueError, r"\[0, 3\)"),
        (lambda key: labels.flip_by(key, Y, np.stack([T] * 3)), ValueError, "transition"),
        (lambda key: labels.missing(key, Y.astype(np.uint8), 0.1), ValueError, "value must be one that uint8"),
        (lambda key: labels.missing(key, Y == 0, 0.1), ValueError, "value must be one that bool"),
        (lambda key: labels.missing(key, Y, 0.1, value=0.5), ValueError, "value"),
        (lambda key: labels.missing(key, Y, 0.1, mode="row"), ValueError, "mode must be one of"),
        (lambda key: labels.smooth(Y, 0.1), ValueError, "num_classes must be given"),
        (lambda key: labels.smooth(Y, 0.1, num_classes=3), ValueError, r"\[0, 3\), got 3"),
        (lambda key: labels.smooth(Y, 1.1, num_classes=4), ValueError, "alpha must be in"),
        (lambda key: labels.smooth(np.ones((2, 3), np.float32), 0.1, num_classes=4), ValueError, "num_classes=4"),
        (lambda key: labels.smooth([0, 1], 0.1, num_classes=4), TypeError, "labels must be an array"),
        (lambda key: labels.smooth(Y == 0, 0.1, num_classes=4), TypeError, "labels must be integers"),
        (lambda key: nj.hits(NOISES["flip_by"])(key, jnp.asarray(Y)), TypeError, "changed"),
    ],
)
def test_bad_input_is_refused(call, error, match, key):
    with pytest.raises(error, match=match):
        call(key)


def test_numpy_labels_that_are_marked_missing_are_welcome(key):
    y = np.array([0, -1, 3, 2])
    assert labels.flip(key, y, 1.0, num_classes=4, where=y >= 0).tolist()[1] == -1


class TestSmoothTargets:
    @pytest.mark.parametrize("ignore", [-100, -1, 255])
    @pytest.mark.parametrize("dtype", [np.int32, np.uint8])
    def test_ignored_labels_are_rows_of_zeros_on_host_and_device(self, ignore, dtype):
        if ignore < 0 and dtype == np.uint8:
            ignore = 7  # a uint8 array cannot hold a negative label
        labels = np.array([1, ignore, 2], dtype)
        right = [[0.1, 0.8, 0.1], [0.0, 0.0, 0.0], [0.1, 0.1, 0.8]]
        for given in (labels, jnp.asarray(labels)):
            assert np.allclose(nj.labels.smooth(given, 0.3, num_classes=3, ignore=ignore), right)

    def test_an_ignored_label_may_be_a_class_or_one_that_the_dtype_cannot_hold(self):
        rows = nj.labels.smooth(np.array([0, 1], np.uint8), 0.0, num_classes=2, ignore=0)
        assert rows.tolist() == [[0, 0], [0, 1]]
        rows = nj.labels.smooth(jnp.array([0, 1], jnp.uint8), 0.0, num_classes=2, ignore=-100)
        assert rows.tolist() == [[1, 0], [0, 1]]

    @pytest.mark.parametrize(
        ("labels", "right"),
        [
            (np.array([0.0, 0, 0, 1], np.float32), [0.1, 0.1, 0.1, 0.9]),
            (np.array([[0.0], [1.0]], np.float16), [[0.1], [0.9]]),
            (np.array([[True, False]]), [[0.9, 0.1]]),
            (np.array([[1, 0], [0, 1]], np.int8), [[0.9, 0.1], [0.1, 0.9]]),
            (np.float32(0.5), 0.5),
        ],
    )
    def test_binary_targets(self, labels, right):
        for given in (labels, jnp.asarray(labels)):
            smoothed = nj.labels.smooth(given, 0.2, binary=True)
            assert np.allclose(smoothed, right, atol=1e-3)
            assert smoothed.dtype == (labels.dtype if labels.dtype.kind == "f" else np.float32)

    def test_one_alpha_per_binary_target(self):
        smoothed = nj.labels.smooth(jnp.ones((3, 2)), np.array([0.0, 1.0]), binary=True)
        assert np.allclose(smoothed, [[1, 0.5]] * 3)

    def test_one_row_with_its_number_of_classes(self):
        assert np.allclose(nj.labels.smooth(jnp.array([0.0, 0, 0, 1]), 0.2, num_classes=4), [0.05, 0.05, 0.05, 0.85])

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda: nj.labels.smooth(np.array([1, -100]), 0.1, num_classes=3), "got -100 among.*ignore=-100"),
            (lambda: nj.labels.smooth(np.array([1, 3, -1]), 0.1, num_classes=3, ignore=-1), "got 3 among"),
            (lambda: nj.labels.smooth(jnp.array([0.0, 1]), 0.1), r"got float32\[2\].*binary=True"),
            (lambda: nj.labels.smooth(jnp.ones((3, 1)), 0.1), "at least 2 classes"),
            (lambda: nj.labels.smooth(jnp.ones((3, 1)), 0.1, num_classes=1), "at least 2 classes"),
            (lambda: nj.labels.smooth(np.array([0, 1]), 0.1, num_classes=1), "at least 2.*binary=True"),
            (lambda: nj.labels.smooth(np.array([-1, 1]), 0.1, binary=True), r"in \[0, 1\], got -1"),
            (lambda: nj.labels.smooth(np.array([np.nan, 1]), 0.1, binary=True), r"in \[0, 1\], got nan"),
            (lambda: nj.labels.smooth(np.array([0, 1]), 0.1, binary=True, num_classes=2), "num_classes is for rows"),
            (lambda: nj.labels.smooth(jnp.eye(2), 0.1, ignore=-1), "ignore must be an integer among"),
            (lambda: nj.labels.smooth(jnp.array([1, -1]), 0.1, num_classes=2, where=jnp.ones(2) > 0), "ambiguous"),
            (lambda: nj.mixup(KEY, (np.eye(2), np.array([-1, 1])), 1.0, num_classes=2), "jax.nn.one_hot"),
        ],
    )
    def test_others_are_refused(self, call, words):
        with pytest.raises(ValueError, match=words):
            call()

    @pytest.mark.parametrize(
        ("name", "call"),
        [
            ("flip", lambda x: nj.labels.flip(KEY, x, 0.5, num_classes=2)),
            ("flip_pairs", lambda x: nj.labels.flip_pairs(KEY, x, 0.5, num_classes=2)),
            ("flip_by", lambda x: nj.labels.flip_by(KEY, x, np.eye(2))),
        ],
    )
    def test_errors_are_headed_by_the_function(self, name, call):
        for x in (np.array([0, 9]), jnp.array([0.5, 1]), np.array([0.5, 1])):
            with pytest.raises((ValueError, TypeError), match=f"^{name}: x must hold"):
                call(x)


def test_what_is_no_binary_target():
    for wrong in (np.ones(3, np.complex64), jax.random.split(jax.random.key(0), 3), np.array([0.0, 2.0])):
        with pytest.raises((TypeError, ValueError), match=r"smooth: labels must .* with binary=True"):
            nj.labels.smooth(wrong, 0.1, binary=True)
