"""What a deployed table has that the training table has not: no false alarms, planted shifts, and their imitation."""

import jax
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax.tabular._learnt import inference

SCHEMA = nj.tabular.Schema(
    {"age": "integer", "height": "number", "hours": "number", "job": tuple("abcdef"), "smokes": "flag"}
)


def people(size, rng):
    """A skewed integer, a normal, one with ties and far values, a class with a rare value, a flag; some missing."""
    hours = np.where(rng.random(size) < 0.5, 40.0, rng.gamma(4, 10, size).round())
    columns = [
        18 + rng.gamma(2, 12, size).round(),
        rng.normal(170, 10, size),
        hours,
        rng.choice(6, size, p=(0.4, 0.3, 0.2, 0.07, 0.02, 0.01)).astype(float),
        (rng.random(size) < 0.2).astype(float),
    ]
    table = np.stack(columns, 1)
    table[rng.random(table.shape) < 0.03] = np.nan
    return table


@pytest.mark.slow
def test_two_halves_of_one_table_raise_false_alarms_at_the_stated_rate():
    table = people(4000, np.random.default_rng(0))
    alarms = 0
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(len(table))
        alarms += bool(nj.tabular.fit_shift(table[order[:2000]], table[order[2000:]], SCHEMA).findings())
    assert alarms <= stats.binom(200, 0.05).ppf(0.999)


def test_one_split_finds_nothing_and_changes_nothing():
    table = people(3000, np.random.default_rng(1))
    shift = nj.tabular.fit_shift(table[:1500], table[1500:], SCHEMA)
    assert str(shift) == "no differences found"
    x = table.astype(np.float32)
    np.testing.assert_array_equal(nj.tabular.errors(jax.random.key(0), x, shift, 2.0), x)


TRAIN = people(3000, np.random.default_rng(2))


def shifted(name):
    rng = np.random.default_rng(3)
    table = people(3000, np.random.default_rng(4))
    if name == "missing":
        table[rng.random(3000) < 0.2, 0] = np.nan
    elif name == "unit":
        table[:, 1] /= 2.54
    elif name == "drift":
        table[:, 1] += 4
    elif name == "scale":
        table[:, 1] = 170 + 1.5 * (table[:, 1] - 170)
    elif name == "outliers":
        table[rng.random(3000) < 0.05, 1] = 999
    elif name == "unseen":
        table[::10, 3] = 6
    elif name in ("classes", "classes and missing"):
        table[(rng.random(3000) < 0.5) & (table[:, 3] == 0), 3] = 4
    if name == "classes and missing":
        table[rng.random(3000) < 0.5, 3] = np.nan
    return table


PLANTED = [
    ("missing", "age", None, 0.2 * 0.97),
    ("unit", "height", None, 1 / 2.54),
    ("drift", "height", None, 4.0),
    ("scale", "height", None, 1.5),
    ("outliers", "height", None, 0.05),
    ("unseen", "job", "no class", 0.1 / (0.1 + 0.9 * 0.97)),
    ("classes", "job", "a", -0.2),
    ("classes", "job", "e", 0.2),
]


@pytest.mark.parametrize(("kind", "column", "value", "size"), PLANTED, ids=lambda v: str(v))
def test_a_planted_shift_is_found_at_its_size(kind, column, value, size):
    findings = nj.tabular.fit_shift(TRAIN, shifted(kind), SCHEMA).findings()
    own = [f for f in findings if (f.kind, f.column, f.value) == (kind, column, value)]
    assert len(own) == 1, findings
    assert {f.column for f in findings} == {column}
    # The interval is one of 95 %: a fixed seed may lie just outside.
    half = (own[0].high - own[0].low) / 2
    assert abs(own[0].change - size) < 1.5 * half


@pytest.mark.parametrize("kind", ["missing", "unit", "drift", "scale", "outliers", "classes", "classes and missing"])
def test_the_noise_makes_the_training_table_look_deployed(kind):
    deployed = shifted(kind)
    shift = nj.tabular.fit_shift(TRAIN, deployed, SCHEMA)
    noisy = np.asarray(nj.tabular.errors(jax.random.key(0), TRAIN.astype(np.float32), shift), np.float64)
    left = nj.tabular.fit_shift(noisy, deployed, SCHEMA, level=1e-3).findings()
    assert not left


def test_an_unseen_class_is_imitated():
    noisy = nj.tabular.errors(
        jax.random.key(0), TRAIN.astype(np.float32), nj.tabular.fit_shift(TRAIN, shifted("unseen"), SCHEMA)
    )
    share = np.nanmean(np.where(np.isnan(TRAIN[:, 3]), np.nan, np.asarray(noisy)[:, 3] == 6))
    assert abs(share - 0.1) < 4 * np.sqrt(2 * 0.1 / 3000)


def test_missing_cells_fall_together_as_in_the_deployed_table():
    deployed = people(2000, np.random.default_rng(6))
    lost = np.random.default_rng(7).random(2000) < 0.4
    deployed[lost, :2] = np.nan
    shift = nj.tabular.fit_shift(np.nan_to_num(TRAIN, nan=1.0), deployed, SCHEMA)
    noisy = np.isnan(np.asarray(nj.tabular.errors(jax.random.key(0), np.float32(np.nan_to_num(TRAIN, nan=1.0)), shift)))
    real = np.isnan(deployed)
    for pattern in ([True, True], [True, False], [False, True], [False, False]):
        ours, theirs = ((mask[:, :2] == pattern).all(1).mean() for mask in (noisy, real))
        assert abs(ours - theirs) < 4 * np.sqrt(max(theirs, 1e-3) * 2 / 2000)


def test_a_column_that_is_wholly_missing_breaks_nothing():
    for place in range(5):
        deployed = people(300, np.random.default_rng(8))
        deployed[:, place] = np.nan
        shift = nj.tabular.fit_shift(TRAIN, deployed, SCHEMA)
        assert [f.after for f in shift.findings() if f.column == SCHEMA.names[place]] == [1.0]
        noisy = np.asarray(nj.tabular.errors(jax.random.key(0), TRAIN.astype(np.float32), shift))
        assert np.isnan(noisy[:, place]).all()
        empty = TRAIN.copy()
        empty[:, place] = np.nan
        assert nj.tabular.fit_shift(empty, deployed, SCHEMA).findings() == []
        assert "missing values" in str(nj.tabular.fit_shift(empty, people(300, np.random.default_rng(8)), SCHEMA))


@pytest.mark.slow
def test_few_rows_and_constant_columns():
    schema = nj.tabular.Schema({"a": "number"})
    assert nj.tabular.fit_shift(np.zeros((1, 1)), np.zeros((1, 1)), schema).findings() == []
    assert nj.tabular.fit_shift(np.zeros((50, 1)), np.zeros((50, 1)), schema).findings() == []
    found = nj.tabular.fit_shift(np.zeros((50, 1)), np.ones((50, 1)), schema)
    assert [(f.kind, f.change) for f in found.findings()] == [("drift", 1.0)]
    np.testing.assert_array_equal(nj.tabular.errors(jax.random.key(0), np.zeros((5, 1), np.float32), found), 1)


def test_exact_shares_agree_with_scipy():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n, m = rng.integers(1, 60, 2)
        a, b = rng.integers(0, n + 1), rng.integers(0, m + 1)
        expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
        assert abs(inference.fisher(a, n, b, m) - expected) < 1e-9


def test_means_agree_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=4000), rng.normal(0.05, 2, 3000)
    found, expected = inference.means(a, b), stats.ttest_ind(b, a, equal_var=False)
    assert abs(found.p - expected.pvalue) < 1e-3
    np.testing.assert_allclose((found.low, found.high), expected.confidence_interval(), rtol=1e-3)


def test_spreads_have_uniform_p_values_where_nothing_differs():
    rng = np.random.default_rng(0)
    p = [inference.spreads(rng.gamma(2, size=500), 7 + rng.gamma(2, size=400)).p for _ in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_holm_rejects_in_order():
    np.testing.assert_array_equal(inference.holm(np.array([0.02, 0.001, 0.5, 0.016]), 0.05), [True, True, False, True])
    np.testing.assert_array_equal(inference.holm(np.array([0.03, 0.001, 0.5]), 0.05), [False, True, False])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "schema must be a Schema"),
        ({"train": np.full((3, 5), 7.0)}, "must hold the codes 0 to 5"),
        ({"deployed": np.zeros((3, 4))}, r"shape \(N, 5\)"),
        ({"level": 0.0}, "level must be a probability"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    given = {"train": TRAIN, "deployed": TRAIN, "schema": SCHEMA, "level": 0.05, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        nj.tabular.fit_shift(given["train"], given["deployed"], given["schema"], level=given["level"])
