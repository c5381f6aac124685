"""The cost of noise on an H200 and on TPUs, without these devices: launches, temporaries, instructions per element.

``python -m benchmarks.instructions [--gate] [--smoke]`` prints the table of all programs. With --gate each program is
compared with its budget, and the exit status says whether all of them are within theirs. Nothing is timed:
`benchmarks/_h200.py` says how a program is compiled without the device.

Amounts are arguments of the programs, as they are where a noise is part of a train state. Memory traffic bounds a
kernel that reads x and writes y once, until it issues more instructions per element than the `budget`. Then `of copy`,
the share of a copy's bandwidth that is left, falls below 1.
"""

import argparse
import math
import pathlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

import noisejax as nj
from benchmarks import _h200, _tpu, kept, measure
from benchmarks._h200 import Unavailable

SHAPES = {"flat": (2**24,), "2-D": (4096, 4096), "odd": (16, 1024, 1023), "16 keys": (16, 2**20)}
DTYPES = (jnp.float32, jnp.bfloat16)
GAUSSIAN, MASK, SPECKLE = nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1), nj.bind(nj.speckle, std=0.1)
DROPOUT, UNIFORM = nj.bind(nj.dropout, rate=0.1), nj.bind(nj.uniform, half_width=0.1)
NOISES = {
    "gaussian": GAUSSIAN,
    "dropout": DROPOUT,
    "mask": MASK,
    "speckle": SPECKLE,
    "chain of three": nj.chain(GAUSSIAN, MASK, SPECKLE),
    "chain of five": nj.chain(GAUSSIAN, MASK, SPECKLE, UNIFORM, DROPOUT),
}
# Instructions per element of flat arrays, forward and gradient: the counts, and 3% for the next compiler.
BUDGETS = {
    "gaussian": {"float32": (49.5, 1), "bfloat16": (45.5, 1)},
    "dropout": {"float32": (24, 24), "bfloat16": (27.5, 26.5)},
    "mask": {"float32": (22.5, 22.5), "bfloat16": (23.5, 23.5)},
    "speckle": {"float32": (53, 53.5), "bfloat16": (48.5, 51)},
    "chain of three": {"float32": (113.5, 113), "bfloat16": (105, 108)},
    "chain of five": {"float32": (147, 131), "bfloat16": (140, 125.5)},
}
SPREAD, INDEX = 1.25, 9  # other shapes: times the flat count, or what an uneven shape's index adds


def run(smoke: bool) -> list[dict]:
    """The rows of this program for `benchmarks.run`; none where an H200 cannot be compiled for."""
    try:
        return rows(smoke)
    except Unavailable as missing:
        print(f"not measured: {missing}")
        return []


def rows(smoke: bool) -> list[dict]:
    found = []
    for name, dtype, shape, direction, function, arguments in programs(smoke):
        program = _h200.compile_for(function, *arguments)
        bytes_per_element = jnp.dtype(dtype).itemsize * (2 if direction == "forward" else 3 - (name == "gaussian"))
        budget = _h200.budget(bytes_per_element)
        pipe, slots = program.main.pipe() if program.main else ("none", 0.0)
        found.append(
            {
                "program": name,
                "dtype": jnp.dtype(dtype).name,
                "shape": shape,
                "direction": direction,
                "launches": program.launches,
                "tiny launches": program.tiny,
                "temporary bytes": program.temporary,
                "instructions per element": round(program.instructions, 2),
                "budget": round(budget, 1),
                "of copy": round(min(1.0, budget / max(program.instructions, 1)), 2),
                "slowest pipe": pipe,
                "its issue slots": round(slots, 2),
                "branches": sum(kernel.branches for kernel in program.kernels),
            }
        )
    return found


def programs(smoke: bool) -> Iterator[tuple[str, object, str, str, Callable, tuple]]:
    """Name, dtype, shape, direction, a function and its arguments: everything compiled, in the table's order."""
    data = jax.ShapeDtypeStruct((2,), jnp.uint32)  # a key's data: keys of jax cannot be placed on a different device
    for dtype in DTYPES[:1] if smoke else DTYPES:
        flat = jax.ShapeDtypeStruct(SHAPES["flat"], dtype)
        yield "copy", dtype, "flat", "forward", lambda x: x * jnp.asarray(1.5, x.dtype), (flat,)
        for name, stock in ({} if smoke else STOCK).items():
            yield name, dtype, "flat", "forward", stock, (data, flat)
        for name, noise in NOISES.items():
            for shape in ["flat", "odd"] if smoke else SHAPES:
                if smoke and name.startswith("chain"):
                    continue
                x = jax.ShapeDtypeStruct(SHAPES[shape], dtype)
                keys = jax.ShapeDtypeStruct((x.shape[0], 2), jnp.uint32) if shape == "16 keys" else data
                yield name, dtype, shape, "forward", forward, (noise, keys, x)
                if not smoke and shape in ("flat", "odd"):
                    yield name, dtype, shape, "gradient", gradient, (noise, keys, x, x)


def forward(noise, data, x):
    if data.ndim == 2:
        return jax.vmap(lambda key, row: noise(jax.random.wrap_key_data(key), row))(data, x)
    return noise(jax.random.wrap_key_data(data), x)


def gradient(noise, data, x, cotangent):
    """The cotangent of x from that of y: what the backward pass launches, whose draws are made again."""
    return jax.vjp(lambda x: forward(noise, data, x), x)[1](cotangent)[0]


def stock_gaussian(data, x):
    return x + (0.1 * jax.random.normal(jax.random.wrap_key_data(data), x.shape)).astype(x.dtype)


def stock_dropout(data, x):
    return jnp.where(jax.random.bernoulli(jax.random.wrap_key_data(data), 0.9, x.shape), x / 0.9, 0).astype(x.dtype)


STOCK = {"jax.random.normal": stock_gaussian, "jax.random.bernoulli": stock_dropout}


def broken(row: dict) -> str | None:
    """How a row exceeds its budget; None where it does not, or has none."""
    if row["program"] not in BUDGETS:
        return None
    shape, flat = SHAPES[row["shape"]], row["shape"] == "flat"
    limit = BUDGETS[row["program"]][row["dtype"]][row["direction"] == "gradient"]
    limit = limit if flat else max(SPREAD * limit, INDEX + limit)
    # For a chain over 16 keys XLA computes the part that does not depend on a key once, before the loop: one row each.
    rows = 2 if row["shape"] == "16 keys" and row["program"].startswith("chain") else 0
    said = []
    if row["launches"] > 1 + rows:
        said.append(f"{row['launches']} launches over x")
    if row["temporary bytes"] > math.prod(shape) // 100 + rows * 4 * shape[-1]:
        said.append(f"{row['temporary bytes']} bytes of temporaries")
    if row["instructions per element"] > limit:
        said.append(f"{row['instructions per element']} instructions per element, {limit:.4g} are allowed")
    what = f"{row['program']}, {row['dtype']}, {row['shape']}, {row['direction']}"
    return f"{what}: {'; '.join(said)}" if said else None


def save(name: str, command: str, device: str, made: list[dict], **versions: str) -> pathlib.Path:
    """Like `measure.save`, for a device that the programs were compiled for and not run on."""
    path = measure.RESULTS / f"{name}.json"
    environment = measure.environment(command)
    environment.pop("load", None)
    environment |= {"device": f"{device}, compiled for and not run", "platform": name.rsplit("-", 1)[-1]}
    environment["versions"] = environment["versions"] | versions
    path.write_text(kept.pack({**environment, "rows": kept.kept(name, made)}))
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few programs; nothing is written")
    parser.add_argument("--gate", action="store_true", help="compare every program with its budget; nothing is written")
    parser.add_argument("--tpu", action="store_true", help="for TPUs only: their compiler's estimates")
    options = parser.parse_args()
    command, start = shlex.join(["python", "-m", "benchmarks.instructions", *sys.argv[1:]]), time.perf_counter()
    if options.tpu:
        return tpu(command)
    try:
        made = rows(options.smoke)
    except Unavailable as missing:
        print(f"An H200 cannot be compiled for here: {missing}", file=sys.stderr)
        return 2 if options.gate else 0
    measure.table(made)
    if options.gate:
        failures = [said for row in made if (said := broken(row))]
        print(f"\n{len(failures)} of {len(made)} programs exceed their budget, {time.perf_counter() - start:.0f} s")
        print("\n".join(failures))
        return bool(failures)
    if options.smoke:
        return 0
    print("written to", save("instructions-h200", command, "NVIDIA H200", made, nvcc=_h200.toolkit_version()))
    return tpu(command)


def tpu(command: str) -> int:
    try:
        made = _tpu.rows(programs(smoke=False))
    except Unavailable as missing:
        print(f"A TPU cannot be compiled for here: {missing}")
        return 0
    measure.table(made)
    print("written to", save("instructions-tpu", command, "TPU v5e and v6e", made, libtpu=_tpu.library_version()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
