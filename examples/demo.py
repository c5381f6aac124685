"""The effect of training noise on robustness: ten recipes, two real tables, three kinds of noise in the test rows.

    make demo        (or: python examples/demo.py)

All models are the same small network, trained with five seeds at once. A recipe is a dict of amounts. The test rows
receive noise from 0 to 50 %, with the same draws for every model. A model passes while it keeps 95 % of the baseline's
accuracy on clean rows. The script prints the table, and writes figures and numbers to examples/out/.
"""

import json
import os
import time
from pathlib import Path

import _tables
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import noisejax as nj
from noisejax import robustness

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SPLIT = 1  # the split into training and test rows; the amounts below were chosen on split 0
SHARE, AT = 0.95, 0.3  # the share of the baseline's clean accuracy to keep; the level of comparison
SEEDS, LEVELS = (2, np.array([0, AT, 0.5])) if QUICK else (5, np.linspace(0, 0.5, 11))
OUT = Path(__file__).parent / "out"
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running

# An amount that is not named is 0, the identity. Amounts are traced, so one program per table trains every recipe.
RECIPES = {
    "baseline": {},
    "+ gaussian": {"gaussian": 0.2},  # std, on standardized numbers
    "+ masking": {"mask": 0.2},  # rate; a masked cell becomes the mean or the most frequent category
    "+ swap": {"swap": 0.2},  # rate; a cell takes the value of a different row
    "+ dropout": {"dropout": 0.2},  # rate, on hidden units
    "+ mixup": {"mixup": 0.2},
    "+ adversarial (FGSM)": {"fgsm": 0.05},
    "mixture": {"gaussian": 1.0, "mask": 0.5, "swap": 0.5, "level": 0.2},  # an example's level is from 0 to 0.2
    "mixture, adaptive": "adaptive",
}
TOO_MUCH = {"gaussian": 2.0, "mask": 0.5, "swap": 0.5}
ON_DIGITS = {"no noise": {}, "gaussian, std 0.5": {"gaussian": 0.5}, "gaussian, std 2": {"gaussian": 2.0}}
AMOUNTS = ("gaussian", "mask", "swap", "dropout", "mixup", "fgsm", "level")
FAINT = ("+ dropout", "+ mixup", "+ adversarial (FGSM)")  # drawn in grey


def recipe_noise(table):
    """The training noise of all recipes, as a function of their amounts: an amount of 0 is the identity."""
    numbers = np.flatnonzero(table.numeric)

    def inputs(a, level):
        return nj.chain(
            nj.bind(nj.swap, rate=level * a["swap"], groups=table.groups),
            nj.bind(nj.mask, rate=level * a["mask"], fill=table.fill, groups=table.groups),
            nj.on_columns(nj.bind(nj.gaussian, std=level * a["gaussian"]), numbers),
        )

    def noise(a, key, batch):
        # In a mixture each example has its own level, between 0 and the given one.
        varied = a["level"] * nj.uniform(jax.random.fold_in(key, 1), jnp.full((len(batch[0]), 1), 0.5), 0.5)
        level = jnp.where(a["level"] > 0, varied, 1.0)
        mixup = nj.bind(nj.mixup, alpha=a["mixup"], num_classes=table.classes, mode="batch")
        return nj.chain(mixup, nj.on_entries((inputs(a, level), None)))(key, batch)

    return noise, lambda level: nj.on_entries((inputs(RECIPES["mixture"], level), None))


def test_noises(table):
    """Three faults. Their level is the share of cells that are hit, or the std relative to the spread of a feature."""
    rows = nj.marginals(table.train[0], rows=None)
    numbers = np.flatnonzero(table.numeric)
    faults = {
        "replaced": lambda level: nj.bind(nj.mask, rate=level, fill=rows, groups=table.groups),
        "missing": lambda level: nj.bind(nj.mask, rate=level, fill=table.fill, groups=table.groups),
        "gaussian": lambda level: nj.on_columns(nj.bind(nj.gaussian, std=level), numbers),
    }
    return [robustness.Family(name, noise_at, LEVELS) for name, noise_at in faults.items()]


def measure(bar, table, recipes, noises, **settings):
    """Trains and sweeps every recipe, the baseline first. Returns reports by name, and the adaptive recipe's levels."""
    (noise, noise_at), reports, levels = recipe_noise(table), {}, None
    settings = {"classes": table.classes, "seeds": SEEDS, "batch_size": 256, "weight_decay": 1e-4} | settings
    for name, recipe in recipes.items():
        bar.update(bar.task_ids[0], description=f"{table.name}: {name}")
        if recipe == "adaptive":  # the level rises while validation is within a point of training without noise
            fit = robustness.mlp_adaptive(
                jax.random.key(0), table.train, noise_at, table.valid, ceiling=0.5, tolerance=0.01, **settings
            )
            predict, levels = fit.predict, np.asarray(fit.level)
        else:
            a = {amount: jnp.float32(recipe.get(amount, 0)) for amount in AMOUNTS}
            predict = robustness.mlp(
                jax.random.key(0), table.train, jax.tree_util.Partial(noise, a), a["dropout"], a["fgsm"], **settings
            )
        reports[name] = robustness.sweep(jax.random.key(1), predict, table.test, noises)
        bar.advance(bar.task_ids[0])
    return reports, levels


def show(console, table, reports, levels, axes):
    """Prints the table, plots the curves and returns the numbers."""
    base, majority = reports["baseline"], np.bincount(table.test[1]).max() / len(table.test[1])
    threshold = SHARE * base.clean().mean
    rows = robustness.compare(reports, "baseline", level=AT, share=SHARE)
    sizes = f"{len(table.train[0]):,} training rows, {len(table.features)} features, {len(table.test[0]):,} test rows"
    grid = Table(
        "model", "clean accuracy", *(f"passes: {f}" for f in base.levels), "notes", title=f"{table.name}, {sizes}"
    )
    for name, row in rows.items():
        notes = "" if name == "baseline" else row.notes(percent=True) or "no difference shown"
        grid.add_row(name, f"{row.clean:.3f}", *(f"{passes:.0%}" for passes in row.passes.values()), notes)
    console.print(grid)
    text = (
        f"Passes: the noise level up to which a model keeps {SHARE:.0%} of the baseline's clean accuracy "
        f"({threshold:.3f}; always predicting the larger class gives {majority:.3f}). ± and brackets: 95 % intervals "
        "over seeds and test rows. Notes: paired accuracy difference from the baseline, in points, where it is "
        "significant at 5 % after Holm's correction. Final level of the adaptive mixture, by seed: "
        f"{', '.join(f'{level:.2f}' for level in levels[:, -1])}.\n"
    )
    console.print(text, highlight=False)
    robustness.plot(reports, threshold=threshold, chance=majority, faint=FAINT, percent=True, axes=axes)
    axes[0].set_ylabel(f"accuracy, {table.name}")
    models = {name: {**rows[name].numbers(), **report.summary()} for name, report in reports.items()}
    for name, report in reports.items():
        models[name]["passes, share 0.97"] = {f: str(p) for f, p in report.tolerance(0.97, base).items()}
    return {"threshold": threshold, "majority": majority, "levels by seed, round": levels.tolist(), "models": models}


def show_harm(console, hurt):
    grid = Table("model", "training noise", "clean accuracy", "points vs. no noise", "", title="Where noise hurts")
    numbers = {}
    for model, (none, *others) in hurt.items():
        for name, report in others:
            lost = report.difference(none[1])
            verdict = "hurts" if lost.upper < 0 else "helps" if lost.lower > 0 else "no difference shown"
            grid.add_row(model, name, f"{report.clean():.3f}", f"{lost.scaled(100):+.1f}", verdict)
            numbers[f"{model}: {name}"] = lost._asdict()
    console.print(grid)
    return numbers


def draw_features(table, wanted=("age", "hours-per-week", "education-num", "marital-status")):
    key, x = jax.random.key(2), jnp.asarray(table.test[0])
    names = [name for name in wanted if name in table.features] or table.features[:4]
    noisy = {family.name: family.noise_at(AT)(key, x) for family in test_noises(table)}
    before, *after = ({name: table.column(rows, name) for name in names} for rows in (x, *noisy.values()))
    return robustness.plot_features(before, dict(zip(noisy, after, strict=True)), names)


def main():
    console, started, cpu = Console(), time.time(), time.process_time()
    tables = [_tables.adult(SPLIT, download=not QUICK), *([] if QUICK else [_tables.magic(SPLIT)])]
    settings = [{"epochs": 4}] if QUICK else [{"epochs": 24}, {"epochs": 20}]
    recipes = [RECIPES | {"too much noise": TOO_MUCH}, RECIPES]
    tiny = {"epochs": 30, "seeds": 2 * SEEDS, "batch_size": 25, "learning_rate": 5e-3}
    kinds = {} if QUICK else {"linear model": (), "network": (64, 64)}
    with Progress(console=console) as bar:
        bar.add_task("", total=len(tables) * len(RECIPES) + 1 + len(kinds) * len(ON_DIGITS))
        jobs = list(zip(tables, recipes, settings, strict=False))
        found = [measure(bar, table, recipe, test_noises(table), **setting) for table, recipe, setting in jobs]
        digits = _tables.digits(SPLIT)
        tests = {kind: measure(bar, digits, ON_DIGITS, [], hidden=hidden, **tiny)[0] for kind, hidden in kinds.items()}
        bar.update(bar.task_ids[0], description="done")

    console.print(f"Amounts were chosen on split 0. Results are for split {SPLIT}, with {SEEDS} seeds of each model.")
    console.print("This run has a tiny budget: its numbers mean nothing.\n" if QUICK else "")
    too_much = ("too much noise", found[0][0].pop("too much noise"))
    size = (10, 3 * len(tables) + 0.4)
    figure, axes = plt.subplots(len(tables), 3, figsize=size, sharey="row", squeeze=False, layout="constrained")
    numbers = {table.name: show(console, table, *f, row) for table, f, row in zip(tables, found, axes, strict=True)}
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    hurt = {f"{tables[0].name}, network": [("baseline", found[0][0]["baseline"]), too_much]}
    hurt |= {f"300 digits, {kind}": list(reports.items()) for kind, reports in tests.items()}
    numbers["where noise hurts"] = show_harm(console, hurt)

    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "demo.png", dpi=100)
    draw_features(tables[0]).savefig(OUT / "features.png", dpi=110)
    (OUT / "demo.json").write_text(json.dumps(numbers, indent=1))
    console.print(f"\nSaved demo.png, features.png and demo.json in {OUT}.", highlight=False)
    console.print(f"{time.process_time() - cpu:.0f} s of processor time, {time.time() - started:.0f} s of wall time.")


if __name__ == "__main__":
    main()
