"""Catastrophic overfitting: the guard against it and the alignment of gradients."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import adversarial
from noisejax.adversarial import Linf

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
