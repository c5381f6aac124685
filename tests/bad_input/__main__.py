"""Prints the figures: ``python -m tests.bad_input [number] [--seed 0] [--only NAME] [--faults]``."""

import argparse
import functools
import os
import pathlib
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bad_input import generate

parser = argparse.ArgumentParser("python -m tests.bad_input", description=generate.__doc__)
parser.add_argument("number", type=int, nargs="?", default=1000, help="how many calls")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--only", default="", help="only callables whose address contains this")
arguments = parser.parse_args()
start = time.process_time()
found = generate.found(arguments.number, arguments.seed, tell=functools.partial(print, flush=True), only=arguments.only)
print(generate.table(found.counts))
print(f"{time.process_time() - start:.0f} s of processor time")
