"""Noises that must know which axis is time or frequency, or how strong the signal is."""

import functools

import numpy as np

import noisejax as nj
from cases.case import additive, masking, row, spectra


def band(function, at, **more):
    return masking(function, "width", at, x=spectra, elementwise=False, **more)


# Draws belong to examples, channels and steps. The fast laws run over the first fault of each family.
sensor = {"x": spectra, "elementwise": False}
heavy = {**sensor, "heavy": True}
measured = {**heavy, "measures": True}
added = functools.partial(additive, reference=None)
hit = functools.partial(masking, differentiable=False)
samples = functools.partial(masking, **heavy)

_CLEAN = np.random.default_rng(12).standard_normal((3, 200, 6)).astype(np.float32)
_ERRORS = np.random.default_rng(13).standard_normal((3, 200, 6)).astype(np.float32)
LEARNT = nj.signal.fit(
    _CLEAN,
    np.where(_ERRORS > 1.8, np.nan, np.minimum(1.1 * _CLEAN + np.linspace(0.1, 0.4, 6, dtype=np.float32) * _ERRORS, 2)),
)
RECORDINGS = np.random.default_rng(11).standard_normal((5, 40)).astype(np.float32)

CASES = [
    additive(nj.signal.gaussian_snr, "snr_db", (10.0, np.inf, 0.0), elementwise=False, measures=True, reference=None),
    row(nj.signal.colored, "exponent", std=(0.3, 0.0, 0.3), exponent=(1.0, 1.0, 2.0), elementwise=False),
    band(nj.signal.time_mask, (6.0, 0.0, 9.0), count=2, heavy=True),
    band(nj.signal.freq_mask, (4.0, 0.0, 6.0), heavy=True),
    added(nj.signal.bias, "std", **sensor),
    added(nj.signal.gain, "std", **heavy),
    hit(nj.signal.saturate, low=-0.5, high=1.0, integers=False, note="sensor", **heavy),
    hit(nj.signal.clipping, level=0.5, images=False, **heavy),
    hit(nj.signal.polarity, images=False, **heavy),
    added(nj.signal.adc, "bits", (3.0, np.inf, 2.0), span=(4.0, np.inf, 8.0), rate=0.5, differentiable=False, **heavy),
    added(nj.signal.leakage, "std", images=False, **heavy),
    row(nj.signal.changepoint, "shift", shift=(3.0, 0.0, 1.0), hits=True, **heavy),
    added(nj.signal.drift, "amount", note="linear", **heavy),  # tables have a drift, too
    added(nj.signal.drift, "amount", note="walk", kind="walk", **heavy),
    added(nj.signal.drift, "amount", note="thermal", kind="thermal", tau=4.0, **heavy),
    samples(nj.signal.stuck, "rate", (0.3, 0.0, 0.6), duration=3.0, measures=True),
    samples(nj.signal.spike, "rate", height=5.0, integers=False),
    samples(nj.signal.spike, "rate", height=5.0, decay=2.0, integers=False, note="decay", differentiable=False),
    masking(nj.signal.bursts, "rate", (0.3, 0.0, 0.6), burst=4.0, value=9.0, fill="value", **sensor),
    # What fills a gap is a neighbour, which may be NaN.
    samples(nj.signal.bursts, "rate", (0.3, 0.0, 0.6), burst=4.0, measures=True, note="hold"),
    samples(nj.signal.bursts, "rate", (0.3, 0.0, 0.6), burst=4.0, fill="linear", measures=True, note="linear"),
    samples(nj.signal.packets, "rate", value=9.0, size=3),
    samples(nj.signal.packets, "rate", size=3, kind="repeated", measures=True, note="repeated"),
    samples(nj.signal.packets, "rate", (0.9, 0.0, 1.0), size=2, kind="reordered", measures=True, note="reordered"),
    added(nj.signal.jitter_time, "std", **heavy),
    added(nj.signal.clock_drift, "ppm", (1e5, 0.0, 3e4), **heavy),
    added(nj.signal.time_warp, "std", **heavy),
    added(nj.signal.magnitude_warp, "std", **heavy),
    row(nj.signal.permute_segments, "rate", rate=(0.9, 0.0, 1.0), segments=3, shortest=2, integers=True, **heavy),
    added(nj.signal.rotate3, "angle", images=False, **heavy),
    added(nj.signal.hum, "snr_db", (10.0, np.inf, 0.0), rate_hz=500.0, **measured),
    added(nj.signal.mix, "snr_db", (10.0, np.inf, 0.0), noises=RECORDINGS, **measured),
    row(
        nj.signal.band_limit, rate=(0.5, 0.0, 0.9), low=20.0, high=200.0, rate_hz=500.0, taps=9, measures=True, **heavy
    ),
    row(
        nj.signal.faults,
        "strength",
        strength=(1.0, 0.0, 2.0),
        model=LEARNT,
        value=9.0,
        images=False,
        differentiable=False,
        **measured,
    ),
    added(nj.signal.reverb, "wet", (1.0, 0.0, 0.5), responses=RECORDINGS[:, :3], **measured),
]
