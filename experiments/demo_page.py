"""The page about the demo, made from its numbers.

python -m experiments.demo_page                 write docs/results/robustness.md from the stored numbers
python -m experiments.demo_page examples/out    store the numbers and the picture of a run of the demo first
"""

import argparse
import json
from pathlib import Path

from experiments import measured
from experiments.adaptive_page import bullets, grid, paragraph

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results" / "demo.json"
PAGE, PICTURE = ROOT / "docs" / "results" / "robustness.md", ROOT / "docs" / "assets" / "demo.png"
NAMES = {
    "baseline": "no noise (baseline)",
    "mixture": "mixture, at a fixed level",
    "mixture, adaptive": "mixture, at an adaptive level",
}
FAULTS = ("replaced", "missing", "gaussian")


def points(interval: dict) -> str:
    """A difference in points with half of its interval, bold where that excludes 0."""
    half = (interval["upper"] - interval["lower"]) / 2
    text = f"{100 * interval['mean']:+.1f} ± {100 * half:.1f}"
    return text if interval["lower"] <= 0 <= interval["upper"] else f"**{text}**"


def percent(tolerated: str) -> str:
    """`'0.314 (0.271, 0.362)'` as 31, and `'≥ 0.5'` as ≥ 50."""
    level = tolerated.split(" (")[0]
    return f"≥ {100 * float(level[2:]):.0f}" if level.startswith("≥") else f"{100 * float(level):.0f}"


def row(name: str, tables: dict) -> list[str]:
    cells = [NAMES.get(name, name)]
    for table in tables.values():
        model = table["models"][name]
        half = (model["clean"]["upper"] - model["clean"]["lower"]) / 2
        cells.append(f"{model['clean']['mean']:.3f} ± {half:.3f}")
        cells.append(f"{' / '.join(percent(model['passes'][fault]) for fault in FAULTS)} %")
    return cells


def gains(tables: dict) -> list[list[str]]:
    """The differences of each recipe at 30 % of each fault, and on clean rows, by table."""
    rows = []
    for title, table in tables.items():
        for name, model in table["models"].items():
            if name != "baseline":
                faults = (points(model["differences at 0.3"][fault]) for fault in FAULTS)
                rows.append([NAMES.get(name, name), title, *faults, points(model["clean difference"])])
    return rows


def page() -> str:
    stored = json.loads(RESULTS.read_text())
    when, hurt = stored.pop("measured"), stored.pop("where noise hurts")
    names = next(iter(stored.values()))["models"]
    head = [title for table in stored for title in (f"{table}, clean", "tolerates")]
    parts = [
        "# Robustness of networks trained with noise",
        "![Accuracy against growing noise in the test rows, two tables, three kinds of noise](../assets/demo.png)",
        paragraph(
            "Each curve is a network trained with one recipe of noise, tested under noise that grows to 50 %. Bands "
            "are 95 % intervals over five seeds and the test rows. The dashed line is 95 % of the baseline's clean "
            "accuracy. The dotted line is the accuracy of always predicting the larger class.",
        ),
        paragraph(
            "The table gives the noise level at which accuracy drops below the dashed line. The three levels are for "
            "cells **replaced** by those of a random row, for **missing** cells (imputed), and for **Gaussian** noise "
            "in percent of each column's spread.",
        ),
        grid(["trained with", *head], [row(name, stored) for name in names]),
        "Differences from the baseline in points of accuracy, at 30 % of each fault and on clean rows:",
        grid(["trained with", "table", *FAULTS, "clean"], gains(stored)),
        "Where noise can hurt, in points of clean accuracy:",
        bullets(*(f"{name}: {points(found)}." for name, found in hurt.items())),
        paragraph(
            "Differences are paired, with 95 % intervals that are not corrected for their number; bold ones exclude 0. "
            "The intervals of most tolerated levels, which the demo prints, overlap. The amounts were chosen on a "
            "different random split of the same tables. The adaptive level is of use on tables where a fixed level "
            "costs too much: see [adaptive levels on six tables](adaptive.md).",
        ),
        f"*`make demo`, {when}. Made by `python -m experiments.demo_page`.*",
        paragraph(
            "[Types of noise](noise-types.md) compares noise on inputs, targets, activations, weights and gradients by "
            "error and calibration.",
        ),
    ]
    return "\n\n".join(parts) + "\n"


def store(folder: Path) -> None:
    from PIL import Image

    numbers = {"measured": measured(), **json.loads((folder / "demo.json").read_text())}
    for table in numbers.values():
        if isinstance(table, dict):
            table.pop("levels by seed, round", None)
    RESULTS.write_text(json.dumps(numbers, indent=1) + "\n")
    # A page of lines needs few colours, and is a quarter as large with them.
    Image.open(folder / "demo.png").convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="the folder of a run: its numbers and picture are stored")
    given = parser.parse_args()
    if given.run is not None:
        store(given.run)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
