"""swap: where cells come from, how often they are hit, groups, padding and parts of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noises.test_mixing import P_VALUE


def table(n=9, features=5):
    return jnp.arange(n * features, dtype=jnp.int32).reshape(n, features)  # every cell tells its place


def test_swapped_cells_come_from_another_row_of_their_column(key):
    x = table()
    y = nj.swap(key, x, 0.5)
    np.testing.assert_array_equal(y % 5, x % 5)
    np.testing.assert_array_equal(y != x, nj.hits(nj.bind(nj.swap, rate=0.5))(key, x))
    assert bool((nj.swap(key, x, 1.0) != x).all())


def test_donors_and_hits_have_their_rates(key):
    x = table()
    y = np.asarray(jax.vmap(lambda k: nj.swap(k, x, 0.3))(jax.random.split(key, 4000)))
    hit = y != np.asarray(x)
    assert stats.binomtest(int(hit.sum()), hit.size, 0.3).pvalue > P_VALUE
    for row in (0, 8):
        donors = (y[:, row] // 5)[hit[:, row]]
        counts = np.bincount(donors, minlength=9)
        assert counts[row] == 0
        assert stats.chisquare(np.delete(counts, row)).pvalue > P_VALUE
    independent = (y[:, 0, :2] // 5)[hit[:, 0, :2].all(1)]  # two cells of a row choose by themselves
    assert abs((independent[:, 0] == independent[:, 1]).mean() - 1 / 8) < 4.5 * np.sqrt(7 / 64 / len(independent))


def test_groups_are_swapped_as_one(key):
    category = jax.nn.one_hot(jnp.arange(30) % 3, 3)
    x = jnp.concatenate([jnp.arange(30.0)[:, None], category], 1)
    y = nj.swap(key, x, 0.6, groups=(0, 1, 1, 1))
    np.testing.assert_array_equal(y[:, 1:].sum(1), 1)
    hit = nj.hits(nj.bind(nj.swap, rate=0.6, groups=(0, 1, 1, 1)))(key, x)
    assert bool((hit[:, 1:] == hit[:, 1:2]).all()) and bool((hit[:, 0] != hit[:, 1]).any())


def test_padding_is_neither_given_nor_taken(key):
    x, where = table(12), np.random.default_rng(0).random((12, 5)) < 0.6
    y = nj.swap(key, x, 1.0, where=where)
    valid = set(np.asarray(x)[where].tolist())
    assert set(np.asarray(y)[where].tolist()) <= valid
    np.testing.assert_array_equal(np.asarray(y)[~where], np.asarray(x)[~where])
    assert bool((np.asarray(y) != np.asarray(x))[where].any())


def test_swap_within_parts_and_alone(key):
    x = table(12)
    y = nj.swap(key, x, 1.0, shards=3)
    np.testing.assert_array_equal(y // 20, x // 20)  # four rows of five cells to a part
    assert bool((y != x).all())
    alone = nj.bind(nj.swap, rate=1.0)
    np.testing.assert_array_equal(alone(key, x[:1]), x[:1])
    assert not bool(nj.hits(alone)(key, x[:1]).any())
    deep = jnp.arange(4 * 3 * 2).reshape(4, 3, 2)
    np.testing.assert_array_equal(nj.swap(key, deep, 1.0) % 6, deep % 6)


@pytest.mark.parametrize(
    ("rate", "options", "match"),
    [
        (-0.1, {}, "rate"),
        (1.2, {}, "rate"),
        (0.5, {"groups": (0, 1)}, "groups"),
        (0.5, {"shards": 5}, "shards"),
    ],
)
def test_bad_swaps_are_refused(rate, options, match, key):
    with pytest.raises(ValueError, match=match):
        nj.swap(key, np.ones((6, 8, 8, 3), np.float32), rate, **options)
    with pytest.raises(ValueError, match="leading axis"):
        nj.swap(key, jnp.float32(1), 0.5)
