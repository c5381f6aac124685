"""Fashion-MNIST if it is installed, otherwise scikit-learn's digits: images as rows of numbers in [0, 1].

Fashion-MNIST is a Debian package: run ``apt-get install dataset-fashion-mnist``, or unpack it without root and put its
folder ``fashion-mnist`` into examples/data.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sklearn.datasets

PLACES = (Path(__file__).parent / "data" / "fashion-mnist", Path("/usr/share/datasets/fashion-mnist"))


class Images(NamedTuple):
    name: str
    shape: tuple[int, int]
    train: tuple[np.ndarray, np.ndarray]  # rows of float32 in [0, 1], and their classes, 0 to 9
    test: tuple[np.ndarray, np.ndarray]


def load(*, small: bool = False) -> Images:
    """Fashion-MNIST (60,000 and 10,000 images) if it is installed and not `small`, otherwise digits (1,300 and 497)."""
    for place in PLACES:
        if not small and (place / "train-images-idx3-ubyte.gz").exists():
            parts = [
                (_idx(place / f"{part}-images-idx3-ubyte.gz", 16), _idx(place / f"{part}-labels-idx1-ubyte.gz", 8))
                for part in ("train", "t10k")
            ]
            train, test = (((x.reshape(-1, 784) / 255).astype(np.float32), y.astype(np.int32)) for x, y in parts)
            return Images("Fashion-MNIST", (28, 28), train, test)
    if not small:
        print("Fashion-MNIST is not installed (see examples/_images.py). Using scikit-learn's digits instead.")
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    return Images("digits", (8, 8), (x[:1300], y[:1300]), (x[1300:], y[1300:]))


def _idx(path: Path, header: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)
