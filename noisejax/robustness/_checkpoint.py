"""The checkpoint of a sweep: the report of the families measured so far, in a file that is always whole."""

from pathlib import Path
from typing import Any

import numpy as np

from noisejax.robustness._report import Report


class Checkpoint:
    """The families of a sweep that are in a file; without a path, none are and none are kept.

    Args:
      path: the file, which may not exist yet.
      current: the report of the current sweep, without families. A file of a different one is refused.
    """

    def __init__(self, path: Any, current: Report):
        self.path = None if path is None else Path(path)
        self.report = current
        if self.path is None:
            return
        if self.path.exists():
            saved = _read(self.path)
            _check_same(self.path, saved, current)
            self.report = saved
        else:
            self._write()  # now, so that a path that cannot be written does not cost the first family

    def scores(self, family: str, levels: np.ndarray) -> np.ndarray | None:
        """The scores of a family, if they were measured at these levels."""
        if family not in self.report.levels or not np.array_equal(self.report.levels[family], levels):
            return None
        return self.report.scores[family]

    def keep(self, family: str, levels: np.ndarray, scores: np.ndarray) -> None:
        """Adds a family, or replaces it."""
        if self.path is not None:
            self.report.levels[family], self.report.scores[family] = levels, scores
            self._write()

    def _write(self) -> None:
        assert self.path is not None
        draft = self.path.with_name(f".{self.path.name}.partial")
        draft.write_text(self.report.to_json(), encoding="utf-8")
        draft.replace(self.path)  # at once: whoever is killed leaves the old file or the new one


def _read(path: Path) -> Report:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return Report.from_json(text, max_bytes=2**63)  # a file of the caller, of any size
    except ValueError as error:
        raise ValueError(
            f"sweep: checkpoint must be a file that sweep wrote, or a new one, got {str(path)!r}. Choose a different "
            f"path. ({error})"
        ) from None


def _check_same(path: Path, saved: Report, current: Report) -> None:
    same = {
        "key or data": saved.pairing == current.pairing,
        "metric": saved.metric == current.metric,
        "number of draws": saved.draws == current.draws,
        "model": saved.clean_scores.shape == current.clean_scores.shape
        and np.allclose(saved.clean_scores, current.clean_scores, rtol=1e-4, atol=1e-6),
    }
    different = [what for what, is_same in same.items() if not is_same]
    if different:
        raise ValueError(
            f"sweep: checkpoint must be of the same sweep, got {str(path)!r} with a different {different[0]}. Choose a "
            "different path, or delete the file to measure again."
        )
