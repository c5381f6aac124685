"""The layers of noisejax.linen: the same functions, with the manners of linen's dropout."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
import noisejax.linen as njl
import noisejax.nnx as njx

X = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6, 8)), jnp.float32)

LAYERS = {
    "Dropout": (lambda **k: njl.Dropout(0.4, [1], **k), nj.bind(nj.dropout, rate=0.4, broadcast_dims=(1,))),
    "GaussianDropout": (lambda **k: njl.GaussianDropout(0.4, **k), nj.bind(nj.gaussian_dropout, rate=0.4)),
    "AlphaDropout": (lambda **k: njl.AlphaDropout(0.4, **k), nj.bind(nj.alpha_dropout, rate=0.4)),
    "SpatialDropout": (lambda **k: njl.SpatialDropout(0.4, **k), nj.bind(nj.spatial_dropout, rate=0.4)),
    "DropPath": (
        lambda **k: njl.DropPath(0.4, scale_by_keep=False, **k),
        nj.bind(nj.drop_path, rate=0.4, scale_by_keep=False),
    ),
    "DropBlock": (
        lambda **k: njl.DropBlock(0.3, block_size=(2,), broadcast_dims=(-1,), **k),
        nj.bind(nj.drop_block, rate=0.3, block_size=(2,), broadcast_dims=(-1,)),
    ),
    "PatchDropout": (lambda **k: njl.PatchDropout(0.5, **k), lambda key, x: nj.patch_dropout(key, x, rate=0.5)),
    "GaussianNoise": (lambda **k: njl.GaussianNoise(0.3, **k), nj.bind(nj.gaussian, std=0.3)),
    "ActivationNoise": (
        lambda **k: njl.ActivationNoise(nj.bind(nj.speckle, std=0.3), **k),
        nj.bind(nj.speckle, std=0.3),
    ),
    "NEFTune": (lambda **k: njl.NEFTune(5.0, **k), nj.bind(nj.uniform, half_width=np.float32(5 / np.sqrt(6 * 8)))),
}


def same(a, b):
    return a.shape == b.shape and bool((a == b).all())


def test_the_two_doors_have_the_same_layers():
    functions = {"Amount", "functional", "reseed", "set_amounts"}  # linen's modules are functions, and hold nothing
    assert set(njl.__all__) == set(njx.__all__) - functions
    assert sorted(njl.__all__) == njl.__all__
    assert sorted(njx.__all__) == njx.__all__


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function_with_linens_manners(name, key):
    make, function = LAYERS[name]
    layer = make(deterministic=False)
    expected = function(key, X)
    np.testing.assert_allclose(layer.apply({}, X, rng=key), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(make().apply({}, X, False, key), expected, rtol=1e-5, atol=1e-7)
    assert make(deterministic=True).apply({}, X) is X
    assert make().apply({}, X, deterministic=True) is X
    drawn = layer.apply({}, X, rngs={"dropout": key})  # noise that is no dropout falls back to it
    assert same(drawn, layer.apply({}, X, rngs={layer.rng_collection: key}))
    assert same(drawn, make(deterministic=False, rng_collection="mine").apply({}, X, rngs={"mine": key}))
    with pytest.raises(ValueError, match="deterministic"):
        make().apply({}, X)
    with pytest.raises(nn.module.errors.InvalidRngError):
        layer.apply({}, X)


def test_a_rate_may_be_traced_and_follow_a_schedule(key):
    class Net(nn.Module):
        rate: jax.Array

        @nn.compact
        def __call__(self, x):
            x = nn.remat(nn.Dense)(8)(x)
            return njl.Dropout(self.rate, deterministic=False)(x)

    variables = Net(jnp.float32(0)).init(key, X)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(variables, rate):
        def loss(params):
            return (Net(rate).apply({"params": params}, X, rngs={"dropout": key}) ** 2).mean()

        return jax.value_and_grad(loss)(variables["params"])

    values = [float(step(variables, jnp.float32(rate))[0]) for rate in (0.0, 0.3, 1.0)]
    assert values[0] != values[1]
    assert values[2] == 0


def test_the_collection_of_amounts_goes_first_and_scans(key):
    layer = njl.Dropout(0.0, deterministic=False)
    assert layer.apply({}, X) is X  # as Flax: a rate of 0 draws nothing
    y = layer.apply({"amounts": {"rate": jnp.float32(1.0)}}, X, rngs={"dropout": key})
    assert not y.any()

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return x + njl.DropPath(0.0, deterministic=False, name="path")(jnp.ones_like(x)), None

    stack = nn.scan(Layer, variable_axes={"amounts": 0}, split_rngs={"dropout": True}, length=3)()
    amounts = {"path": {"rate": jnp.array([1.0, 0.0, 1.0])}}
    y, _ = stack.apply({"amounts": amounts}, jnp.zeros((4, 2)), None, rngs={"dropout": key})
    assert same(y, jnp.ones((4, 2)))


def test_nothing_of_the_size_of_the_input_is_saved(key):
    layer = njl.Dropout(0.5, deterministic=False)
    _, pullback = jax.jit(lambda x: jax.vjp(lambda x: layer.apply({}, x, rng=key), x))(jnp.ones((64, 128)))
    assert sum(leaf.size for leaf in jax.tree.leaves(pullback)) < 16


def test_manifold_mixup(key):
    layer = njl.ManifoldMixup(2.0, places=2, deterministic=False)
    mix = layer.apply({}, X, rngs={"noise": key})
    lam = mix.lam[:, None, None]
    np.testing.assert_allclose(mix(X, int(mix.place)), lam * X + (1 - lam) * X[mix.partner], atol=1e-6)
    assert same(mix(X, 1 - int(mix.place)), X)
    quiet = njl.ManifoldMixup(2.0, places=2, deterministic=True).apply({}, X)
    assert quiet(X, 1) is X


def test_attention_dropout(key):
    def attend(params=None, **options):
        layer = nn.MultiHeadDotProductAttention(2, **options)
        if params is None:
            return layer.init({"params": key, "dropout": key}, X)
        return layer.apply(params, X, rngs={"dropout": key})

    params = attend()
    plain = attend(params)
    own = {"dropout_rate": 0.5, "attention_fn": njl.dot_product_attention}
    np.testing.assert_allclose(attend(params, deterministic=True, **own), plain, rtol=1e-5, atol=1e-6)
    assert not np.allclose(attend(params, deterministic=False, **own), plain)
    layer = njl.AttentionDropout(jnp.float32(0.5), deterministic=False)
    assert not np.allclose(attend(params, attention_fn=layer), plain)
    quiet = njl.AttentionDropout(jnp.float32(0.0), deterministic=False)
    np.testing.assert_allclose(attend(params, attention_fn=quiet), plain, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="a dropout_rate of its own"):
        attend(params, attention_fn=layer, dropout_rate=0.1, deterministic=False)


def test_weight_noise(key):
    noise = nj.bind(nj.gaussian, std=0.3)
    layer = njl.WeightNoise(nn.Dense(3), noise, only="*kernel")
    variables = layer.init(key, X)
    dense = variables["params"]["module"]
    clean = nn.Dense(3).apply({"params": dense}, X)
    assert same(layer.apply(variables, X, deterministic=True), clean)
    noisy = nj.weights.perturb(key, dense, noise, only="*kernel")
    expected = nn.Dense(3).apply({"params": noisy}, X)
    np.testing.assert_allclose(layer.apply(variables, X, deterministic=False, rng=key), expected, rtol=1e-5)
    gradient = jax.grad(lambda v: layer.apply(v, X, deterministic=False, rng=key).sum())(variables)
    chex.assert_trees_all_equal_shapes(gradient, variables)


@pytest.mark.parametrize(
    ("make", "product"), [(lambda: nn.Dense(3), "nti,io->nto"), (lambda: nn.Conv(3, (3,)), nj.weights.Conv())]
)
def test_per_example_weight_noise(make, product, key):
    layer = njl.PerExampleWeightNoise(make(), 0.3, deterministic=False)
    variables = layer.init(key, X)
    params = variables["params"]["layer"]
    expected = nj.weights.flipout(key, X, params["kernel"], 0.3, product=product) + params["bias"][None, None]
    np.testing.assert_allclose(layer.apply(variables, X, rng=key), expected, rtol=1e-4, atol=1e-5)
    quiet = njl.PerExampleWeightNoise(make(), 0.3, deterministic=True)
    assert same(quiet.apply(variables, X), make().apply({"params": params}, X))
    with pytest.raises(TypeError, match="got a Einsum"):
        njl.PerExampleWeightNoise(nn.Einsum((8, 3), "nti,io->nto"), 0.3, deterministic=False).init(key, X)


def test_drop_connect_and_noisy_linear(key):
    layer = njl.DropConnectLinear(3, rate=0.4, deterministic=False)
    variables = layer.init(key, X)
    params = variables["params"]["dense"]
    kernel = nj.weights.drop_connect(key, params["kernel"], 0.4)
    expected = X @ kernel + params["bias"][None, None]
    np.testing.assert_allclose(layer.apply(variables, X, rng=key), expected, rtol=1e-5, atol=1e-5)

    layer = njl.NoisyLinear(3, deterministic=False)
    variables = layer.init(key, X)
    params = variables["params"]
    expected = nj.weights.noisy_net(key, X, *(params[n] for n in ("kernel", "kernel_std", "bias", "bias_std")))
    np.testing.assert_allclose(layer.apply(variables, X, rng=key), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(params["kernel_std"], 0.5 / np.sqrt(8), rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"sigma": -1}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"sigma": None}, "sigma"),
        ({"mode": "row"}, "mode"),
    ],
)
def test_fields_of_a_noisy_layer_are_checked(fields, match):
    with pytest.raises((TypeError, ValueError), match=f"NoisyLinear: {match} must be"):
        njl.NoisyLinear(3, deterministic=True, **fields).init(jax.random.key(0), jnp.ones((2, 3)))
