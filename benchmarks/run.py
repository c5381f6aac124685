"""All benchmarks: ``python -m benchmarks.run [--smoke] [--readme] [names ...]``."""

import argparse
import importlib
import pathlib
import shlex
import sys

from benchmarks import measure

PROGRAMS = ("throughput", "eager", "compiled")
README = pathlib.Path(__file__).parent.parent / "README.md"
START, END = "<!-- benchmarks: made by make bench-readme -->", "<!-- /benchmarks -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=PROGRAMS, help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing is written: only see that all runs")
    parser.add_argument("--readme", action="store_true", help="also write the README's table")
    options = parser.parse_args()
    command = shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]])
    results = {}
    for name in options.names:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {module.__doc__.strip().splitlines()[0]}")
        results[name] = module.run(options.smoke)
        measure.table(results[name])
        if not options.smoke:
            print("written to", measure.save(name, command, results[name]).relative_to(README.parent))
    if options.readme and not options.smoke:
        text = README.read_text()
        before, after = text.split(START)[0], text.split(END)[1]
        README.write_text(before + START + "\n" + readme(results, measure.environment(command)) + END + after)


def readme(results: dict, environment: dict) -> str:
    """The table of the README: a million elements, each way's time as a multiple of a copy."""
    lines = ["| 1,048,576 elements | float32 ms | bfloat16 ms | noisejax is faster (float32) |", "|---|---|---|---|"]
    rows = [row for row in results["throughput"] if row["size"] == 2**20]
    for wide in (row for row in rows if row["dtype"] == "float32"):
        narrow = next(
            r for r in rows if r["dtype"] == "bfloat16" and (r["job"], r["way"]) == (wide["job"], wide["way"])
        )
        rival = "" if wide["way"] in ("copy", "noisejax") else f"{wide['noisejax is faster']:.1f}x"
        lines.append(f"| {wide['job']}: {wide['way']} | {wide['ms']:.2f} | {narrow['ms']:.2f} | {rival} |")
    versions = ", ".join(f"{k} {v}" for k, v in environment["versions"].items() if v)
    where = f"{environment['processor']} ({environment['device']}), {versions}, {environment['date']}"
    lines += ["", f"Medians, rivals taking turns in one run, on {where}, `{environment['command']}`.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
