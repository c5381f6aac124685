"""A sweep of 10 families, 10 levels and 5 draws against the same sweep in batched NumPy: python -m benchmarks.sweeps

10,000 rows of 20 numbers and a network with two hidden layers of 64 units. NumPy draws with its own generator and
applies the same network, one (family, level, draw) at a time, each as whole arrays. Times are of a fresh process, with
all compilation, since that is what a user waits for.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from noisejax import robustness

LEVELS, DRAWS, WIDTH = np.linspace(0.05, 0.5, 10), 5, 20
FAMILIES = {  # by name: the noise of a level, and the same in NumPy
    "gaussian": (lambda v: nj.bind(nj.gaussian, std=v), lambda r, x, v: x + v * r.standard_normal(x.shape, np.float32)),
    "uniform": (
        lambda v: nj.bind(nj.uniform, half_width=v),
        lambda r, x, v: x + v * (2 * r.random(x.shape, np.float32) - 1),
    ),
    "laplace": (lambda v: nj.bind(nj.laplace, scale=v), lambda r, x, v: x + v * r.laplace(size=x.shape)),
    "student": (lambda v: nj.bind(nj.student_t, scale=v, df=5.0), lambda r, x, v: x + v * r.standard_t(5, x.shape)),
    "speckle": (
        lambda v: nj.bind(nj.speckle, std=v),
        lambda r, x, v: x * (1 + v * r.standard_normal(x.shape, np.float32)),
    ),
    "mask": (lambda v: nj.bind(nj.mask, rate=v), lambda r, x, v: np.where(r.random(x.shape, np.float32) < v, 0, x)),
    "swap": (lambda v: nj.bind(nj.swap, rate=v), lambda r, x, v: _swapped(r, x, v)),
    "impulse": (
        lambda v: nj.bind(nj.impulse, rate=v, low=-3.0, high=3.0),
        lambda r, x, v: np.where(r.random(x.shape) < v, r.uniform(-3, 3, x.shape), x),
    ),
    "quantize": (lambda v: nj.bind(nj.quantize, step=v), lambda r, x, v: np.round(x / v) * v),
    "chain": (
        lambda v: nj.chain(nj.bind(nj.gaussian, std=v), nj.bind(nj.mask, rate=v)),
        lambda r, x, v: np.where(r.random(x.shape, np.float32) < v, 0, x + v * r.standard_normal(x.shape, np.float32)),
    ),
}


def _swapped(r, x, v):
    other = x[r.integers(0, len(x), x.shape), np.arange(x.shape[1])]
    return np.where(r.random(x.shape, np.float32) < v, other, x)


def data(rows):
    r = np.random.default_rng(0)
    x = r.standard_normal((rows, WIDTH), np.float32)
    sizes = (WIDTH, 64, 64, 2)
    weights = [r.standard_normal((a, b), np.float32) / a**0.5 for a, b in itertools.pairwise(sizes)]
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int32), weights


def apply(weights, x):
    for w in weights[:-1]:
        x = jax.nn.relu(x @ w)
    return x @ weights[-1]


def in_jax(rows):
    x, y, weights = data(rows)
    families = [robustness.Family(name, at, LEVELS) for name, (at, _) in FAMILIES.items()]
    predict = jax.tree_util.Partial(apply, [jnp.asarray(w) for w in weights])
    report = robustness.sweep(jax.random.key(0), predict, (x, y), families, draws=DRAWS)
    return {name: float(report.interval(name).mean.mean()) for name in FAMILIES}


def in_numpy(rows):
    x, y, weights = data(rows)
    r, found = np.random.default_rng(1), {}
    for name, (_, noisy) in FAMILIES.items():
        scores = []
        for level in LEVELS:
            for _ in range(DRAWS):
                h = noisy(r, x, np.float32(level)).astype(np.float32)
                for w in weights[:-1]:
                    h = np.maximum(h @ w, 0)
                scores.append(((h @ weights[-1]).argmax(1) == y).mean())
        found[name] = float(np.mean(scores))
    return found


def one(how, rows):
    jnp.zeros(1).block_until_ready()  # starting JAX is not part of a sweep
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    means = {"noisejax": in_jax, "numpy": in_numpy}[how](rows)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "grown MB": grown / 1024,
        "means": means,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--how", choices=("noisejax", "numpy"), help="measure in this process, and print JSON")
    given = parser.parse_args()
    if given.how:
        print(json.dumps(one(given.how, given.rows)))
        return
    found = {}
    for how in ("noisejax", "numpy"):
        command = [sys.executable, "-m", "benchmarks.sweeps", "--rows", str(given.rows), "--how", how]
        found[how] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for name in FAMILIES:
        a, b = (found[how]["means"][name] for how in found)
        assert abs(a - b) < 0.01, f"{name} differs: {a} and {b}"
    for how, row in found.items():
        print(
            f"{how}: {row['seconds']:.2f} s, {row['cpu']:.2f} s of processor time, memory grew {row['grown MB']:.0f} MB"
        )
    print(f"noisejax is {found['numpy']['seconds'] / found['noisejax']['seconds']:.1f} times as fast")


if __name__ == "__main__":
    main()
