"""Timing that survives a busy machine: rivals take turns within one run, and medians and ratios are reported."""

import datetime
import json
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import jax

RESULTS = pathlib.Path(__file__).parent / "results"


def interleaved(rivals: dict[str, Callable], *, rounds: int, calls: int = 1) -> dict[str, float]:
    """The median seconds of a call of each rival; they take turns, so that a change of the machine's speed hits all."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for rival in rivals.values():  # compile, and touch the memory once
        jax.block_until_ready(rival())
        jax.block_until_ready(rival())
    for _ in range(rounds):
        for name, rival in rivals.items():
            start = time.perf_counter()
            for _ in range(calls):
                out = rival()
            jax.block_until_ready(out)
            times[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(t) for name, t in times.items()}


def environment(command: str) -> dict:
    """What a number needs beside it to be believed."""
    versions = {}
    for package in ("jax", "jaxlib", "flax", "numpy", "torch"):
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
        "python": platform.python_version(),
        "versions": versions,
    }


def save(name: str, command: str, rows: list[dict]) -> pathlib.Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{jax.devices()[0].platform}.json"
    path.write_text(json.dumps({**environment(command), "rows": rows}, indent=1) + "\n")
    return path


def table(rows: list[dict], out=sys.stdout) -> None:
    """Rows of equal keys as columns a person can read."""
    if not rows:
        return
    cells = [list(rows[0])] + [[_text(v) for v in row.values()] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print(
            "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))),
            file=out,
        )


def _text(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return f"{names[0]}, {len(names)} threads"
    return platform.processor() or platform.machine()
