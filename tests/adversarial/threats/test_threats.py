"""Threats: projections against independent solutions, draws against their distributions, masks, shapes and errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from noisejax import adversarial
from noisejax.adversarial import L0, L1, L2, Linf

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(16, 2, 5)).astype(np.float32)
DELTA = RNG.normal(size=(16, 2, 5)).astype(np.float32) * np.geomspace(0.01, 10, 16, dtype=np.float32)[:, None, None]
EPS = np.linspace(0, 2, 16, dtype=np.float32)
THREATS = {
    "linf": Linf(EPS, (0, 1)),
    "l2": L2(EPS, (0, 1)),
    "l1": L1(EPS, (0, 1), top=0.3),
    "pixels": L0(np.arange(16) // 4, (0, 1), pixels=True),
}
every = pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)


@jax.jit
def everything(threat, key, x, delta):
    sample, boundary = threat.sample(key, x), threat.boundary(key, x)
    projected = threat.project(delta, x)
    twice = threat.project(projected, x)
    inside = [threat.contains(d, x) for d in (sample, boundary, projected)]
    norms = [threat.norm(d) for d in (sample, boundary, projected)]
    return sample, boundary, projected, twice, inside, norms, threat.perturbed(x, projected)


@jax.jit
def drawn(threat, key, x):
    sample, boundary = threat.sample(key, x), threat.boundary(key, x)
    return sample, boundary, (threat.norm(sample), threat.norm(boundary))


@pytest.mark.slow
@every
def test_what_a_threat_gives_is_allowed(threat, key):
    sample, boundary, projected, twice, inside, _, point = everything(threat, key, X, DELTA)
    assert np.all(inside)
    np.testing.assert_allclose(twice, projected, atol=2e-6)
    assert point.min() >= 0 and point.max() <= 1
    for delta in (sample, boundary, projected):  # eps of the first example is 0
        assert np.all(np.asarray(delta)[0] == 0) and np.any(np.asarray(delta)[-1] != 0)
    assert not np.any(threat.contains(jnp.asarray(DELTA) + 3, jnp.asarray(X)))


def l1_reference(d, low, high, eps):
    """The projection onto the L1 ball and box by bisection over the multiplier, in float64."""
    d, low, high = (np.asarray(v, np.float64) for v in (d, low, high))

    def point(t):
        return np.clip(np.sign(d) * np.maximum(np.abs(d) - t, 0), low, high)

    if np.abs(point(0)).sum() <= eps:
        return point(0)
    a, b = 0.0, np.abs(d).max()
    for _ in range(200):
        middle = (a + b) / 2
        a, b = (middle, b) if np.abs(point(middle)).sum() > eps else (a, middle)
    return point(b)


@pytest.mark.parametrize("bounds", [(0, 1), None], ids=["box", "unbounded"])
def test_l1_projection_is_exact(bounds):
    x = RNG.uniform(size=(40, 60)).astype(np.float32)
    x[:, :10] = RNG.integers(0, 2, size=(40, 10))  # at the bounds
    delta = RNG.normal(size=(40, 60)).astype(np.float32)
    delta[5:10] = np.sign(delta[5:10])  # ties
    delta[10:15] *= 1e3
    delta[15] = 0
    eps = np.geomspace(1e-3, 40, 40).astype(np.float32)
    got = jax.jit(L1(eps, bounds).project)(delta, x)
    low, high = (-x, 1 - x) if bounds else (np.full_like(x, -np.inf), np.full_like(x, np.inf))
    for d, lo, hi, e, y in zip(delta, low, high, eps, np.asarray(got), strict=True):
        np.testing.assert_allclose(y, l1_reference(d, lo, hi, float(e)), atol=3e-6 * max(1, e) + 1e-8 * np.abs(d).max())
        assert np.abs(y.astype(np.float64)).sum() <= e * (1 + 1e-5)


def test_l0_projection_is_the_nearest_of_all_supports():
    x, delta = X.reshape(16, 10)[:, :6], DELTA.reshape(16, 10)[:, :6]
    got = np.asarray(L0(2, (0, 1)).project(jnp.asarray(delta), jnp.asarray(x)))
    for d, v, y in zip(delta, x, got, strict=True):
        candidates = []
        for kept in itertools.combinations(range(6), 2):
            candidate = np.zeros(6, np.float32)
            candidate[list(kept)] = np.clip(d, -v, 1 - v)[list(kept)]
            candidates.append(candidate)
        assert ((d - y) ** 2).sum() <= min(((d - c) ** 2).sum() for c in candidates) + 1e-6


def test_linf_and_l2_projections_are_the_written_formulas():
    column = EPS[:, None, None]
    got = THREATS["linf"].project(jnp.asarray(DELTA), jnp.asarray(X))
    np.testing.assert_allclose(got, np.clip(X + np.clip(DELTA, -column, column), 0, 1) - X, atol=1e-6)
    length = np.sqrt((DELTA**2).sum((1, 2), keepdims=True))
    scaled = DELTA * np.minimum(1, column / length)
    got = THREATS["l2"].project(jnp.asarray(DELTA), jnp.asarray(X))
    np.testing.assert_allclose(got, np.clip(X + scaled, 0, 1) - X, atol=1e-6)


@pytest.mark.slow
def test_draws_are_uniform_in_the_ball_and_on_its_surface(key):
    # In n dimensions (norm / eps)**n is uniform. All p-values of six tests of a right program are above 1e-4 in all but
    # one of 1,700 runs; the key is fixed.
    x = jnp.zeros((4000, 3))
    for threat in (Linf(0.5, None), L2(0.5, None), L1(0.5, None)):
        sample, boundary, norms = drawn(threat, key, x)
        np.testing.assert_allclose(norms[1], 0.5, atol=1e-6)
        assert stats.kstest((np.asarray(norms[0]) / 0.5) ** 3, "uniform").pvalue > 1e-4
        signs = (np.sign(np.asarray(boundary)) + 1) / 2 @ [4, 2, 1]  # every octant equally often
        assert stats.chisquare(np.bincount(signs.astype(int), minlength=8)).pvalue > 1e-4
        assert abs(np.asarray(sample).mean(0)).max() < 0.02


def test_l0_draws_change_k_features_anywhere(key):
    x = jnp.full((3000, 4), 0.25)
    sample, boundary, _ = drawn(L0(2, (0, 1)), key, x)
    changed = np.asarray(sample) != 0
    assert np.all(changed.sum(1) == 2)
    assert stats.chisquare(changed.sum(0)).pvalue > 1e-4
    assert stats.kstest(np.asarray(sample)[changed] + 0.25, "uniform").pvalue > 1e-4
    assert set(np.unique(np.asarray(boundary))) == {-0.25, 0, 0.75}


@jax.jit
def with_ids(threat, key, x, ids):
    return threat.sample(key, x, ids)


@every
def test_an_example_draws_from_its_id_alone(threat, key):
    whole = everything(threat, key, X, DELTA)[0]
    part = jax.tree.map(lambda leaf: leaf[9:12] if np.shape(leaf)[:1] == (16,) else leaf, threat)
    sample = with_ids(part, key, X[9:12], np.arange(9, 12))
    np.testing.assert_allclose(sample, whole[9:12], rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_what_may_not_change_stays(key):
    mask = np.array([True, False, True, True, False])
    for threat in (L2(1.0, None, mutable=mask), L0(3, (0, 1), mutable=mask)):
        sample, boundary, norms = drawn(threat, key, X)
        for delta in (sample, boundary, threat.project(jnp.asarray(DELTA), jnp.asarray(X))):
            delta = np.asarray(delta)
            assert np.all(delta[..., ~mask] == 0) and np.any(delta[..., mask] != 0)
        assert not threat.contains(jnp.full((16, 2, 5), 1e-3), jnp.asarray(X)).any()
        if isinstance(threat, L2):
            np.testing.assert_allclose(norms[1], 1, rtol=1e-5)


def test_a_patch_per_image():
    x = jnp.zeros((2, 5, 6, 3))
    mask = adversarial.patch_mask(x, jnp.array([[0, 1], [3, 4]]), (2, 3))
    threat = Linf(1.0, (0, 1), mutable=mask)
    changed = np.asarray(threat.project(jnp.ones_like(x), x)) != 0
    assert changed.shape == x.shape
    assert changed[0, 0:2, 1:4].all() and changed[0].sum() == 2 * 3 * 3
    assert changed[1, 3:5, 4:6].all() and changed[1].sum() == 2 * 2 * 3


def test_eps_of_examples_and_of_features():
    x, delta = jnp.zeros((2, 3)), jnp.full((2, 3), 5.0)
    assert Linf(jnp.array([1.0, 2.0]), None).project(delta, x).tolist() == [[1, 1, 1], [2, 2, 2]]
    assert Linf(jnp.array([[1.0, 2.0, 3.0]]), None).project(delta, x).tolist() == [[1, 2, 3], [1, 2, 3]]
    assert Linf(1.0, (np.array([0, 0, 0]), np.array([1, 0.5, 2]))).project(delta, x).tolist() == [[1, 0.5, 1]] * 2
    assert Linf(jnp.array([[1.0, 2.0, 3.0]]), None).contains(delta, x).tolist() == [False, False]
    with pytest.raises(ValueError, match=r"eps of shape \(3,\) does not match 2 examples"):
        Linf(jnp.ones(3), None).project(delta, x)
    with pytest.raises(ValueError, match="standardize"):
        L2(jnp.ones((1, 3)), None).project(delta, x)


@pytest.mark.slow
def test_the_steepest_direction_gains_the_dual_norm():
    grad, zero = jnp.asarray(DELTA), jnp.zeros_like(DELTA)
    gains = {"linf": np.abs(DELTA).sum((1, 2)), "l2": np.sqrt((DELTA**2).sum((1, 2)))}
    gains["l1"] = np.sort(np.abs(DELTA).reshape(16, -1))[:, -1]
    for threat, gain in zip((Linf(1.0, None), L2(1.0, None), L1(1.0, None, top=1e-3)), gains.values(), strict=True):
        direction = np.asarray(threat.steepest(grad, zero, zero))
        np.testing.assert_allclose(threat.norm(direction), 1, rtol=1e-5)
        np.testing.assert_allclose((direction * DELTA).sum((1, 2)), gain, rtol=1e-5)
        assert np.all(threat.steepest(zero, zero, zero) == 0)
    tiny = jnp.full((1, 2), 1e-30)  # its square underflows
    np.testing.assert_allclose(L2(1.0, None).steepest(tiny, tiny, tiny), 0.5**0.5, rtol=1e-5)
    # A feature that is at its bound is passed over.
    step = L1(1.0, (0, 1), top=0.5).steepest(jnp.array([[3.0, 2.0]]), jnp.array([[1.0, 0.5]]), jnp.zeros((1, 2)))
    assert step.tolist() == [[0, 1]]


def test_threats_are_pytrees_and_other_radii_cost_no_trace():
    traces = []

    @jax.jit
    def norm(threat, x):
        traces.append(1)
        return threat.norm(threat.project(x, jnp.zeros_like(x)))

    for eps in (0.1, 1, np.float64(0.3), 0.2):
        np.testing.assert_allclose(norm(Linf(eps, (-1, 1)), DELTA[-1:]), eps, rtol=1e-6)
    assert len(traces) == 1
    curve = jax.vmap(lambda eps: Linf(eps, None).norm(Linf(eps, None).project(DELTA, X)))(EPS)
    np.testing.assert_allclose(curve[:, -1], np.minimum(EPS, np.abs(DELTA[-1]).max()), rtol=1e-6)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(Linf(0.1, (0, 1)))]
    assert paths == [".eps", ".bounds[0]", ".bounds[1]"]
    assert repr(L0(3, (0, 1), pixels=True)) == "L0(eps=3, bounds=(0, 1), pixels=True)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linf(-0.1, (0, 1)), "Linf: eps must be at least 0"),
        (lambda: L2(0.1, (1, 1)), "low < high"),
        (lambda: L2(0.1, (0, np.array([1.0, 0.0]))), "low < high"),
        (lambda: L2(0.1, 1), r"bounds must be \(low, high\)"),
        (lambda: Linf(0.1, None, mutable=jnp.ones(3)), "mutable must be booleans"),
        (lambda: L0(3, None), "L0: bounds must be"),
        (lambda: L1(0.1, None, top=0), "top must be"),
        (lambda: Linf(0.1, None).sample(jax.random.key(0), jnp.zeros((2, 3)), jnp.arange(3)), "ids must be integers"),
        (lambda: Linf(0.1, (np.zeros(4), 1)).project(X, X), "bounds of shape"),
        (lambda: adversarial.patch_mask(jnp.zeros((2, 3)), (0, 0), (1, 1)), "images"),
    ],
)
def test_bad_threats_say_what_is_wrong(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("eps", [0.05, 0.999, np.array([3.0, 0.5]), jnp.float32(0.25), [1.0, 0.1]])
def test_less_than_one_feature_is_an_error(eps):
    with pytest.raises(ValueError, match="L0: eps must be a number of features, at least 1"):
        L0(eps, (0, 1))
    for valid in (0, 1, 2.5, jnp.array([0.0, 1.0])):
        assert isinstance(L0(valid, (0, 1)), L0)
