"""The experiment on noises is killed at ten moments: it continues, and its results are those of a run that was not."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ("MAGIC telescope", "Phoneme", "Spambase")


def small(path):
    """Runs the experiment's own program on three tables of random numbers, with a tiny budget."""
    from experiments import noises
    from experiments._tables import Table

    def load(name):
        frame = pd.DataFrame(np.random.default_rng(NAMES.index(name)).standard_normal((140, 2)), columns=["a", "b"])
        return Table(name, frame, (frame["a"] > 0).to_numpy().astype(int), 2, (0, 1), (0, 1))

    measure = noises.measure
    noises.RESULTS, noises.load = pathlib.Path(path), load
    noises.SINGLE = {name: noises.SINGLE[name] for name in ("gaussian", "dropout")}
    noises.INSIDE = ("dropout",)
    noises.measure = lambda name: measure(name, seeds=1, sizes=(60, 60, 20), epochs=1, each_=1)
    sys.argv = ["noises", "--tables", *NAMES]
    noises.main()


def started(path, cache):
    """Each process would compile for a minute: they share a cache of programs."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    code = (
        f"import importlib.util as u; s = u.spec_from_file_location('killed', {__file__!r}); m = u.module_from_spec(s)"
    )
    command = f"{code}; s.loader.exec_module(m); m.small({str(path)!r})"
    return subprocess.Popen([sys.executable, "-c", command], env=environment, cwd=path.parent)


def stored(path):
    """The results without what depends on the clock."""
    found = json.loads(path.read_text()) if path.exists() else {}
    for table in found.values():
        del table["measured"]
        for run in table["runs"]:
            for model in run["models"].values():
                del model["seconds"]
    return found


@pytest.mark.slow
def test_kill_9_at_ten_moments_of_an_experiment(tmp_path):
    whole, path, cache = tmp_path / "whole.json", tmp_path / "killed.json", tmp_path / "cache"
    assert started(whole, cache).wait(timeout=500) == 0
    begun = time.perf_counter()
    whole.unlink()
    assert started(whole, cache).wait(timeout=500) == 0  # with the cache, as the runs that are killed
    seconds, expected, counts = time.perf_counter() - begun, stored(whole), []
    assert list(expected) == list(NAMES)
    for share in np.random.default_rng(0).uniform(0.1, 0.6, 10):
        run = started(path, cache)
        time.sleep(share * seconds)
        counts.append(len(stored(path)))
        run.kill()
        run.wait()
        assert all(expected[name] == found for name, found in stored(path).items())
    assert counts == sorted(counts)  # nothing is lost
    assert min(counts) < len(NAMES)
    assert started(path, cache).wait(timeout=500) == 0
    assert stored(path) == expected
