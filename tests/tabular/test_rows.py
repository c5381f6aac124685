"""Faults of whole rows and of distributions: what is swapped, permuted, duplicated, reweighted, and what drifts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from tabular.tables import TABLE


def test_swapped_columns_exchange_whole_pairs(key):
    x = np.arange(4000, dtype=np.float32).reshape(1000, 4)
    x[:100, 0] = np.nan
    x[100:200, 3] = x[100:200, 0]
    y = np.asarray(nj.tabular.swap_columns(key, x, 0.5, pairs=((0, 3),), exact=True))
    swapped = np.asarray(nj.changed(x, y))
    np.testing.assert_array_equal(swapped[:, 0], swapped[:, 3])
    rows = swapped[:, 0]
    assert rows.sum() == 400 and not rows[:200].any() and not swapped[:, 1:3].any()
    np.testing.assert_array_equal(y[rows][:, [0, 3]], x[rows][:, [3, 0]])
    old = nj.tabular.at_random(nj.tabular.fit(x[200:]), 1, shape="upper")
    late = np.asarray(nj.changed(x, nj.tabular.swap_columns(key, x, 0.2, old, pairs=((0, 3),))))[:, 0]
    assert np.flatnonzero(late).min() >= 800 and late.sum() >= 150


@pytest.mark.slow
def test_permuted_columns_keep_their_values_and_lose_their_correlation(key):
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], size=2000).astype(np.float32)
    x[rng.random(2000) < 0.1, 1] = np.nan
    fault = nj.bind(nj.tabular.permute_rows, rate=1.0)
    y = np.asarray(fault(key, x))
    np.testing.assert_array_equal(np.sort(y, 0), np.sort(x, 0))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    seen = ~np.isnan(x[:, 1])
    assert (y[seen] != x[seen]).all() and abs(np.corrcoef(y[seen].T)[0, 1]) < 0.1
    kept = np.asarray(nj.tabular.permute_rows(key, x, 1.0, keep=0))
    np.testing.assert_array_equal(kept[:, 0], x[:, 0])
    np.testing.assert_array_equal(np.sort(kept[:, 1]), np.sort(x[:, 1]))
    assert np.corrcoef(kept[seen].T)[0, 1] > 0.85 and (kept[seen, 1] != x[seen, 1]).mean() > 0.99
    half = np.asarray(nj.changed(x, nj.tabular.permute_rows(key, x, 0.5, exact=True)))
    assert half[:, 0].sum() == 1000 and half[:, 1].sum() == round(seen.sum() / 2)


def test_permutations_are_uniform_cycles():
    """Each of the 6 cyclic permutations of 4 rows, equally often."""
    keys = jax.random.split(jax.random.key(5), 6000)
    x = jnp.arange(4.0)[:, None]
    found = np.asarray(jax.vmap(lambda key: nj.tabular.permute_rows(key, x, 1.0)[:, 0])(keys)).astype(int)
    codes, counts = np.unique(found @ [64, 16, 4, 1], return_counts=True)
    assert len(codes) == 6 and stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.slow
def test_duplicates_are_copies_of_other_rows(key):
    x = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    y = np.asarray(nj.tabular.duplicate(key, x, 0.3, exact=True))
    hit = (y != x).any(1)
    assert hit.sum() == 300 and ((y != x)[hit]).all()
    assert (np.diff(y, axis=1) == 1).all()  # whole rows
    source = y[:, 0].astype(int) // 3
    assert (source[hit] != np.flatnonzero(hit)).all()
    near = np.asarray(nj.tabular.duplicate(key, x, 0.3, 0.1, exact=True))
    np.testing.assert_array_equal((near != x).any(1), hit)
    assert 0.05 < np.std((near - y)[hit]) < 0.15
    lengths = np.int32([4, 2])
    ragged = np.arange(12, dtype=np.float32).reshape(2, 6, 1) + 1
    copied = np.asarray(nj.tabular.duplicate(key, ragged, 1.0, lengths=lengths))
    assert set(copied[0, :4, 0]) <= {1.0, 2, 3, 4} and set(copied[1, :2, 0]) == {7.0, 8.0}
    np.testing.assert_array_equal(copied[1, 2:], ragged[1, 2:])


@pytest.mark.parametrize("kind", ["sudden", "gradual", "incremental", "recurring"])
def test_drift_follows_its_curve(kind, key):
    """The mean over the rows near a time is f(t), by the formula in NumPy's float64."""
    period = 2000.0 if kind == "recurring" else None
    y = np.asarray(nj.tabular.drift(key, np.zeros((8000, 4), np.float32), 1.0, 4000, 1000.0, kind=kind, period=period))
    t = np.arange(8000.0)
    late = t - 4000
    if kind == "recurring":
        late = 500 - np.abs((late + 500) % 2000 - 1000)
    f = (late >= 0).astype(float) if kind == "sudden" else 1 / (1 + np.exp(-4 * late / 1000))
    mean = y[:, 0].reshape(-1, 400).mean(1)
    expected = f.reshape(-1, 400).mean(1)
    tolerance = 1e-5 if kind in ("sudden", "incremental") else 4.5 * 0.5 / np.sqrt(400)
    np.testing.assert_allclose(mean, expected, atol=tolerance)
    assert (y[:, 0] == y[:, 3]).all()  # a row is old or new as a whole


def test_drift_of_a_part_of_a_table_is_that_of_the_whole(key):
    x = TABLE[:100, :1]
    fault = nj.bind(nj.tabular.drift, shift=1.0, position=50.0, width=30.0, kind="incremental")
    part = nj.bind(
        nj.tabular.drift,
        shift=1.0,
        position=50.0,
        width=30.0,
        time=np.arange(40, 100, dtype=np.float32)[:, None],
        kind="incremental",
    )
    np.testing.assert_allclose(part(key, x[40:]), fault(key, x)[40:], rtol=1e-6)


def test_imbalance_gives_the_shares(key):
    y = np.repeat([0, 1, 2], [700, 200, 100])
    x = np.arange(1000.0, dtype=np.float32)[:, None]
    x2, y2 = map(np.asarray, nj.tabular.imbalance(key, (x, y), np.float32([0.1, 0.2, 0.7])))
    assert stats.chisquare(np.bincount(y2), [100, 200, 700]).pvalue > 1e-4
    np.testing.assert_array_equal(y[x2[:, 0].astype(int)], y2)
    assert len(np.unique(x2[y2 == 2])) > 95
    _, absent = nj.tabular.imbalance(key, (x, np.zeros(1000, int)), np.float32([0.1, 0.2, 0.7]))
    assert (absent == 0).all()
    for shares, message in (
        ([0, 0, 0], "not all 0"),
        ([-1, 2, 0], "at least 0"),
        ("a", "must be a number or an array"),
        (np.ones((2, 3)), "must have shape"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            nj.tabular.imbalance(key, (x, y), shares)
    with pytest.raises(ValueError, match=r"labels in \[0, 2\), got 2"):
        nj.tabular.imbalance(key, (x, y), [0.5, 0.5])


def test_imbalance_is_a_noise_of_a_batch_for_combinators(key):
    batch = np.arange(200.0, dtype=np.float32)[:, None], np.arange(200) % 2
    noise = nj.bind(nj.tabular.imbalance, shares=[0.9, 0.1])
    for ours, direct in zip(noise(key, batch), nj.tabular.imbalance(key, batch, np.float32([0.9, 0.1])), strict=True):
        np.testing.assert_array_equal(ours, direct)
    assert eval(repr(noise), {"nj": nj, "np": np}) == noise == nj.from_dict(noise.to_dict())
    with pytest.raises(TypeError, match="reads the other examples"):
        nj.per_example(noise)
    first, second = (np.asarray(y[1]) for y in (nj.chain(noise)(key, batch), nj.chain(noise, noise)(key, batch)))
    assert first.mean() < 0.2 and (first != second).any()
