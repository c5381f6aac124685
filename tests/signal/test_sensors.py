"""Faults of sensors against closed forms and NumPy: offsets, limits, converters, crosstalk, drift, spikes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax import signal

X = np.random.default_rng(0).standard_normal((16, 40, 3)).astype(np.float32)
ALPHA = 1e-4  # a right noise fails for one key in 10,000; the keys are fixed
FAULTS = {
    "saturate": nj.bind(signal.saturate, low=-1.0, high=0.5, rate=0.7),
    "clipping": nj.bind(signal.clipping, level=0.5),
    "polarity": nj.bind(signal.polarity, rate=0.5),
    "changepoint": nj.bind(signal.changepoint, shift=1.0),
    "stuck": nj.bind(signal.stuck, rate=0.4, duration=5.0),
    "spike": nj.bind(signal.spike, rate=0.2, height=0.001),
    "spike, decay": nj.bind(signal.spike, rate=0.2, height=3.0, decay=2.0),
    "bursts": nj.bind(signal.bursts, rate=0.3, burst=4.0),
    "bursts, linear": nj.bind(signal.bursts, rate=0.3, burst=4.0, fill="linear"),
    "bursts, value": nj.bind(signal.bursts, rate=0.3, burst=4.0, fill="value", value=np.float32(np.nan)),
    "packets": nj.bind(signal.packets, rate=0.4, size=7),
    "packets, repeated": nj.bind(signal.packets, rate=0.4, size=7, kind="repeated"),
    "packets, reordered": nj.bind(signal.packets, rate=0.9, size=3, kind="reordered"),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", FAULTS)
def test_hits_are_the_samples_that_change(name, dtype, key):
    x = np.round(X, 1).astype(dtype)  # many samples are equal to their neighbours
    x[0, 3, 0] = np.nan
    lengths = np.arange(16, dtype=np.int32) * 2 + 5
    y, hit = jax.jit(lambda x: (FAULTS[name](key, x, lengths=lengths), nj.hits(FAULTS[name])(key, x, lengths=lengths)))(
        x
    )
    assert hit.any()
    np.testing.assert_array_equal(hit, nj.changed(x, y))


def test_limits_are_numpys(key):
    y = signal.saturate(key, X, np.float32([-1, -0.5, -9]), 0.5)
    np.testing.assert_array_equal(y, np.clip(X, np.float32([-1, -0.5, -9]), np.float32(0.5)))
    np.testing.assert_array_equal(signal.clipping(key, X, 0.25), np.clip(X, -0.25, 0.25))
    inverted = np.asarray(signal.polarity(key, X, 0.5))
    signs = (inverted / X)[:, 0, 0]
    np.testing.assert_array_equal(inverted, X * signs[:, None, None])
    assert set(signs) == {-1.0, 1.0}


def test_a_bias_and_a_gain_are_constant_in_time_and_normal(key):
    zeros, ones = np.zeros((2000, 4, 3), np.float32), np.ones((2000, 4, 3), np.float32)
    for y, scale in ((signal.bias(key, zeros, 0.3), 0.3), (np.asarray(signal.gain(key, ones, 0.3)) - 1, 0.3)):
        y = np.asarray(y)
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
        assert stats.kstest(y[:, 0].ravel(), stats.norm(scale=scale).cdf).pvalue > ALPHA
    shared = np.asarray(signal.bias(key, zeros[:5], 0.3, mode="example"))
    np.testing.assert_array_equal(shared, np.broadcast_to(shared[:, :1, :1], shared.shape))


@pytest.mark.parametrize("bits", [6, 8, 11, 14])
def test_the_noise_of_a_converter_is_that_of_the_textbook(bits, key):
    """A sine of the full range has 6.02 b + 1.76 dB. Offsets within a step make the errors uniform, as it assumes."""
    t, step = np.arange(2**12), 2.0 ** (1 - bits)
    offsets = (np.arange(16)[:, None] / 16 - 0.5) * step
    x = (1 - 2 * step) * np.sin(2 * np.pi * 0.1234567 * t + 0.3) + offsets
    y = np.asarray(signal.adc(key, x.astype(np.float32), bits, 2.0), np.float64)
    decibels = 10 * np.log10(0.5 / np.mean((y - x) ** 2))
    assert abs(decibels - (6.02 * bits + 1.76)) < 0.2


def test_a_converter_is_that_of_numpy_with_its_errors_and_missing_codes(key):
    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    y = np.asarray(signal.adc(key, x, 4, 4.0, gain=1.1, offset=0.2, missing_codes=(3, 2)))
    code = np.clip(np.round((np.float32(1.1) * x + np.float32(0.2)) / 0.25), -8, 7)
    code = np.where((code == 3) | (code == 2), 1, code)
    assert np.mean(y != (code * 0.25).astype(np.float32)) < 0.005  # ties after a product that is rounded otherwise
    ideal = signal.adc(key, x, np.inf, 4.0)
    np.testing.assert_allclose(ideal, np.clip(x, -2, 2), rtol=1e-6)


def test_leakage_is_a_matrix_of_shares(key):
    impulses = np.broadcast_to(np.eye(3, dtype=np.float32), (16, 3, 3))
    matrix = np.asarray(signal.leakage(key, impulses, 0.1))  # row j: what channel j gives to each channel
    np.testing.assert_array_equal(matrix[:, range(3), range(3)], 1)
    y = signal.leakage(key, X, 0.1)
    np.testing.assert_allclose(y, np.einsum("btj,bjc->btc", X, matrix), rtol=1e-5, atol=1e-6)
    shares = np.asarray(signal.leakage(key, np.broadcast_to(np.eye(3, dtype=np.float32), (2000, 3, 3)), 0.1))
    assert stats.kstest(shares[:, ~np.eye(3, dtype=bool)].ravel(), stats.norm(scale=0.1).cdf).pvalue > ALPHA


def test_a_change_point_is_uniform_and_changes_each_channel_by_a_constant(key):
    x = np.ones((4000, 20, 2), np.float32)
    y = np.asarray(signal.changepoint(key, x, 0.5, 0.2)) - 1
    start = np.argmax(y[..., 0] != 0, axis=1)
    expected = np.where(np.arange(20)[None, :, None] >= start[:, None, None], y[:, -1:], 0)
    np.testing.assert_array_equal(y, expected)
    assert stats.chisquare(np.bincount(start, minlength=20)).pvalue > ALPHA
    assert stats.kstest(y[:, -1].ravel(), stats.norm(scale=np.hypot(0.5, 0.2)).cdf).pvalue > ALPHA


def errors(key, shape=(4000, 64, 1), **options):
    return np.asarray(signal.drift(key, np.zeros(shape, np.float32), 2.0, **options))[..., 0]


def test_the_variance_of_a_drift_grows_as_its_kind_says(key):
    t = np.arange(64)
    for error, std in (
        (errors(key), 2 * t / 64),
        (errors(key, kind="walk"), 2 * np.sqrt(t / 64)),
        (errors(key, kind="thermal", tau=10.0), np.full(64, 2.0)),
    ):
        np.testing.assert_allclose(error.std(0), std, rtol=6 / np.sqrt(2 * 4000), atol=1e-9)
    slopes = errors(key, (8, 64, 1))
    np.testing.assert_allclose(slopes, slopes[:, 63:] * t / 63, rtol=1e-5)


@pytest.mark.parametrize("tau", [3.0, 40.0])
def test_a_thermal_drift_forgets_at_its_time_constant(tau, key):
    error = errors(key, (2000, 100, 1), kind="thermal", tau=tau)
    for lag in (1, 5, 20):
        found = np.mean(error[:, 30] * error[:, 30 + lag]) / 4
        assert abs(found - np.exp(-lag / tau)) < 4.5 * np.sqrt(2 / 2000)


@pytest.mark.slow
def test_the_allan_deviation_of_a_walk_rises_by_the_root(key):
    """The slope of the Allan deviation is +1/2 for a random walk of the rate, and -1/2 for white noise of it."""

    def slope(series):
        sizes = 2 ** np.arange(1, 7)
        deviations = []
        for size in sizes:
            means = series[:, : series.shape[1] // size * size].reshape(len(series), -1, size).mean(-1)
            deviations.append(np.sqrt(np.mean(np.diff(means, axis=1) ** 2) / 2))
        return np.polyfit(np.log(sizes[2:]), np.log(deviations[2:]), 1)[0]

    walk = errors(key, (64, 4096, 1), kind="walk")
    assert abs(slope(walk) - 0.5) < 0.05
    white = np.diff(walk, axis=1)
    assert abs(slope(white) + 0.5) < 0.05


def test_stuck_sensors_repeat_their_reading_for_the_duration_and_at_the_rate(key):
    x = np.tile(np.arange(1, 401, dtype=np.float32), (400, 1))[..., None]
    y = np.asarray(signal.stuck(key, x, 0.3, 6.0))[..., 0]
    onset = np.diff(y, axis=1) == 0
    source = y.astype(int) - 1  # the step that each reading comes from
    steps = np.arange(400)
    assert (source <= steps).all()
    # A run is at least as long as the duration, cut by the end.
    for row in source[:50]:
        values, counts = np.unique(row, return_counts=True)
        long = values[(counts > 1) & (values + counts < 400)]
        assert all(counts[values == value] >= 6 for value in long)
    # The onset repeats itself: stuck are its step, too.
    begins = np.concatenate([np.zeros((400, 1), bool), ~onset], 1)[:, 1:] & np.concatenate(
        [onset[:, 1:], np.zeros((400, 1), bool)], 1
    )
    share = (onset[:, 20:].sum() + begins[:, 20:].sum()) / onset[:, 20:].size
    assert abs(share - 0.3) < 0.02
    given = np.asarray(signal.stuck(key, x, 0.3, 6.0, -1.0))[..., 0]
    assert abs((given[:, 6:] == -1).mean() - 0.3) < 4.5 * np.sqrt(0.21 * 12 / given[:, 6:].size)


def test_spikes_have_their_rate_height_and_decay(key):
    x = np.zeros((50, 400, 2), np.float32)
    y = np.asarray(signal.spike(key, x, 0.1, 5.0, 0.5))
    hit = y != 0
    assert abs(hit.mean() - 0.1) < 4.5 * np.sqrt(0.09 / hit.size)
    assert stats.kstest(np.abs(y[hit]), stats.norm(5, 0.5).cdf).pvalue > ALPHA
    assert abs((y[hit] > 0).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(hit.sum())
    decaying = np.asarray(signal.spike(key, x, 0.1, 5.0, 0.5, 3.0), np.float64)
    expected, level = np.zeros_like(decaying), 0
    for t in range(400):
        level = level * np.exp(-1 / 3) + y[:, t]
        expected[:, t] = level
    np.testing.assert_allclose(decaying, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda key: signal.bias(key, np.float32(1), 0.1), "axis must be an axis of x"),
        (lambda key: signal.bias(key, X, 0.1, mode="batch"), "mode must be one of 'example', 'channel'"),
        (lambda key: signal.saturate(key, X, 1.0, -1.0), "low must not exceed high"),
        (lambda key: signal.adc(key, X, 0.5, 1.0), "bits must be at least 1"),
        (lambda key: signal.leakage(key, X[..., 0], 0.1, axis=1), "must have an axis of channels"),
        (lambda key: signal.drift(key, X, 0.1, kind="cubic"), "kind must be one of"),
        (lambda key: signal.stuck(key, X, 0.1, 0.5), "duration must be at least 1"),
        (lambda key: signal.spike(key, X, 0.1, 3e38, 0.0, 5.0), "height must be at least 0 and at most 1e30"),
        (lambda key: signal.leakage(key, X, 3e38), "std must be at least 0 and at most 1e30"),
        (lambda key: signal.packets(key, X, 0.1, size=2**70), "packets: size must be an integer, at least 1"),
        (lambda key: signal.packets(key, X, 0.1, size=2, window=1), "packets: window must be an integer, at least 2"),
        (lambda key: signal.polarity(key, X, np.full((1, 40, 1), 0.5)), "must not vary along axis 1"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, match, key):
    with pytest.raises(ValueError, match=match):
        call(key)


@pytest.mark.slow
def test_amounts_in_few_bits_are_compared_in_float32(key):
    found = signal.spike(key, X, 0.5, np.float16(5.0), np.full((1, 1, 3), 0.5, np.float16))
    np.testing.assert_array_equal(found, signal.spike(key, X, 0.5, 5.0, 0.5))
    with pytest.raises(ValueError, match="height must be at least 0"):
        signal.spike(key, X, 0.5, np.float16(-5.0))
