"""Which training noise helps a network on tables, what it costs, and where nothing helps.

    python -m experiments.noises                    run what is missing (minutes), and write results/noises.json
    python -m experiments.noises --tables Phoneme   one table
    python -m experiments.noises --smoke            a few rows and noises, nothing is written: does it run?

Protocol, fixed before the runs that are stored:

- Nine tables. Six have been used in other experiments of this repository. Pen digits, Spambase and Phoneme were first
  looked at when this protocol and all code were final, except that a smoke run read 300 rows of Phoneme.
- Two sets of pictures as rows of pixels (`experiments/_pictures.py`), added when the tables were measured. Nothing else
  was changed for them, but the faults that nothing was chosen for are *blur*, *contrast* and *shift*. A first run on
  Optical digits showed a fault of `robustness.mlp`: it scaled a pixel of one value by the rounding error of its mean.
  The stored run is the one after that was corrected. The network divides each pixel by its standard deviation, which is
  small where pixels are mostly blank, so noise on all pixels harms it there, and noise in training helps much.
- Two sets of sensors (`experiments/_sensors.py`), added with them. Here, *offset* is a bias of each sensor, and a lost
  column is a dead one.
- Five seeds. A seed draws its own 2,000 training, 1,000 validation and up to 1,500 test rows, its own weights and order
  of rows. All recipes of a seed share them, so differences are paired.
- The model is `robustness.mlp` with two hidden layers of 64 units and 30 epochs. The metric is accuracy, or R².
- Recipes: no noise; Gaussian noise on numbers; masking (a cell becomes the mean or the most frequent category);
  swapping (a cell takes the value of another row); mixup; label smoothing (of classes); dropout on hidden units;
  adversarial (one FGSM step); a mixture of Gaussian noise, masking and swapping. `robustness.tune` draws 8 amounts of
  each, and 24 of the mixture, which has three, and chooses on the validation rows: the best mean score under the three
  faults below, among amounts that cost at most 0.01 of the clean metric there. If none is better than no noise, the
  recipe is no noise. The adaptive mixture is `robustness.mlp_adaptive` with a tolerance of 0.01.
- One thing was changed after a run on MAGIC: amounts are drawn on a logarithmic scale. On a linear one, 8 draws of the
  mixture were too strong for the allowed cost on four of five seeds, and the recipe was no noise.
- Then each recipe is trained on the training and validation rows together; the adaptive mixture, which needs them, on
  the training rows alone. All are measured on the test rows.
- Faults that amounts are chosen for, at levels from 0.1 to 0.5: *missing* (share of cells, filled as by masking),
  *wrong* (share of cells, with the value of another row), *gaussian* (std on numbers, in standard deviations of a
  column).
- Faults that nothing was chosen for, at the same levels: *heavy tails* (Student's t noise with 3 degrees of freedom),
  *offset* (each number column is shifted by the level, up or down, in all rows), *lost columns* (each feature is
  missing in all rows with this probability).
- The *gain* of a recipe is the mean over the three faults and their levels of its score minus that without noise. The
  *tolerated level* is the level up to which the score stays at 95 % of the clean score without noise, averaged over the
  three faults, with 0.5 where it never falls below.
- *Best single* is the recipe other than the mixtures with the best validation score at the allowed cost, by seed.
- Intervals are 95 % t intervals of the paired differences over the seeds, not corrected for their number.
"""

import argparse
import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import noisejax as nj
from experiments import _pictures, _sensors, measured
from experiments._tables import MORE, SOURCES, load
from noisejax import robustness

RESULTS = Path(__file__).parent / "results" / "noises.json"
SEEDS, SIZES, EPOCHS, EACH, LEVELS = 5, (2000, 1000, 1500), 30, 8, (0.1, 0.2, 0.3, 0.4, 0.5)
TUNED, OTHERS = ("missing", "wrong", "gaussian"), ("heavy tails", "offset", "lost columns")
SINGLE = {
    "gaussian": {"gaussian": (0.02, 0.6, "log")},
    "masking": {"mask": (0.01, 0.5, "log")},
    "swapping": {"swap": (0.01, 0.5, "log")},
    "mixup": {"mixup": (0.02, 1.0, "log")},
    "smoothing": {"smooth": (0.01, 0.3, "log")},
    "dropout": {"dropout": (0.02, 0.5, "log")},
    "adversarial": {"fgsm": (0.01, 0.3, "log")},
}
MIXTURE = {"gaussian": (0.01, 0.6, "log"), "mask": (0.005, 0.4, "log"), "swap": (0.005, 0.4, "log")}
ALL = (*SOURCES, *MORE, *_pictures.NAMES, *_sensors.NAMES)
INSIDE = ("dropout", "adversarial")  # recipes that act inside the network


def inside(key, batch, dropout, fgsm):
    """Carries amounts that `train` reads; the batch is unchanged."""
    return batch


class Recipes:
    """The noises of a table, which differ in their amounts alone."""

    def __init__(self, table, fill):
        self.numbers, self.groups, self.classes, self.fill = np.array(table.numeric), table.groups, table.classes, fill

    def inputs(self, gaussian, mask, swap):
        return nj.chain(
            nj.bind(nj.swap, rate=swap, groups=self.groups),
            nj.bind(nj.mask, rate=mask, fill=self.fill, groups=self.groups),
            nj.on_columns(nj.bind(nj.gaussian, std=gaussian), self.numbers),
        )

    def __call__(self, gaussian=0.0, mask=0.0, swap=0.0, mixup=0.0, smooth=0.0):
        if not self.classes:
            return nj.chain(nj.bind(nj.mixup, alpha=mixup), nj.on_entries((self.inputs(gaussian, mask, swap), None)))
        labels = nj.bind(smoothed, alpha=smooth)
        mixed = nj.bind(nj.mixup, alpha=mixup, num_classes=self.classes)
        return nj.chain(mixed, nj.on_entries((self.inputs(gaussian, mask, swap), labels)))

    def inside(self, dropout=0.0, fgsm=0.0):
        return nj.bind(inside, dropout=dropout, fgsm=fgsm)

    def adaptive(self, level):
        return nj.on_entries((self.inputs(level, level / 2, level / 2), None))

    def families(self):
        groups = jnp.array(self.groups)

        def offset(level):
            def shifted(key, x):
                sign = jnp.sign(nj.uniform(key, jnp.zeros((1, len(self.numbers))), 1.0))
                return x.at[:, self.numbers].add(level * sign)

            return shifted

        def lost(level):
            def without(key, x):
                kept = nj.mask(key, jnp.ones(int(max(self.groups)) + 1), level)[groups][None]
                return jnp.where(kept > 0, x, self.fill[None])

            return without

        noises = {
            "missing": lambda v: nj.bind(nj.mask, rate=v, fill=self.fill, groups=self.groups),
            "wrong": lambda v: nj.bind(nj.swap, rate=v, groups=self.groups),
            "gaussian": lambda v: nj.on_columns(nj.bind(nj.gaussian, std=v), self.numbers),
            "heavy tails": lambda v: nj.on_columns(nj.bind(nj.student_t, scale=v, df=3.0), self.numbers),
            "offset": offset,
            "lost columns": lost,
        }
        return [robustness.Family(name, at, LEVELS) for name, at in noises.items()]


def smoothed(key, y, alpha):
    return nj.labels.smooth(y, alpha)


def each(predictors, x):
    return jax.vmap(lambda predictor: predictor(x)[0])(predictors)


def measure(name, *, seeds=SEEDS, sizes=SIZES, epochs=EPOCHS, each_=EACH):
    """Numbers of every recipe by seed."""
    table = next((kind.load(name) for kind in (_pictures, _sensors) if name in kind.NAMES), None) or load(name)
    if isinstance(table, str):
        return table
    test = min(sizes[2], len(table.frame) - sum(sizes[:2]))
    recipes = Recipes(table, table.split(0, (*sizes[:2], test)).fill)
    families = recipes.families()
    if isinstance(table, _pictures.Pictures):
        families[3:] = table.faults(LEVELS)
    mlp = functools.partial(robustness.mlp, classes=table.classes or None, seeds=1, epochs=epochs, batch_size=100)

    def within(key, data, noise):
        dropout, fgsm = (noise.amounts[n] if isinstance(noise, nj.Noise) else 0.0 for n in ("dropout", "fgsm"))
        return mlp(key, data, None, dropout, fgsm)

    singles = {n: r for n, r in SINGLE.items() if n not in INSIDE and (table.classes or n != "smoothing")}
    spaces = {n: robustness.Space(recipes, r) for n, r in singles.items()}
    mixture = {"mixture": robustness.Space(recipes, MIXTURE)}
    deep = {n: robustness.Space(recipes.inside, SINGLE[n]) for n in INSIDE}
    metric = "accuracy" if table.classes else "r2"
    runs = []
    for seed in range(seeds):
        key, rows = jax.random.key(seed), table.split(seed, (*sizes[:2], test))
        both = tuple(np.concatenate(parts) for parts in zip(rows.train, rows.valid, strict=True))
        options = {"clean_cost": 0.01, "metric": metric, "at_once": each_, "test": 0.02, "validation": 1 / 3}
        found = [
            robustness.tune(key, how, both, of, families[:3], budget=budget, **options)
            for how, of, budget in (
                (mlp, spaces, each_ * len(spaces)),
                (mlp, mixture, 3 * each_),
                (within, deep, each_ * len(deep)),
            )
        ]
        chosen = {"none": None}
        for recipe in (*singles, *INSIDE, "mixture"):
            allowed = [c for t in found for c in t.candidates if c.name in ("", recipe) and c.cost.mean <= 0.01]
            chosen[recipe] = max(allowed, key=lambda c: (float(c.gain.mean), c.name != ""))
        fit_key, models, seconds, levels = jax.random.fold_in(key, 1), {}, {}, None
        for recipe, candidate in chosen.items():
            started = time.process_time()
            noise = None if candidate is None else candidate.noise
            if recipe in INSIDE and noise is not None:
                amounts = noise.amounts
                models[recipe] = mlp(fit_key, both, None, *(jnp.float32(amounts[n]) for n in ("dropout", "fgsm")))
            else:
                models[recipe] = mlp(fit_key, both, recipes() if noise is None else noise)
            jax.block_until_ready(models[recipe])
            seconds[recipe] = time.process_time() - started
        started = time.process_time()
        options = {"classes": table.classes or None, "seeds": 1, "epochs": epochs, "batch_size": 100}
        fit = robustness.mlp_adaptive(fit_key, rows.train, recipes.adaptive, rows.valid, 0.5, 0.01, **options)
        models["adaptive"], levels = jax.block_until_ready(fit.predict), fit.level[0]
        seconds["adaptive"] = time.process_time() - started
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models.values())
        predict = jax.tree_util.Partial(each, stacked)
        report = robustness.sweep(key, predict, rows.test, families, metrics=[metric], draws=3, resamples=100)
        runs.append(numbers(report, list(models), chosen, seconds, float(levels[-1])))
        print(name, seed, {m: round(r["clean"], 3) for m, r in runs[-1]["models"].items()}, flush=True)
    return {"measured": measured(), "metric": metric, "rows": [*sizes[:2], test], "runs": runs}


def numbers(report, names, chosen, seconds, level):
    def by_model(family):
        values = report.scores(family)
        return values if values.ndim == 2 else np.average(values, axis=2, weights=report.counts)

    clean = by_model(None)[0]
    curves = {family: by_model(family) for family in report.levels}
    models = {}
    for n, name in enumerate(names):
        passes = [tolerated(curves[family][:, n], clean[n], 0.95 * clean[0]) for family in TUNED]
        models[name] = {
            "clean": float(clean[n]),
            **{family: float(curve[:, n].mean()) for family, curve in curves.items()},
            "at 0.3": {family: float(curve[2, n]) for family, curve in curves.items()},
            "tolerated": float(np.mean(passes)),
            "seconds": seconds[name],
        }
    amounts = {n: {**c.amounts, "gain": float(c.gain.mean), "cost": float(c.cost.mean)} for n, c in chosen.items() if c}
    return {"models": models, "chosen": amounts, "adaptive level": level}


def others(name):
    """The faults of a set that nothing was chosen for."""
    return _pictures.OTHERS if name in _pictures.NAMES else OTHERS


def tolerated(curve, clean, threshold):
    """The level at which a curve over 0 and the levels falls below a threshold; 0.5 if it never does."""
    levels, curve = np.array([0.0, *LEVELS]), np.array([clean, *curve])
    below = np.flatnonzero(curve < threshold)
    if not below.size:
        return levels[-1]
    n = below[0]
    if n == 0:
        return 0.0
    return levels[n - 1] + (curve[n - 1] - threshold) / (curve[n - 1] - curve[n]) * (levels[n] - levels[n - 1])


def best_single(run):
    """The recipe that validation rows prefer, apart from the mixtures."""
    found = {name: c["gain"] for name, c in run["chosen"].items() if name != "mixture"}
    return max(found, key=lambda name: found[name])


def paired(runs, recipe, base, what):
    """Mean and half-width of the 95 % interval of a difference, in points."""

    def value(run, name):
        name = best_single(run) if name == "best single" else name
        parts = (what,) if isinstance(what, str) else what
        return float(np.mean([run["models"][name][part] for part in parts]))

    d = 100 * np.array([value(run, recipe) - value(run, base) for run in runs])
    return d.mean(), stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="*", default=ALL, choices=ALL, metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="a few rows and noises; nothing is written")
    arguments = parser.parse_args()
    small = {"seeds": 2, "sizes": (200, 100, 100), "epochs": 2, "each_": 2} if arguments.smoke else {}
    for name in arguments.tables:
        stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        if name in stored and not arguments.smoke:
            print(f"{name} is stored; delete it from {RESULTS.name} to run it again.")
            continue
        found = measure(name, **small)
        if isinstance(found, str):
            print(found)
        elif not arguments.smoke:
            stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            text = json.dumps({**stored, name: found}).replace('}, "', '},\n"')
            partial = RESULTS.with_suffix(".partial")
            partial.write_text(text + "\n")
            partial.replace(RESULTS)


if __name__ == "__main__":
    main()
