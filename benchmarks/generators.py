"""Comparison of generators: speed on a CPU, instructions on an H200, and the results of the batteries.

``python -m benchmarks.generators [--cpu] [--h200] [--page] [--smoke]``: --cpu times them fused into dropout and into
``x + std * normal`` and writes results/generators-cpu.json; --h200 counts machine instructions without an H200 and
writes results/generators-h200.json; --page writes the tables of docs/concepts/generators.md from these two and from
results/quality.json. Nothing else differs between the programs: index, threshold and normal are the library's.
The generators themselves are in `benchmarks/candidates.py`.
"""

import argparse
import math
import pathlib
import re
import shlex
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import _h200, kept, measure
from benchmarks.candidates import GENERATORS
from benchmarks.instructions import SHAPES, save
from benchmarks.quality.verdicts import unpack as quality_rows
from noisejax._random import sample

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "concepts" / "generators.md"
START, END = "<!-- {}: made by python -m benchmarks.generators --page -->", "<!-- /{} -->"
COLUMNS = ("generator", "words: 1-D", "dropout: 1-D", "2-D", "odd", "16 keys", "normal: 1-D", "launches")
COLUMNS += ("dropout, ms: 1M", "16M", "normal, ms: 1M", "16M")
TAG = 0x6A09E667  # any constant: a static tag


def index(shape: tuple[int, ...]) -> jax.Array:
    """The row-major index of every element, as the library computes it."""
    low = jnp.uint32(0)
    for axis, n in enumerate(shape):
        if n != 1:
            low = low + lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(math.prod(shape[axis + 1 :]))
    return low


def jobs(word: Callable) -> dict[str, Callable]:
    """What is timed and counted: functions of two key words and x."""

    def draw(data, x):
        return word(index(x.shape), data[0], data[1], TAG)

    return {
        "words": draw,
        "dropout": lambda data, x: jnp.where(sample.bernoulli(draw(data, x), 0.1), 0, x * jnp.float32(1 / 0.9)),
        "normal": lambda data, x: x + jnp.float32(0.1) * sample.normal(draw(data, x)),
    }


def cpu(smoke: bool) -> list[dict]:
    """Times of one call on rows of 1,024, in place (x is donated): no fresh memory is paged in. Rivals take turns."""
    rows = []
    for size in [2**12] if smoke else [2**20, 2**24]:
        for job in ("dropout", "normal"):
            rivals = {"copy": in_place(lambda data, x: -x, size)}
            rivals |= {name: in_place(jobs(g.word)[job], size) for name, g in GENERATORS.items()}
            rounds = 3 if smoke else 31 if size <= 2**20 else 11
            seconds = measure.interleaved(rivals, rounds=rounds, calls=1 if smoke or size > 2**20 else 10)
            rows += [
                {
                    "job": job,
                    "size": size,
                    "generator": name,
                    "ms": round(1e3 * t, 4),
                    "x copy": round(t / seconds["copy"], 3),
                    "x noisejax": round(t / seconds["noisejax"], 3),
                }
                for name, t in seconds.items()
            ]
    return rows


def in_place(function: Callable, size: int) -> Callable:
    """A function without arguments that applies it to an array of its own, again and again."""
    step = jax.jit(function, donate_argnums=1)
    state = [jnp.ones((size // 1024, 1024))]
    data = jnp.array([0, 42], jnp.uint32)

    def call():
        state[0] = step(data, state[0])
        return state[0]

    return call


def h200(smoke: bool) -> list[dict]:
    rows = []
    for name, generator in list(GENERATORS.items())[: 2 if smoke else None]:
        for job, function in jobs(generator.word).items():
            for shape in ["flat"] if smoke else [*SHAPES, "flat, odd"]:
                x = jax.ShapeDtypeStruct((2**24 - 1,) if shape == "flat, odd" else SHAPES[shape], jnp.float32)
                data = jax.ShapeDtypeStruct((x.shape[0], 2) if shape == "16 keys" else (2,), jnp.uint32)
                mapped = jax.vmap(function) if shape == "16 keys" else function
                program = _h200.compile_for(mapped, data, x)
                pipe, slots = program.main.pipe() if program.main else ("none", 0.0)
                rows.append(
                    {
                        "generator": name,
                        "job": job,
                        "shape": shape,
                        "launches": program.launches,
                        "tiny launches": program.tiny,
                        "temporary bytes": program.temporary,
                        "instructions per element": round(program.instructions, 2),
                        "slowest pipe": pipe,
                        "its issue slots": round(slots, 2),
                    }
                )
    return rows


def page(text: str, results: dict[str, dict | None]) -> str:
    """The page with new tables; `results` by name: "generators-cpu", "generators-h200", "quality"."""
    for name, made in (("cost", cost(results)), ("quality", quality(results["quality"]))):
        start, end = START.format(name), END.format(name)
        before, after = text.split(start)[0], text.split(end)[1]
        text = before + start + "\n" + made + "\n" + end + after
    return text


def cost(results: dict[str, dict | None]) -> str:
    counted, timed = results["generators-h200"], results["generators-cpu"]
    counts = {(r["generator"], r["job"], r["shape"]): r for r in counted["rows"]} if counted else {}
    times = {(r["generator"], r["job"], r["size"]): r for r in timed["rows"]} if timed else {}
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    for name in ["copy", *GENERATORS] if times else GENERATORS:
        cells = [(name, "words", "flat"), *((name, "dropout", shape) for shape in SHAPES), (name, "normal", "flat")]
        row = [f"{counts[c]['instructions per element']:.1f}" if c in counts else "" for c in cells]
        launches = [r["launches"] for r in counts.values() if r["generator"] == name]
        row.append(str(max(launches)) if launches else "")
        for job, size in ((job, size) for job in ("dropout", "normal") for size in (2**20, 2**24)):
            cell = times.get((name, job, size))
            row.append(f"{cell['ms']:.2f}" if cell else "")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    for made in (counted, timed):
        if made:
            versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items() if v and k in ("jax", "nvcc"))
            device = made["device"] if made is counted else f"{made['processor']}, load {made.get('load', 'unknown')}"
            lines += ["", f"{device}: {versions}, {made['date']}, `{made['command']}`."]
    return "\n".join(lines)


def quality(results: dict | None) -> str:
    lines = ["| generator | published by | PractRand | SmallCrush |", "|---|---|---|---|"]
    seen = []
    for name, generator in GENERATORS.items():
        if generator.twin in seen:
            continue
        seen += [generator.twin] if generator.twin else []
        rows = [r for r in results["rows"] if r["generator"] == generator.twin] if results else []
        cells = [verdicts([r for r in rows if r["battery"] == battery]) for battery in ("practrand", "small")]
        if generator.twin:
            lines.append(f"| {name} | {generator.source} | {' | '.join(cells)} |")
    return "\n".join(lines)


def read(path: pathlib.Path) -> dict:
    return (quality_rows if path.stem == "quality" else kept.unpack)(path.read_text())


def verdicts(rows: list[dict]) -> str:
    """How many axes were read, the largest amount, and where something was found."""
    if not rows:
        return "not run"
    rank = ("clean", "unusual", "suspicious", "FAIL")
    worst: dict[str, int] = {}
    for row in rows:
        worst[row["axis"]] = max(worst.get(row["axis"], 0), rank.index(row["verdict"]))
    said = [f"{len(worst)} {'axis' if len(worst) == 1 else 'axes'}"]
    amounts = [int(m[1]) for r in rows if (m := re.match(r"(\d+) gigabyte", r["amount"]))]
    if amounts:
        said[0] += f", up to {max(amounts)} GB"
    said.append(f"{sum(v < 1 for v in worst.values())} clean")
    if unusual := sum(v == 1 for v in worst.values()):
        said.append(f"{unusual} unusual")
    for verdict in rank[2:]:
        if axes := sorted(f"`{axis}`" for axis, v in worst.items() if rank[v] == verdict):
            said.append(f"**{verdict}** on {', '.join(axes)}")
    return "; ".join(said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="time them on this CPU")
    parser.add_argument("--h200", action="store_true", help="count their instructions on an H200")
    parser.add_argument("--page", action="store_true", help="write the tables of docs/concepts/generators.md")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing is written")
    options = parser.parse_args()
    command = shlex.join(["python", "-m", "benchmarks.generators", *sys.argv[1:]])
    if options.cpu:
        rows = cpu(options.smoke)
        measure.table(rows)
        if not options.smoke:
            print("written to", measure.save("generators", command, rows))
    if options.h200:
        try:
            rows = h200(options.smoke)
        except _h200.Unavailable as missing:
            print(f"An H200 cannot be compiled for here: {missing}", file=sys.stderr)
            return 2
        measure.table(rows)
        if not options.smoke:
            print("written to", save("generators-h200", command, "NVIDIA H200", rows, nvcc=_h200.toolkit_version()))
    if options.page and not options.smoke:
        names = ("generators-cpu", "generators-h200", "quality")
        paths = {name: measure.RESULTS / f"{name}.json" for name in names}
        results = {name: read(path) if path.exists() else None for name, path in paths.items()}
        PAGE.write_text(page(PAGE.read_text(), results))
        print("written to", PAGE.relative_to(PAGE.parent.parent.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
