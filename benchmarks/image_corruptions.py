"""Pictures per second and core of every common corruption, against imagecorruptions in the same run.

    python -m benchmarks.image_corruptions [--json FILE] [--only NAME,NAME] [--keep-pages] [--page] [--from-results]

All are timed in processor time on 64 pictures of 224 by 224, in turn, and the medians are compared; compiling is timed
by the clock. With --only, the rows of the JSON file for other corruptions stay as they are, so that the run can be cut
into parts. --page writes docs/results/image-corruptions.md; with --from-results nothing is measured before.

64 pictures in float32 are 38 MB. From 32 MB on, glibc asks the system again for every array, and each of its pages is
cleared at the first write: a copy of the pictures then takes as long as some corruptions. With --keep-pages the program
starts itself again with an allocator that keeps what is freed, and stores the rows next to the others.

imagecorruptions runs on current libraries after three replacements of names that they removed. albumentations and
torchvision have other definitions of what they call by similar names, so their columns say what a user of them gets,
not which is right. They are left out where they are not installed.
"""

import json
import os
import pathlib
import statistics
import sys
import textwrap
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import measure, pages

SMOKE = "--smoke" in sys.argv
BATCH, REPEATS, LEVEL = (2, 1, 3) if SMOKE else (64, 5, 3)
RESULTS = pathlib.Path(__file__).parent / "results" / "image_corruptions-cpu.json"
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "results" / "image-corruptions.md"
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_TOP_PAD_": str(2**28)}
# The least ratio to imagecorruptions that each was meant to reach.
BARS = {
    "gaussian_noise": 8,
    "shot_noise": 5,
    "impulse_noise": 8,
    "speckle_noise": 5,
    "defocus_blur": 2.5,
    "glass_blur": 40,
    "motion_blur": 5,
    "zoom_blur": 20,
    "snow": 5,
    "frost": 5,
    "fog": 3.5,
    "brightness": 20,
    "contrast": 3.5,
    "elastic_transform": 4,
    "pixelate": 0.3,
    "jpeg_compression": 0.2,
    "gaussian_blur": 1.5,
    "spatter": 2,
    "saturate": 6,
}


def peer():
    """The function ``corrupt`` of imagecorruptions, made to run."""
    import functools
    import types

    import scipy.ndimage
    import skimage.filters

    sys.modules.setdefault("scipy.ndimage.interpolation", scipy.ndimage)
    resources = types.ModuleType("pkg_resources")
    here: Any = resources
    here.resource_filename = lambda name, path: str(pathlib.Path(sys.modules[name].__file__ or "").parent / path)
    sys.modules.setdefault("pkg_resources", resources)
    vars(np).setdefault("float_", np.float64)
    original = skimage.filters.gaussian

    @functools.wraps(original)
    def gaussian(*args, multichannel=None, **keywords):
        return original(*args, **keywords, **({"channel_axis": -1} if multichannel else {}))

    skimage.filters.gaussian = gaussian
    import cv2
    from imagecorruptions import corrupt

    cv2.setNumThreads(1)
    return corrupt


def albumentations_peers() -> dict[str, Any]:
    """Functions of one uint8 picture at about severity 3, by the name of the corruption."""
    try:
        import albumentations as a
    except ImportError:
        return {}
    made = {
        "gaussian_noise": lambda: a.GaussNoise(std_range=(0.18, 0.18), p=1),
        "shot_noise": lambda: a.ShotNoise(scale_range=(0.08, 0.08), p=1),
        "impulse_noise": lambda: a.SaltAndPepper(amount=(0.09, 0.09), p=1),
        "speckle_noise": lambda: a.MultiplicativeNoise((0.65, 1.35), per_channel=True, elementwise=True, p=1),
        "defocus_blur": lambda: a.Defocus(radius=(6, 6), alias_blur=(0.5, 0.5), p=1),
        "glass_blur": lambda: a.GlassBlur(sigma=1.0, max_delta=2, iterations=3, p=1),
        "motion_blur": lambda: a.MotionBlur(blur_limit=(31, 31), p=1),
        "zoom_blur": lambda: a.ZoomBlur(max_factor=(1.21, 1.21), step_factor=(0.02, 0.02), p=1),
        "snow": lambda: a.RandomSnow(p=1),
        "fog": lambda: a.RandomFog(p=1),
        "brightness": lambda: a.RandomBrightnessContrast((0.3, 0.3), (0, 0), p=1),
        "contrast": lambda: a.RandomBrightnessContrast((0, 0), (-0.8, -0.8), p=1),
        "elastic_transform": lambda: a.ElasticTransform(alpha=12, sigma=2.4, p=1),
        "pixelate": lambda: a.Downscale(scale_range=(0.4, 0.4), p=1),
        "jpeg_compression": lambda: a.ImageCompression(quality_range=(15, 15), p=1),
        "gaussian_blur": lambda: a.GaussianBlur(sigma_limit=(3, 3), blur_limit=0, p=1),
        "spatter": lambda: a.Spatter(mode="rain", p=1),
        "saturate": lambda: a.HueSaturationValue(0, (60, 60), 0, p=1),
    }
    found = {}
    for name, make in made.items():
        transform = make()
        found[name] = lambda picture, transform=transform: transform(image=picture)["image"]
    return found


def torchvision_peers() -> dict[str, Any]:
    """Functions of one uint8 picture, channels first."""
    try:
        import torch
        from torchvision.transforms import v2
        from torchvision.transforms.v2 import functional
    except ImportError:
        return {}
    torch.set_num_threads(1)
    noise, elastic = v2.GaussianNoise(sigma=0.18), v2.ElasticTransform(alpha=12.0, sigma=2.4)
    return {
        "gaussian_noise": lambda x: noise(x.float() / 255),
        "brightness": lambda x: functional.adjust_brightness(x, 1.3),
        "contrast": lambda x: functional.adjust_contrast(x, 0.2),
        "saturate": lambda x: functional.adjust_saturation(x, 2.0),
        "gaussian_blur": lambda x: functional.gaussian_blur(x, [25, 25], [3.0, 3.0]),
        "elastic_transform": elastic,
        "jpeg_compression": lambda x: functional.jpeg(x, 15),
    }


def rate(count: int, function) -> float:
    """Pictures per second of processor time."""
    function()
    return statistics.median(count / seconds(function) for _ in range(REPEATS))


def seconds(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measured(noise, corrupt, pictures, x, peers) -> dict[str, Any]:
    name, key = noise.__name__, jax.random.key(0)
    rng = np.random.default_rng(1)
    more = (jnp.asarray(rng.random((5, 400, 400, 3), np.float32)),) if name == "frost" else ()
    start = time.perf_counter()
    compiled = jax.jit(noise).lower(key, x, np.float32(LEVEL), *more).compile()
    row: dict[str, Any] = {"name": name, "bar": BARS[name], "compile": time.perf_counter() - start}
    grey = jnp.asarray(pictures)
    of_bytes = jax.jit(noise).lower(key, grey, np.float32(LEVEL), *more).compile()
    count = {"glass_blur": 1, "zoom_blur": 16}.get(name, BATCH)  # theirs take so long that fewer are enough
    try:
        corrupt(pictures[0], severity=LEVEL, corruption_name=name)
        theirs = rate(count, lambda: [corrupt(p, severity=LEVEL, corruption_name=name) for p in pictures[:count]])
    except Exception as error:  # a definition that current libraries refuse
        print(f"{name}: imagecorruptions fails, {error}")
        theirs = None
    row["ours"] = rate(BATCH, lambda: jax.block_until_ready(compiled(key, x, np.float32(LEVEL), *more)))
    row["ours_uint8"] = rate(BATCH, lambda: jax.block_until_ready(of_bytes(key, grey, np.float32(LEVEL), *more)))
    row["imagecorruptions"], row["ratio"] = theirs, theirs and row["ours"] / theirs
    row["ratio_uint8"] = theirs and row["ours_uint8"] / theirs
    for library, (functions, given) in peers.items():
        if name in functions:
            try:
                row[library] = rate(BATCH, lambda f=functions[name], given=given: [f(picture) for picture in given])
            except RuntimeError as error:  # built without a part
                print(f"{name}: {library} fails, {error}")
    return row


def line(row: dict[str, Any], libraries) -> str:
    def shown(value, form):
        return format(value, form) if value is not None else "-".rjust(len(format(0.0, form)))

    ratio, of_bytes = row["ratio"], row["ratio_uint8"]
    verdict = "-" if ratio is None else "pass" if ratio >= row["bar"] else "MISS"
    columns = [shown(row.get(column), "9.0f") for column in ("ours", "ours_uint8", "imagecorruptions", *libraries)]
    ratios = f"{shown(ratio, '8.2f')}{shown(of_bytes, '8.2f')}"
    return f"{row['name']:18}{''.join(columns)}{ratios} {row['bar']:6} {verdict:5}{row['compile']:6.1f} s"


def measured_rows() -> list[dict[str, Any]]:
    corrupt, rng = peer(), np.random.default_rng(0)
    smooth = rng.random((BATCH, 28, 28, 3)).repeat(8, 1).repeat(8, 2)
    pictures = np.uint8(255 * np.clip(smooth + 0.05 * rng.standard_normal(smooth.shape), 0, 1))
    x = jnp.asarray(pictures / np.float32(255))
    peers: dict[str, Any] = {}
    if functions := albumentations_peers():
        peers["albumentations"] = (functions, pictures)
    if functions := torchvision_peers():
        import torch

        peers["torchvision"] = (functions, [torch.from_numpy(p.transpose(2, 0, 1).copy()) for p in pictures])
    only = option("--only")
    names = only.split(",") if only else []
    print(
        "pictures per second: ours in float32 and uint8, imagecorruptions,", ", ".join(peers), "| ratios, bar, compile"
    )
    path, place = pathlib.Path(option("--json") or RESULTS), "rows, pages kept" if kept_pages() else "rows"
    stored = json.loads(path.read_text()) if path.exists() else {}
    kept = {row["name"]: row for row in stored.get(place, [])} if names else {}
    for noise in (*nj.image.CORRUPTIONS, *nj.image.VALIDATION):
        if not names or noise.__name__ in names:
            kept[noise.__name__] = measured(noise, corrupt, pictures, x, peers)
            print(line(kept[noise.__name__], peers), flush=True)
    rows = [kept[name] for name in BARS if name in kept]
    for text in verdicts(rows):
        print(text)
    copy = jax.jit(lambda x: x * np.float32(1.5))
    copied = rate(BATCH, lambda: jax.block_until_ready(copy(x)))
    print(f"a copy of the pictures in float32: {copied:.0f}")
    if not SMOKE:
        if kept_pages():
            stored |= {place: rows, "copy, pages kept": copied}
        else:
            about = measure.environment("python -m benchmarks.image_corruptions")
            stored |= {"level": LEVEL, "batch": BATCH, "measured": about, "copy": copied, place: rows}
        path.write_text(json.dumps(stored, indent=1) + "\n")
    return rows


def kept_pages() -> bool:
    return all(os.environ.get(name) == value for name, value in KEEPING.items())


def option(name: str) -> str | None:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    texts = []
    for of, ratio in (("float32", "ratio"), ("uint8", "ratio_uint8")):
        known = [row for row in rows if row[ratio] is not None]
        missed = [row["name"] for row in known if row[ratio] < row["bar"]]
        median = statistics.median(row[ratio] for row in known)
        texts.append(f"{of}: median ratio {median:.2f}x; below their bar: {', '.join(missed) or 'none'}")
    slow = [row["name"] for row in rows if row["compile"] > 2]
    return [
        *texts,
        f"compiled in more than 2 s: {', '.join(slow) or 'none'}",
    ]


def page(found: dict[str, Any]) -> str:
    """The table in Markdown."""
    columns = ("ours", "ours_uint8", "imagecorruptions", "albumentations", "torchvision")
    rows, kept = found["rows"], {row["name"]: row["ratio"] for row in found.get("rows, pages kept", [])}
    about = (
        f"Pictures of 224 by 224 per second and core, at severity {found['level']} in batches of {found['batch']}. The "
        "ratios are those of float32 and of uint8 to imagecorruptions, which takes and returns bytes. The bars were "
        "set before, for float32. albumentations and torchvision have other definitions under similar names. Where "
        "OpenCV works on bytes with look-up tables, it wins. `python -m benchmarks.image_corruptions --page` makes "
        "this page."
    )
    heads = ("", "float32", "uint8", *columns[2:], "ratio", "ratio of uint8", "ratio, kept", "bar", "", "compiled in")
    lines = [
        "# Speed of the common corruptions",
        "",
        textwrap.fill(about, 120),
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]

    def two(value):
        return "" if value is None else f"{value:.2f}"

    for row in rows:
        speeds = " | ".join("" if row.get(c) is None else f"{row[c]:.0f}" for c in columns)
        ratio, of_bytes = row["ratio"] or 0, row["ratio_uint8"] or 0
        verdict = "reached" if ratio >= row["bar"] else "uint8 only" if of_bytes >= row["bar"] else "missed"
        more = f"{two(of_bytes)} | {two(kept.get(row['name']))} | {row['bar']} | {verdict} | {row['compile']:.1f} s"
        lines.append(f"| {row['name']} | {speeds} | {two(ratio)} | {more} |")
    texts = [f"{text[0].upper()}{text[1:].replace('x;', ' times;', 1)}." for text in verdicts(rows)]
    lines += ["", textwrap.fill(" ".join(texts), 120)]
    if kept:
        median = statistics.median(value for value in kept.values() if value is not None)
        settings = " ".join(f"{name}={value}" for name, value in KEEPING.items())
        more = (
            f"64 pictures in float32 are 38 MB, and a copy of them makes {found['copy']:.0f} pictures per second: "
            "glibc asks the system for arrays of more than 32 MB each time, and the system clears their pages. Column "
            f"'ratio, kept' has the ratios of float32 with an allocator that keeps what is freed, `{settings}`. Then a "
            f"copy makes {found['copy, pages kept']:.0f}, and the median ratio is {median:.2f}. The same settings help "
            "any program with large arrays on CPUs."
        )
        lines += ["", textwrap.fill(more, 120, break_long_words=False, break_on_hyphens=False)]
    return "\n".join([*lines, "", pages.where(found["measured"])]) + "\n"


def main() -> None:
    if "--keep-pages" in sys.argv and not kept_pages():
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.image_corruptions", *sys.argv[1:]], os.environ | KEEPING
        )
    if "--from-results" not in sys.argv:
        measured_rows()
    if "--page" in sys.argv:
        PAGE.write_text(page(json.loads(pathlib.Path(option("--json") or RESULTS).read_text())))


if __name__ == "__main__":
    main()
