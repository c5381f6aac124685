"""Products with noisy weights that are drawn by tiles against the products that write them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from noisejax._random.stream import Stream, Tile, words
from noisejax.fused import _products
from noisejax.fused._dense import dense_by_tiles

RNG = np.random.default_rng(0)
X, W = (jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in ((2, 5, 37), (37, 53)))
NOISES = {
    "gaussian": nj.bind(nj.gaussian, std=0.1),
    "DropConnect": nj.learnable(nj.bind(nj.weights.drop_connect, rate=0.3)),
    "relative": nj.bind(nj.speckle, std=0.2),
    "quantization": nj.bind(nj.quantize, step=0.25),
    "a chain with an amount for each weight": nj.learnable(
        nj.chain(
            nj.bind(nj.speckle, std=jnp.asarray(RNG.uniform(size=W.shape), jnp.float32)),
            nj.bind(nj.gaussian, std=jnp.linspace(0, 1, W.shape[1])),
        )
    ),
}
FAST = ("DropConnect", "a chain with an amount for each weight")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FAST else [pytest.mark.slow]) for n in NOISES])
def test_values_and_gradients_are_those_of_the_unfused_product(name, key):
    def run(product):
        def loss(x, w, noise):
            y = product(x, w, noise)
            return (y**2).sum(), y

        (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(X, W, NOISES[name])
        return jax.tree.leaves((y, gradients))

    unfused = run(lambda x, w, noise: x @ noise(key, w))
    for a, b in zip(run(lambda x, w, noise: dense_by_tiles(key, x, w, noise, size=16)), unfused, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_tile_has_the_words_of_the_whole_beyond_32_bits_too(key):
    for whole in ((50, 70), (70_000, 65_537)):
        first = (jnp.int32(whole[0] - 9), jnp.int32(whole[1] - 8))
        tile = words(Stream(key, tile=Tile(first, whole)), "w", (9, 8), varies=(0, 1))
        for row in (0, 8):
            start = (whole[0] - 9 + row) * whole[1] + whole[1] - 8
            assert np.array_equal(tile[row], words(key, "w", (8,), offset=start))


def test_bfloat16_is_no_worse_than_unfused(key):
    x, w, noise = X[0].astype(jnp.bfloat16), W.astype(jnp.bfloat16), NOISES["gaussian"]
    got = dense_by_tiles(key, x, w, noise, size=16)
    noisy = np.asarray(noise(key, w), np.float64)
    exact = np.asarray(x, np.float64) @ noisy
    assert got.dtype == jnp.bfloat16
    assert np.abs(np.asarray(got, np.float64) - exact).max() <= 2**-7 * np.abs(exact).max()


def in_two_ways(monkeypatch):
    """As on processors with and without instructions for bfloat16."""
    for native in (False, True):
        monkeypatch.setattr(_products, "multiplies_bfloat16", lambda native=native: native)
        yield native


@pytest.mark.slow
def test_tiles_in_bfloat16_have_the_gradients_of_the_unfused_product(key, monkeypatch):
    noise = NOISES["a chain with an amount for each weight"]
    x, w = X.astype(jnp.bfloat16), W.astype(jnp.bfloat16)

    def run(product):
        def loss(x, w, noise):
            return (product(x, w, noise).astype(jnp.float32) ** 2).sum()

        return jax.tree.leaves(jax.jit(jax.grad(loss, (0, 1, 2)))(x, w, noise))

    unfused = run(lambda x, w, noise: x @ noise(key, w))
    for _ in in_two_ways(monkeypatch):
        for a, b in zip(run(lambda x, w, noise: dense_by_tiles(key, x, w, noise, size=16)), unfused, strict=True):
            a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
            np.testing.assert_allclose(a, b, rtol=0.02, atol=0.01 * np.abs(b).max())


def test_a_transpose_can_be_multiplied_in_bfloat16(key, monkeypatch):
    x, w = X[0].T.astype(jnp.bfloat16), W.astype(jnp.bfloat16)
    wanted = dense_by_tiles(key, x.T, w, NOISES["gaussian"])
    for _ in in_two_ways(monkeypatch):
        got = jax.jit(lambda x, w: nj.fused.noisy_dense(key, x.T, w, NOISES["gaussian"]))(x, w)
        np.testing.assert_allclose(np.asarray(got, np.float32), np.asarray(wanted, np.float32), rtol=0.01, atol=0.1)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_temporaries_are_a_fraction_of_the_weights(dtype, key, monkeypatch):
    x, w = jax.ShapeDtypeStruct((512, 4096), dtype), jax.ShapeDtypeStruct((4096, 4096), dtype)

    def product(x, w):
        return nj.fused.noisy_dense(key, x, w, NOISES["gaussian"])

    def loss(x, w):
        return (product(x, w) ** 2).sum()

    for native in in_two_ways(monkeypatch):
        # Where bfloat16 is converted, tiles and sums are float32: of twice the share of narrower weights.
        forward = 0.2 if native or dtype == jnp.float32 else 0.25
        for function, share in ((product, forward), (jax.grad(loss, (0, 1)), 0.5)):
            found = (
                jax.jit(lambda x, w, function=function: function(x, w))
                .lower(x, w)
                .compile()
                .memory_analysis()
                .temp_size_in_bytes
            )
            assert found <= share * w.size * dtype.dtype.itemsize


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_sharded_batch_needs_no_collective_forward(dtype, key, monkeypatch):
    mesh = jax.make_mesh((8,), ("a",), axis_types=(AxisType.Auto,))
    x, w = jnp.ones((16, 37), dtype), W.astype(dtype)
    for _ in in_two_ways(monkeypatch):
        alone = dense_by_tiles(key, x, w, NOISES["gaussian"], size=16)
        with jax.set_mesh(mesh):
            sharded = jax.device_put(x, NamedSharding(mesh, P("a")))
            run = jax.jit(lambda x, w: dense_by_tiles(key, x, w, NOISES["gaussian"], size=16))
            compiled = run.lower(sharded, w).compile()
        moved = ("all-reduce", "all-gather", "all-to-all", "permute")
        assert not [name for name in moved if name in compiled.as_text()]
        np.testing.assert_allclose(np.asarray(compiled(sharded, w), np.float32), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones((2, 36), np.float32)}, "noisy_dense: x must be .* w"),
        ({"w": np.ones(37, np.float32)}, "noisy_dense: x must be"),
        ({"x": np.ones((2, 37), np.float16)}, "noisy_dense: x and w must have one dtype"),
        ({"noise": nj.gaussian}, "noisy_dense: bind gaussian first"),
        ({"noise": nj.bind(nj.weights.fake_quantize, bits=4)}, "noise must act on single elements.* fake_quantize"),
        ({"noise": lambda key, w: w + jax.random.normal(key, w.shape)}, "noise must be made of noises of this library"),
        ({"implementation": "fast"}, "implementation must be one of"),
    ],
)
def test_bad_arguments(change, message, key):
    given = {"key": key, "x": np.ones((2, 37), np.float32), "w": W, "noise": NOISES["gaussian"]}
    with pytest.raises((TypeError, ValueError), match=message):
        nj.fused.noisy_dense(**(given | change))
