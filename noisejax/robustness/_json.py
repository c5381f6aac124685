"""Reports as JSON. A text is checked completely, its size included, before any of its scores are expanded."""

import base64
import json
import math
import re
import zlib
from typing import Any

import numpy as np

_FORMAT = "robustness report, 1"


def written(report: Any) -> str:
    """A report as JSON: its summary, and its compressed scores."""
    data = {
        "levels": {name: levels.tolist() for name, levels in report.levels.items()},
        "scores": {name: _packed(scores) for name, scores in report.scores.items()},
        "clean_scores": _packed(report.clean_scores),
        "pairing": report.pairing,
    }
    return json.dumps({"noisejax": _FORMAT, **report.summary(), "data": data})


def read(text: Any, max_bytes: int) -> dict[str, Any]:
    """The fields of a report."""
    if not isinstance(max_bytes, (int, np.integer)) or isinstance(max_bytes, bool) or max_bytes < 1:
        raise ValueError(f"from_json: max_bytes must be an integer of at least 1, got {max_bytes!r}.")
    if not isinstance(text, (str, bytes, bytearray)):
        raise TypeError(f"from_json: text must be a string that to_json wrote, got a {type(text).__name__}.")
    if len(text) > max_bytes:
        raise _too_large("a text", len(text), max_bytes)
    try:
        whole = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # also of text that is not Unicode, and of numbers of 5000 digits
        raise _broken("all of it", f"JSON ({error})") from None
    if not isinstance(whole, dict) or whole.get("noisejax") != _FORMAT:
        raise _broken("'noisejax'", repr(_FORMAT))
    data = _typed(whole, "data", dict)
    levels = {name: _levels(name, at) for name, at in _typed(data, "levels", dict).items()}
    models, examples, draws = (_count(whole, name) for name in ("models", "examples", "draws"))
    metric, pairing = _typed(whole, "metric", str), _typed(data, "pairing", str)
    if not re.fullmatch("[0-9a-f]{16}", pairing):
        raise _broken("'pairing'", "16 hexadecimal digits")
    packed = _typed(data, "scores", dict)
    if packed.keys() != levels.keys():
        raise _broken("'scores'", f"an object with the families of 'levels', {sorted(levels)}")
    _check_summary(whole, levels)
    size = 4 * models * examples * (1 + sum(map(len, levels.values())))
    if size > max_bytes:
        raise _too_large("scores", size, max_bytes)

    def scores(where, of, *shape):
        found = _unpacked(where, of, shape)
        if metric == "accuracy" and (found.min() < 0 or found.max() > 1 + 1e-6):
            raise _broken(where, "accuracies, between 0 and 1")
        return found

    return {
        "levels": levels,
        "scores": {name: scores(f"the scores of {name!r}", packed[name], len(levels[name]), models, examples)
                   for name in levels},
        "clean_scores": scores("'clean_scores'", data.get("clean_scores"), models, examples),
        "metric": metric,
        "draws": draws,
        "pairing": pairing,
    }  # fmt: skip


def _broken(where: str, wanted: str) -> ValueError:
    return ValueError(
        f"from_json: text must be a report that to_json of this version wrote, but {where} is not {wanted}. "
        "Write the report again with report.to_json()."
    )


def _too_large(what: str, size: int, max_bytes: int) -> ValueError:
    return ValueError(
        f"from_json: max_bytes must be at least the size of the report, got {max_bytes} and {what} of {size} bytes. If "
        f"you trust the text, pass max_bytes={size} or more."
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return found


def _typed(within: dict[str, Any], name: str, kind: type) -> Any:
    value = within.get(name)
    if not isinstance(value, kind):
        raise _broken(repr(name), {dict: "an object", str: "a string"}[kind])
    return value


def _count(within: dict[str, Any], name: str) -> int:
    value = within.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**48:
        raise _broken(repr(name), "an integer of at least 1")
    return value


def _is_number(value: Any, finite: bool = True) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value) if finite else not math.isnan(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _levels(name: str, levels: Any) -> np.ndarray:
    if not isinstance(levels, list) or not levels or not all(map(_is_number, levels)):
        raise _broken(f"the levels of {name!r}", "a list of finite numbers")
    found = np.asarray(levels, np.float64)
    if np.any(np.diff(found) <= 0):
        raise _broken(f"the levels of {name!r}", "an increasing list")
    return found


def _check_summary(whole: dict[str, Any], levels: dict[str, np.ndarray]) -> None:
    """The summary is for readers and is not read, but a text without it was not written by `to_json`."""
    confidence: Any = whole.get("confidence")
    clean, families = whole.get("clean"), _typed(whole, "families", dict)
    if not _is_number(confidence) or not 0 < confidence < 1:
        raise _broken("'confidence'", "a number between 0 and 1")
    if not isinstance(clean, dict) or not _is_interval([clean.get(name) for name in _INTERVAL]):
        raise _broken("'clean'", "a mean with its bounds")
    if families.keys() != levels.keys():
        raise _broken("'families'", f"an object with the families of 'levels', {sorted(levels)}")
    for name, at in levels.items():
        family = families[name] if isinstance(families[name], dict) else {}
        columns: list[Any] = [family.get(column) for column in ("levels", *_INTERVAL)]
        if not all(isinstance(column, list) and len(column) == len(at) for column in columns):
            raise _broken(f"the summary of {name!r}", f"a list of {len(at)} levels with their means and bounds")
        shown, *intervals = columns
        rounded = all(map(_is_number, shown)) and np.allclose(shown, at, rtol=0, atol=1e-6)
        if not rounded or not all(map(_is_interval, zip(*intervals, strict=True))):
            raise _broken(f"the summary of {name!r}", "a list of its levels with their means and bounds")


_INTERVAL = ("mean", "lower", "upper")


def _is_interval(values: Any) -> bool:
    mean, *bounds = values
    return _is_number(mean) and all(_is_number(bound, finite=False) for bound in bounds)  # infinite for one example


def _packed(scores: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(scores, "<f4")
    return {"shape": list(data.shape), "float32": base64.b85encode(zlib.compress(data.tobytes(), 9)).decode()}


def _unpacked(where: str, packed: Any, shape: tuple[int, ...]) -> np.ndarray:
    wanted = f"finite float32 scores of shape {list(shape)}"
    if not isinstance(packed, dict) or packed.get("shape") != list(shape) or not isinstance(packed.get("float32"), str):
        raise _broken(where, wanted)
    expander = zlib.decompressobj()
    try:
        data = expander.decompress(base64.b85decode(packed["float32"]), 4 * math.prod(shape) + 1)
    except (ValueError, zlib.error):
        raise _broken(where, wanted) from None
    if len(data) != 4 * math.prod(shape) or not expander.eof or expander.unused_data:
        raise _broken(where, wanted)
    scores = np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(scores).all():
        raise _broken(where, wanted)
    return scores
