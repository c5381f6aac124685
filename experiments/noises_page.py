"""Writes docs/results/noises.md from the results of `experiments.noises`: ``python -m experiments.noises_page``"""

import json
from pathlib import Path

import numpy as np

from experiments import noises
from experiments._tables import MORE

PAGE = Path(__file__).parents[1] / "docs" / "results" / "noises.md"
RECIPES = ("gaussian", "masking", "swapping", "mixup", "smoothing", "dropout", "adversarial", "best single", "mixture")
HELD_OUT = tuple(MORE)


def cell(mean: float, half: float) -> str:
    text = f"{mean:+.1f} ± {half:.1f}"
    return f"**{text}**" if abs(mean) > half else text


def of(run: dict, recipe: str) -> dict:
    return run["models"][noises.best_single(run) if recipe == "best single" else recipe]


def table(name: str, found: dict) -> str:
    """One table: differences from no noise, and the tolerated level."""
    runs = found["runs"]
    clean = np.mean([run["models"]["none"]["clean"] for run in runs])
    tolerated = np.mean([run["models"]["none"]["tolerated"] for run in runs])
    lines = [
        f"## {name}{' (first looked at with the final protocol)' if name in HELD_OUT else ''}",
        "",
        f"Without noise: {found['metric']} {clean:.3f}, tolerated level {tolerated:.2f}. {found['rows'][2]} test rows.",
        "",
        "| recipe | clean | the faults it was chosen for | other faults | tolerated level | training time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    later = runs[1:] or runs  # the first seed compiles
    unit = np.mean([run["models"]["none"]["seconds"] for run in later])
    for recipe in (*RECIPES, "adaptive"):
        if recipe not in ("best single", *runs[0]["models"]):
            continue
        columns = [noises.paired(runs, recipe, "none", what) for what in ("clean", noises.TUNED, noises.others(name))]
        level = np.mean([of(run, recipe)["tolerated"] for run in runs])
        time = np.mean([of(run, recipe)["seconds"] for run in later]) / unit
        lines.append(f"| {recipe} | {' | '.join(cell(*c) for c in columns)} | {level:.2f} | × {time:.1f} |")
    chosen = {r: sum(noises.best_single(run) == r for run in runs) for r in noises.SINGLE}
    kept = ", ".join(f"{r} ({n})" for r, n in chosen.items() if n)
    beats = noises.paired(runs, "mixture", "best single", noises.others(name))
    lines += ["", f"Best single, by seed: {kept}. Mixture minus best single under other faults: {cell(*beats)}.", ""]
    return "\n".join(lines)


def summary(stored: dict) -> str:
    """On how many sets the interval of each recipe is above or below 0, and the best one of each set."""
    lines = [
        "| recipe | sets | clean | the faults it was chosen for | other faults |",
        "| --- | --- | --- | --- | --- |",
    ]
    best: dict[str, tuple[float, float, str]] = {}
    for recipe in (*RECIPES, "adaptive"):
        sets = {n: t["runs"] for n, t in stored.items() if recipe == "best single" or recipe in t["runs"][0]["models"]}
        cells = []
        for what in ("clean", "tuned", "others"):
            signs = []
            for name, runs in sets.items():
                parts = {"clean": "clean", "tuned": noises.TUNED, "others": noises.others(name)}[what]
                mean, half = noises.paired(runs, recipe, "none", parts)
                signs.append(int(mean > half) - int(mean < -half))
                if what == "others" and recipe != "best single":
                    best[name] = max(best.get(name, (-np.inf, 0.0, "")), (mean, half, recipe))
            cells.append(f"{signs.count(1)} better, {signs.count(-1)} worse")
        lines.append(f"| {recipe} | {len(sets)} | {' | '.join(cells)} |")
    winners = [f"{name}: {recipe} {cell(mean, half)}" for name, (mean, half, recipe) in best.items()]
    nothing = [name for name, (mean, half, _) in best.items() if mean <= half]
    return f"""Sets on which the interval of the difference to no noise is above or below 0:

{chr(10).join(lines)}

The recipe with the largest gain under faults that nothing was chosen for, picked on the test rows:

{chr(10).join(f"- {line}" for line in winners)}

Sets without a recipe whose gain there exceeds its interval: {", ".join(nothing) or "none"}.
"""


def main() -> None:
    stored = json.loads(noises.RESULTS.read_text())
    protocol = (noises.__doc__ or "").split("Protocol, fixed before the runs that are stored:")[1].strip()
    missing = [name for name in noises.ALL if name not in stored]
    found = {n: noises.paired(t["runs"], "mixture", "best single", noises.others(n)) for n, t in stored.items()}
    wins, losses = (sum(sign * m > h for m, h in found.values()) for sign in (1, -1))
    head = f"""# Which noise helps on tables

Nine recipes of training noise on {len(stored)} of {len(noises.ALL)} sets (nine tables, two sets of pictures as pixels,
two of sensors), against the same network trained without noise. Differences are in points of accuracy, or of 100 R².
Bold intervals exclude 0.

Under faults that no amount was chosen for, the tuned mixture is better than the best single recipe on {wins} of the
{len(stored)} measured sets, and worse on {losses}. No difference is shown on the others. The bar was a win on most
sets: {"met" if 2 * wins > len(stored) else "**missed**"}.

{summary(stored)}
## Protocol

{protocol}
"""
    if missing:
        head += f"\nNot measured yet: {', '.join(missing)}. `python -m experiments.noises` runs what is missing.\n"
    body = "\n".join(table(name, stored[name]) for name in noises.ALL if name in stored)
    made = sorted({t["measured"] for t in stored.values()})
    PAGE.write_text(f"{head}\n{body}\n*{'; '.join(made)}. Made by `python -m experiments.noises_page`.*\n")


if __name__ == "__main__":
    main()
