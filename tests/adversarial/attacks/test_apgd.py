"""Auto-PGD: the official code's results, its rule written out, closed forms, and the laws of attacks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from noisejax import adversarial
from noisejax.adversarial import L1, L2, Linf
from noisejax.adversarial._attacks.apgd import _moves, checkpoints
from noisejax.adversarial._threats.sparse import last_level

RNG = np.random.default_rng(5)
B, D, H, C = 8, 12, 16, 5
X = RNG.uniform(0.1, 0.9, size=(B, D)).astype(np.float32)
W = RNG.normal(size=(D, H)).astype(np.float32)
V = RNG.normal(size=(H, C)).astype(np.float32)
START = RNG.uniform(-1, 1, size=(B, D)).astype(np.float32)
LOGITS = np.tanh(X @ W) @ V
ORDER = np.argsort(LOGITS, axis=1).astype(np.int32)
Y = ORDER[:, -1]


def predict(x):
    return jnp.tanh(x @ W) @ V


fooled = adversarial.misclassified(predict)


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(10) == (2, 3, 4, 5, 6, 7, 8, 9, 10)
    assert checkpoints(1) == (1,) and checkpoints(0) == ()


# The highest losses that pyautoattack 0.2.0 finds from START in 40 steps (torch 2.13.0, CPU), and whether x stays.
AGREED = {
    "linf": (
        Linf(0.05, (0, 1)),
        (adversarial.dlr, (Y,)),
        0.05 * START,
        [0, 0, 1, 1, 1, 1, 1, 1],
        [0.202897, 0.436233, -0.828227, -0.628357, -0.179655, -0.575587, -0.599504, -0.00764371],
    ),
    "l2": (
        L2(0.2, (0, 1)),
        (adversarial.targeted_dlr, (Y, ORDER[:, -2])),
        0.05 * START,
        [0, 0, 1, 1, 1, 1, 1, 0],
        [0.28749, 0.414215, -0.725778, -0.494373, -0.0606301, -0.338256, -0.496674, 0.0998845],
    ),
    "l1": (
        L1(0.5, (0, 1)),
        (adversarial.cross_entropy, (Y,)),
        0.04 * START,
        [0, 0, 1, 1, 1, 1, 1, 0],
        [1.47216, 2.2236, 0.137773, 0.20935, 0.696427, 0.504896, 0.1115, 1.26195],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("norm", AGREED)
def test_the_official_code_finds_the_same(norm, key):
    threat, (loss, args), start, robust, best = AGREED[norm]
    value = adversarial.untargeted(predict, loss)
    x_adv = jax.jit(lambda start: adversarial.apgd(key, value, X, threat, args, steps=40, start=start))(start)
    np.testing.assert_allclose(value(x_adv, *args), best, rtol=2e-3, atol=1e-4)
    np.testing.assert_array_equal(~fooled(x_adv, Y), np.asarray(robust, bool))
    assert np.all(threat.contains(x_adv - X, X))


def test_as_many_features_move_as_in_the_official_code(key):
    # Where two thirds are whole, float32 may decide for one more; torch 2.13.0 does so for 29 numbers up to 784.
    more = [0, 321, 327, 333, 339, *range(444, 535, 6), *range(642, 685, 6)]
    exact = -(-2 * np.arange(785) // 3)
    np.testing.assert_array_equal(_moves(784), exact + np.isin(np.arange(785), more))
    # A compiler may not decide otherwise: these are counts of features that a start has changed.
    changed = np.array([1, 321, 324, 327, 642, 645, 783])
    start = np.where(np.arange(784) < changed[:, None], 1e-3, 0).astype(np.float32)
    slope = jnp.asarray(np.linspace(1, 2, 784), jnp.float32)
    tx, threat = adversarial.scale_by_sparse_apgd(10), L1(1.0, None)

    @jax.jit
    def step(start):
        extra = {"value": start[:, 0], "x": start * 0, "threat": threat}
        return tx.update(jnp.broadcast_to(-slope, start.shape), tx.init(start), start, **extra)[0]

    np.testing.assert_array_equal(np.sum(np.asarray(step(start)) != 0, axis=1), _moves(784)[changed])


def written_out(loss_and_grad, x0, start, project, direction, eps, steps):
    """Algorithm 1 of the paper for one example in float64, with branches; its best loss."""
    x = project(start)
    value, grad = loss_and_grad(x0 + x)
    best, best_x, best_grad = value, x, grad
    step, before, values, reduced, checked = 2 * eps, x, [0.0], True, value
    windows = dict(zip(checkpoints(steps), np.diff(checkpoints(steps), prepend=0), strict=True))
    for n in range(1, steps + 1):
        z = project(x + step * direction(grad))
        a = 1.0 if n == 1 else 0.75
        x, before = project(x + a * (z - x) + (1 - a) * (x - before)), x
        value, grad = loss_and_grad(x0 + x)
        values.append(value)
        if value > best:
            best, best_x, best_grad = value, x, grad
        if n in windows:
            window = windows[n]
            rises = sum(values[-i] > values[-i - 1] for i in range(1, window + 1))
            halve = rises <= 0.75 * window or (not reduced and best == checked)
            reduced, checked = halve, best
            if halve:
                step, x, grad = step / 2, best_x, best_grad
    return best


@pytest.mark.parametrize("ball", [Linf, L2])
def test_it_is_the_papers_algorithm(ball, key):
    # An objective with valleys, so that steps are halved at different checkpoints.
    bump = RNG.normal(size=(B, D))
    bumps = jnp.asarray(bump, jnp.float32)

    def wavy(x, bumps):
        return jnp.sum(jnp.sin(3 * x + bumps) * jnp.cos(2 * x * bumps), axis=1)

    eps, steps = {Linf: 0.4, L2: 1.0}[ball], 30
    x_adv = jax.jit(
        lambda start: adversarial.apgd(key, wavy, X, ball(eps, (0, 1)), (bumps,), steps=steps, start=start)
    )(0.2 * START)
    got = np.asarray(wavy(x_adv, bumps))
    for i in range(B):
        x0, b = X[i].astype(np.float64), bump[i]

        def project(d, x0=x0):
            d = np.clip(d, -eps, eps) if ball is Linf else d * min(1, eps / max(np.linalg.norm(d), 1e-12))
            return np.clip(d, -x0, 1 - x0)

        def loss_and_grad(x, b=b):
            s, c = np.sin(3 * x + b), np.cos(2 * x * b)
            grad = 3 * np.cos(3 * x + b) * c - s * np.sin(2 * x * b) * 2 * b
            return np.sum(s * c), grad

        def direction(g):
            return np.sign(g) if ball is Linf else g / np.linalg.norm(g)

        expected = written_out(loss_and_grad, x0, 0.2 * START[i].astype(np.float64), project, direction, eps, steps)
        np.testing.assert_allclose(got[i], expected, rtol=1e-3, atol=1e-3)


@functools.cache
def compiled(ball, steps=12, **options):
    def run(key, x, y, eps, ids):
        loss = adversarial.untargeted(predict, adversarial.dlr)
        return adversarial.apgd(key, loss, x, ball(eps, (0, 1)), (y,), steps=steps, ids=ids, **options)

    return jax.jit(run)


IDS = np.arange(B)


@pytest.mark.parametrize(("ball", "order", "steps"), [(Linf, 1, 3), (L2, 2, 30)])
def test_the_worst_case_of_a_linear_model(ball, order, steps, key):
    eps = np.linspace(0, 1, B, dtype=np.float32)
    w = jnp.asarray(W[:, 0])
    x_adv = jax.jit(lambda key: adversarial.apgd(key, lambda x: x @ w, X, ball(eps, None), steps=steps))(key)
    gained = np.asarray((x_adv - X) @ w)
    np.testing.assert_allclose(gained, eps * np.linalg.norm(W[:, 0], order), rtol=2e-3, atol=1e-5)


@pytest.mark.slow
def test_one_compilation_serves_every_radius(key):
    run = compiled(L2)
    for eps in (0.05, 0.1, 0.2):
        x_adv = run(key, X, Y, eps, IDS)
        norm = np.linalg.norm(x_adv - X, axis=1)
        assert np.all(norm <= eps + 1e-6) and np.all(norm > 0.5 * eps)
    assert run._cache_size() == 1
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(run(*jax.device_put((key, X, Y, np.float32(0.1), IDS))))


@pytest.mark.slow
def test_any_batch_split_and_each_examples_radius_give_the_same(key):
    run = compiled(L2)
    eps = np.linspace(0.1, 0.3, B, dtype=np.float32)
    together = run(key, X, Y, eps, IDS)
    halves = [run(key, X[i], Y[i], eps[i], IDS[i]) for i in (slice(0, 4), slice(4, 8))]
    np.testing.assert_allclose(together, np.concatenate(halves), atol=2e-6)


@pytest.mark.slow
def test_shrinking_balls_end_inside_and_near_the_worst_case(key):
    # Within the box the best features are moved as far as they go, one after the other, until eps is used up.
    eps, w = 1.0, W[:, 0]
    headroom = np.where(w > 0, 1 - X, X)
    order = np.argsort(-np.abs(w))
    used = np.minimum(np.cumsum(headroom[:, order], axis=1), eps)
    worst = np.diff(used, axis=1, prepend=0) @ np.abs(w[order])
    run = jax.jit(lambda key: adversarial.apgd(key, lambda x: x @ w, X, L1(eps, (0, 1)), steps=40, shrinking=True))
    x_adv = np.asarray(run(key), np.float64)
    assert np.all(np.abs(x_adv - X).sum(1) <= eps * (1 + 1e-6)) and x_adv.min() >= 0 and x_adv.max() <= 1
    gained = (x_adv - X) @ w
    assert np.all(gained <= worst + 1e-5) and np.all(gained > 0.9 * worst)


@pytest.mark.slow
def test_slots_of_the_evaluator_have_checkpoints_of_their_own(key):
    threat = Linf(0.05, (0, 1))
    loss = adversarial.untargeted(predict)
    tx = adversarial.scale_by_apgd(12)
    common = {"success": fooled, "steps": 12, "random_start": False}
    refilled = jax.jit(lambda key: adversarial.evaluate(key, tx, loss, X, threat, (Y,), slots=3, **common))(key)
    whole = jax.jit(lambda key: adversarial.attack(key, tx, loss, X, threat, (Y,), keep="best", **common))(key)
    flags = np.asarray(fooled(whole, Y))
    np.testing.assert_array_equal(refilled.success, flags)
    assert 0 < flags.sum() < B
    np.testing.assert_allclose(np.asarray(refilled.x)[~flags], np.asarray(whole)[~flags], atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("ball", "axis_type"), [(Linf, AxisType.Auto), (L1, AxisType.Explicit)], ids=["linf", "l1"])
def test_eight_devices_give_the_same_without_talking(ball, axis_type, key):
    def attack(key, x, y, eps):
        # Not DLR: where the label comes third it is 1 whatever x is, and the signs of its gradient are rounding.
        loss = adversarial.untargeted(lambda x: x @ jnp.asarray(W))
        return adversarial.apgd(key, loss, x, ball(eps, (0, 1)), (y,), steps=3)

    eps = jnp.full(B, 0.3)
    alone = jax.jit(attack)(key, X, Y, eps)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put((X, Y, eps), NamedSharding(mesh, P("batch")))
        program = jax.jit(attack).lower(key, *sharded).compile()
        result = program(key, *sharded)
    text = program.as_text()
    assert not [c for c in ("all-reduce", "all-gather", "all-to-all", "collective-permute") if c in text]
    np.testing.assert_allclose(result, alone, atol=2e-6)


def test_levels_are_found_to_the_last_bit():
    rows = jnp.asarray(np.abs(RNG.normal(size=(3, 7))).astype(np.float32)).at[2].set(0)
    for count in (1, 4, 7):
        got = last_level(lambda level, n=count: jnp.sum(rows >= level, axis=1, keepdims=True) >= n, rows)
        # A backend may take what is below the smallest normal number for 0.
        np.testing.assert_allclose(got[:, 0], np.sort(rows, axis=1)[:, 7 - count], rtol=0, atol=1.2e-38)
    assert last_level(lambda level: level <= rows[:, :1] - 10, rows).tolist() == [[0.0], [0.0], [0.0]]


def test_a_transform_alone_says_what_it_needs():
    delta = jnp.zeros((1, 2))
    for tx in (adversarial.scale_by_apgd(10), adversarial.scale_by_sparse_apgd(10)):
        with pytest.raises(TypeError, match="value=, x= and threat="):
            tx.update(delta, tx.init(delta), delta)
