"""The normal transforms over all 2**32 words: ``python -m benchmarks.quality.normals`` (two minutes each).

Each word gives one normal, so the distribution of the draws is known exactly. This program counts it and compares it
with the normal distribution at 131,072 places and in the tails, for draws that go into float32 and into bfloat16
(before they are rounded). It also measures the distance between the two. It writes benchmarks/results/normals.json.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from noisejax._random import sample

BINS, WIDTH = 2**17, 16.0
APART = (0.003, 0.006)
RESULT = pathlib.Path(__file__).parent.parent / "results" / "normals.json"


@functools.partial(jax.jit, static_argnums=1)
def places(first: jax.Array, into: str) -> tuple[jax.Array, ...]:
    """The bins of the normals of 2**24 consecutive words, the largest magnitude among them, their sum and square."""
    rows, columns = (jax.lax.broadcasted_iota(jnp.uint32, (4096, 4096), axis) for axis in (0, 1))
    z = sample.normal(first + rows * jnp.uint32(4096) + columns, into)
    return jnp.floor((z + WIDTH / 2) * (BINS / WIDTH)).astype(jnp.int32), jnp.abs(z).max(), z.sum(), (z * z).sum()


def count(into: str) -> dict:
    counts, largest, total, squares = np.zeros(BINS, np.int64), 0.0, 0.0, 0.0
    for block in range(256):
        bins, magnitude, one, two = places(jnp.uint32(block << 24), into)
        counts += np.bincount(np.asarray(bins).ravel(), minlength=BINS)  # raises where one is NaN or out of range
        largest = max(largest, float(magnitude))
        total, squares = total + float(one), squares + float(two)
    edges = np.arange(1, BINS + 1) * WIDTH / BINS - WIDTH / 2
    error = np.abs(np.cumsum(counts) / 2**32 - ndtr(edges))
    tails = {}
    for limit in (2.0, 3.0, 4.0, 5.0, 5.5, 6.0):
        beyond = int(counts[edges <= -limit].sum() + counts[edges > limit].sum())
        tails[str(limit)] = {"drawn": beyond, "expected": round(float(2 * ndtr(-limit) * 2**32), 1)}
    result = {"words": int(counts.sum()), "largest error of the distribution function": float(error.max())}
    result |= {"at": float(edges[error.argmax()]), "mean": total / 2**32, "variance": squares / 2**32}
    return result | {"largest magnitude": largest, "beyond": tails}


@jax.jit
def distances(first: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of 2**24 consecutive words, how many give normals that are further apart than each of APART, and the largest."""
    w = first + jnp.arange(2**24, dtype=jnp.uint32)
    away = jnp.abs(sample.normal(w) - sample.normal(w, "bfloat16"))
    return (away > jnp.array(APART)[:, None]).sum(1), away.max()


def apart() -> dict:
    found = [distances(jnp.uint32(block << 24)) for block in range(256)]
    beyond = np.sum([np.asarray(counts, np.int64) for counts, _ in found], 0)
    largest = max(float(away) for _, away in found)
    return {"largest": largest, "words beyond": dict(zip(map(str, APART), beyond.tolist(), strict=True))}


def main() -> None:
    results = {into: count(into) for into in ("float32", "bfloat16")} | {"apart": apart()}
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
