"""Timing on a busy machine: rivals take turns within one run, and medians and ratios are reported."""

import datetime
import os
import pathlib
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

import jax

from benchmarks import kept

RESULTS = kept.RESULTS


def interleaved(rivals: dict[str, Callable], **options) -> dict[str, float]:
    """The median seconds of a call of each rival; see `samples`."""
    return {name: statistics.median(times) for name, times in samples(rivals, **options).items()}


def samples(
    rivals: dict[str, Callable], *, rounds: int | None = None, calls: int | None = None, budget: float = 1.0
) -> dict[str, list[float]]:
    """Seconds per call of each rival, one number per round.

    In every round each rival has one turn, in a newly shuffled order. So a change of the machine's speed, and what a
    rival leaves behind (warm caches, spinning threads), affect all rivals equally. On a CPU each call is waited for. On
    an accelerator the calls of a turn are queued and only the last one is waited for. This measures the device's time,
    as long as a call takes longer there than its dispatch does here.

    Args:
      rivals: functions without arguments, which return what has to be waited for.
      rounds, calls: how many turns, and how many calls in each; by default from the first calls' time, so that a turn
        is long enough for the clock and all turns together take about `budget` seconds (5 to 61 rounds).
      budget: seconds.
    """
    queued = accelerator()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # compiles; torch keeps threads of its own for each that calls it
        list(pool.map(lambda name: wait(rivals[name]()), [name for name in rivals if "torch" not in name]))
    once = {}
    for name, rival in rivals.items():
        wait(rival())  # touches the memory once
        start = time.perf_counter()
        wait(rival())
        once[name] = time.perf_counter() - start
    turn = 1e-2 if queued else 2e-3
    many = {name: calls or max(1, min(1000, round(turn / (t + 1e-9)))) for name, t in once.items()}
    if rounds is None:
        rounds = round(budget / sum(once[name] * (many[name] + 1) for name in rivals))
        rounds = max(5, min(61, rounds))
    times: dict[str, list[float]] = {name: [] for name in rivals}
    order, shuffle = list(rivals), random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            rival = rivals[name]
            if once[name] < 1e-2:
                wait(rival())  # discard what the previous rival left behind: cold caches, spinning threads
            start = time.perf_counter()
            for _ in range(many[name]):
                out = rival()
                if not queued:
                    wait(out)
            wait(out)
            times[name].append((time.perf_counter() - start) / many[name])
    return times


def costs(rivals: dict[str, Callable], rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of the clock, and of all cores together, of a call of each rival: the least of some turns.

    On a machine with other work the clock shows how many cores a rival got; the seconds of cores do not.
    """
    for rival in rivals.values():
        wait(rival())
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rivals}
    order, shuffle = list(rivals), random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            clock, cores = time.perf_counter(), time.process_time()
            wait(rivals[name]())
            times[name].append((time.perf_counter() - clock, time.process_time() - cores))
    return {name: (min(t for t, _ in taken), min(c for _, c in taken)) for name, taken in times.items()}


def wait(out) -> None:
    """Until the device has made it, whosever array it is."""
    jax.block_until_ready(out)
    torch = sys.modules.get("torch")
    if torch is not None and any(isinstance(leaf, torch.Tensor) and leaf.is_cuda for leaf in jax.tree.leaves(out)):
        torch.cuda.synchronize()


def accelerator() -> bool:
    return jax.devices()[0].platform != "cpu"


def environment(command: str) -> dict:
    """The circumstances of a measurement: machine, versions, command, date and load."""
    versions = {}
    for package in ("jax", "jaxlib", "flax", "optax", "numpy", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    device = jax.devices()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": command,
        "device": device.device_kind,
        "platform": device.platform,
        "processor": _processor(),
        "load": round(os.getloadavg()[0], 2),  # of other work too: on a busy machine only ratios mean something
        "python": platform.python_version(),
        "versions": versions,
    }


def save(
    name: str, command: str, rows: list[dict], folder: pathlib.Path = RESULTS, complete: bool = True
) -> pathlib.Path:
    """Write the rows and their environment: every row, or in the repository's own folder those that the pages print."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{jax.devices()[0].platform}.json"
    rows = kept.kept(path.stem, rows) if folder == RESULTS else rows
    path.write_text(kept.pack({**environment(command), "complete": complete, "rows": rows}))
    return path


def load(name: str, platform: str = "cpu", folder: pathlib.Path = RESULTS) -> dict | None:
    """What a program wrote: its environment and "rows", or None where it has not run."""
    path = folder / f"{name}-{platform}.json"
    return kept.unpack(path.read_text()) if path.exists() else None


def table(rows: list[dict], out=None) -> None:
    """Rows as columns a person can read: a table for each stretch of rows that have the same keys."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or list(rows[end]) != list(rows[start]):
            if start:
                print(file=out)
            _table(rows[start:end], out)
            start = end


def _table(rows: list[dict], out) -> None:
    cells = [list(rows[0])] + [[_text(v) for v in row.values()] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        aligned = (c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        print("  ".join(aligned).rstrip(), file=out)


def pivot(rows: Iterable[dict], line: str, columns: Callable[[dict], str], cell: Callable[[dict], str]) -> list[dict]:
    """Long rows as wide ones: a line for each value of row[line], a column for each value of columns(row)."""
    wide: dict[str, dict] = {}
    names = list(dict.fromkeys(columns(row) for row in rows))
    for row in rows:
        wide.setdefault(row[line], {line: row[line], **dict.fromkeys(names, "")})[columns(row)] = cell(row)
    return list(wide.values())


def _text(value) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return f"{names[0]}, {len(names)} threads"
    return platform.processor() or platform.machine()
