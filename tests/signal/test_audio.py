"""Hum, mixed noise, reverberation and limited bands against SciPy and measured ratios."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal as reference

import noisejax as nj
from noisejax import signal

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 1000, 2)).astype(np.float32)
NOISES = RNG.standard_normal((3, 1500)).astype(np.float32)
LENGTHS = np.arange(8, dtype=np.int32) * 90 + 200


def ratios(x, y, lengths=None):
    """Signal over noise in decibels, of each example, over the steps that are data."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    ends = [x.shape[1]] * len(x) if lengths is None else lengths
    return np.array(
        [10 * np.log10((a[:n] ** 2).sum() / ((b - a)[:n] ** 2).sum()) for a, b, n in zip(x, y, ends, strict=True)]
    )


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_hum_and_noise_have_their_ratios(lengths, key):
    snr = np.linspace(-5, 30, 8, dtype=np.float32)[:, None, None]
    for y in (
        signal.hum(key, X, snr, 1000.0, lengths=lengths),
        signal.mix(key, X, snr, NOISES, lengths=lengths),
        signal.mix(key, X, snr, NOISES[:, :70], lengths=lengths),
    ):
        np.testing.assert_allclose(ratios(X, y, lengths), snr.ravel(), atol=0.01)


def test_hum_is_lines_at_multiples_of_its_frequency_with_random_phases(key):
    x = RNG.standard_normal((50, 8000)).astype(np.float32)
    added = np.asarray(signal.hum(key, x, 0.0, 8000.0, 60.0, harmonics=4), np.float64) - x
    spectrum = np.fft.rfft(added) / 4000  # one bin is 1 Hz
    lines = np.abs(spectrum[:, [60, 120, 180, 240]])
    np.testing.assert_allclose(lines / lines[:, :1], np.tile(1 / np.arange(1, 5), (50, 1)), rtol=1e-3)
    np.testing.assert_allclose((lines**2).sum(1) / 2, (added**2).mean(1), rtol=1e-3)
    phase = np.angle(spectrum[:, 60])
    assert abs(np.exp(1j * phase).mean()) < 4.5 / np.sqrt(50)
    high = np.asarray(signal.hum(key, x[:1], 0.0, 8000.0, 1500.0)) - x[:1]
    assert np.abs(np.fft.rfft(high))[0, 3500] < 1  # the third harmonic, 4500 Hz, would be heard at 3500


def test_hum_keeps_its_phase_over_a_long_recording(key):
    x = np.ones((1, 2**21), np.float32)  # a period of 128 steps
    added = np.asarray(signal.hum(key, x, 0.0, 8192.0, 64.0, harmonics=1), np.float64)[0] - 1
    np.testing.assert_allclose(added[-128:], added[:128], atol=1e-5)


def test_silence_stays_silent_on_either_side(key):
    zeros = np.zeros((2, 50), np.float32)
    for y in (signal.hum(key, zeros, 0.0, 1000.0), signal.mix(key, zeros, 0.0, NOISES)):
        np.testing.assert_array_equal(y, zeros)
    np.testing.assert_array_equal(signal.mix(key, X, 0.0, np.zeros((1, 2000), np.float32)), X)


def test_what_is_mixed_is_a_part_of_a_recording(key):
    x = RNG.standard_normal((60, 100)).astype(np.float32)
    noises = np.stack([np.arange(1, 151), np.arange(1001, 1151)]).astype(np.float32)
    added = np.asarray(signal.mix(key, x, 20.0, noises), np.float64) - x
    # Parts of a ramp: the mean over the slope, from float32 sums, tells where each begins.
    slope = np.diff(added, axis=1).mean(1)
    begin = added.mean(1) / slope - 49.5
    which = begin > 900
    assert 0.2 < which.mean() < 0.8
    first = np.where(which, begin - 1000, begin)
    assert first.min() > 0.4 and first.max() < 52 and np.ptp(np.round(first)) > 30


def test_channels_of_recordings_stay_together(key):
    noises = np.stack([NOISES, -2 * NOISES], axis=-1)
    added = np.asarray(signal.mix(key, X, 10.0, noises), np.float64) - X
    np.testing.assert_allclose(added[..., 1], -2 * added[..., 0], atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1000.0), (300.0, 3400.0), (1000.0, 4000.0)])
@pytest.mark.parametrize("taps", [31, 301])
def test_bands_are_those_of_firwin(low, high, taps, key):
    cuts = [f for f in (low, high) if 0 < f < 4000]
    coefficients = reference.firwin(taps, cuts, fs=8000, pass_zero=low == 0)
    late = np.concatenate([X, np.zeros((8, taps // 2, 2), np.float32)], axis=1)
    expected = reference.lfilter(coefficients, 1, late, axis=1)[:, taps // 2 :]
    rows = np.full((8, 1, 1), low, np.float32)
    np.testing.assert_allclose(signal.band_limit(key, X, low, high, 8000.0, taps=taps), expected, atol=1e-4)
    np.testing.assert_allclose(signal.band_limit(key, X, rows, high, 8000.0, taps=taps), expected, atol=1e-4)


@pytest.mark.slow
def test_no_limit_is_the_identity_and_padding_counts_as_silence(key):
    np.testing.assert_array_equal(signal.band_limit(key, X, 0.0, np.inf, 8000.0), X)
    y = np.asarray(signal.band_limit(key, X, 300.0, 2000.0, 8000.0, lengths=LENGTHS))
    r = np.asarray(signal.reverb(key, X, NOISES[:1, :40], lengths=LENGTHS))
    for n in range(8):
        alone = X[n : n + 1, : LENGTHS[n]]
        np.testing.assert_allclose(
            y[n, : LENGTHS[n]], signal.band_limit(key, alone, 300.0, 2000.0, 8000.0)[0], atol=1e-5
        )
        np.testing.assert_allclose(r[n, : LENGTHS[n]], signal.reverb(key, alone, NOISES[:1, :40])[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("taps", [1, 60, 1400])
def test_reverberation_is_the_convolution_of_scipy(taps, key):
    response = NOISES[:1, :taps] / np.linalg.norm(NOISES[0, :taps])
    expected = reference.fftconvolve(X.astype(np.float64), response[0][None, :, None].astype(np.float64), axes=1)
    plain = signal.reverb(key, X, response, align=False)
    np.testing.assert_allclose(plain, expected[:, :1000], atol=1e-5)
    peak = np.argmax(np.abs(response[0]))
    aligned = np.zeros_like(X)
    part = expected[:, peak : peak + 1000]
    aligned[:, : part.shape[1]] = part
    np.testing.assert_allclose(signal.reverb(key, X, response), aligned, atol=1e-5)
    half = signal.reverb(key, X, response, 0.5)
    np.testing.assert_allclose(half, (X + aligned) / 2, atol=1e-5)


def test_reverberation_of_huge_numbers_is_finite(key):
    x = jnp.stack([jnp.full(40, 1e38), jnp.full(40, 1.0)])
    y = signal.reverb(key, x, jnp.asarray([[1.0, 0.5, 0.25]]), align=False)
    expected = np.full(40, 1.75)
    expected[:2] = 1, 1.5
    np.testing.assert_allclose(y / x, np.stack([expected, expected]), rtol=1e-5)


def test_each_example_has_a_response_of_its_own(key):
    x = np.zeros((300, 4), np.float32)
    x[:, 0] = 1
    gains = np.float32([[1], [2], [3]])
    found = np.round(np.asarray(signal.reverb(key, x, gains))[:, 0]).astype(int)
    assert np.abs(np.bincount(found, minlength=4)[1:] - 100).max() < 4.5 * np.sqrt(300 * 2 / 9)


@pytest.mark.slow
@pytest.mark.parametrize("rt60", [0.2, 0.8])
def test_synthetic_responses_decay_by_sixty_decibels(rt60, key):
    """The integral of Schroeder, fitted between -5 and -35 dB."""
    response = np.asarray(signal.decaying_responses(key, rt60, 8000.0, taps=int(8000 * rt60), count=8), np.float64)
    np.testing.assert_allclose((response**2).sum(1), 1, rtol=1e-4)
    left = 10 * np.log10(np.cumsum(response[:, ::-1] ** 2, axis=1)[:, ::-1].mean(0))
    inside = np.flatnonzero((left < -5) & (left > -35))
    slope = np.polyfit(inside / 8000, left[inside], 1)[0]
    assert abs(-60 / slope / rt60 - 1) < 0.05


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda key: signal.hum(key, X, 10.0, 90.0), "frequency must lie below half of rate_hz, which is 45"),
        (lambda key: signal.mix(key, X, 10.0, NOISES[0]), "recordings of shape"),
        (lambda key: signal.mix(key, X, 10.0, NOISES[..., None]), "with the channels of x"),
        (lambda key: signal.mix(key, X, -np.inf, NOISES), "snr_db must be above -inf"),
        (lambda key: signal.band_limit(key, X, 300.0, 5000.0, 8000.0), "must not exceed half of rate_hz"),
        (lambda key: signal.band_limit(key, X, 3000.0, 300.0, 8000.0), "low must be below high"),
        (lambda key: signal.band_limit(key, X, 0.0, 300.0, 8000.0, taps=100), "odd integer"),
        (lambda key: signal.reverb(key, X, NOISES[0]), r"responses must have shape \(R, taps\)"),
        (lambda key: signal.decaying_responses(key, 0.0, 8000.0, taps=10), "rt60 must be above 0"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, match, key):
    with pytest.raises(ValueError, match=match):
        call(key)


def test_a_chain_of_them_is_one_noise(key):
    noise = nj.chain(nj.bind(signal.reverb, responses=NOISES[:2, :50]), nj.bind(signal.mix, snr_db=10.0, noises=NOISES))
    assert np.isfinite(noise(key, X)).all()


@pytest.mark.parametrize("name", ["mix", "reverb"])
def test_examples_share_a_bank_of_recordings_however_many_it_has(name, key):
    bank = np.random.default_rng(2).normal(size=(3, 20)).astype(np.float32)
    noise = {
        "mix": nj.bind(nj.signal.mix, snr_db=jnp.array([[0.0], [5.0], [10.0], [3.0]]), noises=bank),
        "reverb": nj.bind(nj.signal.reverb, responses=bank),
    }[name]
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 16)), jnp.float32)
    every = nj.per_example(nj.chain(noise, nj.bind(nj.signal.gain, std=jnp.full((4, 1), 0.1))))(key, x)
    last = nj.chain(
        jax.tree.map(lambda v: v[3:] if v.shape[:1] == (4,) else v, noise), nj.bind(nj.signal.gain, std=0.1)
    )
    alone = nj.per_example(last, np.array([3]))(key, x[3:])
    np.testing.assert_allclose(every[3:], alone, atol=1e-5)
    assert len(np.unique(np.round(every, 3), axis=0)) == 4
