"""The common corruptions as published, by the libraries that the published code uses, with the draws handed in.

It restates the definitions with scikit-image, OpenCV, SciPy and Pillow on one picture (H, W, 3) in [0, 1], in float64,
and returns a value before the final cast to 8 bits. It shares no code with the library.
"""

import io
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


def motion_blur(x, radius, std, degrees):
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


def fog(x, c, decay, u):
    """`u` in (-1, 1) has the draw of each pixel of the cloud at its place."""
    size = u.shape[0]
    cloud, step, wibble = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half = step // 2
        for h in range(half, size, step):
            for w in range(half, size, step):
                corners = [
                    cloud[h + a, (w + b) % size] if h + a < size else cloud[0, (w + b) % size]
                    for a in (-half, half)
                    for b in (-half, half)
                ]
                cloud[h, w] = sum(corners) / 4 + wibble**2 * u[h, w]
        for first in (0, half):
            for h in range(first, size, step):
                for w in range(half - first, size, step):
                    around = [
                        cloud[(h + a) % size, (w + b) % size] for a, b in ((-half, 0), (half, 0), (0, -half), (0, half))
                    ]
                    cloud[h, w] = sum(around) / 4 + wibble**2 * u[h, w]
        step, wibble = half, wibble / decay
    cloud -= cloud.min()
    cloud = (cloud / cloud.max())[: x.shape[0], : x.shape[1], None]
    return (x + c * cloud) * x.max() / (x.max() + c)


def frost(x, a, b, piece):
    return a * x + b * piece


def snow(x, mean, std, zoom, cut, radius, spread, share, z, degrees):
    layer = enlarged(mean + std * z, zoom)
    layer[layer < cut] = 0
    layer = (np.clip(layer, 0, 1) * GREYS).astype(np.uint8) / GREYS
    layer = np.round(motion_blur(layer, radius, spread, degrees) * GREYS)[..., None] / GREYS
    grey = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    return share * x + (1 - share) * np.maximum(x, grey * 1.5 + 0.5) + layer + np.rot90(layer, k=2)


def spatter(x, mean, std, blur, cut, strength, mud, z):
    """As published: OpenCV finds the relief of the drops."""
    layer = gaussian(mean + std * z, sigma=blur)
    layer[layer < cut] = 0
    if mud:
        mask = gaussian((layer > cut).astype(np.float32), sigma=strength)
        mask[mask < 0.8] = 0
        return x * (1 - mask[..., None]) + np.array([63, 42, 20]) / GREYS * mask[..., None]
    layer = (layer * GREYS).astype(np.uint8)
    away = cv2.distanceTransform(GREYS - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5)
    away = cv2.equalizeHist(cv2.blur(np.minimum(away, 20), (3, 3)).astype(np.uint8))
    away = cv2.filter2D(away, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    mask = layer * cv2.blur(away, (3, 3)).astype(np.float32)
    mask = strength * mask / max(mask.max(), 1)
    return x + mask[..., None] * np.array([175, 238, 238]) / GREYS


def pixelate(x, share):
    height, width = x.shape[:2]
    small = Image.fromarray(np.uint8(np.round(x * GREYS))).resize((int(width * share), int(height * share)), Image.BOX)
    return np.asarray(small.resize((width, height), Image.NEAREST)) / GREYS


def jpeg_compression(x, quality):
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(x * GREYS))).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file)) / GREYS


def elastic_transform(x, alpha, std, shift, corners, field):
    """`corners` (3, 2) and `field` (H, W, 2) are draws from U(-1, 1)."""
    size = x.shape[:2]
    centre, side = np.float32(size) // 2, min(size) // 3
    before = np.float32([centre + side, [centre[0] + side, centre[1] - side], centre - side])
    after = before + np.float32(shift * corners)
    matrix = cv2.getAffineTransform(before, after)
    x = cv2.warpAffine(x.astype(np.float32), matrix, size[::-1], borderMode=cv2.BORDER_REFLECT_101)
    if std > 0:
        dx, dy = (alpha * gaussian(field[..., n], std, mode="reflect", truncate=3) for n in (0, 1))
        rows, columns, channels = np.meshgrid(*(np.arange(n) for n in x.shape), indexing="ij")
        places = rows + dy[..., None], columns + dx[..., None], channels
        x = ndimage.map_coordinates(x, places, order=1, mode="reflect")
    return x
