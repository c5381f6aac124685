"""A report as text, rows, tables and JSON, and back."""

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisejax.robustness._report.packing import packed, unpacked
from noisejax.robustness._report.samples import kind_of_set

if TYPE_CHECKING:
    from noisejax.robustness._report.report import Report

_FORMAT = "robustness report, 2"


def rows(report: "Report", confidence: float) -> list[dict[str, Any]]:
    found = []
    for metric, *_ in report.metrics:
        clean = report.clean(confidence, metric)
        for family in (None, *report.levels):
            sample = report._sample(family, metric)
            intervals = sample.interval(confidence)
            levels = [math.nan] if family is None else report.levels[family].tolist()
            for i, level in enumerate(levels):
                mean, lower, upper = (float(np.asarray(v).reshape(-1)[i]) for v in intervals)
                labels = report.labels.get(family or "")
                found.append(
                    {
                        "family": family or "clean",
                        "level": level,
                        "label": labels[i] if labels else "",
                        "metric": metric,
                        "score": mean,
                        "lower": lower,
                        "upper": upper,
                        "change": mean - float(clean.mean),
                        "problem": report.problems.get(family or "", {}).get(i, ""),
                    }
                )
    return found


def to_frame(report: "Report", confidence: float) -> Any:
    try:
        import pandas as pd
    except ImportError:
        try:
            import polars as pl
        except ImportError as error:
            raise ImportError("to_frame needs pandas or polars: pip install pandas.") from error
        return pl.DataFrame(rows(report, confidence))
    return pd.DataFrame(rows(report, confidence))


def to_csv(report: "Report", path: Any, confidence: float) -> str:
    table, file = rows(report, confidence), io.StringIO()
    writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    if path is not None:
        Path(path).write_text(file.getvalue(), encoding="utf-8")
    return file.getvalue()


def text(report: "Report", confidence: float) -> str:
    lines = [f"{'clean':>12}  {report.clean(confidence)}"]
    for name, levels in report.levels.items():
        mean, lower, upper = report.interval(name, confidence=confidence)
        lines += ["", f"{name:>12}  {report.metric}  {confidence:.0%} interval"]
        labels = report.labels.get(name, [f"{v:g}" for v in levels])
        for i, (label, m, a, b) in enumerate(zip(labels, mean, lower, upper, strict=True)):
            problem = report.problems.get(name, {}).get(i)
            lines.append(f"{label:>12}  " + (f"–  {problem}" if problem else f"{m:.4f}  {a:.4f} to {b:.4f}"))
    return "\n".join(lines)


def show(report: "Report", confidence: float) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError as error:
        raise ImportError("print needs rich: pip install 'noisejax[report]'. print(report) needs nothing.") from error
    console = Console()
    console.print(f"[bold]{report!r}[/bold]", highlight=False)
    for metric, _, higher, _ in report.metrics:
        clean = report.clean(confidence, metric)
        console.print(f"\n{metric} without noise: {clean:.4f}", highlight=False)
        for family, levels in report.levels.items():
            grid = Table("level", metric, f"{confidence:.0%} interval", "change", title=family, title_justify="left")
            mean, lower, upper = report.interval(family, None, confidence, metric)
            labels = report.labels.get(family, [f"{v:g}" for v in levels])
            for i, label in enumerate(labels):
                if problem := report.problems.get(family, {}).get(i):
                    grid.add_row(label, "–", problem[:60], "")
                    continue
                change = mean[i] - clean.mean
                worse = (change < 0) == higher and change != 0
                style = "red" if worse and abs(change) > 0.05 * abs(clean.mean) else ""
                bounds = f"{lower[i]:.4f} to {upper[i]:.4f}"
                grid.add_row(label, f"{mean[i]:.4f}", bounds, f"{change:+.4f}", style=style)
            console.print(grid)


def summary(report: "Report", confidence: float) -> dict[str, Any]:
    def numbers(interval):
        return {k: _plain(np.round(v, 6).tolist()) for k, v in interval._asdict().items()}

    return {
        "metric": report.metric,
        "models": report.models,
        "examples": report.examples,
        "draws": report.draws,
        "confidence": confidence,
        "clean": numbers(report.clean(confidence)),
        "families": {
            name: {"levels": np.round(levels, 6).tolist(), **numbers(report.interval(name, confidence=confidence))}
            for name, levels in report.levels.items()
        },
    }


def _plain(value: Any) -> Any:
    """NaN and infinities as null, since JSON has none."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None


def to_json(report: "Report") -> str:
    data = {
        "levels": {name: levels.tolist() for name, levels in report.levels.items()},
        "labels": {name: list(labels) for name, labels in report.labels.items()},
        "metrics": [list(metric) for metric in report.metrics],
        "draws": report.draws,
        "examples": report.examples,
        "counts": packed(report.counts),
        "parts": {name: [names, packed(counts)] for name, (names, counts) in report.parts.items()},
        "cells": {
            name: [None if cell is None else {k: packed(v) for k, v in cell.items()} for cell in cells]
            for name, cells in report.cells.items()
        },
        "problems": {name: {str(i): t for i, t in texts.items()} for name, texts in report.problems.items()},
        "shown": report.shown,
        "shift": report.shift,
        "pairing": report.pairing,
    }
    return json.dumps({"noisejax": _FORMAT, **summary(report, 0.95), "data": data}, allow_nan=False)


def from_json(cls: Any, text: Any, max_bytes: int) -> Any:
    if not isinstance(max_bytes, (int, np.integer)) or isinstance(max_bytes, bool) or max_bytes < 1:
        raise ValueError(f"from_json: max_bytes must be an integer of at least 1, got {max_bytes!r}.")
    if not isinstance(text, (str, bytes, bytearray)):
        raise TypeError(f"from_json: text must be a string that to_json wrote, got a {type(text).__name__}.")
    if len(text) > max_bytes:
        raise _too_large(len(text), max_bytes)
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of text that is not Unicode, and of numbers of 5000 digits
        raise _broken("all of it", f"JSON ({error})") from None
    if not isinstance(whole, dict) or whole.get("noisejax") != _FORMAT or not isinstance(whole.get("data"), dict):
        raise _broken("'noisejax'", repr(_FORMAT))
    try:
        return cls(**_fields(whole["data"], max_bytes))
    except _TooLarge:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, OverflowError, RecursionError) as error:
        raise _broken("a part of it", f"as it was written ({type(error).__name__}: {error})"[:300]) from None


class _TooLarge(ValueError):
    pass


def _fields(data: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    left = [max_bytes]

    def array(where, value, *shape):
        found = unpacked(where, value, left[0])
        left[0] -= found.nbytes
        _require(not shape or found.shape == shape, f"{where} has shape {found.shape}, not {shape}")
        return found

    size = _sizes(data)
    if size > max_bytes:
        raise _too_large(size, max_bytes)
    levels = {name: np.asarray(_list(of, (int, float)), np.float64) for name, of in data["levels"].items()}
    for name, at in levels.items():
        _require(len(at) and np.isfinite(at).all() and (np.diff(at) > 0).all(), f"levels of {name!r} do not increase")
    labels = {name: tuple(_list(of, str)) for name, of in data["labels"].items()}
    _require(all(len(of) == len(levels[name]) for name, of in labels.items()), "labels do not fit levels")
    draws, examples = data["draws"], data["examples"]
    _require(all(type(n) is int and 1 <= n < 2**48 for n in (draws, examples)), "counts are not integers")
    counts = array("counts", data["counts"])
    _require(counts.ndim == 1 and counts.sum() == examples and (counts > 0).all(), "counts do not sum to examples")
    metrics = tuple(_metric(metric) for metric in _list(data["metrics"], list))
    _require(bool(metrics), "there is no metric")
    parts = {}
    for name, (names, of) in data["parts"].items():
        counted = array(name, of)
        _require(counted.ndim == 2 and len(counted) == len(_list(names, str)), f"{name} does not fit")
        parts[name] = (names, counted)
    cells: dict[str, list] = {}
    _require(set(data["cells"]) == {"", *levels}, "cells do not fit families")
    clean = {kind: array(kind, value) for kind, value in _list(data["cells"][""], dict)[0].items()}
    _require(all(f"{metric[0]}/values" in clean for metric in metrics), "a metric has no scores")
    for metric in metrics:
        shape = clean[f"{metric[0]}/values"].shape
        wanted = 1 if metric[1] == "set" else 2
        _require(len(shape) == wanted and (wanted == 1 or shape[1] == len(counts)), "scores do not fit examples")
        kinds = () if metric[1] != "set" else kind_of_set(metric[0], clean).KINDS
        _require(all(clean[f"{metric[0]}/{kind}"].shape[0] == shape[0] for kind in kinds), "resamples do not fit")
        if metric[0] == "accuracy":
            values = clean["accuracy/values"]
            _require(bool(((values >= 0) & (values <= 1 + 1e-6)).all()), "accuracies are not between 0 and 1")
    _require(all(np.isfinite(v).all() for k, v in clean.items() if k.endswith("/values")), "scores are not finite")
    cells[""] = [clean]
    for name, at in levels.items():
        of_family = data["cells"][name]
        _require(isinstance(of_family, list) and len(of_family) == len(at), f"{name!r} does not fit its levels")
        cells[name] = [
            None if cell is None else {kind: array(kind, cell[kind], *clean[kind].shape) for kind in clean}
            for cell in of_family
        ]
    problems = {name: {int(i): str(t) for i, t in data["problems"].get(name, {}).items()} for name in levels}
    shown = {name: _list(data["shown"][name], object, len(levels.get(name, [0]))) for name in ("", *levels)}
    shift = {name: _list(data["shift"].get(name, [None] * len(at)), object, len(at)) for name, at in levels.items()}
    for moved in (of for cells_ in shift.values() for of in cells_ if of is not None):
        _require(isinstance(moved, dict) and set(moved) == {"column", "ks", "wasserstein", "psi"}, "a shift is not one")
        size = len(_list(moved["column"], str))
        _require(size > 0, "a shift has no column")
        for kind in ("ks", "wasserstein", "psi"):
            _list(moved[kind], (int, float, type(None)), size)
    pairing = data["pairing"]
    _require(isinstance(pairing, str) and len(pairing) == 16 and set(pairing) <= set("0123456789abcdef"), "pairing")
    return {
        "levels": levels, "labels": labels, "metrics": metrics, "draws": draws, "examples": examples, "counts": counts,
        "parts": parts, "cells": cells, "problems": problems, "shown": shown, "shift": shift, "pairing": pairing,
    }  # fmt: skip


def _sizes(tree: Any) -> int:
    """The bytes of all packed arrays when they are expanded."""
    if isinstance(tree, dict):
        if set(tree) == {"shape", "float32"} and isinstance(tree["shape"], list):
            return 4 * math.prod(n for n in tree["shape"] if type(n) is int and n >= 0)
        return sum(map(_sizes, tree.values()))
    return sum(map(_sizes, tree)) if isinstance(tree, list) else 0


def _metric(metric: list) -> tuple[str, str, bool, float | None]:
    name, over, higher, best = metric
    _require(isinstance(name, str) and over in ("example", "set") and isinstance(higher, bool), "a metric is not one")
    _require(best is None or (type(best) in (int, float) and math.isfinite(best)), "a best value is no number")
    return name, over, higher, best


def _list(value: Any, kind: Any, length: int | None = None) -> list:
    _require(isinstance(value, list) and all(isinstance(v, kind) for v in value), "a list is not one")
    _require(length is None or len(value) == length, "a list has a wrong length")
    return value


def _require(holds: Any, text: str) -> None:
    if not holds:
        raise ValueError(text)


def _broken(where: str, wanted: str) -> ValueError:
    return ValueError(
        f"from_json: text must be a report that to_json of this version wrote, but {where} is not {wanted}. "
        "Write the report again with report.to_json()."
    )


def _too_large(size: int, max_bytes: int) -> ValueError:
    return _TooLarge(
        f"from_json: max_bytes must be at least the size of the report, got {max_bytes} and a size of {size} bytes. If "
        f"you trust the text, pass max_bytes={size} or more."
    )
