"""FAB: projections onto a plane within a box against solvers, exactness on linear models, the official code's norms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from noisejax import adversarial
from noisejax.adversarial import L0, L1, L2, Linf
from noisejax.adversarial._attacks.boundary import shorten_perturbations, step_to_plane

# What is compiled here runs for milliseconds: LLVM's passes would take most of the time.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(7)
B, D, C = 8, 6, 4
X = RNG.uniform(0.2, 0.8, size=(B, D)).astype(np.float32)
W = RNG.normal(size=(D, 8)).astype(np.float32)
V = RNG.normal(size=(8, C)).astype(np.float32)
BALLS = {"linf": (Linf, 1), "l2": (L2, 2), "l1": (L1, np.inf)}
every = pytest.mark.parametrize("norm", BALLS)


def network(x, bend=1.0):
    """A network of one hidden layer; linear for bend 0."""
    hidden = (x - 0.5) @ W
    return (bend * jnp.tanh(hidden) + (1 - bend) * hidden) @ V


def predict(x):
    return network(x)


Y = np.array(predict(X).argmax(1))


def solved(norm, normal, rise, low, high):
    """The norm of the smallest change, in float64; None where there is none."""
    if norm == "l2":  # clip(t * normal) for the t that fits, by bisection
        first, last = -1e9, 1e9
        for _ in range(200):
            middle = (first + last) / 2
            below = normal @ np.clip(middle * normal, low, high) < rise
            first, last = (middle, last) if below else (first, middle)
        d = np.clip(last * normal, low, high)
        return np.linalg.norm(d) if abs(normal @ d - rise) < 1e-6 else None
    zeros, eye, n = np.zeros((len(low), 1)), np.eye(len(low)), len(low)
    if norm == "linf":  # d = u, |u| <= t
        result = linprog(
            np.r_[np.zeros(n), 1],
            np.block([[eye, zeros - 1], [-eye, zeros - 1]]),
            np.zeros(2 * n),
            np.r_[normal, 0][None],
            [rise],
            [*zip(low, high, strict=True), (0, None)],
        )
    else:  # d = u - v, both at least 0
        bounds = [(0, h) for h in high] + [(0, -b) for b in low]
        result = linprog(np.ones(2 * n), None, None, np.r_[normal, -normal][None], [rise], bounds)
    return result.fun if result.success else None


@every
def test_the_way_to_a_plane_is_the_shortest(norm):
    ball, order = BALLS[norm]
    threat = ball(1.0, (0, 1))
    normal = RNG.normal(size=(B, D)).astype(np.float32)
    normal[0, :2], normal[1], normal[2, 1:] = 0, 0, normal[2, 0]  # gone, all gone, ties
    x = X.copy()
    x[3] = np.round(x[3])  # at the bounds
    rise = np.array([0.3, 0.4, -0.6, 0.5, -1.5, 1e-4, 40, 0], np.float32)
    run = quick(lambda threat, normal, rise: step_to_plane(threat, jnp.asarray(x), normal, rise))
    d = np.asarray(run(threat, normal, rise), np.float64)
    assert np.all((x + d >= -1e-6) & (x + d <= 1 + 1e-6)) and np.all(d[1] == 0) and np.all(d[7] == 0)
    for i in (0, 2, 3, 4, 5):
        exact = solved(norm, normal[i].astype(np.float64), float(rise[i]), -x[i].astype(np.float64), 1.0 - x[i])
        if exact is None:
            continue
        np.testing.assert_allclose(normal[i] @ d[i], rise[i], rtol=2e-5)
        np.testing.assert_allclose(np.asarray(threat.norm(jnp.asarray(d[i][None])))[0], exact, rtol=1e-4)
    np.testing.assert_allclose(x[6] + d[6], normal[6] > 0, atol=1e-6)  # out of reach: into the corner
    free = run(ball(1.0, (-999, 999)), normal, rise)
    lengths = np.linalg.norm(normal, order, axis=1)
    expected = np.where(lengths > 0, np.abs(rise) / np.maximum(lengths, 1e-9), 0)
    np.testing.assert_allclose(threat.norm(free), expected, rtol=1e-5, atol=1e-8)


def test_projections_are_those_of_the_reference():
    # pyautoattack 0.2.0, fab_projections: the changes that bring two points onto their planes.
    x = jnp.asarray([[0.2, 0.9, 0.5, 0.1]] * 2)
    normal = jnp.asarray([[1.0, -2.0, 0.5, 3.0], [-1.0, 0.25, 2.0, -0.5]])
    rise = jnp.asarray([1.0, 2.0]) - jnp.sum(x * normal, axis=1)
    expected = {
        "linf": [[0.315385, -0.315385, 0.315385, 0.315385], [-0.2, 0.1, 0.375, -0.1]],
        "l2": [[0.14386, -0.287719, 0.07193, 0.431579], [-0.192941, 0.048235, 0.385882, -0.096471]],
        "l1": [[0, 0, 0, 0.683333], [-0.025, 0, 0.5, 0]],
    }
    for norm, (ball, _) in BALLS.items():
        got = quick(step_to_plane)(ball(1.0, (0, 1)), x, normal, rise)
        np.testing.assert_allclose(got, expected[norm], atol=1e-6)


@functools.cache
def compiled(**options):
    def run(key, x, y, threat, bend):
        return adversarial.fab(key, lambda x: network(x, bend), x, y, threat, steps=40, **options)

    return quick(run)


@pytest.mark.slow
@every
def test_exact_on_a_linear_model(norm, key):
    ball, order = BALLS[norm]
    weights = W @ V
    logits = (X - 0.5) @ weights
    y = logits.argmax(1)
    lengths = np.linalg.norm(weights[:, y][:, :, None] - weights[:, None, :], order, axis=0)
    gaps = logits[np.arange(B), y][:, None] - logits
    exact = np.where(np.arange(C) == y[:, None], np.inf, gaps / np.maximum(lengths, 1e-9)).min(1)
    threat = ball(1000.0, (-99, 99))  # none of the bounds is near
    # Without the final search it ends 1.05 times 0.9 and so on away from the boundary.
    for refine, rtol in ((0, 0.01), (3, 1e-4))[: 2 if norm == "linf" else 1]:
        found = compiled(refine=refine)(key, X, y, threat, 0.0)
        assert np.all(np.asarray(network(found, 0.0)).argmax(1) != y)
        np.testing.assert_allclose(threat.norm(found - X), exact, rtol=rtol, atol=2e-6)


# The norms that FABAttack_PT of pyautoattack 0.2.0 finds on this network in 40 steps from the clean point: the smallest
# of three targets.
OFFICIAL = {
    "linf": [0.055562, 0.055625, 0.065255, 0.033025, 0.019384, 0.008457, 0.000086, 0.051988],
    "l2": [0.119354, 0.120578, 0.123957, 0.058643, 0.041049, 0.017054, 0.000185, 0.113126],
    "l1": [0.159173, 0.194141, 0.135679, 0.064258, 0.065165, 0.023478, 0.000267, 0.159211],
}


@pytest.mark.slow
@every
def test_norms_are_those_of_the_official_code(norm, key):
    threat = BALLS[norm][0](1000.0, (0, 1))
    found = compiled(refine=0)(key, X, Y, threat, 1.0)
    assert np.all(adversarial.misclassified(predict)(found, Y)) and np.all(threat.contains(found - X, X))
    np.testing.assert_allclose(threat.norm(found - X), OFFICIAL[norm], rtol=5e-3, atol=2e-6)
    if norm == "l1":  # the untargeted form takes another way for one of them
        expected = [*OFFICIAL[norm]]
        expected[1] = 0.209337
        found = compiled(refine=0, targets=None)(key, X, Y, threat, 1.0)
        np.testing.assert_allclose(threat.norm(found - X), expected, rtol=5e-3, atol=2e-6)
    if norm == "linf":
        refined = compiled(refine=3)(key, X, Y, threat, 1.0)
        assert np.all(adversarial.misclassified(predict)(refined, Y))
        assert np.all(threat.norm(refined - X) <= threat.norm(found - X))


def test_what_is_outside_the_ball_does_not_count(key):
    y = Y.copy()
    y[0] = (y[0] + 1) % C  # misclassified as it is
    threat = L2(0.1, (0, 1))
    run = compiled(refine=0)
    found = np.asarray(run(key, X, y, threat, 1.0))
    inside = np.array(OFFICIAL["l2"]) < 0.1
    changed = np.any(found != X, axis=1)
    np.testing.assert_array_equal(changed[1:], inside[1:])
    assert not changed[0] and np.all(threat.contains(found - X, X))
    np.testing.assert_array_equal(adversarial.misclassified(predict)(found, Y)[1:], inside[1:])
    before = run._cache_size()
    for eps in (0.05, 0.2):
        np.testing.assert_array_equal(
            np.any(np.asarray(run(key, X, Y, L2(eps, (0, 1)), 1.0)) != X, axis=1), np.array(OFFICIAL["l2"]) < eps
        )
    assert run._cache_size() == before  # radii are traced
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(run(*jax.device_put((key, X, Y, threat, 1.0))))


def test_restarts_draw_by_id_and_never_make_it_worse(key):
    threat, ids = Linf(0.2, (0, 1)), np.arange(B)
    run = quick(
        lambda key, x, y, ids, threat: adversarial.fab(
            key, predict, x, y, threat, ids=ids, steps=40, restarts=2, targets=3, refine=0
        )
    )
    whole = run(key, X, Y, ids, threat)
    some = np.array([3, 1, 7, 0, 2, 6, 5, 4])
    np.testing.assert_allclose(whole[some], run(key, X[some], Y[some], ids[some], threat), atol=2e-5)
    one = compiled(refine=0)(key, X, Y, threat, 1.0)
    ok = np.asarray(adversarial.misclassified(predict)(one, Y))
    assert np.all((threat.norm(whole - X) <= threat.norm(one - X) + 1e-6)[ok])


def test_gradients_that_are_gone_or_broken_do_no_harm(key):
    def broken(x):
        flat = jnp.where(x[:, :1] > 0.5, 0.0, 1.0)  # no gradient anywhere
        rough = jnp.sqrt(x[:, 1:2] - 0.5)  # NaN below 0.5
        return jnp.concatenate([flat, rough, flat * 0 + 2], axis=1)

    threat = Linf(0.3, (0, 1), mutable=np.arange(D) != 2)
    y = np.full(B, 2)
    run = quick(lambda x, y: adversarial.fab(key, broken, x, y, threat, steps=3, targets=None, refine=0))
    found = np.asarray(run(X, y))
    assert np.all(np.isfinite(found)) and np.all(found[:, 2] == X[:, 2]) and np.all(threat.contains(found - X, X))


def test_shortening_keeps_what_fools():
    x = jnp.asarray([[3.0], [2.0], [0.5]])

    def judged(delta):
        lead = delta[:, 0] ** 3 - 1.0
        return lead, lead > 0

    short = np.asarray(shorten_perturbations(judged, x, 6))
    assert np.all((short[:2] > 1) & (short[:2] < 1.01)) and short[2] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threat": L0(2, (0, 1))}, "threat must be Linf or L2 or L1"),
        ({"logits_fn": lambda x: x[:, 0]}, r"logits of shape \(8, classes\)"),
        ({"targets": 0}, "targets must be an integer, at least 1"),
        ({"steps": 2.5}, "steps must be an integer"),
        ({"alpha_max": -0.1}, r"alpha_max must be in \(0, 1\]"),
        ({"beta": 1.5}, r"beta must be in \(0, 1\]"),
        ({"labels": np.eye(C)[Y]}, "argmax"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_say_what_is_wrong(change, message, key):
    arguments = {"key": key, "logits_fn": predict, "x": X, "labels": Y, "threat": Linf(0.1, (0, 1))} | change
    with pytest.raises((ValueError, TypeError), match=message):
        adversarial.fab(**arguments)
