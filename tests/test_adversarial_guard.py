"""What watches adversarial training: the guard against collapse, the alignment of gradients, the meter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisejax import adversarial
from noisejax.adversarial import L2, Linf

RNG = np.random.default_rng(5)
B, D, C = 8, 5, 4
X = RNG.uniform(0.2, 0.8, size=(B, D)).astype(np.float32)
Y = RNG.integers(0, C, size=B).astype(np.int32)
W = RNG.normal(size=(D, C)).astype(np.float32) * 2
MOVED = np.clip(X + RNG.uniform(-0.1, 0.1, size=X.shape), 0, 1).astype(np.float32)
BOX = (0.0, 1.0)
ROWS = np.arange(B)


def test_the_guard_keeps_what_was_before_the_collapse():
    guard = adversarial.overfitting_guard(0.2)
    state = guard.init({"w": 0.0})
    update = jax.jit(guard.update)
    for value, overfit, kept in ((0.3, 0, 1), (0.5, 0, 2), (0.35, 0, 3), (0.1, 1, 3), (0.9, 1, 3)):
        state = update(state, {"w": jnp.float32(kept if not overfit else -1)}, value=value)
        assert (bool(state.overfit), float(state.kept["w"])) == (bool(overfit), kept)
    assert update(guard.init({"w": 0.0}), {"w": 1.0}, value=jnp.nan).overfit


def test_alignment_is_a_cosine_of_gradients(key):
    threat = Linf(0.2, BOX)

    @jax.jit
    def run(key):
        other = X + threat.sample(key, X)
        linear = adversarial.gradient_alignment(key, lambda x: x @ W[:, 0], X, threat)
        return adversarial.gradient_alignment(key, lambda x: 0.5 * (x * x).sum(-1), X, threat), other, linear

    got, other, linear = run(key)
    norms = np.linalg.norm(X, axis=1) * np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(got, (X * other).sum(1) / norms, rtol=1e-5)
    np.testing.assert_allclose(linear, 1, rtol=1e-5)
    curved = jax.jit(
        jax.grad(lambda a: adversarial.gradient_alignment(key, lambda x: jnp.zeros(B) * a, X, threat).sum())
    )
    assert curved(1.0) == 0  # no gradient anywhere, and no NaN


@pytest.mark.slow
def test_the_meter_counts_every_turn_of_a_loop(key):
    n, wide = 64, 128
    params = {"a": jnp.ones((n, wide)), "b": jnp.ones((wide, wide)), "c": jnp.ones((wide, 10))}
    x, y = jnp.ones((n, n)), jnp.zeros(n, jnp.int32)

    def predict(params, x):
        return jnp.tanh(jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"]

    def plain(params):
        return jax.grad(lambda p: adversarial.cross_entropy(predict(p, x), y).mean())(params)

    def trained(params, k):
        def loss(params):
            f = functools.partial(predict, params)
            x_adv = adversarial.pgd(key, adversarial.untargeted(f), x, Linf(0.1, None), args=(y,), steps=k)
            return adversarial.cross_entropy(f(x_adv), y).mean()

        return jax.grad(loss)(params)

    def free(params):
        def loss(params, x, y):
            return adversarial.cross_entropy(predict(params, x), y)

        return adversarial.free(loss, params, x, Linf(0.1, None), jnp.zeros_like(x), args=(y,))[1:]

    # A step of weights does not need the gradient in x, which is a share of a backward: floors in this model's units.
    first, rest = 2 * n * n * wide, 2 * n * wide * (wide + 10)
    forward, backward = first + rest, first + 2 * rest
    base = adversarial.flops(plain, params)
    assert base == pytest.approx(forward + backward, rel=0.1)
    for k in (1, 3):
        floor = k * 2 * (first + rest) + forward + backward
        assert adversarial.flops(functools.partial(trained, k=k), params) == pytest.approx(floor, rel=0.1)

    def freelb(params):
        loss = adversarial.untargeted(functools.partial(predict, params))
        return adversarial.freelb(key, loss, x, L2(0.1, None), args=(y,), steps=3).mean()

    # One backward for both gradients: that in x comes on top, but for the last of the perturbations.
    floor = 3 * (forward + backward) + 2 * first
    assert adversarial.flops(jax.grad(freelb), params) == pytest.approx(floor, rel=0.1)
    floor = (forward + backward + first) / (forward + backward)
    assert adversarial.overhead(free, plain, params) == pytest.approx(floor, rel=0.1)
