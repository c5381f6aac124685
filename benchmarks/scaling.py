"""How noise scales: over 1 to 8 devices (share of the work, collectives), and with the size of x.

The devices are simulated on the host's CPU, in a separate process for each number of devices. The numbers that matter
are the flops that the compiler gives each device, which must be the whole divided by the number of devices, and the
collectives, of which there must be none. The devices share the host's cores, so that their time means little. The
second part runs on the machine's own device: the time per element must not grow with the size by more than a copy's
does.
"""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from benchmarks import measure, rivals

MARK = "scaling rows: "
COLLECTIVE = re.compile(r" (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(-start)?\(")


def run(smoke: bool) -> Iterator[dict]:
    whole = {}
    for count in (2,) if smoke else (1, 2, 4, 8):
        for row in _process(count, 2**12 if smoke else 2**20):
            first = whole.setdefault((row["job"], row["axes"]), row["flops per device"] * count)
            yield {**row, "of the whole": row["flops per device"] / first}
    yield from growth(smoke)


def growth(smoke: bool) -> Iterator[dict]:
    key = jax.random.key(0)
    for size in [2**12] if smoke else [2**n for n in range(16, 28, 2)]:
        x = rivals.data((size,), jnp.float32)
        ways = {"copy": rivals.copy(x)[0]}
        ways |= {job: rivals.pair(noise, key, x)[0] for job, noise in rivals.NOISEJAX.items()}
        for way, seconds in measure.interleaved(ways, budget=0.05 if smoke else 1.5).items():
            yield {"job": way, "size": size, "ms": 1e3 * seconds, "ns per element": 1e9 * seconds / size}


def _process(count: int, size: int) -> list[dict]:
    """The rows of one number of devices, which is fixed when jax starts."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    command = [sys.executable, "-m", "benchmarks.scaling", str(size)]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} with {count} devices failed:\n{done.stderr}")
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith(MARK)).removeprefix(MARK))


def over_devices(size: int) -> list[dict]:
    """On all devices of this process: an array sharded along its first axis, under meshes of both kinds of axes."""
    rows, key = [], jax.random.key(0)
    jobs: dict[str, Callable] = dict(rivals.NOISEJAX)
    jobs["dropout of jax.random"] = rivals.IDIOMS["dropout"]
    for kind in ("Auto", "Explicit"):
        mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(getattr(jax.sharding.AxisType, kind),))
        sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
        with jax.set_mesh(mesh):
            x = jax.device_put(jnp.ones((1024, size // 1024)), sharding)
            compiled = {name: jax.jit(job).lower(key, x).compile() for name, job in jobs.items()}
            calls = {name: functools.partial(program, key, x) for name, program in compiled.items()}
            seconds = measure.interleaved(calls, budget=0.3)
        for name, program in compiled.items():
            rows.append(
                {
                    "job": name,
                    "axes": kind,
                    "devices": jax.device_count(),
                    "size": size,
                    "flops per device": program.cost_analysis()["flops"],
                    "collectives": len(COLLECTIVE.findall(program.as_text())),
                    "ms": 1e3 * seconds[name],
                }
            )
    return rows


if __name__ == "__main__":
    print(MARK + json.dumps(over_devices(int(sys.argv[1]))))
