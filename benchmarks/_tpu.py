"""Compiles jitted functions for TPUs on a machine that has none: launches, temporaries, the compiler's own estimate.

`libtpu`, in the version that the installed jax names, is fetched once by pip and not installed. A TPU's instructions
are not counted. Its compiler estimates the cycles of each kernel, and the table has that estimate over a copy's.
"""

import functools
import math
import os
import pathlib
import re
import tempfile
from collections.abc import Iterable
from importlib.metadata import requires, version

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from benchmarks._h200 import launched, unpacked

TOPOLOGIES = {"TPU v5e": "v5e:2x2", "TPU v6e": "v6e:2x2"}  # the smallest there are; one chip of them is used


def rows(programs: Iterable[tuple]) -> list[dict]:
    """A row for each forward program of `benchmarks.instructions.programs` and each TPU."""
    found, copies = [], {}
    for name, dtype, shape, direction, function, arguments in programs:
        if direction != "forward" or name.startswith("jax.random"):
            continue
        for device in TOPOLOGIES:
            sharding = target(device)
            shapes = jax.tree.map(lambda a, s=sharding: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), arguments)
            compiled = jax.jit(function).lower(*shapes).compile()
            text = compiled.as_text()
            size = math.prod(arguments[-1].shape)
            written = [max((n for n, _ in arrays), default=0) for arrays in launched(text).values()]
            launches = sum(1000 * n >= size for n in written)
            cycles = sum(int(n) for n in re.findall(r'"estimated_cycles":"(\d+)"', text[text.index("ENTRY") :]))
            copies.setdefault((device, dtype), cycles / size)  # the copy comes first
            found.append(
                {
                    "program": name,
                    "device": device,
                    "dtype": jnp.dtype(dtype).name,
                    "shape": shape,
                    "launches": launches,
                    "tiny launches": len(written) - launches,
                    "temporary bytes": compiled.memory_analysis().temp_size_in_bytes,
                    "estimated cycles, x copy": round(cycles / size / copies[device, dtype], 2),
                }
            )
    return found


@functools.cache
def target(device: str) -> jax.sharding.Sharding:
    jax.devices()
    os.environ["TPU_LIBRARY_PATH"] = str(_library())
    if _dumps:  # the library reads this once, when it is loaded
        os.environ["LIBTPU_INIT_ARGS"] = f"--xla_jf_dump_to={_dumps[0].name} --xla_jf_dump_llo_text=true"
    for name, value in {  # otherwise it asks the network for its type
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }.items():
        os.environ.setdefault(name, value)
    topology = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGIES[device])
    return jax.sharding.SingleDeviceSharding(topology.devices[0])


_dumps: list[tempfile.TemporaryDirectory] = []


def dumps() -> pathlib.Path:
    """A folder in which the compiler leaves its work from now on: to be called before the first `target`."""
    if not _dumps:
        memory = pathlib.Path("/dev/shm")  # a program leaves 100 MB
        _dumps.append(tempfile.TemporaryDirectory(prefix="noisejax-tpu-", dir=memory if memory.is_dir() else None))
    return pathlib.Path(_dumps[0].name)


def library_version() -> str:
    folder = next(_library().parent.parent.glob("libtpu-*.dist-info"))
    return folder.name.removesuffix(".dist-info").split("-")[1]


@functools.cache
def _library() -> pathlib.Path:
    wanted = next((r for r in requires("jax") or [] if r.startswith("libtpu")), "libtpu").split(";")[0].strip()
    return unpacked(f"tpu-{version('jax')}", wanted) / "libtpu" / "libtpu.so"
