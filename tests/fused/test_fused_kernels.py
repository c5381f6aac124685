"""Hand-written kernels against their plain forms, run in Pallas' interpreter, and the errors where they cannot run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax._random.stream import words
from noisejax.fused import _norm
from noisejax.fused._attention.call import attend_by_blocks
from noisejax.fused._dense import dense_by_tiles
from noisejax.fused._kernels.draws import row_index, words_at
from noisejax.fused._tiles import place_of

OPTIONS = {"plain": {}, "causal": {"causal": True}, "windowed": {"window": (70, 3), "broadcast_dims": (0, 1)}}


def normals(*shapes, dtype=jnp.float32):
    return [jax.random.normal(jax.random.key(n), shape).astype(dtype) for n, shape in enumerate(shapes)]


def agree(got, wanted, tolerance):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "causal" else [pytest.mark.slow]) for n in OPTIONS])
@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_attention_agrees_with_its_plain_form(name, dtype, key):
    q, k, v = normals((2, 128, 4, 16), (2, 192, 2, 16), (2, 192, 2, 32), dtype=dtype)
    rate = jnp.linspace(0.1, 0.5, 2)[:, None, None, None]

    def run(implementation):
        def loss(*given):
            out = attend_by_blocks(key, *given, implementation=implementation, **OPTIONS[name])
            return (out.astype(jnp.float32) ** 2).sum(), out

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))(q, k, v, rate)

    agree(run("interpret"), run("xla"), 2e-6 if dtype == jnp.float32 else 1e-2)


@pytest.mark.slow
def test_attention_of_the_kernels_without_dropout(key):
    q, k, v = normals(*[(1, 64, 2, 16)] * 3)
    got = attend_by_blocks(None, q, k, v, 0.0, implementation="interpret")
    np.testing.assert_allclose(got, jax.nn.dot_product_attention(q, k, v), rtol=1e-4, atol=1e-5)


def test_words_of_a_row_beyond_32_bits_are_those_of_the_whole(key):
    shape = (3, 2, 40_000, 65_537)
    place, k0, k1 = place_of(key, "dropout", shape)
    batch, head, query, _ = place.strides
    index = row_index(place, [(jnp.int32(2), batch), (jnp.int32(1), head), (jnp.int32(39_999), query)])
    got = words_at(place, k0, k1, index, jnp.arange(65_530, 65_536))
    first = ((2 * 2 + 1) * 40_000 + 39_999) * 65_537 + 65_530
    assert np.array_equal(got, words(key, "dropout", (6,), offset=first))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "the default backend is cpu"),
        ({"bias": np.ones((128, 128), np.float32)}, "no bias"),
        ({"key_lengths": np.array([3, 4])}, "no bias, lengths or segments"),
        ({"query": np.ones((2, 100, 2, 16), np.float32)}, "length of query must be a multiple of 64, got 100"),
        ({"broadcast_dims": (2,)}, "broadcast_dims may name"),
    ],
)
def test_attention_that_cannot_run_says_why(change, reason, key):
    q, k, v = normals(*[(2, 128, 2, 16)] * 3)
    given = {"query": q, "key_states": k, "value_states": v, "rate": 0.1, "implementation": "pallas"}
    with pytest.raises(ValueError, match=f"attention: implementation='pallas' cannot run here: .*{reason}"):
        nj.fused.attention(key, **(given | change))
    small = normals(*[(2, 64, 2, 12)] * 3)
    with pytest.raises(ValueError, match="16, 32, 64, 128 or 256 features, got 12"):
        nj.fused.attention(key, *small, 0.1, implementation="pallas")


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_noisy_dense_agrees_with_its_plain_form(dtype, key):
    x, w = normals((3, 7, 128), (128, 128), dtype=dtype)
    noise = nj.bind(nj.gaussian, std=0.3)

    def run(implementation):
        def loss(x, w):
            out = dense_by_tiles(key, x, w, noise, implementation=implementation)
            return (out.astype(jnp.float32) ** 2).sum(), out

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, w)

    agree(run("interpret"), run("xla"), 2e-6 if dtype == jnp.float32 else 1e-2)


def test_noisy_dense_that_cannot_run_says_why(key):
    x, w = normals((3, 128), (128, 128))
    dropped = nj.bind(nj.weights.drop_connect, rate=0.1)
    for given, reason in (
        ((x, w, nj.bind(nj.gaussian, std=0.1)), "the default backend is cpu"),
        ((x, w, dropped), "nj.gaussian with one std"),
        ((x, w[:, :100], nj.bind(nj.gaussian, std=0.1)), "multiples of 128 and 128"),
    ):
        with pytest.raises(ValueError, match=f"noisy_dense: .*{reason}"):
            nj.fused.noisy_dense(key, *given, implementation="pallas")


@pytest.mark.parametrize("norm", ["rms", pytest.param("layer", marks=pytest.mark.slow)])
@pytest.mark.parametrize("gpu", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["whole rows", "in parts"])
def test_dropout_residual_norm_agrees_with_its_plain_form(gpu, norm, key, monkeypatch):
    monkeypatch.setattr("noisejax.fused._kernels.norm.WIDTH", 128)
    x, residual, scale, shift = normals((2, 8, 256), (2, 8, 256), (256,), (256,))
    static = (norm, 1e-6)

    def run(function):
        out, pullback = jax.vjp(lambda *given: function(*given, jnp.float32(0.3), key), x, residual, scale, shift)
        return out, pullback(out)

    how = (("interpret", True), ("gpu", gpu))
    plain = run(lambda *given: _norm._compiled(static, *given))
    agree(run(lambda *given: _norm._by_kernel(static, how, *given)), plain, 2e-6)


def test_dropout_residual_norm_that_cannot_run_says_why(key):
    x = jnp.ones((8, 256))
    for given, reason in (
        ((x, x, 0.1), "the default backend is cpu"),
        ((x, x, jnp.full((8, 1), 0.1)), "rate must be one number"),
        ((x[:3], x[:3], 0.1), "multiple of 8, got 3"),
        ((x[:, :200], x[:, :200], 0.1), "power of two"),
    ):
        with pytest.raises(ValueError, match=f"dropout_residual_norm: .*{reason}"):
            nj.fused.dropout_residual_norm(key, *given, implementation="pallas")
