"""Certificates: against closed forms, exact arithmetic and enumeration; their error rates; IBP as a sandwich."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from half_space import KEY, W, at_margin, gaussian, linear
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from noisejax._statistics import clopper_pearson
from noisejax.adversarial import (
    Guarantee,
    certify,
    certify_at,
    guarantee,
    smoothed_counts,
    smoothed_predict,
)
from noisejax.adversarial._certificates import smoothing

WIDE = 2**16  # copies at a time: these classifiers are tiny


def test_radii_never_exceed_the_float64_reference():
    n, alpha, std = 100_000, 0.001, 0.25
    k = np.concatenate([np.arange(50_500, n, 997), np.arange(n - 200, n + 1)])
    reference = std * scipy.stats.norm.ppf(scipy.stats.beta.ppf(alpha, k, n - k + 1))
    radius = guarantee(nj.bind(nj.gaussian, std=std), (1, 3)).radius(clopper_pearson(k, n, alpha))
    assert (radius <= reference).all()
    np.testing.assert_allclose(radius, reference, rtol=1e-8)
    assert radius.max() < 3.82 * std and (np.diff(radius) > 0).all()
    # In float32, as on a device, the bound comes out above: such a certificate would be wrong.
    quantile = functools.partial(jax.scipy.special.betainc, jnp.float32(99_900), jnp.float32(101))
    low, high = jnp.float32(0.99), jnp.float32(1.0)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile(middle) < 0.001 else (low, middle)
    assert np.float64(high) > scipy.stats.beta.ppf(alpha, 99_900, 101) + 1e-7


# Counting.


@pytest.fixture(scope="module")
def some():
    key, x = jax.random.key(7), at_margin([-0.4, -0.1, 0.0, 0.2, 0.8])
    return key, x, np.asarray(smoothed_counts(key, linear, x, gaussian, samples=999, num_classes=2, batch_size=WIDE))


@pytest.mark.slow
def test_counts_depend_on_key_id_and_number_alone(some):
    key, x, counts = some
    count = functools.partial(smoothed_counts, key, linear, noise=gaussian, num_classes=2)
    assert counts.dtype == np.int32 and (counts.sum(1) == 999).all()
    parts = [count(x=x, samples=100, batch_size=64), count(x=x, samples=899, first=100, batch_size=64)]
    assert (parts[0] + parts[1] == counts).all()
    assert (count(x=x[3:], ids=jnp.array([3, 4]), samples=999, batch_size=7) == counts[3:]).all()
    assert (count(x=x[3:], samples=999, batch_size=7) != counts[3:]).any()
    expected = scipy.stats.norm.cdf(np.float64([-0.4, -0.1, 0.0, 0.2, 0.8]) / 0.5)
    p = [scipy.stats.binomtest(int(c), 999, q).pvalue for c, q in zip(counts[:, 1], expected, strict=True)]
    assert min(p) > 1e-4


def test_counts_of_sharded_examples_need_no_communication():
    key, x = jax.random.key(0), np.tile(at_margin([-0.1, 0.2]), (4, 1))
    expected = smoothed_counts(key, linear, x, gaussian, samples=64, num_classes=2)
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((8,), ("data",), (kind,))
        with jax.set_mesh(mesh):
            sharded, ids = (jax.device_put(a, NamedSharding(mesh, P("data"))) for a in (x, np.arange(8)))
            span = jnp.array([0, 64], jnp.int32)
            program = smoothing._compiled.lower(linear, key, gaussian, sharded, ids, span, 8, 2).compile()
            assert (np.asarray(program(linear, key, gaussian, sharded, ids, span)) == np.asarray(expected)).all()
            hlo = program.as_text()
            assert not any(word in hlo for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute"))


def test_one_compilation_for_any_number_of_samples_and_any_parameters():
    traces = []

    def predict(w, x):
        traces.append(x.shape)
        return x @ w

    x, key = at_margin([0.1, 0.2, 0.3]), jax.random.key(0)
    for scale, samples in ((1.0, 10), (2.0, 500), (3.0, 33)):
        w = jnp.stack([-W, W], axis=1) * jnp.float32(scale)
        counts = smoothed_counts(key, jax.tree_util.Partial(predict, w), x, gaussian, samples=samples)
        assert (counts.sum(1) == samples).all()
    # One compiled; in each call, one shape looked at and one batch asked for.
    assert len([shape for shape in traces if shape == x.shape]) <= 7


def test_rows_of_nan_are_no_class():
    def sometimes(x):
        logits = jnp.stack([x[:, 0], -x[:, 0]], axis=1)
        return jnp.where(x[:, :1] > 0, logits, jnp.nan)

    counts = smoothed_counts(jax.random.key(0), sometimes, jnp.zeros((1, 3)), gaussian, samples=1000)
    assert counts[0, 1] == 0 and 400 < counts[0, 0] < 600


def test_predict_abstains_as_the_binomial_test_says():
    key, x = jax.random.key(3), at_margin(np.linspace(-0.1, 0.1, 21))
    counts = np.asarray(smoothed_counts(key, linear, x, gaussian, samples=1000, num_classes=2))
    found = smoothed_predict(key, linear, x, gaussian, samples=1000, alpha=0.01, num_classes=2)
    for row, answer in zip(counts, found, strict=True):
        sure = scipy.stats.binomtest(int(row.max()), int(row.sum()), 0.5).pvalue <= 0.01
        assert answer == (row.argmax() if sure else -1)
    assert 0 < (found == -1).sum() < 21


# Certificates.


def test_the_radius_of_a_linear_classifier_is_its_margin():
    margins = np.array([0.15, 0.3, 0.6, 0.9, -0.5])  # nearer ones may be taken for the other class by 100 samples
    found = certify(jax.random.key(1), linear, at_margin(margins), gaussian, num_classes=2, batch_size=WIDE)
    assert found.norm == "l2" and found.samples == 100_100 and found.radius.dtype == np.float64
    assert found.prediction.tolist() == [1, 1, 1, 1, 0]
    assert (found.radius <= abs(margins)).all()  # a wrong one has probability 0.001 each
    np.testing.assert_allclose(found.radius, abs(margins), atol=0.02)
    assert found.accuracy([1, 1, 1, 1, 1], [0.0, 0.2, 0.5, 2.0]).tolist() == [0.8, 0.6, 0.4, 0.0]


def test_other_norms_are_exact_for_one_feature():
    """Of a threshold on one feature all three certificates are the distance to it."""
    m = np.array([0.1, 0.7])
    p = 1 - np.exp(-m / 0.8) / 2
    promise = guarantee(nj.bind(nj.laplace, scale=np.float32(0.8)), (2, 1))
    assert promise.norm == "l1"
    np.testing.assert_allclose(promise.radius(p), m, rtol=1e-6)
    promise = guarantee(nj.bind(nj.uniform, half_width=2.0), (2, 1))
    np.testing.assert_allclose(promise.radius(0.5 + m / 4), m, rtol=1e-6)
    np.testing.assert_allclose(promise.probability(np.array([0.1, 3.0])), [0.525, 1.0])


@pytest.mark.parametrize(
    "noise",
    [
        gaussian,
        nj.bind(nj.laplace, scale=0.3),
        nj.bind(nj.uniform, half_width=1.5),
        nj.bind(nj.mask, rate=0.9),
        nj.bind(nj.mask, rate=jnp.array([[0.9, 0.8, 0.97]])),
        nj.bind(nj.image.pixel_dropout, rate=0.9),
    ],
    ids=repr,
)
def test_guarantees_are_monotone_and_inverse(noise):
    promise = guarantee(noise, (99, 3))
    p = np.linspace(0.01, 0.99999, 99)
    radius = promise.radius(p)
    assert (np.diff(radius) >= 0).all() and (radius[p <= 0.5] == 0).all() and radius[-1] > 0
    some = radius > 0
    assert (promise.probability(radius)[some] <= p[some] * (1 + 1e-12)).all()
    beyond = promise.probability(radius + (1 if promise.norm == "l0" else 1e-3))
    assert (beyond >= p).all() or (promise.norm == "l0" and radius.max() <= 3)


def test_amounts_that_differ_count_by_the_least():
    features = guarantee(nj.bind(nj.gaussian, std=jnp.array([[0.5, 0.2, 0.9]])), (4, 3))
    np.testing.assert_allclose(features.radius(np.full(4, 0.9)), 0.2 * scipy.stats.norm.ppf(0.9), rtol=1e-6)
    examples = guarantee(nj.bind(nj.gaussian, std=jnp.array([[0.5], [0.2]])), (2, 3))
    np.testing.assert_allclose(examples.radius(np.full(2, 0.9)), [0.64078, 0.25631], rtol=1e-4)
    rates = guarantee(nj.bind(nj.mask, rate=jnp.array([[0.5, 0.99, 0.9]])), (1, 3))
    # one changed cell may be the one of rate 0.5
    assert [rates.radius(np.array([p]))[0] for p in (0.99, 0.9999)] == [0.0, 0.0]
    one = nj.bind(nj.mask, rate=0.9)
    assert guarantee(nj.chain(one, gaussian), (1, 3)).norm == "l0"
    assert guarantee(nj.chain(gaussian, one), (1, 3)).norm == "l2"


def test_masking_is_sound_by_enumeration():
    """All masks, all changes of up to r of six binary features: the smoothed class of an exact p stays."""
    features, rate = 6, 0.85
    masks = np.array(list(itertools.product([0, 1], repeat=features)))  # 1 is hidden
    weight = rate ** masks.sum(1) * (1 - rate) ** (features - masks.sum(1))
    inputs = np.array(list(itertools.product([-1, 1], repeat=features)))
    # A base classifier that looks at what is seen: the majority, or when all is hidden class 1.
    score = (inputs[:, None] * (1 - masks)[None]).sum(-1)
    one = ((score >= 0) * weight).sum(1)  # the probability of class 1 at each input
    p = np.maximum(one, 1 - one)
    radius = guarantee(nj.bind(nj.mask, rate=np.float32(rate)), (len(inputs), features)).radius(p)
    assert set(radius) >= {0.0, 2.0}
    distance = (inputs[:, None] != inputs[None]).sum(-1)
    same = (one > 0.5)[:, None] == (one > 0.5)[None]
    assert same[distance <= radius[:, None]].all()
    for q, r in ((0.9, 1), (0.99, 4)):  # the formula itself: the largest r with rate**r > 3/2 - p
        formula = max(r for r in range(features + 1) if rate**r > 1.5 - q)
        assert guarantee(nj.bind(nj.mask, rate=rate), (1, features)).radius(np.array([q]))[0] == formula


def test_cells_of_a_table_are_units():
    """Two numbers and a category of three in one-hot columns: three cells, of which all may be changed at rate 1."""
    groups = (0, 1, 2, 2, 2)
    noise = nj.bind(nj.mask, rate=1.0, groups=groups)
    assert guarantee(noise, (1, 5)).radius(np.array([0.9])).tolist() == [3.0]
    assert guarantee(nj.bind(nj.image.pixel_dropout, rate=1.0), (1, 4, 4, 3)).radius(np.array([0.9])).tolist() == [16.0]
    assert guarantee(nj.bind(nj.image.channel_dropout, rate=1.0), (1, 4, 4, 3)).radius(np.array([0.9])).tolist() == [
        3.0
    ]
    x = jnp.array([[1.0, 1.0, 0.0, 1.0, 0.0], [0.1, -0.1, 1.0, 0.0, 0.0]])
    noise = nj.bind(nj.mask, rate=0.9, groups=groups)
    majority = lambda x: x[:, 0] + x[:, 1] > -0.5  # noqa: E731
    found = certify(jax.random.key(0), majority, x, noise, samples=2000, num_classes=2, batch_size=WIDE)
    assert found.norm == "l0" and found.prediction.tolist() == [1, 1]
    assert found.radius.tolist() == [3.0, 3.0]  # hidden cells are 0, and so is the answer 1: 0.9**3 > 3/2 - 1


def test_sequential_decisions_are_those_of_many_samples_for_few():
    """Away from the threshold: the same decisions as 100,000 samples for each, with at least 5 times fewer in all."""
    margins = np.array([0.05, 0.4, 0.65, 0.8, 1.2])
    key, x = jax.random.key(5), at_margin(margins)
    fixed = certify(key, linear, x, gaussian, num_classes=2, batch_size=WIDE)
    found = certify_at(key, linear, x, gaussian, 0.5, num_classes=2, batch_size=WIDE)
    assert found.certified.tolist() == (fixed.radius > 0.5).tolist() == [False, False, True, True, True]
    assert found.prediction.tolist() == [-1, -1, 1, 1, 1] and found.accuracy(np.ones(5)) == 0.6
    assert fixed.samples * len(x) >= 5 * found.samples.sum()
    assert found.samples.min() == 500
    nearer = certify_at(key, linear, x, gaussian, 0.2, num_classes=2, batch_size=WIDE)
    assert (nearer.certified >= found.certified).all()


def test_error_rate_of_sequential_certificates():
    """A thousand examples just inside the threshold, of which none may be certified: at most alpha of them are.

    With alpha = 0.1 the binomial 99.99% quantile of a thousand is 136; the union bound leaves it far below.
    """
    x = np.repeat(at_margin([0.4999]), 1000, axis=0)
    stages = (50, 100, 200, 400)
    found = certify_at(
        jax.random.key(2), linear, x, gaussian, 0.5, stages=stages, alpha=0.1, num_classes=2, batch_size=4096
    )
    wrong = int(found.certified.sum())
    assert 5 < wrong <= 136  # the test has power: some are
    assert set(found.samples) <= {100 + n for n in stages}


def test_amounts_of_examples_stay_theirs_when_examples_are_gathered():
    std = jnp.where(jnp.arange(40) % 2 == 0, 0.25, 0.5)[:, None]
    x = np.repeat(at_margin([0.5]), 40, axis=0)
    noise = nj.bind(nj.gaussian, std=std)
    arguments = {"num_classes": 2, "batch_size": WIDE}
    counts = np.asarray(smoothed_counts(jax.random.key(0), linear, x, noise, samples=500, first=100, **arguments))
    found = certify_at(jax.random.key(0), linear, x, noise, 0.38, stages=(500,), **arguments)
    needed = scipy.stats.norm.cdf(0.38 / np.asarray(std)[:, 0])
    assert (found.certified == (clopper_pearson(counts[:, 1], 500, 0.001) > needed)).all()
    assert 0 < found.certified.sum() < 40


def test_a_guarantee_of_ones_own():
    own = Guarantee("hamming", lambda p: np.where(p > 0.9, 1.0, 0.0), lambda r: np.where(r > 0, 0.9, 0.5))
    noise = nj.bind(nj.speckle, std=0.1)
    x = at_margin([3.0])
    found = certify(jax.random.key(0), linear, x, noise, promise=own, num_classes=2, samples=500)
    assert (found.radius.tolist(), found.norm) == ([1.0], "hamming")
    assert certify_at(jax.random.key(0), linear, x, noise, 1.0, promise=own, num_classes=2).certified.all()


def test_a_chain_of_chains_has_the_guarantee_of_its_first_stage():
    noise = nj.chain(nj.chain(nj.bind(nj.gaussian, std=0.5), nj.bind(nj.mask, rate=0.1)), nj.bind(nj.mask, rate=0.2))
    p = np.array([0.6, 0.9])
    np.testing.assert_array_equal(guarantee(noise, (1, 3)).radius(p), guarantee(gaussian, (1, 3)).radius(p))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, jnp.bfloat16, jnp.float16])
def test_noise_on_narrow_inputs_is_that_on_float32(key, dtype):
    x = np.full((2, 8), 100).astype(dtype)
    noise = nj.bind(nj.gaussian, std=0.25)
    sums = jax.tree_util.Partial(lambda x: (x.astype(jnp.float32).sum(1) > 800).astype(jnp.int32))
    found = certify(key, sums, x, noise, samples=200, num_classes=2)
    wide = certify(key, sums, x.astype(np.float32), noise, samples=200, num_classes=2)
    np.testing.assert_array_equal(found.lower, wide.lower)
    counts = smoothed_counts(key, sums, x, noise, samples=200, num_classes=2)
    assert (counts > 60).all()  # rounded away, every copy would be class 0
    tokens, hide = np.ones((2, 3), np.int32), nj.bind(nj.mask, rate=0.5)
    kept = jax.tree_util.Partial(lambda x: jnp.where(x[:, 0] == 1, 1, 0) if x.dtype == jnp.int32 else 2 + 0 * x[:, 0])
    counts = smoothed_counts(key, kept, tokens, hide, samples=10, num_classes=3)
    assert counts[:, 2].sum() == 0 and counts.sum() == 20


def test_counts_may_be_traced_in_the_noise():
    x = jnp.array([[2.0, 0.0], [0.0, 2.0]])

    def counted(std):
        noise = nj.bind(nj.gaussian, std=std)
        return smoothed_counts(KEY, lambda x: x, x, noise, samples=64)

    assert np.array_equal(jax.jit(counted)(0.5), counted(0.5))
