"""A sweep of 10 families, 10 levels and 5 draws against the same sweep in batched NumPy: python -m benchmarks.sweeps

    python -m benchmarks.sweeps                       10,000 rows; prints, and writes nothing
    python -m benchmarks.sweeps --write --rows 100000 one case into results/sweeps.json
    python -m benchmarks.sweeps --memory              memory at 10,000 and 1,000,000 rows, into the same file
    python -m benchmarks.sweeps --page                writes docs/results/sweeps.md from all that is stored

Rows of 20 numbers and a network with two hidden layers of 64 units. NumPy draws with its own generator and applies the
same network, one (family, level, draw) at a time, each as whole arrays. Its products run in one thread, or in as many
as the BLAS chooses, whichever is faster with one level and one draw. Times are of a fresh process, with all
compilation, since that is what a user waits for. "Again" is a second sweep in the same process with the same families,
a new key and a new model. "Network alone" is a floor for it: the same number of predictions in JAX, compiled before,
without noise and statistics.

Memory is how much the peak of the process grows in the first sweep, without the rows, with 2 levels and 1 draw; without
`swap`, too, which takes values from other rows and so acts on all rows at once.
"""

import argparse
import functools
import itertools
import json
import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from experiments import measured
from noisejax import robustness

WIDTH, PART = 20, 2**14
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


def in_jax(known, levels, draws, seed, skipped=()):
    x, y, weights = known
    families = [family(name, tuple(levels)) for name in FAMILIES if name not in skipped]
    predict = jax.tree_util.Partial(apply, [jnp.asarray(w) for w in weights])
    report = robustness.sweep(jax.random.key(seed), predict, (x, y), families, draws=draws)
    return {name: float(report.interval(name).mean.mean()) for name in FAMILIES if name not in skipped}


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


def network(known, levels, draws, seed):
    """As many predictions as a sweep makes, on rows without noise, in parts of the size that a sweep takes."""
    x, y, weights = known
    parts = [(jnp.asarray(x[n : n + PART]), jnp.asarray(y[n : n + PART])) for n in range(0, len(x), PART)]
    weights = [jnp.asarray(w) * (1 + seed / 100) for w in weights]
    for _ in range(len(FAMILIES) * len(levels) * draws):
        found = [predicted(weights, *part) for part in parts]
        jax.block_until_ready(found)
    return {}


@jax.jit
def predicted(weights, x, y):
    return apply(weights, x).argmax(-1) == y


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(how, rows, levels, draws):
    jnp.zeros(1).block_until_ready()  # starting JAX is not part of a sweep
    known, at = data(rows), np.linspace(0.05, 0.5, levels)
    if how.startswith("memory"):
        before = peak()
        in_jax(known, at, draws, 1, ("swap",) if how == "memory of rows" else ())
        return peak() - before
    run = {"noisejax": in_jax, "numpy": in_numpy, "network": network}[how]
    started, cpu = time.perf_counter(), time.process_time()
    means = run(known, at, draws, 1)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    started = time.perf_counter()
    run(known, at, draws, 2)
    return {"seconds": seconds, "cpu": cpu, "again": time.perf_counter() - started, "means": means}


def fresh(how, rows, levels, draws, **environment):
    """One case in a process of its own."""
    case = [f"--{name}={value}" for name, value in (("rows", rows), ("levels", levels), ("draws", draws))]
    command = [sys.executable, "-m", "benchmarks.sweeps", "--how", how, *case]
    environment = {**os.environ, **environment}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def compared(*case):
    threads = min(({}, {"OPENBLAS_NUM_THREADS": "1"}), key=lambda t: fresh("numpy", case[0], 1, 1, **t)["seconds"])
    found = {"noisejax": fresh("noisejax", *case), "numpy": fresh("numpy", *case, **threads)}
    for name in FAMILIES:
        a, b = (found[how]["means"][name] for how in found)
        assert abs(a - b) < 0.01, f"{name} differs: {a} and {b}"
    found["network"] = fresh("network", *case)
    return {**dict(zip(("rows", "levels", "draws"), case, strict=True)), "measured": measured(), **found}


def stored():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"times": [], "memory": {}}


def write(found):
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def times(cases):
    if not cases:
        return "Times have not been measured yet.\n"
    cases, lines = sorted(cases, key=lambda case: case["rows"]), []
    for case in cases:
        ours, other = case["noisejax"], case["numpy"]
        ratios = [f"{other[name] / ours[name]:.1f}" for name in ("seconds", "again")]
        figures = " | ".join(f"{row[name]:.1f} s" for name in ("seconds", "again") for row in (ours, other))
        figures += f" | {case['network']['again']:.1f} s"
        lines.append(f"| {case['rows']:,} | {case['levels']} x {case['draws']} | {figures} | {' | '.join(ratios)} |")
    first = cases[0]
    floors = " and ".join(
        f"{c['numpy']['again'] / c['network']['again']:.1f} times at {c['rows']:,} rows" for c in cases
    )
    bar = "met" if first["numpy"]["seconds"] >= 5 * first["noisejax"]["seconds"] else "**missed**"
    columns = "rows, levels x draws, noisejax, NumPy, noisejax again, NumPy again, network alone, times as fast, again"
    head = f"| {columns.replace(', ', ' | ')} |"
    text = f"""The bar of 5 times as fast at {first["rows"]:,} rows in a fresh process is {bar}. A fresh process
compiles a program for the noise of each family and one for all predictions, which with few rows is most of the time.
"Network
alone" is the time of the same number of predictions in JAX without any noise. No sweep can be faster than that, which
is {floors}. NumPy has one thread for its products or as many as its BLAS chooses, whichever is faster."""
    rule = "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    return "\n".join([head, rule, *lines, "", textwrap.fill(" ".join(text.split()), 120), ""])


def page():
    found = stored()
    memory = found["memory"]
    rows = [f"| {int(n):,} | {a:.0f} MB | {b:.0f} MB |" for n, (a, b) in memory["grown MB"].items()]
    made = {case["measured"] for case in found["times"]} | {memory["measured"]}
    PAGE.write_text(f"""# Speed and memory of a sweep

{len(FAMILIES)} families of noise on rows of {WIDTH} numbers and a small network, against the same sweep in batched
NumPy. `python -m benchmarks.sweeps --page` writes this page; the program says what is measured.

{times(found["times"])}
Memory of a sweep in a fresh process, with compilation:

| rows | noises of single rows | with `swap` |
| --- | --- | --- |
{chr(10).join(rows)}

Rows are worked through in chunks, and at as many levels at once as fit into 64 MiB, for which a noise draws once. A
noise that takes values from other rows acts on all of them at once: it reads all rows, so all of them are on the device
(a copy on a CPU, too), and they are as many again when they are noisy. Chunks of the result alone would save the second
half, and would draw the noise of all rows for each chunk again wherever the compiler does not fuse the noise with the
choice of rows, as it does not for `swap`.

*{"; ".join(sorted(made))}*
""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--levels", type=int, default=10)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="store the case")
    parser.add_argument("--page", action="store_true", help="write the page from the stored cases")
    parser.add_argument("--memory", action="store_true", help="measure and store memory")
    parser.add_argument("--how", help="measure in this process, and print JSON")
    given = parser.parse_args()
    case = (given.rows, given.levels, given.draws)
    if given.page:
        page()
    elif given.how:
        print(json.dumps(one(given.how, *case)))
    elif given.memory:
        kinds = ("memory of rows", "memory of all")
        grown = {rows: [fresh(kind, rows, 2, 1) for kind in kinds] for rows in (10_000, 1_000_000)}
        write({**stored(), "memory": {"measured": measured(), "grown MB": grown}})
    else:
        found = compared(*case)
        for how in ("noisejax", "numpy", "network"):
            row = found[how]
            print(f"{how}: {row['seconds']:.2f} s, again {row['again']:.2f} s, {row['cpu']:.2f} s of processor time")
        print(f"noisejax is {found['numpy']['seconds'] / found['noisejax']['seconds']:.1f} times as fast")
        if given.write:
            rest = [c for c in stored()["times"] if (c["rows"], c["levels"], c["draws"]) != case]
            write({**stored(), "times": [*rest, found]})


if __name__ == "__main__":
    main()
