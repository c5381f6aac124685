"""The benchmarks' own machinery, on rows made up here; that the programs run is `make bench SMOKE=1`."""

import functools
import json
import sys
import types

import jax
import jax.numpy as jnp
import pytest

import noisejax as nj
from benchmarks import measure, readme, run, throughput, train_step


def throughput_rows():
    times = {"copy": 0.1, "noisejax": 0.5, "jax.random, threefry2x32": 4.0, "jax.random, rbg": 9.0}
    times |= {"jax.random, philox4x32": 1.5, "jax.random, nj.key": 0.7, "torch eager": 5.0}
    for dtype in ("float32", "bfloat16"):
        for size in (2**16, 2**20):
            for way, ms in times.items():
                if (size == 2**20 or way != "jax.random, rbg") and (dtype == "float32" or way != "torch eager"):
                    yield throughput._row("dropout", "forward", size, jnp.dtype(dtype), way, ms / 1e3, 1e-4, 5e-4)


def step_rows():
    for noise, ms, overhead in (("without", 8.0, 0.0), ("noisejax", 8.4, 5.0), ("flax, jax.random", 12.0, 50.0)):
        yield {"step": "MLP", "noise": noise, "ms": ms, "overhead %": overhead, "noised elements": 7}


def instruction_rows():
    for program, count in (("gaussian", 53.2), ("dropout", 18.9)):
        for dtype, budget in (("float32", 61.9), ("bfloat16", 31.0)):
            row = {"program": program, "dtype": dtype, "shape": "flat", "direction": "forward", "budget": budget}
            yield {**row, "instructions per element": count}


def cycle_rows():
    for dtype, ratio in (("float32", 1.06), ("bfloat16", 1.31)):
        for shape in ("2-D", "odd"):
            row = {"program": "gaussian", "device": "TPU v5e", "dtype": dtype, "shape": shape}
            yield {**row, "estimated cycles, x copy": ratio if shape == "2-D" else 9.0}


def test_a_row_says_bandwidth_and_the_share_of_a_copy():
    row = throughput._row("gaussian", "forward+backward", 10**6, jnp.bfloat16, "noisejax", 4e-3, 1e-3, 2e-3)
    assert row["ms"] == pytest.approx(4) and row["GB/s"] == pytest.approx(2)  # 2 bytes, four times
    assert row["% of copy"] == pytest.approx(25) and row["noisejax is faster"] == pytest.approx(2)


def test_the_readme_is_made_of_the_results(tmp_path):
    measure.save("throughput", "a command", list(throughput_rows()), tmp_path)
    measure.save("train_step", "a command", list(step_rows()), tmp_path)
    (tmp_path / "instructions-h200.json").write_text(
        json.dumps({**measure.environment("c"), "platform": "h200", "device": "H200", "rows": [*instruction_rows()]})
    )
    (tmp_path / "instructions-tpu.json").write_text(
        json.dumps({**measure.environment("c"), "platform": "tpu", "device": "TPU v5e", "rows": [*cycle_rows()]})
    )
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.START}\nold\n{readme.END}\nafter\n")
    for _ in range(2):  # a second time over what the first one wrote
        readme.write(tmp_path, page)
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    # The headline is the size at which all rivals were; nj.key is not a key of jax's; no torch in bfloat16.
    assert "| dropout, float32 | 0.5 ms | 20 % | 8.0x | 3.0x | 10.0x |" in text
    assert "| dropout, bfloat16 | 0.5 ms | 20 % | 8.0x | 3.0x |  |" in text
    assert "| MLP | 8 ms | +5.0 % | +50.0 % |" in text
    assert "No GPU has measured this yet." in text and "| gaussian | 53 | 53 |" in text
    assert "| TPU v5e, float32 | TPU v5e, bfloat16 |" in text and "| gaussian | 1.06 | 1.31 |" in text
    assert "62 in float32, 31 in bfloat16" in text and "`a command`" in text


def test_no_gpu_is_said_only_until_there_was_one(tmp_path):
    rows = list(throughput_rows())
    (tmp_path / "throughput-gpu.json").write_text(
        json.dumps({**measure.environment("c"), "platform": "gpu", "device": "NVIDIA H200", "rows": rows})
    )
    section = readme.section(tmp_path)
    assert "NVIDIA H200" in section and "No GPU" not in section


def test_a_program_that_fails_keeps_its_rows_and_stops_no_other(tmp_path, monkeypatch, capsys):
    def breaks(smoke):
        yield {"way": "first", "ms": 1.0}
        raise RuntimeError("the second one fails")

    monkeypatch.setitem(sys.modules, "benchmarks.breaks", types.SimpleNamespace(run=breaks, __doc__="Fails."))
    works = types.SimpleNamespace(run=lambda smoke: [{"way": "only", "ms": 2.0}], __doc__="Works.")
    monkeypatch.setitem(sys.modules, "benchmarks.works", works)
    monkeypatch.setattr(run.signal, "signal", lambda *_: None)
    assert run.main(["breaks", "works", "--out", str(tmp_path)]) == 1
    broken, whole = (measure.load(name, folder=tmp_path) for name in ("breaks", "works"))
    assert broken["rows"] == [{"way": "first", "ms": 1.0}] and not broken["complete"]
    assert whole["rows"] == [{"way": "only", "ms": 2.0}] and whole["complete"]
    assert {"date", "command", "device", "processor", "versions"} <= set(whole)
    assert "the second one fails" in capsys.readouterr().err


def test_tables_are_readable(capsys):
    measure.table([{"way": "a", "ms": 1.23456}, {"way": "bb", "ms": None}, {"other": 1}])
    assert capsys.readouterr().out.splitlines() == ["way    ms", "a    1.23", "bb", "", "other", "1"]
    rows = [{"way": w, "size": s, "ms": s} for w, s in (("a", 1), ("b", 1), ("a", 2))]
    wide = measure.pivot(rows, "way", lambda r: f"2^{r['size']}", lambda r: str(r["ms"]))
    assert wide == [{"way": "a", "2^1": "1", "2^2": "2"}, {"way": "b", "2^1": "1", "2^2": ""}]


def test_turns_are_interleaved_and_all_are_counted():
    turns = []
    rivals = {name: functools.partial(turns.append, name) for name in "abc"}
    times = measure.samples(rivals, rounds=7, calls=2)
    assert {name: len(t) for name, t in times.items()} == {"a": 7, "b": 7, "c": 7}
    rounds = [turns[-21 * 3 :][n : n + 9] for n in range(0, 63, 9)]  # three calls a turn, the first one not counted
    assert all(sorted(r) == sorted("aaabbbccc") for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1


@pytest.mark.slow
def test_every_noise_of_the_top_has_amounts_and_a_shape():
    found = {name: (noise, shape) for name, noise, shape in throughput.noises(2**12)}
    public = {name for name, value in vars(nj).items() if hasattr(value, "__noise__")}
    public = {name for name in public if getattr(nj, name).__noise__.kind == "array"}
    rooms = {"image": nj.image, "signal": nj.signal}
    every = {f"{room}.{name}": getattr(rooms[room], name) for room in rooms for name in rooms[room].__all__}
    public |= {name for name, value in every.items() if hasattr(value, "__noise__") and throughput.known(value)}
    assert public <= set(found) and {"image.cutout", "signal.time_mask"} <= public
    for name in sorted(public):
        noise, shape = found[name]
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        assert jax.eval_shape(noise, jax.random.key(0), x).shape == shape, name


def test_the_chain_is_held_against_its_stages():
    times = {"copy": 1.0, "noisejax": 6.0, "gaussian alone": 3.0, "mask alone": 2.0}
    times |= {"copy in cache": 1.0, "chain in cache": 6.0, "gaussian in cache": 3.0, "mask in cache": 2.0}
    rows = [
        throughput._row("chain of five", "forward", throughput.headline(), jnp.float32, way, ms / 1e3, 1e-3, 6e-3)
        for way, ms in times.items()
    ]
    said = next(throughput.stages(rows))
    assert "1.20 of its stages one after another; in cache 1.50 of one copy" in said


def test_the_steps_differ_by_noise_alone():
    small = {"batch": 2, "time": 4, "width": 8, "heads": 2, "dtype": jnp.float32}
    task = train_step.transformer(**small, attention_dropout=True)
    silent = train_step.Noise(lambda key, x: nj.gaussian(key, x, 0.0), lambda key, x, rate: nj.dropout(key, x, 0.0))

    @jax.jit  # one program for all
    def losses(key):
        noises = {"without": train_step.NOISES["without"], "noisejax": train_step.NOISES["noisejax"], "silent": silent}
        return {name: task.loss(task.parameters, noise, key, task.x, task.y) for name, noise in noises.items()}

    found = {name: float(loss) for name, loss in losses(jax.random.key(0)).items()}
    assert found["silent"] == pytest.approx(found["without"], rel=1e-5)
    assert found["noisejax"] != pytest.approx(found["without"], rel=1e-3)
