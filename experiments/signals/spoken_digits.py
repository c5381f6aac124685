"""Which noise helps with a new speaker and microphone? ``python -m experiments.signals.spoken_digits [--smoke]``

Protocol, fixed before the runs. The data: 3,000 spoken digits of six speakers, each with a microphone and a room of
their own, 8 kHz (Jakobovski's free spoken digit dataset; folder ``spoken_digits``). Each speaker in turn is new: the
next one is for validation, and the other four train, on their takes 5 and later. Figures: the accuracy on the new
speaker, and on takes 0 to 4 of the four known speakers (clean).

The features are the logarithms of the energies of 24 bands on the mel scale, in windows of 256 samples, as means over
ten equal parts of a clip. The model is a network with one hidden layer of 64, Adam, 300 steps of 256 clips for every
training. Every training has the clean clips and two noisy copies; *none* has the clean clips.

Each type of noise has two amounts. The one with the best accuracy on the validation speaker is taken, for each
new speaker on its own; all seeds count. *All* is a chain of every type, each on half of the clips, at two strengths.
The rival is the usual one without noise: subtracting the mean of each band over the clip ("cepstral mean subtraction",
Atal, 1974), which takes away what a microphone does to a spectrum. Both can be combined. Five seeds, and 95 % t
intervals over them of the means over the six speakers.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from experiments import _dirty
from experiments.signals import _shared
from noisejax import signal

SEEDS, STEPS, COPIES, RATE_HZ, LONGEST, BANDS, PARTS = range(5), 300, 2, 8000.0, 8192, 24, 10
FRAME, HOP = 256, 128
MEAN = "mean subtraction"


def loaded(few: bool) -> dict:
    """Waveforms (N, 8192) in [-1, 1], their lengths, digits, speakers and takes."""
    with np.load(_dirty.folder() / "spoken_digits" / "spoken_digits.npz") as file:  # pyright: ignore[reportOptionalOperand]
        data = {name: file[name] for name in file.files}
    clips = np.split(data["audio"], np.cumsum(data["length"])[:-1])
    kept = np.flatnonzero(data["take"] % 5 == 0) if few else np.arange(len(clips))
    waves = np.zeros((len(kept), LONGEST), np.float32)
    for row, n in zip(waves, kept, strict=True):
        clip = clips[n][:LONGEST]
        row[: len(clip)] = clip / 32768
    return {
        "wave": waves,
        "length": np.minimum(data["length"], LONGEST)[kept].astype(np.int32),
        "digit": data["digit"][kept].astype(np.int32),
        "speaker": np.unique(data["speaker"], return_inverse=True)[1][kept],
        "known": data["take"][kept] < 5,
        "late": data["take"][kept] >= 25,
    }


def mel() -> np.ndarray:
    """Triangles on the mel scale, (bands, frequencies)."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 3900 / 700), BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(FRAME, 1 / RATE_HZ)
    low, middle, high = (edges[n : n + BANDS, None] for n in range(3))
    return np.clip(np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)), 0, None)


@jax.jit
def features(waves: jax.Array, lengths: jax.Array) -> jax.Array:
    """(N, bands, parts): the mean logarithm of the energy of each band in each part of a clip."""
    starts = np.arange(0, LONGEST - FRAME + 1, HOP)
    frames = waves[:, starts[:, None] + np.arange(FRAME)] * np.hanning(FRAME).astype(np.float32)
    power = jnp.abs(jnp.fft.rfft(frames)) ** 2
    energy = jnp.log(power @ mel().T.astype(np.float32) + 1e-6)
    part = jnp.floor(PARTS * (starts + FRAME // 2) / lengths[:, None])
    weight = (part[..., None] == np.arange(PARTS)).astype(jnp.float32)
    return jnp.einsum("nfb,nfp->nbp", energy, weight) / jnp.maximum(weight.sum(1)[:, None], 1)


def noises() -> dict[str, list[nj.Noise]]:
    """The amounts of each type."""

    def room(rt60: float, wet: float) -> nj.Noise:
        responses = signal.decaying_responses(jax.random.key(1), rt60, RATE_HZ, taps=2000, count=16)
        return nj.bind(signal.reverb, responses=np.asarray(responses), wet=wet)

    def band(low: float, high: float) -> nj.Noise:
        return nj.bind(signal.band_limit, low=low, high=high, rate_hz=RATE_HZ, rate=0.7)

    one: dict[str, list[nj.Noise]] = {
        "gain": [nj.bind(signal.gain, std=std) for std in (0.5, 1.0)],
        "noise at an SNR": [nj.bind(signal.gaussian_snr, snr_db=snr) for snr in (20.0, 10.0)],
        "band limit": [band(300.0, 3400.0), band(500.0, 2500.0)],
        "reverberation": [room(0.2, 0.5), room(0.5, 1.0)],
        "speed": [nj.bind(signal.clock_drift, ppm=ppm) for ppm in (5e4, 2e5)],
        "time warp": [nj.bind(signal.time_warp, std=std) for std in (0.1, 0.3)],
    }
    strengths = zip(*[(types[0], types[-1]) for types in one.values()], strict=True)
    return one | {"all": [nj.chain(*[nj.sometimes(noise, 0.5) for noise in chosen]) for chosen in strengths]}


@jax.jit
def _noisy(noise, key, x, lengths):  # the noise is an argument, so that all copies share a program
    return features(x if noise is None else noise(key, x, lengths=lengths), lengths)


def noisy(noise: nj.Noise | None, data: dict, seed: int = 0, chunk: int = 500) -> np.ndarray:
    found = []
    for first in range(0, len(data["wave"]), chunk):
        x, lengths = (jnp.asarray(data[name][first : first + chunk]) for name in ("wave", "length"))
        found.append(np.asarray(_noisy(noise, jax.random.key(10_000 * seed + first), x, lengths)))
    return np.concatenate(found)


def without_mean(x: np.ndarray) -> np.ndarray:
    return x - x.mean(-1, keepdims=True)


def accuracies(sets: list[np.ndarray], data: dict, new: int, seeds, steps: int) -> dict[str, np.ndarray]:
    """Of one training, by seed: on the new speaker, on the one for validation, and on known ones."""
    validation = (new + 1) % 6
    others = ~np.isin(data["speaker"], (new, validation))
    rows, flat = others & ~data["known"], [part.reshape(len(part), -1) for part in sets]
    x, y = np.concatenate([part[rows] for part in flat]), np.tile(data["digit"][rows], len(flat))
    predict = _shared.networks(seeds, x, y, 10, steps)
    tests = {
        "new": data["speaker"] == new,
        "validation": data["speaker"] == validation,
        "clean": others & data["known"],
    }
    return {name: (predict(flat[0][rows]).argmax(-1) == data["digit"][rows]).mean(1) for name, rows in tests.items()}


def arms_of(copies: dict, data: dict, new: int, seeds, steps: int) -> tuple[dict, dict]:
    """The accuracies of each training for one new speaker, and the number of the amount that was taken."""
    clean, found, taken = copies[_shared.NONE], {}, {}
    for title, change in ((_shared.NONE, lambda x: x), (MEAN, without_mean)):
        found[title] = accuracies([change(clean)], data, new, seeds, steps)
        for name, amounts in copies.items():
            if name == _shared.NONE or (title == MEAN and name not in ("speed", "noise at an SNR", "all")):
                continue
            own = name if title == _shared.NONE else f"{name}, {MEAN}"
            tried = [accuracies([change(part) for part in (clean, *each)], data, new, seeds, steps) for each in amounts]
            taken[own] = int(np.argmax([each["validation"].mean() for each in tried]))
            found[own] = tried[taken[own]]
    return found, taken


def main() -> None:
    if (given := _shared.arguments(__doc__ or "", "spoken_digits")) is None:
        return
    data = loaded(given.smoke)
    seeds, steps, speakers = (range(2), 20, (0,)) if given.smoke else (SEEDS, STEPS, range(6))
    types = noises() if not given.smoke else {"speed": noises()["speed"][:1]}
    copies: dict = {_shared.NONE: noisy(None, data)}
    for name, amounts in types.items():
        copies[name] = [[noisy(noise, data, 1 + c) for c in range(COPIES)] for noise in amounts]
        print(f"{name}: features", flush=True)
    runs, taken = zip(*[arms_of(copies, data, new, np.array(seeds), steps) for new in speakers], strict=True)
    means = {n: {f: np.mean([run[n][f] for run in runs], 0) for f in ("clean", "new")} for n in runs[0]}
    result = _shared.summary(means, "new")
    for row in result:
        row["speakers"] = [round(float(run[row["training"]]["new"].mean()), 3) for run in runs]
        row["amounts"] = [each.get(row["training"]) for each in taken]
    _shared.shown(result)
    if not given.smoke:
        amounts = {name: [repr(noise) for noise in noises] for name, noises in types.items() if name != "all"}
        _dirty.write(
            "signals.spoken_digits", {"seeds": list(seeds), "amounts": amounts, "trainings": result}, given.out
        )


if __name__ == "__main__":
    main()
