"""Clocks, warps, segments and rotations against closed forms and SciPy, and the times that `moved` gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import noisejax as nj
from noisejax import signal

X = np.random.default_rng(0).standard_normal((16, 40, 3)).astype(np.float32)
LENGTHS = np.arange(16, dtype=np.int32) * 2 + 10
MOVES = {
    "jitter_time": nj.bind(signal.jitter_time, std=0.7, order="linear"),
    "clock_drift": nj.bind(signal.clock_drift, ppm=1e5, start=1.5, order="linear"),
    "time_warp": nj.bind(signal.time_warp, std=0.3, order="linear"),
    "permute_segments": nj.bind(signal.permute_segments, segments=3, shortest=3),
}


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_jitter_has_the_signal_to_noise_ratio_of_the_textbook(std, key):
    frequency = 0.01
    x = np.sin(2 * np.pi * frequency * np.arange(20_000)).astype(np.float32)
    y = np.asarray(signal.jitter_time(key, x, std))
    decibels = 10 * np.log10(np.mean(x**2) / np.mean((y - x) ** 2))
    assert abs(decibels + 20 * np.log10(2 * np.pi * frequency * std)) < 0.5


def test_a_wrong_clock_changes_the_frequency_of_a_sine_by_its_error(key):
    t, frequency, ppm = np.arange(16_000), 0.01, 300.0
    x = np.sin(2 * np.pi * frequency * t).astype(np.float32)
    y = np.asarray(signal.clock_drift(key, x, ppm, 0.25, kind="exact"), np.float64)[100:-100]
    expected = np.sin(2 * np.pi * frequency * (t * (1 + ppm * 1e-6) + 0.25))[100:-100]
    np.testing.assert_allclose(y, expected, atol=1e-4)
    # A frequency that is off by d / 2 pi adds d t cos to the sine.
    angle = (2 * np.pi * frequency * (t * (1 + ppm * 1e-6) + 0.25))[100:-100]
    time = t[100:-100] - 8000.0
    columns = np.stack([np.sin(angle), np.cos(angle), time * np.sin(angle), time * np.cos(angle)], axis=1)
    fitted = np.linalg.lstsq(columns, y, rcond=None)[0]
    assert abs(fitted[3]) / (2 * np.pi * frequency) < 1e-7


def test_a_wrong_clock_reads_a_band_limited_signal_as_scipy_does(key):
    rng, t = np.random.default_rng(0), np.arange(4000)
    spectrum = rng.standard_normal(2001) + 1j * rng.standard_normal(2001)
    spectrum[200:] = 0  # a tenth of the band
    x = np.fft.irfft(spectrum)
    x = (x / np.abs(x).max()).astype(np.float32)
    y = np.asarray(signal.clock_drift(key, x, 500.0, 0.3, kind="exact"))
    expected = CubicSpline(t, x.astype(np.float64))(np.minimum(t * (1 + 500e-6) + 0.3, t[-1]))
    np.testing.assert_allclose(y[10:-10], expected[10:-10], atol=1e-3)


def test_the_error_of_a_clock_is_uniform(key):
    x = np.tile(np.arange(101, dtype=np.float32), (2000, 1))
    ratio = np.asarray(signal.clock_drift(key, x, 1e4, order="linear"))[:, 50] / 50 - 1
    assert np.abs(ratio).max() <= 1.001e-2 and abs(ratio.mean()) < 4.5 * 1e-2 / np.sqrt(3 * 2000)
    assert abs(ratio.std() - 1e-2 / np.sqrt(3)) < 3e-4


def test_cubic_reads_parabolas_exactly_and_clamps_at_the_ends(key):
    t = np.arange(30, dtype=np.float32)
    y = np.asarray(signal.clock_drift(key, (t - 15) ** 2, 0.0, 0.3, kind="exact"))
    np.testing.assert_allclose(y[1:-2], (t[1:-2] + 0.3 - 15) ** 2, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(signal.clock_drift(key, t, 0.0, 100.0, kind="exact"), 29)
    np.testing.assert_array_equal(signal.clock_drift(key, t, 0.0, -100.0, kind="exact"), 0)


@pytest.mark.parametrize("knots", [0, 1, 4, 7])
def test_the_curve_of_a_magnitude_warp_is_scipys_spline(knots, key):
    """The knots are the values at a length at which they are steps."""
    length = 12 * (knots + 1) + 1
    curve = np.asarray(signal.magnitude_warp(key, np.ones((5, length), np.float32), 0.2, knots=knots))
    places = np.arange(0, length, 12)
    kind = "not-a-knot" if knots + 2 >= 4 else None
    if kind:
        expected = CubicSpline(places, curve[:, places], axis=1, bc_type=kind)(np.arange(length))
    else:
        expected = [np.polyval(np.polyfit(places, row[places], knots + 1), np.arange(length)) for row in curve]
    np.testing.assert_allclose(curve, expected, atol=1e-5)


def test_the_knots_are_normal_about_one(key):
    curve = np.asarray(signal.magnitude_warp(key, np.ones((3000, 11), np.float32), 0.2))
    for place in (0, 2, 4, 6, 8, 10):
        assert abs(curve[:, place].mean() - 1) < 4.5 * 0.2 / np.sqrt(3000)
        assert abs(curve[:, place].std() - 0.2) < 4.5 * 0.2 / np.sqrt(6000)


def test_time_warps_are_monotone_and_keep_the_ends_of_each_example(key):
    x = np.tile(np.arange(40, dtype=np.float32), (16, 1))
    y = np.asarray(signal.time_warp(key, x, 0.8, order="linear", lengths=LENGTHS))
    for row, n in zip(y, LENGTHS, strict=True):
        assert (np.diff(row[:n]) > 0).all()
        np.testing.assert_allclose(row[[0, n - 1]], [0, n - 1], atol=1e-5)
    assert np.abs(y - x).max() > 2


def test_time_warps_sum_the_speed_of_a_spline(key):
    """Speed is read from the times themselves: their differences are a cubic spline through six knots, scaled."""
    x = np.arange(101, dtype=np.float32)
    time = np.asarray(signal.time_warp(key, x, 0.2, order="linear"), np.float64)
    speed = np.diff(time)  # at steps 1, ..., 100: the spline's pieces are 20 steps long
    for piece in range(5):
        inside = np.arange(20 * piece + 1, 20 * piece + 20) - 1
        rest = speed[inside] - np.polyval(np.polyfit(inside, speed[inside], 3), inside)
        assert np.abs(rest).max() < 3e-5
    assert np.ptp(speed) > 0.05


def test_segments_are_permuted_within_each_example(key):
    x = np.tile(np.arange(40, dtype=np.int32), (400, 1))
    lengths = np.resize(LENGTHS, 400)
    y = np.asarray(signal.permute_segments(key, x, segments=3, shortest=3, lengths=lengths))
    moved = 0
    for row, n in zip(y, lengths, strict=True):
        np.testing.assert_array_equal(np.sort(row), np.arange(40))
        np.testing.assert_array_equal(row[n:], np.arange(n, 40))
        breaks = np.flatnonzero(np.diff(row[:n]) != 1)
        assert len(breaks) <= 2
        sizes = np.diff([-1, *breaks, n - 1])
        assert (sizes >= 3).all()
        moved += len(breaks) > 0
    assert abs(moved / 400 - 5 / 6) < 4.5 * np.sqrt(5 / 36 / 400)


def test_short_examples_keep_their_order(key):
    y = signal.permute_segments(key, X, segments=4, shortest=10, lengths=np.full(16, 39, np.int32))
    np.testing.assert_array_equal(y, X)


def test_rotations_are_rotations_that_triples_share(key):
    x = np.random.default_rng(1).standard_normal((2000, 3, 6)).astype(np.float32)
    x[:, :, 3:] = x[:, :, :3]
    x[:, :, :3] = np.eye(3)
    y = np.asarray(signal.rotate3(key, x, 1.0), np.float64)
    matrix = y[:, :, :3]  # row j is the image of the j-th unit vector
    np.testing.assert_allclose(matrix @ matrix.swapaxes(1, 2), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-5)
    np.testing.assert_allclose(y[:, :, 3:], np.einsum("btj,bjc->btc", x[:, :, 3:], matrix), atol=1e-5)
    angle = np.arccos(np.clip((np.trace(matrix, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.max() < 1.001 and abs(angle.mean() - 0.5) < 4.5 / np.sqrt(12 * 2000)
    axis = np.stack(
        [matrix[:, 1, 2] - matrix[:, 2, 1], matrix[:, 2, 0] - matrix[:, 0, 2], matrix[:, 0, 1] - matrix[:, 1, 0]]
    )
    axis /= np.linalg.norm(axis, axis=0)
    assert np.abs(axis.mean(1)).max() < 4.5 / np.sqrt(3 * 2000)
    assert np.abs((axis**2).mean(1) - 1 / 3).max() < 4.5 * np.sqrt(4 / 45 / 2000)


@pytest.mark.parametrize("name", MOVES)
def test_moved_gives_the_times_that_were_read(name, key):
    noise = MOVES[name]
    y = np.asarray(noise(key, X, lengths=LENGTHS))
    time = np.asarray(signal.moved(noise)(key, X, lengths=LENGTHS))
    assert time.shape == (16, 40, 1)
    for n in range(16):
        for channel in range(3):
            np.testing.assert_allclose(
                y[n, :, channel], np.interp(time[n, :, 0], np.arange(40), X[n, :, channel]), atol=1e-4
            )
        np.testing.assert_array_equal(time[n, LENGTHS[n] :, 0], np.arange(LENGTHS[n], 40))


@pytest.mark.slow
def test_moved_follows_chains_and_choices_and_other_noises_move_nothing(key):
    ramp = np.tile(np.arange(40, dtype=np.float32)[:, None], (16, 1, 3))
    chain = nj.chain(MOVES["time_warp"], nj.bind(nj.gaussian, std=0.0), nj.sometimes(MOVES["permute_segments"], 0.5))
    time = jax.jit(lambda x: signal.moved(chain)(key, x))(ramp)
    np.testing.assert_allclose(chain(key, ramp), np.broadcast_to(time, ramp.shape), atol=1e-4)
    still = signal.moved(nj.bind(nj.gaussian, std=1.0))(key, X)
    np.testing.assert_array_equal(still, np.broadcast_to(np.arange(40.0)[None, :, None], (16, 40, 1)))
    with pytest.raises(TypeError, match="moved: the stages of a chain read times of shapes"):
        signal.moved(nj.chain(nj.bind(signal.jitter_time, std=0.1, axis=2), MOVES["time_warp"]))(key, X)


def test_a_single_step_and_one_channel_are_welcome(key):
    one = jnp.ones((4, 1))
    for noise in (*list(MOVES.values())[:3], nj.bind(signal.magnitude_warp, std=0.0)):
        np.testing.assert_array_equal(noise(key, one), one)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda key: signal.permute_segments(key, X, segments=5), "5 segments of at least 10 steps need 50 steps"),
        (lambda key: signal.rotate3(key, X[..., :2], 0.1), "must hold triples of channels"),
        (lambda key: signal.jitter_time(key, X, 0.1, order="sinc"), "order must be one of 'linear', 'cubic'"),
        (lambda key: signal.clock_drift(key, X, np.inf), "ppm must be finite"),
        (lambda key: signal.time_warp(key, X, np.float32([0.1, 0.2, 0.3])), "shared by all channels"),
        (lambda key: signal.magnitude_warp(key, X, knots=-1), "knots must be an integer from 0 to 32"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, match, key):
    with pytest.raises(ValueError, match=match):
        call(key)
