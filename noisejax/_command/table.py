"""A file with a table, and its rows as the numbers that the small network takes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

_MOST = 30  # categories of a column that get a feature of their own; the others share a row of zeros
_CLASSES = 20  # a target of whole numbers with at most so many values is a classification


class Problem(Exception):
    """What the user can fix; shown without a traceback."""


def read(path: str) -> Any:
    """A pandas data frame, or a polars one where pandas is not installed. The file is only read."""
    file = Path(path)
    if not file.exists():
        raise Problem(f"there is no file {path!r}.")
    if file.suffix.lower() not in (".csv", ".tsv", ".parquet", ".pq"):
        raise Problem(f"{path!r} must be a CSV or Parquet file, with a name that ends in .csv, .tsv or .parquet.")
    is_text, separator = file.suffix.lower() in (".csv", ".tsv"), "\t" if file.suffix.lower() == ".tsv" else ","
    try:
        try:
            import pandas as pd

            found = pd.read_csv(file, sep=separator) if is_text else pd.read_parquet(file)
        except ModuleNotFoundError:
            import polars as pl

            found = pl.read_csv(file, separator=separator) if is_text else pl.read_parquet(file)
    except ModuleNotFoundError as error:
        raise Problem(f"reading {path!r} needs {error.name}: pip install pandas pyarrow.") from None
    except Exception as error:  # whatever the parser raises
        raise Problem(f"{path!r} cannot be read as a table: {type(error).__name__}: {error}") from None
    if not len(found) or not len(found.columns):
        raise Problem(f"{path!r} has no rows.")
    return found


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows and labels."""

    frame: Any  # the features as they are in the file
    names: list[str]  # of the features
    x: np.ndarray  # numbers, and categories as columns of zeros and ones
    groups: tuple[int, ...]  # the feature of each column of x
    numbers: tuple[int, ...]  # the columns of x that are numbers
    fill: np.ndarray  # what a missing value becomes: the mean of a number, the most frequent category
    y: np.ndarray  # class numbers in int32, or numbers in float32
    classes: list[str]  # their names; [] for a regression


def table(frame: Any, target: str, task: str | None) -> Table:
    """Rows whose target is known."""
    names = list(map(str, frame.columns))
    if target not in names:
        raise Problem(f"--target: there is no column {target!r}. The columns are {', '.join(map(repr, names))}.")
    y = np.asarray(frame[target].to_numpy())
    known = ~np.array([value is None or value != value for value in y.tolist()])
    if known.sum() < 20:
        raise Problem(f"--target: {target!r} must be known in at least 20 rows, got {known.sum()} of {len(known)}.")
    frame = frame[[n for n in names if n != target]]
    frame = frame[known] if hasattr(frame, "iloc") else frame.filter(known)
    if not len(frame.columns):
        raise Problem(f"the table must have columns besides the target {target!r}.")
    labels, classes = _labels(y[known], target, task)
    blocks, groups, numbers, fill = [], [], [], []
    for n, name in enumerate(frame.columns):
        block, filled, is_number = _encoded(np.asarray(frame[name].to_numpy()))
        if is_number:
            numbers.append(len(groups))
        blocks.append(block)
        fill.append(filled)
        groups += [n] * block.shape[1]
    x = np.concatenate(blocks, 1).astype(np.float32)
    given = list(map(str, frame.columns))
    filled = np.concatenate(fill).astype(np.float32)
    return Table(frame, given, x, tuple(groups), tuple(numbers), filled, labels, classes)


def _labels(y: np.ndarray, target: str, task: str | None) -> tuple[np.ndarray, list[str]]:
    values = np.array([str(v) for v in y.tolist()]) if y.dtype.kind not in "biuf" else y
    different = np.unique(values)
    if len(different) < 2:
        raise Problem(f"--target: {target!r} must have at least two different values, got {str(different[0])!r} alone.")
    whole = values.dtype.kind in "biu" or (values.dtype.kind == "f" and np.all(values == np.round(values)))
    if task is None:
        task = "classification" if values.dtype.kind == "U" or (whole and len(different) <= _CLASSES) else "regression"
    if task == "regression":
        if values.dtype.kind == "U":
            raise Problem(f"--task regression needs a target of numbers, but {target!r} has {str(different[0])!r}.")
        return values.astype(np.float32), []
    if len(different) > 1000:
        raise Problem(
            f"--task classification: {target!r} has {len(different)} different values. Use --task regression."
        )
    names = [str(int(v)) if whole and values.dtype.kind == "f" else str(v) for v in different.tolist()]
    return np.searchsorted(different, values).astype(np.int32), names


def _encoded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """A column as columns of numbers, what a missing value becomes, and whether it is a number."""
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
        mean = float(np.nanmean(numbers)) if np.isfinite(numbers).any() else 0.0
        return numbers[:, None], np.array([mean]), True
    texts = np.array(["" if v is None or v != v else str(v) for v in values.tolist()])
    found, counts = np.unique(texts[texts != ""], return_counts=True)
    kept = found[np.argsort(-counts, kind="stable")[:_MOST]]
    if not len(kept):
        return np.zeros((len(texts), 1)), np.zeros(1), False
    return (texts[:, None] == kept[None]).astype(float), np.eye(len(kept))[0], False


def split(n: int, key: Any, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Random rows for training and for tests."""
    from noisejax._random import sample

    order = np.asarray(sample.permutation(key, "command", n))
    cut = max(1, int(n * share))
    return order[cut:], order[:cut]
