"""Noises of `noisejax.text` on the strings of a column."""

from typing import Any

import numpy as np

from noisejax._noise import Noise
from noisejax._random.stream import Stream
from noisejax.frame._cells import Cells
from noisejax.text import on_strings


def needs_strings(function: str, name: str, cells: Cells) -> None:
    """Requires a column of strings, or of categories that are strings."""
    if cells.kind not in ("text", "dictionary"):
        raise TypeError(
            f"{function}: {name} is for strings, and the column {cells.name!r} has the dtype {cells.series.dtype}. For "
            "numbers use nj.tabular.digit, or cast the column."
        )


def noisy_texts(function: str, noise: Noise, key: Stream, cells: Cells, numbers: np.ndarray, extend: bool) -> None:
    """Applies a noise of texts to a column, each string drawn by the number of its row. Other values stay."""
    named: Any = noise.function
    needs_strings(function, getattr(named, "name", "") or named.__name__, cells)
    rows = np.arange(cells.n) if cells.null is None else np.flatnonzero(~cells.null)
    strings = cells.at(rows)
    whole = np.fromiter((isinstance(string, str) for string in strings), bool, len(strings))
    rows, strings = rows[whole], strings[whole].tolist()
    stream: Any = key
    noisy = on_strings(noise)(stream, strings, ids=numbers[rows])
    changed = [n for n, (before, after) in enumerate(zip(strings, noisy, strict=True)) if before != after]
    if changed:
        cells.set_text(rows[changed], [noisy[n] for n in changed], extend)
