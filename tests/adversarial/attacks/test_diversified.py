"""Output-diversified directions and starts, against their formulas in NumPy and the authors' loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from noisejax import adversarial
from noisejax._random import sample
from noisejax.adversarial import L2, Linf
from noisejax.adversarial._threats.balls import streams_per_example, words_per_element

RNG = np.random.default_rng(3)
N, D, C = 12, 6, 4
X = RNG.uniform(0.3, 0.7, (N, D)).astype(np.float32)
W = RNG.normal(size=(D, C)).astype(np.float32)
Y = (X @ W).argmax(1)


def predict(x):
    return x @ W


def curved(x):
    return jnp.sin(3 * x @ W)


def weights(key):
    """The weights that `odi` draws for X."""
    streams = streams_per_example(key, None, jnp.asarray(X))
    return np.asarray(sample.symmetric_uniform(words_per_element(streams, "adversarial.odi", jnp.zeros((N, C)))))


@pytest.mark.slow
def test_the_direction_of_a_linear_model_is_a_mixture_of_its_rows(key):
    direction = np.asarray(adversarial.ods(key, predict, X), np.float64)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, rtol=1e-5)
    mixture, *_ = np.linalg.lstsq(W.astype(np.float64), direction.T, rcond=None)
    np.testing.assert_allclose(W @ mixture, direction.T, atol=1e-5)  # in the span of the rows
    assert (np.abs(mixture) > 0).all()


@pytest.mark.slow
def test_weights_are_uniform_per_example_and_follow_the_ids(key):
    """With one input per output and equal lengths, w / |w|: its first coordinate's sign and rank are those of w."""
    n = 4096
    unit = np.asarray(jax.jit(lambda x: adversarial.ods(key, lambda x: x, x))(jnp.zeros((n, 3))), np.float64)
    rng = np.random.default_rng(0).uniform(-1, 1, (200_000, 3))
    reference = rng / np.linalg.norm(rng, axis=1, keepdims=True)
    for k in range(3):  # a right draw fails for one key in 10,000
        assert stats.ks_2samp(unit[:, k], reference[:, k]).pvalue > 1e-4 / 3
    ids = np.array([7, 3, 5])
    part = adversarial.ods(key, curved, X[ids], ids=ids)
    np.testing.assert_allclose(part, adversarial.ods(key, curved, X)[ids], atol=1e-6)


def test_a_flat_model_has_no_direction(key):
    flat = adversarial.ods(key, lambda x: 0 * x.sum(-1, keepdims=True), X)
    np.testing.assert_array_equal(flat, np.zeros_like(X))


@pytest.mark.parametrize("random_start", [True, False])
def test_the_start_is_the_loop_of_the_authors(random_start, key):
    """Linf: signs of the gradient of the weighted outputs, clipped to the cube and to the bounds, in NumPy."""
    threat, w, x = Linf(0.1, (0, 1)), weights(key), X.astype(np.float64)
    ours = jax.jit(lambda x: adversarial.odi(curved, threat, 0.04, steps=4, random_start=random_start)(key, x))(X)
    point = x + (np.asarray(threat.sample(key, jnp.asarray(X))) if random_start else 0)
    for _ in range(4):
        gradient = (w * 3 * np.cos(3 * point @ W)) @ W.T
        point = np.clip(x + np.clip(point + 0.04 * np.sign(gradient) - x, -0.1, 0.1), 0, 1)
    np.testing.assert_allclose(ours, point - x, atol=1e-5)


def test_the_start_in_a_ball_ends_at_the_best_point_of_a_linear_model(key):
    threat = L2(0.2, None)
    ours = jax.jit(lambda x: adversarial.odi(predict, threat, steps=40)(key, x))(X)
    best = weights(key) @ W.T
    np.testing.assert_allclose(ours, 0.2 * best / np.linalg.norm(best, axis=1, keepdims=True), atol=5e-3)


@pytest.mark.slow
def test_it_starts_attacks_and_diversifies_outputs(key):
    threat = Linf(0.15, (0, 1))
    start = adversarial.odi(predict, threat)

    @jax.jit
    def spread(keys):
        """The mean standard deviation of the outputs over starts."""
        both = (jax.vmap(lambda k, d=draw: predict(X + d(k, jnp.asarray(X))))(keys) for draw in (start, threat.sample))
        return [outputs.std(0).mean() for outputs in both]

    ours, naive = spread(jax.random.split(key, 32))
    assert ours > 1.3 * naive

    def attacked(w):
        begin = adversarial.odi(lambda x: x @ w, threat)
        loss = adversarial.untargeted(lambda x: x @ w)
        x_adv = adversarial.pgd(key, loss, X, threat, args=(Y,), steps=2, restarts=2, start=begin)
        return x_adv.sum(), (x_adv, loss(x_adv, Y), loss(X, Y))

    slope, (x_adv, raised, clean) = jax.jit(jax.grad(attacked, has_aux=True))(W)
    assert bool(threat.contains(x_adv - X, X).all()) and bool((raised > clean).all())
    np.testing.assert_array_equal(slope, 0)  # no derivative flows through a start into the model


def test_bad_input(key):
    with pytest.raises(TypeError, match="odi: threat must be a threat"):
        adversarial.odi(predict, 0.1)
    with pytest.raises(ValueError, match="odi: steps must be"):
        adversarial.odi(predict, Linf(0.1, None), steps=0)
    with pytest.raises(ValueError, match="one row per example"):
        adversarial.ods(key, lambda x: x.sum(), X)
    with pytest.raises(TypeError, match="ods: the model must return logits alone"):
        adversarial.ods(key, lambda x: (x, x), X)
