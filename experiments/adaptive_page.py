"""The pages about adaptive levels, made from the stored results.

python -m experiments.adaptive_page            write docs/results/adaptive.md and adaptive-simulation.md
python -m experiments.adaptive_page --check    exit with 1 if a page is not what the results say
"""

import argparse
import inspect
import json
import sys
import textwrap
from pathlib import Path

import numpy as np

from experiments import adaptive_simulation as simulation, adaptive_tables as tables

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "results"
WHAT = ("clean", *tables.FAULTS)
SHOWN = {
    "ratchet, patience 1": "former rule, patience 1",
    "ratchet, patience 2": "former rule, patience 2",
    "means": "means, raised at e / 2, long memory of the scatter",
    "means, short memory": "means, raised at e / 2",
    "raise at once": "means, raised at 0",
    "proportional": "proportional to the margin",
    "library": "**`nj.adaptive`: means, raised at e / 4**",
}
FAR = {"Diamonds": 40}  # standard deviations, beyond which a value of the test rows is impossible
WRAP: dict = {"break_long_words": False, "break_on_hyphens": False}


def grid(head, rows) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def listed(names) -> str:
    names = list(names)
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def rules(cells) -> str:
    """The rules with an exact reference, averaged over epochs and kinds of learning."""
    rows = []
    for rule, shown in SHOWN.items():
        row = [shown]
        for scatter in simulation.SCATTERS:
            wanted = {"reference": "exact", "rule": rule, "scatter": scatter}
            bias, spread, rms, regret, false = (
                simulation.mean(cells, name, **wanted)
                for name in ("bias", "spread", "rms", "regret", "false back-offs")
            )
            row.append(f"{bias:+.2f} / {spread:.2f} / {rms:.3f} / {regret:.2f} / {false:.0%}")
        rows.append(row)
    return grid(["rule", *(f"scatter {s:g} × tolerance" for s in simulation.SCATTERS)], rows)


def by_epochs(cells) -> str:
    rows = []
    for rule in ("ratchet, patience 1", "ratchet, patience 2", "library"):
        row = [SHOWN[rule]]
        for epochs in simulation.EPOCHS:
            found = [
                simulation.mean(cells, "rms", reference="exact", rule=rule, epochs=epochs, scatter=scatter)
                for scatter in simulation.SCATTERS
            ]
            row.append(" / ".join(f"{rms:.3f}" for rms in found))
        rows.append(row)
    return grid(["rms", *(f"{epochs} epochs" for epochs in simulation.EPOCHS)], rows)


def by_reference(cells) -> str:
    rows = []
    for reference in simulation.REFERENCES:
        row = [reference]
        for rule in ("ratchet, patience 1", "ratchet, patience 2", "library"):
            wanted = {"reference": reference, "rule": rule, "scatter": 1.0}
            bias, rms, regret = (simulation.mean(cells, name, **wanted) for name in ("bias", "rms", "regret"))
            row.append(f"{bias:+.2f} / {rms:.3f} / {regret:.2f}")
        rows.append(row)
    return grid(["reference", *(SHOWN[r] for r in ("ratchet, patience 1", "ratchet, patience 2", "library"))], rows)


def near(name, found) -> np.ndarray:
    return np.array(found["furthest test value"]) < FAR.get(name, np.inf)


def points(found, recipe, base, keep=slice(None)) -> dict[str, tuple[float, float]]:
    test = found["test"]
    return {w: tables.paired(np.array(test[recipe][w])[keep], np.array(test[base][w])[keep]) for w in WHAT}


def shown(interval) -> str:
    mean, half = interval
    text = f"{mean:+.1f} ± {half:.1f}"
    return f"**{text}**" if abs(mean) > half else text


def table_rows(stored, recipes, base):
    rows = []
    for name, found in stored.items():
        for recipe, label in recipes.items():
            rows.append([name, label, *(shown(i) for i in points(found, recipe, base).values())])
            keep = near(name, found)
            if not keep.all() and keep.sum() > 2:
                left = f"{label}, {keep.sum()} seeds*"
                rows.append([name, left, *(shown(i) for i in points(found, recipe, base, keep).values())])
    return rows


def losses(found) -> list[str]:
    """Where the adaptive mixture is worse than the fixed one, by an interval that excludes 0."""
    return [w for w, (mean, half) in points(found, "adaptive", "fixed").items() if mean + half < 0]


def gains(stored, recipe, what) -> list[str]:
    return [name for name, found in stored.items() if np.diff(points(found, recipe, "none")[what])[0] < 0]


def verdicts(stored) -> str:
    lines = []
    for name, found in stored.items():
        worse, difference = losses(found), points(found, "adaptive", "fixed")
        better = [w for w, (mean, half) in difference.items() if mean - half > 0]
        words = {"clean": "on clean rows", "missing": "with missing values", "wrong values": "with wrong values"}
        words |= {"gaussian": "under Gaussian noise"}
        text = "no loss shown" if not worse else "no: it is worse " + listed(words[w] for w in worse)
        if better:
            text += f"{';' if worse else ', and'} it is better " + listed(words[w] for w in better)
        levels = found["levels"]
        lines.append(
            [
                name,
                text,
                f"{np.mean(levels['adaptive']):.2f} ({min(levels['adaptive']):.2f} to {max(levels['adaptive']):.2f})",
                f"{np.mean(levels['largest harmless']):.2f}",
                f"{np.mean(levels['tuned']):.2f}",
            ]
        )
    head = ["table", "at least the gain of the fixed mixture, at no more clean cost?"]
    return grid([*head, "level: adaptive", "largest harmless", "tuned"], lines)


def by_level(stored) -> str:
    """The clean cost and the mean gain over the faults of every fixed level, in points."""
    rows = []
    for name, found in stored.items():
        clean = found["test"]["none"]
        row = [name]
        for level in tables.LEVELS:
            at = found["by level"][str(level)]
            cost, gain = (
                np.mean([tables.paired(at[what], clean[what])[0] for what in group]) for group in (WHAT[:1], WHAT[1:])
            )
            row.append(f"{cost:+.1f} / {gain:+.1f}")
        row.append(f"{points(found, 'adaptive', 'none')['clean'][0]:+.1f} / {gain_of(found, 'adaptive'):+.1f}")
        rows.append(row)
    return grid(["table", *(f"level {level:g}" for level in tables.LEVELS), "adaptive"], rows)


def protocol(module) -> str:
    text = inspect.getdoc(module) or ""
    return text[text.index("Protocol") :]


def bullets(*texts) -> str:
    return "\n".join(textwrap.fill(t, 120, initial_indent="- ", subsequent_indent="  ", **WRAP) for t in texts)


def paragraph(text) -> str:
    return textwrap.fill(" ".join(text.split()), 120, **WRAP)


def of(names, stored) -> str:
    """A count of tables, and which ones are not among them."""
    others = [name for name in stored if name not in names]
    return f"all {len(stored)} tables" if not others else f"{len(names)} of {len(stored)} tables (not {listed(others)})"


def gainers(stored, what) -> str:
    fixed, adaptive = (of(gains(stored, recipe, what), stored) for recipe in ("fixed", "adaptive"))
    apart = f"the fixed one gains on {fixed}, and the adaptive one on {adaptive}"
    return f"both gain on {fixed}" if fixed == adaptive else apart


def costs(stored, recipe) -> str:
    return ", ".join(
        f"{name.split()[0]} {shown(points(found, recipe, 'none')['clean'])}" for name, found in stored.items()
    )


def headline(cells, stored) -> str:
    def figure(name, rule):
        return simulation.mean(cells, name, reference="exact", rule=rule, scatter=1.0)

    new, one, two = "library", "ratchet, patience 1", "ratchet, patience 2"
    rms, bias, false = (lambda rule, name=name: figure(name, rule) for name in ("rms", "bias", "false back-offs"))
    missing, wrong, gaussian = (gainers(stored, fault) for fault in tables.FAULTS)
    holds = [name for name, found in stored.items() if not losses(found)]
    return bullets(
        f"**In simulation**, with scatter as large as the tolerance, the level settles {rms(new):.3f} (rms) from its "
        f"target of {simulation.TARGET}, {abs(bias(new)):.2f} too {'low' if bias(new) < 0 else 'high'} on average. The "
        f"former rule, which compared with the best of noisy values, settles {rms(one):.3f} from it and "
        f"{-bias(one):.2f} too low ({rms(two):.3f} and {-bias(two):.2f} with a patience of 2). Of the epochs at a "
        f"level that is allowed, {false(new):.0%} end in a back-off, and with the former rule {false(one):.0%} "
        f"({false(two):.0%}).",
        "**A mixture of noise gains on real tables**, at a fixed level of "
        f"{tables.FIXED} and at an adaptive one. With missing values in the test rows, {missing}. With wrong values, "
        f"{wrong}. Under Gaussian noise, {gaussian}.",
        "**The adaptive level keeps the clean cost near what it is allowed; it does not gain more.** It was allowed a "
        f"point. In points, it changed the clean metric by: {costs(stored, 'adaptive')}. The fixed level changed it "
        f"by: {costs(stored, 'fixed')}.",
        "**It does not give the gain of the fixed mixture everywhere.** No loss against the fixed mixture is shown, "
        f"neither of gain nor of clean metric, on {listed(holds)}. There is a loss on "
        f"{listed(name for name in stored if name not in holds)}: the last table below says where.",
    )


def lessons(cells) -> str:
    def figure(name, rule="library", **wanted):
        return simulation.mean(cells, name, rule=rule, **{"reference": "exact", "scatter": 1.0} | wanted)

    twenty, hundred = (figure("rms", epochs=epochs) for epochs in (20, 100))
    right, wrong = (figure("rms", reference=reference) for reference in ("exact", "error of the tolerance"))
    former = figure("rms", "ratchet, patience 2", reference="error of the tolerance")
    epochwise, half = (figure("rms", reference=r) for r in (simulation.BY_EPOCH, "error of half the tolerance"))
    thresholds = ("raise at once", "library", "means, short memory")
    bias, regret = ([figure(name, rule) for rule in thresholds] for name in ("bias", "regret"))
    return bullets(
        "**An error in the reference cannot be repaired.** At the size of the tolerance it raises the rms from "
        f"{right:.3f} to {wrong:.3f}, and most of the advantage over the former rule ({former:.3f}) is gone. Use a "
        "clean run with the same seed and the same validation rows, averaged over several epochs.",
        "**A missing reference cannot be repaired either.** What the model still learns hides the cost of the noise: "
        f"with scatter of half the tolerance, the level settles {figure('bias', reference='none', scatter=0.5):.2f} "
        "too high.",
        "**Comparing epoch by epoch is nearly as good as an exact reference**, although the clean run scatters as "
        f"much: the rms is {epochwise:.3f}. The mean of that run's last five epochs has an error of {1 / 5**0.5:.2f} "
        f"of the tolerance; with an error of half of it the rms is {half:.3f}.",
        f"**Twenty epochs are few.** The rms is {twenty:.3f} after 20 epochs and {hundred:.3f} after 100.",
        f"Raising at a margin of 0, e / 4 and e / 2 gives a bias of {bias[0]:+.3f}, {bias[1]:+.3f} and {bias[2]:+.3f}, "
        f"and a regret of {regret[0]:.2f}, {regret[1]:.2f} and {regret[2]:.2f}. A level that is too high costs clean "
        "accuracy, so the library raises at e / 4.",
    )


def advice(stored) -> str:
    late = "adaptive, last epochs"
    less = [name for name, found in stored.items() if gain_of(found, late) < gain_of(found, "adaptive")]
    runs = len(tables.LEVELS) + 1
    return bullets(
        "R² without noise falls far below 0 under the faults of CASP, hence gains of more than 100 points.",
        careful(stored),
        f"The adaptive level takes two runs, the clean one included. `largest harmless` and `tuned` take {runs}.",
        "Use a fixed level if you know a good one. Tune it if you know the faults and can afford the runs. Use an "
        "adaptive level if the clean cost has to stay near an amount that you choose.",
        "Compare each epoch with the same epoch of the clean run: `a.init(reference=0.0)`, then `a.update(s, "
        "value=metric - clean[epoch])` with an absolute tolerance. A reference from the last epochs holds the level "
        "down until the model has learnt, and its gains, averaged over the faults, are smaller on "
        f"{of(less, stored)}.",
    )


def careful(stored) -> str:
    """What the adaptive level gains over the highest fixed level that costs as little, where the cost is measured."""
    measured = {n: f for n, f in stored.items() if points(f, "adaptive", "none")["clean"][1] < 2}

    def worst(metrics) -> float:
        costs = (tables.paired(f["test"]["none"]["clean"], metrics(f)["clean"])[0] for f in measured.values())
        return max(costs)

    allowed = 2.0
    fits = [v for v in tables.LEVELS if worst(lambda f, v=v: f["by level"][str(v)]) < allowed]
    highest = str(max(fits))
    more, less = [], []
    for name, found in measured.items():
        adaptive, fixed = (
            np.mean([metrics[fault] for fault in tables.FAULTS], 0)
            for metrics in (found["test"]["adaptive"], found["by level"][highest])
        )
        mean, half = tables.paired(adaptive, fixed)
        shorter = f"{name.split()[0]} ({mean:+.1f} ± {half:.1f})"
        if abs(mean) > half:
            (more if mean > 0 else less).append(shorter)
    lost = f"; it gains less on {listed(less)}" if less else ""
    return (
        f"The highest of the fixed levels that costs less than {allowed:g} points on every table (but Diamonds, where "
        f"the intervals are too wide to say) is {highest}. The adaptive level costs at most "
        f"{worst(lambda f: f['test']['adaptive']):.1f}. Its gain, averaged over the faults, is larger than that of "
        f"this fixed level on {listed(more)}{lost}."
    )


def gain_of(found, recipe) -> float:
    return float(np.mean([mean for what, (mean, _) in points(found, recipe, "none").items() if what != "clean"]))


def page() -> str:
    simulated = json.loads(simulation.RESULTS.read_text())
    cells, when = simulated["cells"], simulated["settings"]["measured"]
    stored = json.loads(tables.RESULTS.read_text())
    stored = {name: stored[name] for name in tables.SOURCES if name in stored}
    recipes = {"fixed": f"fixed, {tables.FIXED}", "adaptive": "adaptive"}
    recipes |= {name: name for name in ("largest harmless", "tuned")}
    against = {name: f"{name} - fixed" for name in ("adaptive", "adaptive, last epochs")}
    clean = listed(f"{np.mean(f['test']['none']['clean']):.3f} ({n.split()[0]})" for n, f in stored.items())
    parts = [
        "# Adaptive levels, in simulation and on six tables",
        paragraph(
            """`nj.adaptive` raises the level of a noise while a validation metric stays within a tolerance of a
            reference, such as the metric of a run without noise. This page says what that is worth. It is written by
            `python -m experiments.adaptive_page` from the results of `experiments/adaptive_simulation.py` and
            `experiments/adaptive_tables.py`. [The simulation](adaptive-simulation.md) has a page of its own."""
        ),
        headline(cells, stored),
        "## On six tables",
        protocol(tables),
        paragraph(
            f"""Differences from the same network trained without noise, in points of accuracy, or of 100 R² for CASP
            and Diamonds. Bold intervals exclude 0. Without noise the clean metrics are {clean}."""
        ),
        grid(["table", "recipe", *WHAT], table_rows(stored, recipes, "none")),
        paragraph(
            f"""\\* Without the seeds whose test rows have a value beyond {FAR["Diamonds"]} standard deviations.
            Diamonds has three stones with a recorded width or depth of 32 to 59 mm, which is impossible, and such a
            row alone lowers R² by up to 0.3. These lines were added after the results had been seen."""
        ),
        "The adaptive mixture compared with the fixed one:",
        grid(["table", "recipes", *WHAT], table_rows(stored, against, "fixed")),
        verdicts(stored),
        "The change of the clean metric, and the mean gain over the three faults, for every fixed level:",
        by_level(stored),
        advice(stored),
        f"*Simulation: {when}. Tables: {listed(sorted({found['measured'] for found in stored.values()}))}.*",
    ]
    return "\n\n".join(parts) + "\n"


def simulation_page() -> str:
    simulated = json.loads(simulation.RESULTS.read_text())
    cells = simulated["cells"]
    parts = [
        "# Adaptive levels, in simulation",
        paragraph(
            """How far does an adaptive level settle from the level that it should find, when the metric is noisy?
            [What it is worth on tables](adaptive.md) is another page. Both are written by `python -m
            experiments.adaptive_page`."""
        ),
        protocol(simulation).split("\n\nRules:")[0],
        paragraph(
            f"""With an exact reference, averaged over the lengths of the run and both kinds of learning. A cell has the
            bias, the spread and the rms of the settled level (the target is {simulation.TARGET}), the regret and the
            share of false back-offs."""
        ),
        rules(cells),
        "The rms by length of the run, for scatter of 1/2, 1 and 2 times the tolerance:",
        by_epochs(cells),
        "The bias, the rms and the regret for scatter equal to the tolerance, by kind of reference:",
        by_reference(cells),
        lessons(cells),
        f"*{simulated['settings']['measured']}. Made by `python -m experiments.adaptive_simulation`.*",
    ]
    return "\n\n".join(parts) + "\n"


PAGES = {"adaptive.md": page, "adaptive-simulation.md": simulation_page}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    texts = {FOLDER / name: made() for name, made in PAGES.items()}
    if parser.parse_args().check:
        sys.exit(any(path.read_text() != text for path, text in texts.items()))
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
