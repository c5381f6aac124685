"""What a chain costs, compared with its stages one by one: bytes read and written, and time.

Every order of two noises, on rows (1024, 512) and images (64, 32, 32, 3), on one and on eight devices. The devices are
simulated on the host's CPU, in a process for each number of them, with the batch sharded. Then the chain of the demo
and its triples. The bytes are the compiler's count for one device. The time is that of compiled calls which take turns:
one call of the chain, and one of each stage. A chain over the bar is measured again, three times as long. Next to it is
the time of the processor: on a busy machine others interrupt long calls more often than short ones, and the chain is
one long call. Last, the programs compiled for an H200, where that is possible (see `_h200.py`): how often they read an
array as large as the batch.

``python -m benchmarks.compositions`` prints the tables of the last results.
"""

import functools
import itertools
import json
import operator
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import _h200, measure

MARK = "compositions rows: "
SHAPES = {"rows": (1024, 512), "images": (64, 32, 32, 3)}
SMALL = {"rows": (16, 8), "images": (8, 4, 4, 3)}
NOISES = ("gaussian", "mask", "swap", "mixup", "cutmix", "dropout", "random_erasing")
BARS = {"bytes": 1.1, "time": 1.25, "processor time": 1.25}


def run(smoke: bool) -> Iterator[dict]:
    for count in (2,) if smoke else (1, 8):
        yield from _process(count, smoke)
    if not smoke:
        try:
            target = _h200.target()
        except _h200.Unavailable as missing:
            print(f"not compiled for an H200: {missing}")
        else:
            yield from for_an_h200(target)


def for_an_h200(target: jax.sharding.Sharding) -> Iterator[dict]:
    """How often the compiled programs read an array as large as the batch. Nothing runs."""
    for kind, shape in SHAPES.items():
        x = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=target)
        key = jax.eval_shape(lambda: jax.random.key(0))
        key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=target)

        @functools.cache
        def reads(noise, key=key, x=x):
            return _h200.reads(jax.jit(noise).lower(key, x).compile().as_text() or "", x.size)

        for name, parts in chains(kind, 1, False):
            yield {
                "chain, compiled for an H200": name,
                "array": kind,
                "reads": reads(nj.chain(*parts)),
                "reads of the stages": sum(map(reads, parts)),
            }


def stages(kind: str, count: int) -> dict[str, nj.Noise]:
    """The noises by name, for arrays of this kind on `count` devices, without communication."""
    rows = kind == "rows"
    return {
        "gaussian": nj.bind(nj.gaussian, std=0.1),
        "mask": nj.bind(nj.mask, rate=0.1),
        "swap": nj.bind(nj.swap, rate=0.1, shards=count),
        "mixup": nj.bind(nj.mixup, alpha=0.5, shards=count),
        "cutmix": nj.bind(nj.cutmix, alpha=0.5, shards=count, axes=(1,) if rows else (1, 2)),
        "dropout": nj.bind(nj.dropout, rate=0.1),
        "random_erasing": nj.bind(nj.image.random_erasing, rate=0.5, axes=(0, 1) if rows else (1, 2)),
    }


def chains(kind: str, count: int, smoke: bool) -> Iterator[tuple[str, tuple[nj.Noise, ...]]]:
    found = stages(kind, count)
    names = ("gaussian", "swap") if smoke else NOISES
    for pair in itertools.product(names, repeat=2):
        yield " > ".join(pair), tuple(found[name] for name in pair)
    if kind == "rows":
        width = (SMALL if smoke else SHAPES)["rows"][1]
        corrupted = {
            "swap": nj.bind(nj.swap, rate=0.1, groups=tuple(np.arange(width) // 2), shards=count),
            "mask": nj.bind(nj.mask, rate=0.1, groups=tuple(np.arange(width) // 2)),
            "gaussian": nj.on_columns(found["gaussian"], range(0, width, 2)),
        }
        mixup = nj.bind(nj.mixup, alpha=0.5, mode="batch", shards=count)
        orders = [("swap", "mask", "gaussian")] if smoke else list(itertools.permutations(corrupted))
        for order in orders:
            yield "demo: " + " > ".join(order), tuple(corrupted[name] for name in order)
        yield "demo: mixup > swap > mask > gaussian", (mixup, *corrupted.values())


def over_devices(smoke: bool) -> list[dict]:
    """The rows of this process: for each chain and shape, on all its devices."""
    rows, key, count = [], jax.random.key(0), jax.device_count()
    mesh = jax.make_mesh((count,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    for kind, shape in (SMALL if smoke else SHAPES).items():
        x = jax.random.normal(key, shape, jnp.float32)
        x = jax.device_put(x, sharding) if count > 1 else x
        alone: dict = {}
        for name, parts in chains(kind, count, smoke):
            for part in parts:
                if part not in alone:
                    alone[part] = jax.jit(part).lower(key, x).compile()
            programs = [alone[part] for part in parts]
            chained = jax.jit(nj.chain(*parts)).lower(key, x).compile()

            def one_by_one(programs=programs, x=x):
                y = x
                for program in programs:
                    y = program(key, y)
                return y

            def at_once(chained=chained, x=x):
                return chained(key, x)

            ways = {"chain": at_once, "stages": one_by_one}
            for budget in (0.02,) if smoke else (0.4, 1.2):
                times = clocks(ways, budget)
                if times["time, x stages"] <= BARS["time"]:  # a short measurement is not enough to say otherwise
                    break
            read = _bytes(chained), sum(map(_bytes, programs))
            rows.append(
                {
                    "chain": name,
                    "array": kind,
                    "devices": count,
                    "bytes, x stages": read[0] / read[1],
                    **times,
                }
            )
    return rows


def clocks(ways: dict[str, Callable], budget: float) -> dict[str, float]:
    """Medians over turns of about 2 ms. The two ways take turns, and start a round alternately."""
    for way in ways.values():
        jax.block_until_ready(way())
    start = time.perf_counter()
    jax.block_until_ready(ways["stages"]())
    once = time.perf_counter() - start
    calls = max(1, round(2e-3 / once))
    wall: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(max(5, min(101, round(budget / (2 * calls * once))))):
        for name in sorted(ways, reverse=turn % 2 == 1):
            jax.block_until_ready(ways[name]())  # what the other way left behind is not measured
            clock, processor = time.perf_counter(), time.process_time()
            for _ in range(calls):
                jax.block_until_ready(ways[name]())
            wall[name].append((time.perf_counter() - clock) / calls)
            busy[name].append((time.process_time() - processor) / calls)
    return {
        "time, x stages": statistics.median(map(operator.truediv, wall["chain"], wall["stages"])),
        "processor time, x stages": statistics.median(busy["chain"]) / statistics.median(busy["stages"]),
        "ms": 1e3 * statistics.median(wall["chain"]),
        "ms of the stages": 1e3 * statistics.median(wall["stages"]),
    }


def _bytes(program) -> float:
    return program.cost_analysis()["bytes accessed"]


def _process(count: int, smoke: bool) -> list[dict]:
    """The rows of one number of devices, which is fixed when jax starts."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    command = [sys.executable, "-m", "benchmarks.compositions", "smoke" if smoke else "full"]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} with {count} devices failed:\n{done.stderr}")
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith(MARK)).removeprefix(MARK))


def show(rows: list[dict]) -> None:
    """For each array and number of devices a table of pairs, the first noise on the left; then the longer chains."""
    compiled = [row for row in rows if "reads" in row]
    rows = [row for row in rows if "reads" not in row]
    for what, bar in BARS.items():
        for (kind, count), group in itertools.groupby(rows, lambda row: (row["array"], row["devices"])):
            print(f"\n{what} of a pair, divided by that of its stages: {kind}, {count} devices (bar: {bar})")
            pairs = [row for row in group if row["chain"].count(" > ") == 1]
            table = measure.pivot(
                [{**row, "first": row["chain"].split(" > ")[0]} for row in pairs],
                "first",
                lambda row: row["chain"].split(" > ")[1],
                lambda row, what=what: f"{row[f'{what}, x stages']:.2f}",
            )
            measure.table(table)
    print("\nlonger chains")
    measure.table([row for row in rows if row["chain"].count(" > ") > 1])
    for what, bar in BARS.items():
        over = [row for row in rows if row[f"{what}, x stages"] > bar]
        worst = max(rows, key=lambda row: row[f"{what}, x stages"])
        print(
            f"\n{what}: {len(over)} of {len(rows)} over {bar}; "
            f"worst {worst[f'{what}, x stages']:.2f}, {worst['chain']}, {worst['array']}, {worst['devices']} devices"
        )
    if compiled:
        more = [row["chain, compiled for an H200"] for row in compiled if row["reads"] > row["reads of the stages"]]
        print(f"\non an H200, {len(more)} of {len(compiled)} chains read the batch more often than their stages", *more)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(MARK + json.dumps(over_devices(sys.argv[1] == "smoke")))
    elif (results := measure.load("compositions")) is None:
        sys.exit("There are no results. Measure first: python -m benchmarks.run compositions")
    else:
        show(results["rows"])
