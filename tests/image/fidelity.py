"""The distance of every corruption from its published definition, with the same draws. Needs their libraries.

``PYTHONPATH=tests python -m image.fidelity [FILE.json]`` prints a table on eight real pictures, five severities
and three tables. Glass blur has one picture, since its published loop is slow.
"""

import functools
import json
import pathlib
import sys
from collections.abc import Callable

import jax
import numpy as np

import noisejax as nj
from image import published, published_bar
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.bar import board

KEY = jax.random.key(3)
SIZES = {"imagenet": 224, "tiny": 64, "cifar": 32}
ELASTIC = {"imagenet": 244, "tiny": 64, "cifar": 32}
TEXTURES = np.random.default_rng(1).random((5, 256, 300, 3), np.float32)
_SMALL_ZOOM = [(end, 0.01) for end in (1.06, 1.11, 1.16, 1.21, 1.26)]
ZOOM = {
    "imagenet": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
    "tiny": _SMALL_ZOOM,
    "cifar": _SMALL_ZOOM,
}

# The largest mean absolute difference that a definition may leave, at any level of any table.
TOLERANCES = {
    "gaussian_blur": 1e-5,
    "defocus_blur": 1 / 255,
    "glass_blur": 0.2 / 255,  # single values are truncated the other way
    "motion_blur": 1 / 255,
    "zoom_blur": 1e-5,
    "snow": 2 / 255,
    "frost": 1 / 255,
    "spatter": 4 / 255,
    "fog": 1e-5,
    "brightness": 1e-5,
    "contrast": 1e-6,
    "saturate": 1e-5,
    "elastic_transform": 0.1 / 255,
    "pixelate": 1 / 255,
    "jpeg_compression": 0.75 / 255,
    "single_frequency_greyscale": 1e-5,
    "cocentric_sine_waves": 1e-4,  # where a sawtooth falls, rounding decides
    "plasma_noise": 1e-5,
    "checkerboard_cutout": 1e-3,  # on the edge of a field, rounding decides
    "ripple": 1e-5,
    "brownish_noise": 1e-5,
}


def tables(name: str) -> list[str]:
    """The tables that have a corruption."""
    return [table for table in SIZES if name in nj.image.TABLES[table]]


def draw(tag: str, *shape: int) -> np.ndarray:
    return np.asarray(words(KEY, f"image.{tag}", (1, *shape)))[0]


def _few(name: str, count: int) -> Callable:
    return lambda height, width: [(name, count, 1, 1)]


# The draws of C-bar for a height and a width: tags and shapes.
BAR: dict[str, Callable] = {
    "single_frequency_greyscale": _few("single_frequency_greyscale", 4),
    "cocentric_sine_waves": _few("cocentric_sine_waves", 5),
    "plasma_noise": _few("plasma_noise", 4),
    "checkerboard_cutout": lambda height, width: [
        ("checkerboard_cutout", 2, 1, 1),
        ("checkerboard_cutout.fields", *(board((height, width)),) * 2, 1),
    ],
    "ripple": _few("ripple", 4),
    "brownish_noise": lambda height, width: [("brownish_noise", height, (width + 1) // 2, 3)],
}


def theirs(name: str, table: str, level: int, x: np.ndarray) -> np.ndarray:
    """The published result for a picture (H, W, 3) in [0, 1], before its cast to 8 bits."""
    points = nj.image.TABLES[table][name][level - 1]
    points = points if isinstance(points, tuple) else (points,)
    module = published if hasattr(published, name) else published_bar
    return np.clip(getattr(module, name)(x, *_arguments(name, table, level, points, x)), 0, 1)


def _arguments(name: str, table: str, level: int, points: tuple, x: np.ndarray) -> tuple:
    height, width = x.shape[:2]
    if name == "zoom_blur":
        end, step = ZOOM[table][level - 1]
        return (np.arange(1, end, step),)
    if name == "motion_blur":
        return (*points, float(sample.uniform(draw(name, 1, 1, 1)).reshape(())) * 90 - 45)
    if name == "glass_blur":
        passes, reach = max(int(p[2]) for p in nj.image.TABLES[table][name]), points[1]
        w = draw(name, passes, height, width).astype(np.int64)
        down, right = ((half * 2 * reach >> 16) - reach for half in (w >> 16, w & 0xFFFF))
        return (*points, right, down)
    if name == "fog":
        size = 2 ** (max(height, width) - 1).bit_length()
        return (*points, np.asarray(sample.symmetric_uniform(draw(name, size, size, 1)), np.float64)[..., 0])
    if name == "snow":
        z = np.asarray(sample.normal(draw(name, height, width, 1)))[..., 0]
        return (*points, z, float(sample.uniform(draw("snow.angle", 1, 1, 1)).reshape(())) * 90 - 135)
    if name == "spatter":
        return (*points, np.asarray(sample.normal(draw(name, height, width, 1)), np.float64)[..., 0])
    if name == "frost":
        ends = (len(TEXTURES), TEXTURES.shape[1] - height, TEXTURES.shape[2] - width)
        u = np.asarray(sample.uniform(draw(name, 3, 1, 1))).reshape(3)
        which, top, left = (int(u[n] * end) for n, end in enumerate(ends))
        return (*points, TEXTURES[which, top : top + height, left : left + width])
    if name == "elastic_transform":
        corners = np.asarray(sample.symmetric_uniform(draw("elastic_transform.affine", 3, 2, 1)))[..., 0]
        field = np.asarray(sample.symmetric_uniform(draw(name, height, width, 2)), np.float64)
        return (*(ELASTIC[table] * p for p in points), corners, field)
    if name in BAR:
        draws = (sample.uniform(draw(*tag)) for tag in BAR[name](height, width))
        return (*points, *(np.squeeze(np.asarray(u, np.float64)) for u in draws))
    return points


@functools.cache
def compiled(name: str, table: str):
    return jax.jit(functools.partial(getattr(nj.image, name), table=table))


def ours(name: str, table: str, level: int, x: np.ndarray) -> np.ndarray:
    more = (TEXTURES,) if name == "frost" else ()
    return np.asarray(compiled(name, table)(KEY, x[None].astype(np.float32), np.float32(level), *more))[0]


def difference(name: str, table: str, level: int, x: np.ndarray) -> float:
    return float(np.abs(ours(name, table, level, x) - theirs(name, table, level, x)).mean())


def photographs(size: int) -> list[np.ndarray]:
    """Eight colour photographs of scikit-image, scaled."""
    from PIL import Image
    from skimage import data

    whole = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    halves = [part for picture in whole for part in np.array_split(picture, 2, axis=1)]
    return [np.asarray(Image.fromarray(half).resize((size, size))) / 255 for half in halves]


def main() -> None:
    found = {}
    for name, tolerance in TOLERANCES.items():
        for table in tables(name):
            seen = photographs(SIZES[table])[: 1 if name == "glass_blur" else None]
            levels = [max(difference(name, table, level, x) for x in seen) for level in range(1, 6)]
            found[f"{name} {table}"] = {"levels": levels, "tolerance": tolerance, "pass": max(levels) <= tolerance}
            verdict = "pass" if max(levels) <= tolerance else "FAIL"
            print(f"{name:18} {table:9} {max(levels):.1e} (tolerance {tolerance:.1e}) {verdict}", flush=True)  # noqa: T201
    for path in sys.argv[1:]:
        pathlib.Path(path).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
