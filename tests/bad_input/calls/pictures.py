"""`noisejax.image` besides its noises: deterministic operations, several movements at once, and their places."""

import numpy as np

import noisejax as nj
from bad_input.calls.call import KEY, Call, array, call
from noisejax import image

PICTURES = array(2, 8, 8, 3)
ROTATED = nj.bind(image.rotate, degrees=20.0)
SHEARED = nj.bind(image.shear, degrees=10.0)
TURNED = np.array([[0.9, -0.1, 1.0], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]], np.float32)
OPERATIONS = {
    "adjust_brightness": {"factor": 1.5},
    "adjust_contrast": {"factor": 1.5},
    "affine": {"matrix": TURNED, "order": 1, "fill": "mirror"},
    "autocontrast": {},
    "blur": {"sigma": 1.0},
    "color": {"factor": 0.5},
    "defocus": {"radius": 2.0, "alias": 0.5, "largest": 4},
    "equalize": {},
    "gamma": {"exponent": 2.0, "gain": 1.0},
    "hue": {"turns": 0.25},
    "invert": {},
    "jpeg": {"quality": 50.0, "differentiable": False},
    "pixelate_to": {"size": (4, 4)},
    "posterize": {"bits": 4.0},
    "sharpness": {"factor": 2.0},
    "solarize": {"threshold": 0.5},
    "warp": {"field": np.full((2, 8, 8, 2), 0.5, np.float32), "order": 1, "fill": "mirror"},
}


def moved(noise):
    return noise(KEY, PICTURES)


def calls() -> list[Call]:
    free = {"signed": ("turns", "threshold", "value"), "anything": ("x", "value"), "slow": ("largest", "size")}
    skip = {"size": ("a number",)}  # one number stands for both axes
    operations = [
        call(f"image.{name}", a={"x": PICTURES, **arguments}, skip=skip, **free)
        for name, arguments in OPERATIONS.items()
    ]
    parts = {"*0": ROTATED, "*1": SHEARED}
    return [
        *operations,
        call(
            "image.geometry",
            moved,
            a={**parts, "order": 1, "fill": "constant", "value": 0.5},
            heads=("rotate", "shear"),
            signed=("value",),
            anything=("value",),
            expensive=True,
        ),
        call(
            "image.moved",
            lambda replay: np.asarray(replay(KEY, PICTURES).size),
            a={"noise": ROTATED},
            heads=("rotate",),
        ),
    ]
