"""The common corruptions as published, by the libraries that the published code uses, with the draws handed in.

It restates the definitions with scikit-image, OpenCV, SciPy and Pillow on one picture (H, W, 3) in [0, 1], in float64,
and returns a value before the final cast to 8 bits. It shares no code with the library.
"""

import math

import cv2
import numpy as np
import skimage
from PIL import Image
from scipy import ndimage
from skimage.filters import gaussian

GREYS = 255


def brightness(x, c):
    hsv = skimage.color.rgb2hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + c, 0, 1)
    return skimage.color.hsv2rgb(hsv)


def saturate(x, a, b):
    hsv = skimage.color.rgb2hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * a + b, 0, 1)
    return skimage.color.hsv2rgb(hsv)


def contrast(x, c):
    mean = x.mean((0, 1), keepdims=True)
    return (x - mean) * c + mean


def gaussian_blur(x, std):
    return gaussian(x, sigma=std, channel_axis=-1)


def defocus_blur(x, radius, alias):
    reach, size = (8, 3) if radius <= 8 else (int(radius), 5)
    i = np.arange(-reach, reach + 1)
    disk = (i[:, None] ** 2 + i**2 <= radius**2).astype(np.float32)
    disk = cv2.GaussianBlur(disk / disk.sum(), ksize=(size, size), sigmaX=alias)
    return np.stack([cv2.filter2D(x[..., c], -1, disk) for c in range(x.shape[-1])], -1)


def glass_blur(x, std, reach, passes, right, down):
    """`right` and `down` are the offsets of every pass, (passes, H, W)."""
    grey = np.uint8(gaussian(x, sigma=std, channel_axis=-1) * GREYS)
    height, width = x.shape[:2]
    for n in range(passes):
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                there = h + down[n, h, w], w + right[n, h, w]
                grey[h, w], grey[there] = grey[there], grey[h, w]
    return gaussian(grey / GREYS, sigma=std, channel_axis=-1)


def motion(x, radius, std, degrees):
    taps = 2 * radius + 1
    weights = np.exp(-0.5 * (np.arange(taps) / std) ** 2)
    weights /= weights.sum()
    angle = np.deg2rad(degrees)
    padded = np.pad(x, ((taps, taps), (taps, taps)) + ((0, 0),) * (x.ndim - 2), mode="edge")
    total = np.zeros(x.shape)
    for i, weight in enumerate(weights):
        row, column = math.ceil(i * np.sin(angle) - 0.5), math.ceil(i * np.cos(angle) - 0.5)
        total += weight * padded[taps + row :][: x.shape[0], taps + column :][:, : x.shape[1]]
    return total


def enlarged(x, factor):
    pieces = [math.ceil(n / factor) for n in x.shape[:2]]
    tops = [(n - piece) // 2 for n, piece in zip(x.shape, pieces, strict=False)]
    piece = x[tops[0] : tops[0] + pieces[0], tops[1] : tops[1] + pieces[1]]
    large = ndimage.zoom(piece, (factor, factor) + (1,) * (x.ndim - 2), order=1)
    trims = [(n - wanted) // 2 for n, wanted in zip(large.shape, x.shape, strict=False)]
    return large[trims[0] : trims[0] + x.shape[0], trims[1] : trims[1] + x.shape[1]]


def zoom_blur(x, factors):
    return (x + sum(enlarged(x, factor) for factor in factors)) / (len(factors) + 1)
