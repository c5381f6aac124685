"""An adaptive mixture of noise against a fixed and a tuned one, on six real tables.

    python -m experiments.adaptive_tables           run (minutes), and write results/adaptive_tables.json
    python -m experiments.adaptive_tables --smoke   a few rows and epochs, nothing is written: does it run?

Protocol, fixed before the runs that are stored:

- Tables: Adult, MAGIC, Satellite and CASP served for development: on them, the reference by epoch was chosen over the
  mean of the last epochs, and a tolerance of one point over half a point. Letter and Diamonds were first looked at when
  the rule and this protocol were final.
- Ten seeds. A seed draws its own 3,000 training, 1,500 validation and up to 3,000 test rows, its own initial weights
  and order of rows. All recipes of a seed share them, so differences are paired.
- The model is a network with two hidden layers of 64 units, trained for 40 epochs by AdamW with a cosine schedule.
  The metric is accuracy, or R² where a number is predicted.
- The mixture at level v: a cell takes the value of another row at the rate v / 2; a cell is masked (by the mean or the
  most frequent category) at the rate v / 2; numbers receive Gaussian noise of std v. Each example has a level of its
  own, uniform between 0 and the level.
- Recipes: none; fixed (level 0.2); adaptive (start 0, step 0.025, ceiling 0.5); and two that choose from the levels
  0.05, 0.1, 0.2, 0.3, 0.4, 0.5 by validation rows, which takes six runs: `largest harmless` is the largest level whose
  clean metric, averaged over the last five epochs, is within the tolerance of the run without noise; `tuned` has the
  best mean of the final clean metric and of those under the three faults.
- The tolerance is one point (0.01). The adaptive recipe compares each epoch with the same epoch of the run without
  noise, which has the same seed, order and validation rows: its value is the metric less the clean run's, averaged over
  the five epochs around, and the reference is 0. `adaptive, last epochs` compares with the clean run's last five.
- Faults of the test rows, with the same draws for every recipe: 30 % of the cells missing; 30 % wrong (the value of
  another row); Gaussian noise of std 0.3 on the numbers.
- Intervals are 95 % t intervals of the paired differences over the seeds, not corrected for their number.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

import noisejax as nj
from experiments import measured
from experiments._tables import SOURCES, Table, load

RESULTS = Path(__file__).parent / "results" / "adaptive_tables.json"
HELD_OUT = ("Letter", "Diamonds")
SEEDS, SIZES, EPOCHS, BATCH, HIDDEN = 10, (3000, 1500, 3000), 40, 100, (64, 64)
FIXED, LEVELS, CEILING, TOLERANCE, LAST = 0.2, (0.05, 0.1, 0.2, 0.3, 0.4, 0.5), 0.5, 0.01, 5
FAULTS = ("missing", "wrong values", "gaussian")
AT = 0.3


def init(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    layers = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(nj.gaussian(k, jnp.zeros((a, b)), (2 / a) ** 0.5), jnp.zeros(b)) for k, a, b in layers]


def apply(params, x):
    *hidden, (w, b) = params
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    return x @ w + b


def metric(params, x, y, classes):
    output = apply(params, x)
    if classes:
        return (output.argmax(-1) == y).mean()
    return 1 - jnp.square(output[:, 0] - y).mean() / jnp.square(y - y.mean()).mean()


def program(table: Table, epochs: int):
    """train(keys, rows, level, adapts, clean) for all seeds: their metrics, and (validation metric, level) by epoch."""
    numbers, classes = np.array(table.numeric), table.classes
    rule = nj.adaptive(0.0, 2 * CEILING / epochs, CEILING, rtol=0.0, atol=TOLERANCE, mode="max")

    def mixture(level, fill):
        return nj.chain(
            nj.bind(nj.swap, rate=level / 2, groups=table.groups),
            nj.bind(nj.mask, rate=level / 2, fill=fill, groups=table.groups),
            nj.on_columns(nj.bind(nj.gaussian, std=level), numbers),
        )

    def fault(name, fill):
        return {
            "missing": nj.bind(nj.mask, rate=AT, fill=fill, groups=table.groups),
            "wrong values": nj.bind(nj.swap, rate=AT, groups=table.groups),
            "gaussian": nj.on_columns(nj.bind(nj.gaussian, std=AT), numbers),
        }[name]

    def loss(params, x, y):
        output = apply(params, x)
        if classes:
            return optax.softmax_cross_entropy_with_integer_labels(output, y).mean()
        return jnp.square(output[:, 0] - y).mean()

    def train(key, rows, level, adapts, clean):
        (x, y), valid, test, fill = rows
        steps = len(x) // BATCH
        optimizer = optax.adamw(optax.cosine_decay_schedule(3e-3, steps * epochs), weight_decay=1e-4)
        init_key, order_key, noise_key, fault_key = jax.random.split(key, 4)

        def step(carry, now):
            params, state, level = carry
            batch, key = now
            level_key, key = jax.random.split(key)
            here = level * nj.uniform(level_key, jnp.full((BATCH, 1), 0.5), 0.5)
            grads = jax.grad(loss)(params, mixture(here, fill)(key, x[batch]), y[batch])
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state, level), None

        def epoch(carry, n):
            params, state, adaptive = carry
            order = jax.random.permutation(jax.random.fold_in(order_key, n), len(x))[: steps * BATCH]
            keys = jax.random.split(jax.random.fold_in(noise_key, n), steps)
            now = jnp.where(adapts, adaptive.level, level)
            (params, state, _), _ = jax.lax.scan(step, (params, state, now), (order.reshape(steps, BATCH), keys))
            value = metric(params, *valid, classes)
            return (params, state, rule.update(adaptive, value=value - clean[n])), (value, now)

        params = init(init_key, [x.shape[1], *HIDDEN, max(classes, 1)])
        start = (params, optimizer.init(params), rule.init(reference=0.0))
        (params, *_), log = jax.lax.scan(epoch, start, jnp.arange(epochs))

        def measured(rows, key):
            noisy = {f: fault(f, fill)(jax.random.fold_in(key, n), rows[0]) for n, f in enumerate(FAULTS)}
            return {name: metric(params, x, rows[1], classes) for name, x in {"clean": rows[0], **noisy}.items()}

        valid_key, test_key = jax.random.split(fault_key)
        return {"valid": measured(valid, valid_key), "test": measured(test, test_key)}, log

    return jax.jit(jax.vmap(train, in_axes=(0, 0, None, None, 0)))


def measure(table: Table, *, seeds=SEEDS, sizes=SIZES, epochs=EPOCHS):
    """Numbers of every recipe by seed."""
    test = min(sizes[2], len(table.frame) - sum(sizes[:2]))
    splits = [table.split(seed, (*sizes[:2], test)) for seed in range(seeds)]
    rows = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[tuple(split) for split in splits])
    train, keys = program(table, epochs), jax.random.split(jax.random.key(0), seeds)
    runs, shape = {}, (seeds, epochs)

    def go(name, level, clean=None):
        found, (values, levels) = train(
            keys, rows, level, clean is not None, np.zeros(shape) if clean is None else clean
        )
        runs[name] = jax.tree.map(np.asarray, {**found, "values": values, "levels": levels})

    go("none", 0.0)
    curve, late = runs["none"]["values"], min(LAST, epochs)
    around = [curve[:, max(0, n - LAST // 2) : n + LAST // 2 + 1].mean(1) for n in range(epochs)]
    reference = curve[:, -late:].mean(1)
    go("adaptive", 0.0, np.stack(around, 1))
    go("adaptive, last epochs", 0.0, np.tile(reference[:, None], epochs))
    for level in LEVELS:
        go(level, level)
    harmless = [[runs[v]["values"][s, -late:].mean() >= reference[s] - TOLERANCE for v in LEVELS] for s in range(seeds)]
    largest = [max((v for v, fits in zip(LEVELS, row, strict=True) if fits), default=0.0) for row in harmless]
    deployed = {v: np.mean(list(runs[v]["valid"].values()), 0) for v in LEVELS}
    best = [max(LEVELS, key=lambda v, s=s: deployed[v][s]) for s in range(seeds)]
    chosen = {"none": ["none"] * seeds, "fixed": [FIXED] * seeds, "adaptive": ["adaptive"] * seeds}
    chosen["adaptive, last epochs"] = ["adaptive, last epochs"] * seeds
    chosen |= {"largest harmless": [v or "none" for v in largest], "tuned": best}
    metrics = {
        name: {
            what: [round(float(runs[run]["test"][what][s]), 5) for s, run in enumerate(each)]
            for what in ("clean", *FAULTS)
        }
        for name, each in chosen.items()
    }
    drift = np.diff(curve[:, -2 * late :], axis=1)
    return {
        "measured": measured(),
        "metric": "accuracy" if table.classes else "R²",
        "rows": [*sizes[:2], test],
        "features": len(table.frame.columns),
        "furthest test value": [float(np.abs(split.test[0]).max().round(1)) for split in splits],
        "scatter of one epoch": float(np.sqrt(np.mean(drift**2) / 2)),
        "test": metrics,
        "levels": {
            "adaptive": runs["adaptive"]["levels"][:, -late:].mean(1).astype(float).round(3).tolist(),
            "largest harmless": largest,
            "tuned": best,
        },
        "adaptive by epoch": runs["adaptive"]["levels"].astype(float).round(3).tolist(),
        "by level": {
            str(v): {w: runs[v]["test"][w].astype(float).round(5).tolist() for w in ("clean", *FAULTS)} for v in LEVELS
        },
    }


def paired(a, b):
    """Mean and half-width of the 95 % interval of the difference, in points."""
    d = 100 * (np.asarray(a) - np.asarray(b))
    return d.mean(), stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5


def summary(name, found) -> str:
    """A few lines of text about one table, in points."""
    lines = [f"{name}: clean {found['metric']} {np.mean(found['test']['none']['clean']):.3f} without noise"]
    for recipe in [name for name in found["test"] if name != "none"]:
        for base in ("none", "fixed"):
            if recipe == base:
                continue
            parts = [paired(found["test"][recipe][w], found["test"][base][w]) for w in ("clean", *FAULTS)]
            cells = ", ".join(f"{w} {m:+.1f} ± {h:.1f}" for w, (m, h) in zip(("clean", *FAULTS), parts, strict=True))
            lines.append(f"  {recipe} - {base}: {cells}")
    return "\n".join(lines) + f"\n  levels: {found['levels']}, scatter {found['scatter of one epoch']:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="*", default=[*SOURCES], choices=[*SOURCES], metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="a few rows and epochs; nothing is written")
    arguments = parser.parse_args()
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments.tables:
        table = load(name)
        if isinstance(table, str):
            print(table)
            continue
        small = {"seeds": 2, "sizes": (200, 100, 100), "epochs": 3} if arguments.smoke else {}
        stored[name] = measure(table, **small)
        print(summary(name, stored[name]), flush=True)
        if not arguments.smoke:
            RESULTS.write_text(json.dumps(stored).replace('}, "', '},\n"') + "\n")


if __name__ == "__main__":
    main()
