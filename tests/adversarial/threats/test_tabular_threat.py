"""Threats to tables: whatever is tried is a row that could exist."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noisejax import adversarial
from noisejax.adversarial import L2, Linf, Tabular

# Columns: income, age (integer), rooms (integer), category of 3, category of 2, total = income + age, fixed
N = 24
RNG = np.random.default_rng(4)
X = np.zeros((N, 10), np.float32)
X[:, 0] = RNG.uniform(0.5, 2, N)
X[:, 1], X[:, 2] = RNG.integers(20, 60, N), RNG.integers(1, 6, N)
X[np.arange(N), 3 + RNG.integers(0, 3, N)] = 1
X[np.arange(N), 6 + RNG.integers(0, 2, N)] = 1
X[:, 8] = X[:, 0] + X[:, 1]
X[:, 9] = RNG.normal(size=N)
MUTABLE = np.arange(10) != 9
LOW, HIGH = np.full(10, -50, np.float32), np.full(10, 200, np.float32)
LOW[2], HIGH[2] = 1, 6
EPS = np.array([[0.3, 3.4, 1.5, 0, 0, 0, 0, 0, 0, 1]], np.float32)
W = jnp.asarray(RNG.normal(size=10), jnp.float32).at[1].set(0.5).at[3].set(5.0).at[8].set(1.5)


def total(x):
    return x.at[:, 8].set(x[:, 0] + x[:, 1])


def table(ball, switches=None):
    groups = ((3, 4, 5), (6, 7))
    return Tabular(ball, integers=(1, 2), categories=groups, switches=switches, derive=total, derived=(8,))


THREATS = {
    "linf": table(Linf(EPS, (LOW, HIGH), mutable=MUTABLE)),
    "l2": table(L2(2.5, (LOW, HIGH), mutable=MUTABLE), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", THREATS)
def test_adversarial_rows_could_exist_and_raise_the_loss(name, key):
    threat = THREATS[name]
    seen = []

    def loss(x):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x)
        return x @ W

    run = jax.jit(lambda key, threat: adversarial.pgd(key, loss, X, threat, steps=8, keep="best"))
    got = np.asarray(run(key, threat))
    jax.effects_barrier()
    assert len(seen) >= 9
    for x in [*seen, got]:
        assert np.all(threat.contains(jnp.asarray(x - X), jnp.asarray(X)))
        assert np.all(x[:, [1, 2]] == np.round(x[:, [1, 2]])) and np.all((x[:, 2] >= 1) & (x[:, 2] <= 6))
        assert np.all(x[:, 3:6].sum(1) == 1) and np.all(np.isin(x[:, 3:8], [0, 1]))
        np.testing.assert_allclose(x[:, 8], x[:, 0] + x[:, 1], rtol=1e-5)
        assert np.all(x[:, 9] == X[:, 9])
    assert np.all(got @ np.asarray(W) >= X @ np.asarray(W) - 1e-4)
    switched = np.any(got[:, 3:6] != X[:, 3:6], 1).astype(int) + np.any(got[:, 6:8] != X[:, 6:8], 1)
    assert switched.max() == {"linf": 2, "l2": 1}[name]
    if name == "linf":  # the worst case is known, one column at a time
        w = np.asarray(W)
        assert np.mean(got[:, 1] == X[:, 1] + 3) == 1  # 3.4, rounded towards x; the total pulls the same way
        assert np.all(got[:, 3] == 1) and np.all(got[:, 6] == (w[6] > w[7]))
        assert np.mean(np.abs(got[:, 0] - X[:, 0]) > 0.29) == 1


def test_slots_take_tables(key):
    threat = THREATS["linf"]
    tx = optax.chain(adversarial.scale_by_steepest(), adversarial.scale_by_reach(0.4))

    def run(key):
        def high(x):
            return x @ W > 90.0

        return adversarial.evaluate(key, tx, lambda x: x @ W, X, threat, success=high, steps=5, slots=7)

    assert jax.eval_shape(run, key).x.shape == X.shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tabular(0.1), "threat must be Linf"),
        (lambda: Tabular(Linf(0.1, None), integers=(0,), categories=((0, 1),)), "appear only once"),
        (lambda: Tabular(Linf(0.1, None), categories=((0,),)), "at least two columns"),
        (lambda: Tabular(Linf(0.1, None), switches=-1), "switches"),
        (lambda: Tabular(Linf(0.1, None), derived=(1,)), "both or neither"),
        (lambda: Tabular(Linf(0.1, None), integers=("age",)), "numbered from 0"),
        (lambda: Tabular(Linf(0.1, None), integers=(3,)).project(X[:, :2], X[:, :2]), r"shape \(B, D\)"),
    ],
)
def test_bad_tables_say_what_is_wrong(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
