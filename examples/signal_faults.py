"""Every fault of signals on one real recording: before, after, and the mask of what changed.

    python examples/signal_faults.py [out.png]

The recording is an electroencephalogram that comes with Matplotlib: 10 seconds of four electrodes at 80 Hz. One of them
is shown, in standard deviations. Grey is the recording and blue the result. The red marks below are the samples that
changed. `freq_mask` is for spectrograms, and not shown.
"""

import io
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image

import noisejax as nj
from noisejax import signal

RATE_HZ = 80.0
KEY = jax.random.key(4)


def recording() -> np.ndarray:
    """The electrodes, (1, 800, 4), each with mean 0 and standard deviation 1."""
    path = cbook.get_sample_data("eeg.dat", asfileobj=False)
    found = np.fromfile(str(path), float).reshape(800, 4)
    return ((found - found.mean(0)) / found.std(0)).astype(np.float32)[None]


def learnt(x: np.ndarray) -> signal.FaultModel:
    """The model of an old amplifier, fitted to what it makes of half of the recording."""
    rng = np.random.default_rng(0)
    clean = x[0, :400].T
    faulty = 0.8 * clean + 0.3 * rng.normal(size=(4, 1)) + np.cumsum(0.03 * rng.normal(size=clean.shape), 1)
    faulty = np.round(np.clip(faulty, -1.5, 1.5) / 0.25) * 0.25
    lost = signal.bursts(jax.random.key(9), jnp.ones(faulty.shape), 0.1, 15.0, jnp.nan, fill="value")
    return signal.fit(clean, faulty * np.asarray(lost))


def turned(key: jax.Array, x: jax.Array) -> jax.Array:
    """The first three electrodes, as if they were the axes of one sensor."""
    return jnp.concatenate([signal.rotate3(key, x[..., :3], 1.0), x[..., 3:]], axis=-1)


def faults(x: np.ndarray) -> dict[str, nj.Noise]:
    """What is shown, by its title."""
    hummed = np.moveaxis(x[..., 1:], 2, 1)[0]
    rooms = signal.decaying_responses(jax.random.key(1), 0.6, RATE_HZ, taps=60)
    of: dict[str, nj.Noise] = {
        "bias": nj.bind(signal.bias, std=1.0),
        "gain": nj.bind(signal.gain, std=1.5),
        "leakage": nj.bind(signal.leakage, std=0.5),
        "rotate3 (of three electrodes)": nj.bind(turned),
        "drift, linear": nj.bind(signal.drift, amount=2.0),
        "drift, walk": nj.bind(signal.drift, amount=2.0, kind="walk"),
        "drift, thermal": nj.bind(signal.drift, amount=1.0, tau=40.0, kind="thermal"),
        "changepoint": nj.bind(signal.changepoint, shift=1.5, scale=0.5),
        "stuck": nj.bind(signal.stuck, rate=0.3, duration=50),
        "spike": nj.bind(signal.spike, rate=0.01, height=4.0),
        "spike, decay": nj.bind(signal.spike, rate=0.01, height=4.0, decay=10.0),
        "saturate": nj.bind(signal.saturate, low=-1.0, high=1.0),
        "clipping": nj.bind(signal.clipping, level=0.8),
        "adc, 3 bits": nj.bind(signal.adc, bits=3.0, span=6.0),
        "polarity": nj.bind(signal.polarity, rate=1.0),
        "bursts, hold": nj.bind(signal.bursts, rate=0.3, burst=20.0),
        "bursts, linear": nj.bind(signal.bursts, rate=0.3, burst=20.0, fill="linear"),
        "packets, lost": nj.bind(signal.packets, rate=0.2, size=40),
        "packets, repeated": nj.bind(signal.packets, rate=0.2, size=40, kind="repeated"),
        "packets, reordered": nj.bind(signal.packets, rate=0.6, size=40, kind="reordered"),
        "jitter_time": nj.bind(signal.jitter_time, std=2.0),
        "clock_drift": nj.bind(signal.clock_drift, ppm=2e5, kind="exact"),
        "time_warp": nj.bind(signal.time_warp, std=0.4),
        "magnitude_warp": nj.bind(signal.magnitude_warp, std=0.9),
        "permute_segments": nj.bind(signal.permute_segments),
        "gaussian_snr, 5 dB": nj.bind(signal.gaussian_snr, snr_db=5.0),
        "colored, brown": nj.bind(signal.colored, std=1.2, exponent=2.0),
        "hum, 0 dB": nj.bind(signal.hum, snr_db=0.0, rate_hz=RATE_HZ, frequency=10.0),
        "mix, 0 dB": nj.bind(signal.mix, snr_db=0.0, noises=hummed),
        "reverb": nj.bind(signal.reverb, responses=rooms),
        "band_limit": nj.bind(signal.band_limit, low=2.0, high=8.0, rate_hz=RATE_HZ),
        "time_mask": nj.bind(signal.time_mask, width=150.0, count=2),
        "faults, learnt": nj.bind(signal.faults, model=learnt(x)),
    }
    return of


def main(out: Path | None) -> None:
    x = jnp.asarray(recording())
    shown = faults(np.asarray(x))
    columns = 4
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 1.25 * rows), sharex=True, sharey=True)
    seconds = np.arange(x.shape[1]) / RATE_HZ
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (title, noise) in zip(axes.flat, shown.items(), strict=False):
        y = noise(KEY, x)
        before, after, hit = (np.asarray(v[0, :, 0]) for v in (x, y, nj.changed(x, y)))
        axis.plot(seconds, before, color="0.75", linewidth=0.7)
        axis.plot(seconds, after, color="tab:blue", linewidth=0.7)
        axis.fill_between(seconds, -5.6, np.where(hit, -5.0, -5.6), step="mid", color="tab:red", linewidth=0)
        axis.set_title(title, fontsize=8, loc="left", pad=2)
        axis.set(ylim=(-5.6, 5.2), xlim=(0, 10), xticks=(0, 5, 10), yticks=(-4, 0, 4))
        axis.tick_params(labelsize=6, length=2)
        print(f"{title:30s} {hit.mean():6.1%} of the samples changed")
    for axis in axes[-1]:
        axis.set_xlabel("seconds", fontsize=7)
    figure.tight_layout(pad=0.4, h_pad=0.5)
    if out is None:
        plt.show()
    else:
        picture = io.BytesIO()
        figure.savefig(picture, dpi=80)
        # A page of lines needs few colours, and is a third as large with them.
        Image.open(picture).convert("RGB").quantize(24).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
