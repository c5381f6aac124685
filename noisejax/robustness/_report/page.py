"""One HTML page of a report. It needs nothing else: no network, no library."""

import base64
import html
import json
import math
import struct
import zlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisejax import _checks

if TYPE_CHECKING:
    from noisejax.robustness._report.report import Report

_MOST_ROWS = 12  # levels of one family whose examples are shown
_MOST_COLUMNS = 20


def to_html(report: "Report", path: Any, title: str, confidence: float) -> str:
    title = _checks.string("to_html", "title", title)
    template = resources.files("noisejax.robustness._report").joinpath("page.html").read_text(encoding="utf-8")
    data = json.dumps(_data(report, confidence)).replace("<", "\\u003c")
    page = template.replace("{{title}}", html.escape(title)).replace("{{data}}", data)
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page


def _data(report: "Report", confidence: float) -> dict[str, Any]:
    metrics = []
    for metric, _, higher, best in report.metrics:
        families = {}
        passes = report.tolerance(0.95, None, confidence, metric)
        areas = report.area(confidence, metric)
        for name, levels in report.levels.items():
            labels = report.labels.get(name)
            families[name] = {
                "levels": levels.tolist(),
                "labels": list(labels) if labels else None,
                **_numbers(report.interval(name, None, confidence, metric)),
                "passes": format(passes[name], ".3g") if name in passes else None,
                "area": f"{areas[name]:.3g}" if name in areas and np.isfinite(areas[name].mean) else None,
            }
        parts = {}
        if report._metric(metric)[1] == "example":
            for part in report.parts:
                clean = report.by_part(part, None, confidence, metric)
                rows = {label: [_numbers(interval)] for label, interval in list(clean.items())[:100]}
                for name in report._ordered():
                    for label, interval in report.by_part(part, name, confidence, metric).items():
                        if label in rows:
                            rows[label].append(_numbers(interval, -1))
                parts[part] = rows
        metrics.append(
            {
                "name": metric, "higher": higher, "best": best, "clean": _numbers(report.clean(confidence, metric)),
                "families": families, "parts": parts,
                "sensitivity": {
                    family: [[row.column, _numbers(row.loss), _round(row.p)] for row in rows]
                    for family, rows in report.sensitivity(confidence, metric).items()
                },
            }
        )  # fmt: skip
    return {
        "about": f"{report.models} {'model' if report.models == 1 else 'models'} on {report.examples:,} examples, "
        f"{report.draws} {'draw' if report.draws == 1 else 'draws'} of noise for each example and level.",
        "confidence": confidence,
        "metrics": metrics,
        "ordered": report._ordered(),
        "problems": report.problems,
        "shift": {name: of for name, of in report.shift.items() if any(of)},
        "examples": {name: _examples(report, name) for name in report.levels},
    }


def _numbers(interval: Any, at: int | None = None) -> dict[str, Any]:
    values = [np.asarray(v, float).reshape(-1) for v in interval]
    values = [v if at is None else v[at : at + 1 or None] for v in values]
    names = ("mean", "lower", "upper")
    return {name: [_round(v) for v in of] for name, of in zip(names, values, strict=True)}


def _round(value: Any) -> float | None:
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def _examples(report: "Report", family: str) -> list[dict[str, Any]]:
    """The first rows without noise and at levels, as pictures or tables."""
    chosen = np.unique(np.linspace(0, len(report.levels[family]) - 1, _MOST_ROWS).astype(int))
    labels = report.labels.get(family) or [f"{level:g}" for level in report.levels[family]]
    found = [("before", report.shown[""][0])] + [(labels[i], report.shown[family][i]) for i in chosen]
    shown = [{"level": level, **_example(rows)} for level, rows in found if rows is not None]
    return shown if len(shown) > 1 else []


def _example(rows: Any) -> dict[str, Any]:
    values = rows.get("rows") if isinstance(rows, dict) else None
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    pictures = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3))
    if pictures and max(array.shape[1:3]) <= 256 and min(array.shape[1:3]) >= 4:
        return {"pictures": [_picture(picture) for picture in array]}
    if not isinstance(values, list):
        return {"table": []}
    names = rows.get("columns")
    columns = [str(name) for name in names] if isinstance(names, list) else []
    cells = [row if isinstance(row, list) else [row] for row in values]
    flat = [np.asarray(row, object).reshape(-1).tolist()[:_MOST_COLUMNS] for row in cells]
    table = [[f"{v:.4g}" if isinstance(v, float) else str(v)[:60] for v in row] for row in flat]
    return {"table": table, "columns": columns[:_MOST_COLUMNS]}


def _picture(values: Any) -> str:
    """A PNG as a data address. Values are taken as 0 to 1, or as 0 to 255 if one exceeds 1.5."""
    if not np.isfinite(values).all():
        values = np.nan_to_num(values)
    scale = 1 if np.abs(values).max(initial=0) > 1.5 else 255
    pixels = np.clip(values * scale, 0, 255).round().astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    step = -(-max(pixels.shape[:2]) // 96)
    pixels = pixels[::step, ::step]
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()
