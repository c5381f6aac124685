"""`noisejax.fused` compared with the unfused forms: time in one run with turns, and memory of compiled programs.

``python -m benchmarks.fused [PART ...] [--page]`` writes a result file for each part, so that each stays below a few
minutes; ``--page`` writes the tables of docs/guides/fused.md from these files.

Attention is (1, 8, T, 64) with dropout at a rate of 0.1: compared with that of Flax, whose dropout draws for every
probability (`broadcast_dropout=False`), with the same formula and `nj.dropout`, and at rate 0 with
`jax.nn.dot_product_attention`. Losses are smoothed cross entropies compared with `optax.smooth_labels` and
`optax.softmax_cross_entropy`. The product is 512 x 4096 by 4096 x 4096 with Gaussian noise on the weights. Forward and
backward is one compiled gradient of a sum of squares.

Times are the least of seven turns at T = 1024, of three at 2048 and of one from 4096 on, where a call takes many
seconds; losses and products have five turns. bfloat16 is timed up to 2048. Temporaries are those that XLA says it
allocates besides arguments and results. A program is not run where they exceed 9 GB.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import noisejax as nj
from benchmarks import measure, pages

HEADS, FEATURES, RATE = 8, 64, 0.1
MIB = 2**20
LARGEST = 9 * 2**30  # bytes of temporaries of a program that is run


def run(smoke: bool) -> Iterator[dict]:
    for rows in PARTS.values():
        yield from rows(smoke)


def memory_of_attention(smoke: bool) -> Iterator[dict]:
    yield from map(memory, (256,) if smoke else (1024, 2048, 4096, 8192, 16384, 32768, 65536))


def times_of_attention(smoke: bool) -> Iterator[dict]:
    for length in (256,) if smoke else (1024, 2048):
        yield from times(length, jnp.float32)


def times_of_long_attention(smoke: bool) -> Iterator[dict]:
    for length in () if smoke else (4096, 8192):
        yield from times(length, jnp.float32)


def times_in_bfloat16(smoke: bool) -> Iterator[dict]:
    for length in (256,) if smoke else (1024, 2048):
        yield from times(length, jnp.bfloat16)


def of_losses(smoke: bool) -> Iterator[dict]:
    for shape in ((64, 2048),) if smoke else ((1024, 32_768), (2048, 131_072)):
        for dtype in (jnp.float32, jnp.bfloat16):
            yield losses(shape, dtype)


def of_products(smoke: bool) -> Iterator[dict]:
    for dtype in (jnp.float32, jnp.bfloat16):
        yield product((64, 256) if smoke else (512, 4096), dtype)


PARTS = {
    "memory": memory_of_attention,
    "attention": times_of_attention,
    "long": times_of_long_attention,
    "bfloat16": times_in_bfloat16,
    "losses": of_losses,
    "products": of_products,
}


def attentions() -> dict[str, Callable]:
    key = jax.random.key(0)

    def unfused(q, k, v):
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) / jnp.float32(FEATURES**0.5)
        weights = jax.nn.softmax(scores).astype(q.dtype)
        return jnp.einsum("bhqk,bkhd->bqhd", nj.dropout(key, weights, RATE), v)

    def flax(q, k, v):
        return nnx.dot_product_attention(q, k, v, broadcast_dropout=False, dropout_rng=key, dropout_rate=RATE)

    return {
        "fused": lambda q, k, v: nj.fused.attention(key, q, k, v, RATE),
        "fused, causal": lambda q, k, v: nj.fused.attention(key, q, k, v, RATE, causal=True),
        "fused, rate 0": lambda q, k, v: nj.fused.attention(None, q, k, v, 0.0),
        "unfused": unfused,
        "Flax": flax,
        "jax.nn, rate 0": lambda q, k, v: jax.nn.dot_product_attention(q, k, v),
    }


def compiled(function: Callable, *shapes) -> dict[str, jax.stages.Compiled]:
    """The programs of a function and of the gradient of a sum of its squares in all floats."""
    places = tuple(n for n, s in enumerate(shapes) if jnp.issubdtype(s.dtype, jnp.floating))

    def loss(*given):
        return (function(*given).astype(jnp.float32) ** 2).sum()

    both = {"forward": jax.jit(function), "forward and backward": jax.jit(jax.grad(loss, places))}
    return {way: program.lower(*shapes).compile() for way, program in both.items()}


def temporaries(program: jax.stages.Compiled) -> int:
    analysis = program.memory_analysis()
    assert analysis is not None, "this backend does not say what it allocates"
    return analysis.temp_size_in_bytes


def memory(length: int) -> dict:
    row: dict = {"attention, T": length}
    for name in ("fused", "unfused", "Flax"):
        if name != "fused" and length > 16384:
            row[f"{name} MiB"] = row[f"{name} MiB, both"] = None  # 32-bit sizes of XLA's buffers end here
            continue
        shapes = [jax.ShapeDtypeStruct((1, length, HEADS, FEATURES), jnp.float32)] * 3
        forward, both = compiled(attentions()[name], *shapes).values()
        row |= {f"{name} MiB": temporaries(forward) / MIB, f"{name} MiB, both": temporaries(both) / MIB}
    return row


def times(length: int, dtype) -> Iterator[dict]:
    arrays = [jax.random.normal(jax.random.key(n), (1, length, HEADS, FEATURES)).astype(dtype) for n in range(3)]
    programs = {name: compiled(function, *arrays) for name, function in attentions().items()}
    for way in ("forward", "forward and backward"):
        ways = {n: p[way] for n, p in programs.items() if temporaries(p[way]) <= LARGEST}
        rounds = 7 if length < 2048 else 3 if length < 4096 else 1
        seconds = measure.costs({n: lambda p=p: p(*arrays) for n, p in ways.items()}, rounds)
        row = {"attention, T": length, "dtype": jnp.dtype(dtype).name, "way": way}
        row |= {f"{n} ms": 1e3 * seconds[n][0] if n in seconds else None for n in programs}
        row |= {f"{n}, ms of cores": 1e3 * seconds[n][1] if n in seconds else None for n in programs}
        for name, (one, other) in RATIOS.items():
            for place, what in enumerate(("", ", cores")):
                both = one in seconds and other in seconds
                row[name + what] = seconds[one][place] / seconds[other][place] if both else None
        yield row


RATIOS = {
    "Flax / fused": ("Flax", "fused"),
    "unfused / fused": ("unfused", "fused"),
    "jax.nn / fused, rate 0": ("jax.nn, rate 0", "fused, rate 0"),
    "causal / fused": ("fused, causal", "fused"),
}


def losses(shape: tuple[int, int], dtype) -> dict:
    def fused(logits, labels):
        return nj.fused.cross_entropy(logits, labels, 0.1).mean()

    def rows(logits, labels):
        target = optax.smooth_labels(jax.nn.one_hot(labels, shape[1], dtype=dtype), 0.1)
        return optax.softmax_cross_entropy(logits, target).astype(jnp.float32).mean()

    given = [jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(shape[:1], jnp.int32)]
    programs = {
        n: jax.jit(jax.value_and_grad(f)).lower(*given).compile() for n, f in (("fused", fused), ("rows", rows))
    }
    size = shape[0] * shape[1] * jnp.dtype(dtype).itemsize
    row: dict = {"loss, logits": f"{shape[0]} x {shape[1]}", "dtype": jnp.dtype(dtype).name}
    row |= {f"{n}: temporaries / logits": temporaries(p) / size for n, p in programs.items()}
    logits = jax.random.normal(jax.random.key(0), shape).astype(dtype)
    labels = jax.random.randint(jax.random.key(1), shape[:1], 0, shape[1])
    seconds = measure.costs({n: lambda p=p: p(logits, labels) for n, p in programs.items()}, 5)
    for place, what in enumerate(("ms", "ms of cores")):
        row |= {f"{n} {what}": 1e3 * seconds[n][place] for n in programs}
    for place, what in enumerate(("", ", cores")):
        row["rows / fused" + what] = seconds["rows"][place] / seconds["fused"][place]
    return row


def product(shape: tuple[int, int], dtype) -> dict:
    rows, n = shape
    key, noise = jax.random.key(0), nj.bind(nj.gaussian, std=0.1)
    arrays = [jax.random.normal(key, s).astype(dtype) for s in ((rows, n), (n, n))]
    ways = {
        "fused": compiled(lambda x, w: nj.fused.noisy_dense(key, x, w, noise), *arrays),
        "unfused": compiled(lambda x, w: x @ noise(key, w), *arrays),
    }
    row: dict = {"noisy product": f"{rows} x {n} by {n} x {n}", "dtype": jnp.dtype(dtype).name}
    for way in ("forward", "forward and backward"):
        calls = {name: lambda p=programs[way]: p(*arrays) for name, programs in ways.items()}
        seconds = measure.costs(calls, 5)
        share = {name: temporaries(programs[way]) / arrays[1].nbytes for name, programs in ways.items()}
        row |= {f"{way}: {name} temporaries / w": value for name, value in share.items()}
        for place, what in enumerate(("ms", "ms of cores")):
            row |= {f"{way}: {name} {what}": 1e3 * value[place] for name, value in seconds.items()}
        for place, what in enumerate(("", ", cores")):
            row[f"{way}: fused / unfused{what}"] = seconds["fused"][place] / seconds["unfused"][place]
    return row


def page() -> None:
    """The tables of the guide, from the result files."""
    found = {part: measure.load(f"fused.{part}") for part in PARTS}
    rows = {part: results["rows"] for part, results in found.items() if results is not None}
    made = {"memory": _memory_table(rows["memory"]), "losses": _losses_table(rows["losses"])}
    made["times"] = _times_table([*rows["attention"], *rows.get("long", []), *rows["bfloat16"]])
    made["products"] = _products_table(rows["products"])
    parts = {"times": "attention"}
    for name, table in made.items():
        text = f"{table}\n\n{pages.where(found[parts.get(name, name)] or {})}"
        pages.write(pages.GUIDES / "fused.md", name, "python -m benchmarks.fused --page", text)


def _memory_table(rows: list[dict]) -> str:
    columns = ["fused MiB", "fused MiB, both", "unfused MiB", "unfused MiB, both", "Flax MiB", "Flax MiB, both"]
    body = [
        [f"{row['attention, T']:,}", *("" if row[c] is None else f"{row[c]:,.0f}" for c in columns)] for row in rows
    ]
    return pages.table(["T", *(c.replace(" MiB", "") for c in columns)], body)


def _times_table(rows: list[dict]) -> str:
    ways = ["fused", "unfused", "Flax", "fused, causal", "fused, rate 0", "jax.nn, rate 0"]
    columns = ["T", "dtype", "pass", *(w.removeprefix("fused, ") if "jax" not in w else w for w in ways)]
    body = [
        [f"{row['attention, T']:,}", row["dtype"], row["way"], *(pages.number(row[f"{w}, ms of cores"]) for w in ways)]
        for row in rows
    ]
    ratios = [
        [f"{row['attention, T']:,}", row["dtype"], row["way"]]
        + [f"{_ratio(row[name])} ({_ratio(row[f'{name}, cores'])})" if row[name] else "" for name in RATIOS]
        for row in rows
    ]
    return f"{pages.table(columns, body)}\n\n{pages.table(['T', 'dtype', 'pass', *RATIOS], ratios)}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _losses_table(rows: list[dict]) -> str:
    shares = ["fused: temporaries / logits", "rows: temporaries / logits"]
    speeds = ["fused ms of cores", "rows ms of cores", "rows / fused, cores"]
    body = [
        [row["loss, logits"], row["dtype"], *(pages.number(row[c], 2) for c in shares)]
        + [pages.number(row[c]) for c in speeds]
        for row in rows
    ]
    return pages.table(["logits", "dtype", *shares, *speeds], body)


def _products_table(rows: list[dict]) -> str:
    body = []
    for row in rows:
        for way in ("forward", "forward and backward"):
            shares = [row[f"{way}: {name} temporaries / w"] for name in ("fused", "unfused")]
            speed = _ratio(row[f"{way}: fused / unfused, cores"])
            body.append([row["dtype"], way, *(pages.number(share, 2) for share in shares), speed])
    columns = ["dtype", "pass", "temporaries / w", "unfused", "time, of the unfused product's"]
    return pages.table(columns, body)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"by default {', '.join(PARTS)}")
    parser.add_argument(
        "--page", action="store_true", help="write the tables of docs/guides/fused.md; nothing is measured"
    )
    options = parser.parse_args()
    if options.page:
        page()
        return 0
    for part in options.parts:
        rows = []
        for row in PARTS[part](False):
            rows.append(row)
            measure.table([row])
        command = shlex.join(["python", "-m", "benchmarks.fused", part])
        print("written to", measure.save(f"fused.{part}", command, rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
