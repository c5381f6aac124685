"""What the commands print: tables by rich, or plain text where it is not installed."""

from typing import Any

import numpy as np

from noisejax.robustness import Advice, Report, Tuned
from noisejax.robustness._report.shift import psi

_SHOWN = 8  # features that cost most


def _grid(title: str, columns: list[str], rows: list[list[str]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        lines = [title, "  ".join(columns), *("  ".join(row) for row in rows)]
        print("\n".join(lines) + "\n")  # noqa: T201
        return
    grid = Table(*columns, title=title, title_justify="left")
    for row in rows:
        grid.add_row(*row)
    Console().print(grid)


def report(found: Report, title: str) -> None:
    """Scores by family and level, tolerated levels, and the features that cost most."""
    rows = [["clean", "", f"{found.clean():.4f}", ""]]
    for family in found._ordered():
        for level in found.levels[family]:
            problem = found.problems.get(family, {}).get(int(np.argmax(found.levels[family] == level)), "")
            score = "–" if problem else f"{found.interval(family, float(level)):.4f}"
            rows.append([family, f"{level:g}", score, problem[:60]])
    _grid(f"{title}, {found.metric}", ["fault", "level", found.metric, ""], rows)
    higher = found.metrics[0][2]
    if not higher or found.clean().mean > 0:
        passes = [[name, f"{level:.0%}"] for name, level in found.tolerance(0.95).items()]
        _grid("keeps 95 % of the clean score", ["fault", "up to"], passes)
    for family, features in found.sensitivity().items():
        worst = [[row.column, f"{row.loss:.4f}", f"{row.p:.3g}"] for row in features[:_SHOWN]]
        _grid(family, ["feature", "loss", "p, corrected"], worst)


def advice(found: list[Advice]) -> None:
    """Noises to start with."""
    rows = [[a.place, "" if a.noise is None else repr(a.noise)[:80], a.evidence] for a in found]
    _grid("noises to start with; tune chooses the amounts", ["acts on", "noise", "evidence"], rows)


def tuned(found: Tuned) -> None:
    """The choice, its measurement, and the Pareto front."""
    chosen = found.candidates[found.chosen]
    metric = found.report.metric
    rows = [
        [metric, f"{found.baseline.clean():.4f}", f"{found.report.clean():.4f}", f"{found.cost.scaled(-1).mean:+.4f}"]
    ]
    for family in found.report._ordered():
        for level in found.report.levels[family]:
            none, own = (r.interval(family, float(level)) for r in (found.baseline, found.report))
            difference = found.report.difference(found.baseline, family, float(level))
            rows.append([f"{family} {level:g}", f"{none:.4f}", f"{own:.4f}", f"{difference:+.4f}"])
    name = "no noise" if found.noise is None else f"{chosen.name} {_amounts(chosen.amounts)}"
    _grid(f"chosen: {name}; on rows that the choice never saw", ["rows", "no noise", "chosen", "difference"], rows)
    front = [[c.name or "no noise", _amounts(c.amounts), f"{c.cost:+.4f}", f"{c.gain:+.4f}"] for c in found.front]
    _grid("Pareto front on validation rows", ["space", "amounts", "clean cost", "gain under the faults"], front)


def _amounts(amounts: dict[str, float]) -> str:
    return ", ".join(f"{name}={value:.3g}" for name, value in amounts.items())


def plain(column: Any) -> np.ndarray:
    """Numbers in float64, and everything else as strings; a missing value is NaN or an empty string."""
    values = column.to_numpy()
    if getattr(values.dtype, "kind", "O") in "biuf":
        return values.astype(float)
    listed = ["" if v is None or v != v else v for v in np.asarray(values, object).tolist()]
    try:
        if any(v != "" for v in listed):
            return np.array([np.nan if v == "" else float(v) for v in listed])
    except (TypeError, ValueError):
        pass
    return np.array(list(map(str, listed)))


def preview(before: Any, after: Any) -> None:
    """By column: missing cells, mean and std, the share of cells that changed, and how far the distribution moved."""
    rows = []
    for name in before.columns:
        a, b = plain(before[name]), plain(after[name])
        if a.dtype.kind == "f" and b.dtype.kind == "f":
            gone = np.isnan(a), np.isnan(b)
            changed = np.mean((a != b) & ~(gone[0] & gone[1]))
            what = [f"{np.nanmean(v):.4g} ± {np.nanstd(v):.4g}" if np.isfinite(v).any() else "" for v in (a, b)]
            moved = f"{psi(a, b):.3f}"
        else:
            a, b = a.astype(str), b.astype(str)
            gone, changed = (a == "", b == ""), np.mean(a != b)
            what, moved = [f"{len(np.unique(v[v != '']))} values" for v in (a, b)], ""
        rows.append([str(name), *what, *(f"{np.mean(g):.1%}" for g in gone), f"{changed:.1%}", moved])
    columns = ["column", "before", "after", "missing before", "after", "cells changed", "PSI"]
    _grid(f"{len(before)} rows", columns, rows)
