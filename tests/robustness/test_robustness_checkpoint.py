"""A sweep that is killed continues where it was: no family is measured twice, and the report is the same."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Report

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
        return {name: (self._noise(name), levels.get(name, LEVELS)) for name in ("a", "b", "c")}

    def _noise(self, name):
        def level_to_noise(std):
            self.traced.append(name)
            if name == self.killed:
                raise KeyboardInterrupt
            return nj.bind(nj.gaussian, std=std)

        return level_to_noise


def sweep(families, path, predict=linear, seed=0, data=(X, Y), **options):
    return robustness.sweep(jax.random.key(seed), predict, data, families, checkpoint=path, **options)


@pytest.mark.parametrize("killed", ["a", "b", "c"])
@pytest.mark.parametrize("as_path", [str, pathlib.Path])
def test_a_killed_sweep_continues(as_path, killed, tmp_path):
    path, families = as_path(tmp_path / "sweep.json"), Families(killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(families(), path, draws=2)
    kept = Report.from_json(pathlib.Path(path).read_text())
    assert list(kept.levels) == ["a", "b", "c"][: "abc".index(killed)]
    again = Families()
    found = sweep(again(), path, draws=2)
    assert again.traced == ["a", "b", "c"]["abc".index(killed) :]
    assert found.to_json() == sweep(Families()(), None, draws=2).to_json()
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.json"]
    idle = Families()
    assert sweep(idle(), path, draws=2).to_json() == found.to_json() and idle.traced == []


def test_other_levels_and_families_are_measured(tmp_path):
    path = tmp_path / "sweep.json"
    sweep(Families()(), path)
    changed = Families()
    found = sweep(changed(b=[0.0, 0.7]), path)
    assert changed.traced == ["b"] and found.scores["b"].shape[0] == 2
    one = sweep({"d": Families()()["a"]}, path)
    assert list(one.levels) == list(one.scores) == ["d"]
    assert sorted(Report.from_json(path.read_text()).levels) == ["a", "b", "c", "d"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"seed": 1}, "key or data"),
        ({"data": (X + 1, Y)}, "key or data"),
        ({"draws": 3}, "number of draws"),
        ({"metric": lambda outputs, y: outputs == (y > 0)}, "metric"),
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
    for text in ("my notes", "", "{}"):
        path.write_text(text)
        with pytest.raises(ValueError, match="sweep: checkpoint must be a file that sweep wrote, or a new one"):
            sweep(Families()(), path)
        assert path.read_text() == text
    with pytest.raises(FileNotFoundError):
        sweep(families := Families()(), tmp_path / "no" / "folder.json")
    assert families


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "sweep.json"
    with pytest.raises(KeyboardInterrupt):
        sweep(Families("b")(), path)
    before = path.read_text()

    def half(file, text, **_):
        file.write_bytes(text[: len(text) // 2].encode())
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_text", half)
        with pytest.raises(OSError, match="disk full"):
            sweep(Families()(), path)
    assert path.read_text() == before
    assert list(sweep(Families()(), path).levels) == ["a", "b", "c"] and len(list(tmp_path.iterdir())) == 1


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
            assert sweep({"a": Families()()["a"]}, None, predict).levels
