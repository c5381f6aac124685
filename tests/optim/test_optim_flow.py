"""noisejax.optim in the company of optax and Flax: wrappers, keys, states, checkpoints, sharding."""

import functools
import pickle

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import noisejax as nj
import noisejax.optim as no


@pytest.fixture
def standard():
    """Ordinary promotion of dtypes, which optax's own arithmetic needs; ours is tested under the strict one."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def once(tx, grads):
    """The first updates of a transform."""
    return jax.jit(lambda grads: tx.update(grads, tx.init(grads))[0])(grads)


def run(optimizer, params, steps, grad=lambda p: jax.tree.map(jnp.zeros_like, p)):
    """Parameters after every step of one compiled train step."""
    optimizer = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(grad(params), state, params)
        return optax.apply_updates(params, updates), state

    state, out = optimizer.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        out.append(params)
    assert step._cache_size() == 1, "one trace for all steps"
    return out


TRANSFORMS = {
    "add_noise": lambda key, std=0.1: no.add_noise(key, std),
    "apply_noise": lambda key: no.apply_noise(key, nj.bind(nj.gaussian, std=0.1)),
    "sgld": lambda key, learning_rate=0.1: no.sgld(key, learning_rate),
    "preconditioned_sgld": lambda key, learning_rate=0.1: no.preconditioned_sgld(key, learning_rate),
    "anticorrelated": lambda key, std=0.1: no.add_anticorrelated_noise(key, std),
    "private": lambda key, clip=1.0: no.add_private_noise(key, clip, 1.0, 10),
}
INJECTED = [
    functools.partial(no.add_noise, std=0.1),
    functools.partial(no.sgld, learning_rate=0.1, temperature=0.5),
    functools.partial(no.preconditioned_sgld, learning_rate=0.1),
    functools.partial(no.add_anticorrelated_noise, std=0.1),
    functools.partial(no.add_private_noise, l2_norm_clip=0.1, noise_multiplier=1.0, batch_size=1),
]
PARAMS = {"a": jnp.ones((3, 2)), "b": {"c": jnp.ones(4)}}


@pytest.mark.slow
@pytest.mark.usefixtures("standard")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_wrappers_of_optax_leave_the_noise_as_it_is(name, key):
    tx = TRANSFORMS[name](key)
    bare = run(tx, PARAMS, 2)
    selected = {"a": True, "b": {"c": False}}
    inside = optax.chain(optax.identity(), optax.apply_if_finite(optax.masked(tx, selected), 3))
    groups = optax.multi_transform({True: tx, False: optax.set_to_zero()}, selected)
    every_second = optax.MultiSteps(groups, 2).gradient_transformation()
    for found in (run(inside, PARAMS, 2), run(every_second, PARAMS, 4)[1::2]):
        for params, reference in zip(found, bare, strict=True):
            np.testing.assert_allclose(params["a"], reference["a"], rtol=1e-6)
            np.testing.assert_array_equal(params["b"]["c"], PARAMS["b"]["c"])


@pytest.mark.parametrize("factory", INJECTED, ids=lambda f: f.func.__name__)
def test_inject_hyperparams_moves_amounts_without_a_trace(factory, key):
    numbers = dict(factory.keywords)
    tx = optax.inject_hyperparams(factory.func, static_args="key", hyperparam_dtype=jnp.float32)(key=key, **numbers)
    direct = factory(key)
    state = tx.init(PARAMS)
    update, grads = jax.jit(tx.update), jax.tree.map(jnp.zeros_like, PARAMS)
    updates, after = update(grads, state, PARAMS)
    np.testing.assert_allclose(updates["a"], once(direct, grads)["a"], rtol=1e-5)
    name = next(iter(numbers))
    state.hyperparams[name] = 4 * state.hyperparams[name]
    more, _ = update(grads, state, PARAMS)
    np.testing.assert_allclose(more["a"], (4 if "std" in name or "clip" in name else 2) * updates["a"], rtol=1e-5)
    assert update._cache_size() == 1
    assert jax.tree.structure(after) == jax.tree.structure(state)
    # The key as one more hyperparameter, as inject_hyperparams takes it where nobody says it is static.
    loose = optax.inject_hyperparams(factory.func, hyperparam_dtype=jnp.float32)(key=key, **numbers)
    again, _ = jax.jit(loose.update)(grads, loose.init(PARAMS), PARAMS)
    np.testing.assert_allclose(again["a"], updates["a"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg", "philox4x32", "threefry4x32"])
def test_keys_of_every_implementation(impl):
    def noise(key):
        return jnp.zeros(100) + once(no.add_noise(key, 1.0), jnp.zeros(100))

    key, other = (jax.random.key(seed, impl=impl) for seed in (0, 1))
    assert not np.array_equal(noise(key), noise(other))
    assert np.array_equal(noise(key), noise(jax.random.key(0, impl=impl)))
    mapped = jax.vmap(noise)(jnp.stack([key, other]))
    np.testing.assert_allclose(mapped, jnp.stack([noise(key), noise(other)]), rtol=1e-6)
    if impl == "threefry2x32":
        np.testing.assert_array_equal(noise(key), noise(jax.random.key_data(key)))  # the legacy form


def test_a_key_of_ours_keeps_its_generator():
    plain, mixed, threefry = (
        once(no.add_noise(key, 1.0), jnp.zeros(100))
        for key in (jax.random.key(5), nj.key(5), nj.key(5, generator="threefry2x32"))
    )
    np.testing.assert_array_equal(plain, mixed)
    assert not np.array_equal(mixed, threefry)


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "preconditioned_sgld"])
def test_the_state_is_a_few_words(name, key):
    state = TRANSFORMS[name](key).init(PARAMS)
    assert isinstance(state, tuple) and state._fields[:2] == ("count", "key")
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) <= 4


def test_a_step_may_donate_its_state_and_the_key_lives(key):
    tx = optax.chain(no.add_noise(key, 0.1), no.add_anticorrelated_noise(key, 0.1))
    update = jax.jit(tx.update, donate_argnums=1)
    update(PARAMS, tx.init(PARAMS))
    assert jax.random.key_data(key).shape == (2,)
    assert np.asarray(jax.random.key_data(key)).any()


@pytest.mark.usefixtures("standard")
def test_checkpoints_resume_to_the_same_noise(tmp_path, key):
    tx = optax.chain(no.add_noise(key, 0.1), optax.adam(0.1), no.add_anticorrelated_noise(key, 0.1))
    update = jax.jit(tx.update)
    _, state = update(PARAMS, tx.init(PARAMS), PARAMS)
    expected, _ = update(PARAMS, state, PARAMS)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        blank = optax.chain(
            no.add_noise(jax.random.key(9), 0.1), optax.adam(0.1), no.add_anticorrelated_noise(key, 0.1)
        )
        restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(blank.init, PARAMS))
    template = tx.init(PARAMS)
    formats = [restored, flax.serialization.from_bytes(template, flax.serialization.to_bytes(state))]
    formats.append(jax.tree.unflatten(jax.tree.structure(state), pickle.loads(pickle.dumps(jax.tree.leaves(state)))))
    for copy in formats:
        for a, b in zip(jax.tree.leaves(copy), jax.tree.leaves(state), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        resumed, _ = update(PARAMS, copy, PARAMS)
        jax.tree.map(np.testing.assert_array_equal, resumed, expected)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharded_gradients_have_the_noise_of_whole_ones(axis_type, key):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(axis_type,) * 2)
    tx = optax.chain(no.sgld(key, 0.1), no.add_anticorrelated_noise(key, 0.1))
    g = jnp.arange(64.0).reshape(8, 8)
    whole, _ = jax.jit(tx.update)(g, tx.init(g))
    with jax.set_mesh(mesh):
        parts = jax.device_put(g, NamedSharding(mesh, PartitionSpec("x", "y")))
        update = jax.jit(tx.update).lower(parts, tx.init(parts)).compile()
        sharded, _ = update(parts, tx.init(parts))
    np.testing.assert_allclose(sharded, whole, rtol=1e-5)
    assert sharded.sharding.spec == PartitionSpec("x", "y")
    assert not any(
        word in update.as_text() for word in ("all-gather", "all-reduce", "collective-permute", "all-to-all")
    )


@pytest.mark.usefixtures("standard")
def test_transforms_under_the_nnx_optimizer(key):
    model = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    tx = optax.chain(no.add_noise(key, 0.01), optax.adam(0.01), no.add_anticorrelated_noise(key, 0.01))
    optimizer, traces = nnx.Optimizer(model, tx, wrt=nnx.Param), []

    @nnx.jit
    def step(model, optimizer, x):
        traces.append(1)
        optimizer.update(model, nnx.grad(lambda model: jnp.mean(model(x) ** 2))(model))

    params = nnx.as_pure(nnx.state(model, nnx.Param))
    zeros = jax.tree.map(jnp.zeros_like, params)
    expected, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
    step(model, optimizer, jnp.zeros((1, 4)))
    for name in ("kernel", "bias"):  # adam's first update is the sign of the noise
        moved = getattr(model, name)[...] - params[name]
        np.testing.assert_allclose(moved, expected[name], rtol=1e-3, atol=1e-6)
    for _ in range(2):
        step(model, optimizer, jnp.zeros((1, 4)))
    assert len(traces) == 1
