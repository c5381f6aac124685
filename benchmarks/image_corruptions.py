"""Pictures per second and core of every common corruption, against imagecorruptions in the same run.

    python -m benchmarks.image_corruptions

Both are timed in processor time on pictures of 224 by 224, in turn, and the medians are compared. imagecorruptions runs
on current libraries after three replacements of names that they removed.
"""

import json
import pathlib
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj

SMOKE = "--smoke" in sys.argv
BATCH, REPEATS, LEVEL = (2, 1, 3) if SMOKE else (16, 3, 3)
VALIDATION = (nj.image.speckle_noise, nj.image.gaussian_blur, nj.image.saturate)


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


def seconds(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    corrupt, rng = peer(), np.random.default_rng(0)
    smooth = rng.random((BATCH, 28, 28, 3)).repeat(8, 1).repeat(8, 2)
    pictures = np.uint8(255 * np.clip(smooth + 0.05 * rng.standard_normal(smooth.shape), 0, 1))
    x, key = jnp.asarray(pictures / np.float32(255)), jax.random.key(0)
    textures = jnp.asarray(rng.random((5, 400, 400, 3), np.float32))
    rows = []
    for noise in (*nj.image.CORRUPTIONS, *VALIDATION):
        name = noise.__name__
        more = (textures,) if name == "frost" else ()
        start = time.perf_counter()
        compiled = jax.jit(noise).lower(key, x, np.float32(LEVEL), *more).compile()
        compiling = time.perf_counter() - start
        count = 1 if name == "glass_blur" else BATCH

        def ours(compiled=compiled, more=more):
            return jax.block_until_ready(compiled(key, x, np.float32(LEVEL), *more))

        def theirs(name=name, count=count):
            return [corrupt(picture, severity=LEVEL, corruption_name=name) for picture in pictures[:count]]

        ours()
        pairs = [(BATCH / seconds(ours), count / seconds(theirs)) for _ in range(REPEATS)]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(
            {"name": name, "ours": mine, "imagecorruptions": other, "ratio": mine / other, "compile": compiling}
        )
        print(f"{name:18} {mine:7.0f} {other:7.1f} {mine / other:7.2f}x  compiled in {compiling:.1f} s", flush=True)
    print(f"median ratio {statistics.median(row['ratio'] for row in rows):.2f}x")
    if not SMOKE and "--json" in sys.argv:
        found = {"level": LEVEL, "batch": BATCH, "jax": jax.__version__, "rows": rows}
        pathlib.Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
