"""Generators of words against each other: speed on a CPU, instructions on an H200, and what the batteries say.

``python -m benchmarks.generators [--cpu] [--h200] [--page] [--smoke]``: --cpu times them fused into dropout and into
``x + std * normal`` and writes results/generators-cpu.json; --h200 counts machine instructions without an H200 and
writes results/generators-h200.json; --page writes the tables of docs/concepts/generators.md from these two and from
results/quality.json. Nothing else differs between the programs: index, threshold and normal are the library's.

Every generator is a function ``word(index, k0, k1, tag)`` of a uint32 array, two uint32 scalars and a Python integer.
`twin` is its name in `benchmarks/quality/generators.h`, where there is one, under which the batteries read it.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import re
import shlex
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import _h200, measure
from benchmarks.instructions import SHAPES, save
from noisejax import _generators, _sample
from noisejax._generators import multiply_wide

u = jnp.uint32
MAX = 0xFFFFFFFF
PAGE = pathlib.Path(__file__).parent.parent / "docs" / "concepts" / "generators.md"
START, END = "<!-- {}: made by python -m benchmarks.generators --page -->", "<!-- /{} -->"


def library(i, k0, k1, tag):
    """The library's default, docs/concepts/stream.md."""
    return _generators.hash_words(i, k0, k1, (tag, second(tag)))


def every_bit(i, k0, k1, tag):
    """The same where every bit of a word is read."""
    return _generators.whole("mix", library(i, k0, k1, tag))


def second(tag: int) -> int:
    """A place's second constant, a digest like the first one; here a hash stands for it, as in benchmarks/quality."""
    x = tag ^ MAX
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ x >> shift) * factor & MAX
    return x ^ x >> 16


def option(i, k0, k1, tag):
    """What the library's keys made with generator="threefry2x32" mean: the tag is encrypted first, once per draw."""
    return _generators.threefry(i, None, k0, k1, (tag, tag ^ 0xFFFFFFFF))


def mix14b(i, k0, k1, tag):
    """What the library had before, two instructions shorter; found out where keys differ in their top bits."""
    a = i * u(0x9E3779B1) + k1
    b = i * u(0x85EBCA77) + k0
    a = a ^ (a >> u(16)) ^ u(tag)
    a = a * u(0xED5AD4BB) + b
    b = b ^ (a >> u(16)) ^ u((tag << 13 | tag >> 19) & MAX)
    b = b * u(0xAC4C1B51) + a
    a = a * b + b
    a = a ^ (a >> u(15))
    a = a * u(0x31848BAB) + b
    return a ^ (a >> u(16))


def mix13(i, k0, k1, tag):
    """The library's first candidate, one multiply-add shorter still; broken along seeds."""
    a = i * u(0x9E3779B1) + k1
    b = i * u(0x85EBCA77) + k0
    a = a ^ (a >> u(16)) ^ u(tag)
    b = b * u(0xED5AD4BB) + a
    b = b ^ (b >> u(16)) ^ u(tag << 13 & 0xFFFFFFFF)
    a = a * b + b
    a = a ^ (a >> u(15))
    a = a * u(0x31848BAB) + b
    return a ^ (a >> u(16))


def fin2(i, k0, k1, tag):
    """Two keyed finalizers over one index: lowbias32 (C. Wellons), then MurmurHash3's."""
    x = (i + k0) ^ u(tag)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> u(shift))) * u(factor)
    x = x ^ (x >> u(16)) ^ k1
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> u(shift))) * u(factor)
    return x ^ (x >> u(16))


def threefry(rounds: int) -> Callable:
    """Threefry2x32 (Salmon et al. 2011): both words of the block (tag, index)."""

    def block(i, k0, k1, tag):
        keys = (k0, k1, k0 ^ k1 ^ u(0x1BD11BDA))
        a, b = u(tag) + k0, i + k1
        for n in range(rounds):
            rotation = (13, 15, 26, 6, 17, 29, 16, 24)[n % 8]
            a = a + b
            b = (b << u(rotation) | b >> u(32 - rotation)) ^ a
            if n % 4 == 3:
                s = n // 4 + 1
                a, b = a + keys[s % 3], b + keys[(s + 1) % 3] + u(s)
        return a, b

    return block


def philox(rounds: int, wide: Callable) -> Callable:
    """Philox4x32 (Salmon et al. 2011): the four words of the block (index, 0, tag, 0)."""

    def block(i, k0, k1, tag):
        c0, c1, c2, c3 = i, u(0), u(tag), u(0)
        for n in range(rounds):
            p_low, p_high = wide(c0, u(0xD2511F53))
            q_low, q_high = wide(c2, u(0xCD9E8D57))
            c0, c2 = q_high ^ c1 ^ (k0 + u(n * 0x9E3779B9 & MAX)), p_high ^ c3 ^ (k1 + u(n * 0xBB67AE85 & MAX))
            c1, c3 = q_low, p_low
        return c0, c1, c2, c3

    return block


def wide_multiply(a, b):
    """The 64-bit product through uint64, which is not there unless it is asked for."""
    with jax.enable_x64(True):
        product = lax.convert_element_type(a, jnp.uint64) * lax.convert_element_type(b, jnp.uint64)
        high = lax.shift_right_logical(product, jnp.full_like(product, 32))
        return lax.convert_element_type(product, jnp.uint32), lax.convert_element_type(high, jnp.uint32)


def pcg4d(passes: int) -> Callable:
    """pcg4d (Jarzynski and Olano 2020) of (index, k0, k1, tag): its four words, after one pass or two."""

    def block(i, k0, k1, tag):
        x, y, z, w = i, k0, k1, u(tag)
        for _ in range(passes):
            x, y, z, w = (v * u(1664525) + u(1013904223) for v in (x, y, z, w))
            for shifted in (False, True):
                if shifted:
                    x, y, z, w = (v ^ (v >> u(16)) for v in (x, y, z, w))
                x = x + y * w
                y = y + z * x
                z = z + x * y
                w = w + y * z
        return x, y, z, w

    return block


def word_of(block: Callable, n: int) -> Callable:
    return lambda i, k0, k1, tag: block(i, k0, k1, tag)[n]


def shifted_last(block: Callable) -> Callable:
    def word(i, k0, k1, tag):
        w = block(i, k0, k1, tag)[-1]
        return w ^ (w >> u(16))

    return word


def lanes(block: Callable, count: int) -> Callable:
    """Every word of a block used: element i takes word i % count of block i // count."""

    def word(i, k0, k1, tag):
        lane = i & u(count - 1)
        values = block(i >> u(count.bit_length() - 1), k0, k1, tag)
        chosen = values[0]
        for n, value in enumerate(values[1:], 1):
            chosen = jnp.where(lane == u(n), value, chosen)
        return chosen

    return word


@dataclasses.dataclass(frozen=True)
class Generator:
    word: Callable
    twin: str | None  # in benchmarks/quality
    source: str  # who published it, for the page


COLUMNS = ("generator", "words: 1-D", "dropout: 1-D", "2-D", "odd", "16 keys", "normal: 1-D", "launches")
COLUMNS += ("dropout, ms: 1M", "16M", "normal, ms: 1M", "16M")
SALMON, PCG = "Salmon et al. 2011", "Jarzynski and Olano 2020"
GENERATORS = {
    "noisejax": Generator(library, "mix14c", "this library"),
    "noisejax, every bit": Generator(every_bit, "mix16", "this library"),
    "mix14b": Generator(mix14b, "mix14b", "this library, rejected"),
    "mix13": Generator(mix13, "mix13", "this library, rejected"),
    "two keyed finalizers": Generator(fin2, "fin2", "hash functions in common use"),
    "pcg4d": Generator(shifted_last(pcg4d(1)), "pcg4dw", PCG),
    "pcg4d, two passes": Generator(word_of(pcg4d(2), 3), None, PCG),
    "threefry2x32-13": Generator(word_of(threefry(13), 0), "tf13", SALMON),
    "threefry2x32-20": Generator(word_of(threefry(20), 0), "tf20", SALMON),
    "threefry2x32-20, the option": Generator(option, None, SALMON),
    "philox4x32-7": Generator(word_of(philox(7, wide_multiply), 0), None, SALMON),
    "philox4x32-8": Generator(word_of(philox(8, wide_multiply), 0), None, SALMON),
    "philox4x32-10": Generator(word_of(philox(10, wide_multiply), 0), "philox10", SALMON),
    "philox4x32-10, 16-bit halves": Generator(word_of(philox(10, multiply_wide), 0), "philox10", SALMON),
    "pcg4d, by lane": Generator(lanes(pcg4d(1), 4), None, PCG),
    "threefry2x32-13, by lane": Generator(lanes(threefry(13), 2), None, SALMON),
    "threefry2x32-20, by lane": Generator(lanes(threefry(20), 2), None, SALMON),
    "philox4x32-7, by lane": Generator(lanes(philox(7, wide_multiply), 4), None, SALMON),
    "philox4x32-10, by lane": Generator(lanes(philox(10, wide_multiply), 4), None, SALMON),
}
TAG = 0x6A09E667  # any constant: a static tag


def index(shape: tuple[int, ...]) -> jax.Array:
    """The row-major index of every element, as the library computes it."""
    low = jnp.uint32(0)
    for axis, n in enumerate(shape):
        if n != 1:
            low = low + lax.broadcasted_iota(jnp.uint32, shape, axis) * u(math.prod(shape[axis + 1 :]))
    return low


def jobs(word: Callable) -> dict[str, Callable]:
    """What is timed and counted: functions of two key words and x."""

    def draw(data, x):
        return word(index(x.shape), data[0], data[1], TAG)

    return {
        "words": draw,
        "dropout": lambda data, x: jnp.where(_sample.bernoulli(draw(data, x), 0.1), 0, x * jnp.float32(1 / 0.9)),
        "normal": lambda data, x: x + jnp.float32(0.1) * _sample.normal(draw(data, x)),
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
    """The page with its tables made anew; `results` by name: "generators-cpu", "generators-h200", "quality"."""
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
        results = {name: json.loads(path.read_text()) if path.exists() else None for name, path in paths.items()}
        PAGE.write_text(page(PAGE.read_text(), results))
        print("written to", PAGE.relative_to(PAGE.parent.parent.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
