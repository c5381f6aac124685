"""Noise on images: arrays of shape (B, H, W, C), with axes for height, width and channels.

`CORRUPTIONS` are the fifteen common corruptions in the order of the published tables, and `VALIDATION` the four for
choosing methods and amounts, so that the fifteen stay unseen. `TABLES` has the published
parameters of each, at severities 1 to 5, for ``table="imagenet"``, ``"tiny"`` and ``"cifar"``. `C_BAR` are six of the
corruptions of ImageNet-C-bar and CIFAR-10-C-bar, which show whether a method only learnt what resembles the fifteen.
"""

from noisejax.image._corruptions.bar import (
    brownish_noise as brownish_noise,
    checkerboard_cutout as checkerboard_cutout,
    cocentric_sine_waves as cocentric_sine_waves,
    plasma_noise as plasma_noise,
    ripple as ripple,
    single_frequency_greyscale as single_frequency_greyscale,
)
from noisejax.image._corruptions.blurs import (
    defocus_blur as defocus_blur,
    gaussian_blur as gaussian_blur,
    glass_blur as glass_blur,
    motion_blur as motion_blur,
    zoom_blur as zoom_blur,
)
from noisejax.image._corruptions.colours import (
    brightness as brightness,
    contrast as contrast,
    saturate as saturate,
)
from noisejax.image._corruptions.digital import (
    elastic_transform as elastic_transform,
    jpeg_compression as jpeg_compression,
    pixelate as pixelate,
)
from noisejax.image._corruptions.noises import (
    gaussian_noise as gaussian_noise,
    impulse_noise as impulse_noise,
    shot_noise as shot_noise,
    speckle_noise as speckle_noise,
)
from noisejax.image._corruptions.sets import C_BAR as C_BAR, CORRUPTIONS as CORRUPTIONS, VALIDATION as VALIDATION
from noisejax.image._corruptions.spatters import spatter as spatter
from noisejax.image._corruptions.tables import TABLES as TABLES
from noisejax.image._corruptions.weather import (
    fog as fog,
    frost as frost,
    frost_like as frost_like,
    snow as snow,
)
from noisejax.image._erasing import (
    channel_dropout as channel_dropout,
    coarse_dropout as coarse_dropout,
    cutout as cutout,
    grid_mask as grid_mask,
    pixel_dropout as pixel_dropout,
    random_erasing as random_erasing,
)
from noisejax.image._geometry.combine import geometry as geometry
from noisejax.image._geometry.curved import elastic as elastic, perspective as perspective, thin_plate as thin_plate
from noisejax.image._geometry.flips import flip as flip
from noisejax.image._geometry.moved import Placed as Placed, moved as moved
from noisejax.image._geometry.rigid import (
    pixel_shift as pixel_shift,
    rotate as rotate,
    scale as scale,
    shear as shear,
    translate as translate,
)
from noisejax.image._learnt.fit import fit_sensor as fit_sensor
from noisejax.image._learnt.model import SensorModel as SensorModel
from noisejax.image._learnt.sensor import sensor as sensor
from noisejax.image._operations.filters import (
    blur as blur,
    defocus as defocus,
    jpeg as jpeg,
    pixelate_to as pixelate_to,
)
from noisejax.image._operations.light import (
    adjust_brightness as adjust_brightness,
    adjust_contrast as adjust_contrast,
    autocontrast as autocontrast,
    color as color,
    equalize as equalize,
    gamma as gamma,
    hue as hue,
    invert as invert,
    posterize as posterize,
    sharpness as sharpness,
    solarize as solarize,
)
from noisejax.image._operations.resampling import affine as affine, warp as warp
from noisejax.image._policies.augment import rand_augment as rand_augment, trivial_augment as trivial_augment
from noisejax.image._policies.augmix import augmix as augmix
from noisejax.image._raw import raw_sensor as raw_sensor

__all__ = [
    "CORRUPTIONS",
    "C_BAR",
    "TABLES",
    "VALIDATION",
    "Placed",
    "SensorModel",
    "adjust_brightness",
    "adjust_contrast",
    "affine",
    "augmix",
    "autocontrast",
    "blur",
    "brightness",
    "brownish_noise",
    "channel_dropout",
    "checkerboard_cutout",
    "coarse_dropout",
    "cocentric_sine_waves",
    "color",
    "contrast",
    "cutout",
    "defocus",
    "defocus_blur",
    "elastic",
    "elastic_transform",
    "equalize",
    "fit_sensor",
    "flip",
    "fog",
    "frost",
    "frost_like",
    "gamma",
    "gaussian_blur",
    "gaussian_noise",
    "geometry",
    "glass_blur",
    "grid_mask",
    "hue",
    "impulse_noise",
    "invert",
    "jpeg",
    "jpeg_compression",
    "motion_blur",
    "moved",
    "perspective",
    "pixel_dropout",
    "pixel_shift",
    "pixelate",
    "pixelate_to",
    "plasma_noise",
    "posterize",
    "rand_augment",
    "random_erasing",
    "raw_sensor",
    "ripple",
    "rotate",
    "saturate",
    "scale",
    "sensor",
    "sharpness",
    "shear",
    "shot_noise",
    "single_frequency_greyscale",
    "snow",
    "solarize",
    "spatter",
    "speckle_noise",
    "thin_plate",
    "translate",
    "trivial_augment",
    "warp",
    "zoom_blur",
]
