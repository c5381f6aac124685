"""Every corruption against its published definition, with the same draws."""

import importlib.util

import numpy as np
import pytest

NEEDED = [name for name in ("cv2", "skimage", "PIL") if importlib.util.find_spec(name) is None]
if NEEDED:
    pytest.skip(f"the published definitions need {', '.join(NEEDED)}", allow_module_level=True)

from image import fidelity  # noqa: E402 it needs them


def picture(size: int) -> np.ndarray:
    """A smooth picture with edges and grain, of whole grey levels, not square."""
    i, j = np.mgrid[: size - 4, :size] / size
    colours = np.stack([np.sin(5 * i + c) * np.cos(7 * j - c) for c in range(3)], -1)
    grain = np.random.default_rng(0).normal(size=colours.shape)
    return np.round(255 * np.clip(0.5 + 0.3 * colours + 0.2 * (i > j)[..., None] + 0.03 * grain, 0, 1)) / 255


@pytest.mark.slow
@pytest.mark.parametrize(("name", "table"), [(n, t) for n in fidelity.TOLERANCES for t in fidelity.tables(n)])
def test_is_the_published_corruption(name, table):
    size = {"imagenet": 96}.get(table, fidelity.SIZES[table])
    x = picture(size)
    if name in fidelity.BAR:  # defined for square pictures
        x = np.pad(x, ((0, 4), (0, 0), (0, 0)), mode="symmetric")
    found = [fidelity.difference(name, table, level, x) for level in range(1, 6)]
    assert max(found) <= fidelity.TOLERANCES[name], found
