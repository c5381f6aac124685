"""One of several processes that together hold a mesh of eight CPU devices; tests/core/test_hosts.py starts them.

Each draws on the global arrays, and saves the shards that it holds and what communicates in its programs.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

import noisejax as nj

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
SPEC = P(("a", "b"))
CHAIN = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.2), nj.bind(nj.drop_path, rate=0.2))


def batch() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(3).standard_normal((16, 6)).astype(np.float32), np.arange(16, dtype=np.int32) % 4


def mixed(key, x, y):
    return nj.mixup(key, (x, y), 0.4, num_classes=4, shards=8)


def noises() -> dict:
    """Functions of (key, x, y), by name."""
    return {
        "dropout": lambda key, x, y: nj.dropout(key, x, 0.5),
        "gaussian": lambda key, x, y: nj.gaussian(key, x, 0.1),
        "chain": lambda key, x, y: CHAIN(key, x),
        "mixup": lambda key, x, y: mixed(key, x, y)[0],
        "labels": lambda key, x, y: mixed(key, x, y)[1],
    }


def local(mesh, spec):
    """The chain inside shard_map."""
    return jax.shard_map(nj.in_shard_map(CHAIN, spec), mesh=mesh, in_specs=(P(), spec), out_specs=spec)


def main(port: str, process: str, processes: str, out: str) -> None:
    jax.distributed.initialize(
        f"127.0.0.1:{port}", int(processes), int(process), initialization_timeout=30, heartbeat_timeout_seconds=30
    )
    mesh = jax.make_mesh((4, 2), ("a", "b"))
    assert len(jax.local_devices()) * int(processes) == mesh.size == 8
    sharding = NamedSharding(mesh, SPEC)
    rows = slice(16 // int(processes) * int(process), 16 // int(processes) * (int(process) + 1))
    x, y = (jax.make_array_from_process_local_data(sharding, a[rows], a.shape) for a in batch())
    functions = noises() | {"shard_map": lambda key, x, y: local(mesh, SPEC)(key, x)}
    saved, talk = {}, []
    with jax.set_mesh(mesh):
        for key, prefix in ((jax.random.key(7), ""), (nj.key(7, generator="threefry2x32"), "threefry/")):
            for name in functions if not prefix else ("dropout",):
                compiled = jax.jit(functions[name]).lower(key, x, y).compile()
                talk += [f"{name}: {c}" for c in COLLECTIVES if c in compiled.as_text()]
                for shard in compiled(key, x, y).addressable_shards:
                    saved[f"{prefix}{name}/{shard.index[0].start}"] = np.asarray(shard.data)
    np.savez(Path(out) / f"{process}.npz", talk=np.array(talk, str), devices=jax.device_count(), **saved)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
