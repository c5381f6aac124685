"""Every layer of noisejax.nnx is its function, with the manners of Flax's dropout."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import noisejax as nj
import noisejax.nnx as njx

X = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6, 8)), jnp.float32)

# Each layer with the function that it is.
LAYERS = {
    "Dropout": (
        lambda **k: njx.Dropout(0.4, broadcast_dims=(1,), **k),
        nj.bind(nj.dropout, rate=0.4, broadcast_dims=(1,)),
    ),
    "GaussianDropout": (lambda **k: njx.GaussianDropout(0.4, **k), nj.bind(nj.gaussian_dropout, rate=0.4)),
    "AlphaDropout": (lambda **k: njx.AlphaDropout(0.4, **k), nj.bind(nj.alpha_dropout, rate=0.4)),
    "SpatialDropout": (lambda **k: njx.SpatialDropout(0.4, **k), nj.bind(nj.spatial_dropout, rate=0.4)),
    "DropPath": (
        lambda **k: njx.DropPath(0.4, mode="batch", scale_by_keep=False, **k),
        nj.bind(nj.drop_path, rate=0.4, mode="batch", scale_by_keep=False),
    ),
    "DropBlock": (
        lambda **k: njx.DropBlock(0.3, block_size=2, broadcast_dims=[-1], **k),
        nj.bind(nj.drop_block, rate=0.3, block_size=2, broadcast_dims=(-1,)),
    ),
    "PatchDropout": (
        lambda **k: njx.PatchDropout(0.5, num_prefix_tokens=2, **k),
        lambda key, x: nj.patch_dropout(key, x, rate=0.5, num_prefix_tokens=2),
    ),
    "GaussianNoise": (lambda **k: njx.GaussianNoise(0.3, **k), nj.bind(nj.gaussian, std=0.3)),
    "ActivationNoise": (
        lambda **k: njx.ActivationNoise(nj.chain(nj.bind(nj.speckle, std=0.3), nj.bind(nj.mask, rate=0.2)), **k),
        nj.chain(nj.bind(nj.speckle, std=0.3), nj.bind(nj.mask, rate=0.2)),
    ),
    "NEFTune": (lambda **k: njx.NEFTune(5.0, **k), nj.bind(nj.uniform, half_width=np.float32(5 / np.sqrt(6 * 8)))),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def same(a, b):
    return a.shape == b.shape and bool((a == b).all())


@each_layer
def test_a_layer_is_its_function(name, key):
    make, function = LAYERS[name]
    layer, expected = make(), function(key, X)
    np.testing.assert_allclose(layer(X, rngs=key), expected, rtol=1e-5, atol=1e-7)
    stream = nnx.RngStream(key, tag="any")
    np.testing.assert_allclose(layer(X, rngs=stream), function(jax.random.fold_in(key, 0), X), rtol=1e-5, atol=1e-7)
    assert int(stream.count[...]) == 1


@each_layer
def test_deterministic_from_the_constructor_the_call_and_a_view(name, key):
    make, _ = LAYERS[name]
    noisy = make()(X, rngs=key)
    quiet = make(deterministic=True)
    assert quiet(X) is X
    assert same(quiet(X, deterministic=False, rngs=key), noisy)  # the call goes first
    assert make()(X, deterministic=True) is X
    view = nnx.view(make(), deterministic=True)
    assert view(X) is X
    assert same(nnx.view(view, deterministic=False)(X, rngs=key), noisy)
    layer = make(deterministic=None)
    with pytest.raises(ValueError, match="to the constructor"):
        layer(X, rngs=key)
    layer.eval()
    assert layer(X) is X
    layer.train()
    assert same(layer(X, rngs=key), noisy)


@each_layer
def test_streams_are_forked_from_rngs_and_streams_or_made_from_keys(name):
    make, function = LAYERS[name]
    seed = jax.random.key(3)
    rngs = nnx.Rngs(dropout=seed)  # layers of noise that is no dropout fall back to it
    forked = make(rngs=rngs)
    first = jax.random.fold_in(jax.random.fold_in(seed, 0), 0)
    np.testing.assert_allclose(forked(X), function(first, X), rtol=1e-5, atol=1e-7)
    # All eight draws of a branch dropped at 0.4 agree with probability 0.02, at a fixed key.
    assert any(not same(forked(X), function(first, X)) for _ in range(8))
    assert int(forked.rngs.count[...]) > 1
    assert int(rngs.dropout.count[...]) == 1
    held = make(rngs=nnx.RngStream(seed, tag="mine"))
    np.testing.assert_allclose(held(X), function(first, X), rtol=1e-5, atol=1e-7)
    keyed = make(rngs=seed)
    np.testing.assert_allclose(keyed(X), function(jax.random.fold_in(seed, 0), X), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(keyed(X, rngs=first), function(first, X), rtol=1e-5, atol=1e-7)  # the call goes first


@each_layer
def test_collections_of_rngs(name):
    make, _ = LAYERS[name]
    layer = make()
    dropouts = layer.rng_collection == "dropout"
    both = nnx.Rngs(0, dropout=1, noise=2)
    layer(X, rngs=both)
    used = {name: int(stream.count[...]) for name, stream in both.items()}
    assert used == {"default": 0, "dropout": int(dropouts), "noise": int(not dropouts)}
    default = nnx.Rngs(0)
    layer(X, rngs=default)
    assert int(default.default.count[...]) == 1
    mine = nnx.Rngs(0, mine=1)
    make(rng_collection="mine")(X, rngs=mine)
    assert int(mine.mine.count[...]) == 1
    with pytest.raises(ValueError, match="it has \\['params'\\]"):
        layer(X, rngs=nnx.Rngs(params=0))
    with pytest.raises(ValueError, match=f"no `rngs` argument was provided to {name}"):
        layer(X)
    with pytest.raises(TypeError, match="JAX key, got a int"):
        layer(X, rngs=0)
    with pytest.raises(TypeError, match="JAX key, got a int"):
        make(rngs=0)


@each_layer
def test_dtypes_are_kept(name, key):
    make, _ = LAYERS[name]
    x = X.astype(jnp.bfloat16)
    assert make()(x, rngs=key).dtype == jnp.bfloat16


@pytest.mark.parametrize("name", [n for n in LAYERS if n != "PatchDropout"])
def test_amounts_are_float32_and_no_params(name):
    layer = LAYERS[name][0](rngs=nnx.Rngs(0))
    amounts = jax.tree.leaves(nnx.state(layer, njx.Amount))
    assert amounts
    assert all(a.dtype == jnp.float32 and not a.weak_type for a in amounts)
    assert not jax.tree.leaves(nnx.state(layer, nnx.Param))
    gradient = nnx.grad(lambda layer: layer(X).sum())(layer)
    assert not jax.tree.leaves(gradient)


def test_amounts_out_of_range_raise():
    with pytest.raises(ValueError, match=r"Dropout: rate must be in \[0, 1\], got 1.5"):
        njx.Dropout(1.5)
    with pytest.raises(ValueError, match="GaussianNoise: std must be at least 0"):
        njx.GaussianNoise(-1.0)
    with pytest.raises(ValueError, match="alpha must be at least 0"):
        njx.NEFTune(-1.0)
    layer = njx.DropPath(0.1)
    with pytest.raises(ValueError, match="DropPath: rate must be in"):
        layer.rate = -0.1
    with pytest.raises(TypeError, match="knows no step"):
        njx.Dropout(nj.scheduled(lambda step: 0.1 * step))
    with pytest.raises(TypeError, match="knows no step"):
        njx.ActivationNoise(nj.bind(nj.gaussian, std=nj.scheduled(lambda step: 0.1 * step)))
    with pytest.raises(TypeError, match="sets the result's shape"):
        njx.PatchDropout(jnp.float32(0.5))


def test_amount_zero_is_the_identity_and_needs_no_stream():
    assert same(njx.Dropout(0.0, rngs=nnx.Rngs(0))(X), X)
    layer = njx.Dropout(0.0)
    assert layer(X) is X
    layer.rate = 0.5
    with pytest.raises(ValueError, match="no `rngs`"):
        layer(X)
    assert bool((njx.Dropout(1.0, rngs=nnx.Rngs(0))(X) == 0).all())


def test_an_attribute_sets_the_amount_in_its_variable():
    layer = njx.Dropout(0.1, rngs=nnx.Rngs(0))
    held = layer.rate
    layer.rate = 0.25
    assert layer.rate is held
    assert float(held[...]) == 0.25
    nnx.Sequential(layer).set_attributes(rate=0.5)
    assert float(held[...]) == 0.5
    with pytest.raises(ValueError, match="has shape \\(\\) in this layer"):
        layer.rate = jnp.ones(3)
    layer.rate = njx.Amount(jnp.linspace(0.0, 0.9, 8))
    assert layer(X).shape == X.shape


def test_dropout_is_an_nnx_dropout():
    layer = njx.Dropout(0.5)
    assert isinstance(layer, nnx.Dropout)
    nnx.Sequential(layer).set_attributes(nnx.Dropout, deterministic=True)
    assert layer(X) is X


@pytest.mark.slow
def test_padding_is_left_alone(key):
    lengths = jnp.array([6, 1, 3, 0])
    inside = jnp.arange(6)[None, :] < lengths[:, None]
    for name, (make, _) in LAYERS.items():
        if name == "PatchDropout":
            assert make()(X, rngs=key, lengths=lengths).shape == (4, 4, 8)
            continue
        y = make()(X, rngs=key, lengths=lengths)
        assert same(y, make()(X, rngs=key, where=inside[:, :, None])), name
        assert same(jnp.where(inside[:, :, None], X, y), X), name


@pytest.mark.slow
def test_neftune_counts_true_lengths(key):
    x, lengths = jnp.zeros((3, 400, 50)), jnp.array([400, 100, 4])
    y = njx.NEFTune(5.0)(x, rngs=key, lengths=lengths)
    for row, length in zip(y, lengths.tolist(), strict=True):
        bound = 5 / np.sqrt(length * 50)
        assert bool((row[length:] == 0).all())
        largest = float(abs(row[:length]).max())
        # The largest of 200 uniforms is below 0.9 with probability 1e-9.
        assert 0.9 * bound < largest <= bound * (1 + 1e-6)
    mask = jnp.arange(400)[None, :, None] < lengths[:, None, None]
    assert same(y, njx.NEFTune(5.0)(x, rngs=key, where=mask))
    with pytest.raises(ValueError, match="length, features"):
        njx.NEFTune(5.0)(jnp.zeros(4), rngs=key)


@pytest.mark.slow
def test_activation_noise_takes_functions_batches_and_learned_amounts(key):
    layer = njx.ActivationNoise(lambda key, x: x + 1, rngs=nnx.Rngs(0))
    assert same(nnx.jit(lambda layer, x: layer(x))(layer, X), X + 1)
    batch = njx.ActivationNoise(nj.bind(nj.mixup, alpha=0.5, num_classes=3))
    _, y = batch((X, jnp.array([0, 1, 2, 0])), rngs=key)
    assert y.shape == (4, 3)
    learned = njx.ActivationNoise(
        nj.chain(nj.learnable(nj.bind(nj.gaussian, std=0.5)), nj.bind(nj.gaussian, std=0.5)), rngs=nnx.Rngs(0)
    )
    gradient = jax.tree.leaves(nnx.grad(lambda layer: (layer(X) ** 2).sum())(learned))
    assert len(gradient) == 1
    assert float(gradient[0]) > 0
    assert len(jax.tree.leaves(nnx.state(learned, njx.Amount))) == 1
    with pytest.raises(TypeError, match="bind gaussian first"):
        njx.ActivationNoise(nj.gaussian)


def test_assigning_a_noise_of_the_same_structure_does_not_compile_again():
    layer = njx.ActivationNoise(nj.bind(nj.gaussian, std=0.1), rngs=nnx.Rngs(0))

    @nnx.jit
    @chex.assert_max_traces(n=1)
    def step(layer, x):
        return layer(x)

    step(layer, X)
    layer.noise = nj.bind(nj.gaussian, std=0.0)
    assert same(step(layer, X), X)
    layer.noise = nj.bind(nj.mask, rate=1.0)  # another structure replaces it
    assert not layer(X).any()
    with pytest.raises(TypeError, match="bind mask first"):
        layer.noise = nj.mask


def test_manifold_mixup_blends_one_place_and_the_labels(key):
    layer = njx.ManifoldMixup(2.0, places=3)
    labels, places = jnp.arange(4), set()
    for n in range(24):
        mix = layer(X, rngs=jax.random.fold_in(key, n))
        blended = [place for place in range(3) if not same(mix(X, place), X)]
        lam, partner = mix.lam[:, None, None], mix.partner
        assert blended in ([int(mix.place)], [])
        np.testing.assert_allclose(mix(X, int(mix.place)), lam * X + (1 - lam) * X[partner], atol=1e-6)
        rows = jnp.eye(4)
        expected = mix.lam[:, None] * rows + (1 - mix.lam[:, None]) * rows[partner]
        np.testing.assert_allclose(mix.labels(labels, num_classes=4), expected, atol=1e-6)
        assert len(set(mix.lam.tolist())) == 1  # one weight for the batch
        places |= set(blended)
    assert places == {0, 1, 2}  # one of three is missing after 24 draws with probability 2e-4, at a fixed key
    quiet = layer(X, deterministic=True)
    assert quiet(X, 0) is X
    assert same(quiet.labels(labels, num_classes=4), jnp.eye(4))
    with pytest.raises(ValueError, match=r"place must be in \[0, 3\)"):
        quiet(X, 3)
    with pytest.raises(ValueError, match="places must be"):
        njx.ManifoldMixup(2.0, places=0)


def test_linear_rates():
    np.testing.assert_allclose(nj.linear_rates(0.3, 4), [0, 0.1, 0.2, 0.3], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(nj.linear_rates(0.3, 3, start=0.1), [0.1, 0.2, 0.3], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(nj.linear_rates(0.3, 1), [0.3], rtol=1e-5, atol=1e-7)
    assert nj.linear_rates(0.3, 4).dtype == np.float32
    assert jax.jit(lambda rate: nj.linear_rates(rate, 4))(0.3).shape == (4,)
    with pytest.raises(ValueError, match="depth"):
        nj.linear_rates(0.3, 0)
    with pytest.raises(ValueError, match="rate must be in"):
        nj.linear_rates(1.3, 2)


def test_tabulate_shows_the_layers():
    model = nnx.Sequential(nnx.Linear(8, 8, rngs=nnx.Rngs(0)), njx.Dropout(0.5, rngs=nnx.Rngs(0)))
    model.layers.append(njx.ActivationNoise(nj.bind(nj.gaussian, std=0.1), rngs=nnx.Rngs(0)))
    assert "ActivationNoise" in nnx.tabulate(model, X, console_kwargs={"width": 240})
