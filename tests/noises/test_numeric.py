"""Numerical noise against its definitions. p-values have fixed keys; a right noise fails for one key in 10,000."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax._noises.numeric import straight_through

N = 2**18
ALPHA = 1e-4


def close_to(count, n, rate):
    return stats.binomtest(int(count), n, rate).pvalue > ALPHA


# --- salt_and_pepper, impulse


@pytest.mark.parametrize(("amount", "share"), [(0.1, 0.5), (0.001, 0.5), (0.7, 0.2), (0.3, 0.0), (0.3, 1.0)])
def test_salt_and_pepper_is_scikit_images(amount, share):
    """skimage.util.random_noise: hit with probability amount, and salt among the hits with the share."""
    x = jnp.full(N, 0.5)
    y = np.asarray(nj.salt_and_pepper(jax.random.key(1), x, amount, share))
    salt, pepper = int((y == 1).sum()), int((y == 0).sum())
    assert salt + pepper + int((y == 0.5).sum()) == N
    assert close_to(salt + pepper, N, amount)
    assert close_to(salt, salt + pepper, share)


def test_salt_and_pepper_hits_are_independent_of_each_other():
    y = np.asarray(nj.salt_and_pepper(jax.random.key(1), jnp.full((512, 512), 0.5), 0.5)) - 0.5
    for product in (y[1:] * y[:-1], y[:, 1:] * y[:, :-1], abs(y[:, 1:]) * abs(y[:, :-1]) - 1 / 16):
        assert abs(product.mean()) < stats.norm.isf(ALPHA / 2) * product.std() / np.sqrt(product.size)


def test_salt_and_pepper_of_pixels():
    x = np.random.default_rng(0).random((3, 40, 40), np.float32) * 0.8 + 0.1
    noise = nj.bind(nj.salt_and_pepper, rate=0.3, channel_axis=0)
    y, mask = noise(jax.random.key(2), x), nj.hits(noise)(jax.random.key(2), x)
    assert mask.shape == x.shape
    np.testing.assert_array_equal(mask, (y == 0) | (y == 1))
    np.testing.assert_array_equal(mask, np.broadcast_to(mask[:1], x.shape))
    np.testing.assert_array_equal(np.where(mask, y, 0), np.where(mask, y[:1], 0))
    with pytest.raises(ValueError, match=r"channel_axis must be an axis of x, which has 3 axes, got 3"):
        nj.salt_and_pepper(jax.random.key(2), x, 0.1, channel_axis=3)
    with pytest.raises(ValueError, match="salt_vs_pepper must be in"):
        nj.salt_and_pepper(jax.random.key(2), x, 0.1, 1.5)


@pytest.mark.parametrize("noise", [nj.salt_and_pepper, nj.impulse])
def test_extremes_follow_the_dtype(noise):
    key = jax.random.key(3)
    for dtype, high in ((jnp.uint8, 255), (jnp.uint16, 65535), (jnp.bfloat16, 1), (jnp.float16, 1)):
        y = noise(key, jnp.full(1000, 0.5 if high == 1 else 100).astype(dtype), 0.5)
        assert y.dtype == dtype
        assert set(np.asarray(y).astype(np.float64)) == {0.0, 0.5 if high == 1 else 100.0, float(high)}
    assert noise(key, jnp.zeros(100, bool), 0.5).any()
    with pytest.raises(ValueError, match="high must be given"):
        noise(key, jnp.ones(5, jnp.int32), 0.5)
    y = noise(key, jnp.full(1000, 2**24 + 1, jnp.int32), 0.5, low=-3, high=2**24 + 3)
    assert set(y.tolist()) == {-3, 2**24 + 1, 2**24 + 3}
    y = noise(key, jnp.full(100, jnp.nan), 1.0, low=-1.0, high=1.0)
    assert set(y.tolist()) == {-1.0, 1.0}


def test_random_impulses_are_uniform():
    x = jnp.full(N, 9.0)
    y = np.asarray(nj.impulse(jax.random.key(4), x, 0.4, -1.0, 3.0, values="random"))
    hit = y[y != 9]
    assert close_to(hit.size, N, 0.4)
    assert stats.kstest(hit, stats.uniform(-1, 4).cdf).pvalue > ALPHA
    levels = np.bincount(nj.impulse(jax.random.key(4), jnp.zeros(N, jnp.uint8), 1.0, values="random"), minlength=256)
    expected = np.full(256, 1 / 255)
    expected[[0, 255]] /= 2  # rounded to the nearest level
    assert stats.chisquare(levels, N * expected).pvalue > ALPHA
    with pytest.raises(ValueError, match="values must be one of 'fixed', 'random'"):
        nj.impulse(jax.random.key(4), x, 0.4, values="any")


# --- nonfinite


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_nonfinite_kinds_are_equally_frequent(dtype):
    x = jnp.ones(N, dtype)
    y = np.asarray(nj.nonfinite(jax.random.key(5), x, 0.03)).astype(np.float32)
    counts = [int(np.isnan(y).sum()), int((y == np.inf).sum()), int((y == -np.inf).sum())]
    assert close_to(sum(counts), N, 0.03)
    assert stats.chisquare(counts).pvalue > ALPHA
    assert (y == 1).sum() == N - sum(counts)


def test_nonfinite_chosen_kinds_and_their_frequencies():
    x = jnp.ones(N)
    y = np.asarray(nj.nonfinite(jax.random.key(5), x, 1.0, kinds=("-inf", "nan", "nan", "nan")))
    assert np.isin(y[~np.isnan(y)], -np.inf).all()
    assert close_to(np.isnan(y).sum(), N, 0.75)
    noise = nj.bind(nj.nonfinite, rate=0.1, kinds=("nan",))
    y = noise(jax.random.key(6), x)
    np.testing.assert_array_equal(jnp.isnan(y), nj.hits(noise)(jax.random.key(6), x))
    with pytest.raises(ValueError, match="kinds must be one of 'nan', 'inf', '-inf', got 'zero'"):
        nj.nonfinite(jax.random.key(5), x, 0.1, kinds=("zero",))
    with pytest.raises(TypeError, match="kinds must be a tuple"):
        nj.nonfinite(jax.random.key(5), x, 0.1, kinds="nan")


@pytest.mark.slow
def test_nonfinite_lets_gradients_through_where_it_does_not_hit():
    noise, x = nj.bind(nj.nonfinite, rate=0.5), jnp.ones(100)
    gradient = jax.grad(lambda x: jnp.nan_to_num(noise(jax.random.key(7), x)).sum())(x)
    np.testing.assert_array_equal(gradient, ~nj.hits(noise)(jax.random.key(7), x))


# --- quantize


@pytest.mark.parametrize(("step", "origin"), [(0.25, 0.0), (0.1, 0.0), (2 / 255, -1.0), (3.0, 1.5)])
def test_quantize_to_nearest(step, origin):
    key = jax.random.key(8)
    x = np.random.default_rng(0).standard_normal(10000).astype(np.float32) * 5
    y = nj.quantize(key, x, step, origin)
    q = (x - np.float32(origin)) / np.float32(step)
    np.testing.assert_allclose(y, np.float32(origin) + np.float32(step) * np.round(q), rtol=1e-6, atol=1e-6)
    assert float(np.abs(y - x).max()) <= step / 2 * (1 + 1e-5)
    np.testing.assert_allclose(nj.quantize(key, y, step, origin), y, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(y, nj.quantize(jax.random.key(9), x, step, origin))


def test_quantize_has_as_many_levels_as_its_bits():
    x = jnp.linspace(-1, 1, 1001)
    assert len(set(nj.quantize(jax.random.key(0), x, 2 / (2**3 - 1), -1.0).tolist())) == 8


def test_stochastic_rounding_is_unbiased():
    """For 16 values, 2**16 roundings each: the two neighbours alone, the upper one as often as x is near to it."""
    x = np.concatenate([np.linspace(-1, 1, 13), [1e-4, -1e-4, 1000.07]]).astype(np.float32)
    n, step = 2**16, np.float32(0.3)
    wide = jnp.broadcast_to(jnp.asarray(x)[:, None], (len(x), n))
    y = np.asarray(nj.quantize(jax.random.key(10), wide, step, rounding="stochastic"))
    q = x / step
    up = np.round(y / step) - np.floor(q)[:, None]
    assert set(np.unique(up)) <= {0, 1}
    for ups, share in zip(up.sum(1), q - np.floor(q), strict=True):
        assert close_to(ups, n, float(share))


def test_quantize_on_the_grid_changes_nothing_and_where_x_is_coarser_than_the_step_neither():
    key = jax.random.key(11)
    x = jnp.array([-3.0, 0.0, 2.0, 2.0**22 + 1, 2.0**24 + 2, 3e38, -jnp.inf, jnp.inf, jnp.nan])
    for rounding in ("nearest", "stochastic"):
        np.testing.assert_array_equal(nj.quantize(key, x, 1.0, rounding=rounding), x)
        np.testing.assert_array_equal(nj.quantize(key, x, 1e-37, rounding=rounding), x)
    image = jnp.arange(256).astype(jnp.uint8)
    np.testing.assert_array_equal(nj.quantize(key, image, 1.0), image)
    assert int(nj.quantize(key, image, 100.0).max()) == 255  # 300 saturates
    with pytest.raises(ValueError, match="rounding must be one of"):
        nj.quantize(key, x, 1.0, rounding="up")
    with pytest.raises(ValueError, match="step must be at least 0"):
        nj.quantize(key, x, -1.0)


@pytest.mark.slow
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_quantize_gradients(rounding):
    """Straight-through at the rounding: 1 in x; round(q) - q in the step, as in LSQ; 0 in the origin."""
    key, x = jax.random.key(12), jnp.linspace(-2, 2, 41)

    def total(x, step, origin):
        return nj.quantize(key, x, step, origin, rounding=rounding).sum()

    dx, dstep, dorigin = jax.grad(total, (0, 1, 2))(x, 0.3, 0.1)
    np.testing.assert_allclose(dx, 1, rtol=1e-6)
    y = nj.quantize(key, x, 0.3, 0.1, rounding=rounding)
    np.testing.assert_allclose(dstep, ((y - x) / 0.3).sum(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dorigin, 0, atol=1e-4)
    for step in (0.0, 1e-37):
        assert all(bool(jnp.isfinite(g).all()) for g in jax.grad(total, (0, 1, 2))(x, step, 0.1))


# --- reduce_precision

FORMATS = [  # mantissa bits, exponent bits, the format as IEEE 754 has it
    (7, 8, ml_dtypes.bfloat16),
    (10, 5, np.float16),
    (2, 5, ml_dtypes.float8_e5m2),
    (3, 4, ml_dtypes.float8_e4m3),
    (4, 3, ml_dtypes.float8_e3m4),
]


def floats(n=2**17):
    """Random bits, so every exponent; values around those of small formats, halves and ends of ranges among them."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, n, np.uint32).view(np.float32)
    near = (rng.standard_normal(n) * 10.0 ** rng.uniform(-9, 6, n)).astype(np.float32)
    halves = (rng.integers(-(2**9), 2**9, n) * 2.0 ** rng.integers(-30, 18, n)).astype(np.float32)
    x = np.concatenate([bits, near, halves, np.float32([0.0, -0.0, np.inf, -np.inf, np.nan])])
    return x[~((np.abs(x) < np.finfo(np.float32).tiny) & (x != 0))]  # XLA may take float32's own subnormals for 0


@pytest.mark.parametrize(("mantissa", "exponent", "dtype"), FORMATS, ids=lambda v: getattr(v, "__name__", None))
def test_reduce_precision_equals_casts(mantissa, exponent, dtype):
    x = floats()
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(dtype).astype(np.float32)
    y = np.asarray(nj.reduce_precision(jax.random.key(0), x, float(mantissa), exponent_bits=exponent))
    wrong = ~((y == expected) | (np.isnan(y) & np.isnan(expected)))
    assert not wrong.any(), (x[wrong][:5], y[wrong][:5], expected[wrong][:5])
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("mantissa", range(0, 24, 3))
@pytest.mark.parametrize("exponent", [3, 5, 8])
def test_reduce_precision_equals_lax_where_nothing_is_subnormal(mantissa, exponent):
    x = floats(2**12)
    smallest = 2.0 ** (2 - 2 ** (exponent - 1))
    x = x[np.abs(x) >= smallest]
    expected = jax.lax.reduce_precision(x, exponent, mantissa)
    y = nj.reduce_precision(jax.random.key(0), x, float(mantissa), exponent_bits=exponent)
    np.testing.assert_array_equal(y, expected)


def test_reduce_precision_of_float64():
    with jax.enable_x64(True):
        x = np.random.default_rng(0).standard_normal(10000) * 10.0 ** np.random.default_rng(1).uniform(-30, 30, 10000)
        y = nj.reduce_precision(jax.random.key(0), x, 23.0)
        np.testing.assert_array_equal(y, x.astype(np.float32).astype(np.float64))
        assert y.dtype == jnp.float64
        np.testing.assert_array_equal(nj.reduce_precision(jax.random.key(0), x, 52.0), x)
        few = nj.reduce_precision(jax.random.key(0), x, 10.0, exponent_bits=5)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(few, x.astype(np.float16).astype(np.float64))
        many = jnp.full(2**16, 1 + 0.3 / 16)
        y = np.asarray(nj.reduce_precision(jax.random.key(0), many, 4.0, rounding="stochastic"))
        assert set(y) == {1.0, 1.0625}
        assert close_to((y > 1).sum(), y.size, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [None, 4])
def test_reduce_precision_rounds_stochastically_without_bias(exponent):
    """Normal and, with 4 exponent bits, subnormal values: the two neighbours in the right shares."""
    values = np.float32([1.03, -1.03, 0.7, 5.1, 1.9999, 0.011, -0.0013, 2.0**-9 * 0.37])
    n = 2**15
    x = jnp.broadcast_to(jnp.asarray(values)[:, None], (len(values), n))
    y = np.asarray(
        nj.reduce_precision(jax.random.key(1), x, 3.0, exponent_bits=exponent, rounding="stochastic"), np.float64
    )
    for value, drawn in zip(values.astype(np.float64), y, strict=True):
        unit = 2.0 ** (max(np.floor(np.log2(abs(value))), -6 if exponent else -100) - 3)
        low = np.floor(value / unit) * unit
        assert set(np.unique(drawn)) <= {low, low + unit}
        assert close_to((drawn > low).sum(), n, (value - low) / unit)


def test_reduce_precision_amounts_and_options():
    key, x = jax.random.key(2), jnp.linspace(1, 2, 24).reshape(4, 6)
    bits = jnp.array([[0.0], [2.0], [4.0], [30.0]])
    y = nj.reduce_precision(key, x, bits)
    for i in range(4):
        np.testing.assert_array_equal(y[i], nj.reduce_precision(key, x, bits[i, 0])[i])
    np.testing.assert_array_equal(y[3], x[3])
    np.testing.assert_array_equal(jax.grad(lambda x: nj.reduce_precision(key, x, 2.0).sum())(x), 1)
    half = x.astype(jnp.bfloat16)
    np.testing.assert_array_equal(nj.reduce_precision(key, half, 7.0), half)
    for wrong in (1, 9, 5.0):
        with pytest.raises(ValueError, match="exponent_bits must be 2 to 8 or None"):
            nj.reduce_precision(key, x, 2.0, exponent_bits=wrong)
    with pytest.raises(ValueError, match="rounding must be one of"):
        nj.reduce_precision(key, x, 2.0, rounding="up")
    with pytest.raises(ValueError, match="mantissa_bits must be at least 0"):
        nj.reduce_precision(key, x, -1.0)


@pytest.mark.slow
def test_straight_through_in_every_mode():
    def f(x):
        return (straight_through(jnp.round(x), x) ** 2).sum()

    x = jnp.array([0.4, 1.6])
    np.testing.assert_array_equal(jax.grad(f)(x), [0.0, 4.0])
    np.testing.assert_array_equal(jax.jvp(f, (x,), (jnp.ones(2),))[1], 4.0)
    np.testing.assert_array_equal(jax.hessian(f)(x), 2 * np.eye(2))
