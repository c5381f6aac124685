"""The common corruptions on a photograph, at the five published severities.

    python examples/image_corruptions.py [folder]

It writes one picture per family: noise, blur, weather, digital, the four for validation, and six of C-bar. The first
column is the photograph. Frost is procedural here, since the published photographs of frost are not part of the
library. Ripples have the table of CIFAR-10-C-bar, the only one that was published for them.
"""

import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageDraw
from sklearn.datasets import load_sample_image

import noisejax as nj

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SIZE, SHOWN, SEVERITIES = (32, 32, (1, 5)) if QUICK else (224, 96, (1, 2, 3, 4, 5))
TABLE = "cifar" if QUICK else "imagenet"
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running
TITLE = 14  # pixels above each row

names = [noise.__name__ for noise in nj.image.CORRUPTIONS]
FAMILIES = {
    "noise": names[:3],
    "blur": names[3:7],
    "weather": ["frost_like" if name == "frost" else name for name in names[7:11]],
    "digital": names[11:],
    "validation": [noise.__name__ for noise in nj.image.VALIDATION],
    "bar": [noise.__name__ for noise in nj.image.C_BAR],
}
if QUICK:
    FAMILIES = {family: members[:1] for family, members in FAMILIES.items() if family != "bar"}


def photograph(size: int) -> jax.Array:
    """The square in the middle of scikit-learn's photograph of a palace."""
    whole = load_sample_image("china.jpg")
    side = min(whole.shape[:2])
    top, left = ((n - side) // 2 for n in whole.shape[:2])
    square = PIL.Image.fromarray(whole[top : top + side, left : left + side])
    return jnp.asarray(np.asarray(square.resize((size, size), PIL.Image.Resampling.BOX)))


def small(picture: jax.Array) -> np.ndarray:
    return np.asarray(PIL.Image.fromarray(np.asarray(picture)).resize((SHOWN, SHOWN), PIL.Image.Resampling.BOX))


def page(members: list[str], x: jax.Array, key: jax.Array) -> PIL.Image.Image:
    """A row for each corruption, and a column for each severity."""
    canvas = PIL.Image.new("RGB", ((len(SEVERITIES) + 1) * SHOWN, len(members) * (SHOWN + TITLE)), "white")
    for row, name in enumerate(members):
        noise = jax.jit(getattr(nj.image, name), static_argnames="table")  # one program for all severities
        table = "cifar" if name == "ripple" else TABLE
        pictures = [x, *(noise(key, x, float(severity), table=table) for severity in SEVERITIES)]
        strip = np.concatenate([small(picture) for picture in pictures], axis=1)
        top = row * (SHOWN + TITLE)
        PIL.ImageDraw.Draw(canvas).text((2, top + 1), name, fill="black")
        canvas.paste(PIL.Image.fromarray(strip), (0, top + TITLE))
        change = [float(jnp.abs(picture.astype(jnp.float32) - x.astype(jnp.float32)).mean()) for picture in pictures]
        print(f"{name:27}" + "".join(f"{c:7.1f}" for c in change[1:]))
    return canvas


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out"
folder.mkdir(exist_ok=True, parents=True)
x = photograph(SIZE)
print("mean change in grey levels at severity  " + "  ".join(map(str, SEVERITIES)))
for family, members in FAMILIES.items():
    path = folder / f"corruptions-{family}.png"
    # Few colours keep the file small.
    page(members, x, jax.random.key(0)).quantize(64, dither=PIL.Image.Dither.NONE).save(path, optimize=True)
    print(path, f"{path.stat().st_size // 1024} kB")
