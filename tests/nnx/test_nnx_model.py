"""Layers of noisejax.nnx in models: transforms of Flax, schedules, streams from paths, checkpoints, sharding."""

import chex
import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import noisejax as nj
import noisejax.nnx as njx

X = jnp.asarray(np.random.default_rng(0).standard_normal((8, 6)), jnp.float32)
Y = jnp.arange(8) % 3


class Block(nnx.Module):
    def __init__(self, rate, rngs, norm=False):
        self.linear = nnx.Linear(6, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs) if norm else None
        self.dropout = njx.Dropout(0.2, rngs=rngs)
        self.path = njx.DropPath(rate, rngs=rngs)

    def __call__(self, x):
        h = self.linear(x)
        return x + self.path(self.dropout(jnp.tanh(self.norm(h) if self.norm else h)))


class Net(nnx.Module):
    def __init__(self, rngs, depth=2, extra=False, norm=False):
        if extra:
            self.extra = njx.Dropout(0.1, rngs=rngs)
        self.noise = njx.ActivationNoise(nj.bind(nj.gaussian, std=0.1), rngs=rngs)
        self.blocks = nnx.List([Block(rate, rngs, norm) for rate in nj.linear_rates(0.3, depth)])

    def __call__(self, x):
        x = self.noise(x)
        for block in self.blocks:
            x = block(x)
        return x


def same(a, b):
    return bool((a == b).all())


def loss(model, x):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), Y).mean()


def train_step(model, optimizer, x, rate):
    njx.set_amounts(model, njx.Dropout, rate=rate)
    value, gradient = nnx.value_and_grad(loss)(model, x)
    optimizer.update(model, gradient)
    return value


def training(rngs):
    model = Net(rngs)
    return model, nnx.Optimizer(model, optax.sgd(0.1, momentum=0.9), wrt=nnx.Param)


@pytest.mark.slow
def test_a_schedule_compiles_once_and_a_checkpoint_resumes_to_the_same_bits(tmp_path):
    step = nnx.jit(chex.assert_max_traces(train_step, n=1))
    model, optimizer = training(nnx.Rngs(0))
    schedule = [jnp.float32(n / 12) for n in range(6)]
    for n in range(3):
        # Both ways: inside of the step, and outside.
        njx.set_amounts(model, njx.DropPath, rate=[schedule[n], 0.1 * n])
        step(model, optimizer, X, schedule[n])
    assert float(model.blocks[0].dropout.rate[...]) == pytest.approx(2 / 12)
    path = tmp_path / "state"
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, nnx.state((model, optimizer)))
    straight = [step(model, optimizer, X, schedule[n]) for n in range(3, 6)]

    other, its_optimizer = training(nnx.Rngs(1))
    like = jax.tree.map(orbax.checkpoint.utils.to_shape_dtype_struct, nnx.state((other, its_optimizer)))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        nnx.update((other, its_optimizer), checkpointer.restore(path, like))
    # A restored array is committed to its device: the step may compile again, but must give the same result.
    again = nnx.jit(train_step)
    assert [again(other, its_optimizer, X, schedule[n]) for n in range(3, 6)] == straight


class Small(nnx.Module):
    def __init__(self, dropout, rngs):
        self.linear, self.dropout = nnx.Linear(4, 3, rngs=rngs), dropout(0.25, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.dropout(self.linear(x)))


@pytest.mark.slow
def test_a_checkpoint_of_flax_dropout_is_restored_into_ours(tmp_path):
    """By the recipe of docs/guides/layers.md: the amounts are all that the checkpoint does not hold."""

    def made(dropout, seed):
        model = Small(dropout, nnx.Rngs(seed))
        return model, nnx.Optimizer(model, optax.sgd(0.1, momentum=0.9), wrt=nnx.Param)

    def train(model, optimizer):
        gradient = nnx.grad(lambda model: jnp.sum(model(jnp.ones((5, 4))) ** 2))(model)
        optimizer.update(model, gradient)

    def plain(state):
        return jax.tree.map(
            lambda v: jax.random.key_data(v) if jnp.issubdtype(v.dtype, jax.dtypes.prng_key) else v, state
        )

    old, new = made(nnx.Dropout, 0), made(njx.Dropout, 1)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(*old)
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / "state", nnx.state(old))
        like = jax.tree.map(orbax.checkpoint.utils.to_shape_dtype_struct, nnx.state(new, nnx.Not(njx.Amount)))
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            nnx.update(new, checkpointer.restore(tmp_path / "state", like))
        jax.tree.map(np.testing.assert_array_equal, plain(nnx.state(new, nnx.Not(njx.Amount))), plain(nnx.state(old)))
        assert float(new[0].dropout.rate[...]) == 0.25
        train(*new)
    assert int(new[0].dropout.rngs.count[...]) == 2


def test_set_amounts_of_a_whole_model():
    model = Net(nnx.Rngs(0), depth=3)
    njx.set_amounts(model, njx.DropPath, njx.Dropout, rate=0.25)
    assert [float(b.path.rate[...]) for b in model.blocks] == [0.25] * 3
    njx.set_amounts(model, njx.DropPath, rate=(0.0, 0.5, 1.0))
    assert [float(b.path.rate[...]) for b in model.blocks] == [0.0, 0.5, 1.0]
    assert [float(b.dropout.rate[...]) for b in model.blocks] == [0.25] * 3
    njx.set_amounts(model, std=0.5)
    assert float(model.noise.noise.amounts["std"][...]) == 0.5
    with pytest.raises(ValueError, match="no selected layer has an amount 'rate'"):
        njx.set_amounts(model, njx.ActivationNoise, rate=0.1)
    with pytest.raises(ValueError, match="2 entries for 3 layers"):
        njx.set_amounts(model, njx.DropPath, rate=[0.1, 0.2])
    with pytest.raises(ValueError, match=r"DropPath: rate must be in \[0, 1\]"):
        njx.set_amounts(model, njx.DropPath, rate=2.0)


def stack(rates):
    @nnx.vmap(in_axes=(0, 0))
    def make(rate, rngs):
        return Block(rate, rngs)

    return make(rates, nnx.Rngs(0).split(3))


@nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
def forward(block, x):
    return block(x)


def test_traced_rates_in_vmapped_and_scanned_constructors():
    @nnx.jit
    def build(rate):
        return stack(nj.linear_rates(rate, 3))

    vmapped = build(jnp.float32(0.4))
    np.testing.assert_allclose(vmapped.path.rate[...], [0, 0.2, 0.4], rtol=1e-6)
    assert vmapped.path.rngs.key[...].shape == (3,)

    @nnx.scan(in_axes=(0, 0), out_axes=0)
    def scanned(rate, rngs):
        return njx.DropPath(rate, rngs=rngs)

    layers = scanned(nj.linear_rates(0.4, 3), nnx.Rngs(0).split(3))
    np.testing.assert_allclose(layers.rate[...], [0, 0.2, 0.4], rtol=1e-6)
    # A scalar fills the stack, an array of its shape replaces it.
    njx.set_amounts(vmapped, njx.DropPath, rate=0.1)
    np.testing.assert_allclose(vmapped.path.rate[...], [0.1] * 3, rtol=1e-6)
    njx.set_amounts(vmapped, njx.DropPath, rate=nj.linear_rates(0.3, 3))
    np.testing.assert_allclose(vmapped.path.rate[...], [0, 0.15, 0.3], rtol=1e-6)
    with pytest.raises(ValueError, match=r"has shape \(3,\) in this layer"):
        njx.set_amounts(vmapped, njx.DropPath, rate=jnp.zeros(2))


@pytest.mark.slow
def test_scan_over_layers_is_a_loop_and_remat_changes_nothing():
    def value(model, x):
        return (forward(model, x) ** 2).sum()

    def value_remat(model, x):
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        @nnx.remat
        def run(block, x):
            return block(x)

        return (run(model, x) ** 2).sum()

    results = []
    for function in (value, value_remat):
        model = stack(nj.linear_rates(0.3, 3))
        results.append(nnx.jit(nnx.value_and_grad(function))(model, X))
        assert model.dropout.rngs.count[...].tolist() == [1, 1, 1]
    (plain, gradient), (again, its_gradient) = results
    assert float(plain) == pytest.approx(float(again), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradient, its_gradient)

    model, x = stack(nj.linear_rates(0.3, 3)), X
    graphdef, state = nnx.split(model)
    for n in range(3):
        x = nnx.merge(graphdef, jax.tree.map(lambda leaf, n=n: leaf[n], state))(x)
    np.testing.assert_allclose(float((x**2).sum()), plain, rtol=1e-5)


def test_vmap_over_streams_is_a_loop():
    rngs = nnx.Rngs(0).split(4)
    make = nnx.vmap(lambda rngs: njx.Dropout(0.5, rngs=rngs), in_axes=0)
    layers = make(rngs)
    together = nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))(layers, X)
    graphdef, state = nnx.split(make(nnx.Rngs(0).split(4)))
    alone = [nnx.merge(graphdef, jax.tree.map(lambda leaf, n=n: leaf[n], state))(X) for n in range(4)]
    assert same(together, jnp.stack(alone))


def test_nothing_of_the_size_of_the_input_is_saved():
    x = jnp.ones((64, 128))
    for layer in (
        njx.Dropout(0.5, rngs=nnx.Rngs(0)),
        njx.DropPath(0.5, rngs=nnx.Rngs(0)),
        njx.GaussianDropout(0.5, rngs=nnx.Rngs(0)),
        njx.ActivationNoise(nj.bind(nj.gaussian, std=0.5), rngs=nnx.Rngs(0)),
    ):
        graphdef, state = nnx.split(layer)
        run = lambda x, g=graphdef, s=state: nnx.merge(g, s, copy=True)(x)  # noqa: E731
        _, pullback = jax.jit(lambda x, run=run: jax.vjp(run, x))(x)
        assert sum(leaf.size for leaf in jax.tree.leaves(pullback)) < 16, type(layer).__name__


def test_no_gradient_reaches_the_amounts():
    layer = njx.GaussianNoise(0.5, rngs=nnx.Rngs(0))
    f, state = njx.functional(layer, deterministic=False)
    gradient = jax.grad(lambda state: f(state, jax.random.key(0), X).sum())(state)
    assert float(gradient["std"][...]) == 0


@pytest.fixture
def reseeded(key):
    def make(**options):
        model = Net(nnx.Rngs(0), **options)
        njx.set_amounts(model, rate=0.3)
        njx.reseed(model, key)
        return model

    return make


def test_reseed_derives_streams_from_paths(reseeded, key):
    small, large = reseeded(), reseeded(extra=True, depth=3)
    for a, b in zip(small.blocks, large.blocks, strict=False):
        assert same(a.dropout(X), b.dropout(X))
        assert same(a.path(X), b.path(X))
    assert same(small.noise(X), large.noise(X))
    keys = {
        v.tobytes() for v in map(np.asarray, map(jax.random.key_data, jax.tree.leaves(nnx.state(large, nnx.RngKey))))
    }
    assert len(keys) == 8  # all differ
    other = reseeded()
    njx.reseed(other, jax.random.fold_in(key, 1))
    assert not same(other.blocks[0].dropout(X), reseeded().blocks[0].dropout(X))
    with pytest.raises(TypeError, match="reseed: key must be a JAX key"):
        njx.reseed(small, 3)


@pytest.mark.slow
def test_reseed_keeps_kind_and_shape_and_does_not_compile_again(key):
    def layers(n):
        return nnx.vmap(lambda rngs: njx.Dropout(0.5, rngs=rngs), in_axes=0)(nnx.Rngs(0).split(n))

    short, long = layers(2), layers(3)
    for model in (short, long):
        njx.reseed(model, key)
    assert same(jax.random.key_data(short.rngs.key[...]), jax.random.key_data(long.rngs.key[...][:2]))
    assert len({k.tobytes() for k in np.asarray(jax.random.key_data(long.rngs.key[...]))}) == 3
    rbg = njx.Dropout(0.5, rngs=jax.random.key(0, impl="rbg"))
    njx.reseed(rbg, key)
    assert jax.random.key_impl(rbg.rngs.key[...]) == "rbg"

    @nnx.jit
    @chex.assert_max_traces(n=1)
    def step(model, n):
        njx.reseed(model, jax.random.fold_in(key, n))
        return model(X)

    model = Net(nnx.Rngs(0))
    assert same(step(model, 3), step(model, 3))  # a function of the step alone
    assert not same(step(model, 3), step(model, 4))


@pytest.mark.parametrize("deterministic", [True, False])
def test_functional_changes_nothing_within_a_scanned_attack(deterministic, key):
    model = Net(nnx.Rngs(0), depth=1, norm=True)
    model.train()
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.Not(nnx.RngKey)))
    f, state = njx.functional(model, deterministic=deterministic)

    def attack(x, key):
        def step(x, key):
            predict = (lambda x: f(state, x)) if deterministic else (lambda x: f(state, key, x))
            gradient = jax.grad(lambda x: optax.softmax_cross_entropy_with_integer_labels(predict(x), Y).mean())(x)
            return x + 0.1 * jnp.sign(gradient), None

        return jax.lax.scan(step, x, jax.random.split(key, 3))[0]

    y = jax.jit(attack)(X, key)
    assert not same(y, X)
    f(state, X) if deterministic else f(state, key, X)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), before, nnx.state(model, nnx.Not(nnx.RngKey)))
    assert same(jax.jit(attack)(X, key), y)


@pytest.mark.slow
def test_functional_is_the_model(key):
    model = Net(nnx.Rngs(0), depth=1, norm=True)
    f, state = njx.functional(model)
    model.set_attributes(njx.Dropout, njx.DropPath, njx.ActivationNoise, deterministic=True)
    np.testing.assert_allclose(f(state, X), model(X), rtol=1e-6)  # BatchNorm in train mode in both
    model.set_attributes(deterministic=False)
    f, state = njx.functional(model, deterministic=False)
    noisy = f(state, key, X)
    njx.reseed(model, key)
    np.testing.assert_allclose(noisy, model(X), rtol=1e-6)
    params, rest = nnx.split_state(state, nnx.Param, ...)
    gradient = jax.grad(lambda params: f(nnx.merge_state(params, rest), key, X).sum())(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharded_is_unsharded(axis_type):
    class Noises(nnx.Module):
        def __init__(self, rngs):
            self.mixup = njx.ManifoldMixup(2.0, places=1, rngs=rngs)
            self.layers = nnx.List(
                [
                    njx.Dropout(0.3, rngs=rngs),
                    njx.DropPath(0.3, rngs=rngs),
                    njx.AlphaDropout(0.3, rngs=rngs),
                    njx.SpatialDropout(0.3, rngs=rngs),
                    njx.NEFTune(5.0, rngs=rngs),
                    njx.ActivationNoise(nj.bind(nj.gaussian, std=0.1), rngs=rngs),
                ]
            )

        def __call__(self, x):
            x = self.mixup(x)(x, 0)
            for layer in self.layers:
                x = layer(x)
            return x

    x = jnp.asarray(np.random.default_rng(0).standard_normal((16, 4, 6)), jnp.float32)
    run = nnx.jit(lambda model, x: model(x))
    expected = np.asarray(run(Noises(nnx.Rngs(0)), x))
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", None, "model")))
        y = run(Noises(nnx.Rngs(0)), sharded)
    np.testing.assert_allclose(np.asarray(y), expected, rtol=1e-4, atol=1e-5)
    assert ((np.asarray(y) == 0) == (expected == 0)).all()


def test_set_amounts_keeps_the_layout_of_a_sharded_model():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    layer = njx.Dropout(0.1, rngs=nnx.Rngs(0))
    nnx.update(layer, jax.device_put(nnx.state(layer), NamedSharding(mesh, PartitionSpec())))
    graphdef = nnx.graphdef(layer)
    step = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
    x = jax.device_put(X, NamedSharding(mesh, PartitionSpec("data")))
    step(nnx.state(layer), x)
    layer.rate = 0.5
    step(nnx.state(layer), x)
    assert step._cache_size() == 1


def test_a_layer_survives_split_merge_clone_and_states_of_flax():
    layer = njx.ActivationNoise(nj.bind(nj.gaussian, std=0.1), rngs=nnx.Rngs(0))
    clone = nnx.clone(layer)
    assert nnx.graphdef(clone) == nnx.graphdef(layer)
    assert same(clone(X), layer(X))
    merged = nnx.merge(*nnx.split(layer), copy=True)
    assert same(merged(X), layer(X))
    model = Net(nnx.Rngs(0))
    nnx.reseed(model, default=7)
    assert same(model.blocks[0].dropout(X), njx.Dropout(0.2)(X, rngs=jax.random.fold_in(nnx.Rngs(7).default(), 0)))


def test_the_version_of_flax_is_one_that_was_tried():
    assert flax.__version__ >= "0.12"
