"""Adversaries of the weights: closed forms, their papers' formulas, and where optax.contrib.sam goes wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec as P

from noisejax.optim import adversarial_weights, asam, awp, gsam, sam

W = {"kernel": np.float32([[1.0, -2.0, 0.5], [0.3, 0.0, -0.7]]), "bias": np.float32([0.2, -0.4, 0.6])}
X = np.float32([[1.0, 0.5], [-0.3, 2.0], [0.8, -1.0], [0.1, 0.4]])
Y = np.float32([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-1.0, 2.0, 0.0]])
LR = 0.1


@pytest.fixture
def as_optax_needs():
    """Its Adam, schedules and contrib promote dtypes, which the suite's settings refuse; so do Flax's layers."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


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


# How it is called.


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(2, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.last = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.norm(self.first(x))))


@pytest.mark.usefixtures("as_optax_needs")
def test_nnx_optimizer_keeps_the_statistics_of_the_first_pass():
    def loss(model):
        return jnp.mean((model(jnp.asarray(X)) - Y) ** 2)

    model, reference = Net(nnx.Rngs(0)), Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, sam(optax.sgd(LR), 0.5), wrt=nnx.Param)

    def on_a_copy(model):  # what its passes do to the statistics is dropped
        graphdef, params, rest = nnx.split(model, nnx.Param, ...)
        return jax.value_and_grad(lambda params: loss(nnx.merge(graphdef, params, rest, copy=True))), nnx.as_pure(
            params
        )

    @nnx.jit
    def train_step(model, optimizer):
        elsewhere, _ = on_a_copy(model)
        value, grads = nnx.value_and_grad(loss, argnums=nnx.DiffState(0, nnx.Param))(model)
        optimizer.update(model, grads, value=value, value_and_grad_fn=elsewhere)

    train_step(model, optimizer)
    f, w = jax.jit(on_a_copy(reference)[0]), on_a_copy(reference)[1]
    loss(reference)  # one pass in train mode
    np.testing.assert_allclose(model.norm.mean[...], reference.norm.mean[...], rtol=1e-5)
    np.testing.assert_allclose(model.norm.var[...], reference.norm.var[...], rtol=1e-5)
    g = f(w)[1]
    scale = np.float32(0.5 / norm(g))
    h = f(jax.tree.map(lambda w, g: w + scale * g, w, g))[1]
    expected = jax.tree.map(lambda w, h: w - np.float32(LR) * h, w, h)
    assert_close(nnx.as_pure(nnx.state(model, nnx.Param)), expected, rtol=1e-4)


def parts():
    return [(X[:2], Y[:2]), (X[2:], Y[2:])]


def expected_of_parts(rho, shared):
    """m-sharpness by hand: the mean of the parts' gradients, each at its own perturbed weights or at shared ones."""
    f = jax.jit(jax.grad(lambda w, x, y: losses(w, x, y).mean()))
    total = []
    for x, y in parts():
        g = jax.tree.map(np.asarray, grad(W) if shared else f(W, x, y))
        total.append(f(plus(W, {k: rho * v / norm(g) for k, v in g.items()}), x, y))
    return jax.tree.map(lambda a, b: -LR * (np.asarray(a) + np.asarray(b)) / 2, *total)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("how", ["vmap", "shard_map", "shard_map, check_vma=False"])
def test_sharpness_of_parts_of_a_batch(how, shared):
    optimizer = sam(optax.sgd(LR), 0.5, axis_name="parts", synchronize=shared)

    def one(w, x, y):
        f = jax.value_and_grad(lambda w: losses(w, x, y).mean())
        own = jax.tree.map(lambda w: jax.lax.pcast(w, "parts", to="varying"), w) if how == "shard_map" else w
        updates, _ = optimizer.update(f(own)[1], optimizer.init(w), w, value_and_grad_fn=f, value=f(w)[0])
        return updates

    w = jax.tree.map(jnp.asarray, W)
    if how == "vmap":
        x, y = X.reshape(2, 2, 2), Y.reshape(2, 2, 3)
        updates = jax.jit(jax.vmap(one, in_axes=(None, 0, 0), out_axes=None, axis_name="parts"))(w, x, y)
    else:
        mesh = jax.make_mesh((2,), ("parts",), (AxisType.Auto,), devices=jax.devices()[:2])
        check = {"check_vma": False} if "False" in how else {}
        one = jax.shard_map(one, mesh=mesh, in_specs=(P(), P("parts"), P("parts")), out_specs=P(), **check)
        updates = jax.jit(one)(w, X, Y)
    assert_close(updates, expected_of_parts(0.5, shared), atol=1e-5)


def test_gradients_that_were_added_up_are_refused():
    optimizer = sam(optax.sgd(LR), 0.5, axis_name="parts")

    def one(w, x, y):
        f = jax.value_and_grad(lambda w: losses(w, x, y).mean())
        return optimizer.update(f(w)[1], optimizer.init(w), w, value_and_grad_fn=f)[0]

    mesh = jax.make_mesh((2,), ("parts",), (AxisType.Auto,), devices=jax.devices()[:2])
    one = jax.shard_map(one, mesh=mesh, in_specs=(P(), P("parts"), P("parts")), out_specs=P())
    with pytest.raises(ValueError, match="summed them"):
        jax.eval_shape(one, W, X, Y)


def test_traced_rho_is_one_trace():
    traces = []

    @jax.jit
    def run(rho):
        traces.append(rho)
        return step(sam(optax.sgd(LR), rho), jax.tree.map(jnp.asarray, W))[0]

    for rho in (0.1, 0.4):
        assert_close(run(jnp.float32(rho)), step(sam(optax.sgd(LR), rho), W)[0])
    assert len(traces) == 1


def test_other_dtypes_keep_theirs():
    w = {"a": jnp.ones((2, 2), jnp.bfloat16), "b": jnp.ones(2)}
    f = jax.value_and_grad(lambda w: jnp.sum(w["a"].astype(jnp.float32) ** 2) + jnp.sum(w["b"] ** 2))
    for wrap in (sam, asam, gsam, awp):
        updates, _ = jax.eval_shape(functools.partial(step, wrap(optax.sgd(LR)), f=f), w)
        assert [u.dtype for u in jax.tree.leaves(updates)] == [jnp.bfloat16, jnp.float32]
    with jax.enable_x64(True):
        v = {"a": jnp.ones((2, 2), jnp.float64), "b": jnp.ones(2, jnp.float32)}
        f = jax.value_and_grad(lambda w: jnp.sum(w["a"] ** 2) + jnp.sum(w["b"].astype(jnp.float64) ** 2))
        for wrap in (sam, asam, gsam, awp):
            updates, _ = jax.eval_shape(functools.partial(step, wrap(optax.sgd(LR)), f=f), v)
            assert updates["a"].dtype == jnp.float64


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="sam: rho must be at least 0"):
        sam(optax.sgd(LR), -0.1)
    with pytest.raises(ValueError, match="steps must be an integer, at least 1, got 0"):
        adversarial_weights(optax.sgd(LR), optax.sgd(LR), steps=0)
    with pytest.raises(ValueError, match="no axis_name"):
        sam(optax.sgd(LR), alternate=True, axis_name="parts")
    with pytest.raises(ValueError, match="synchronize=True needs axis_name"):
        sam(optax.sgd(LR), synchronize=True)
    optimizer = sam(optax.sgd(LR))
    state = optimizer.init(W)
    with pytest.raises(ValueError, match="value_and_grad_fn=f"):
        optimizer.update(W, state, W)
    with pytest.raises(TypeError, match="must return"):
        optimizer.update(W, state, W, value_and_grad_fn=lambda w: w)
    with pytest.raises(ValueError, match="needs the weights"):
        optimizer.update(W, state, grad_fn=lambda w, i: w)


@pytest.mark.parametrize("wrap", [sam, asam, gsam, awp])
def test_what_is_no_optimizer(wrap):
    for inner in (0.1, None, optax.sgd, lambda w: w):
        with pytest.raises(TypeError, match=rf"^{wrap.__name__}: inner must be an optax optimizer, got .*optax\.sgd"):
            wrap(inner)
    with pytest.raises(ValueError, match=f"{wrap.__name__}: (rho|gamma) must be one number or a function of the step"):
        wrap(optax.sgd(LR), optax.sgd(LR))
    with pytest.raises(ValueError, match=f"{wrap.__name__}: (rho|gamma) must be at least 0"):
        wrap(optax.sgd(LR), float("nan"))


def test_what_is_no_adversary():
    with pytest.raises(TypeError, match=r"adversarial_weights: adversary must be an optax optimizer, got 0\.1"):
        adversarial_weights(optax.sgd(LR), 0.1)
    with pytest.raises(TypeError, match="combine must be a function of two gradients"):
        adversarial_weights(optax.sgd(LR), optax.sgd(LR), combine="mean")
    optimizer = sam(optax.sgd(LR))
    with pytest.raises(TypeError, match="value_and_grad_fn must be a function of the weights, got array"):
        optimizer.update(W, optimizer.init(W), W, value_and_grad_fn=np.ones(3))


WRAPPERS = {
    "masked": lambda tx: optax.masked(tx, {"kernel": True, "bias": False}),
    "multi_transform": lambda tx: optax.multi_transform(
        {"train": tx, "freeze": optax.set_to_zero()}, {"kernel": "train", "bias": "freeze"}
    ),
}


@pytest.mark.usefixtures("as_optax_needs")
@pytest.mark.parametrize("name", WRAPPERS)
def test_masks_belong_inside(name):
    """Outside, the message says so, and what it advises are steps of the chosen weights alone."""
    wrapped = WRAPPERS[name](sam(optax.sgd(LR), 0.2))
    eager = functools.partial(wrapped.update, value_and_grad_fn=value_and_grad)
    for update in (eager, jax.jit(eager)):
        with pytest.raises(TypeError, match=r"adversarial_weights: params must hold all weights, .* Put it inside"):
            update(grad(W), wrapped.init(W), W)
    inside, _ = step(sam(WRAPPERS[name](optax.sgd(LR)), 0.2, only="kernel"), W)
    g = grad(W)
    expected = grad(plus(W, {"kernel": 0.2 * g["kernel"] / norm(g["kernel"]), "bias": np.zeros(3)}))
    np.testing.assert_allclose(inside["kernel"], -LR * expected["kernel"], rtol=1e-5)
    if name == "multi_transform":
        np.testing.assert_array_equal(inside["bias"], 0)
    halves = WRAPPERS[name](sam(optax.sgd(LR), 0.2, alternate=True))
    first, state = halves.update(g, halves.init(W), W)
    place = plus(W, {**first, "bias": np.zeros(3)})
    second, _ = halves.update(grad(place), state, place)
    np.testing.assert_allclose(place["kernel"] + second["kernel"], W["kernel"] + inside["kernel"], rtol=1e-5)


@pytest.mark.parametrize("only", ["kernel", ("k*",), lambda path, w: w.ndim == 2], ids=["path", "patterns", "function"])
@pytest.mark.parametrize("wrap", [sam, asam, gsam, awp])
def test_only_leaves_the_other_weights_where_they_are(wrap, only):
    """The perturbed gradients are those of a model whose other weights are constants, and count in no norm."""
    seen = []

    def f(w):
        seen.append(w)
        return value_and_grad(w)

    updates, _ = step(wrap(optax.sgd(LR), 0.2, only=only), W, f)
    np.testing.assert_array_equal(seen[-1]["bias"], W["bias"])
    assert (seen[-1]["kernel"] != W["kernel"]).any()
    alone, _ = step(
        wrap(optax.sgd(LR), 0.2),
        {"kernel": W["kernel"]},
        jax.value_and_grad(lambda w: losses({**w, "bias": W["bias"]}).mean()),
    )
    np.testing.assert_allclose(updates["kernel"], alone["kernel"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(updates["bias"], -LR * grad(seen[-1])["bias"], rtol=1e-5)
    with pytest.raises(ValueError, match=rf"{wrap.__name__}: only='head/\*' selects no floating-point leaf of bias"):
        step(wrap(optax.sgd(LR), 0.2, only="head/*"), W)


def micro_batches(at):
    return jax.value_and_grad(lambda w: losses(w, X[at], Y[at]).mean())


@pytest.mark.usefixtures("as_optax_needs")
@pytest.mark.parametrize("wrap", [sam, asam, gsam, awp])
def test_accumulated_gradients_are_averaged_at_the_perturbed_weights(wrap):
    """Outside, MultiSteps raises: only the last micro-batch would be seen. The two cures that it names work."""
    halves = [micro_batches(slice(0, 2)), micro_batches(slice(2, 4))]
    plain = wrap(optax.sgd(LR), 0.2)
    for outside in (
        optax.MultiSteps(plain, 2),
        optax.MultiSteps(optax.chain(optax.clip(1.0), plain), 2).gradient_transformation(),
    ):
        for f in halves:
            with pytest.raises(TypeError, match=r"optax\.MultiSteps must be inside"):
                outside.update(f(W)[1], outside.init(W), W, value_and_grad_fn=f)
    expected = jax.tree.map(lambda a, b: (a + b) / 2, *(step(plain, W, f)[0] for f in halves))
    inside = wrap(optax.MultiSteps(optax.sgd(LR), 2), 0.2)
    w, state = W, inside.init(W)
    for f in halves:
        updates, state = step(inside, W, f, state)
        w = optax.apply_updates(w, updates)
    assert_close(w, plus(W, expected))
    # In turn: both gradients of a step are averages, which is the step of the whole batch.
    around = optax.MultiSteps(wrap(optax.sgd(LR), 0.2, alternate=True), 2)
    w, state = W, around.init(W)
    for f in 2 * halves:
        updates, state = around.update(f(w)[1], state, w)
        w = optax.apply_updates(w, updates)
    assert_close(w, plus(W, step(plain, W)[0]))
