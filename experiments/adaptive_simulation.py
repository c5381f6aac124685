"""Where an adaptive level settles, in simulation, for several rules.

    python -m experiments.adaptive_simulation          run (minutes), write results/adaptive_simulation.json
    python -m experiments.adaptive_simulation --table  print the table of the stored results

Protocol, fixed before the runs that are stored:

- A metric (higher is better) is ``1 - gap(epoch) - cost(level) + scatter * normal``. The model answers half of a change
  of level at once, and half of what is left in each later epoch.
- The tolerance is 0.01. Five curves of cost reach it at the level 0.3, the target; the ceiling is 0.5, the start is 0.
- What the model still has to learn is ``0.15 * exp(-epoch / tau)`` in runs that learn slowly (tau is a tenth of the
  run) and ``0.4 * exp(-epoch / tau)`` in those that learn fast (tau is a twenty-fifth of the run).
- Runs have 20, 50 or 100 epochs, and the scatter is 1/2, 1 or 2 times the tolerance. The step reaches the ceiling in
  half of the epochs. Every rule sees the same normal draws; each cell averages 400 runs of each curve.
- The reference is exact; or has an error, normal with a std of half or of all of the tolerance; or is missing; or each
  epoch is compared with a clean run, which learns as fast, has the same scatter, and is averaged over the five epochs
  around ("by epoch"; added after the tables had been measured).
- The settled level is the mean over the last fifth of the epochs. Bias, spread (std) and rms are of its distance from
  the target. Regret is ``excess cost / tolerance + shortfall of the level / target``. A false back-off is a move down
  from a level that costs no more than the tolerance; the figure is its share of the epochs at such levels above 0.
- The thresholds and memories of the library were chosen in an earlier simulation of the same curves, with other draws.

Rules: `ratchet` is the former rule of the library, which compares each value with the best of the noisy values and
backs off after one failure (as the demo did) or two (its default). `means` averages since the last move, raises at half
an error and lowers below one, with a scatter that forgets nothing. `raise at once` raises where the mean is within the
tolerance. `proportional` moves by the step times the margin in tolerances. `library` is `noisejax.adaptive` as it is.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from experiments import measured

RESULTS = Path(__file__).parent / "results" / "adaptive_simulation.json"
TOLERANCE, TARGET, CEILING, RUNS = 0.01, 0.3, 0.5, 400
CURVES = {
    "root": lambda u: jnp.sqrt(u),
    "linear": lambda u: u,
    "quadratic": lambda u: u**2,
    "threshold": lambda u: 3 * jnp.maximum(u - 2 / 3, 0),
    "helps first": lambda u: 2 * u**2 - u,
}  # cost in tolerances, of the level in targets
EPOCHS, SCATTERS = (20, 50, 100), (0.5, 1.0, 2.0)
LEARNING = {"slow": (0.15, 0.1), "fast": (0.4, 0.04)}
BY_EPOCH = "by epoch"
REFERENCES: dict[str, Any] = {
    "exact": 0.0,
    "error of half the tolerance": 0.5,
    "error of the tolerance": 1.0,
    BY_EPOCH: BY_EPOCH,
    "none": None,
}


class Ratchet(NamedTuple):
    """The former rule of the library: patience, and the best of noisy values."""

    step: float
    patience: int

    def init(self, reference, shape):
        best = jnp.full(shape, -jnp.inf) if reference is None else reference
        return jnp.zeros(shape), best, jnp.zeros(shape, int)

    def update(self, state, value):
        level, best, failed = state
        passes = value >= best - TOLERANCE
        failed = jnp.where(passes, 0, failed + 1)
        back_off = failed >= self.patience
        level = jnp.clip(level + self.step * (passes * 1.0 - back_off), 0, CEILING)
        return level, jnp.maximum(best, value), jnp.where(back_off, 0, failed)


class Means(NamedTuple):
    """The mean since the last move against a fixed reference, with thresholds in its standard errors."""

    step: float
    up: float
    down: float
    averaged: int = 8
    remembered: int = 1 << 30

    def init(self, reference, shape):
        zero, known = jnp.zeros(shape), reference is not None
        return zero, reference if known else zero - jnp.inf, jnp.full(shape, known), zero, zero, zero, zero, 0

    def update(self, state, value):
        level, reference, given, mean, count, last, variance, seen = state
        difference = jnp.square(value - last) / 2 - variance
        variance = jnp.where(seen > 0, variance + difference / jnp.clip(seen, 1, self.remembered), 0)
        count = jnp.minimum(count + 1, self.averaged)
        mean = mean + (value - mean) / count
        error, known = jnp.sqrt(variance / count), seen > 0
        reference = jnp.where(given | ~known, reference, jnp.maximum(reference, mean - error))
        margin = mean - reference + TOLERANCE
        up, down = known & (margin >= self.up * error), known & (margin < -self.down * error)
        level = jnp.clip(level + self.step * (up * 1.0 - down), 0, CEILING)
        return level, reference, given, mean, jnp.where(up | down, 0, count), value, variance, seen + 1


class Proportional(NamedTuple):
    """Moves by the margin of a moving average, in tolerances: no error is needed, and none is used."""

    step: float
    gain: float
    weight: float

    def init(self, reference, shape):
        return jnp.zeros(shape), jnp.zeros(shape) if reference is None else reference, jnp.zeros(shape), 0

    def update(self, state, value):
        level, reference, mean, seen = state
        mean = jnp.where(seen > 0, mean + self.weight * (value - mean), value)
        move = jnp.clip(self.gain * (mean - reference + TOLERANCE) / TOLERANCE, -1, 1)
        return jnp.clip(level + self.step * move, 0, CEILING), reference, mean, seen + 1


class Library(NamedTuple):
    step: float

    def rule(self, shape):
        return nj.adaptive(np.zeros(shape), self.step, CEILING, rtol=0.0, atol=TOLERANCE, mode="max")

    def init(self, reference, shape):
        state = self.rule(shape).init(jnp.zeros(shape) if reference is None else reference)
        # As init() without a reference makes it, but without its warning.
        missing = {"reference": jnp.full(shape, -jnp.inf), "given": jnp.zeros(shape, bool)}
        return state if reference is not None else state._replace(**missing)

    def update(self, state, value):
        return self.rule(value.shape).update(state, value=value)


RULES = {
    "ratchet, patience 1": lambda step: Ratchet(step, 1),
    "ratchet, patience 2": lambda step: Ratchet(step, 2),
    "means": lambda step: Means(step, 0.5, 1.0),
    "means, short memory": lambda step: Means(step, 0.5, 1.0, remembered=4),
    "raise at once": lambda step: Means(step, 0.0, 1.0, remembered=4),
    "proportional": lambda step: Proportional(step, 2.0, 0.25),
    "library": Library,
}


def level_of(state):
    return state.level if hasattr(state, "level") else state[0]


def cost(level):
    """The cost of levels whose first axis is the curve."""
    return TOLERANCE * jnp.stack([f(row / TARGET) for f, row in zip(CURVES.values(), level, strict=True)])


def simulate(make, epochs, learning, reference, *, runs=RUNS, seed=0):
    """Levels of shape (epochs, curve, scatter, run): the level in use in each epoch, and the one after it."""
    shape, rule = (len(CURVES), len(SCATTERS), runs), make(2 * CEILING / epochs)
    key, reference_key = jax.random.split(jax.random.key(seed))
    scatter = TOLERANCE * jnp.array(SCATTERS)[:, None]
    gap, tau = LEARNING[learning]
    clean = jnp.ones((epochs, 1, 1, 1))  # the value is the metric less this, plus 1
    if reference == BY_EPOCH:
        own = scatter * jax.random.normal(reference_key, (epochs, *shape))
        around = [own[max(0, n - 2) : n + 3].mean(0) for n in range(epochs)]
        learnt = 1 - gap * jnp.exp(-(jnp.arange(epochs) + 1) / (tau * epochs))
        clean, reference = learnt[:, None, None, None] + jnp.stack(around), jnp.ones(shape)
    elif reference is not None:
        reference = 1 + reference * TOLERANCE * jax.random.normal(reference_key, shape)

    def epoch(carry, n):
        state, answered = carry
        level = level_of(state)
        answered = answered + (level - answered) / 2
        learnt = 1 - gap * jnp.exp(-(n + 1) / (tau * epochs))
        value = learnt - cost(answered) + scatter * jax.random.normal(jax.random.fold_in(key, n), shape)
        value = value + 1 - clean[n]
        state = rule.update(state, value)
        return (state, answered), (level, level_of(state))

    start = (rule.init(reference, shape), jnp.zeros(shape))
    return jax.jit(lambda: jax.lax.scan(epoch, start, jnp.arange(epochs))[1])()


def figures(levels, after):
    """For each scatter: bias, spread, rms, regret and false back-offs, over curves and runs."""
    settled = levels[-max(1, len(levels) // 5) :].mean(0)
    distance = np.asarray(settled - TARGET)
    excess = np.maximum(np.asarray(cost(settled)) - TOLERANCE, 0) / TOLERANCE
    regret = excess + np.maximum(-distance, 0) / TARGET
    allowed = np.stack([np.asarray(cost(level)) <= TOLERANCE * 1.0001 for level in levels]) & (
        np.asarray(levels) > 1e-6
    )
    false = allowed & (np.asarray(after) < np.asarray(levels) - 1e-6)
    found = {}
    for n, scatter in enumerate(SCATTERS):
        d = distance[:, n]
        found[str(scatter)] = {
            "bias": d.mean(),
            "spread": d.std(axis=-1).mean(),  # within a curve
            "rms": np.sqrt((d**2).mean()),
            "regret": regret[:, n].mean(),
            "false back-offs": false[:, :, n].sum() / max(1, allowed[:, :, n].sum()),
            "bias by curve": np.round(d.mean(-1), 3).tolist(),
        }
    return found


def run(runs=RUNS):
    cells = []
    for reference, error in REFERENCES.items():
        for learning in LEARNING:
            for epochs in EPOCHS:
                for name, make in RULES.items():
                    if error is None and name == "proportional":
                        continue  # it has no rule for a missing reference
                    found = figures(*simulate(make, epochs, learning, error, runs=runs))
                    cells += [
                        {"reference": reference, "learning": learning, "epochs": epochs, "rule": name}
                        | {"scatter": float(scatter)}
                        | {k: v if isinstance(v, list) else round(float(v), 3) for k, v in numbers.items()}
                        for scatter, numbers in found.items()
                    ]
    settings = {
        "tolerance": TOLERANCE,
        "target": TARGET,
        "ceiling": CEILING,
        "runs of each curve": runs,
        "curves": [*CURVES],
    }
    return {"settings": settings | {"measured": measured()}, "cells": cells}


def mean(cells, name, **wanted):
    values = [cell[name] for cell in cells if all(cell[k] == v for k, v in wanted.items())]
    return float(np.mean(values))


def table(results) -> str:
    """Markdown: rules by scatter, averaged over epochs and kinds of learning, for each reference."""
    cells, lines = results["cells"], []
    for reference in REFERENCES:
        lines += [f"\n**Reference: {reference}**\n"]
        lines += [
            "| rule | " + " | ".join(f"scatter {s:g}" for s in SCATTERS) + " |",
            "|---" * (1 + len(SCATTERS)) + "|",
        ]
        for rule in RULES:
            if not any(c["rule"] == rule and c["reference"] == reference for c in cells):
                continue
            row = []
            for scatter in SCATTERS:
                wanted = {"reference": reference, "rule": rule, "scatter": scatter}
                bias, spread, rms, regret, false = (
                    mean(cells, name, **wanted) for name in ("bias", "spread", "rms", "regret", "false back-offs")
                )
                row.append(f"{bias:+.3f}, {spread:.3f}, {rms:.3f}; {regret:.2f}; {false:.0%}")
            lines.append(f"| {rule} | " + " | ".join(row) + " |")
    return "\n".join(lines).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the stored results instead of running")
    if not parser.parse_args().table:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(run()).replace("}, {", "},\n{") + "\n")  # one cell a line
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
