"""The Pallas kernels of `noisejax.fused` compiled for an H200 and for TPUs, without these devices, and their budgets.

``python -m benchmarks.kernel_budgets [--gate] [--page]`` prints registers, memory, spills and inner loops of each
kernel, and estimates how long it takes at least: the time of its products on the matrix units, of its bytes, read and
written once, and of its instructions. The largest of the three is what bounds it. A first measurement on a device can
be judged by that. With --gate each kernel is compared with its budget. Nothing is timed.

Attention is causal, (1, 4096, 16, 64), with dropout. The product is (16, 4096) or (256, 4096) by 4096 x 4096 with
Gaussian noise. The norm is an RMSNorm of (4096, 4096). The kernels of TPUs take the same blocks as those of GPUs.
"""

import argparse
import dataclasses
import functools
import shlex
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

import noisejax as nj
from benchmarks import _h200, _pallas, _tpu, measure, pages
from benchmarks._h200 import Unavailable
from benchmarks.instructions import save
from noisejax.fused import _norm
from noisejax.fused._attention.call import attend_by_blocks
from noisejax.fused._dense import dense_by_tiles
from noisejax.fused._kernels import attention as attention_kernels, dense as dense_kernels, norm as norm_kernels

LENGTH, HEADS, FEATURES, WIDTH = 4096, 16, 64, 4096
ATTENTION = ("attention", "attention_dq", "attention_dkv")


@dataclasses.dataclass(frozen=True)
class Device:
    """Peaks by the makers' data sheets; of the H200 the bandwidth is that of a measured copy."""

    products: dict[str, float]  # floating-point operations per second of the matrix units
    bytes: float  # per second
    issues: float  # instructions of a warp, or bundles, per second


# Products of float32 go through TF32 on an H200, and through six passes of bfloat16 on a TPU.
DEVICES = {
    "NVIDIA H200": Device({"bfloat16": 989e12, "float32": 494e12}, _h200.BYTES_PER_SECOND, 132 * 4 * 1.98e9),
    "TPU v5e": Device({"bfloat16": 197e12, "float32": 197e12 / 6}, 819e9, 1.5e9),
    "TPU v6e": Device({"bfloat16": 918e12, "float32": 918e12 / 6}, 1640e9, 1.75e9),
}


# Of an H200 and of both TPUs: instructions of a warp or bundles of the inner loop, or of all where there is no loop;
# KiB that the threads of a program share, or of a TPU's vector memory; what is spilled. The counts, and 3% for the next
# compiler. 16 MiB is what a TPU's compiler gives a kernel by default. What is spilled on TPUs are numbers that a loop
# reads again and does not change.
BUDGETS = {
    ("attention", "float32"): ((1731, 64, 0), (221, 16_384, 7)),
    ("attention_dq", "float32"): ((1743, 80, 0), (208, 16_384, 0)),
    ("attention_dkv", "float32"): ((2124, 113, 0), (278, 16_384, 1)),
    ("attention", "bfloat16"): ((1293, 40, 0), (215, 16_384, 13)),
    ("attention_dq", "bfloat16"): ((1228, 48, 0), (196, 16_384, 0)),
    ("attention_dkv", "bfloat16"): ((1351, 57, 0), (227, 16_384, 1)),
    ("product of 16 rows", "float32"): ((3453, 136, 0), (328, 16_384, 0)),
    ("product of 16 rows", "bfloat16"): ((2704, 68, 0), (308, 16_384, 27)),
    ("product of 256 rows", "float32"): ((3555, 160, 0), (342, 16_384, 3)),
    ("product of 256 rows", "bfloat16"): ((2753, 96, 0), (333, 16_384, 1)),
    ("dropout_residual_norm", "float32"): ((503, 1, 0), (115, 16_384, 0)),
    ("dropout_residual_norm", "bfloat16"): ((594, 1, 0), (123, 16_384, 0)),
}


@dataclasses.dataclass(frozen=True)
class Work:
    """What a kernel has to do at the sizes above."""

    products: float  # floating-point operations
    bytes: int  # read and written once
    tiles: int  # how often the inner loop runs, in all programs of the grid together
    programs: int


def jobs() -> dict[str, tuple[Callable, list[tuple[int, ...]], Callable]]:
    """By name: a function of the implementation, key data and arrays; their shapes; work by kernel, of an item size."""
    wrap = jax.random.wrap_key_data

    def attention(how, data, *given):
        def loss(*given):
            out = attend_by_blocks(wrap(data), *given, 0.1, causal=True, implementation=how)
            return (out.astype(jnp.float32) ** 2).sum()

        return jax.value_and_grad(loss, (0, 1, 2))(*given)

    def work_of_attention(size):
        blocks = LENGTH // attention_kernels.BLOCK
        tiles, programs = HEADS * blocks * (blocks + 1) // 2, HEADS * blocks
        array, rows = HEADS * LENGTH * FEATURES * size, HEADS * LENGTH * 4
        product = 2 * tiles * attention_kernels.BLOCK**2 * FEATURES
        return {
            "attention": Work(2 * product, 4 * array + rows, tiles, programs),
            "attention_dq": Work(3 * product, 5 * array + 2 * rows, tiles, programs),
            "attention_dkv": Work(4 * product, 4 * array + 8 * array // size + 2 * rows, tiles, programs),
        }

    def product(how, data, x, w):
        return dense_by_tiles(wrap(data), x, w, nj.bind(nj.gaussian, std=0.01), implementation=how)

    def work_of_product(rows):
        def work(size):
            block = 16 if rows <= 16 else 64
            programs = rows // block * (WIDTH // dense_kernels.COLUMNS)
            tiles = programs * (WIDTH // dense_kernels.DEPTH)
            return {"noisy_dense": Work(2 * rows * WIDTH**2, size * (WIDTH**2 + 2 * rows * WIDTH), tiles, programs)}

        return work

    def norm(how, data, x, residual, scale):
        way = (("interpret", False), ("gpu", how == "gpu"))
        return _norm._by_kernel(("rms", 1e-6), way, x, residual, scale, None, jnp.float32(0.1), wrap(data))

    square = (WIDTH, WIDTH)
    found: dict[str, tuple[Callable, list[tuple[int, ...]], Callable]] = {
        "attention": (attention, [(1, LENGTH, HEADS, FEATURES)] * 3, work_of_attention),
    }
    for rows in (16, 256):
        found[f"product of {rows} rows"] = product, [(rows, WIDTH), square], work_of_product(rows)

    def work_of_norm(size):
        programs = WIDTH // 8  # of a TPU, with two loops over the parts of a row
        tiles = programs * WIDTH // norm_kernels.WIDTH
        return {"dropout_residual_norm": Work(0, 4 * size * WIDTH**2, tiles, programs)}

    found["norm"] = norm, [square, square, (WIDTH,)], work_of_norm
    return found


def rows(device: str) -> Iterator[dict]:
    how = "gpu" if device == "NVIDIA H200" else "tpu"
    for job, (function, shapes, work) in jobs().items():
        for dtype in (jnp.float32, jnp.bfloat16):
            given = [jax.ShapeDtypeStruct((2,), jnp.uint32), *(jax.ShapeDtypeStruct(s, dtype) for s in shapes)]
            of, run = work(jnp.dtype(dtype).itemsize), functools.partial(function, how)
            if how == "gpu":
                found = _pallas.for_h200(run, tuple(of), *given)
            else:
                found = _pallas.for_tpu(device, run, tuple(of), *given)
            for kernel in of:
                yield row(device, job, kernel, jnp.dtype(dtype).name, found[kernel], of[kernel])


def row(device: str, job: str, kernel: str, dtype: str, made: _pallas.Compiled, work: Work) -> dict:
    peak = DEVICES[device]
    programs = made.programs or work.programs
    warps = (made.threads or 32) // 32
    issued = warps * (work.tiles * made.loop + programs * made.rest)
    milliseconds = {
        "products": 1e3 * work.products / peak.products[dtype],
        "bytes": 1e3 * work.bytes / peak.bytes,
        "instructions": 1e3 * issued / peak.issues,
    }
    name = job if job.startswith("product") else kernel
    return {
        "kernel": name,
        "device": device,
        "dtype": dtype,
        "launches": made.launches,
        "temporary MiB": made.temporary / 2**20,
        "threads": made.threads,
        "registers": made.registers,
        "memory KiB": made.memory / 1024,
        "spills": made.spills,
        "inner loop": made.loop,
        "outside": made.rest,
        **{f"ms of {what}": value for what, value in milliseconds.items()},
        "bound by": max(milliseconds, key=lambda what: milliseconds[what]),
    }


def broken(row: dict) -> str | None:
    """How a row exceeds its budget; None where it does not."""
    gpu = row["device"] == "NVIDIA H200"
    count, memory, spills = BUDGETS[row["kernel"], row["dtype"]][0 if gpu else 1]
    unit, what = ("instructions", "bytes of a thread") if gpu else ("bundles", "vector registers")
    counted, said = row["inner loop"] or row["outside"], []
    if counted > count:
        said.append(f"{counted} {unit}, {count} are allowed")
    if row["memory KiB"] > memory:
        said.append(f"{row['memory KiB']:.4g} KiB, {memory} are allowed")
    if row["spills"] > spills:
        said.append(f"spills {row['spills']} {what}, {spills} are allowed")
    if gpu and row["registers"] > 255:
        said.append(f"{row['registers']} registers")
    name = f"{row['kernel']}, {row['device']}, {row['dtype']}"
    return f"{name}: {'; '.join(said)}" if said else None


def page() -> None:
    """The table of the guide, from the result file."""
    results = measure.load("kernel_budgets", "compiled")
    assert results is not None, "run python -m benchmarks.kernel_budgets first"
    rows = [
        [
            row["kernel"],
            row["device"].removeprefix("NVIDIA "),
            row["dtype"],
            f"{row['inner loop'] or row['outside']:,}",
            str(row["registers"] or ""),
            pages.number(row["memory KiB"]),
            str(row["spills"]),
            *(pages.number(row[f"ms of {what}"], 2) for what in ("products", "bytes", "instructions")),
        ]
        for row in results["rows"]
    ]
    columns = ["kernel", "device", "dtype", "inner loop", "registers", "KiB", "spills", "products", "bytes", "issue"]
    pages.write(
        pages.GUIDES / "fused.md",
        "kernels",
        "python -m benchmarks.kernel_budgets --page",
        f"{pages.table(columns, rows)}\n\n{pages.where(results)}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", action="store_true", help="compare every kernel with its budget; nothing is written")
    parser.add_argument("--page", action="store_true", help="write the table of docs/guides/fused.md without compiling")
    options = parser.parse_args()
    command, start = shlex.join(["python", "-m", "benchmarks.kernel_budgets", *sys.argv[1:]]), time.perf_counter()
    if options.page:
        page()
        return 0
    made, missing = [], 0
    _h200.dumps()  # before jax first uses a device
    _tpu.dumps()
    for device in DEVICES:
        try:
            made += rows(device)
        except Unavailable as reason:
            missing += 1
            print(f"{device} cannot be compiled for here: {reason}", file=sys.stderr)
    measure.table(made)
    if options.gate:
        failures = [said for row in made if (said := broken(row))]
        print(f"\n{len(failures)} of {len(made)} kernels exceed their budget, {time.perf_counter() - start:.0f} s")
        print("\n".join(failures))
        return 1 if failures else 2 if missing else 0
    if missing:
        return 2
    versions = {"nvcc": _h200.toolkit_version(), "libtpu": _tpu.library_version()}
    print("written to", save("kernel_budgets-compiled", command, "NVIDIA H200, TPU v5e and v6e", made, **versions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
