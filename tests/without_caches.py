"""A pytest hook that frees compiled programs between files, so that a worker of the slow tests stays below some 4 GB.

JAX keeps every program that it has compiled. What a later file needs again comes from the cache on disk.
"""

import ctypes
import gc
import os
import sys
from pathlib import Path

import jax

MOST = 3 << 30  # bytes


def resident() -> int:
    """Bytes of memory that this process occupies; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def free() -> None:
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc: freed memory goes back to the system
        if trim is not None:
            trim(0)


def pytest_runtest_teardown(item, nextitem):
    if nextitem is not None and nextitem.path != item.path and resident() > MOST:
        free()
