"""All benchmarks, or those named: ``python -m benchmarks.run [names ...]``.

Any module of this folder with a function ``run(smoke) -> rows`` is a program; rows are dictionaries, and rows of equal
keys make a table. ``show(rows)`` prints them, where a module has one. A program that fails does not stop the others.
"""

import argparse
import importlib
import pathlib
import shlex
import signal
import sys
import time
import traceback

import jax

from benchmarks import measure, readme

PROGRAMS = ("throughput", "train_step", "scaling", "eager", "compiled", "compositions")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=PROGRAMS, help=f"by default {', '.join(PROGRAMS)}")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing is written: only see that all runs")
    parser.add_argument("--page", action="store_true", help="afterwards write the tables of docs/results/speed.md")
    parser.add_argument("--from-results", action="store_true", help="write those tables without measuring")
    parser.add_argument("--out", type=pathlib.Path, default=measure.RESULTS, help="where the JSON goes")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.run", *(sys.argv[1:] if arguments is None else arguments)])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("out of time"))
    failed = []
    if not options.from_results:
        device = jax.devices()[0]
        print(f"{device.device_kind} ({device.platform}), jax {jax.__version__}")
        for name in options.names:
            start = time.perf_counter()
            try:
                program(name, command, options.smoke, options.out)
            except Exception:
                traceback.print_exc()
                failed.append(name)
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    elif options.from_results or (options.page and not options.smoke):
        readme.write(options.out)
    return len(failed)


def program(name: str, command: str, smoke: bool, out: pathlib.Path) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    print(f"\n== {name}: {module.__doc__.strip().splitlines()[0]}", flush=True)
    rows, complete = [], False
    try:
        for row in module.run(smoke):
            rows.append(row)
        complete = True
    finally:  # rows measured before a failure, or before time ran out, are not lost
        getattr(module, "show", measure.table)(rows)
        if not smoke and rows:
            print(
                "written to" if complete else "incomplete, written to", measure.save(name, command, rows, out, complete)
            )


if __name__ == "__main__":
    sys.exit(main())
