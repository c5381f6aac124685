"""A sweep of 10 families, 10 levels and 5 draws against the same sweep in batched NumPy: python -m benchmarks.sweeps

    python -m benchmarks.sweeps                       10,000 rows; prints, and writes nothing
    python -m benchmarks.sweeps --write --rows 100000 one case into results/sweeps.json
    python -m benchmarks.sweeps --page                writes docs/results/sweeps.md from all stored cases

Rows of 20 numbers and a network with two hidden layers of 64 units. NumPy draws with its own generator and applies the
same network, one (family, level, draw) at a time, each as whole arrays. Times are of a fresh process, with all
compilation, since that is what a user waits for. "Again" is a second sweep in the same process with the same families,
a new key and a new model. Memory is how much the peak of the process grows in the first sweep, without the rows.
"""

import argparse
import functools
import itertools
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from experiments import measured
from noisejax import robustness

WIDTH = 20
RESULTS = Path(__file__).parent / "results" / "sweeps.json"
PAGE = Path(__file__).parents[1] / "docs" / "results" / "sweeps.md"
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


@functools.cache  # programs are found by their family
def family(name, levels):
    return robustness.Family(name, FAMILIES[name][0], levels)


def in_jax(known, levels, draws, seed):
    x, y, weights = known
    families = [family(name, tuple(levels)) for name in FAMILIES]
    predict = jax.tree_util.Partial(apply, [jnp.asarray(w) for w in weights])
    report = robustness.sweep(jax.random.key(seed), predict, (x, y), families, draws=draws)
    return {name: float(report.interval(name).mean.mean()) for name in FAMILIES}


def in_numpy(known, levels, draws, seed):
    x, y, weights = known
    r, found = np.random.default_rng(seed), {}
    for name, (_, noisy) in FAMILIES.items():
        scores = []
        for level in levels:
            for _ in range(draws):
                h = noisy(r, x, np.float32(level)).astype(np.float32)
                for w in weights[:-1]:
                    h = np.maximum(h @ w, 0)
                scores.append(((h @ weights[-1]).argmax(1) == y).mean())
        found[name] = float(np.mean(scores))
    return found


def one(how, rows, levels, draws):
    jnp.zeros(1).block_until_ready()  # starting JAX is not part of a sweep
    run, known = {"noisejax": in_jax, "numpy": in_numpy}[how], data(rows)
    at = np.linspace(0.05, 0.5, levels)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    means = run(known, at, draws, 1)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    started = time.perf_counter()
    run(known, at, draws, 2)
    again = time.perf_counter() - started
    return {"seconds": seconds, "cpu": cpu, "again": again, "grown MB": grown / 1024, "means": means}


def compared(rows, levels, draws):
    """One case in both ways, each in a fresh process."""
    found = {}
    for how in ("noisejax", "numpy"):
        case = [f"--{name}={value}" for name, value in (("rows", rows), ("levels", levels), ("draws", draws))]
        command = [sys.executable, "-m", "benchmarks.sweeps", "--how", how, *case]
        found[how] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for name in FAMILIES:
        a, b = (found[how]["means"][name] for how in found)
        assert abs(a - b) < 0.01, f"{name} differs: {a} and {b}"
    return {"rows": rows, "levels": levels, "draws": draws, "measured": measured(), **found}


def stored():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def page():
    cases = sorted(stored(), key=lambda case: case["rows"])
    lines = []
    for case in cases:
        ours, other = case["noisejax"], case["numpy"]
        ratios = (other["seconds"] / ours["seconds"], other["again"] / ours["again"])
        sizes = f"{case['rows']:,} | {case['levels']} x {case['draws']}"
        times = " | ".join(f"{row[name]:.1f} s" for name in ("seconds", "again") for row in (ours, other))
        grown = " | ".join(f"{row['grown MB']:.0f} MB" for row in (ours, other))
        lines.append(f"| {sizes} | {times} | {ratios[0]:.1f}, {ratios[1]:.1f} | {grown} |")
    full = [case for case in cases if case["levels"] * case["draws"] == 50]
    best = max(full, key=lambda case: case["numpy"]["seconds"] / case["noisejax"]["seconds"])
    first, again = (best["numpy"][name] / best["noisejax"][name] for name in ("seconds", "again"))
    bar = "met" if full[0]["numpy"]["seconds"] >= 5 * full[0]["noisejax"]["seconds"] else "**missed**"
    small, large = cases[0]["noisejax"]["grown MB"], cases[-1]["noisejax"]["grown MB"]
    table = "\n".join(lines)
    PAGE.write_text(f"""# Speed and memory of a sweep

{len(FAMILIES)} families of noise on rows of {WIDTH} numbers and a small network, against the same sweep in batched
NumPy. `python -m benchmarks.sweeps --page` writes this page; the program says what is measured.

| rows | levels x draws | noisejax | NumPy | noisejax, again | NumPy, again | times as fast, again | memory | NumPy |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{table}

The bar of 5 times at {full[0]["rows"]:,} rows in a fresh process is {bar}. A fresh process compiles each family once,
and for few rows that is most of the time. The best ratio here is {first:.1f} in a fresh process and {again:.1f} for a
second sweep, at {best["rows"]:,} rows.

With {cases[-1]["rows"] // cases[0]["rows"]} times as many rows the memory of a sweep grows from {small:.0f} to
{large:.0f} MB. Rows are worked through in chunks. What grows are the scores of the examples, which the report keeps.

*{"; ".join(sorted({case["measured"] for case in cases}))}*
""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--levels", type=int, default=10)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="store the case")
    parser.add_argument("--page", action="store_true", help="write the page from the stored cases")
    parser.add_argument("--how", choices=("noisejax", "numpy"), help="measure in this process, and print JSON")
    given = parser.parse_args()
    case = (given.rows, given.levels, given.draws)
    if given.page:
        page()
    elif given.how:
        print(json.dumps(one(given.how, *case)))
    else:
        found = compared(*case)
        for how in ("noisejax", "numpy"):
            row = found[how]
            print(f"{how}: {row['seconds']:.2f} s, again {row['again']:.2f} s, {row['cpu']:.2f} s of processor time, "
                  f"memory grew {row['grown MB']:.0f} MB")  # fmt: skip
        print(f"noisejax is {found['numpy']['seconds'] / found['noisejax']['seconds']:.1f} times as fast")
        if given.write:
            rest = [c for c in stored() if (c["rows"], c["levels"], c["draws"]) != case]
            RESULTS.write_text(json.dumps([*rest, found], indent=1) + "\n")


if __name__ == "__main__":
    main()
