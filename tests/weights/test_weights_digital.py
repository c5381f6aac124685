"""Quantization, its noise, and bits that flip. Thresholds of p-values: one false alarm in 10,000 for each test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import noisejax as nj
from noisejax.weights import bit_flips, fake_quantize, quant_noise

W = np.float32([-1.3, -0.71, -0.2, 0.0, 0.05, 0.33, 0.9, 2.2])
# torch.fake_quantize_per_tensor_affine of torch 2.13.0, with the scale and the zero point of a min-max observer.
TORCH_AFFINE_4 = np.float32([-1.4, -0.7, -0.23333333, 0, 0, 0.23333333, 0.93333334, 2.1])
TORCH_SYMMETRIC_4 = np.float32([-1.2571429, -0.62857145, -0.3142857, 0, 0, 0.3142857, 0.94285715, 2.2])


def reference(w, bits, symmetric, axis=None):
    """The formulas of the docstring, in float64."""
    w = np.float64(w)
    keep = {"axis": axis, "keepdims": True}
    if symmetric:
        n = 2 ** (bits - 1) - 1
        step = abs(w).max(**keep) / n
        return step * np.clip(np.round(w / step), -n, n)
    low, high = np.minimum(w.min(**keep), 0), np.maximum(w.max(**keep), 0)
    n = 2**bits - 1
    step = (high - low) / n
    zero = np.round(-low / step)
    return step * (np.clip(np.round(w / step) + zero, 0, n) - zero)


def test_fake_quantize_agrees_with_torch(key):
    np.testing.assert_allclose(fake_quantize(key, W, 4, symmetric=False), TORCH_AFFINE_4, rtol=1e-6)
    np.testing.assert_allclose(fake_quantize(key, W, 4), TORCH_SYMMETRIC_4, rtol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("channel_axis", [None, -1])
def test_fake_quantize_is_its_formula(symmetric, channel_axis, key):
    w = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32) * [1, 2, 3, 4, 100] + [0, 1, -9, 0, 0]
    w = w.astype(np.float32)
    run = jax.jit(lambda bits: fake_quantize(key, w, bits, symmetric=symmetric, channel_axis=channel_axis))
    for bits in (2, 3, 8):
        y = run(jnp.float32(bits))
        np.testing.assert_allclose(y, reference(w, bits, symmetric, None if channel_axis is None else 0), rtol=1e-5)
        assert len(np.unique(y[:, 4])) <= 2**bits
    np.testing.assert_array_equal(run(jnp.float32(24)), w)


def test_fake_quantize_takes_zeros_and_what_is_not_finite(key):
    for symmetric in (True, False):
        np.testing.assert_array_equal(fake_quantize(key, np.zeros(4, np.float32), 4, symmetric=symmetric), 0)
        w = np.append(W, np.float32([np.nan, np.inf]))
        y = fake_quantize(key, w, 4, symmetric=symmetric)
        np.testing.assert_array_equal(y[:-2], fake_quantize(key, W, 4, symmetric=symmetric))
        np.testing.assert_array_equal(y[-2:], w[-2:])
        positive = fake_quantize(key, abs(W) + 1, 4, symmetric=symmetric)
        np.testing.assert_allclose(positive, reference(abs(W) + 1, 4, symmetric), rtol=1e-6)


def test_padding_does_not_set_the_range(key):
    w, where = np.append(W, np.float32(1000)), np.arange(9) < 8
    y = fake_quantize(key, w, 4, where=where)
    np.testing.assert_allclose(y, np.append(TORCH_SYMMETRIC_4, 1000), rtol=1e-6)


def test_stochastic_rounding_has_the_weight_as_its_mean(key):
    w = jnp.tile(jnp.float32([0.31, -0.77, 1.0]), (20_000, 1))
    y = np.asarray(fake_quantize(key, w, 3, rounding="stochastic"), np.float64)
    error = y.std(0) / np.sqrt(len(y))
    assert (abs(y.mean(0) - np.float64(w[0])) < 4.1 * error + 1e-6).all()


@pytest.mark.slow
def test_gradients_are_straight_through(key):
    w = jnp.asarray(np.random.default_rng(1).standard_normal((6, 4)), jnp.float32)
    noises = [
        lambda w: fake_quantize(key, w, 3),
        lambda w: fake_quantize(key, w, 3, symmetric=False, channel_axis=-1),
        lambda w: quant_noise(key, w, 0.5, 3),
        lambda w: bit_flips(key, w, 0.1),
    ]
    for noise in noises:
        y, gradient = jax.vjp(noise, w)
        assert bool((y != w).any())
        np.testing.assert_array_equal(gradient(jnp.ones_like(w))[0], 1)


@pytest.mark.parametrize(("block_size", "axis"), [(1, -2), (4, -2), (3, -1)])
def test_quant_noise_quantizes_whole_blocks_at_its_rate(block_size, axis, key):
    w = np.random.default_rng(2).standard_normal((1000, 50)).astype(np.float32)
    noise = nj.bind(quant_noise, rate=0.2, bits=4, block_size=block_size, axis=axis)
    y, hit = noise(key, w), np.asarray(nj.hits(noise)(key, w))
    np.testing.assert_array_equal(y, np.where(hit, fake_quantize(key, w, 4), w))
    size = w.shape[axis]
    blocks = np.stack(
        [hit.take(range(at, min(at + block_size, size)), axis).any(axis) for at in range(0, size, block_size)]
    )
    whole = np.stack(
        [hit.take(range(at, min(at + block_size, size)), axis).all(axis) for at in range(0, size, block_size)]
    )
    np.testing.assert_array_equal(blocks, whole)
    assert scipy.stats.binomtest(int(blocks.sum()), blocks.size, 0.2).pvalue > 1e-4


def test_quant_noise_of_everything_is_fake_quantize_and_a_bias_has_blocks_too(key):
    np.testing.assert_array_equal(quant_noise(key, W, 1.0, 4), fake_quantize(key, W, 4))
    hit = nj.hits(nj.bind(quant_noise, rate=0.5, block_size=4))(key, jnp.ones(4000))
    assert bool((hit.reshape(-1, 4) == hit.reshape(-1, 4)[:, :1]).all()) and 0.4 < float(hit.mean()) < 0.6


def flipped_bits(before, after):
    """Which bits differ, the lowest first: (elements, bits)."""
    unsigned = np.dtype(f"uint{8 * before.dtype.itemsize}")
    difference = np.asarray(before).view(unsigned) ^ np.asarray(after).view(unsigned)
    return np.unpackbits(difference.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int8, jnp.uint16])
@pytest.mark.parametrize("rate", [0.3, 1e-4, 1 / 4096])
def test_every_bit_flips_at_the_rate_and_alone(dtype, rate, key):
    n = 200_000
    bits = flipped_bits(jnp.zeros(n, dtype), bit_flips(key, jnp.zeros(n, dtype), rate))
    width = bits.shape[1]
    p = [scipy.stats.binomtest(int(count), n, rate).pvalue for count in bits.sum(0)]
    assert min(p) > 0.25e-4 / width
    assert scipy.stats.binomtest(int(bits.sum()), bits.size, rate).pvalue > 0.25e-4
    # Independent lanes: the number of flips of a word is binomial.
    counts = np.bincount(bits.sum(1), minlength=width + 1).astype(float)
    expected = n * scipy.stats.binom.pmf(np.arange(width + 1), width, rate)
    rare = expected < 10
    counts, expected = (np.append(v[~rare], v[rare].sum()) for v in (counts, expected))
    if expected[-1] < 5:  # too little for a cell of its own
        counts, expected = (np.append(v[:-2], v[-2:].sum()) for v in (counts, expected))
    if len(counts) > 1:
        assert scipy.stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 0.25e-4
    if rate == 0.3:  # for rare flips the counts above say it
        pairs = np.corrcoef(bits.T)[np.triu_indices(width, 1)]
        assert abs(pairs).max() < scipy.stats.norm.isf(0.125e-4 / pairs.size) / n**0.5


@pytest.mark.slow
def test_the_same_faults_twice_restore_the_bits_and_the_ends_are_exact(key):
    w = jnp.asarray(np.random.default_rng(0).standard_normal((64, 8)), jnp.float32)
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        x = w.astype(dtype)
        view = f"uint{8 * x.dtype.itemsize}"
        once = bit_flips(key, x, 0.3)
        back = bit_flips(key, once, 0.3)
        number = ~np.isnan(np.asarray(once, np.float32))  # moving a NaN may change its payload
        np.testing.assert_array_equal(np.asarray(back).view(view)[number], np.asarray(x).view(view)[number])
        np.testing.assert_array_equal(np.asarray(bit_flips(key, x, 1.0)).view(view), ~np.asarray(x).view(view))
    np.testing.assert_array_equal(bit_flips(key, jnp.array([True, False]), 1.0), [False, True])
    with jax.enable_x64(True):
        wide = jnp.zeros(20_000, jnp.float64)
        bits = flipped_bits(wide, bit_flips(key, wide, 0.3))
        assert bits.shape[1] == 64
        assert min(scipy.stats.binomtest(int(c), 20_000, 0.3).pvalue for c in bits.sum(0)) > 1e-4 / 64


@pytest.mark.parametrize(
    ("dtype", "bits", "expected"),
    [
        (jnp.float32, "sign", {31}),
        (jnp.float32, "exponent", set(range(23, 31))),
        (jnp.bfloat16, ("sign", "mantissa"), {15, *range(7)}),
        (jnp.float16, "exponent", set(range(10, 15))),
        (jnp.int8, (0, 7), {0, 7}),
        (jnp.int8, 3, {3}),
    ],
)
def test_only_the_chosen_bits_flip(dtype, bits, expected, key):
    x = jnp.ones(2000, dtype)
    assert set(np.flatnonzero(flipped_bits(x, bit_flips(key, x, 0.5, bits=bits)).any(0))) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "bits", "expected"),
    [
        ("int4", "all", range(4)), ("uint4", "all", range(4)), ("int2", "all", range(2)), ("uint2", (1,), {1}),
        ("int4", (0, 3), {0, 3}), ("float4_e2m1fn", "exponent", {1, 2}), ("float4_e2m1fn", "sign", {3}),
        ("float8_e4m3fn", "exponent", range(3, 7)), ("float8_e4m3fn", "mantissa", range(3)),
        ("float8_e5m2", "exponent", range(2, 7)), ("float8_e5m2", "sign", {7}),
        ("float8_e8m0fnu", "exponent", range(8)),
    ],
)  # fmt: skip
def test_narrow_numbers_have_their_own_bits(dtype, bits, expected, key):
    x = jnp.ones(4000, dtype)
    y = bit_flips(key, x, 0.3, bits=bits)
    width = 8 if "8" in dtype else 4 if "4" in dtype else 2
    a, b = (jax.lax.bitcast_convert_type(v, f"uint{width}").astype(jnp.uint8) for v in (x, y))
    count = np.array([int((np.asarray(a ^ b) >> n & 1).sum()) for n in range(8)])
    assert y.dtype == dtype and set(np.flatnonzero(count)) == set(expected)
    assert min(scipy.stats.binomtest(int(c), 4000, 0.3).pvalue for c in count[list(expected)]) > 1e-4 / 8
    unchanged = bit_flips(key, x, 0.0)
    assert bool((unchanged.astype(jnp.float32) == 1).all())


def test_a_scale_has_no_sign_and_no_mantissa(key):
    for bits in ("sign", "mantissa"):
        with pytest.raises(ValueError, match="one of 'all', 'exponent', a position from 0"):
            bit_flips(key, jnp.ones(3, jnp.float8_e8m0fnu), 0.3, bits=bits)


def test_rates_may_differ_from_weight_to_weight(key):
    x = jnp.zeros((2000, 3), jnp.int8)
    bits = flipped_bits(x, bit_flips(key, x, jnp.float32([0.0, 0.1, 1.0]))).reshape(2000, 3, 8)
    assert bits[:, 0].sum() == 0 and bits[:, 2].all()
    assert scipy.stats.binomtest(int(bits[:, 1].sum()), 16_000, 0.1).pvalue > 1e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda k: bit_flips(k, jnp.zeros(2), 0.1, bits="low"),
            "bits must be one of 'all', 'sign', 'exponent', 'mantissa'",
        ),
        (lambda k: bit_flips(k, jnp.zeros(2, jnp.int8), 0.1, bits="sign"), "0, the lowest, to 7 for int8"),
        (lambda k: bit_flips(k, jnp.zeros(2), 1.5), r"rate must be in \[0, 1\]"),
        (lambda k: fake_quantize(k, W, 1), "bits must be at least 2"),
        (lambda k: fake_quantize(k, W, 4, rounding="up"), "'nearest', 'stochastic'"),
        (lambda k: fake_quantize(k, W, 4, channel_axis=1), "channel_axis must be axes of x"),
        (lambda k: quant_noise(k, W, 0.1, block_size=0), "block_size must be an integer"),
    ],
)
def test_errors_name_the_argument(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(key)
