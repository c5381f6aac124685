"""Every family of geometry on one photograph, with the points, the box and the mask that move along.

    python examples/image_geometry.py [out.png]

Points are marked at corners of the building, the box is around the roof, and the mask is the sky. In the last picture
three noises are composed and read the photograph once.
"""

import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import sklearn.datasets

import noisejax as nj
from noisejax import image

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SHRINK = 6 if QUICK else 2
DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "assets" / "image_geometry.png"

photograph = sklearn.datasets.load_sample_image("china.jpg")[24:-3, :560]
height, width = (n // SHRINK for n in photograph.shape[:2])
picture = photograph[: height * SHRINK, : width * SHRINK].reshape(height, SHRINK, width, SHRINK, 3).mean((1, 3)) / 255
picture = jnp.asarray(picture[None], jnp.float32)
sky = (picture[..., 2:] > 0.6).astype(jnp.int32) * (jnp.arange(height) < 0.45 * height)[None, :, None, None]
CORNERS = [
    [205, 6],
    [96, 88],
    [319, 98],
    [86, 148],
    [329, 150],
    [64, 244],
    [351, 232],
    [481, 210],
]  # of roofs; an island
POINTS, BOX = jnp.asarray(CORNERS) / SHRINK, jnp.asarray([[94, 38, 321, 108]]) / SHRINK
unit = 2 / SHRINK  # amounts in pixels are those of the larger picture

FAMILIES = {
    "the photograph": nj.bind(image.translate, pixels=0.0),
    "pixel_shift(40)": nj.bind(image.pixel_shift, pixels=40 * unit),
    "translate(30, exact)": nj.bind(image.translate, pixels=30 * unit, kind="exact"),
    "rotate(20, exact)": nj.bind(image.rotate, degrees=20.0, kind="exact"),
    "shear(15, exact, along width)": nj.bind(image.shear, degrees=15.0, kind="exact", along="width"),
    "scale(0.4, exact)": nj.bind(image.scale, amount=0.4, kind="exact"),
    "perspective(0.7)": nj.bind(image.perspective, amount=0.7),
    "elastic(300, 9)": nj.bind(image.elastic, alpha=300 * unit**2, sigma=9.0 * unit),
    "thin_plate(12)": nj.bind(image.thin_plate, std=12 * unit),
}
PARTS = [nj.bind(image.elastic, alpha=200 * unit**2, sigma=9.0 * unit), nj.bind(image.rotate, degrees=30.0)]
PARTS.append(nj.bind(image.perspective, amount=0.5))


@jax.jit
def moved(noise, mask_noise, key):
    """The picture and the mask, where the points and the box went, and the colour that each point has there."""
    batch = {"picture": picture, "sky": sky}
    both = nj.on_entries({"picture": noise, "sky": mask_noise}, shared=True)
    placed = image.moved(both)(key, batch)["picture"]
    return both(key, batch), placed.points(POINTS[None])[0], placed.boxes(BOX[None])[0]


def draw(axes, title, noise, mask_noise, key):
    noisy, points, boxes = moved(noise, mask_noise, key)
    shown = np.array(noisy["picture"][0])
    mask = np.asarray(noisy["sky"][0, ..., 0]) > 0
    assert set(np.unique(noisy["sky"])) <= {0, 1}, "labels stay labels"
    shown[mask] = 0.6 * shown[mask] + 0.4 * np.array([1.0, 0.85, 0.2])
    axes.imshow(shown, interpolation="nearest")
    axes.scatter(
        *np.asarray(points).T, c=np.arange(len(points)), cmap="tab10", s=26, edgecolors="white", linewidths=0.8
    )
    for x0, y0, x1, y1 in np.asarray(boxes):
        axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="red", linewidth=1)
    axes.set_title(title, fontsize=7, pad=2)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    return np.asarray(points)


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT if DEFAULT.parent.exists() else Path(DEFAULT.name)
    figure, places = plt.subplots(2, 5, figsize=(10.5, 3.6), dpi=110)
    key = jax.random.key(4)
    print(f"{'':31}" + "".join(f"   point {n + 1}  " for n in range(3)))
    for axes, (title, noise) in zip(places.flat, FAMILIES.items(), strict=False):
        options = {**dict(noise.options), **({} if "shift" in title else {"order": 0})}
        labels = nj.bind(noise.function, **noise.amounts, **options)
        points = draw(axes, title, noise, labels, key)
        print(f"{title:31}" + "".join(f"{x:6.1f}{y:6.1f}" for x, y in points[:3]))
    title = "geometry(elastic, rotate, perspective)"
    draw(places.flat[-1], title, image.geometry(*PARTS), image.geometry(*PARTS, order=0), key)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.95, 0.02, 0.09)
    figure.savefig(out)
    PIL.Image.open(out).convert("RGB").quantize(64, dither=PIL.Image.Dither.NONE).save(out, optimize=True)
    print(f"wrote {out.name}: {out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
