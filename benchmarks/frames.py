"""Faults on a data frame of a million rows: against tab-err (with pandas 2), and the time and memory of a whole table.

tab-err takes turns with ours on the same frame, one column each, at a rate of 0.1, as the tables of its paper have it.
Without tab-err only the whole table is measured. Ours also returns the mask, as tab-err does.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

import noisejax as nj
from benchmarks import measure
from noisejax import frame

ROWS, RATE = 1_000_000, 0.1
KEY = jax.random.key(0)


def run(smoke: bool = False) -> Iterator[dict]:
    import pandas

    n = 2000 if smoke else ROWS
    yield from against_tab_err(pandas, n, rounds=1 if smoke else 7)
    yield whole_table(pandas, n)


def adult_like(pandas, n: int):
    """Six integers, two floats and seven categories, as the census table has."""
    rng = np.random.default_rng(0)
    columns = {f"integer {i}": rng.integers(0, 90, n) for i in range(6)}
    columns |= {f"float {i}": rng.normal(size=n) for i in range(2)}
    for i, k in enumerate((9, 16, 7, 14, 6, 5, 2)):
        columns[f"class {i}"] = np.array([f"some class {j}" for j in range(k)], object)[rng.integers(0, k, n)]
    return pandas.DataFrame(columns)


def against_tab_err(pandas, n: int, rounds: int) -> Iterator[dict]:
    try:
        from tab_err import error_mechanism, error_type
        from tab_err.api import low_level
    except ImportError:
        return
    df = adult_like(pandas, n)
    tabular = nj.tabular
    x, schema, _ = frame.encode(df[["float 0", "float 1"]])
    fitted = tabular.fit(x[:10_000], schema)
    config = {"add_delta_value": 1.0}
    cases: dict[str, tuple] = {
        "add_delta": ("float 0", nj.bind(tabular.add_delta, rate=RATE, delta=1.0), error_type.AddDelta(config)),
        "missing": ("float 0", nj.bind(tabular.missing, rate=RATE), error_type.MissingValue()),
        "wrong_unit": (
            "float 0",
            nj.bind(tabular.wrong_unit, rate=RATE, scale=10.0),
            error_type.WrongUnit({"wrong_unit_scaling": _tenfold}),
        ),
        "outlier": ("float 0", nj.bind(tabular.outlier, rate=RATE, columns=fitted), error_type.Outlier()),
        "category": (
            "class 1",
            lambda column: nj.bind(tabular.category, rate=RATE, num_classes=column.num_classes),
            error_type.CategorySwap(),
        ),
        "typo": ("class 0", nj.bind(frame.mistyped, rate=RATE), error_type.Typo()),
    }
    for what, (name, noise, theirs) in cases.items():
        column = df[[name]].copy()
        if what == "category":
            column[name] = column[name].astype("category")

        def ours(column=column, name=name, noise=noise):
            return frame.corrupt(KEY, column, [(name, noise)])

        def tab_err(column=column, name=name, theirs=theirs):
            return low_level.create_errors(column, name, RATE, error_mechanism.ECAR(), theirs)

        wall, busy = turns({"ours": ours, "tab-err": tab_err}, rounds)
        seconds = {who: float(np.median(found)) for who, found in wall.items()}
        row = {"fault": what, "rows": n, **{f"{who}, million rows/s": n / s / 1e6 for who, s in seconds.items()}}
        for name, found in (("times as fast", wall), ("in processor time", busy)):
            row[name] = float(np.median(np.array(found["tab-err"]) / np.array(found["ours"])))
        yield row


def _wrong_class(column):
    return nj.bind(nj.tabular.category, rate=0.05, num_classes=column.num_classes)


def _tenfold(x):
    return x * 10


def turns(rivals: dict[str, Callable], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each rival by the clock and by the processor. They take turns: the machine has other work too."""
    wall: dict[str, list[float]] = {name: [] for name in rivals}
    busy: dict[str, list[float]] = {name: [] for name in rivals}
    for warm in range(rounds + 1):
        for name, rival in rivals.items():
            start, processor = time.perf_counter(), time.process_time()
            rival()
            if warm:
                wall[name].append(time.perf_counter() - start)
                busy[name].append(time.process_time() - processor)
    return wall, busy


def whole_table(pandas, n: int) -> dict:
    """All 15 columns at 5 %: numbers, missing values, wrong classes and typing errors."""
    df = adult_like(pandas, n)
    tabular = nj.tabular
    faults: list = [
        ([f"integer {i}" for i in range(6)], nj.bind(tabular.missing, rate=0.05)),
        ("number", nj.bind(tabular.wrong_unit, rate=0.05)),
        ([f"class {i}" for i in range(2)], nj.bind(frame.mistyped, rate=0.05)),
        (
            [f"class {i}" for i in range(2, 5)],
            lambda c: nj.bind(tabular.category, rate=0.05, num_classes=c.num_classes),
        ),
        ([f"class {i}" for i in range(5, 7)], nj.bind(tabular.missing, rate=0.05)),
    ]
    size = int(df.memory_usage(deep=True).sum())
    frame.corrupt(KEY, df, faults)  # compiles
    wall, processor = [], []
    for _ in range(3):
        start, busy = time.perf_counter(), time.process_time()
        frame.corrupt(KEY, df, faults)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    peak = peak_bytes(lambda: frame.corrupt(KEY, df, faults))
    return {
        "fault": "15 columns at 5 %",
        "rows": n,
        "seconds": float(np.median(wall)),
        "processor seconds": float(np.median(processor)),
        "memory of the frame, MB": size / 1e6,
        "more memory at most, of the frame's": peak / size,
    }


def peak_bytes(work: Callable) -> int:
    """By how much the resident memory grows at most while `work` runs, its result included."""
    page = os.sysconf("SC_PAGE_SIZE")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    before, most, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        kept = work()
    finally:
        done.set()
        watcher.join()
    del kept
    return max(most[0] - before, 0)


def show(rows: list[dict]) -> None:
    measure.table(rows)
