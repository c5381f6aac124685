"""The fitted distributions, against NumPy on the same values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax.tabular._columns import level_of
from tabular.tables import COLUMNS, KINDS, TABLE


@pytest.mark.parametrize("column", range(len(KINDS)), ids=KINDS)
def test_moments_and_quartiles_are_those_of_the_observed_values(column):
    seen = TABLE[:, column].astype(np.float64)
    seen = seen[~np.isnan(seen)]
    np.testing.assert_allclose(COLUMNS.mean[column], seen.mean(), rtol=1e-12)
    np.testing.assert_allclose(COLUMNS.std[column], seen.std(), rtol=1e-12)
    np.testing.assert_allclose(COLUMNS.lower[column], np.quantile(seen, 0.25), rtol=1e-12)
    np.testing.assert_allclose(COLUMNS.upper[column], np.quantile(seen, 0.75), rtol=1e-12)
    np.testing.assert_allclose(COLUMNS.missing[column], 1 - len(seen) / len(TABLE))


@pytest.mark.parametrize("column", range(len(KINDS)), ids=KINDS)
def test_shares_at_the_knots_are_exact(column):
    seen = TABLE[:, column]
    seen = seen[~np.isnan(seen)]
    for knot, below, upto in zip(COLUMNS.knots[column], COLUMNS.below[column], COLUMNS.upto[column], strict=True):
        if below < 1:  # the rest of the row repeats the last knot
            np.testing.assert_allclose([below, upto], [np.mean(seen < knot), np.mean(seen <= knot)], atol=1e-12)


@pytest.mark.parametrize("column", [0, 1, 5, 6], ids=["normal", "lognormal", "zeros", "holes"])
def test_levels_are_quantiles(column):
    levels = np.linspace(0.001, 0.999, 301)
    fitted = jax.tree.map(lambda leaf: leaf[column], COLUMNS)
    value, below, upto = level_of(fitted, jnp.asarray(levels, jnp.float32))
    seen = TABLE[:, column]
    seen = np.sort(seen[~np.isnan(seen)])
    # The distribution function at the value brackets the level, up to the interpolation within a gap.
    low = np.searchsorted(seen, np.asarray(value), "left") / len(seen)
    high = np.searchsorted(seen, np.asarray(value), "right") / len(seen)
    assert np.all(low <= levels + 0.004) and np.all(high >= levels - 0.004)
    assert np.all(np.asarray(below) <= levels + 1e-6) and np.all(np.asarray(upto) >= levels - 1e-6)


def test_correlation_uses_the_rows_in_which_both_are_observed():
    rng = np.random.default_rng(0)
    table = rng.multivariate_normal([0, 5, -3], [[1, 0.6, 0], [0.6, 1, -0.4], [0, -0.4, 1]], size=500)
    table[rng.random(table.shape) < 0.2] = np.nan
    table = table.astype(np.float32)
    fitted = nj.tabular.fit(table).correlation
    for i in range(3):
        for j in range(3):
            both = ~np.isnan(table[:, i]) & ~np.isnan(table[:, j])
            expected = stats.pearsonr(table[both, i], table[both, j]).statistic if i != j else 1.0
            np.testing.assert_allclose(fitted[i, j], expected, atol=1e-6)


def test_frequencies_and_constants():
    schema = nj.tabular.Schema({"a": ("x", "y", "z"), "b": "number", "c": "flag"})
    table = np.array([[0, 7, 1], [2, 7, 0], [0, 7, np.nan], [np.nan, 7, 1]])
    columns = nj.tabular.fit(table, schema)
    np.testing.assert_allclose(columns.frequencies, [[2 / 3, 0, 1 / 3], [0, 0, 0], [1 / 3, 2 / 3, 0]])
    assert columns.std[1] == 0 and columns.correlation[1, 0] == 0


def test_where_leaves_values_out():
    table = np.array([[1.0], [2.0], [900.0]])
    assert nj.tabular.fit(table, where=np.array([[True], [True], [False]])).mean[0] == 1.5


def test_a_column_without_values_is_a_constant():
    columns = nj.tabular.fit(np.array([[np.nan, 1.0], [np.nan, 2.0]]))
    assert columns.missing.tolist() == [1.0, 0.0]
    y = nj.tabular.missing(jax.random.key(0), jnp.ones((4, 2)), 0.5, nj.tabular.block(columns))
    assert y.shape == (4, 2)


@pytest.mark.parametrize(
    ("table", "schema", "message"),
    [
        (np.zeros((0, 2)), None, r"must have shape \(N, C\) with at least one row"),
        (np.zeros(3), None, r"got \(3,\)"),
        (np.array([["a"]]), None, "must hold numbers"),
        (np.ones((2, 2), complex), None, "real numbers"),
        (np.array([[1.0, np.inf]]), None, "infinite in row 0 of column 1"),
        (np.zeros((2, 2)), nj.tabular.Schema({"a": "number"}), "schema has 1 columns and the table 2"),
        (np.array([[0.0], [5.0]]), nj.tabular.Schema({"a": ("x", "y")}), "codes 0 to 1, got 5 in row 1"),
        (np.array([[0.5]]), nj.tabular.Schema({"a": ("x", "y")}), "got 0.5 in row 0"),
        (np.array([[2**24 + 1]]), nj.tabular.Schema({"id": "integer"}), "column 'id' of kind 'integer' holds 16777217"),
        (np.zeros((2, 1)), "number", "schema must be a Schema"),
    ],
)
def test_bad_tables_are_refused(table, schema, message):
    with pytest.raises((TypeError, ValueError), match=message):
        nj.tabular.fit(table, schema)


def test_large_integers_are_fitted_where_x64_is_on():
    with jax.enable_x64(True):
        columns = nj.tabular.fit(np.array([[2**40], [2**40 + 2]]), nj.tabular.Schema({"id": "integer"}))
    assert columns.knots[0][:2].tolist() == [2**40, 2**40 + 2]


def test_columns_that_do_not_match_are_refused(key):
    with pytest.raises(ValueError, match="fitted to 7 columns"):
        nj.tabular.outlier(key, jnp.ones((3, 2)), 0.5, COLUMNS)
    with pytest.raises(TypeError, match="columns must be fitted"):
        nj.tabular.at_random(TABLE, 0)
