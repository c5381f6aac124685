"""How adversaries of the weights are called: models, parts of batches, masks, accumulated gradients, and errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec as P

from noisejax.optim import adversarial_weights, asam, awp, gsam, sam
from optim.test_adversary import LR, W, X, Y, assert_close, grad, losses, norm, plus, step, value_and_grad


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(2, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.last = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.norm(self.first(x))))


@pytest.mark.slow
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
    with pytest.raises(
        ValueError,
        match=rf"{wrap.__name__}: only='head/\*' selects no floating-point leaf of the tree; its leaves are bias",
    ):
        step(wrap(optax.sgd(LR), 0.2, only="head/*"), W)


def micro_batches(at):
    return jax.value_and_grad(lambda w: losses(w, X[at], Y[at]).mean())


@pytest.mark.slow
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
