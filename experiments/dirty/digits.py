"""Spoken digits of a new speaker, with every type of noise as a candidate. The protocol is in `__main__`."""

import functools

import numpy as np

from experiments.signals import _shared
from experiments.signals.spoken_digits import COPIES, STEPS, loaded, noises, noisy, without_mean


@functools.cache
def copies(smoke: bool) -> tuple[dict, dict[str, list[np.ndarray]]]:
    """The data, and the features of the clean clips and of the copies of each noise."""
    data = loaded(smoke)
    types = {"gain": noises()["gain"][:1]} if smoke else noises()
    made = {f"{name}, {n + 1}": noise for name, amounts in types.items() for n, noise in enumerate(amounts)}
    sets = {name: [noisy(noise, data, 1 + c) for c in range(COPIES)] for name, noise in made.items()}
    return data, {"none": [noisy(None, data)], **sets}


def accuracies(sets: list[np.ndarray], data: dict, new: int, seeds, steps: int, room: bool = False) -> dict:
    """By seed: on takes below 25 of the new speaker, on the one for validation, and on known ones."""
    validation = (new + 1) % 6
    others = ~np.isin(data["speaker"], (new, validation))
    own = data["speaker"] == new
    rows = (others & ~data["known"]) | (own & data["late"] & room)
    flat = [part.reshape(len(part), -1) for part in sets]
    x, y = np.concatenate([part[rows] for part in flat]), np.tile(data["digit"][rows], len(flat))
    predict = _shared.networks(seeds, x, y, 10, steps)
    tests = {
        "dirty": own & ~data["late"],
        "validation": data["speaker"] == validation,
        "clean": others & data["known"],
    }
    return {name: (predict(flat[0][rows]).argmax(-1) == data["digit"][rows]).mean(1) for name, rows in tests.items()}


@functools.cache
def all_seeds(smoke: bool) -> list[tuple[dict, str, dict]]:
    """For each new speaker: the figures of the arms by seed, the choice, and the scores behind it."""
    data, sets = copies(smoke)
    seeds, steps = (np.arange(2), 20) if smoke else (np.arange(5), STEPS)
    clean, found = sets["none"][0], []
    for new in range(1 if smoke else 6):
        tried = {
            name: accuracies([clean, *each], data, new, seeds, steps) for name, each in sets.items() if name != "none"
        }
        scores = {name: float(figures["validation"].mean()) for name, figures in tried.items()}
        best = max(scores, key=lambda name: scores[name])
        arms = {
            "none": accuracies([clean], data, new, seeds, steps),
            "best generic": tried[best],
            "rival: mean subtraction": accuracies([without_mean(clean)], data, new, seeds, steps),
            "dirty rows": accuracies([clean], data, new, seeds, steps, room=True),
        }
        found.append((arms, best, scores))
    return found


def spoken_digits(seed: int, smoke: bool = False) -> dict:
    runs = all_seeds(smoke)
    arms = {
        name: {part: float(np.mean([run[0][name][part][seed] for run in runs])) for part in ("clean", "dirty")}
        for name in runs[0][0]
    }
    return {"network": {"arms": arms, "chosen": [run[1] for run in runs], "validation": [run[2] for run in runs]}}
