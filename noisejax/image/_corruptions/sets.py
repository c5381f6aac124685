"""The sets of corruptions: those that the benchmarks report, those for validation, and those of C-bar."""

from noisejax.image._corruptions.bar import (
    brownish_noise,
    checkerboard_cutout,
    cocentric_sine_waves,
    plasma_noise,
    ripple,
    single_frequency_greyscale,
)
from noisejax.image._corruptions.blurs import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from noisejax.image._corruptions.colours import brightness, contrast, saturate
from noisejax.image._corruptions.digital import elastic_transform, jpeg_compression, pixelate
from noisejax.image._corruptions.noises import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from noisejax.image._corruptions.spatters import spatter
from noisejax.image._corruptions.weather import fog, frost, snow

# In the order of the published tables: noise, blur, weather, digital.
CORRUPTIONS = (
    *(gaussian_noise, shot_noise, impulse_noise),
    *(defocus_blur, glass_blur, motion_blur, zoom_blur),
    *(snow, frost, fog, brightness),
    *(contrast, elastic_transform, pixelate, jpeg_compression),
)

# For the choice of methods and amounts, so that the reported ones stay unseen.
VALIDATION = (speckle_noise, gaussian_blur, spatter, saturate)

# Six of the thirteen of ImageNet-C-bar and CIFAR-10-C-bar, which were chosen to be far from the common ones.
C_BAR = (
    *(single_frequency_greyscale, cocentric_sine_waves, plasma_noise),
    *(checkerboard_cutout, ripple, brownish_noise),
)
