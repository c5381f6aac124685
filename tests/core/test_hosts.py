"""Many devices and many hosts: a mesh of forced host devices, and two processes that share one over loopback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import hosts_worker
import noisejax as nj
from noisejax._random.generators import GENERATORS

WORKER = Path(hosts_worker.__file__)
DRAWS = {
    "dropout": nj.bind(nj.dropout, rate=0.5),
    "gaussian": nj.bind(nj.gaussian, std=0.1),
    "chain": nj.chain(
        nj.bind(nj.dropout, rate=0.5), nj.bind(nj.speckle, std=0.1), nj.bind(nj.image.channel_dropout, rate=0.2)
    ),
}


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_a_mesh_draws_as_one_device_and_each_device_its_own_part(axis_type, generator):
    """Masks to the bit, no collective, and work and memory traffic of each device in proportion to its part."""
    key, x = nj.key(5, generator=generator), jnp.ones((256, 512))
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    for name, noise in DRAWS.items() if generator == "mix" else [("dropout", DRAWS["dropout"])]:
        whole = jax.jit(noise).lower(key, x).compile()
        with jax.set_mesh(mesh):
            sharded = jax.device_put(x, NamedSharding(mesh, P("a", "b")))
            part = jax.jit(noise).lower(key, sharded).compile()
            result = part(key, sharded)
        assert result.sharding.shard_shape(x.shape) == (64, 256)
        np.testing.assert_array_equal(result == 0, whole(key, x) == 0, err_msg=name)
        np.testing.assert_allclose(result, whole(key, x), rtol=2e-6, atol=2e-6, err_msg=name)
        assert not [c for c in hosts_worker.COLLECTIVES if c in part.as_text()], name
        costs = [compiled.cost_analysis() for compiled in (part, whole)]
        for measure in ("flops", "bytes accessed"):
            assert costs[0][measure] < 1.1 * costs[1][measure] / 8 + 4096, (name, measure)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_two(folder: Path) -> list[str]:
    """Both processes' errors, empty where they ended well; they are ended after a minute."""
    settings = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "PYTHONPATH": os.pathsep.join([str(Path(nj.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    command, port = [sys.executable, str(WORKER)], str(free_port())
    workers = [
        subprocess.Popen(
            [*command, port, str(n), "2", str(folder)],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    errors = []
    for worker in workers:
        try:
            _, error = worker.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            error = "timeout"
        errors.append(error if worker.returncode else "")
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
            worker.communicate()
    return [error or "killed" if worker.returncode else "" for worker, error in zip(workers, errors, strict=True)]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes of four devices saved. The port may be taken before they bind it: then another."""
    for attempt in range(3):
        folder = tmp_path_factory.mktemp(f"attempt{attempt}")
        errors = run_two(folder)
        if not any(errors):
            return [np.load(folder / f"{n}.npz") for n in range(2)]
    pytest.fail("\n".join(errors))


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(two_processes):
    key, (x, y) = jax.random.key(7), batch_on_device()
    expected = {name: np.asarray(jax.jit(f)(key, x, y)) for name, f in hosts_worker.noises().items()}
    expected["shard_map"] = expected["chain"]
    published = nj.key(7, generator="threefry2x32")
    expected["threefry/dropout"] = np.asarray(nj.dropout(published, x, 0.5))
    for name, whole in expected.items():
        starts = [0, 2, 4, 6, 8, 10, 12, 14]
        for saved, own in zip(two_processes, (starts[:4], starts[4:]), strict=True):
            for start in own:
                part = saved[f"{name}/{start}"]
                np.testing.assert_array_equal(part == 0, whole[start : start + 2] == 0, err_msg=name)
                np.testing.assert_allclose(part, whole[start : start + 2], rtol=2e-6, atol=2e-6, err_msg=name)
    assert (expected["dropout"] == 0).any() and (expected["threefry/dropout"] != expected["dropout"]).any()


@pytest.mark.slow
def test_two_processes_do_not_talk(two_processes):
    for saved in two_processes:
        assert saved["devices"] == 8
        assert saved["talk"].tolist() == []


def batch_on_device():
    return tuple(jnp.asarray(a) for a in hosts_worker.batch())
