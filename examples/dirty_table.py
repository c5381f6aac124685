"""Trees that keep their accuracy on dirty rows: a data frame in, a model out, with learnt faults and generic ones.

First a table that scikit-learn ships, diabetes, whose test rows are corrupted here. Then flights, really dirty: 38 web
sites report departure and arrival times, and many are missing or wrong. It is read from the folder that the environment
variable NOISEJAX_DIRTY names, or ``../shared/dirty``, and left out where there is none.

Models are histogram gradient boosting under absolute loss with default settings. Each row of a table is a training. The
figures are mean absolute errors on clean and on dirty test rows, with 95 % t intervals over five seeds.
"""

import os
import re
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import KNNImputer

import noisejax as nj
from noisejax import frame

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SEEDS = 2 if QUICK else 5
COPIES, FOLDS = (1, 1) if QUICK else (2, 5)
TIMES = ["sched_dep_time", "act_dep_time", "sched_arr_time"]
CONSOLE = Console(width=100)


def main() -> None:
    diabetes()
    folder = Path(os.environ.get("NOISEJAX_DIRTY") or Path(__file__).resolve().parents[2] / "shared" / "dirty")
    if (folder / "flights").is_dir():
        flights(folder / "flights")
    else:
        CONSOLE.print("flights: skipped, there is no folder of dirty tables. Set NOISEJAX_DIRTY to it.")


def diabetes() -> None:
    """Faults by their names, on a data frame: values are missing, in the wrong unit, or in the wrong field."""
    table, target = load_diabetes(as_frame=True, return_X_y=True, scaled=False)
    faults = [
        (["bmi", "s5"], nj.bind(nj.tabular.missing, rate=0.3)),
        (["bp"], nj.bind(nj.tabular.wrong_unit, rate=0.2, scale=0.1333)),  # kilopascals for millimetres of mercury
        (["s1", "s2"], nj.bind(nj.tabular.swap_columns, rate=0.2, pairs=((0, 1),))),
    ]
    found: dict[str, list] = {}
    for seed in range(SEEDS):
        train, test = folds(np.arange(len(table)), seed, 2)[0]
        clean = table.iloc[test]
        dirty, mask = frame.corrupt(jax.random.key(seed), clean, faults)
        if seed == 0:
            CONSOLE.print(f"diabetes: {int(mask.to_numpy().sum())} of {mask.size} test cells are corrupted")
        rows, y = table.iloc[train], target.iloc[train].to_numpy()
        more = frame.augment(jax.random.key(1000 + seed), rows, faults, copies=COPIES)
        for name, x in {"clean rows": rows, "clean rows and copies with these faults": more}.items():
            model = fitted(x.to_numpy(float), np.tile(y, len(x) // len(rows)), seed)
            judge(
                found, name, model.predict, clean.to_numpy(float), dirty.to_numpy(float), target.iloc[test].to_numpy()
            )
    show("diabetes: error of the disease score", found)


def flights(folder: Path) -> None:
    """Faults that are learnt from 200 pairs of rows, compared with missing values at one rate and with an imputer."""
    clean, dirty, flight, sources = read(folder)
    schema = nj.tabular.Schema({**dict.fromkeys([*TIMES, "act_arr_time"], "integer"), "src": sources})
    found: dict[str, list] = {}
    runs = [(n, *fold) for n in range(SEEDS) for fold in folds(flight, n, 5)[:FOLDS]]
    for seed, train, test in runs:
        pairs = np.random.default_rng(seed).permutation(train)[:200]
        learnt = nj.tabular.fit_errors(clean[pairs], dirty[pairs], schema)
        if not found:
            CONSOLE.print(str(learnt), highlight=False)
        noises = {
            "clean rows": None,
            "with missing values at 0.3": nj.on_columns(nj.bind(nj.tabular.missing, rate=0.3), (0, 1, 2)),
            "with faults learnt from 200 pairs": nj.bind(nj.tabular.errors, model=learnt),
        }
        for name, noise in noises.items():
            copies = [clean[train]]
            keys = jax.random.split(jax.random.key(seed), COPIES)
            copies += [] if noise is None else [np.asarray(noise(key, np.float32(clean[train]))) for key in keys]
            x = np.concatenate(copies)[:, :3] % 1440
            model = fitted(x, np.tile(clean[train, 3], len(copies)), seed)
            judge(found, name, model.predict, clean[test, :3], dirty[test, :3], clean[test, 3])
            if noise is None:
                imputer = KNNImputer().fit(clean[train, :3])
                known, filled = (imputer.transform(t[test, :3]) for t in (clean, dirty))
                judge(found, "clean rows, KNN imputer in front", model.predict, known, filled, clean[test, 3])
    by_seed = {name: np.array(scores).reshape(SEEDS, FOLDS, 2).mean(1) for name, scores in found.items()}
    show("flights: error of the arrival, in minutes", by_seed)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """Minutes since midnight and the code of the source, clean and dirty, and the flight of each row."""
    clean, dirty = (pd.read_parquet(folder / f"{name}.parquet") for name in ("clean", "dirty"))
    sources = tuple(sorted(clean["src"].unique()))
    code = clean["src"].map({name: n for n, name in enumerate(sources)})
    tables = [
        np.stack([*(table[c].map(minutes) for c in [*TIMES, "act_arr_time"]), code], axis=1).astype(float)
        for table in (clean, dirty)
    ]
    known = ~np.isnan(tables[0]).any(1)
    return tables[0][known], tables[1][known], pd.factorize(clean["flight"][known])[0], sources


def minutes(text: str) -> float:
    found = re.search(r"(\d{1,2}):(\d{2})\s*([aApP])?", text or "")
    if not found:
        return np.nan
    hour, half = int(found[1]), (found[3] or "").lower()
    return 60.0 * (hour % 12 + 12 * (half == "p") if half else hour) + int(found[2])


def folds(groups: np.ndarray, seed: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and test rows of each fold, without a group that is in both."""
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    return [
        (np.flatnonzero(~np.isin(groups, part)), np.flatnonzero(np.isin(groups, part)))
        for part in np.array_split(names, count)
    ]


def fitted(x: np.ndarray, y: np.ndarray, seed: int):
    trees = 20 if QUICK else 100
    return HistGradientBoostingRegressor(loss="absolute_error", max_iter=trees, random_state=seed).fit(x, y)


def judge(found: dict, name: str, predict, clean: np.ndarray, dirty: np.ndarray, y: np.ndarray) -> None:
    found.setdefault(name, []).append([np.abs(predict(x) - y).mean() for x in (clean, dirty)])


def show(title: str, found: dict) -> None:
    table = Table("training", "clean rows", "dirty rows", "gain on dirty rows", title=title)
    first = np.array(next(iter(found.values())))
    for name, scores in found.items():
        scores = np.array(scores)
        gain = "" if scores is first or (scores == first).all() else interval(first[:, 1] - scores[:, 1])
        table.add_row(name, interval(scores[:, 0]), interval(scores[:, 1]), gain)
    CONSOLE.print(table)


def interval(values: np.ndarray) -> str:
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
