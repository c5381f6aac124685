"""The faults of cells, rows and distributions: their values, and that hits are the cells that change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from tabular.tables import COLUMNS, TABLE

SMALL = nj.tabular.fit(np.random.default_rng(0).normal(0, 2, (200, 4)).round(1).astype(np.float32))
FAULTS = {
    "missing": nj.bind(nj.tabular.missing, rate=0.4),
    "missing, exact": nj.bind(nj.tabular.missing, rate=0.4, exact=True),
    "missing, fill": nj.bind(nj.tabular.missing, rate=0.4, fill=0.0),
    "missing, together": nj.bind(nj.tabular.missing, rate=0.4, together=(0, 0, 1, 1)),
    "missing, at random": nj.bind(nj.tabular.missing, rate=0.4, mechanism=nj.tabular.at_random(SMALL, 1, 2.0)),
    "missing, block": nj.bind(nj.tabular.missing, rate=0.4, mechanism=nj.tabular.block(SMALL)),
    "missing, bursty": nj.bind(nj.tabular.missing, rate=0.4, mechanism=nj.tabular.bursty(2.0)),
    "outlier": nj.bind(nj.tabular.outlier, rate=0.4, columns=SMALL),
    "outlier, z": nj.bind(nj.tabular.outlier, rate=0.4, columns=SMALL, coefficient=3.0, kind="z", exact=True),
    "add_delta": nj.bind(nj.tabular.add_delta, rate=0.4, delta=np.float32([0.5, 0, -1, 1e-9])),
    "add_delta, exact": nj.bind(nj.tabular.add_delta, rate=0.4, delta=1.0, exact=True),
    "wrong_unit": nj.bind(nj.tabular.wrong_unit, rate=0.4),
    "rounding": nj.bind(nj.tabular.rounding, rate=0.4),
    "rounding, significant": nj.bind(nj.tabular.rounding, rate=0.4, significant=1, exact=True),
    "sign": nj.bind(nj.tabular.sign, rate=0.4),
    "digit, transpose": nj.bind(nj.tabular.digit, rate=0.4, decimals=1),
    "digit, drop": nj.bind(nj.tabular.digit, rate=0.4, kind="drop", decimals=1, exact=True),
    "digit, repeat": nj.bind(nj.tabular.digit, rate=0.4, kind="repeat"),
    "digit, replace": nj.bind(nj.tabular.digit, rate=0.4, kind="replace", decimals=1),
    "category": nj.bind(nj.tabular.category, rate=0.4, num_classes=3),
    "category, transition": nj.bind(
        nj.tabular.category, rate=0.4, transition=np.float32([[0, 1, 0], [0, 0, 0], [1, 2, 5]]), num_classes=3
    ),
    "swap_columns": nj.bind(nj.tabular.swap_columns, rate=0.4, pairs=((0, 3), (1, 2))),
    "swap_columns, exact": nj.bind(nj.tabular.swap_columns, rate=0.4, pairs=((0, 3),), exact=True),
    "permute_rows": nj.bind(nj.tabular.permute_rows, rate=0.6),
    "permute_rows, keep": nj.bind(nj.tabular.permute_rows, rate=0.6, keep=1, windows=2, exact=True),
    "duplicate": nj.bind(nj.tabular.duplicate, rate=0.4),
    "duplicate, near": nj.bind(nj.tabular.duplicate, rate=0.4, std=0.1, exact=True),
    "drift": nj.bind(nj.tabular.drift, shift=1.0, position=3.0, width=2.0, kind="gradual"),
}
FEW = ("missing", "missing, exact", "outlier", "digit, drop", "category", "swap_columns", "permute_rows, keep")
every_fault = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FEW)) for name in FAULTS]
)


def generated(count, rows, seed):
    """Tables with holes, ties, constants, codes, zeros of both signs, large and tiny values."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, (count, rows, 4)).round(1)
    kind = rng.integers(6, size=(count, 1, 4))
    x = np.where(kind == 0, 2.5, x)
    x = np.where(kind == 1, rng.integers(4, size=x.shape), x)
    x = np.where(kind == 2, rng.choice([0.0, -0.0, 1e-30, 1e30, -123456, 9876.5], x.shape), x)
    x = np.where(kind == 3, rng.choice([0.0, 1.0], x.shape), x)
    x[rng.random(x.shape) < rng.choice([0, 0.1, 0.9], (count, 1, 1))] = np.nan
    return x.astype(np.float32)


@functools.partial(jax.jit, static_argnames="name")
def faulty(keys, tables, name):
    noise = FAULTS[name]
    return jax.vmap(lambda key, x: (noise(key, x), nj.hits(noise)(key, x)))(keys, tables)


@pytest.mark.slow
@every_fault
def test_hits_are_the_cells_that_change_and_holes_stay(name):
    """10,000 generated tables of six rows, of one row and of none."""
    for rows, count in ((6, 9000), (1, 1000), (0, 2)):
        tables = generated(count, rows, seed=rows)
        keys = jax.random.split(jax.random.key(rows), count)
        y, hit = map(np.asarray, faulty(keys, tables, name))
        assert y.shape == tables.shape
        np.testing.assert_array_equal(hit, np.asarray(nj.changed(tables, y)))
        assert not (hit & np.isnan(tables)).any() or "permute" in name or "duplicate" in name
        if rows == 6:
            assert hit.any() and not hit.all()


def all_hit(function, x, **arguments):
    return np.asarray(nj.bind(function, rate=1.0, **arguments)(jax.random.key(1), jnp.asarray(x)))


@pytest.mark.parametrize("coefficient", [1.0, 2.5])
def test_outliers_lie_where_tab_err_puts_them(coefficient):
    """Without its normal part: x + c (Q3 + 1.5 IQR - mean) above the mean, x - c (mean - Q1 + 1.5 IQR) below it."""
    x = TABLE[:, [0, 1, 5]].astype(np.float64)
    columns = nj.tabular.fit(x)
    y = all_hit(nj.tabular.outlier, x.astype(np.float32), columns=columns, coefficient=coefficient, noise=0.0)
    q1, q3 = np.quantile(x, [0.25, 0.75], axis=0)
    mean = x.mean(0)
    up, down = q3 + 1.5 * (q3 - q1) - mean, mean - q1 + 1.5 * (q3 - q1)
    expected = np.where(x > mean, x + coefficient * up, x - coefficient * down)
    far = abs(x - mean) > 1e-3
    np.testing.assert_allclose(y[far], expected[far], rtol=1e-5, atol=1e-5)


def test_the_noise_of_outliers_is_a_tenth_of_the_interquartile_range():
    x = np.full((20_000, 1), 7.0, np.float32)
    columns = nj.tabular.fit(np.float32([[0], [1], [2], [3], [4]]))
    y = all_hit(nj.tabular.outlier, x, columns=columns)[:, 0]
    assert stats.kstest((y - y.mean()) / 0.2, "norm").pvalue > 1e-4


def test_z_outliers_are_that_many_deviations_away():
    y = all_hit(
        nj.tabular.outlier, TABLE[:, :1], columns=nj.tabular.fit(TABLE[:, :1]), coefficient=4.0, noise=0.0, kind="z"
    )
    columns = nj.tabular.fit(TABLE[:, :1])
    away = (y[:, 0] - columns.mean[0]) / columns.std[0]
    np.testing.assert_allclose(np.abs(away), 4, rtol=1e-5)
    assert abs((away > 0).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(y))


def test_equal_to_the_mean_moves_either_way():
    columns = nj.tabular.fit(np.float32([[-1], [0], [1]]))
    y = all_hit(nj.tabular.outlier, np.zeros((2000, 1), np.float32), columns=columns, noise=0.0)
    assert abs((y > 0).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(2000)


def test_units_there_and_back():
    for (a, b), (scale, offset) in nj.tabular.UNITS.items():
        back_scale, back_offset = nj.tabular.UNITS[b, a]
        np.testing.assert_allclose([scale * back_scale, scale * back_offset + offset], [1, 0], atol=1e-12)
    x = np.float32([[1.0, 180.0]])
    np.testing.assert_allclose(
        all_hit(nj.tabular.wrong_unit, x, scale=np.float32([1.8, 1 / 2.54]), offset=np.float32([32, 0])),
        [[33.8, 70.866]],
        rtol=1e-5,
    )


@pytest.mark.parametrize("decimals", [-2, -1, 0, 1, 3])
def test_rounding_is_numpys(decimals):
    x = np.random.default_rng(0).normal(0, 300, 2000).astype(np.float32)
    expected = np.round(x.astype(np.float64), decimals)
    y = all_hit(nj.tabular.rounding, x, decimals=decimals)
    # The product with the power of ten is rounded too, so a value next to a tie may go either way.
    tie = np.abs(np.abs(x * 10.0**decimals) % 1 - 0.5) < 2.0**-24 * np.abs(x * 10.0**decimals)
    np.testing.assert_allclose(y[~tie], expected[~tie], rtol=2e-7, atol=1e-30)
    assert tie.mean() < 0.05
    assert all_hit(nj.tabular.rounding, np.float32([0.5, 1.5, 2.5])).tolist() == [0, 2, 2]


@pytest.mark.parametrize("digits", [1, 2, 3, 5])
def test_significant_digits_are_those_of_printf(digits):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=2000) * 10.0 ** rng.integers(-6, 7, 2000)).astype(np.float32)
    x = np.concatenate([x, np.float32([0, 1, 10, 99, 999.5, 0.001, -1000])])
    expected = np.array([float(f"{v:.{digits - 1}e}") for v in x.astype(np.float64)])
    y = all_hit(nj.tabular.rounding, x, significant=digits)
    # A value that lies next to a tie in float32 may go either way.
    tie = np.abs(np.abs(x / 10.0 ** (np.floor(np.log10(np.abs(x) + 1e-38)) - digits + 1)) % 1 - 0.5) < 1e-3
    np.testing.assert_allclose(y[~tie], expected[~tie], rtol=3e-7)


def mistyped(number, kind):
    """All numbers that one mistyped digit makes of a nonnegative integer, in the words of strings."""
    text, found = str(number), []
    adjacent = ["12", "024", "0135", "26", "157", "2468", "359", "48", "579", "68"]
    for i in range(len(text)):
        if kind == "transpose" and i + 1 < len(text):
            found.append(text[:i] + text[i + 1] + text[i] + text[i + 2 :])
        elif kind == "drop" and len(text) > 1:
            found.append(text[:i] + text[i + 1 :])
        elif kind == "repeat" and len(text) < 9:
            found.append(text[: i + 1] + text[i:])
        elif kind == "replace":
            found += [text[:i] + other + text[i + 1 :] for other in adjacent[int(text[i])]]
    return {int(t) for t in found} - {number}


@pytest.mark.parametrize("kind", ["transpose", "drop", "repeat", "replace"])
def test_digits_are_mistyped_as_strings_are(kind):
    numbers = np.unique(np.concatenate([np.arange(0, 130), np.random.default_rng(0).integers(10**9, size=200)]))
    numbers = np.append(numbers, [999_999_999, 100_000_000, 11_111_111])
    keys = jax.random.split(jax.random.key(0), 300)
    fault = nj.bind(nj.tabular.digit, rate=1.0, kind=kind)
    y = np.asarray(jax.vmap(lambda key: fault(key, jnp.asarray(numbers, jnp.int32)))(keys))
    for number, made in zip(numbers.tolist(), y.T, strict=True):
        allowed = mistyped(number, kind) or {number}
        assert set(made.tolist()) <= allowed, number
        assert len(set(made.tolist())) > 0.7 * min(len(allowed), 10)


@pytest.mark.slow
def test_digits_of_floats_negative_numbers_and_others(key):
    assert all_hit(nj.tabular.digit, np.int32([-12, -(2**31), 2**31 - 1])).tolist() == [-21, -(2**31), 2**31 - 1]
    np.testing.assert_allclose(
        all_hit(nj.tabular.digit, np.float32([1.2, np.nan, np.inf, 3e30]), decimals=1),
        [2.1, np.nan, np.inf, 3e30],
        rtol=1e-6,
    )
    assert all_hit(nj.tabular.digit, np.uint8([29, 92])).tolist() == [92, 29]
    assert all_hit(nj.tabular.digit, np.uint8([99, 28]), kind="repeat").tolist()[0] == 99  # 999 is no uint8
    for arguments, message in (
        ({"kind": "swap"}, "kind must be one of"),
        ({"decimals": 12}, "from 0 to 9"),
        ({"decimals": 1}, "for floats"),
    ):
        with pytest.raises(ValueError, match=message):
            nj.tabular.digit(key, np.int32([1]), 0.5, **arguments)


def test_new_categories_are_uniform_among_the_others():
    x = np.repeat(np.arange(5), 4000)
    y = all_hit(nj.tabular.category, x.astype(np.int32), num_classes=5)
    counts = np.array([np.bincount(y[x == c], minlength=5) for c in range(5)])
    assert (np.diag(counts) == 0).all()
    others = counts[~np.eye(5, dtype=bool)].reshape(5, 4)
    assert stats.chisquare(others, axis=1).pvalue.min() > 1e-4


def test_a_transition_is_followed_and_its_diagonal_ignored():
    transition = np.float32([[9, 1, 3, 0], [1, 0, 0, 1], [0, 0, 5, 0]])  # the code 3 is unknown; class 2 is never hit
    x = np.repeat(np.arange(3), 6000).astype(np.float32)
    y = all_hit(nj.tabular.category, x, transition=transition, num_classes=3)
    counts = np.array([np.bincount(y[x == c].astype(int), minlength=4) for c in range(3)])
    assert counts[2].tolist() == [0, 0, 6000, 0] and counts[0, 0] == counts[0, 3] == 0
    assert stats.chisquare(counts[0, 1:3], [1500, 4500]).pvalue > 1e-4
    assert stats.chisquare(counts[1, [0, 3]]).pvalue > 1e-4


def test_what_is_no_code_is_no_hit(key):
    x = np.float32([np.nan, -1, 0.5, 5, np.inf, 2])
    y = np.asarray(nj.tabular.category(key, x, 1.0, num_classes=5))
    np.testing.assert_array_equal(y[:5], x[:5])
    assert y[5] != 2
    mixed = np.asarray(nj.tabular.category(key, np.ones((9, 3), np.float32), 1.0, num_classes=(3, 0, 2)))
    assert (mixed[:, 0] != 1).all() and (mixed[:, 1] == 1).all() and (mixed[:, 2] == 0).all()
    assert nj.tabular.category(key, np.uint8([255]), 1.0, num_classes=256)[0] != 255


def test_frequencies_and_neighbours_make_transitions():
    schema = nj.tabular.Schema({"a": ("x", "y", "z")})
    columns = nj.tabular.fit(np.float32([[0]] * 5 + [[1]] * 3 + [[2]] * 2), schema)
    np.testing.assert_allclose(
        nj.tabular.by_frequency(columns, 0), [[0, 0.6, 0.4], [5 / 7, 0, 2 / 7], [5 / 8, 3 / 8, 0]], rtol=1e-6
    )
    names = ["Chicago", "Chicgo", "Boston", "Austin", "Bosotn"]
    near = np.asarray(nj.tabular.neighbours(names, 0.5, unknown=0.25))
    assert near.shape == (5, 6) and np.allclose(near.sum(1), 1) and np.allclose(near[:, 5], 0.25)
    assert near[:5].argmax(1).tolist()[:3] == [1, 0, 4]
    # From Boston, Bosotn is one transposition away, and Austin three substitutions.
    np.testing.assert_allclose(near[2, 3] / near[2, 4], np.exp(-(3 - 1) / 0.5), rtol=1e-4)


def test_one_hot_is_scikit_learns(key):
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    schema = nj.tabular.Schema({"n": "number", "c": 4, "i": "integer", "f": "flag"})
    rng = np.random.default_rng(0)
    x = np.stack(
        [rng.normal(size=50), rng.integers(4, size=50), rng.integers(90, size=50), rng.integers(2, size=50)], 1
    )
    x = x.astype(np.float32)
    columns = nj.tabular.fit(x, schema)
    features = np.asarray(jax.jit(lambda x: nj.tabular.one_hot(x, schema, columns))(x))
    scaled = StandardScaler().fit_transform(x[:, [0, 2]])
    encoded = OneHotEncoder(sparse_output=False).fit_transform(x[:, [1, 3]])
    expected = np.concatenate([scaled[:, :1], encoded[:, :4], scaled[:, 1:], encoded[:, 4:]], 1)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    assert features.shape[1] == len(schema.groups)
    x[0] = np.nan
    holes = np.asarray(nj.tabular.one_hot(x, schema, columns, indicators=True))
    assert holes[0].tolist() == [0.0] * 8 + [1.0] * 4 and (holes[1:, 8:] == 0).all()
    with pytest.raises(ValueError, match="schema has 4 columns"):
        nj.tabular.one_hot(x[:, :2], schema)


def test_large_integers_are_exact(key):
    x = np.int32([[2**24 + 1], [2**31 - 1], [-(2**31)]])
    assert nj.tabular.add_delta(key, x, 1.0, 2)[:, 0].tolist() == [2**24 + 3, 2**31 - 1, -(2**31) + 2]
    assert nj.tabular.sign(key, x, 1.0)[:, 0].tolist() == [-(2**24) - 1, -(2**31) + 1, -(2**31)]
    with jax.enable_x64(True):
        wide = np.int64([[2**53 + 1]])
        assert nj.tabular.add_delta(key, wide, 1.0, 2)[0, 0] == 2**53 + 3
        assert nj.tabular.missing(key, wide, 1.0, fill=-1)[0, 0] == -1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: nj.tabular.missing(key, np.ones((3, 2), int), 0.5), "fill must be a value that x of int"),
        (lambda key: nj.tabular.rounding(key, TABLE, 0.5, decimals=0.5), "decimals must be an integer"),
        (lambda key: nj.tabular.rounding(key, TABLE, 0.5, significant=0), "significant must be an integer from 1 to 9"),
        (lambda key: nj.tabular.sign(key, np.uint8([1]), 0.5), "must have signs"),
        (lambda key: nj.tabular.category(key, TABLE, 0.5, num_classes=1), "at least 2"),
        (lambda key: nj.tabular.category(key, TABLE, 0.5, num_classes=(2, 2)), "one integer for each column"),
        (lambda key: nj.tabular.category(key, np.uint8([1]), 0.5, num_classes=300), "cannot hold the 300"),
        (lambda key: nj.tabular.category(key, TABLE, 0.5, np.ones((2, 5)), num_classes=2), r"shape \(K, K\), or"),
        (lambda key: nj.tabular.category(key, TABLE, 0.5, -np.ones((2, 2)), num_classes=2), "at least 0"),
        (lambda key: nj.tabular.category(key, TABLE, 0.5, np.ones((2, 2)), num_classes=3), "one row for each of 3"),
        (lambda key: nj.tabular.swap_columns(key, TABLE, 0.5, pairs=((0, 1), (1, 2))), "in one of the pairs only"),
        (lambda key: nj.tabular.swap_columns(key, TABLE, 0.5, pairs=((0, 9),)), "must name columns"),
        (lambda key: nj.tabular.swap_columns(key, TABLE, 0.5, pairs=()), "must be pairs of columns"),
        (lambda key: nj.tabular.swap_columns(key, TABLE, np.full(7, 0.5), pairs=((0, 1),)), "rate is that of rows"),
        (
            lambda key: nj.tabular.swap_columns(key, TABLE, 0.5, nj.tabular.not_at_random(COLUMNS), pairs=((0, 1),)),
            "one probability per row",
        ),
        (lambda key: nj.tabular.permute_rows(key, TABLE[0], 0.5), "must have an axis of rows"),
        (lambda key: nj.tabular.permute_rows(key, TABLE, 0.5, keep=8), "keep must be a column"),
        (lambda key: nj.tabular.permute_rows(key, TABLE, 0.5, windows=0), "at least 1"),
        (lambda key: nj.tabular.duplicate(key, TABLE, np.full(7, 0.5)), "rate is that of rows"),
        (lambda key: nj.tabular.drift(key, TABLE, 1.0, 3, kind="recurring"), "period belongs to"),
        (lambda key: nj.tabular.drift(key, TABLE, 1.0, 3, kind="slow"), "kind must be one of"),
        (lambda key: nj.tabular.neighbours(["a"]), "at least two names"),
        (lambda key: nj.tabular.neighbours(["a", "b"], 0.0), "temperature must be above 0"),
        (lambda key: nj.tabular.by_frequency(COLUMNS, 0), "has no classes"),
    ],
)
def test_mistakes_are_named(call, message, key):
    with pytest.raises((TypeError, ValueError, IndexError), match=message):
        call(key)
