"""Layers of weight noise and of attention dropout: their definitions, gradients, and what the model keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import noisejax as nj
import noisejax.nnx as njx

X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 4)), jnp.float32)
IMAGES = jnp.asarray(np.random.default_rng(1).standard_normal((3, 6, 5, 4)), jnp.float32)


def same(a, b):
    return a.shape == b.shape and bool((a == b).all())


def test_weight_noise_calls_the_module_with_perturbed_weights(key):
    module = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), jnp.tanh, nnx.Linear(8, 2, rngs=nnx.Rngs(1)))
    noise = nj.bind(nj.gaussian, std=0.3)
    layer = njx.WeightNoise(module, noise, only="*kernel")
    clean = jax.tree.map(jnp.copy, nnx.state(module, nnx.Param))
    noisy = nj.weights.perturb(key, clean, noise, only="*kernel")
    expected = nnx.merge(nnx.graphdef(module), noisy)(X)
    np.testing.assert_allclose(layer(X, rngs=key), expected, rtol=1e-6)
    assert not same(expected, module(X))
    jax.tree.map(np.testing.assert_array_equal, clean, nnx.state(module, nnx.Param))  # clean again
    assert same(layer(X, deterministic=True), module(X))
    assert same(nnx.view(layer, deterministic=True)(X), module(X))
    njx.set_amounts(layer, njx.WeightNoise, std=0.0)
    assert same(layer(X, rngs=key), module(X))
    with pytest.raises(TypeError, match="module must be an nnx module"):
        njx.WeightNoise(jnp.tanh, noise)


def test_the_gradient_of_weight_noise_is_taken_at_the_noisy_weights_and_given_to_the_clean_ones(key):
    module = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    layer = njx.WeightNoise(module, nj.bind(nj.speckle, std=0.3), rngs=key)

    def loss(layer, x):
        return (layer(x) ** 2).sum()

    gradient = nnx.jit(nnx.grad(loss))(layer, X)
    assert int(layer.rngs.count[...]) == 1
    factor = nj.weights.perturb(
        jax.random.fold_in(key, 0), jax.tree.map(jnp.ones_like, nnx.state(module)), nj.bind(nj.speckle, std=0.3)
    )
    kernel, bias = module.kernel[...] * factor["kernel"][...], module.bias[...] * factor["bias"][...]
    expected = X.T @ (2 * (X @ kernel + bias[None])) * factor["kernel"][...]
    np.testing.assert_allclose(gradient["module"]["kernel"][...], expected, rtol=1e-4)
    assert list(gradient) == ["module"]


def test_weight_noise_restores_the_weights_when_the_module_raises(key):
    module = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    before = jnp.copy(module.kernel[...])
    with pytest.raises(TypeError):
        njx.WeightNoise(module, nj.bind(nj.gaussian, std=1.0))(jnp.ones((2, 9)), rngs=key)
    assert same(module.kernel[...], before)


def test_weight_noise_lets_the_module_change_its_statistics(key):
    module = nnx.BatchNorm(4, rngs=nnx.Rngs(0))
    njx.WeightNoise(module, nj.bind(nj.gaussian, std=0.1))(X, rngs=key)
    np.testing.assert_allclose(module.mean[...], 0.01 * X.mean(0), atol=1e-6)
    np.testing.assert_array_equal(module.scale[...], 1)


PRODUCTS = {
    "linear": (lambda: nnx.Linear(4, 6, rngs=nnx.Rngs(0)), X, "ni,io->no"),
    "general": (lambda: nnx.LinearGeneral((5, 4), (2, 3), axis=(-2, -1), rngs=nnx.Rngs(0)), IMAGES, "nabc,bcde->nade"),
    "einsum": (lambda: nnx.Einsum("nhwc,cd->nhwd", (4, 6), (6,), rngs=nnx.Rngs(0)), IMAGES, "nhwc,cd->nhwd"),
    "conv": (
        lambda: nnx.Conv(4, 6, (3, 3), strides=2, feature_group_count=2, rngs=nnx.Rngs(0)),
        IMAGES,
        nj.weights.Conv(strides=2, feature_group_count=2),
    ),
    "causal": (
        lambda: nnx.Conv(4, 6, (3,), padding="CAUSAL", rngs=nnx.Rngs(0)),
        IMAGES[:, :, 0],
        nj.weights.Conv(padding=((2, 0),)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRODUCTS)
def test_per_example_noise_is_the_function_of_the_layers_product(name, key):
    make, x, product = PRODUCTS[name]
    module = make()
    layer = njx.PerExampleWeightNoise(module, 0.3)
    bias = jnp.reshape(module.bias[...], (-1,) if name != "general" else (2, 3))
    expected = nj.weights.flipout(key, x, module.kernel[...], 0.3, product=product)
    expected = expected + bias.reshape((1,) * (expected.ndim - bias.ndim) + bias.shape)
    np.testing.assert_allclose(layer(x, rngs=key), expected, rtol=1e-4, atol=1e-5)
    assert same(layer(x, deterministic=True), module(x))
    layer.std = 0.0
    np.testing.assert_allclose(layer(x, rngs=key), module(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["local_reparam", "low_rank", "noisy_net"])
def test_other_methods_of_per_example_noise(method, key):
    module = nnx.Linear(4, 6, use_bias=False, rngs=nnx.Rngs(0))
    layer = njx.PerExampleWeightNoise(module, 0.3, method=method, rngs=key)
    expected = getattr(nj.weights, method)(key, X, module.kernel[...], 0.3)
    np.testing.assert_allclose(layer(X, rngs=key), expected, rtol=1e-5, atol=1e-6)
    gradient = nnx.grad(lambda layer: layer(X).sum())(layer)
    assert list(gradient) == ["layer"]


def test_per_example_noise_refuses_what_it_cannot_do():
    with pytest.raises(TypeError, match="got a BatchNorm"):
        njx.PerExampleWeightNoise(nnx.BatchNorm(4, rngs=nnx.Rngs(0)), 0.1)
    with pytest.raises(ValueError, match="method must be one of"):
        njx.PerExampleWeightNoise(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), 0.1, method="dropconnect")


def test_drop_connect_linear(key):
    layer = njx.DropConnectLinear(4, 6, rate=0.4, rngs=nnx.Rngs(0))
    plain = nnx.Linear(4, 6, rngs=nnx.Rngs(params=0))
    assert layer.kernel.shape == plain.kernel.shape
    kernel = nj.weights.drop_connect(key, layer.kernel[...], 0.4)
    np.testing.assert_allclose(layer(X, rngs=key), X @ kernel + layer.bias[...][None], rtol=1e-5, atol=1e-6)
    clean = X @ layer.kernel[...] + layer.bias[...][None]
    np.testing.assert_allclose(layer(X, deterministic=True), clean, rtol=1e-5, atol=1e-6)
    njx.set_amounts(layer, njx.DropConnectLinear, rate=0.0)
    np.testing.assert_allclose(layer(X), clean, rtol=1e-5, atol=1e-6)
    assert {type(leaf) for _, leaf in nnx.to_flat_state(nnx.state(layer, nnx.Param))} == {nnx.Param}
    gradient = nnx.grad(lambda layer: layer(X).sum())(layer)
    assert sorted(gradient) == ["bias", "kernel"]


@pytest.mark.slow
def test_noisy_linear(key):
    layer = njx.NoisyLinear(100, 60, rngs=nnx.Rngs(0))
    bound = 0.1
    for held in (layer.kernel, layer.bias):
        assert 0.9 * bound < float(abs(held[...]).max()) <= bound
    np.testing.assert_allclose(layer.kernel_std[...], 0.5 * bound, rtol=1e-6)
    np.testing.assert_allclose(layer.bias_std[...], 0.5 * bound, rtol=1e-6)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 100)), jnp.float32)
    values = (layer.kernel[...], layer.kernel_std[...], layer.bias[...], layer.bias_std[...])
    expected = nj.weights.noisy_net(key, x, *values)
    np.testing.assert_allclose(layer(x, rngs=key), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer(x, deterministic=True), x @ values[0] + values[2][None], rtol=1e-4, atol=1e-5)
    gradient = nnx.jit(nnx.grad(lambda layer: (layer(x) ** 2).sum()))(layer)
    assert sorted(gradient) == ["bias", "bias_std", "kernel", "kernel_std"]
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))
    small = njx.NoisyLinear(4, 3, use_bias=False, sigma=0.1, mode="batch", dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert small(X).dtype == jnp.bfloat16
    assert len(jax.tree.leaves(nnx.state(small, nnx.Param))) == 2


def attention(**options):
    return nnx.MultiHeadAttention(2, 8, decode=False, rngs=nnx.Rngs(0), **options)


SEQUENCE = jnp.asarray(np.random.default_rng(2).standard_normal((3, 5, 8)), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize("broadcast", [True, False])
def test_attention_dropout_drops_probabilities(broadcast, key):
    q, k, v = (jnp.asarray(np.random.default_rng(n).standard_normal((2, 5, 4, 8)), jnp.float32) for n in range(3))
    layer = njx.AttentionDropout(0.4, broadcast=broadcast)
    mask = jnp.tril(jnp.ones((5, 5), bool))[None, None]
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.float32(np.sqrt(8))
    weights = jax.nn.softmax(jnp.where(mask, logits, -jnp.inf))
    dropped = nj.dropout(key, weights, 0.4, broadcast_dims=(0, 1) if broadcast else ())
    expected = jnp.einsum("bhqk,bkhd->bqhd", dropped, v)
    np.testing.assert_allclose(layer(q, k, v, mask=mask, rngs=key), expected, rtol=1e-5, atol=1e-6)
    clean = nnx.dot_product_attention(q, k, v, mask=mask)
    np.testing.assert_allclose(layer(q, k, v, mask=mask, deterministic=True), clean, rtol=1e-5, atol=1e-6)
    # Two heads of keys and values, shared by four of queries.
    shared = layer(q, k[:, :, :2], v[:, :, :2], rngs=key)
    repeated = layer(q, jnp.repeat(k[:, :, :2], 2, 2), jnp.repeat(v[:, :, :2], 2, 2), rngs=key)
    np.testing.assert_allclose(shared, repeated, rtol=1e-4, atol=1e-5)


def test_attention_dropout_within_flax_attention():
    plain = attention()(SEQUENCE)
    own = attention(dropout_rate=0.5, attention_fn=njx.dot_product_attention, deterministic=False)
    assert not np.allclose(own(SEQUENCE), plain)
    np.testing.assert_allclose(own(SEQUENCE, deterministic=True), plain, rtol=1e-5, atol=1e-6)

    model = attention(attention_fn=njx.AttentionDropout(0.5, rngs=nnx.Rngs(1)))
    assert not np.allclose(model(SEQUENCE), plain)
    njx.set_amounts(model, njx.AttentionDropout, rate=0.0)
    np.testing.assert_allclose(model(SEQUENCE), plain, rtol=1e-5, atol=1e-6)
    njx.set_amounts(model, njx.AttentionDropout, rate=0.5)
    quiet = nnx.view(model, deterministic=True)
    np.testing.assert_allclose(quiet(SEQUENCE), plain, rtol=1e-5, atol=1e-6)
    both = attention(dropout_rate=0.1, attention_fn=njx.AttentionDropout(0.5, rngs=nnx.Rngs(1)), deterministic=False)
    with pytest.raises(ValueError, match="a dropout_rate of its own"):
        both(SEQUENCE)
    with pytest.raises(ValueError, match="needs a key"):
        njx.dot_product_attention(SEQUENCE, SEQUENCE, SEQUENCE, dropout_rate=0.5)


@pytest.mark.parametrize(
    ("sigma", "error"), [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("0.5", TypeError)]
)
def test_strengths_that_are_no_strengths(sigma, error):
    with pytest.raises(error, match="NoisyLinear: sigma must be"):
        njx.NoisyLinear(3, 4, sigma=sigma, rngs=nnx.Rngs(0))


def test_what_selects_no_weights():
    with pytest.raises(TypeError, match="WeightNoise: only must be a pattern"):
        njx.WeightNoise(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nj.bind(nj.gaussian, std=0.1), only=["*"], rngs=nnx.Rngs(0))
