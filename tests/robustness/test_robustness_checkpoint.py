"""A sweep that is killed continues where it was: no level is measured twice, and the report is the same."""

import json
import pathlib
import subprocess
import sys
import time
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Family
from noisejax.robustness._sweep.journal import Journal

X = np.random.default_rng(3).standard_normal((40, 4)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)
LEVELS = [0.0, 0.5, 1.0]


def linear(x):
    return x.sum(1) > 0.1


class Families:
    """Three families that count how often they are traced; one may fail as a process does that is killed."""

    def __init__(self, killed=None):
        self.traced, self.killed = [], killed

    def __call__(self, **levels):
        return [Family(name, self._noise(name), levels.get(name, LEVELS)) for name in ("a", "b", "c")]

    def _noise(self, name):
        def level_to_noise(std):
            self.traced.append(name)
            if name == self.killed:
                raise KeyboardInterrupt
            return nj.bind(nj.gaussian, std=std)

        return level_to_noise


def sweep(families, path, predict=linear, seed=0, data=(X, Y), **options):
    return robustness.sweep(jax.random.key(seed), predict, data, families, checkpoint=path, **options)


def killed_at(path, monkeypatch, number, half=False):
    """A sweep that is killed when it writes the level of this number, before it or in the middle of the line."""
    with monkeypatch.context() as patch:
        append, count = Journal._append, iter(range(100))

        def dying(journal, record):
            if next(count) == number:
                if half:
                    text = json.dumps(record).encode()
                    with journal.path.open("ab") as file:
                        file.write(b"%08x %s" % (zlib.crc32(text), text[: len(text) // 2]))
                raise KeyboardInterrupt
            append(journal, record)

        patch.setattr(Journal, "_append", dying)
        with pytest.raises(KeyboardInterrupt):
            sweep(Families()(), path, draws=2)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("number", [0, 1, 5, 9])
@pytest.mark.parametrize("as_path", [str, pathlib.Path])
def test_a_killed_sweep_continues(as_path, number, half, tmp_path, monkeypatch, whole):
    path = as_path(tmp_path / "sweep.json")
    killed_at(path, monkeypatch, number, half)
    written = []
    with monkeypatch.context() as patch:
        keep = Journal.keep
        patch.setattr(Journal, "keep", lambda *a: (written.append(a[1:3]), keep(*a))[1])
        found = sweep(Families()(), path, draws=2)
    assert len(written) == 9 - max(number - 1, 0)  # only what was not measured
    assert found.to_json() == whole
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.json"]
    again = sweep(Families()(), path, draws=2)
    assert again.to_json() == whole


@pytest.fixture(scope="module")
def whole():
    return sweep(Families()(), None, draws=2).to_json()


def test_other_levels_and_families_are_measured(tmp_path):
    path = tmp_path / "sweep.json"
    sweep(Families()(), path)
    size = path.stat().st_size
    found = sweep(Families()(b=[0.0, 0.7]), path)
    assert found.scores("b").shape[0] == 2 and size < path.stat().st_size
    one = sweep([Family("d", Families()._noise("d"), LEVELS)], path)
    assert list(one.levels) == ["d"]


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_damaged_line_and_what_follows_are_measured_again(at, tmp_path, whole):
    path = tmp_path / "sweep.json"
    sweep(Families()(), path, draws=2)
    text = bytearray(path.read_bytes())
    text[int(at * len(text))] ^= 1
    path.write_bytes(bytes(text))
    assert sweep(Families()(), path, draws=2).to_json() == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"seed": 1}, "key or data"),
        ({"data": (X + 1, Y)}, "key or data"),
        ({"draws": 3}, "number of draws"),
        ({"metrics": lambda outputs, y: outputs == (y > 0)}, "metric"),
        ({"predict": lambda x: x.sum(1) > 1}, "model"),
        ({"predict": lambda x: jnp.stack([linear(x)] * 2)}, "model"),
    ],
    ids=["key", "data", "draws", "metric", "model", "models"],
)
def test_a_checkpoint_of_a_different_sweep_is_refused(options, what, tmp_path):
    path = tmp_path / "sweep.json"
    sweep(Families()(), path)
    before = path.read_text()
    with pytest.raises(ValueError, match=f"sweep: checkpoint must be of the same sweep, got .*a different {what}"):
        sweep(Families()(), path, **options)
    assert path.read_text() == before
    assert sweep(Families()(), tmp_path / "other.json", **options).levels  # as the message says


def test_files_that_are_no_checkpoint(tmp_path):
    path = tmp_path / "notes.txt"
    for text in ("my notes", "{}"):
        path.write_text(text)
        with pytest.raises(ValueError, match="sweep: checkpoint must be a file that sweep wrote, or a new one"):
            sweep(Families()(), path)
        assert path.read_text() == text
    with pytest.raises(FileNotFoundError):
        sweep(families := Families()(), tmp_path / "no" / "folder.json")
    assert families


KILLED = """
import sys, jax, numpy as np
sys.path.insert(0, "tests")
from robustness.test_robustness_checkpoint import Families, slow_linear, X, Y
from noisejax import robustness
robustness.sweep(jax.random.key(0), slow_linear, (X, Y), Families()(), draws=2, metrics=["accuracy", "f1"],
                 checkpoint=sys.argv[1])
"""


def slow_linear(x):
    time.sleep(0.02)
    return np.asarray(x).sum(1) > 0.1


@pytest.mark.slow
def test_kill_9_at_ten_moments_loses_nothing(tmp_path):
    path = tmp_path / "sweep.json"
    options = {"draws": 2, "metrics": ["accuracy", "f1"]}
    expected = sweep(Families()(), None, slow_linear, **options).to_json()
    lines = []
    for moment in np.random.default_rng(0).uniform(0.0, 0.12, 10):
        run = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
        until = time.time() + 60
        while time.time() < until and run.poll() is None and len(lines) >= _lines(path):
            time.sleep(0.005)
        time.sleep(moment)
        run.kill()
        run.wait()
        lines.append(_lines(path))
    assert lines == sorted(lines) and lines[0] < 10  # nothing is lost, and the first was killed half-way
    assert sweep(Families()(), path, slow_linear, **options).to_json() == expected


def _lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


class TestTrainMode:
    """A Flax model in train mode changes itself; the message says how to stop that, and that works."""

    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, *layers):
            from flax import nnx

            self.layers = nnx.List(layers)

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    @pytest.mark.slow
    @pytest.mark.parametrize("layer", ["dropout", "statistics", "noise"])
    @pytest.mark.parametrize("closure", [False, True])
    def test_a_model_in_train_mode(self, layer, closure):
        nnx, njx, rngs = self.nnx, pytest.importorskip("noisejax.nnx"), self.nnx.Rngs(0)
        made = {
            "dropout": lambda: nnx.Dropout(0.5, rngs=rngs),
            "statistics": lambda: nnx.BatchNorm(4, rngs=rngs),
            "noise": lambda: njx.ActivationNoise(nj.bind(nj.gaussian, std=0.1), rngs=rngs),
        }[layer]()
        model = self.Model(made, nnx.Linear(4, 2, rngs=rngs))
        predict = (lambda x: model(x)) if closure else model
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            with pytest.raises(ValueError, match=r"sweep: predict must not change its own state, .* model\.eval\(\)"):
                sweep(Families()(), None, predict)
            model.eval()
            assert sweep(Families()()[:1], None, predict).levels
