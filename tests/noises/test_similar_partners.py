"""C-Mixup: partners by the similarity of targets, against the kernel density of scikit-learn that the authors use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from scipy import stats

import noisejax as nj

ALPHA = 1e-4  # of a right sampler, per test and key; the keys are fixed
Y = np.array([0.0, 0.1, 0.4, 1.0, -0.7, 2.5, 0.1, 0.6], np.float32)


def partners(key, targets, bandwidth, shards=1):
    return nj.mixup_pairs(key, len(targets), 1.0, bandwidth, targets, pairing="similar", shards=shards)[1]


def many(key, targets, bandwidth, n=20_000, **options):
    return np.asarray(jax.jit(jax.vmap(lambda k: partners(k, targets, bandwidth, **options)))(jax.random.split(key, n)))


def rates(targets, bandwidth):
    """The odds of each pair as in the authors' code: one kernel density for each example, normalized over the batch."""
    density = pytest.importorskip("sklearn.neighbors").KernelDensity
    rows = np.asarray(targets, np.float64).reshape(len(targets), -1)
    found = np.exp([density(kernel="gaussian", bandwidth=bandwidth).fit(row[None]).score_samples(rows) for row in rows])
    return found / found.sum(1, keepdims=True)


def judge(drawn, expected):
    for example, odds in enumerate(expected):
        counts = np.bincount(drawn[:, example], minlength=len(odds))
        likely = odds * len(drawn) > 5
        assert counts[~likely].sum() <= stats.poisson.isf(ALPHA, max(odds[~likely].sum(), 1e-12) * len(drawn)) + 1
        if likely.sum() > 1:
            wanted = odds[likely] / odds[likely].sum() * counts[likely].sum()
            assert stats.chisquare(counts[likely], wanted).pvalue > ALPHA / len(expected)


@pytest.mark.parametrize("bandwidth", [0.2, 1.0, 50.0])
def test_odds_of_one_target(bandwidth, key):
    judge(many(key, Y, bandwidth), rates(Y, bandwidth))


def test_odds_of_vectors_and_a_bandwidth_for_each_example(key):
    targets = np.stack([Y, Y[::-1]], 1)
    wide = np.where(np.arange(8) < 4, 0.3, 2.0).astype(np.float32)
    expected = np.where((wide == wide[0])[:, None], rates(targets, 0.3), rates(targets, 2.0))
    judge(many(key, targets, wide), expected)


@pytest.mark.slow
def test_ends_of_the_bandwidth_and_targets_that_are_not_finite(key):
    np.testing.assert_array_equal(many(key, Y[:6], 0.0, 50), np.broadcast_to(np.arange(6), (50, 6)))
    assert set(many(key, Y, 0.0, 200)[:, 1].tolist()) == {1, 6}  # two equal targets
    judge(many(key, Y, np.inf), np.full((8, 8), 1 / 8))
    spoilt = Y.copy()
    spoilt[2], spoilt[5] = np.nan, np.inf
    drawn = many(key, spoilt, 1.0, 500)
    assert (drawn[:, [2, 5]] == [2, 5]).all()
    assert not np.isin(drawn[:, [0, 1, 3, 4, 6, 7]], [2, 5]).any()
    judge(many(key, Y * np.float32(1e30), 1e30), rates(Y, 1.0))  # whose squares float32 cannot hold


def test_parts_are_separate(key):
    drawn = many(key, Y, 0.5, shards=2)
    assert (drawn[:, :4] < 4).all() and (drawn[:, 4:] >= 4).all()
    for part in (slice(4), slice(4, 8)):
        judge(drawn[:, part] - part.start if part.start else drawn[:, part], rates(Y[part], 0.5))


@pytest.mark.slow
def test_mixup_is_pairs_and_a_blend_for_every_kind_of_batch(key):
    x, y = jnp.asarray(np.random.default_rng(0).random((8, 3), np.float32)), jnp.asarray(Y)
    lam, partner = nj.mixup_pairs(key, 8, 2.0, 0.4, y, pairing="similar")
    wanted = nj.blend((x, y), lam, partner)
    options = {"pairing": "similar"}
    for batch, name in (((x, y), 1), ({"x": x, "y": y}, "y"), ([x, {"y": y}], (1,))):
        noise = nj.bind(nj.mixup, alpha=2.0, bandwidth=0.4, targets=name, **options)
        mixed = jax.tree.leaves(jax.jit(noise)(key, batch))
        for a, b in zip(mixed, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert bool((wanted[0] != x).any())
    assert nj.from_dict(noise.to_dict()) == noise
    chained = nj.chain(
        nj.on_entries((nj.bind(nj.gaussian, std=0.1), None)), nj.bind(nj.mixup, 2.0, 0.4, targets=1, **options)
    )
    assert chained(key, (x, y))[0].shape == x.shape
    either = nj.choose(nj.bind(nj.mixup, alpha=1.0), nj.bind(nj.mixup, 2.0, 0.4, targets=1, **options))
    assert either(key, (x, y))[1].shape == y.shape
    for n in (0, 1):
        np.testing.assert_array_equal(nj.mixup(key, (x[:n], y[:n]), 2.0, 0.4, targets=1, **options)[0], x[:n])
    gradient = jax.grad(lambda b: nj.mixup(key, (x, y), 2.0, b, targets=1, **options)[0].sum())(0.4)
    assert gradient == 0


def test_labels_are_compared_as_rows(key):
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    x = jnp.arange(6.0)[:, None]
    mixed, rows = nj.mixup(key, (x, labels), 1.0, 0.1, num_classes=3, pairing="similar", targets=1)
    np.testing.assert_allclose(rows, jax.nn.one_hot(labels, 3), atol=1e-6)
    assert bool((mixed != x).any())


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_pairs_on_a_mesh_are_those_of_one_device(axis_type, key):
    x = jnp.asarray(np.random.default_rng(1).random((32, 3), np.float32))
    mesh = jax.make_mesh((8,), ("a",), axis_types=(axis_type,))
    for shards in (1, 8):

        def step(x, y, shards=shards):
            return nj.mixup(key, (x, y), 1.0, 0.2, pairing="similar", targets=1, shards=shards)

        with jax.set_mesh(mesh):
            placed = [jax.device_put(a, NamedSharding(mesh, P("a"))) for a in (x, x[:, 0])]
            compiled = jax.jit(step).lower(*placed).compile()
            together = compiled(*placed)
        for a, b in zip(together, step(x, x[:, 0]), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)
        talks = [c for c in ("all-reduce", "all-gather", "all-to-all", "collective-permute") if c in compiled.as_text()]
        assert bool(talks) == (shards == 1)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"pairing": "similar"}, "give bandwidth"),
        ({"pairing": "similar", "bandwidth": 1.0}, "give bandwidth=... and targets"),
        ({"bandwidth": 1.0}, "bandwidth is used with pairing='similar' only"),
        ({"targets": 1}, "targets is used with pairing='similar' only"),
        ({"pairing": "similar", "bandwidth": -1.0, "targets": 1}, "bandwidth must be at least 0"),
        ({"pairing": "similar", "bandwidth": np.ones(3), "targets": 1}, "bandwidth must be a scalar.*8 examples"),
    ],
)
def test_bad_input(given, match, key):
    with pytest.raises(ValueError, match=match):
        nj.mixup(key, (Y[:, None], Y), 1.0, **given)


def test_other_bad_input(key):
    with pytest.raises(KeyError, match=r"targets names 'y', but the entries to mix are entry \[0\], entry \[1\]"):
        nj.mixup(key, (Y[:, None], Y), 1.0, 1.0, pairing="similar", targets="y")
    with pytest.raises(ValueError, match="targets must have a leading axis of n=8"):
        nj.mixup_pairs(key, 8, 1.0, 1.0, Y[:5], pairing="similar")
    with pytest.raises(ValueError, match="pairing must be one of"):
        nj.cutmix(key, np.ones((8, 4, 4, 1), np.float32), 1.0, pairing="similar")
    assert nj.mixup(key, (Y[:, None], Y), 0.0, None)[1].shape == (8,)
