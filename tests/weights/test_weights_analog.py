"""Masks, stuck cells, and weights as conductances. Thresholds of p-values: one false alarm in 10,000 for each test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import noisejax as nj
from noisejax.weights import (
    _analog,
    conductance_drift,
    drop_connect,
    phase_change,
    programming_noise,
    read_noise,
    relative_gaussian,
    stuck_at,
    ternary_mask,
)

N = 100_000


def test_drop_connect_keeps_the_expectation_or_follows_the_paper(key):
    for rescale, kept in ((True, 1 / 0.7), (False, 1.0)):
        y = np.asarray(drop_connect(key, jnp.ones(N), 0.3, rescale=rescale))
        np.testing.assert_allclose(np.unique(y), [0, kept], rtol=1e-6)
        assert scipy.stats.binomtest(int((y == 0).sum()), N, 0.3).pvalue > 0.5e-4
    np.testing.assert_array_equal(drop_connect(key, jnp.ones(9), 1.0), 0)


@pytest.mark.slow
def test_ternary_mask_has_its_three_probabilities(key):
    y = np.asarray(ternary_mask(key, jnp.full(N, 2.0), 0.3, 0.2))
    counts = [(y == v).sum() for v in (0, -2, 2)]
    assert sum(counts) == N
    assert scipy.stats.chisquare(counts, N * np.array([0.3, 0.7 * 0.2, 0.7 * 0.8])).pvalue > 1e-4
    gradient = jax.grad(lambda w: ternary_mask(key, w, 0.3, 0.2).sum())(jnp.full(N, 2.0))
    np.testing.assert_array_equal(gradient, y / 2)


@pytest.mark.slow
def test_stuck_cells(key):
    w = jnp.linspace(-1, 3, N)
    y = np.asarray(stuck_at(key, w, 0.3, value=("min", "max", "zero")))
    hit = np.asarray(nj.hits(nj.bind(stuck_at, rate=0.3, value=("min", "max", "zero")))(key, w))
    counts = [(y[hit] == v).sum() for v in (-1, 3, 0)]
    assert sum(counts) == hit.sum()
    assert scipy.stats.chisquare([*counts, (~hit).sum()], N * np.array([0.1, 0.1, 0.1, 0.7])).pvalue > 1e-4
    gradient = jax.grad(lambda w: stuck_at(key, w, 0.3, value="max").sum())(w)
    np.testing.assert_array_equal(gradient == 0, nj.hits(nj.bind(stuck_at, rate=0.3, value="max"))(key, w))
    later = stuck_at(key, w + 1, 0.3)  # the same key is the same device
    np.testing.assert_array_equal(later == 0, (stuck_at(key, w, 0.3) == 0) | (w == -1))


def test_stuck_cells_of_channels_and_beside_padding(key):
    w = jnp.array([[1.0, -5.0], [2.0, 5.0], [9.0, 9.0]])
    where = jnp.array([[True], [True], [False]])
    y = stuck_at(key, w, 1.0, value="max", channel_axis=-1, where=where)
    np.testing.assert_array_equal(y, [[2, 5], [2, 5], [9, 9]])
    assert not bool(stuck_at(key, w[:0], 1.0, value="min").size)
    with pytest.raises(ValueError, match="value must be one of 'zero', 'min', 'max'"):
        stuck_at(key, w, 0.1, value="one")


@pytest.mark.slow
@pytest.mark.parametrize("to", ["absmax", "std"])
@pytest.mark.parametrize("channel_axis", [None, -1])
def test_relative_noise_has_the_scale_of_the_weights(to, channel_axis, key):
    w = np.random.default_rng(0).standard_normal((N // 4, 4)).astype(np.float32) * [1, 10, 0.1, 5] + [0, 3, 0, 0]
    w = w.astype(np.float32)
    axis = None if channel_axis is None else 0
    scale = abs(w).max(axis) if to == "absmax" else w.std(axis)
    noise = (np.float64(relative_gaussian(key, w, 0.5, to=to, channel_axis=channel_axis)) - w) / (0.5 * scale)
    assert scipy.stats.kstest(noise.reshape(-1), "norm").pvalue > 0.5e-4
    assert min(scipy.stats.kstest(noise[:, c], "norm").pvalue for c in range(4)) > 0.5e-4 / 4
    gradient = jax.grad(lambda w: relative_gaussian(key, w, 0.5, to=to, channel_axis=channel_axis).sum())(
        jnp.asarray(w[:50])
    )
    np.testing.assert_array_equal(gradient, 1)


def test_drift_is_the_power_law(key):
    w, time = jnp.full(N, 2.0), 1e6
    exponent = np.log(np.float64(conductance_drift(key, w, time, 0.06, 0.01)) / 2) / -np.log1p(time / 20)
    assert scipy.stats.kstest((exponent - 0.06) / 0.01, "norm").pvalue > 1e-4
    np.testing.assert_allclose(conductance_drift(key, w[:1], 60.0, 0.5), 1.0, rtol=1e-6)
    np.testing.assert_allclose(conductance_drift(key, w[:1], 60.0, 0.5, first_read=60 / 15), 0.5, rtol=1e-6)
    np.testing.assert_array_equal(conductance_drift(key, w[:1], jnp.float32(-5), 0.5), 2)


# What aihwkit 1.1.0's PCMLikeNoiseModel gives in float64 if every normal draw is 1: of cells programmed to G.
G = np.array([0.0, 0.02, 0.1, 0.3, 0.6, 1.0])
PROGRAMMED = [0.0105392, 0.0320924304, 0.11792996, 0.32989604, 0.64080656, 1.0422152]
AFTER = {  # drifted and read, seconds after the first reading
    0.0: [0.0180215641, 0.0431407715, 0.1353530274, 0.3548700424, 0.672313817, 1.0795695560],
    3600.0: [0.0089695553, 0.0229613546, 0.089502829, 0.2648556738, 0.5031543237, 0.8065744976],
    31536000.0: [0.0026038648, 0.0075570606, 0.0432731714, 0.1585471467, 0.302908033, 0.4843568765],
}
READ = {  # read only
    0.0: [0.0, 0.0293630353, 0.1164458439, 0.3241573116, 0.63078996, 1.0368176583],
    31536000.0: [0.0, 0.0326150214, 0.1221578436, 0.3325476721, 0.6414839814, 1.0496052329],
}
WEIGHTS = [-1.0, -0.3, 0.0, 0.1, 0.6, 2.0]
PROGRAMMED_WEIGHTS = [-1.055138, -0.32146842, 0.0, 0.10762538, 0.63871368, 2.063352]


@pytest.fixture
def ones(monkeypatch):
    """Every draw of a used cell is 1; an idle cell's is -1, which leaves it at 0."""
    draw = lambda key, tag, x: jnp.full_like(x, -1.0 if tag.endswith("idle") else 1.0)  # noqa: E731
    monkeypatch.setattr(_analog, "_normal", draw)


@pytest.mark.slow
@pytest.mark.usefixtures("ones")
def test_cells_agree_with_aihwkit(key):
    g = jnp.asarray(G, jnp.float32)
    np.testing.assert_allclose(programming_noise.__wrapped__(key, g), PROGRAMMED, rtol=1e-5)
    for time, expected in AFTER.items():
        np.testing.assert_allclose(phase_change.__wrapped__(key, g, time), expected, rtol=2e-5)
    for time, expected in READ.items():
        np.testing.assert_allclose(read_noise.__wrapped__(key, g, time), expected, rtol=1e-5)


def test_weights_are_pairs_of_cells_as_in_aihwkit(monkeypatch, key):
    monkeypatch.setattr(_analog, "_normal", lambda key, tag, x: jnp.ones_like(x))
    w = jnp.asarray(WEIGHTS, jnp.float32)
    np.testing.assert_allclose(programming_noise.__wrapped__(key, w), PROGRAMMED_WEIGHTS, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("g", [0.0, 0.3, 1.0])
def test_programming_noise_is_distributed_as_numpy_draws_it(g, key):
    """One weight of absolute value 1 sets the scale; of the rest, both cells have noise, and none is negative."""
    w = np.append(np.full(N, -g), 1.0).astype(np.float32)
    random = np.random.default_rng(3)

    def cell(g):
        return np.maximum(g + (0.26348 + 1.9650 * g - 1.1731 * g**2) / 25 * random.standard_normal(N), 0)

    expected = cell(0.0) - cell(g)
    assert scipy.stats.ks_2samp(programming_noise(key, w)[:-1], expected).pvalue > 1e-4


@pytest.mark.slow
def test_phase_change_has_the_mean_and_the_spread_of_its_cells(key):
    w, time = np.full(N, 0.5, np.float32), 86400.0
    w[0] = 1.0
    random = np.random.default_rng(4)

    def cell(g):
        start = np.maximum(g + (0.26348 + 1.9650 * g - 1.1731 * g**2) / 25 * random.standard_normal(N), 0)
        log_g = np.log(max(g, 1e-7))
        mean = np.clip(-0.0155 * log_g + 0.0244, 0.049, 0.1)
        exponent = abs(mean + np.clip(-0.0125 * log_g - 0.0059, 0.008, 0.045) * random.standard_normal(N))
        drifted = start * ((time + 20) / 20) ** -exponent
        q = np.minimum(0.0088 / np.maximum(start, 1e-9) ** 0.65, 0.2)
        spread = q * np.sqrt(np.log((time + 20 + 250e-9) / 500e-9))
        return np.maximum(drifted + drifted * spread * random.standard_normal(N), 0)

    expected = cell(0.5) - cell(0.0)
    y = np.asarray(phase_change(key, w, time))[1:]
    assert scipy.stats.ks_2samp(y, expected).pvalue > 1e-4
    mapped = phase_change(key, np.tile(w[:, None], (1, 2)) * np.float32([1, 8]), time, channel_axis=-1)
    assert scipy.stats.ks_2samp(np.asarray(mapped)[1:, 1] / 8, expected).pvalue > 1e-4


@pytest.mark.slow
def test_drift_compensation_restores_the_mean_size(key):
    w = jnp.asarray(np.random.default_rng(5).uniform(-1, 1, N), jnp.float32)
    year = 31536000.0
    sizes = [float(jnp.abs(phase_change(key, w, t, compensate=c)).mean()) for t in (0.0, year) for c in (False, True)]
    now, _, drifted, compensated = sizes
    assert drifted < 0.7 * now
    assert compensated == pytest.approx(now, rel=0.02)
    np.testing.assert_array_equal(phase_change(key, w, year, 0.0, compensate=True), w)


@pytest.mark.parametrize("first_read", [0.0, -20.0, float("nan"), float("inf"), "20", None])
def test_the_first_reading_is_after_programming(first_read, key):
    with pytest.raises(ValueError, match="conductance_drift: first_read must be a number above 0 and finite"):
        nj.weights.conductance_drift(key, jnp.ones(3), 60.0, 0.05, first_read=first_read)


@pytest.mark.parametrize("axis", ["a", 1.5, 2])
def test_channels_that_stuck_cells_do_not_have(axis, key):
    for value in ("zero", "max"):
        with pytest.raises((TypeError, ValueError), match="stuck_at: channel_axis must be"):
            nj.weights.stuck_at(key, jnp.ones((2, 3)), 0.1, value=value, channel_axis=axis)


def test_the_same_device_drifts_further(key):
    w = jnp.linspace(0.5, 1, 1000)
    hour, year = phase_change(key, w, 3600.0), phase_change(key, w, 31536000.0)
    assert scipy.stats.spearmanr(hour - w, year - w).statistic > 0.5
    assert float(year.mean()) < float(hour.mean())


@pytest.mark.slow
@pytest.mark.parametrize("noise", [programming_noise, read_noise, phase_change])
def test_gradients_go_straight_to_the_clean_weights(noise, key):
    w = jnp.linspace(-1, 1, 11)
    amounts = {} if noise is programming_noise else {"time": 3600.0}
    gradient = jax.grad(lambda w: noise(key, w, **amounts).sum())(w)
    np.testing.assert_array_equal(gradient, 1)
    learned = jax.grad(lambda s: jnp.sum(noise(key, w, scale=s, **amounts) ** 2))(jnp.float32(1))
    assert bool(jnp.isfinite(learned)) and learned != 0


@pytest.mark.slow
def test_zeros_padding_and_what_is_not_finite(key):
    for noise in (programming_noise, lambda k, w, **o: phase_change(k, w, 3600.0, compensate=True, **o)):
        np.testing.assert_array_equal(noise(key, jnp.zeros(5)), 0)
        w = jnp.array([0.5, 1.0, jnp.nan, jnp.inf, 100.0])
        y = noise(key, w, where=jnp.arange(5) < 4)
        np.testing.assert_array_equal(y[2:], w[2:])
        assert bool((abs(y[:2] - w[:2]) < 1).all()) and bool((y[:2] != w[:2]).all())


def test_no_amount_makes_nan(key):
    w = jnp.linspace(-1, 1, 9)
    huge = 3e38
    calls = {
        "programming_noise": lambda: nj.weights.programming_noise(key, w, huge),
        "read_noise": lambda: nj.weights.read_noise(key, w, huge, huge),
        "read_noise now": lambda: nj.weights.read_noise(key, w, 0.0, huge),
        "phase_change": lambda: nj.weights.phase_change(key, w, huge),
        "phase_change, all of it": lambda: nj.weights.phase_change(key, w, 0.0, huge),
    }
    for name, call in calls.items():
        assert not bool(jnp.isnan(call()).any()), name
    year, last = (jnp.abs(nj.weights.phase_change(key, w, t)).mean() for t in (3e7, huge))
    assert 0 < last < year
