"""Attacks: closed forms, algorithms written out in NumPy, what is kept, traced amounts, devices and batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from noisejax import adversarial
from noisejax.adversarial import L0, L1, L2, Linf

RNG = np.random.default_rng(1)
B, D, C = 8, 6, 4
X = RNG.uniform(0.2, 0.8, size=(B, D)).astype(np.float32)
Y = RNG.integers(0, C, size=B)
W = RNG.normal(size=(D, C)).astype(np.float32)
V = RNG.normal(size=(C, C)).astype(np.float32)
FACADES = ("fgsm", "bim", "pgd", "mi_fgsm", "ni_fgsm", "adam_pgd")


def predict(x):
    return jnp.tanh(x @ W) @ V


def away(x, y):
    """Whichever class is meant, x moves along one direction."""
    return x @ jnp.asarray(W[:, 0]) * jnp.where(y == 0, 1.0, -1.0)


loss = adversarial.untargeted(predict)
fooled = adversarial.misclassified(predict)


@pytest.mark.parametrize(("ball", "order"), [(Linf, 1), (L2, 2), (L1, np.inf)])
def test_pgd_attains_the_worst_case_of_a_linear_model(ball, order, key):
    eps = np.linspace(0, 1, B, dtype=np.float32)
    y = np.arange(B) % 2
    worst = np.asarray(away(X, y)) + eps * np.linalg.norm(W[:, 0], order)
    run = jax.jit(lambda key, eps: adversarial.pgd(key, away, X, ball(eps, None), args=(y,), random_start=False))
    np.testing.assert_allclose(away(run(key, eps), y), worst, rtol=1e-5, atol=1e-5)


def test_an_l0_attack_finds_the_features_that_count(key):
    # Within the box the gain of a feature is its weight times the room that it has.
    headroom = np.where(W[:, 0] > 0, 1 - X, X) * np.abs(W[:, 0])
    worst = np.asarray(X @ W[:, 0]) + np.sort(headroom, axis=1)[:, -2:].sum(1)
    start = jnp.zeros_like(X)
    run = jax.jit(lambda start: adversarial.pgd(key, lambda x: x @ W[:, 0], X, L0(2, (0, 1)), steps=5, start=start))
    x_adv = run(start)
    assert np.all((np.asarray(x_adv) != X).sum(1) <= 2)
    clean = X @ W[:, 0]
    assert np.all(x_adv @ W[:, 0] - clean > 0.95 * (worst - clean))


def written_out(name, x0, gradient, eps, step, steps):
    """Each algorithm for Linf in NumPy, from its paper."""
    x, m, v = x0.copy(), np.zeros_like(x0), np.zeros_like(x0)
    for t in range(steps):
        g = gradient(x + step * m if name == "ni_fgsm" else x)
        if name in ("mi_fgsm", "ni_fgsm"):
            m = m + g / np.abs(g).mean(1, keepdims=True)
            move = np.sign(m)
        elif name == "adam_pgd":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            move = m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        else:
            move = np.sign(g)
        x = np.clip(np.clip(x + step * move, x0 - eps, x0 + eps), 0, 1)
    return x


@pytest.mark.parametrize("name", FACADES)
def test_attacks_are_their_papers_algorithms(name, key):
    eps, steps = 0.25, 1 if name == "fgsm" else 6
    share = {"fgsm": 1.0, "pgd": 2.5 / steps, "adam_pgd": 2.5 / steps}.get(name, 1 / steps)

    def gradient(x):
        hidden = np.tanh(x @ W)
        z = hidden @ V
        p = np.exp(z - z.max(1, keepdims=True))
        p = p / p.sum(1, keepdims=True) - np.eye(C)[Y]
        return (p @ V.T * (1 - hidden**2)) @ W.T

    options = {} if name == "fgsm" else {"steps": steps}
    attack = functools.partial(getattr(adversarial, name), random_start=False, **options)
    run = jax.jit(lambda x, eps: attack(key, loss, x, Linf(eps, (0, 1)), args=(Y,)))
    expected = written_out(name, X.astype(np.float64), gradient, eps, eps * share, steps)
    got = run(X, eps)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)


@functools.cache
def compiled(**options):
    def run(key, x, y, threat, step_size, ids):
        return adversarial.pgd(key, loss, x, threat, step_size, args=(y,), steps=5, ids=ids, **options)

    return jax.jit(run)


IDS = np.arange(B)


@pytest.mark.slow
def test_one_compilation_serves_every_radius_step_and_batch(key):
    run = compiled()
    first = run(key, X, Y, Linf(0.1, (0, 1)), 0.05, IDS)
    for eps in (0.2, 0.3):
        other = run(key, X, Y, Linf(eps, (0, 1)), eps / 3, IDS)
        assert np.all(np.abs(other - X) <= eps + 1e-6) and np.any(np.abs(other - X) > 0.1)
    assert run._cache_size() == 1
    curve = jax.vmap(lambda eps: adversarial.pgd(key, loss, X, Linf(eps, (0, 1)), eps / 2, args=(Y,), steps=5))
    np.testing.assert_allclose(jax.jit(curve)(jnp.array([0.1, 0.2]))[0], first, atol=1e-6)
    with jax.transfer_guard("disallow"):
        arguments = jax.device_put((key, X, Y, Linf(0.1, (0, 1)), np.float32(0.05), IDS))
        jax.block_until_ready(run(*arguments))


def test_budgets_and_steps_of_each_example(key):
    eps = np.linspace(0.1, 0.3, B, dtype=np.float32)
    together = compiled()(key, X, Y, Linf(eps, (0, 1)), eps / 3, IDS)
    alone = [compiled()(key, X, Y, Linf(float(e), (0, 1)), float(e) / 3, IDS)[i] for i, e in enumerate(eps)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)


@pytest.mark.slow
def test_any_batch_split_gives_the_same(key):
    run = compiled(restarts=3)
    whole = run(key, X, Y, L2(0.3, (0, 1)), 0.1, IDS)
    halves = [run(key, X[i], Y[i], L2(0.3, (0, 1)), 0.1, IDS[i]) for i in (slice(0, 4), slice(4, 8))]
    np.testing.assert_allclose(whole, np.concatenate(halves), atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ball", "axis_type"),
    [(Linf, AxisType.Auto), (L2, AxisType.Explicit), (L1, AxisType.Explicit), (L0, AxisType.Auto)],
    ids=["linf-auto", "l2-explicit", "l1-explicit", "l0-auto"],
)
def test_eight_devices_give_the_same_without_talking(ball, axis_type, key):
    # A model of one layer: what the attack does is under test. Its labels and radii are sharded as x is.
    def attack(key, x, y, eps):
        threat = ball(eps, (0, 1))
        value = adversarial.untargeted(lambda x: x @ jnp.asarray(W))
        held = adversarial.misclassified(lambda x: x @ jnp.asarray(W))
        return adversarial.pgd(key, value, x, threat, args=(y,), steps=3, restarts=2, success=held, keep="best")

    eps = jnp.full(B, 2.0 if ball is L0 else 0.3)
    alone = jax.jit(attack)(key, X, Y, eps)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put((X, Y, eps), NamedSharding(mesh, P("batch")))
        program = jax.jit(attack).lower(key, *sharded).compile()
        result = program(key, *sharded)
    text = program.as_text()
    assert not [c for c in ("all-reduce", "all-gather", "all-to-all", "collective-permute") if c in text]
    np.testing.assert_allclose(result, alone, atol=2e-6)


@pytest.mark.slow
def test_restarts_success_and_the_best(key):
    threat = Linf(0.25, (0, 1))
    bump = jnp.asarray(RNG.normal(size=D), jnp.float32)

    def wavy(x):  # large steps overshoot its peaks
        return jnp.sin(12 * (x - 0.5) @ bump)

    def held(x):
        return wavy(x) > 0.7

    values = {}
    for name, options in {
        "last": {},
        "best": {"keep": "best"},
        "restarts": {"keep": "best", "restarts": 6},
        "sticky": {"success": held},
        "sticky restarts": {"success": held, "restarts": 6},
    }.items():
        run = jax.jit(lambda key, o=options: adversarial.pgd(key, wavy, X, threat, 0.1, steps=7, **o))
        values[name] = np.asarray(wavy(run(key)))
    assert np.all(values["best"] >= values["last"]) and np.any(values["best"] > values["last"] + 0.1)
    assert np.all(values["restarts"] >= values["best"]) and np.any(values["restarts"] > values["best"])
    # What succeeded on the way is kept; where nothing did, the last point is what a plain attack gives.
    assert np.all((values["sticky"] > 0.7) == (values["best"] > 0.7))
    lost = values["sticky"] <= 0.7
    assert lost.any() and np.all(values["sticky"][lost] == values["last"][lost])
    assert np.sum(values["last"] > 0.7) < np.sum(values["sticky"] > 0.7) <= np.sum(values["sticky restarts"] > 0.7)


def test_expectation_over_transformation(key):
    threat = Linf(0.1, None)

    def noisy(key, x, y):
        shift = jax.random.normal(key, (D,))
        return x @ jnp.asarray(W[:, 0]) + y + (x - X) @ shift * 0.01

    seen = []

    def spy(key, x, y):
        jax.debug.callback(lambda data: seen.append(tuple(np.asarray(data).tolist())), jax.random.key_data(key))
        return noisy(key, x, y)

    y = jnp.zeros(B)
    got = jax.jit(lambda key, y: adversarial.pgd(key, spy, X, threat, args=(y,), steps=3, eot=2, restarts=2))(key, y)
    np.testing.assert_allclose(got - X, np.broadcast_to(0.1 * np.sign(W[:, 0]), X.shape), atol=1e-6)
    jax.effects_barrier()
    assert len(set(seen)) == (3 + 1) * 2  # new in every step and at the end, the same for both restarts


@pytest.mark.slow
def test_no_gradient_goes_through_an_attack(key):
    threat = Linf(0.1, (0, 1))

    def attacked(w, x):
        value = adversarial.untargeted(lambda x: jnp.tanh(x @ w) @ V)
        return adversarial.pgd(key, value, x, threat, args=(Y,), steps=3)

    def training(w, x):
        return jnp.mean(adversarial.cross_entropy(jnp.tanh(attacked(w, x) @ w) @ V, Y))

    x_adv = jax.jit(attacked)(jnp.asarray(W), X)
    fixed = jax.grad(lambda w: jnp.mean(adversarial.cross_entropy(jnp.tanh(x_adv @ w) @ V, Y)))(jnp.asarray(W))
    np.testing.assert_allclose(jax.jit(jax.grad(training))(jnp.asarray(W), X), fixed, atol=1e-6)
    assert np.all(jax.jit(jax.grad(lambda x: jnp.sum(attacked(jnp.asarray(W), x))))(X) == 0)
    text = str(jax.make_jaxpr(jax.grad(training))(jnp.asarray(W), X))
    assert text.count("scan[") == str(jax.make_jaxpr(training)(jnp.asarray(W), X)).count("scan[") == 1


@pytest.mark.slow
def test_losses_that_are_not_finite_do_no_harm(key):
    def broken(x):
        return jnp.where(x[:, 0] > 0.5, jnp.nan, jnp.log(x[:, 0] - 0.3))  # NaN above 0.5, -inf or NaN below 0.3

    x = jnp.asarray(np.linspace(0, 1, B, dtype=np.float32)[:, None].repeat(2, 1))
    for options in ({}, {"keep": "best", "restarts": 2}):
        run = jax.jit(lambda key, x, o=options: adversarial.pgd(key, broken, x, L2(0.1, (0, 1)), steps=4, **o))
        got = run(key, x)
        assert np.all(np.isfinite(got)) and np.all(L2(0.1, (0, 1)).contains(got - x, x))


@pytest.mark.slow
def test_a_slot_that_is_free_takes_the_next_example(key):
    # Two steps fool most examples; some never are. The refilled slots give what the whole batch would have.
    n, slots, steps = 60, 8, 20
    x = np.random.default_rng(3).uniform(0.2, 0.8, size=(n, D)).astype(np.float32)
    y = np.array(predict(x).argmax(1))
    y[:5] = (y[:5] + 1) % C  # misclassified already
    eps = np.where(np.arange(n) % 6 == 0, 0.001, 0.6).astype(np.float32)
    threat = Linf(eps, (0, 1))
    tx = optax.chain(adversarial.scale_by_steepest(), adversarial.scale_by_reach(0.125))
    common = {"success": fooled, "steps": steps, "restarts": 2}
    refilled = jax.jit(
        lambda key, x, y, threat: adversarial.evaluate(key, tx, loss, x, threat, (y,), slots=slots, **common)
    )(key, x, y, threat)
    whole = jax.jit(lambda key, x, y, threat: adversarial.attack(key, tx, loss, x, threat, (y,), **common))(
        key, x, y, threat
    )
    flags = np.asarray(fooled(whole, y)) | np.asarray(fooled(x, y))
    np.testing.assert_array_equal(refilled.success, flags)
    np.testing.assert_array_equal(fooled(refilled.x, y), flags)
    assert np.all(threat.contains(refilled.x - x, x)) and np.all(refilled.x[:5] == x[:5])
    assert np.all(refilled.steps[:5] == 0) and np.all(refilled.steps[~flags] == 2 * steps)
    assert 0.5 < flags.mean() < 1
    full = n * 2 * steps
    assert int(refilled.passes) * slots < full / 2  # less than half of the work


def test_slots_average_over_keys(key):
    tx = optax.chain(adversarial.scale_by_steepest(), adversarial.scale_by_reach(0.5))

    def noisy(key, x, y):
        return loss(x, y) + jax.random.normal(key, x.shape[:1], jnp.float32)

    def high(key, x, y):
        return noisy(key, x, y) > 1

    def run(key, eps):
        return adversarial.evaluate(key, tx, noisy, X, Linf(eps, None), (Y,), success=high, steps=2, slots=3, eot=4)

    with jax.enable_x64(True):
        assert jax.eval_shape(run, key, 0.1).success.shape == (B,)


def test_transforms_one_by_one():
    grads = jnp.asarray(RNG.normal(size=(3, 4, 2)), jnp.float32).at[2].set(0)
    for order in (1, 2, np.inf):
        tx = adversarial.scale_by_norm(order)
        got = np.asarray(tx.update(grads, tx.init(grads))[0]).reshape(3, -1)
        np.testing.assert_allclose(np.linalg.norm(got, order, axis=1), [1, 1, 0], rtol=1e-5)
    tx = adversarial.scale_by_norm("mean")
    np.testing.assert_allclose(jnp.abs(tx.update(grads, ())[0]).mean((1, 2)), [1, 1, 0], rtol=1e-5)
    # Each example has a count and a threat of its own.
    threat = Linf(jnp.array([1.0, 2.0, 3.0]), (0, 1)).fitted(grads)
    inner = optax.chain(
        adversarial.scale_by_steepest(), adversarial.scale_by_reach(1.0), optax.scale_by_schedule(lambda n: n + 1.0)
    )
    tx = adversarial.for_each_example(inner)
    state = tx.init(grads)
    with jax.numpy_dtype_promotion("standard"):
        for n in (1, 2):
            updates, state = tx.update(grads, state, grads, x=grads, threat=threat, value=jnp.zeros(3))
            expected = -n * np.sign(grads) * np.array([1, 2, 3], np.float32)[:, None, None]
            np.testing.assert_allclose(updates, expected)
    assert jax.tree.leaves(state)[0].shape == (3,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": lambda x, y: jnp.mean(x)}, r"one number for each example of x, of shape \(8,\), got shape \(\)"),
        ({"loss": predict, "args": ()}, r"got shape \(8, 4\)"),
        ({"x": X * 255}, r"x must lie inside the bounds of Linf.*got values from"),
        ({"x": (X * 255).astype(np.uint8)}, "x must hold floats"),
        ({"x": np.float32(0.5)}, "batch"),
        ({"args": (Y[:3],)}, "leading axis of 8 examples"),
        ({"args": Y}, "args must be a tuple"),
        ({"threat": 0.1}, "threat must be a threat such as Linf"),
        ({"steps": 1.5}, "steps must be an integer"),
        ({"restarts": 0}, "restarts must be an integer, at least 1"),
        ({"keep": "all"}, "keep must be one of"),
        ({"key": 0}, "key must be a JAX key"),
        ({"step_size": np.ones(3)}, "step_size of shape"),
        ({"args": (Y.astype(np.float32),)}, "labels must be integers"),
        ({"args": (np.eye(C)[Y],)}, "argmax"),
        ({"args": (Y + C,)}, r"labels must lie in \[0, 4\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_say_what_is_wrong(change, message, key):
    arguments = {"key": key, "loss": loss, "x": X, "threat": Linf(0.1, (0, 1)), "args": (Y,)} | change
    with pytest.raises((ValueError, TypeError), match=message):
        adversarial.pgd(**arguments)


@pytest.mark.slow
def test_no_steps_and_empty_and_wide_inputs(key):
    np.testing.assert_array_equal(adversarial.pgd(key, away, X, Linf(0.1, None), args=(Y,), steps=0, start=X * 0), X)
    assert adversarial.pgd(key, away, X[:0], Linf(0.1, None), args=(Y[:0],)).shape == (0, D)
    half = adversarial.fgsm(key, away, jnp.asarray(X, jnp.bfloat16), Linf(0.1, (0, 1)), args=(Y,))
    assert half.dtype == jnp.float32


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "mi_fgsm", "ni_fgsm", "adam_pgd", "apgd"])
def test_a_misspelt_option_is_named_and_the_options_are_listed(name, key):
    call = getattr(adversarial, name)
    with pytest.raises(TypeError, match=rf"{name} got an unknown option 'unrol'. Its options are .*unroll"):
        call(key, loss, X, Linf(0.1, (0, 1)), args=(Y,), unrol=2)


@pytest.mark.slow
def test_limit_stops_where_an_attack_of_so_many_steps_does(key):
    """With steps of one size: the limit is traced, so that one program serves all."""
    threat = Linf(0.1, (0, 1))

    def run(key, limit, steps=9):
        return adversarial.pgd(key, away, X, threat, 0.01, (Y,), steps=steps, limit=limit)

    short = jax.jit(run)
    for limit in (0, 4, 20):
        expected = adversarial.pgd(key, away, X, threat, 0.01, (Y,), steps=min(limit, 9))
        np.testing.assert_allclose(short(key, limit), expected, atol=1e-6)
    np.testing.assert_array_equal(run(key, 0, steps=1), run(key, None, steps=0))
