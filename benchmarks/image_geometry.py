"""Pictures per second and core of every noise that moves pictures, against albumentations and torchvision.

    pip install albumentations torchvision
    python -m benchmarks.image_geometry [--json FILE] [--smoke] [--ours]

All are timed in one run and in turn, on batches of 64 pictures of 224 by 224, with one draw for each picture, and the
medians are compared. On a CPU the time is that of the processor, with one thread for each library, since others may use
the machine. On a GPU, or with ``--ours``, only this library is timed, by the clock. albumentations works on uint8, as
its users do, and torchvision on tensors of float32.
"""

import pathlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import kept
from noisejax import image

SMOKE, SIDE = "--smoke" in sys.argv, 224
BATCH, REPEATS = (4, 1) if SMOKE else (64, 5)
GPU = jax.default_backend() != "cpu"
ALONE = GPU or "--ours" in sys.argv
ROTATED, BENT = nj.bind(image.rotate, degrees=30.0), nj.bind(image.elastic, alpha=50.0, sigma=5.0)
SEEN = nj.bind(image.perspective, amount=0.3)
NOISES = {
    "pixel_shift": nj.bind(image.pixel_shift, pixels=20.0),
    "translate": nj.bind(image.translate, pixels=20.0),
    "rotate": ROTATED,
    "shear": nj.bind(image.shear, degrees=15.0),
    "scale": nj.bind(image.scale, amount=0.2),
    "perspective": SEEN,
    "elastic": BENT,
    "thin_plate": nj.bind(image.thin_plate, std=8.0),
    "geometry of three": image.geometry(ROTATED, BENT, SEEN),
    "rotate, order 0": nj.bind(image.rotate, degrees=30.0, order=0),
    "rotate, order 3": nj.bind(image.rotate, degrees=30.0, order=3),
}


def albumentations_() -> dict[str, Callable]:
    import albumentations
    import cv2

    cv2.setNumThreads(1)
    edge = {"border_mode": cv2.BORDER_REPLICATE}
    rotated = albumentations.Affine(rotate=(-30, 30), p=1, **edge)
    bent = albumentations.ElasticTransform(alpha=50, sigma=5, p=1, **edge)
    seen = albumentations.Perspective(scale=(0.0, 0.15), fit_output=False, p=1, **edge)
    made = {
        "pixel_shift": albumentations.Affine(translate_px=(-20, 20), interpolation=cv2.INTER_NEAREST, p=1, **edge),
        "translate": albumentations.Affine(translate_px=(-20, 20), p=1, **edge),
        "rotate": rotated,
        "shear": albumentations.Affine(shear=(-15, 15), p=1, **edge),
        "scale": albumentations.Affine(scale=(0.8, 1.2), p=1, **edge),
        "perspective": seen,
        "elastic": bent,
        "thin_plate": albumentations.ThinPlateSpline(scale_range=(0.036, 0.036), num_control_points=3, p=1, **edge),
        "geometry of three": albumentations.Compose([rotated, bent, seen]),
        "rotate, order 0": albumentations.Affine(rotate=(-30, 30), interpolation=cv2.INTER_NEAREST, p=1, **edge),
        "rotate, order 3": albumentations.Affine(rotate=(-30, 30), interpolation=cv2.INTER_CUBIC, p=1, **edge),
    }
    return {name: lambda picture, f=f: f(image=picture)["image"] for name, f in made.items()}


def torchvision_() -> dict[str, Callable]:
    import torch
    from torchvision.transforms import InterpolationMode, v2

    torch.set_num_threads(1)
    linear = InterpolationMode.BILINEAR
    rotated = v2.RandomRotation(30, interpolation=linear)
    bent = v2.ElasticTransform(alpha=50.0, sigma=5.0)
    seen = v2.RandomPerspective(0.3, p=1.0)
    return {
        "pixel_shift": v2.RandomAffine(0, translate=(20 / SIDE, 20 / SIDE)),
        "translate": v2.RandomAffine(0, translate=(20 / SIDE, 20 / SIDE), interpolation=linear),
        "rotate": rotated,
        "shear": v2.RandomAffine(0, shear=[-15.0, 15.0, -15.0, 15.0], interpolation=linear),
        "scale": v2.RandomAffine(0, scale=(0.8, 1.2), interpolation=linear),
        "perspective": seen,
        "elastic": bent,
        "geometry of three": v2.Compose([rotated, bent, seen]),
        "rotate, order 0": v2.RandomRotation(30),
    }


def seconds(function: Callable) -> float:
    clock = time.perf_counter if GPU else time.process_time
    start = clock()
    function()
    return clock() - start


def main() -> None:
    rng = np.random.default_rng(0)
    smooth = rng.random((BATCH, 28, 28, 3)).repeat(8, 1).repeat(8, 2)
    whole = np.uint8(255 * np.clip(smooth + 0.05 * rng.standard_normal(smooth.shape), 0, 1))
    key = jax.random.key(0)
    given = {"float32": jnp.asarray(whole / np.float32(255)), "uint8": jnp.asarray(whole)}
    peers: dict[str, dict[str, Callable]] = {}
    tensors = []
    if not ALONE:
        import torch

        warnings.simplefilter("ignore")
        peers = {"albumentations": albumentations_(), "torchvision": torchvision_()}
        tensors = list(torch.tensor(whole / np.float32(255)).permute(0, 3, 1, 2).contiguous())
    rows = []
    for name, noise in NOISES.items():
        runs: dict[str, Callable] = {}
        row: dict = {"name": name}
        for dtype, x in given.items():
            start = time.perf_counter()
            compiled = jax.jit(noise).lower(key, x).compile()
            row[f"compile {dtype}"] = time.perf_counter() - start
            runs[dtype] = lambda compiled=compiled, x=x: jax.block_until_ready(compiled(key, x))
        for peer, functions in peers.items():
            if name in functions:
                pictures = whole if peer == "albumentations" else tensors
                runs[peer] = lambda f=functions[name], pictures=pictures: [f(picture) for picture in pictures]
        for run in runs.values():
            run()
        times = {who: [seconds(run) for _ in range(REPEATS)] for who, run in runs.items()}
        row |= {who: BATCH / statistics.median(found) for who, found in times.items()}
        rows.append(row)
        print(f"{name:18}" + "".join(f"  {who} {row[who]:8.0f}" for who in runs), flush=True)
    if "--json" in sys.argv:
        device = jax.devices()[0].device_kind
        about = {"command": "python -m benchmarks.image_geometry", "date": time.strftime("%Y-%m-%d")}
        found = {**about, "batch": BATCH, "side": SIDE, "jax": jax.__version__, "device": device}
        text = kept.pack({**found, "rows": kept.kept("image_geometry-cpu", rows)})
        pathlib.Path(sys.argv[sys.argv.index("--json") + 1]).write_text(text)


if __name__ == "__main__":
    main()
