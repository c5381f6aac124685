"""Faults of windows of sensors (256, 512, 6) and of waveforms (64, 16000), compared with tsaug and audiomentations.

``python -m benchmarks.run signals`` in an environment with ``tsaug==0.2.1`` and ``audiomentations==0.43.1``. Peers that
are missing are left out. tsaug takes all windows at once, and audiomentations one waveform after the other. It has no
hum, whose peer is the same sum of sines in NumPy. The noises and responses of audiomentations are files, which it reads
or keeps as it does by default; SciPy's convolution of arrays in memory is a second peer of reverberation.

``python -m benchmarks.signals`` writes the table of docs/guides/signals.md from the result file.
"""

import importlib.util
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import measure, pages

RATE_HZ = 16_000


def run(smoke: bool):
    windows, waves = ((4, 64, 6), (2, 2000)) if smoke else ((256, 512, 6), (64, RATE_HZ))
    rng = np.random.default_rng(0)
    for shape, jobs in ((windows, of_windows), (waves, of_waves)):
        given = rng.normal(size=shape).astype(np.float32) * 0.1
        for job, (noise, bar, peers) in jobs(given).items():
            x, program, key = jnp.asarray(given), jax.jit(noise), jax.random.key(0)
            ways = {"noisejax": lambda program=program, key=key, x=x: program(key, x)} | peers
            seconds = measure.costs(ways, 2 if smoke else 7)
            for peer in peers or {"none": None}:
                row: dict = {"fault": job, "shape": str(shape), "peer": peer, "bar": bar if peers else None}
                for place, what in enumerate(("", ", cores")):
                    ours, theirs = seconds["noisejax"][place], seconds[peer][place] if peers else None
                    row[f"examples/s{what}"] = len(given) / ours
                    row[f"peer examples/s{what}"] = len(given) / theirs if theirs else None
                    row[f"times as fast{what}"] = theirs / ours if theirs else None
                yield row


def of_windows(x: np.ndarray) -> dict[str, tuple[nj.Noise, float | None, dict[str, Callable]]]:
    """By the name of a job: the noise, the bar, and its peers as calls without arguments."""
    signal = nj.signal
    found: dict[str, tuple[nj.Noise, float | None, dict[str, Callable]]] = {
        "drift, walk": (nj.bind(signal.drift, amount=0.1, kind="walk"), 5, {}),
        "drift, thermal": (nj.bind(signal.drift, amount=0.1, tau=20.0, kind="thermal"), 5, {}),
        "bursts, hold": (nj.bind(signal.bursts, rate=0.1, burst=10.0), 5, {}),
        "adc": (nj.bind(signal.adc, bits=4.0, span=1.0), 5, {}),
        "time_warp": (nj.bind(signal.time_warp, order="linear"), 5, {}),
        "magnitude_warp": (nj.bind(signal.magnitude_warp), None, {}),
        "stuck": (nj.bind(signal.stuck, rate=0.1, duration=20.0), None, {}),
        "jitter_time": (nj.bind(signal.jitter_time, std=0.1), None, {}),
    }
    if not importlib.util.find_spec("tsaug"):
        return found
    import tsaug  # pyright: ignore[reportMissingImports]

    ways = {
        "drift, walk": tsaug.Drift(max_drift=0.1, n_drift_points=5),
        "drift, thermal": tsaug.Drift(max_drift=0.1, n_drift_points=5),
        "bursts, hold": tsaug.Dropout(p=0.01, size=10, fill="ffill"),
        "adc": tsaug.Quantize(n_levels=16),
        "time_warp": tsaug.TimeWarp(n_speed_change=5, max_speed_ratio=2),
    }
    for name, way in ways.items():
        noise, bar, _ = found[name]
        found[name] = (noise, bar, {"tsaug": lambda way=way: way.augment(x)})
    return found


def of_waves(x: np.ndarray) -> dict[str, tuple[nj.Noise, float | None, dict[str, Callable]]]:
    signal, rng = nj.signal, np.random.default_rng(1)
    recordings = rng.normal(size=(5, 2 * x.shape[1])).astype(np.float32)
    responses = np.asarray(signal.decaying_responses(jax.random.key(1), 0.2, float(RATE_HZ), taps=3200, count=5))
    found: dict[str, tuple[nj.Noise, float | None, dict[str, Callable]]] = {
        "gaussian_snr": (nj.bind(signal.gaussian_snr, snr_db=10.0), 4, {}),
        "mix": (nj.bind(signal.mix, snr_db=10.0, noises=recordings), 4, {}),
        "hum": (nj.bind(signal.hum, snr_db=10.0, rate_hz=float(RATE_HZ)), 4, {}),
        "colored": (nj.bind(signal.colored, std=0.1), 4, {}),
        "band_limit": (nj.bind(signal.band_limit, low=300.0, high=3400.0, rate_hz=float(RATE_HZ)), 2, {}),
        "reverb": (nj.bind(signal.reverb, responses=responses), 2, {}),
        "clipping": (nj.bind(signal.clipping, level=0.2), None, {}),
        "gain": (nj.bind(signal.gain, std=0.1), None, {}),
        "polarity": (nj.bind(signal.polarity, rate=0.5), None, {}),
    }
    from scipy.signal import fftconvolve

    noise, bar, _ = found["reverb"]
    convolved = {"scipy": lambda: [fftconvolve(wave, responses[n % 5])[: x.shape[1]] for n, wave in enumerate(x)]}
    found["reverb"] = (noise, bar, convolved)
    noise, bar, _ = found["hum"]
    found["hum"] = (noise, bar, {"numpy": lambda: _hum(x, rng)})
    if not importlib.util.find_spec("audiomentations"):
        return found
    import audiomentations  # pyright: ignore[reportMissingImports]

    band = {"min_center_freq": 1000.0, "max_center_freq": 1000.0}
    ways = {
        "gaussian_snr": audiomentations.AddGaussianSNR(min_snr_db=10.0, max_snr_db=10.0, p=1.0),
        "colored": audiomentations.AddColorNoise(min_snr_db=10.0, max_snr_db=10.0, p=1.0),
        "band_limit": audiomentations.BandPassFilter(**band, p=1.0),
        "gain": audiomentations.Gain(p=1.0),
        "polarity": audiomentations.PolarityInversion(p=1.0),
        "clipping": audiomentations.ClippingDistortion(p=1.0),
    }
    for name, arrays in (("mix", recordings), ("reverb", responses)):
        folder = _written(name, arrays)
        ways[name] = (
            audiomentations.AddBackgroundNoise(sounds_path=folder, min_snr_db=10.0, max_snr_db=10.0, p=1.0)
            if name == "mix"
            else audiomentations.ApplyImpulseResponse(ir_path=folder, leave_length_unchanged=True, p=1.0)
        )
    for name, way in ways.items():
        noise, bar, peers = found[name]
        found[name] = (noise, bar, peers | {"audiomentations": lambda way=way: [way(wave, RATE_HZ) for wave in x]})
    return found


def _hum(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three harmonics of 50 Hz at 10 dB, in float32."""
    turns = np.arange(x.shape[1], dtype=np.float32) * np.float32(50 / RATE_HZ)
    total = np.zeros_like(x)
    for h in (1, 2, 3):
        phase = rng.random((len(x), 1), np.float32)
        total += np.sin(np.float32(2 * np.pi) * (h * turns + phase)) / np.float32(h)
    power = np.square(x).mean(1, keepdims=True) / np.square(total).mean(1, keepdims=True)
    return x + np.sqrt(power * np.float32(10 ** (-10.0 / 10))) * total


def _written(name: str, arrays: np.ndarray) -> str:
    """A new folder of sound files."""
    import soundfile  # pyright: ignore[reportMissingImports]

    folder = tempfile.mkdtemp(prefix=f"signals-{name}-")
    for n, array in enumerate(arrays):
        soundfile.write(f"{folder}/{n}.wav", array, RATE_HZ, subtype="FLOAT")
    return folder


def page() -> None:
    results = measure.load("signals")
    assert results is not None, "run python -m benchmarks.run signals first"
    body = [
        [row["fault"], row["shape"], pages.number(row["examples/s, cores"]), row["peer"]]
        + [pages.number(row["peer examples/s, cores"])]
        + [f"{row['times as fast' + what]:.1f}" if row[f"times as fast{what}"] else "" for what in ("", ", cores")]
        + [pages.number(row["bar"])]
        for row in results["rows"]
    ]
    columns = ["fault", "shape", "examples per core second", "peer", "its", "times as fast", "per core", "bar"]
    text = f"{pages.table(columns, body)}\n\n{pages.where(results)}"
    pages.write(pages.GUIDES / "signals.md", "speed", "python -m benchmarks.signals", text)


if __name__ == "__main__":
    page()
