"""Hand-written kernels against their specifications in plain jnp: one suite for both, the kernels interpreted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from benchmarks.kernels.dropout_norm import dropout_norm
from benchmarks.kernels.noisy_matmul import noisy_matmul
from benchmarks.kernels.normal_pairs import normal_pairs, pair
from noisejax._random.stream import words

BOTH = pytest.mark.parametrize("implementation", ["xla", "interpret"])
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


def inputs(dtype, *shapes):
    keys = jax.random.split(jax.random.key(7), len(shapes))
    return [jax.random.normal(k, s).astype(dtype) for k, s in zip(keys, shapes, strict=True)]


def close(a, b, dtype):
    tolerance = 1e-2 if dtype == jnp.bfloat16 else 2e-5
    np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "batch"), [(jnp.float32, 70), (jnp.bfloat16, 5)])  # neither fills its block of rows
def test_noisy_matmul_agrees_with_its_specification(dtype, batch, key):
    x, w = inputs(dtype, (batch, 128), (128, 128))
    run = functools.partial(noisy_matmul, key, x, w, 0.3)
    close(run(implementation="interpret"), run(), dtype)


@BOTH
def test_noisy_matmul_is_a_product_with_noisy_weights(implementation, key):
    x, w = inputs(jnp.float32, (128, 128), (128, 64))
    close(noisy_matmul(key, x, w, 0.0, implementation=implementation), x @ w, jnp.float32)
    noise = noisy_matmul(key, jnp.eye(128), w, 1.0, implementation=implementation) - w
    assert stats.kstest(np.asarray(noise).ravel(), "norm").pvalue > 1e-4


@pytest.mark.slow
@DTYPES
def test_normal_pairs_agree_with_their_specification(dtype, key):
    (x,) = inputs(dtype, (4096,))
    run = functools.partial(normal_pairs, key, x, 0.5)
    close(run(implementation="interpret"), run(), dtype)


def test_normal_pairs_are_two_independent_normals(key):
    sine, cosine = (np.asarray(n) for n in jax.jit(pair)(words(key, "test", (2**20,))))
    assert stats.kstest(sine, "norm").pvalue > 1e-4
    assert stats.kstest(cosine, "norm").pvalue > 1e-4
    assert stats.kstest((sine + cosine) / np.sqrt(2), "norm").pvalue > 1e-4
    assert stats.kstest((sine**2 + cosine**2) / 2, "expon").pvalue > 1e-4
    # Signs and magnitudes: neither tells anything of the other.
    assert stats.chi2_contingency(np.histogram2d(sine, cosine, bins=8, range=[[-2, 2]] * 2)[0]).pvalue > 1e-4


@pytest.mark.slow
@DTYPES
def test_dropout_norm_agrees_with_its_specification(dtype, key):
    x, residual, scale = inputs(dtype, (3, 4, 256), (3, 4, 256), (256,))
    run = functools.partial(dropout_norm, key, x, residual, scale, 0.3)
    for kernel, specification in zip(run(implementation="interpret"), run(), strict=True):
        close(kernel, specification, dtype)


@BOTH
def test_dropout_norm_drops_and_norms(implementation, key):
    x, residual = jnp.ones((64, 512)), jnp.zeros((64, 512))
    h, y = dropout_norm(key, x, residual, jnp.ones(512), 0.25, implementation=implementation)
    assert set(np.unique(h).round(5)) == {0, np.float32(1 / 0.75).round(5)}
    assert stats.binomtest(int((h == 0).sum()), h.size, 0.25).pvalue > 1e-4
    np.testing.assert_allclose((y**2).mean(-1), 1, rtol=1e-4)


def test_kernels_that_cannot_run_say_why(key):
    x, w = jnp.ones((4, 128)), jnp.ones((128, 100))
    with pytest.raises(ValueError, match="multiples of 64 and 64, got \\(128, 100\\)"):
        noisy_matmul(key, x, w, 0.1, implementation="interpret")
    with pytest.raises(ValueError, match="default backend is cpu"):
        noisy_matmul(key, x, jnp.ones((128, 128)), 0.1, implementation="pallas")
    with pytest.raises(ValueError, match="must be flat"):
        normal_pairs(key, x, 0.1, implementation="interpret")
    with pytest.raises(ValueError, match="power of two"):
        dropout_norm(key, w, w, w[0], 0.1, implementation="interpret")
    with pytest.raises(ValueError, match="implementation must be one of"):
        normal_pairs(key, x, 0.1, implementation="fast")
    assert noisy_matmul(key, x, w, 0.1).shape == (4, 100)
