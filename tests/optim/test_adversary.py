"""Adversaries of the weights: closed forms, their papers' formulas, and where optax.contrib.sam goes wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noisejax.optim import adversarial_weights, asam, awp, gsam, sam

W = {"kernel": np.float32([[1.0, -2.0, 0.5], [0.3, 0.0, -0.7]]), "bias": np.float32([0.2, -0.4, 0.6])}
X = np.float32([[1.0, 0.5], [-0.3, 2.0], [0.8, -1.0], [0.1, 0.4]])
Y = np.float32([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-1.0, 2.0, 0.0]])
LR = 0.1


def losses(w, x=X, y=Y):
    return jnp.sum((jnp.tanh(x @ w["kernel"] + w["bias"][None]) - y) ** 2, axis=-1)


value_and_grad = jax.jit(jax.value_and_grad(lambda w: losses(w).mean()))


def grad(w):
    return jax.tree.map(np.asarray, value_and_grad(w)[1])


def norm(tree):
    return np.sqrt(sum((np.float64(leaf) ** 2).sum() for leaf in jax.tree.leaves(tree)))


def step(optimizer, w, f=value_and_grad, state=None, **extra):
    state = optimizer.init(w) if state is None else state
    updates, state = optimizer.update(f(w)[1], state, w, value_and_grad_fn=f, **extra)
    return updates, state


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), a, b)


def plus(w, e):
    return jax.tree.map(lambda w, e: np.float32(w + e), w, e)


# Formulas of the papers, written out in NumPy; plain SGD shows what the inner optimizer was given.


def test_sam_on_a_quadratic():
    a, w, rho = np.diag([1.0, 4.0]), np.array([3.0, 0.5]), 0.3
    f = jax.value_and_grad(lambda w: 0.5 * jnp.sum(w * (jnp.float32(a) @ w)))
    g = a @ w
    updates, _ = step(sam(optax.sgd(LR), rho), jnp.float32(w), f)
    np.testing.assert_allclose(updates, -LR * a @ (w + rho * g / np.linalg.norm(g)), rtol=1e-6)


def test_sam_of_a_tree_shares_one_norm():
    g = grad(W)
    expected = grad(plus(W, {k: 0.2 * v / norm(g) for k, v in g.items()}))
    assert_close(step(sam(optax.sgd(LR), 0.2), W)[0], {k: -LR * v for k, v in expected.items()})


def test_asam_by_its_formula():
    g = grad(W)
    t = {"kernel": np.abs(W["kernel"]) + 0.01, "bias": np.ones(3)}  # the authors leave biases as they are
    length = norm({k: t[k] * g[k] for k in g})
    e = {k: 0.5 * t[k] ** 2 * g[k] / length for k in g}
    assert_close(step(asam(optax.sgd(LR), 0.5), W)[0], {k: -LR * v for k, v in grad(plus(W, e)).items()})


def test_gsam_by_its_formula():
    g = grad(W)
    h = grad(plus(W, {k: 0.3 * v / norm(g) for k, v in g.items()}))
    along = sum((g[k] * h[k]).sum() for k in g) / norm(h) ** 2
    expected = {k: -LR * (h[k] - 0.7 * (g[k] - along * h[k])) for k in g}
    assert_close(step(gsam(optax.sgd(LR), 0.3, alpha=0.7), W)[0], expected)
    assert_close(step(gsam(optax.sgd(LR), 0.3, alpha=0.0), W)[0], step(sam(optax.sgd(LR), 0.3), W)[0])


def test_awp_by_its_formula():
    g = grad(W)
    k = 0.05 * norm(W["kernel"]) * g["kernel"] / norm(g["kernel"])
    expected = grad(plus(W, {"kernel": k, "bias": np.zeros(3)}))
    assert_close(step(awp(optax.sgd(LR), 0.05), W)[0], {k: -LR * v for k, v in expected.items()})


@pytest.mark.usefixtures("as_optax_needs")
@pytest.mark.parametrize("wrap", [sam, asam, gsam, awp])
def test_zero_is_the_inner_optimizer(wrap):
    zero = {"rho": 0.0, "alpha": 0.0} if wrap is gsam else {"gamma" if wrap is awp else "rho": 0.0}
    plain, _ = optax.adam(LR).update(grad(W), optax.adam(LR).init(W), W)
    assert_close(step(wrap(optax.adam(LR), **zero), W)[0], plain)


def normalized_sgd(rho):
    return optax.chain(optax.contrib.normalize(), optax.sgd(rho))


@pytest.mark.usefixtures("as_optax_needs")
@pytest.mark.parametrize("moves", [1, 3])
def test_agrees_with_optax(moves):
    """Thirty steps of Adam, one and three moves of the adversary, both ways to give the gradient."""
    ours = adversarial_weights(optax.adam(1e-2), normalized_sgd(0.1), steps=moves)
    theirs = optax.contrib.sam(optax.adam(1e-2), normalized_sgd(0.1), sync_period=moves + 1, opaque_mode=True)

    def train(optimizer, **how):
        def one(carry, _):
            w, state = carry
            updates, state = optimizer.update(value_and_grad(w)[1], state, w, **how)
            return (optax.apply_updates(w, updates), state), None

        w = jax.tree.map(jnp.asarray, W)
        return jax.jit(lambda w: jax.lax.scan(one, (w, optimizer.init(w)), length=30)[0][0])(w)

    by_grad_fn = {"grad_fn": lambda w, i: value_and_grad(w)[1]}
    reference = train(theirs, **by_grad_fn)
    assert_close(train(ours, **by_grad_fn), reference, rtol=0, atol=1e-6)
    assert_close(train(ours, value_and_grad_fn=value_and_grad), reference, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("as_optax_needs")
def test_alternating_calls_make_the_same_steps():
    whole = gsam(optax.adam(1e-2), optax.linear_schedule(0.0, 0.3, 6), 0.3)
    halves = gsam(optax.adam(1e-2), optax.linear_schedule(0.0, 0.3, 6), 0.3, alternate=True)
    w = v = jax.tree.map(jnp.asarray, W)
    state, half_state, update = whole.init(w), halves.init(v), jax.jit(halves.update)
    for _ in range(6):
        updates, state = step(whole, w, state=state)
        w = optax.apply_updates(w, updates)
        for _ in range(2):
            updates, half_state = update(value_and_grad(v)[1], half_state, v)
            v = optax.apply_updates(v, updates)
    assert_close(v, w, rtol=1e-5)


# The five defects of optax.contrib.sam 0.2.8. The last lines of each test show its own, while it has it.


def optax_sam(inner, rho, **how):
    return optax.contrib.sam(inner, normalized_sgd(rho), **how)


@pytest.mark.parametrize("wrap", [sam, asam, gsam, awp])
def test_a_zero_gradient_is_a_zero_step(wrap):
    f = jax.value_and_grad(lambda w: 0.0 * jnp.sum(w**2))
    w = jnp.ones((2, 2))
    updates, _ = step(wrap(optax.sgd(LR)), w, f)
    assert (updates == 0).all()
    theirs = optax_sam(optax.sgd(LR), 0.1, opaque_mode=True)
    updates, _ = theirs.update(f(w)[1], theirs.init(w), w, grad_fn=lambda w, i: f(w)[1])
    assert np.isnan(updates).all()


@pytest.mark.usefixtures("as_optax_needs")
def test_the_branch_not_taken_poisons_nothing():
    """The gradient vanishes where the adversary arrives: from there its own move, which is not made, would be NaN."""
    gradient = jax.grad(lambda w: -jnp.sum(jnp.maximum(1 - w, 0)))

    def two_halves(optimizer):
        w = jnp.array([0.9])
        state = optimizer.init(w)
        for _ in range(2):
            updates, state = optimizer.update(gradient(w), state, w)
            w = w + updates
        return w

    ours = adversarial_weights(optax.sgd(LR), normalized_sgd(0.5), alternate=True)
    np.testing.assert_allclose(two_halves(ours), [0.9], rtol=1e-6)
    assert np.isnan(two_halves(optax_sam(optax.sgd(LR), 0.5))).all()


@pytest.mark.usefixtures("as_optax_needs")
def test_value_and_other_extra_arguments_pass():
    optimizer = sam(optax.chain(optax.sgd(LR), optax.contrib.reduce_on_plateau(patience=1)), 0.1)
    state = optimizer.init(W)
    for _ in range(4):
        _, state = step(optimizer, W, state=state, value=jnp.float32(1.0), unknown="ignored")
    assert state.inner[1].scale < 1
    theirs = optax_sam(optax.sgd(LR), 0.1, opaque_mode=True)
    with pytest.raises(TypeError, match="value"):
        theirs.update(grad(W), theirs.init(W), W, grad_fn=lambda w, i: grad(w), value=1.0)


@pytest.mark.usefixtures("as_optax_needs")
def test_schedules_of_rho_advance():
    rho = optax.linear_schedule(0.0, 1.0, 4)
    f = jax.value_and_grad(lambda w: 0.5 * jnp.sum(w**2))
    w = jnp.array([3.0, 4.0])
    chain = optax.chain(optax.normalize_by_update_norm(), optax.sgd(rho))
    for optimizer in (sam(optax.sgd(1.0), rho), adversarial_weights(optax.sgd(1.0), chain)):
        state, seen = optimizer.init(w), []
        for _ in range(6):
            updates, state = step(optimizer, w, f, state)
            seen.append((jnp.linalg.norm(updates) - 5).item())
        np.testing.assert_allclose(seen, [0, 0.25, 0.5, 0.75, 1, 1], atol=1e-5)
    theirs, seen = optax_sam(optax.sgd(1.0), rho, opaque_mode=True), []
    state = theirs.init(w)
    for _ in range(3):
        updates, state = theirs.update(f(w)[1], state, w, grad_fn=lambda w, i: f(w)[1])
        seen.append((jnp.linalg.norm(updates) - 5).item())
    np.testing.assert_allclose(seen, 0, atol=1e-5)


@pytest.mark.usefixtures("as_optax_needs")
def test_typed_keys_in_states():
    def keyed(rho):
        """An optimizer that keeps a typed key, as one that draws would."""

        def update(updates, state, params=None):
            return jax.tree.map(lambda g: -rho * g, updates), jax.random.split(state)[0]

        return optax.GradientTransformation(lambda params: jax.random.key(0), update)

    def run(optimizer):
        state, update = optimizer.init(W), jax.jit(optimizer.update)
        for _ in range(2):
            _, state = update(grad(W), state, W)
        return state

    state = run(adversarial_weights(keyed(LR), keyed(0.1), alternate=True))
    assert state.inner == jax.random.split(jax.random.key(0))[0] == state.adversary
    with pytest.raises(TypeError):
        run(optax.contrib.sam(keyed(LR), keyed(0.1)))
