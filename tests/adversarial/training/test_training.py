"""Losses of adversarial training: their papers' formulas in NumPy, and gradients only where the papers have them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from scipy.special import log_softmax, softmax

import noisejax.nnx as njx
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


def moved(key, loss, x, threat, step_size=None, args=(), **options):
    """An attack whose result is known."""
    del key, loss, x, threat, step_size, args, options
    return jnp.asarray(MOVED)


def formulas(z, z_adv):
    p, q = softmax(z, axis=1), softmax(z_adv, axis=1)
    divergence = (p * (np.log(p) - np.log(q))).sum(1)
    runner_up = np.where(np.eye(C, dtype=bool)[Y], 0, q).max(1)
    boosted = -np.log(q[ROWS, Y]) - np.log(1.0001 - runner_up)
    return {
        "trades": -log_softmax(z, axis=1)[ROWS, Y] + 3 * divergence,
        "mart": boosted + 3 * divergence * (1.0000001 - p[ROWS, Y]),
        "alp": -log_softmax(z_adv, axis=1)[ROWS, Y] + 3 * np.sum((z - z_adv) ** 2, axis=1),
    }


@pytest.mark.parametrize("name", ["trades", "mart", "alp"])
def test_losses_are_their_papers_formulas_and_their_gradients(name, key):
    loss = getattr(adversarial, name)

    @jax.jit
    def run(w, direction):
        def values(w):
            return loss(key, lambda x: x @ w, X, Y, Linf(0.1, BOX), jnp.full(B, 3.0), attack=moved)

        return jax.jvp(values, (w,), (direction,))

    def written(w):
        return formulas(X.astype(np.float64) @ w, MOVED.astype(np.float64) @ w)[name]

    direction = RNG.normal(size=W.shape).astype(np.float32)
    values, slopes = run(W, direction)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, written(W), rtol=2e-5)
    # Both outputs of the model have their gradient: differences in w of the formula, in which both move.
    h, w, along = 1e-6, W.astype(np.float64), direction.astype(np.float64)
    expected = (written(w + h * along) - written(w - h * along)) / (2 * h)
    np.testing.assert_allclose(slopes, expected, rtol=2e-4, atol=2e-4)


def test_what_the_attacks_are_given(key):
    def attack(key, loss, x, threat, step_size=None, args=(), **options):
        seen.append((loss(jnp.asarray(MOVED), *args), options["start"], options.get("steps")))
        return jnp.asarray(MOVED)

    def eval_mode(x):
        return x @ jnp.asarray(W)

    def train_mode(x):
        return 2.0 * eval_mode(x)

    @jax.jit
    def run():
        for loss in (adversarial.trades, adversarial.mart):
            loss(key, train_mode, X, Y, Linf(0.1, BOX), attacked=eval_mode, attack=attack, steps=3)
        return seen

    seen = []
    (divergence, start, steps), (entropy, other_start, _) = run()
    p, q = softmax(X @ W, axis=1), softmax(MOVED @ W, axis=1)
    np.testing.assert_allclose(divergence, (p * np.log(p / q)).sum(1), rtol=1e-4)
    np.testing.assert_allclose(entropy, -log_softmax(MOVED @ W, axis=1)[ROWS, Y], rtol=1e-4)
    assert steps == 3 and 0.0005 < np.std(start) < 0.0015 and np.all(start != other_start)


def test_one_compilation_along_a_schedule_of_eps_and_no_gradient_through_the_attack(key):
    @jax.jit
    def step(w, eps, beta):
        def loss(w):
            threat = Linf(eps, BOX)
            return adversarial.trades(key, lambda x: jnp.tanh(x) @ w, X, Y, threat, beta, steps=4).mean()

        return jax.value_and_grad(loss)(w)

    clean = -log_softmax(np.tanh(X) @ W, axis=1)[ROWS, Y].mean()
    np.testing.assert_allclose(step(W, 0.0, 6.0)[0], clean, rtol=1e-5)
    values = [step(W, eps, 6.0)[0] for eps in (0.01, 0.05, 0.1)]
    assert clean < values[0] < values[1] < values[2]
    assert step._cache_size() == 1
    # On a linear model the KL's maximum lies in a corner of the box, and stays there: the gradient is that at a fixed
    # x', which differences of the whole loss see too, while they are too small for an example to change its corner.
    direction = RNG.normal(size=W.shape).astype(np.float32)
    h = 1e-3
    slope = (step(W + h * direction, 0.1, 6.0)[0] - step(W - h * direction, 0.1, 6.0)[0]) / (2 * h)
    np.testing.assert_allclose(np.sum(step(W, 0.1, 6.0)[1] * direction), slope, rtol=0.02)


def test_vat_finds_the_top_eigenvector(key):
    eps = 0.05

    def run(w, xi, steps):
        seen = []

        def predict(x):
            seen.append(x)
            return x @ w

        values = adversarial.vat(key, predict, X, L2(eps, None), xi, steps=steps)
        return values, seen[-1] - X

    exact, (_, once) = jax.jit(lambda w: (run(w, None, 40), run(w, None, 1)))(W)
    p = softmax(X.astype(np.float64) @ W, axis=1)
    for row in range(B):
        fisher = W @ (np.diag(p[row]) - np.outer(p[row], p[row])) @ W.T
        eigenvalues, vectors = np.linalg.eigh(fisher)
        assert eigenvalues[-1] > 1.05 * eigenvalues[-2]  # or 40 iterations would not do
        assert abs(exact[1][row] @ vectors[:, -1]) > 0.999 * eps
        q = softmax((X[row] + exact[1][row]) @ W)
        np.testing.assert_allclose(exact[0][row], (p[row] * np.log(p[row] / q)).sum(), rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(once, axis=1), eps, rtol=1e-5)
    differences = jax.jit(lambda w: run(w, 1e-2, 1))(W)[1]  # the paper's form, over a length that float32 can see
    assert np.all(np.sum(differences * once, axis=1) > 0.99 * eps**2)


def test_vat_has_its_gradient_in_the_moved_answer_alone(key):
    def loss(w):
        return adversarial.vat(key, lambda x: x @ w, X, Linf(0.1, BOX)).sum()

    def written(w, fixed, r):
        p = jax.nn.softmax(X @ fixed)
        return jnp.sum(p * (jnp.log(p) - jax.nn.log_softmax((X + r) @ w)))

    @jax.jit
    def run(w):
        seen = []
        adversarial.vat(key, lambda x: seen.append(x) or x @ w, X, Linf(0.1, BOX))
        return jax.grad(loss)(w), jax.grad(written)(w, w, seen[-1] - X), seen[-1]

    got, expected, x_adv = run(W)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.all(np.abs(x_adv - X) <= 0.1 + 1e-6) and np.mean(np.abs(x_adv - X) > 0.0999) > 0.9


LENGTHS = np.array([3, 1, 4, 2, 2, 4, 1, 3])
TOKENS = RNG.normal(size=(B, 4, D)).astype(np.float32)
REAL = np.arange(4)[None, :, None] < LENGTHS[:, None, None]
HALF = 0.5


def energy(x):
    return 0.5 * jnp.sum(x * x, axis=(1, 2))


@pytest.mark.slow
def test_freelb_is_its_formula(key):
    def run(x, magnitude, steps):
        def loss(x):
            return adversarial.freelb(
                key, energy, x, L2(2.0, None), HALF, magnitude, steps=steps, lengths=LENGTHS
            ).sum()

        return jax.value_and_grad(loss)(x)

    @jax.jit
    def one(x):
        seen = []
        value = adversarial.freelb(
            key,
            lambda x: seen.append(x) or energy(x),
            x,
            L2(2.0, None),
            HALF,
            0.3,
            steps=1,
            lengths=LENGTHS,
        )
        return value, seen[-1] - x

    value, delta = one(TOKENS)
    np.testing.assert_allclose(value, energy(TOKENS + delta), rtol=1e-5)
    assert np.all(delta[~np.broadcast_to(REAL, delta.shape)] == 0)
    padded = np.concatenate([TOKENS, np.full_like(TOKENS[:, :2], 7.0)], axis=1)  # another padding, the same draws
    np.testing.assert_array_equal(one(padded)[1][:, :4], delta)
    scaled = delta * np.sqrt(LENGTHS * D)[:, None, None]  # uniform in +-0.3, whatever the length
    assert np.all(np.abs(scaled) < 0.3 + 1e-4) and np.all(np.abs(scaled).max((1, 2)) > 0.03)
    assert np.abs(scaled).max() > 0.25
    # From x itself, two steps: the ascent of half the squared length goes outwards, in the real tokens.
    real = TOKENS * REAL
    second = TOKENS + HALF * real / np.linalg.norm(real, axis=(1, 2), keepdims=True)
    value, grads = jax.jit(functools.partial(run, steps=2))(TOKENS, 0.0)
    np.testing.assert_allclose(value, np.sum(0.5 * (energy(TOKENS) + energy(second))), rtol=1e-5)
    np.testing.assert_allclose(grads, 0.5 * (TOKENS + second), rtol=1e-5)


def test_smart_moves_real_tokens_by_their_largest_gradient(key):
    w = jnp.asarray(W)

    def predict(x):
        return jnp.sum(jnp.where(REAL, x, 0), axis=1) @ w

    @jax.jit
    def run(x, eps, step):
        seen = []
        values = adversarial.smart(
            key, lambda x: seen.append(x) or predict(x), x, Linf(eps, None), step, 1e-3, lengths=LENGTHS
        )
        return values, seen[-1] - x, adversarial.symmetric_kl(predict(seen[-1]), predict(x))

    values, delta, expected = run(TOKENS, 0.01, 1.0)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    z, z_adv = (np.asarray(predict(v), np.float64) for v in (TOKENS, TOKENS + delta))
    p, q = softmax(z, axis=1), softmax(z_adv, axis=1)
    np.testing.assert_allclose(values, ((p - q) * np.log(p / q)).sum(1), rtol=1e-2, atol=1e-7)
    assert np.all(delta[~np.broadcast_to(REAL, delta.shape)] == 0) and np.abs(delta).max() <= 0.01 + 1e-6
    # A step inside the ball moves each real token's largest gradient by the step, up to the start's 1e-3.
    _, delta, _ = run(TOKENS, 1.0, 0.1)
    largest = np.abs(delta).max(-1)[REAL[..., 0]]
    assert np.all(np.abs(largest - 0.1) < 0.005)


def test_free_training_carries_its_perturbation(key):
    w, rate, eps = W.astype(np.float64), 0.5, 0.1
    delta = np.zeros_like(X, np.float64)
    for _ in range(3):
        x = np.clip(X + delta, 0, 1)
        error = (softmax(x @ w, axis=1) - np.eye(C)[Y]) / B
        w, ascent = w - rate * x.T @ error, error @ w.T
        delta = np.clip(np.clip(delta + 0.6 * eps * np.sign(ascent), -eps, eps), -X, 1 - X)

    def loss(w, x, y):
        return adversarial.cross_entropy(x @ w, y), x.mean()

    @jax.jit
    def batch(w, delta, eps):
        def replay(carry, _):
            w, delta = carry
            (values, mean), grads, delta = adversarial.free_step(
                loss, w, jnp.asarray(X), Linf(eps, BOX), delta, 0.6 * eps, args=(Y,), has_aux=True
            )
            return (w - rate * grads, delta), (values, mean)

        return jax.lax.scan(replay, (w, delta), length=3)

    (got, carried), (values, _) = batch(W, jnp.zeros_like(X), eps)
    np.testing.assert_allclose(got, w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(carried, delta, atol=1e-6)
    np.testing.assert_allclose(values[0], -log_softmax(X @ W, axis=1)[ROWS, Y], rtol=1e-5)


class Normed(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(D, 6, rngs=rngs), nnx.BatchNorm(6, rngs=rngs)
        self.dropout, self.last = njx.Dropout(0.2, rngs=rngs), nnx.Linear(6, C, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


@pytest.mark.slow
def test_a_model_in_train_mode_changes_its_statistics_on_clean_and_adversarial_examples_alone(key):
    model = Normed(nnx.Rngs(0))
    model.train()
    by_hand = nnx.clone(model)
    optimizer = nnx.Optimizer(model, optax.sgd(0.0), wrt=nnx.Param)
    traces = []

    @nnx.jit
    def step(model, optimizer, eps):
        traces.append(eps)
        attacked, state = njx.functional(nnx.view(model, deterministic=True, use_running_average=True))

        def loss(model):
            predict = functools.partial(attacked, state)
            return adversarial.trades(key, model, X, Y, Linf(eps, BOX), attacked=predict, steps=2).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value, grads

    _, grads = step(model, optimizer, jnp.float32(0.0))
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))
    for _ in range(2):  # at eps = 0 both are X
        hidden = by_hand.norm(by_hand.first(jnp.asarray(X)))
    assert hidden.shape == (B, 6)
    np.testing.assert_allclose(model.norm.mean[...], by_hand.norm.mean[...], rtol=1e-5)
    np.testing.assert_allclose(model.norm.var[...], by_hand.norm.var[...], rtol=1e-5)
    step(model, optimizer, jnp.float32(0.1))
    assert len(traces) == 1

    def careless(model):
        return adversarial.trades(key, model, X, Y, Linf(0.1, BOX), steps=2).mean()

    with pytest.raises(ValueError, match=r"pgd: the model changes its own state .* model.eval\(\)"):
        nnx.grad(careless)(model)


def test_sharded_batches_are_traced(key):
    """Explicit axes are types: tracing alone finds what would not compile."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x, y, tokens, lengths = (jax.device_put(a, NamedSharding(mesh, P("data"))) for a in (X, Y, TOKENS, LENGTHS))

        def losses(key, w, x, y, tokens, lengths):
            def predict(x):
                return x.mean(1) @ w if x.ndim == 3 else x @ w

            loss = adversarial.untargeted(predict)
            return (
                adversarial.trades(key, predict, x, y, Linf(0.1, BOX), steps=2),
                adversarial.mart(key, predict, x, y, Linf(0.1, BOX), steps=2),
                adversarial.alp(key, predict, x, y, Linf(0.1, BOX), steps=2),
                adversarial.vat(key, predict, x, L2(0.1, None)),
                adversarial.freelb(key, loss, tokens, L2(0.1, None), args=(y,), lengths=lengths),
                adversarial.smart(key, predict, tokens, Linf(0.1, None), lengths=lengths),
                adversarial.gradient_alignment(key, loss, x, Linf(0.1, BOX), (y,)),
            )

        for value in jax.eval_shape(losses, key, W, x, y, tokens, lengths):
            assert value.shape == (B,) and value.sharding.spec == P("data")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: adversarial.trades(key, jnp.sin, X, Y[:3], Linf(0.1, BOX)), "leading axis"),
        (
            lambda key: adversarial.trades(key, lambda x: x, X, Y, Linf(0.1, BOX), jnp.ones(3), attack=moved),
            "beta must be",
        ),
        (lambda key: adversarial.vat(key, jnp.sin, X, L2(0.1, None), steps=0), "steps must be at least 1"),
        (lambda key: adversarial.vat(key, jnp.sin, X, L2(0.1, None), 0.0), "xi must be above 0"),
        (lambda key: adversarial.freelb(key, jnp.sum, TOKENS, L2(0.1, None)), "one number for each example"),
        (lambda key: adversarial.smart(key, jnp.sum, TOKENS, L2(0.1, None), lengths=jnp.ones(3)), "lengths must be"),
        (lambda key: adversarial.trades(key, jnp.sin, X, Y, Linf(0.1, BOX), stepz=3), "trades got an unknown .*stepz"),
        (lambda key: adversarial.alp(key, jnp.sin, X, Y, Linf(0.1, BOX), beta=3), "alp got an unknown .*beta.*keep"),
        (lambda key: adversarial.free_step(jnp.sum, W, X, Linf(0.1, BOX), jnp.zeros(3)), "delta must have"),
        (
            lambda key: adversarial.free_step(lambda w, x: x.sum(), W, X, Linf(0.1, BOX), X),
            "one number for each example",
        ),
        (lambda key: adversarial.overfitting_guard(-0.1), "drop must be at least 0"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message, key):
    with pytest.raises((ValueError, TypeError), match=message):
        call(key)
