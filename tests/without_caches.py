"""A pytest hook that frees compiled programs now and then, or a worker of the slow tests would end in a crash.

JAX keeps every program that it has compiled, in several mappings of memory each. Linux allows a process 65,530 of them
by default, and compilers crash where they get no more. What a later test needs again comes from the cache on disk.
"""

import ctypes
import gc
import sys
from pathlib import Path

import jax

MOST = 20_000  # mappings
EVERY = 20  # tests

_count = 0


def mappings() -> int:
    """How many this process has; 0 where the system does not say."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


def free() -> None:
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc: freed memory goes back to the system
        if trim is not None:
            trim(0)


def pytest_runtest_teardown(item, nextitem):
    global _count
    _count += 1
    if _count % EVERY == 0 and mappings() > MOST:
        free()
