"""The checkpoint of a sweep: a journal with one line for each measured level, to which lines are only appended.

A process that is killed while it writes leaves an incomplete last line, which is ignored and overwritten.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from noisejax.robustness._report.packing import packed, unpacked

_VERSION = 1


class Journal:
    """What was measured, in a file; without a path, nothing. The head says what it belongs to."""

    def __init__(self, path: Any, head: dict[str, Any], function: str = "sweep"):
        self.path, self.cells, self.function = None if path is None else Path(path), {}, function
        if self.path is None:
            return
        head = {"noisejax": f"noisejax {function}, {_VERSION}", **head}
        if self.path.exists() and self.path.stat().st_size:
            good = self._read(head)
            with self.path.open("r+b") as file:
                file.truncate(good)
        if not self.path.exists() or not self.path.stat().st_size:
            self._append(head)

    def cell(self, family: str, level: float) -> dict[str, Any] | None:
        return self.cells.get((family, level))

    def keep(self, family: str, level: float, cell: dict[str, Any]) -> None:
        if self.path is None:
            return
        arrays = {name: packed(value) for name, value in cell["arrays"].items()}
        self._append({"family": family, "level": level, **cell, "arrays": arrays})

    def _append(self, record: dict[str, Any]) -> None:
        assert self.path is not None
        text = json.dumps(record).encode()
        with self.path.open("ab") as file:
            file.write(b"%08x %s\n" % (zlib.crc32(text), text))
            file.flush()
            os.fsync(file.fileno())

    def _read(self, head: dict[str, Any]) -> int:
        """Reads all whole lines. Returns the number of their bytes."""
        assert self.path is not None
        good = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                record = _record(line)
                if number == 0:
                    if record is None and not line.endswith(b"\n") and line[9:].startswith(b'{"noisejax"'):
                        return 0  # killed while the first line was written
                    self._same(record, head)
                elif record is None:
                    break
                else:
                    arrays = {name: unpacked(name, value) for name, value in record.pop("arrays").items()}
                    self.cells[record.pop("family"), record.pop("level")] = {**record, "arrays": arrays}
                good += len(line)
        return good

    def _same(self, saved: dict[str, Any] | None, head: dict[str, Any]) -> None:
        if saved is None or saved.get("noisejax") != head["noisejax"]:
            raise ValueError(
                f"{self.function}: checkpoint must be a file that {self.function} wrote, or a new one, got "
                f"{str(self.path)!r}. Choose a different path."
            )
        clean = np.shape(saved["clean"]) == np.shape(head["clean"]) and np.allclose(
            np.asarray(saved["clean"], float), np.asarray(head["clean"], float), rtol=1e-4, atol=1e-6
        )
        same = {name: saved.get(name) == value for name, value in head.items() if name != "clean"}
        different = [name for name, is_same in {**same, "model": clean}.items() if not is_same]
        if different:
            raise ValueError(
                f"{self.function}: checkpoint must be of the same {self.function}, got {str(self.path)!r} with a "
                f"different {different[0]}. Choose a different path, or delete the file to measure again."
            )


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        if not line.endswith(b"\n") or int(line[:8], 16) != zlib.crc32(line[9:-1]):
            return None
        record = json.loads(line[9:-1])
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
