"""The tables of docs/results/speed.md, made from the result files: no number in them is typed by hand."""

import pathlib
from collections.abc import Iterator

from benchmarks import measure

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "results" / "speed.md"
START, END = "<!-- benchmarks: made by make bench-page -->", "<!-- /benchmarks -->"
RIVALS = {  # column: the fastest of these ways counts
    "jax.random, default keys": ("jax.random, threefry2x32",),
    "jax.random, best keys": ("jax.random, ",),
    "flax": ("flax nnx.Dropout",),
    "NumPy": ("numpy SFC64",),
    "torch": ("torch eager",),
    "torch compiled": ("torch compiled",),
}

NOTES = {
    "throughput": "The limit is a copy (`x * 1.5`) in the same run. Times are medians, and rivals take turns.",
    "train_step": "Overheads are medians over rounds of the ratio to the same step without noise; "
    "flax and jax.random use default keys.",
}


def write(folder: pathlib.Path = measure.RESULTS, page: pathlib.Path = PAGE) -> None:
    before, rest = page.read_text().split(START)
    after = rest.split(END)[1]
    page.write_text(f"{before}{START}\n{section(folder)}{END}{after}")
    print("written to", page)


def section(folder: pathlib.Path) -> str:
    parts = []
    for platform in ("cpu", "gpu", "tpu"):
        for name, lines in (("throughput", throughput), ("train_step", train_step)):
            results = measure.load(name, platform, folder)
            if results is not None:
                parts.append("\n".join([*lines(results["rows"]), "", f"{NOTES[name]} {_where(results)}"]))
    if measure.load("throughput", "gpu", folder) is None:
        parts.append("\n".join(["No GPU has measured this yet.", *instructions(folder)]))
    if measure.load("throughput", "tpu", folder) is None and (lines := [*cycles(folder)]):
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def throughput(rows: list[dict]) -> Iterator[str]:
    """The three jobs at the size at which every rival was measured."""
    rows = [r for r in rows if r["mode"] == "forward" and r["noisejax is faster"] is not None]
    rows = [r for r in rows if not r["job"].endswith(", flat")]
    size = next((r["size"] for r in rows if r["way"] == "jax.random, rbg"), rows[0]["size"])
    table: dict[tuple, dict] = {}
    for row in rows:
        if row["size"] == size:
            table.setdefault((row["job"], row["dtype"]), {})[row["way"]] = row
    columns = {
        column: {
            what: min((w for w in ways if w.startswith(starts) and "nj.key" not in w), key=lambda w: ways[w]["ms"])
            for what, ways in table.items()
            if any(w.startswith(starts) for w in ways)
        }
        for column, starts in RIVALS.items()
    }
    columns = {column: fastest for column, fastest in columns.items() if fastest}
    yield (
        f"| {size:,} elements, rows of 1,024, forward | noisejax | of a copy's speed | faster than "
        + " | than ".join(columns)
        + " |"
    )
    yield "|---" * (3 + len(columns)) + "|"
    for (job, dtype), ways in table.items():
        ours = ways["noisejax"]
        faster = [
            f"{ways[fastest[job, dtype]]['ms'] / ours['ms']:.1f}x" if (job, dtype) in fastest else ""
            for fastest in columns.values()
        ]
        yield f"| {job}, {dtype} | {ours['ms']:.3g} ms | {ours['% of copy']:.0f} % | " + " | ".join(faster) + " |"


def train_step(rows: list[dict]) -> Iterator[str]:
    steps: dict[str, dict] = {}
    for row in rows:
        steps.setdefault(row["step"], {})[row["noise"]] = row
    noises = [noise for noise in next(iter(steps.values())) if noise != "without"]
    yield "| train step: forward, backward, Adam | without noise | " + " | ".join(f"+ {n}" for n in noises) + " |"
    yield "|---" * (2 + len(noises)) + "|"
    for step, ways in steps.items():
        added = (f"{ways[n]['overhead %']:+.1f} %" for n in noises)
        yield f"| {step} | {ways['without']['ms']:.3g} ms | " + " | ".join(added) + " |"


def instructions(folder: pathlib.Path) -> Iterator[str]:
    """Instructions of the programs that were compiled for an H200 and not run."""
    results = measure.load("instructions", "h200", folder)
    if results is None:
        return
    rows = [r for r in results["rows"] if r["shape"] == "flat" and r["direction"] == "forward"]
    by = {(r["program"], r["dtype"]): r for r in rows}
    dtypes = list(dict.fromkeys(r["dtype"] for r in rows))
    limits = ", ".join(f"{next(r['budget'] for r in rows if r['dtype'] == d):.0f} in {d}" for d in dtypes)
    yield ""
    yield "| compiled for an H200, not run: instructions per element, forward | " + " | ".join(dtypes) + " |"
    yield "|---" * (1 + len(dtypes)) + "|"
    for program in ("gaussian", "dropout", "chain of five", "jax.random.normal", "jax.random.bernoulli"):
        if all((program, d) in by for d in dtypes):
            counts = (f"{by[program, d]['instructions per element']:.0f}" for d in dtypes)
            yield f"| {program} | " + " | ".join(counts) + " |"
    yield ""
    yield f"Up to {limits}, memory traffic is the limit and not arithmetic. {_where(results)}"


def cycles(folder: pathlib.Path) -> Iterator[str]:
    """Cycles that the compilers for TPUs estimate."""
    results = measure.load("instructions", "tpu", folder)
    if results is None:
        return
    by = {(r["program"], r["device"], r["dtype"], r["shape"]): r for r in results["rows"]}
    columns = list(dict.fromkeys((device, dtype) for _, device, dtype, _ in by))
    names = " | ".join(f"{device}, {dtype}" for device, dtype in columns)
    yield f"| compiled for TPUs, not run: the compiler's estimate of cycles, over a copy's | {names} |"
    yield "|---" * (1 + len(columns)) + "|"
    for program in ("gaussian", "dropout", "chain of five"):
        found = [by.get((program, *column, "2-D")) for column in columns]
        if all(found):
            yield f"| {program} | " + " | ".join(f"{row['estimated cycles, x copy']:.2f}" for row in found) + " |"
    yield ""
    yield _where(results)


def _where(results: dict) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v and k != "jaxlib")
    device = results["processor"] if results["platform"] == "cpu" else f"{results['device']}; {results['processor']}"
    how = "" if "not run" in results.get("device", "") else "Medians, rivals taking turns in one run: "
    return f"*{how}{device}; {versions}; {results['date']}; `{results['command']}`.*"
