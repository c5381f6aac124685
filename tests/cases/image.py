"""Noises that must know which axes are height, width and channel."""

import functools

import numpy as np

import noisejax as nj
from cases.case import masking, pictures, row, spectra

corruption = functools.partial(
    row, x=pictures, elementwise=False, differentiable=False, unit=True, severity=(2.5, 0.0, 1.0)
)
policy = functools.partial(
    row, x=pictures, elementwise=False, differentiable=False, unit=True, heavy=True, measures=True, rate=(1.0, 0.0, 0.5)
)
region = functools.partial(masking, x=pictures, elementwise=False)
geometric = functools.partial(row, x=pictures, elementwise=False)

_CLEAN = pictures((2, 16, 16, 3))
_GRAIN = np.random.default_rng(10).normal(size=_CLEAN.shape).astype(np.float32)
SENSOR = nj.image.fit_sensor(_CLEAN, _CLEAN + np.float32([0.02, 0.05]).reshape(2, 1, 1, 1) * _GRAIN, brightness=True)
TEXTURES = np.random.default_rng(9).random((2, 20, 16, 3), np.float32)

CASES = [
    masking(nj.image.channel_dropout),
    masking(nj.image.pixel_dropout, x=spectra),
    region(nj.image.random_erasing, "rate", (0.5, 0.0, 0.9), integers=False, heavy=True),
    region(nj.image.random_erasing, "rate", (0.5, 0.0, 0.9), integers=False, note="channel", noise="channel"),
    region(nj.image.cutout, "size", (5.0, 0.0, 8.0)),
    region(nj.image.coarse_dropout, "holes", (3.0, 0.0, 5.5), heavy=True),
    region(nj.image.grid_mask, heavy=True),
    corruption(nj.image.gaussian_noise, "severity"),
    corruption(nj.image.shot_noise, "severity"),
    corruption(nj.image.impulse_noise, "severity"),
    corruption(nj.image.speckle_noise, "severity"),
    corruption(nj.image.brightness, "severity", draws=False),
    corruption(nj.image.contrast, "severity", draws=False),
    corruption(nj.image.saturate, "severity", draws=False),
    corruption(nj.image.gaussian_blur, "severity", draws=False, heavy=True),
    corruption(nj.image.defocus_blur, "severity", draws=False, heavy=True),
    corruption(nj.image.glass_blur, "severity", heavy=True, measures=True, flat=True),
    corruption(nj.image.motion_blur, "severity", heavy=True),
    corruption(nj.image.zoom_blur, "severity", draws=False, heavy=True),
    corruption(nj.image.fog, "severity", heavy=True),
    corruption(nj.image.frost, "severity", heavy=True, textures=TEXTURES),
    corruption(nj.image.frost_like, "severity", heavy=True),
    corruption(nj.image.spatter, "severity", heavy=True, votes=True),
    corruption(nj.image.snow, "severity", heavy=True),
    # It multiplies draws by up to 500 pixels, and their rounding as well.
    corruption(nj.image.elastic_transform, "severity", heavy=True, close=1e-4),
    corruption(nj.image.pixelate, "severity", draws=False, heavy=True, measures=True, flat=True),
    corruption(nj.image.jpeg_compression, "severity", draws=False, heavy=True, measures=True, flat=True),
    corruption(nj.image.single_frequency_greyscale, "severity"),
    corruption(nj.image.cocentric_sine_waves, "severity", heavy=True),
    corruption(nj.image.plasma_noise, "severity", heavy=True, close=2e-4),  # sines of sines: rounding grows
    corruption(nj.image.checkerboard_cutout, "severity", heavy=True),
    corruption(nj.image.ripple, "severity", heavy=True),
    corruption(nj.image.brownish_noise, "severity", heavy=True),
    geometric(nj.image.pixel_shift, "pixels", pixels=(3.0, 0.0, 5.0), integers=True),
    geometric(nj.image.translate, "pixels", pixels=(2.5, 0.0, 1.2)),
    geometric(nj.image.rotate, "degrees", degrees=(30.0, 0.0, 12.0)),
    geometric(nj.image.rotate, "degrees", degrees=(30.0, 0.0, 90.0), order=0, integers=True, note="labels"),
    geometric(nj.image.rotate, "degrees", degrees=(30.0, 0.0, 12.0), order=3, fill="mirror", note="cubic"),
    geometric(nj.image.shear, "degrees", degrees=(20.0, 0.0, 5.0), fill="constant", value=1.0),
    geometric(nj.image.scale, "amount", amount=(0.4, 0.0, 0.1), fill="wrap"),
    geometric(nj.image.perspective, "amount", amount=(0.5, 0.0, 0.2), fill="reflect"),
    geometric(nj.image.elastic, "alpha", alpha=(9.0, 0.0, 4.0), sigma=2.0),
    geometric(nj.image.flip, "rate", rate=(0.4, 0.0, 0.9), integers=True),
    geometric(nj.image.thin_plate, "std", std=(0.6, 0.0, 0.3)),
    policy(nj.image.augmix, "severity", severity=5.0),
    policy(nj.image.rand_augment, "magnitude", magnitude=20.0),
    policy(nj.image.trivial_augment),
    row(
        nj.image.raw_sensor,
        "photons",
        x=pictures,
        unit=True,
        differentiable=False,
        photons=(97.0, np.inf, 50.0),
        read_std=2.0,
        gain=1.0,
    ),
    row(
        nj.image.sensor,
        "strength",
        x=pictures,
        elementwise=False,
        unit=True,
        heavy=True,
        measures=True,
        model=SENSOR,
        strength=(1.0, 0.0, 2.0),
    ),
]
