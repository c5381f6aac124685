"""Statistical batteries over the streams of a generator, and the tables of their results.

  python benchmarks/quality/battery.py check            the programs' words are the library's, their keys jax's
  python benchmarks/quality/battery.py run QUEUE        one test after another, each recorded in FOLDER/results.json
  python benchmarks/quality/battery.py collect          FOLDER/results.json into benchmarks/results/quality.json
  python benchmarks/quality/battery.py table            quality.json -> the table of docs/concepts/stream-evidence.md

FOLDER is where the Makefile put the programs (--folder). A line of QUEUE is `battery generator axis[:post] [size]`:
small, crush, big and rabbit are TestU01's, practrand takes a size (32GB), and special takes one of special.c's tests
instead of an axis. Lines that are done are skipped, so that a queue can be stopped and resumed.
"""

import argparse
import datetime
import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

from verdicts import practrand, probability, special, testu01, unpack, verdict

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "quality.json"
PAGE = ROOT / "docs" / "concepts" / "stream-evidence.md"
START, END = "<!-- quality: made by battery.py table -->", "<!-- /quality -->"
FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "noisejax-quality"
CHOSEN = "mix13c"  # the library's
REJECTED = ("mix11", "mix12", "mix13", "mix13b", "mix14", "mix14b", "mix14c")
PEERS = ("tf13", "tf20", "philox10", "pcg4dw", "fin2")
BATTERIES = {"small": "SmallCrush", "crush": "Crush", "big": "BigCrush", "rabbit": "Rabbit", "practrand": "PractRand"}
SPECIAL = {
    "dups": "equal words",
    "related": "equal words in the xor of related streams",
    "aval": "avalanche",
    "diffs": "differences",
    "marg": "marginals",
}
FILES = re.compile(r"practrand_([a-z0-9]+)_([a-z0-9]+?)(?:_(rev|lo8|hi8|lo16|lo1))?_(\d+GB)\.txt")
ORDER = {"clean": 0, "unusual": 1, "suspicious": 2, "FAIL": 3}


# ------------------------------------------------------------------------------------------------- running


def load(folder: Path) -> list[dict]:
    path = folder / "results.json"
    return json.loads(path.read_text()) if path.exists() else []


def command(folder: Path, program: str, line: str) -> str:
    battery, generator, axis, *rest = shlex.split(line)
    if battery == "practrand":
        size, *options = rest
        emit = shlex.join([str(folder / "emit"), generator, axis, *options])
        return f"{emit} | {shlex.quote(program)} stdin32 -singlethreaded -tlmin 256MB -tlmax {size}"
    if battery == "special":
        return shlex.join([str(folder / "special"), generator, axis, *rest])
    return shlex.join([str(folder / "crush"), generator, axis, battery, *rest])


def run(folder: Path, queue: Path, program: str) -> None:
    output = folder / "out"
    output.mkdir(parents=True, exist_ok=True)
    tried = set()
    while True:
        done = {record["queue"] for record in load(folder) if record["complete"]} | tried
        lines = [line.split("#")[0].strip() for line in queue.read_text().splitlines()]  # it may have been edited
        line = next((line for line in lines if line and line not in done), None)
        if line is None:
            return
        tried.add(line)
        battery, generator, axis, *rest = shlex.split(line)
        path = output / (re.sub(r"[^\w.]+", "_", line) + ".txt")
        start, whole = time.time(), command(folder, program, line)
        with path.open("w") as file:
            process = subprocess.Popen(
                ["nice", "-n", "19", "bash", "-c", whole],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait()
            except KeyboardInterrupt:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        # PractRand stops reading when it is done, and emit ends with it, so that only the output tells.
        text = path.read_text()
        amount, flagged = read(battery, axis, text)
        finished = amount is not None and process.returncode == 0
        if battery == "practrand":
            finished = amount is not None and ("FAIL" in " ".join(flagged) or size(amount) >= size(rest[0]))
        record = {
            "queue": line,
            "candidate": generator,
            "axis": axis,
            "options": " ".join(rest[1:] if battery == "practrand" else rest),
            "battery": battery,
            "amount": amount,
            "asked": rest[0] if battery == "practrand" else battery,
            "complete": finished,
            "verdict": verdict(battery, flagged) if amount else "none",
            "flagged": flagged,
            "seconds": round(time.time() - start, 1),
            "command": whole,
            "output": path.name,
            "version": version(battery, text),
            "date": datetime.datetime.now().isoformat(timespec="seconds"),
        }
        (folder / "results.new").write_text(json.dumps([*load(folder), record], indent=1))
        (folder / "results.new").replace(folder / "results.json")
        print(record["date"], line, "->", amount or "did not run", record["verdict"], *flagged, flush=True)


def read(battery: str, axis: str, text: str) -> tuple[str | None, list[str]]:
    if battery == "special":
        return special(axis, text)
    return practrand(text) if battery == "practrand" else testu01(text)


def version(battery: str, text: str) -> str:
    name = {"special": "special.c", "practrand": "PractRand"}.get(battery, "TestU01")
    match = re.search(rf"{name} (?:version )?([\d.]+)|^([\d.]+ .*)", text)
    return f"{name} {match[1] or match[2]}" if match else name


# ---------------------------------------------------------------------------------------------- collecting


def collect(folder: Path) -> list[dict]:
    """One record per test, including tests that were cut short or still run, as far as they got."""
    tests = {}
    for record in load(folder):
        options = record["options"].replace("-r C", "").strip() if record["axis"] != "dups" else ""  # it takes none
        if record["candidate"] not in (CHOSEN, *REJECTED, *PEERS) or "-r" in options:
            continue  # -r: a different rule for the high index word, which was rejected; C is the one in use
        output = folder / "out" / record["output"]
        amount, flagged, complete = record["amount"], record["flagged"], record["complete"]
        if record["battery"] == "special" or not complete:
            if not output.exists():
                continue
            amount, flagged = read(record["battery"], record["axis"], output.read_text())
            if amount is None:
                continue
        key = (record["candidate"], record["axis"], record["battery"], record["asked"], options)
        if complete or key not in tests or not tests[key]["complete"]:
            tests[key] = entry(record, options, amount, flagged, complete)
    recorded = {record["output"] for record in load(folder) if record["complete"]}
    for path in sorted((folder / "out").glob("practrand_*.txt")):
        match, text = FILES.fullmatch(path.name), path.read_text()
        amount, flagged = practrand(text)
        if not match or path.name in recorded or match[1] not in (CHOSEN, *REJECTED, *PEERS) or amount is None:
            continue
        axis = match[2] + (f":{match[3]}" if match[3] else "")
        made = datetime.datetime.fromtimestamp(path.stat().st_mtime).isoformat(timespec="seconds")
        line = f"practrand {match[1]} {axis} {match[4]}"
        record = {
            "candidate": match[1],
            "axis": axis,
            "battery": "practrand",
            "asked": match[4],
            "command": command(Path(), "RNG_test", line),
            "version": version("practrand", text),
            "date": made,
        }
        tests[(match[1], axis, "practrand", match[4], "")] = entry(
            record, "", amount, flagged, size(amount) >= size(match[4])
        )
    return list(tests.values())


def merge(rows: list[dict], found: list[dict]) -> list[dict]:
    """The rows with the new ones in place of older ones of the same test: a folder need not have all tests."""

    def test(row):
        return row["generator"], row["axis"], row["battery"], row["asked"]

    kept = {test(row): row for row in rows} | {test(row): row for row in found}
    return sorted(kept.values(), key=lambda r: (r["generator"] != CHOSEN, r["generator"], r["battery"], r["axis"]))


def span(before: dict, found: list[dict]) -> tuple[list[str], list[str]]:
    """Versions, without where they were downloaded from, and the first and the last day."""
    versions = {*before.get("versions", ()), *(row["version"].split(" (")[0] for row in found)}
    dates = sorted([*before.get("dates", ()), *(row["date"][:10] for row in found)])
    return sorted(versions), [dates[0], dates[-1]]


def pack(rows: list[dict], versions: list[str], dates: list[str]) -> str:
    """The text of quality.json, which `unpack` reads: it keeps what the pages print.

    That is every finding about the library's generator. Of another generator's test it is the worst finding, where
    that is more than unusual. Raw records and outputs stay in the folder of the programs.
    """
    groups: dict[str, dict] = {}
    for row in rows:
        flagged = row["flagged"]
        if row["generator"] != CHOSEN:
            flagged = [min(flagged, key=probability)] if ORDER[row["verdict"]] >= ORDER["suspicious"] else []
        group = {field: row[field] for field in ("generator", "battery", "amount", "verdict")}
        group |= {"flagged": flagged} if flagged else {}
        group |= {} if row["complete"] else {"asked": row["asked"]}
        groups.setdefault(json.dumps(group), {**group, "axes": []})["axes"].append(row["axis"])
    head = {"command": "python benchmarks/quality/battery.py collect", "generator": CHOSEN}
    head |= {"versions": versions, "dates": dates}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    body = ",\n".join(f"  {json.dumps(group, ensure_ascii=False)}" for group in groups.values())
    return "{\n" + ",\n".join([*lines, f' "rows": [\n{body}\n ]']) + "\n}\n"


def entry(record: dict, options: str, amount: str, flagged: list[str], complete: bool) -> dict:
    battery = record["battery"]
    bare = " ".join(re.sub(r"^(?:\S*/)+(?=\w)", "", word) for word in record["command"].replace(" -r C", "").split())
    return {
        "generator": record["candidate"],
        "axis": record["axis"] + (f" {options}" if options else ""),
        "battery": battery,
        "amount": "all tests" if battery in BATTERIES and battery != "practrand" else amount,
        "asked": record["asked"] if battery == "practrand" else None,
        "complete": complete,
        "verdict": verdict(battery, flagged),
        "flagged": flagged,
        "command": bare,
        "version": version(battery, record["version"]),
        "date": record["date"],
    }


# -------------------------------------------------------------------------------------------------- the table


def size(amount: str) -> float:
    """In megabytes, of PractRand's "4 gigabytes" and of what it was asked for, "4GB"."""
    number, unit = re.fullmatch(r"([\d.]+) ?([kmgt]).*", amount.lower()).groups()
    return float(number) * {"k": 2**-10, "m": 1, "g": 2**10, "t": 2**20}[unit]


def table(results: dict) -> str:
    rows = results["rows"]
    lines = of_chosen([row for row in rows if row["generator"] == CHOSEN])
    lines += ["Of the rejected ones and of the peers, on the axes where they were flagged:", ""]
    lines += ["| generator | axis | battery | worst of what was flagged | verdict |", "|---|---|---|---|---|"]
    clean = []
    for row in (row for row in rows if row["generator"] != CHOSEN):
        if ORDER[row["verdict"]] < ORDER["suspicious"]:
            clean.append(row)
            continue
        said = tidy(min(row["flagged"], key=probability))
        battery = BATTERIES.get(row["battery"], row["battery"])
        lines.append(f"| {row['generator']} | `{row['axis']}` | {battery} | {said} | {row['verdict']} |")
    versions, dates = ", ".join(results["versions"]), results["dates"]
    generators = names(sorted({row["generator"] for row in clean}))
    said = f"Their other {len(clean)} tests ({generators}) were clean or at most unusual."
    lines += ["", f"{said} {versions}; {dates[0]} to {dates[-1]}."]
    return "\n".join(lines)


def of_chosen(chosen: list[dict]) -> list[str]:
    """The tests of the library's words, and everything that was flagged."""
    lines = ["| battery | axes | amount | verdict |", "|---|---|---|---|"]
    largest: dict[str, dict] = {}
    for row in (row for row in chosen if row["battery"] == "practrand"):
        kept = largest.setdefault(row["axis"], row)
        if size(row["amount"]) > size(kept["amount"]):
            largest[row["axis"]] = row
    groups: dict[tuple, list[str]] = {}
    worst: dict[str, list[str]] = {}
    for axis, row in largest.items():
        cut = "" if row["complete"] else f" of {row['asked']} so far"
        groups.setdefault((-size(row["amount"]), row["amount"] + cut), []).append(axis)
        worst[axis] = [r["verdict"] for r in chosen if r["battery"] == "practrand" and r["axis"] == axis]
    for (_, amount), axes in sorted(groups.items()):
        verdicts = [max(worst[axis], key=ORDER.get) for axis in axes]
        lines.append(f"| PractRand | {names(axes)} | {amount}{', each' if axes[1:] else ''} | {count(verdicts)} |")
    for battery in ("small", "crush", "big", "rabbit"):
        if found := [row for row in chosen if row["battery"] == battery]:
            axes = names([row["axis"] for row in found])
            lines.append(f"| {BATTERIES[battery]} | {axes} | all tests | {count([r['verdict'] for r in found])} |")
    for row in (row for row in chosen if row["battery"] == "special"):
        cut = "" if row["complete"] else ", cut short"
        lines.append(f"| special: {SPECIAL[row['axis'].split()[0]]} | | {row['amount']}{cut} | {row['verdict']} |")
    flagged = [(row, said) for row in chosen for said in row["flagged"]]
    lines += ["", f"All that was flagged on the way ({len(flagged)} in {len(chosen)} tests):", ""]
    lines += [
        f"- {BATTERIES.get(row['battery'], 'special')}, `{row['axis']}`: {tidy(said)}" for row, said in flagged
    ] or ["- nothing"]
    return [*lines, ""]


def names(axes: list[str]) -> str:
    return ", ".join(f"`{axis}`" for axis in sorted(axes))


def count(verdicts: list[str]) -> str:
    said = [f"{verdicts.count(word)} {word}" for word in ORDER if word in verdicts]
    return said[0].split()[1] if len(said) == 1 else ", ".join(said)


def tidy(said: str) -> str:
    said = " ".join(said.replace("p=1-", "p=1 - ").replace("p~=", "p ≈").replace("p=", "p = ").split())
    return said.replace("|", "\\|")


# --------------------------------------------------------------------------------------------------- checking


def check(folder: Path) -> None:
    """The words of the library are those of the program in C, and its keys are those of jax.random."""
    import jax
    import jax.numpy as jnp

    from noisejax._random.generators import hash_words

    inputs, library = [], []
    for n in range(64):
        k0, k1, first, second, low, high = jax.random.bits(jax.random.key(n), (6,), "uint32").tolist()
        low, high = (low, high) if n % 2 else (low, 0)
        inputs.append(f"{k0} {k1} {first} {second} {low} {high}")
        shifted = jnp.uint32((k1 + high * 0xD3A2646D) & 0xFFFFFFFF)  # as in noisejax._random.generators.mix
        library.append(int(hash_words(jnp.uint32(low), jnp.uint32(k0), shifted, (first, second))))

    def program(*arguments, **options):
        command = [str(folder / "special"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout.split()

    drawn = [int(word) for word in program(CHOSEN, "known", input="\n".join(inputs))]
    assert drawn == library, "the program's words are not the library's"
    children = program(CHOSEN, "children")
    keys = [jax.random.wrap_key_data(jnp.array(k, jnp.uint32)) for k in ((0, 42), (0xDEADBEEF, 0x12345678))]
    ids = jnp.arange(100, dtype=jnp.uint32)
    for made in (
        lambda key: jax.random.split(key, 100),
        lambda key: jax.vmap(lambda n: jax.random.fold_in(key, n))(ids),
    ):
        expected = [word for key in keys for word in jax.random.key_data(made(key)).ravel().tolist()]
        assert [int(word) for word in children] == expected, "the program's children are not those of jax.random"
    print("64 words and 400 keys agree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("check", "run", "collect", "table"))
    parser.add_argument("queue", nargs="?", type=Path, help="for run")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the programs and of what they give")
    parser.add_argument("--practrand", default="RNG_test", help="its program (RNG_test)")
    options = parser.parse_args()
    if options.verb == "check":
        check(options.folder)
    elif options.verb == "run":
        if options.queue is None:
            parser.error("run needs a queue")
        run(options.folder, options.queue, options.practrand)
    elif options.verb == "collect":
        before = unpack(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
        found = collect(options.folder)
        rows = merge(before["rows"], found)
        RESULTS.write_text(pack(rows, *span(before, found)))
        print(f"{len(rows)} tests in {RESULTS.relative_to(ROOT)}")
    else:
        text = PAGE.read_text()
        before, after = text.split(START)[0], text.split(END)[1]
        PAGE.write_text(before + START + "\n" + table(unpack(RESULTS.read_text())) + "\n" + END + after)
        print("written to", PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
