"""Really dirty tables, which are not part of this repository, and the statistics that the experiments share.

The tables lie in a folder that the environment variable NOISEJAX_DIRTY names, or in ``../shared/dirty`` next to the
repository: ``flights/clean.parquet`` and ``flights/dirty.parquet``, ``beers`` likewise, ``heart_sites/heart.parquet``.
Without them a program ends with one line.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
TIMES = ("sched_dep_time", "act_dep_time", "sched_arr_time", "act_arr_time")


def folder() -> Path | None:
    named = os.environ.get("NOISEJAX_DIRTY")
    places = [Path(named)] if named else [ROOT.parent / "shared" / "dirty"]
    return next((place for place in places if (place / "flights").is_dir()), None)


def missing(dirty: bool = True) -> str | None:
    """One line that says why an experiment cannot run, or None. `dirty` says whether it needs the dirty tables."""
    if dirty and folder() is None:
        return "skipped: no dirty tables. Set NOISEJAX_DIRTY to the folder that holds flights, beers and heart_sites."
    for package in ("pandas", "sklearn", *["pyarrow"] * dirty):
        if importlib.util.find_spec(package) is None:
            return f"skipped: {package} is not installed."
    return None


def arguments(description: str, dirty: bool = True, features: Iterable[str] = ()) -> argparse.Namespace:
    """The command line of an experiment. Ends the program with one line if there are no tables.

    With names of sets of features, one of them can be chosen; the first is the default.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="one seed and little data: only check that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    if names := list(features):
        parser.add_argument("--features", choices=names, default=names[0], help="what the model is given")
    given = parser.parse_args()
    if (why := missing(dirty)) is not None:
        print(why)
        sys.exit(0)
    return given


def frame(name: str) -> Any:
    import pandas as pd

    return pd.read_parquet(folder() / name)  # pyright: ignore[reportOptionalOperand]


_CLOCK = re.compile(r"(\d{1,2}):(\d{2})\s*([aApP])?")


def minutes(text: str) -> float:
    """The minutes since midnight of the first clock time in a text, NaN if there is none."""
    found = _CLOCK.search(text or "")
    if not found:
        return np.nan
    hour, minute, half = int(found[1]), int(found[2]), (found[3] or "").lower()
    hour = hour % 12 + 12 * (half == "p") if half else hour
    return hour * 60.0 + minute


def flights() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Clean and dirty minutes with the code of the source, (2376, 5) each, the flight of each row, and the sources.

    Rows whose clean times cannot be read are left out.
    """
    clean, dirty = frame("flights/clean.parquet"), frame("flights/dirty.parquet")
    sources = tuple(sorted(clean["src"].unique()))
    code = clean["src"].map({name: n for n, name in enumerate(sources)}).to_numpy(float)
    tables = [np.stack([*(table[c].map(minutes).to_numpy(float) for c in TIMES), code], 1) for table in (clean, dirty)]
    known = ~np.isnan(tables[0]).any(1)
    return tables[0][known], tables[1][known], np.unique(clean["flight"][known], return_inverse=True)[1], sources


def schema_of_flights(sources: tuple[str, ...]):
    import noisejax as nj

    return nj.tabular.Schema({**dict.fromkeys(TIMES, "integer"), "src": sources})


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """The area under the ROC curve: the probability that a positive has the larger score; ties count one half."""
    from scipy.stats import rankdata

    ranks = rankdata(score)
    n = positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def spread(values) -> dict:
    """The mean of a figure over seeds, with a 95 % t interval and every value."""
    values = np.asarray(values, float)
    n = len(values)
    half = _T.get(n - 1, NormalDist().inv_cdf(0.975)) * values.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
    return {"mean": float(values.mean()), "half": float(half), "values": [round(float(v), 4) for v in values]}


def cell(figure: dict, digits: int = 3) -> str:
    return f"{figure['mean']:.{digits}f} ± {figure['half']:.{digits}f}"


def write(name: str, result: dict, out: Path) -> None:
    import jax
    import sklearn

    result = {
        "command": f"python -m experiments.{name}",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        "versions": {"jax": jax.__version__, "scikit-learn": sklearn.__version__, "numpy": np.__version__},
        **result,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
