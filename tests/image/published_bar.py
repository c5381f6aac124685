"""Six corruptions of C-bar as published, with the draws handed in: one picture (H, W, 3) in [0, 1], in float64.

The published code has square pictures and loops over their pixels; here the loops are those of NumPy. The value is that
before the final cast to 8 bits. No code is shared with the library.
"""

import numpy as np
from scipy import fft

GREYS = 255


def single_frequency_greyscale(x, level, u):
    larger = (2 * u[0] - 1) * np.pi
    smaller = (2 * u[1] - 1) * abs(larger)
    freq = (smaller, larger) if u[2] < 0.5 else (larger, smaller)
    i, j = np.indices(x.shape[:2])
    noise = np.sin(j * freq[0] + i * freq[1] + 2 * np.pi * u[3])
    return x + level * 19.6 / GREYS * noise[..., None]


def cocentric_sine_waves(x, level, u):
    size = len(x)
    x0, y0, freq, amplitude, ring_width = u * (size, size, 10, size / 10, size / 10)
    i, j = np.indices(x.shape[:2])
    angle = np.arctan2(j - x0, i - y0) * freq
    distance = (np.hypot(j - x0, i - y0) + np.sin(angle) * amplitude) % ring_width / ring_width - 1 / 2
    return x + level * 12.8 / GREYS * distance[..., None]


def plasma_noise(x, level, u):
    time, iterations, sharp = 6 * np.pi * u[0], 4 + int(3 * u[1]), 0.5 + 0.5 * u[2]
    down, right = np.indices(x.shape[:2]) / (len(x) * (0.075 + 0.125 * u[3]))
    i = np.array([1.0, 1.0, 1.0])
    for _ in range(iterations):
        r = np.array([np.cos(down * i[0] + time / i[1]), np.sin(right * i[0] + time / i[1])]) / i[2]
        right, down = right + r[0] - 0.3 * r[1], down + r[1] + 0.3 * r[0]
        i *= [1.93, 1.15, 2.25 - sharp]
    noise = [np.sin(right - time), np.sin((right + down + np.sin(time)) * 0.5), np.sin(down + time)]
    intensity = level * 6.4 / GREYS
    return (1 - intensity) * x + intensity * np.stack(noise, -1)


def checkerboard_cutout(x, level, u, grid):
    angle, scale = 2 * np.pi * u[0], max((0.1 + 0.15 * u[1]) * len(x), 1)
    out = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            nx = (np.cos(angle) * i + np.sin(angle) * j) / scale
            ny = (-np.sin(angle) * i + np.cos(angle) * j) / scale
            if int(nx % 2) == int(ny % 2) and grid[int(nx), int(ny)] < level / 10:
                out[i, j] = 128 / GREYS
    return out


def ripple(x, level, u):
    size = len(x)
    amplitude, wavelengths, phases = level * 0.0025 * size, (0.1 + 0.2 * u[:2]) * size, 2 * np.pi * u[2:]
    i = np.arange(size)
    places = [i + amplitude * np.sin(2 * np.pi * i / w + p) for w, p in zip(wavelengths, phases, strict=True)]
    black = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    rows, columns = np.meshgrid(*places, indexing="ij")
    total = np.zeros(x.shape)
    for a in (0, 1):
        for b in (0, 1):
            row, column = np.floor(rows).astype(int) + a, np.floor(columns).astype(int) + b
            share = (1 - abs(rows - row)) * (1 - abs(columns - column))
            total += share[..., None] * black[np.clip(row, -1, size) + 1, np.clip(column, -1, size) + 1]
    return total


def brownish_noise(x, level, u):
    size = len(x)
    i, j = np.indices((size, size))
    power = 1 / ((i - size / 2) ** 2 + (j - size / 2) ** 2 + 1)
    fields = []
    for channel in range(3):
        left = 2 * np.pi * u[:, : size // 2, channel]
        phases = [left, left[::-1, ::-1]]
        if size % 2:
            centre = 2 * np.pi * u[: size // 2, size // 2 :, channel]
            phases.insert(1, np.concatenate([centre, [[0.0]], centre[::-1]]))
        spectrum = power * np.exp(1j * np.concatenate(phases, 1))
        noise = np.real(fft.ifft2(np.roll(spectrum, (size // 2, size // 2), (0, 1))))
        fields.append(noise / np.std(noise))
    return x + level * 6.4 / GREYS * np.stack(fields, -1)
