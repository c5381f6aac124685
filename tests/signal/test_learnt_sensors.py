"""Learnt sensors: planted faults are found again within their standard errors, and the noise imitates them."""

import functools
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax import signal

SEEDS, RECORDINGS, STEPS = 12, 6, 4000
FILTER = np.array([1.0, 0.8, 0.5, 0.2])
# By channel: one that walks, saturates and is rounded, and one with coloured noise alone.
PLANTED = {
    "gain": (1.2, 0.9),
    "gain_std": (0.05, 0.02),
    "offset": (0.5, -1.0),
    "offset_std": (0.3, 0.1),
    "walk": (0.01, 0.0),
    "noise": (0.1, 0.2),
}
HIGH, STEP = 3.0, 0.05


def planted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (RECORDINGS, STEPS, 2)
    phase = rng.uniform(0, 6, (RECORDINGS, 1, 2))
    clean = 2 * np.sin(np.arange(STEPS)[:, None] / 40 + phase) + np.cumsum(rng.normal(0, 0.03, shape), 1)
    clean -= clean.mean(1, keepdims=True)
    each = rng.normal(size=(2, RECORDINGS, 1, 2))
    gain, offset = (
        np.array(PLANTED[n]) + np.array(PLANTED[n + "_std"]) * e for n, e in zip(("gain", "offset"), each, strict=True)
    )
    noise = rng.normal(size=shape)
    unit = FILTER / np.sqrt((FILTER**2).sum())
    noise[..., 1] = np.apply_along_axis(lambda row: np.convolve(row, unit)[:STEPS], 1, noise[..., 1])
    faulty = gain * clean + offset + noise * PLANTED["noise"] + np.cumsum(rng.normal(size=shape), 1) * PLANTED["walk"]
    faulty[..., 0] = np.round(np.minimum(faulty[..., 0], HIGH) / STEP) * STEP
    return clean, faulty


@functools.cache
def fitted() -> list:
    return [signal.fit(*planted(seed)) for seed in range(SEEDS)]


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found_within_three_standard_errors(name):
    found = np.array([getattr(model, name) for model in fitted()])
    if name == "walk":
        assert not found[:, 1].any(), "no walk where none was planted"
        found = found[:, :1]
    error = found.std(0, ddof=1) / np.sqrt(SEEDS)
    assert (np.abs(found.mean(0) - PLANTED[name][: found.shape[1]]) < 3 * error).all()


def test_limits_and_grids_are_found_exactly():
    for model in fitted():
        np.testing.assert_allclose(model.high, [HIGH, np.inf], rtol=1e-6)
        np.testing.assert_allclose(model.step, [STEP, 0], rtol=1e-6)
        assert (np.asarray(model.low) == -np.inf).all()


@pytest.mark.slow
def test_the_noise_has_the_fitted_spectrum_gain_and_offset(key):
    model = fitted()[0]
    slope = np.stack([np.linspace(-1, 1, 2000)] * 2, 1)[None] * np.ones((256, 1, 1))
    drawn = np.asarray(signal.faults(key, slope.astype(np.float32), model))
    again = signal.fit(slope, drawn)
    for name in ("gain", "offset"):
        spread = np.asarray(getattr(model, f"{name}_std"))
        assert (np.abs(getattr(again, name) - getattr(model, name)) < 4.5 * (spread + 0.01) / 16).all()
        np.testing.assert_allclose(getattr(again, f"{name}_std"), spread, rtol=0.25, atol=0.005)
    np.testing.assert_allclose(again.noise, model.noise, rtol=0.03)
    np.testing.assert_allclose(again.walk, model.walk, rtol=0.1)
    np.testing.assert_allclose(again.step, model.step, rtol=1e-4)
    quiet = np.asarray(signal.faults(key, jnp.zeros((64, 2000, 2)), nj.signal.fit_noise(drawn - slope)))[..., 1]
    quiet = quiet - quiet.mean(1, keepdims=True)
    expected = np.correlate(FILTER, FILTER, "full")[3:] / (FILTER**2).sum()
    for lag in (1, 2, 3):
        assert abs((quiet[:, lag:] * quiet[:, :-lag]).mean() / (quiet**2).mean() - expected[lag]) < 0.02


@pytest.mark.slow
def test_strength_scales_the_faults_and_zero_is_the_identity(key):
    model, x = fitted()[0], jnp.asarray(planted(0)[0][:4], jnp.float32).at[0, 0].set(-0.0)
    assert (np.asarray(signal.faults(key, x, model, 0.0)).view(np.int32) == np.asarray(x).view(np.int32)).all()
    half, full = (np.asarray(signal.faults(key, x, model, s)) - x for s in (0.5, 1.0))
    np.testing.assert_allclose(half[..., 1], full[..., 1] / 2, atol=1e-5)
    each = signal.faults(key, x, model, jnp.array([0.0, 1.0, 0.0, 1.0]).reshape(4, 1, 1))
    np.testing.assert_array_equal(each[::2], x[::2])
    np.testing.assert_array_equal(each[1::2], signal.faults(key, x, model)[1::2])


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 5.0), (0.3, 20.0), (0.02, 2.0)])
def test_planted_bursts_are_found_within_three_standard_errors(rate, burst, key):
    missing = signal.bursts(key, np.zeros((20, 5000), np.float32), rate, burst, np.nan, fill="value")
    model = signal.fit_bursts(missing)
    assert float(model.rate[1, 0]) == 0, "one chain is enough"
    steps, begin = missing.size, rate / (burst * (1 - rate))
    # Of the delta method: leaving and entering are counts of Bernoulli trials in lost and in good steps.
    leave = 1 / burst
    of_leave, of_begin = leave * (1 - leave) / (steps * rate), begin * (1 - begin) / (steps * (1 - rate))
    of_rate = (begin**2 * of_leave + leave**2 * of_begin) / (begin + leave) ** 4
    assert abs(float(model.rate[0, 0]) - rate) < 3 * np.sqrt(of_rate)
    assert abs(float(model.burst[0, 0]) - burst) < 3 * np.sqrt(of_leave) * burst**2


@pytest.mark.slow
def test_short_and_long_gaps_are_two_chains_and_are_drawn_as_such(key):
    planted = [signal.bursts(k, np.zeros((30, 4000, 1), np.float32), r, b, np.nan, fill="value")
               for k, r, b in zip(jax.random.split(key), (0.04, 0.1), (1.1, 50.0), strict=True)]  # fmt: skip
    model = signal.fit_bursts(planted[0] + planted[1])
    np.testing.assert_allclose(model.rate[:, 0], [0.04, 0.1], rtol=0.15)
    np.testing.assert_allclose(model.burst[:, 0], [1.1, 50.0], rtol=0.15)
    again = np.isnan(signal.faults(key, jnp.zeros((30, 4000, 1)), model))
    assert stats.ks_2samp(lengths(again[..., 0]), lengths(np.isnan(planted[0] + planted[1])[..., 0])).pvalue > 1e-3


@pytest.mark.slow
def test_channels_are_lost_together_or_apart_as_in_the_recordings(key):
    rng = np.random.default_rng(0)
    one = rng.random((4, 500, 1)) < 0.2
    assert signal.fit_bursts(np.repeat(one, 3, 2)).together
    apart = signal.fit_bursts(rng.random((4, 500, 3)) < np.array([0.1, 0.2, 0.4]))
    assert not apart.together and np.shape(apart.rate) == (2, 3)
    lost = np.isnan(signal.faults(key, jnp.zeros((4, 5000, 3)), apart))
    np.testing.assert_allclose(lost.mean((0, 1)), [0.1, 0.2, 0.4], rtol=0.15)
    together = np.isnan(signal.faults(key, jnp.zeros((4, 500, 3)), signal.fit_bursts(np.repeat(one, 3, 2))))
    assert (together == together[..., :1]).all()
    held = signal.faults(key, jnp.ones((4, 500, 3)), apart, value=0.0, fill="hold")
    assert bool((held >= 0).all()) and not np.isnan(held).any()


def lengths(mask: np.ndarray) -> np.ndarray:
    edges = np.diff(np.pad(mask.astype(np.int8), [(0, 0), (1, 1)]), axis=1)
    return np.concatenate([np.flatnonzero(row == -1) - np.flatnonzero(row == 1) for row in edges])


@pytest.mark.parametrize("analyser", ["NO2(GT)", pytest.param("CO(GT)", marks=pytest.mark.slow)])
def test_fitted_bursts_imitate_the_gaps_of_other_months_of_a_real_station(analyser, key):
    named = os.environ.get("NOISEJAX_DIRTY")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "dirty"
    place = folder / "airquality" / "airquality.parquet"
    if not place.exists():
        pytest.skip("no recordings of the air quality station")
    table = pytest.importorskip("pandas").read_parquet(place)
    lost = table[analyser].to_numpy(float) == -200
    month = table["time"].dt.month.to_numpy() + 12 * table["time"].dt.year.to_numpy()
    held = np.split(lost, np.flatnonzero(np.diff(month % 2)) + 1)
    model = signal.fit_bursts([part for part in held[::2] if len(part) >= 16])
    drawn = np.isnan(signal.faults(key, jnp.zeros((100, 744)), model))
    real = np.concatenate([lengths(part[None]) for part in held[1::2]])
    assert stats.ks_2samp(real, lengths(drawn)).pvalue > 0.05
    geometric = signal.bursts(key, jnp.zeros((100, 744)), lost.mean(), lengths(lost[None]).mean(), 1.0, fill="value")
    assert stats.ks_2samp(real, lengths(np.asarray(geometric) == 1)).pvalue < 1e-6


def test_recordings_of_different_lengths_and_with_holes_are_fitted():
    rng = np.random.default_rng(0)
    clean = [np.sin(np.arange(n) / 20) for n in (700, 16, 1501)]
    faulty = [1.5 * c + 0.2 + rng.normal(0, 0.1, len(c)) for c in clean]
    faulty[0][100:140] = np.nan
    clean[2][200:300] = np.nan
    model = signal.fit(clean, faulty)
    np.testing.assert_allclose([model.gain[0], model.offset[0], model.noise[0]], [1.5, 0.2, 0.1], atol=0.02)
    assert float(model.rate[0, 0]) == pytest.approx(40 / (716 + 1401), rel=0.05) and float(model.burst[0, 0]) == 40
    same = signal.fit([c[:, None] for c in clean], [f[:, None] for f in faulty])
    for one, other in zip(jax.tree.leaves(model), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_padding_and_length_change_no_draw(key):
    model, x = fitted()[0], jnp.asarray(planted(0)[0][:3], jnp.float32)
    whole = signal.faults(key, x[:, :301], model)
    np.testing.assert_allclose(whole[:, :200], signal.faults(key, x[:, :200], model), atol=1e-5)
    padded = signal.faults(key, x[:, :301], model, lengths=np.array([200, 301, 1], np.int32))
    np.testing.assert_allclose(padded[0, :200], whole[0, :200], atol=1e-5)
    np.testing.assert_array_equal(padded[0, 200:], x[0, 200:301])
    assert signal.faults(key, x[:, :1], model).shape == (3, 1, 2)


@pytest.mark.slow
def test_models_go_into_json_and_back_and_print_as_tables(key):
    model = fitted()[0]
    noise = nj.bind(signal.faults, model=model)
    again = nj.from_dict(json.loads(json.dumps(noise.to_dict())))
    x = jnp.asarray(planted(0)[0][:2, :50], jnp.float32)
    np.testing.assert_array_equal(again(key, x), noise(key, x))
    gaps = signal.fit_bursts(np.arange(10_000) % 10 < 3)
    assert nj.from_dict(nj.bind(signal.faults, model=gaps).to_dict())(key, x).shape == x.shape
    text = str(model)
    assert "1.2" in text and "to 3" in text and "0.05" in text and "lost" not in text
    assert "29.98%, 3 steps" in str(gaps) and "gaps" in repr(gaps)


def test_a_perfect_sensor_has_no_faults(key):
    clean = planted(0)[0].astype(np.float32)
    model = signal.fit(clean, clean)
    x = jnp.asarray(clean[:2, :100])
    np.testing.assert_allclose(signal.faults(key, x, model), x, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: signal.fit(np.zeros((2, 50)), np.zeros((2, 51))), r"same recordings.*\(50, 1\) and \(51, 1\)"),
        (lambda: signal.fit(np.zeros((500, 3)), np.zeros((500, 3))), r"at least 16 steps.*clean\[None\]"),
        (lambda: signal.fit(np.zeros(50), np.full(50, np.nan)), "no readings in common in channel 0"),
        (lambda: signal.fit(np.zeros(50), np.full(50, np.inf)), "must not be infinite"),
        (lambda: signal.fit_noise(np.where(np.arange(60) % 5, 1.0, np.nan)), "10 readings in a row"),
        (lambda: signal.fit_noise(np.zeros(60), size=4), "size must be an integer, at least 8"),
        (lambda: signal.fit_bursts(np.zeros(60, bool)), "must have a gap"),
        (lambda: signal.fit_bursts(np.ones(60, int)), "mask of booleans"),
        (lambda: signal.fit_bursts([]), "got none"),
        (lambda: signal.faults(jax.random.key(0), jnp.zeros((2, 9)), 0.1), "model must be fitted"),
        (lambda: signal.faults(jax.random.key(0), jnp.zeros((2, 9, 3)), fitted()[0]), "recordings of 2 channels"),
        (
            lambda: signal.faults(jax.random.key(0), jnp.zeros((2, 9, 2)), fitted()[0], jnp.ones((2, 9, 1))),
            "strength must not vary along axis 1",
        ),
    ],
)
def test_wrong_recordings_and_models_are_refused(call, match):
    with pytest.raises((TypeError, ValueError), match=match):
        call()


@pytest.mark.slow
def test_gaps_are_drawn_in_a_stage_of_their_own(key):
    """One key in `faults` and in `bursts` gives independent gaps, though both draw them by the same chain."""
    lost = np.asarray(nj.signal.bursts(key, jnp.ones((64, 500, 1)), 0.2, burst=4.0, fill="value")[..., 0] == 0)
    model = nj.signal.fit_bursts(lost)
    x = jnp.ones((64, 2000, 1))
    ours = np.asarray(nj.signal.faults(key, x, model, value=0.0, fill="value")) == 0
    theirs = np.asarray(nj.signal.bursts(key, x, 0.2, burst=4.0, fill="value")) == 0
    assert 0.15 < ours.mean() < 0.25 and 0.15 < theirs.mean() < 0.25
    assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) < 0.03
