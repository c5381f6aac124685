"""Continuous noise against its definitions. p-values have fixed keys; a right noise fails for one key in 10,000."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax._random.fourier import fourier, smooth, spectrum, waves

N = 2**18
ALPHA = 1e-4

ADDITIVE = {
    "gaussian": (nj.bind(nj.gaussian, std=2.0), stats.norm(scale=2)),
    "uniform": (nj.bind(nj.uniform, half_width=2.0), stats.uniform(-2, 4)),
    "laplace": (nj.bind(nj.laplace, scale=0.5), stats.laplace(scale=0.5)),
    "student_t": (nj.bind(nj.student_t, scale=0.5, df=3.0), stats.t(3, scale=0.5)),
    "cauchy": (nj.bind(nj.student_t, scale=1.0, df=1.0), stats.t(1)),
    "student_t_inf": (nj.bind(nj.student_t, scale=1.0, df=np.inf), stats.norm()),
    "speckle": (nj.chain(nj.keyless(jnp.ones_like), nj.bind(nj.speckle, std=0.5)), stats.norm(1, 0.5)),
    "colored": (nj.chain(nj.bind(nj.signal.colored, std=2.0, exponent=0.0)), stats.norm(scale=2)),
}
every = pytest.mark.parametrize("name", ADDITIVE)


def realized(noise, x):
    return np.asarray(jax.jit(noise)(jax.random.key(31), x), np.float64)


def decibels(signal, noise):
    return 10 * np.log10(np.sum(signal**2, axis=-1) / np.sum(noise**2, axis=-1))


@every
def test_distribution(name):
    noise, reference = ADDITIVE[name]
    assert stats.kstest(realized(noise, jnp.zeros((8, N // 8))).ravel(), reference.cdf).pvalue > ALPHA


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_distribution_in_low_precision(name, dtype):
    """The distribution of the rounded draw: up to the middle between a value and the next one."""
    noise, reference = ADDITIVE[name]
    y = jax.jit(noise)(jax.random.key(37), jnp.zeros((8, N // 8), dtype))
    assert y.dtype == dtype
    values, counts = np.unique(np.asarray(y).astype(np.float32), return_counts=True)
    ends = float(jnp.finfo(dtype).max) * (1 + float(jnp.finfo(dtype).eps) / 4)  # from here on infinite
    held = np.clip(values.astype(np.float64), -ends, ends)
    fraction, exponent = np.frexp(held)
    spacing = 2.0 ** np.maximum(
        exponent - 1 - jnp.finfo(dtype).nmant, np.log2(float(jnp.finfo(dtype).tiny)) - jnp.finfo(dtype).nmant
    )
    upwards = np.where(fraction == -0.5, spacing / 2, spacing)  # the spacing halves towards 0 at a power of two
    middles = np.where(np.isinf(values), held, held + upwards / 2)
    difference = np.abs(np.cumsum(counts) / y.size - reference.cdf(middles)).max()
    assert stats.kstwobign.sf(difference * np.sqrt(y.size)) > ALPHA


def test_bfloat16_has_many_values_and_tails():
    """Of 2**20 draws in bfloat16; jax.random.normal in that dtype has 128 values and ends at 2.9."""
    y = np.asarray(nj.gaussian(jax.random.key(0), jnp.zeros(2**20, jnp.bfloat16), 1.0)).astype(np.float32)
    assert len(np.unique(y)) >= 3500
    assert stats.poisson(2**20 * 2 * stats.norm.sf(4.5)).cdf((abs(y) > 4.5).sum()) > ALPHA
    assert abs(y).max() > 4.5


def test_amounts_broadcast():
    x, key = jnp.zeros((4, 5)), jax.random.key(1)
    column = jnp.array([[0.0], [1.0], [2.0], [3.0]])
    np.testing.assert_allclose(nj.laplace(key, x, column), column * nj.laplace(key, x, 1.0), rtol=1e-6)
    np.testing.assert_array_equal(nj.uniform(key, x, jnp.array([0.0, 0, 1, 0, 0]))[:, [0, 1, 3, 4]], 0)


@pytest.mark.slow
def test_small_degrees_of_freedom_stay_finite_and_at_scale_zero_nothing_happens():
    x = jnp.ones(2**16)
    y = nj.student_t(jax.random.key(2), x, 1.0, 0.05)
    assert bool(jnp.isfinite(y).all()) and float(abs(y).max()) > 1e30
    np.testing.assert_array_equal(nj.student_t(jax.random.key(2), x, 0.0, 0.05), x)
    gradient = jax.grad(lambda df: nj.student_t(jax.random.key(2), x, 1.0, df).sum())(3.0)
    assert np.isfinite(gradient)


# --- gaussian_snr


@pytest.mark.parametrize("shape", [(6, 16384), (6, 2048, 8)])
def test_snr_is_realised_for_each_example(shape):
    """2**14 samples estimate a power to 0.05 dB; five times that is allowed."""
    rng = np.random.default_rng(0)
    x = (10.0 ** np.arange(-3, 3)).reshape(-1, *[1] * (len(shape) - 1)) * (rng.standard_normal(shape) + 0.5)
    x = x.astype(np.float32)
    level = np.array([-10.0, 0.0, 3.0, 10.0, 20.0, 40.0], np.float32).reshape(-1, *[1] * (len(shape) - 1))
    y = realized(nj.bind(nj.signal.gaussian_snr, snr_db=level), x)
    np.testing.assert_allclose(decibels(x.reshape(6, -1), (y - x).reshape(6, -1)), level.ravel(), atol=0.25)


@pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e25])
def test_snr_of_data_whose_square_leaves_the_range_of_float32(scale):
    x = (scale * np.random.default_rng(0).standard_normal((2, 2**14))).astype(np.float32)
    y = realized(nj.bind(nj.signal.gaussian_snr, snr_db=10.0), x)
    np.testing.assert_allclose(decibels(x / scale, (y - x) / scale), 10, atol=0.25)


def test_snr_axes_choose_what_is_measured():
    x = np.random.default_rng(0).standard_normal((2, 2**14, 2)).astype(np.float32) * np.array([1, 100], np.float32)
    y = realized(nj.bind(nj.signal.gaussian_snr, snr_db=20.0, axes=(1,)), x)
    np.testing.assert_allclose(decibels(np.moveaxis(x, 1, -1), np.moveaxis(y - x, 1, -1)), 20, atol=0.25)
    y = realized(nj.bind(nj.signal.gaussian_snr, snr_db=20.0), x)
    np.testing.assert_allclose(np.std(y - x, axis=1), 10 / np.sqrt(2), rtol=0.03)
    signal = x[0, :, 0]
    y = realized(nj.bind(nj.signal.gaussian_snr, snr_db=20.0), signal)
    np.testing.assert_allclose(decibels(signal, y - signal), 20, atol=0.25)
    with pytest.raises(ValueError, match="axes"):
        nj.signal.gaussian_snr(jax.random.key(0), x, 20.0, axes=(3,))
    with pytest.raises(ValueError, match="snr_db"):
        nj.signal.gaussian_snr(jax.random.key(0), x, -np.inf)


@pytest.mark.slow
def test_snr_leaves_silence_and_does_not_measure_padding_or_what_is_not_finite():
    x = np.random.default_rng(0).standard_normal((4, 2**15)).astype(np.float32)
    x[0] = 0
    x[1, 2**14 :] = 1e6
    x[2, ::2] = np.inf
    x[3, ::2] = np.nan
    lengths = np.array([2**15, 2**14, 2**15, 2**15])
    noise = nj.bind(nj.signal.gaussian_snr, snr_db=10.0)
    y = np.asarray(noise(jax.random.key(3), x, lengths=lengths))
    np.testing.assert_array_equal(y[0], x[0])
    np.testing.assert_array_equal(y[1, 2**14 :], x[1, 2**14 :])
    np.testing.assert_array_equal(y[2:, ::2], x[2:, ::2])
    for row, kept in ((1, slice(None, 2**14)), (2, slice(1, None, 2)), (3, slice(1, None, 2))):
        np.testing.assert_allclose(decibels(x[row, kept], y[row, kept] - x[row, kept]), 10, atol=0.25)
    quiet = jax.grad(lambda x: noise(jax.random.key(3), x).sum())(jnp.zeros((2, 5)))
    np.testing.assert_array_equal(quiet, 1)


def test_snr_gradient_sees_the_power():
    with jax.enable_x64(True):
        key, rng = jax.random.key(3), np.random.default_rng(0)
        x, d = jnp.asarray(rng.standard_normal((3, 10))), jnp.asarray(rng.standard_normal((3, 10)))
        noise = nj.bind(nj.signal.gaussian_snr, snr_db=3.0)
        numeric = (noise(key, x + 1e-5 * d) - noise(key, x - 1e-5 * d)) / 2e-5
        np.testing.assert_allclose(jax.jvp(lambda x: noise(key, x), (x,), (d,))[1], numeric, rtol=1e-4, atol=1e-6)


# --- speckle


def test_speckle_is_relative_to_x_and_keeps_infinities():
    x = jnp.array([0.0, 1.0, -3.0, jnp.inf, -jnp.inf])
    y = jax.vmap(lambda k: nj.speckle(k, x, 0.5))(jax.random.split(jax.random.key(0), 4096))
    np.testing.assert_array_equal(y[:, 0], 0)
    np.testing.assert_array_equal(y[:, 3:], jnp.broadcast_to(x[3:], (4096, 2)))
    np.testing.assert_allclose(np.std(y[:, 1:3], axis=0), [0.5, 1.5], rtol=0.06)


# --- shot


@pytest.mark.parametrize("mean", [0.01, 0.3, 3.0, 9.9, 10.1, 47.0, 1e3, 1e4])
def test_shot_counts_are_poisson(mean):
    """Chi-square of 2**17 counts in classes of at least 50 expected ones."""
    x = np.float32(0.25)
    photons = np.float32(mean / 0.25)
    n = 2**17
    counts = realized(nj.bind(nj.shot, photons=photons), np.full(n, x)) * photons
    np.testing.assert_allclose(counts, np.round(counts), rtol=1e-6, atol=1e-3)
    reference = stats.poisson(mean)
    edges = np.unique(reference.ppf(np.linspace(0, 1, 101)[1:-1]))
    edges = np.unique(np.append(edges, reference.isf(60 / n)))
    expected = n * np.diff(np.concatenate([[0], reference.cdf(edges), [1]]))
    observed = np.bincount(np.searchsorted(edges, np.round(counts), side="left"), minlength=len(expected))
    kept = expected >= 50
    observed, expected = (np.append(a[kept], a[~kept].sum()) for a in (observed, expected))
    statistic = np.sum((observed - expected) ** 2 / np.maximum(expected, 1e-9) * (expected > 5))
    assert stats.chi2.sf(statistic, (expected > 5).sum() - 1) > ALPHA


def test_shot_leaves_what_is_no_intensity_and_is_dark_without_photons():
    x = jnp.array([-0.5, jnp.nan, jnp.inf, -jnp.inf, 0.0])
    np.testing.assert_array_equal(nj.shot(jax.random.key(0), x, 10.0), x)
    np.testing.assert_array_equal(nj.shot(jax.random.key(0), x, jnp.float32(jnp.inf)), x)
    np.testing.assert_array_equal(jax.jit(nj.shot)(jax.random.key(0), jnp.ones(3), 0.0), 0)
    with pytest.raises(ValueError, match="photons must be above 0"):
        nj.shot(jax.random.key(0), x, 0.0)


def test_shot_has_the_gradient_of_its_expectation():
    x = jnp.array([-0.5, 0.0, 0.2, 0.9])
    np.testing.assert_array_equal(jax.grad(lambda x: nj.shot(jax.random.key(0), x, 9.0).sum())(x), 1)
    assert jax.grad(lambda p: nj.shot(jax.random.key(0), x, p).sum())(9.0) == 0


def test_shot_of_a_uint8_image_saturates():
    x = np.full((64, 64), 250, np.uint8)
    y = nj.shot(jax.random.key(0), x, 0.5)
    assert y.dtype == jnp.uint8 and int(y.max()) == 255 and int(y.min()) < 230


# --- colored


@pytest.fixture(params=[False, True], ids=["several devices", "one device"])
def devices(request, monkeypatch):
    """Sums as they are with several devices, and with one."""
    monkeypatch.setattr("noisejax._random.fourier._alone", lambda: request.param)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 30, 31, 64, 210, 1000, 1024, 2**14])
def test_fourier_is_the_inverse_transform(n, devices):
    n = smooth(n)
    rng = np.random.default_rng(n)
    z = rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))
    expected = np.fft.ifft(z) * n
    error = np.abs(np.asarray(jax.jit(lambda z: fourier(z))(z.astype(np.complex64))) - expected)
    assert error.max() < 3e-6 * np.sqrt(n) * np.log2(n + 1)


@pytest.mark.parametrize("n", [2, 4, 30, 210, 625, 1000, 2**13])
def test_sums_of_real_series_are_those_of_numpy(n, devices):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, 3)).astype(np.float32)
    bound = 3e-6 * np.sqrt(n) * np.log2(n + 1)
    if n % 2 == 0:
        real, imaginary = jax.jit(lambda x: spectrum(x))(x)
        np.testing.assert_allclose(np.asarray(real) - 1j * np.asarray(imaginary), np.fft.rfft(x, axis=0), atol=bound)
    a, b = rng.standard_normal((2, n // 2 + 1, 3)).astype(np.float32)
    expected = np.real(np.fft.ifft(np.pad(a + 1j * b, [(0, n - n // 2 - 1), (0, 0)]), axis=0)) * n
    np.testing.assert_allclose(jax.jit(lambda a, b: waves(a, b, n))(a, b), expected, atol=bound)


def test_smooth_lengths():
    assert [smooth(n) for n in (1, 2, 7, 8, 11, 13, 121, 499, 10007)] == [1, 2, 7, 8, 12, 14, 125, 500, 10080]


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("n", [500, 625])  # even and odd, both a full period
def test_colored_has_the_spectrum(n, exponent):
    """The mean periodogram of 512 series: each frequency is a gamma variate of known mean; and so the slope."""
    y = realized(nj.bind(nj.signal.colored, std=3.0, exponent=exponent), jnp.zeros((512, n)))
    power = np.mean(np.abs(np.fft.rfft(y)) ** 2, axis=0) / n**2
    f = np.arange(n // 2 + 1)
    expected = np.maximum(f, 1.0) ** -exponent
    both = np.where((f == 0) | (2 * f == n), 1, 2)
    expected *= 9 / np.sum(both * expected)
    middle = both == 2
    p = stats.gamma.sf(512 * power[middle] / expected[middle], 512)
    assert min(p.min(), (1 - p).min()) > ALPHA / n
    slope = np.polyfit(np.log(f[middle]), np.log(power[middle]), 1)[0]
    assert abs(slope + exponent) < 0.02
    np.testing.assert_allclose(power[~middle], expected[~middle], rtol=0.3)


@pytest.mark.parametrize("n", [1, 2, 13, 499])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 3.0])
def test_colored_has_the_standard_deviation_and_covariance_at_any_length(n, exponent):
    """Covariances with the first sample over 2**15 series, in standard errors (of 1 / sqrt(2**15) at most 1.5)."""
    series = 2**15 if n < 100 else 2**12
    y = realized(nj.bind(nj.signal.colored, std=1.0, exponent=exponent), jnp.zeros((series, n)))
    period = smooth(n)
    f = np.arange(period // 2 + 1)
    power = np.maximum(f, 1.0) ** -exponent * np.where((f == 0) | (2 * f == period), 1, 2)
    expected = np.cos(2 * np.pi * np.outer(np.arange(n), f) / period) @ power / power.sum()
    errors = (np.mean(y[:, :1] * y, axis=0) - expected) * np.sqrt(series) / np.sqrt(1 + expected**2)
    assert np.abs(errors).max() < stats.norm.isf(ALPHA / (2 * n))


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_colored_axis(axis):
    x = jnp.zeros((24, 20, 18))
    y = realized(nj.bind(nj.signal.colored, std=1.0, exponent=4.0, axis=axis), x)
    rough = [np.mean(np.diff(y, axis=a) ** 2) for a in range(3)]
    assert int(np.argmin(rough)) == (1 if axis is None else axis % 3)
    assert sorted(rough)[1] > 1.5  # independent along the others


@pytest.mark.slow
def test_colored_amounts_and_bad_input():
    x, key = jnp.zeros((4, 60, 2)), jax.random.key(0)
    exponent = jnp.array([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1)
    y = nj.signal.colored(key, x, 1.0, exponent)
    for i in range(4):
        np.testing.assert_allclose(y[i], nj.signal.colored(key, x, 1.0, exponent[i, 0, 0])[i], rtol=1e-5, atol=1e-6)
    ramp = np.linspace(0, 1, 60, dtype=np.float32).reshape(60, 1)
    expected = ramp * np.asarray(nj.signal.colored(key, x, 1.0))
    np.testing.assert_allclose(nj.signal.colored(key, x, ramp), expected, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="exponent must not vary along axis 1"):
        nj.signal.colored(key, x, 1.0, ramp)
    with pytest.raises(ValueError, match="axis must be an axis of x, which has 3 axes, got 3"):
        nj.signal.colored(key, x, 1.0, axis=3)
    with pytest.raises(ValueError, match="exponent must be finite"):
        nj.signal.colored(key, x, 1.0, np.inf)
    assert nj.signal.colored(key, jnp.zeros(50), 1.0).shape == (50,)
    assert nj.signal.colored(key, jnp.zeros((3, 0)), 1.0).shape == (3, 0)
    slope = jax.grad(lambda e: (nj.signal.colored(key, x, 1.0, e) ** 3).sum())(1.5)
    low, high = ((nj.signal.colored(key, x, 1.0, e) ** 3).sum() for e in (1.49, 1.51))
    np.testing.assert_allclose(slope, (high - low) / 0.02, rtol=1e-2)
