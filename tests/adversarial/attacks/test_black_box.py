"""Square Attack: its windows and bumps, what it reaches on linear models, when it ends, and whom it depends on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from noisejax import adversarial
from noisejax.adversarial import L0, L1, L2, Linf
from noisejax.adversarial._attacks.square import _bump, _halvings, _proposal, _sides
from noisejax.adversarial._threats.balls import streams_per_example

# What is compiled here runs for milliseconds: LLVM's passes would take most of the time.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(5)
B, H = 8, 4
X = RNG.uniform(0.3, 0.7, size=(B, H, H, 1)).astype(np.float32)
W = RNG.normal(size=(H * H, 3)).astype(np.float32)
BALLS = {"linf": Linf, "l2": L2, "l1": L1}
every = pytest.mark.parametrize("norm", BALLS)


def predict(x):
    return x.reshape(x.shape[0], -1) @ W


Y = np.array(predict(X).argmax(1))
fooled = adversarial.misclassified(predict)


def distance(order):
    """Of each example from the nearest boundary of the linear model, in the norm whose dual is `order`."""
    logits = X.reshape(B, -1) @ W
    gaps = logits[np.arange(B), Y][:, None] - logits
    lengths = np.linalg.norm(W[:, Y][:, :, None] - W[:, None, :], order, axis=0)
    return np.where(np.arange(3) == Y[:, None], np.inf, gaps / np.maximum(lengths, 1e-9)).min(1).astype(np.float32)


@functools.cache
def compiled(**options):
    def run(key, x, y, threat, ids=None):
        return adversarial.square(key, predict, x, y, threat, queries=150, ids=ids, **options)

    return quick(run)


@pytest.mark.slow
@every
def test_what_is_far_inside_the_ball_is_found_and_what_is_outside_is_not(norm, key):
    order = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    near = np.arange(B) % 2 == 0
    # Windows of one sign are poor L1 steps (the worst case moves one pixel alone): they need more room.
    eps = np.where(near, {"linf": 1.6, "l2": 1.6, "l1": 4.0}[norm], 0.95).astype(np.float32) * distance(order)
    threat = BALLS[norm](eps, (-9, 9))
    found = compiled()(key, X, Y, threat)
    assert found.dtype == jnp.float32 and np.all(threat.contains(found - X, X))
    flags = np.asarray(fooled(found, Y))
    assert flags[near].mean() >= 0.75 and not flags[~near].any()
    assert np.all(adversarial.margin(predict(found), Y)[~near] > adversarial.margin(predict(X), Y)[~near])


def test_each_example_has_windows_of_its_own_and_they_reach_every_place(key):
    # From one clean picture; the torch port would give all the same window, and never the last row.
    x = jnp.full((400, 5, 7, 2), 0.5)
    threat = Linf(0.25, (0, 1)).fitted(x)
    delta = np.asarray(
        quick(lambda s: _proposal(threat, s, x, x * 0, jnp.float32(0.25)))(streams_per_example(key, None, x))
    )
    hit = delta[..., 0] != 0
    assert set(np.unique(delta)) == {-0.25, 0.0, 0.25}
    assert np.all(hit.sum((1, 2)) == 9)  # round(sqrt(0.25 * 35)) squared
    first = np.stack([hit.any(2).argmax(1), hit.any(1).argmax(1)], 1)
    assert {tuple(place) for place in first.tolist()} == {(i, j) for i in range(3) for j in range(5)}
    signs = np.stack([delta[np.arange(400), first[:, 0], first[:, 1], c] > 0 for c in (0, 1)])
    assert np.all(np.abs(signs.mean(1) - 0.5) < 0.1) and abs(np.mean(signs[0] == signs[1]) - 0.5) < 0.1  # 4 sigma


def test_schedule_and_sides():
    steps = [0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    got = [int(_halvings(jnp.int32(step), 5000, False)) for step in steps]
    assert got == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert int(_halvings(jnp.int32(100), 1000, True)) == 4 and int(_halvings(jnp.int32(101), 1000, True)) == 5
    for share, h, w, least, sides in (
        (0.8, 32, 32, 1, (29, 29)),
        (0.0015, 28, 28, 1, (1, 1)),
        (0.8, 28, 28, 3, (25, 25)),
        (0.8, 32, 32, 3, (29, 29)),
        (0.001, 28, 28, 3, (3, 3)),
        (0.25, 1, 64, 1, (1, 16)),
        (0.8, 4, 20, 1, (4, 16)),
    ):
        assert tuple(int(n) for n in _sides(jnp.float32(share), h, w, least)) == sides


@pytest.mark.slow
def test_bumps_are_those_of_the_reference():
    # pyautoattack 0.2.0, SquareAttack.eta(5), and eta(4) turned.
    expected = {
        2: [[0.049162, 0.159777, 0.159777], [0.049162, 0.159777, 0.602237], [-0.04559, -0.148168, -0.148168]],
        4: [[0.004119, 0.024974, 0.024974], [0.004119, 0.024974, 0.358651], [-0.003532, -0.021413, -0.021413]],
    }
    for power, corner in expected.items():
        bump = np.asarray(_bump((jnp.int32(5), jnp.int32(5)), (6, 7), 0, power))
        np.testing.assert_allclose(bump[:3, :3], corner, atol=1e-6)
        assert np.all(bump[5:] == 0) and np.all(bump[:, 5:] == 0)
    turned = _bump((jnp.int32(4), jnp.int32(4)), (4, 4), 1, 2)
    np.testing.assert_allclose(turned[2], [0.160555, 0.605169, -0.160555, -0.605169], atol=1e-6)


def test_it_ends_when_all_are_fooled_and_leaves_alone_what_is_wrong_already(key):
    asked = []

    def spied(x):
        jax.debug.callback(lambda: asked.append(1))
        return predict(x)

    y = Y.copy()
    y[:3] = (y[:3] + 1) % 3
    run = quick(lambda key, x, y, eps: adversarial.square(key, spied, x, y, Linf(eps, (-9, 9)), queries=150))
    found = run(key, X, y, jnp.float32(4.0))
    jax.effects_barrier()
    assert np.all(fooled(found, y)) and np.all(found[:3] == X[:3]) and len(asked) < 30
    asked.clear()
    run(key, X, y, jnp.float32(1e-3))
    jax.effects_barrier()
    assert len(asked) == 150 + 2  # all the queries, the start and the clean examples


@pytest.mark.slow
def test_any_batch_split_one_compilation_and_no_host(key):
    run, ids = compiled(), np.arange(B)
    eps = 1.2 * distance(1)
    whole = run(key, X, Y, Linf(eps, (-9, 9)), ids)
    before = run._cache_size()
    for factor in (0.5, 2.0):
        assert np.all(Linf(factor * eps, None).contains(run(key, X, Y, Linf(factor * eps, (-9, 9)), ids) - X, X))
    assert run._cache_size() == before
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(run(*jax.device_put((key, X, Y, Linf(eps, (-9, 9)), ids))))
    some = np.array([5, 2, 3, 7, 0, 4, 6, 1])  # in another order, with other neighbours
    np.testing.assert_allclose(whole[some], run(key, X[some], Y[some], Linf(eps[some], (-9, 9)), some), atol=1e-5)
    near = Linf(1.1 * distance(1), (-9, 9))
    once, thrice = run(key, X, Y, near, ids), compiled(restarts=3)(key, X, Y, near, ids)
    assert np.all(fooled(thrice, Y) >= fooled(once, Y)) and np.sum(fooled(thrice, Y)) > np.sum(fooled(once, Y))


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_eight_devices_give_the_same(axis_type, key):
    def attack(key, x, y, eps):
        return adversarial.square(key, lambda x: x @ jnp.asarray(W), x, y, Linf(eps, (0, 1)), queries=40)

    x, eps = X.reshape(B, -1), 1.2 * distance(1)
    alone = quick(attack)(key, x, Y, eps)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put((x, Y, eps), NamedSharding(mesh, P("batch")))
        program = quick(attack).lower(key, *sharded).compile()
        result = program(key, *sharded)
    np.testing.assert_allclose(result, alone, atol=2e-6)
    assert not [c for c in ("all-gather", "all-to-all", "collective-permute") if c in program.as_text()]


@pytest.mark.slow
def test_targets_masks_and_vectors(key):
    x = jnp.asarray(X.reshape(B, -1))
    mutable = np.arange(H * H) % 4 != 0
    targets = (Y + 1) % 3
    threat = Linf(3.0, (-9, 9), mutable=mutable)
    run = quick(lambda key, y: adversarial.square(key, predict, x, y, threat, queries=100, targeted=True))
    found = np.asarray(run(key, targets))
    assert np.all(predict(found).argmax(1) == targets)
    assert np.all(found[:, ~mutable] == x[:, ~mutable])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threat": L0(2, (0, 1))}, "threat must be Linf or L2 or L1"),
        ({"logits_fn": lambda x: x.sum()}, r"logits of shape \(8, classes\), got shape \(\)"),
        ({"logits_fn": lambda x: (x, x)}, "got a tuple"),
        ({"labels": Y.astype(np.float32)}, "labels must be integers"),
        ({"labels": Y + 3}, r"labels must lie in \[0, 3\)"),
        ({"labels": Y.tolist()}, "labels must be an array of integers"),
        ({"x": X[:, None]}, r"x must be \(B, H, W, C\)"),
        ({"x": X * 255}, "x must lie inside the bounds"),
        ({"queries": -1}, "queries must be an integer, at least 0"),
        ({"p_init": 0}, r"p_init must be in \(0, 1\]"),
        ({"targeted": "yes"}, "targeted must be True or False"),
        ({"key": 0}, "key must be a JAX key"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_say_what_is_wrong(change, message, key):
    arguments = {"key": key, "logits_fn": predict, "x": X, "labels": Y, "threat": Linf(0.1, (0, 1))} | change
    with pytest.raises((ValueError, TypeError), match=message):
        adversarial.square(**arguments)
