"""A machine whose sensors fail: stuck, lost in bursts, drifting. ``python -m experiments.signals.machine [--smoke]``

Protocol, fixed before the runs. The data: eight sensors of a water loop in which valves close, one reading a second,
labelled by second (Katser and Kozitsin, "SKAB", 2020; folder ``skab_valves``). Is a second anomalous? Files of *valve1*
whose number leaves a rest of 2 or 3 by 4 train, 1 validates, 0 and all of *valve2* test. Sensors are standardized on
the training files. The features of a second are the readings, and their mean and standard deviation over 30 seconds;
the model is a network with one hidden layer of 64, Adam, 500 steps of 256 seconds for every training. The figure is the
area under the ROC curve (AUC), over the seconds of valve1 and of valve2, and the mean of both.

The valves are real, and the faults of the sensors are made, because no labelled recording has both: readings that stick
(a fifth of the time, for two minutes), bursts of lost readings that are held (a fifth, a minute long), and a drift of
one standard deviation over a file. Each test has one of them, or none (clean). Trainings have the clean files and three
noisy copies: Gaussian noise of .1, .3 or 1, whose size is chosen on validation files with the fault of the test; the
fault itself; all three faults by turns (`choose`); and *fitted*: `nj.signal.fit` on two recordings of the
anomaly-free run, before and after the fault, in which lost readings are held, so that the fit sees no gaps. Rivals
without noise: each file standardized on its first five minutes, and the readings alone, without windows. Five seeds
draw the networks, the noise, and the faults of the tests.
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

SEEDS, STEPS, COPIES, WINDOW, FIRST = range(5), 500, 3, 30, 300
FAULTS = {
    "stuck": nj.bind(signal.stuck, rate=0.2, duration=120),
    "bursts": nj.bind(signal.bursts, rate=0.2, burst=60.0, mode="channel"),
    "drift": nj.bind(signal.drift, amount=1.0, kind="walk"),
}
GAUSSIAN = (0.1, 0.3, 1.0)


def loaded() -> dict:
    """Files as (T, 8), with their labels, group and number; the first is the anomaly-free run."""
    table = _dirty.frame("skab_valves/skab.parquet").ffill()
    sensors = [c for c in table.columns if c not in ("datetime", "group", "file", "anomaly", "changepoint")]
    files = [rows for _, rows in table.groupby(["group", "file"], sort=True)]
    return {
        "x": [rows[sensors].to_numpy(np.float32) for rows in files],
        "y": [rows["anomaly"].to_numpy() == 1 for rows in files],
        "group": np.array([rows["group"].iloc[0] for rows in files]),
        "number": np.array([int(f) if (f := rows["file"].iloc[0]).isdigit() else -1 for rows in files]),
    }


def features(x: np.ndarray, windows: bool = True) -> np.ndarray:
    if not windows:
        return x
    padded = np.concatenate([np.repeat(x[:1], WINDOW - 1, 0), x]).astype(np.float64)
    cut = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=0)
    return np.concatenate([x, cut.mean(-1), cut.std(-1)], 1).astype(np.float32)


@jax.jit
def _noisy(noise, key, x, lengths):  # the noise is an argument, so that models of one shape share a program
    return noise(key, x, lengths=lengths)


def noisy(noise, seed: int, files: list[np.ndarray]) -> list[np.ndarray]:
    """The files after a noise: padded to one length, so that it is one program."""
    longest = max(map(len, files))
    x = np.stack([np.pad(f, [(0, longest - len(f)), (0, 0)]) for f in files])
    lengths = np.array([len(f) for f in files], np.int32)
    y = np.asarray(_noisy(noise, jax.random.key(seed), jnp.asarray(x), lengths))
    return [row[:n] for row, n in zip(y, lengths, strict=True)]


def at_start(x: np.ndarray) -> np.ndarray:
    return (x - x[:FIRST].mean(0)) / (x[:FIRST].std(0) + 0.1)


class Run:
    """One seed: the files, and the AUC of a training on a test."""

    def __init__(self, data: dict, seed: int, steps: int):
        rest = np.where(data["group"] == "valve1", data["number"] % 4, -1)
        train = np.flatnonzero(rest >= 2)
        mean, std = (f(np.concatenate([data["x"][n] for n in train]), 0) for f in (np.mean, np.std))
        self.files, self.labels = [(x - mean) / std for x in data["x"]], data["y"]
        self.train, self.validation = train, np.flatnonzero(rest == 1)
        self.tests = {"valve1": np.flatnonzero(rest == 0), "valve2": np.flatnonzero(data["group"] == "valve2")}
        self.quiet = self.files[int(np.flatnonzero(data["group"] == "anomaly-free")[0])]
        self.seed, self.steps = seed, steps

    def fitted(self, fault: nj.Noise) -> nj.Noise:
        """The learnt noise of two halves of the anomaly-free run, before and after the fault."""
        half = len(self.quiet) // 2
        clean = [self.quiet[:half], self.quiet[half : 2 * half]]
        model = signal.fit(clean, noisy(fault, 900 + self.seed, clean))
        return nj.bind(signal.faults, model=model, fill="hold")

    def trained(self, noise: nj.Noise | None, change=lambda x: x, windows: bool = True):
        files = [self.files[n] for n in self.train]
        sets = [files, *[noisy(noise, 10 * self.seed + c, files) for c in range(COPIES if noise is not None else 0)]]
        x = np.concatenate([features(change(f), windows) for part in sets for f in part])
        y = np.concatenate([self.labels[n] for _ in sets for n in self.train]).astype(np.int32)
        predict = _shared.networks([self.seed], x, y, 2, self.steps)

        def score(x: np.ndarray) -> np.ndarray:
            out = predict(features(change(x), windows))[0]
            return out[:, 1] - out[:, 0]

        return score

    def auc(self, score, fault: nj.Noise | None, which: np.ndarray) -> float:
        files = [self.files[n] for n in which]
        files = files if fault is None else noisy(fault, 500 + self.seed, files)
        labels = np.concatenate([self.labels[n] for n in which])
        return _dirty.auc(np.concatenate([score(f) for f in files]), labels)

    def figures(self, score, fault: nj.Noise) -> dict[str, float]:
        faulty, clean = ({name: self.auc(score, f, w) for name, w in self.tests.items()} for f in (fault, None))
        return {**faulty, "mean": float(np.mean(list(faulty.values()))), "clean": float(np.mean(list(clean.values())))}


def of_seed(data: dict, seed: int, steps: int) -> dict:
    run = Run(data, seed, steps)
    shared = {
        _shared.NONE: run.trained(None),
        "all faults by turns": run.trained(nj.choose(*FAULTS.values(), mode="example")),
        "rival: files standardized on their start": run.trained(None, at_start),
        "rival: readings without windows": run.trained(None, windows=False),
    }
    gaussian = [run.trained(nj.bind(nj.gaussian, std=std)) for std in GAUSSIAN]
    found = {}
    for name, fault in FAULTS.items():
        best = int(np.argmax([run.auc(score, fault, run.validation) for score in gaussian]))
        scores = shared | {
            "Gaussian": gaussian[best],
            "the fault itself": run.trained(fault),
            "fitted": run.trained(run.fitted(fault)),
        }
        for training, score in scores.items():
            found[name, training] = run.figures(score, fault)
    return found


def main() -> None:
    if (given := _shared.arguments(__doc__ or "", "skab_valves")) is None:
        return
    data = loaded()
    seeds, steps = (SEEDS[:2], 20) if given.smoke else (SEEDS, STEPS)
    runs = [of_seed(data, seed, steps) for seed in seeds]
    result = {}
    for fault in FAULTS:
        result[fault] = _shared.summary(_shared.by_group(runs, fault), "mean")
        print(fault)
        _shared.shown(result[fault])
    if not given.smoke:
        _dirty.write("signals.machine", {"seeds": list(seeds), **result}, given.out)


if __name__ == "__main__":
    main()
