"""The experiment on really dirty rows: it resumes after a kill, verdicts follow their rule, and the page is current."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pandas")

from experiments import _dirty
from experiments.dirty import __main__ as program, collect, page

ROOT = Path(__file__).resolve().parents[2]
NOTHING = [0.001, -0.001, 0.002, -0.002, 0.0]


def entry(**gains):
    """An entry in which each arm is better than no noise by a gain, with a little spread."""
    arms = {"none": {"clean": [0.9] * 5, "dirty": [0.5] * 5}}
    for n, (arm, gain) in enumerate(gains.items()):
        values = [0.5 + gain + (1 + n / 10) * e for e in NOTHING]
        arms[arm.replace("_", " ")] = {"clean": [0.88] * 5, "dirty": values}
    return collect.Entry("set", "model", "accuracy", arms, {})


@pytest.mark.parametrize(
    ("gains", "found"),
    [
        ({"best_generic": 0.0, "fitted": 0.0, "rival": 0.1}, page.NOTHING),
        ({"best_generic": 0.0, "fitted": -0.1, "rival": 0.1}, page.HARM),
        ({"best_generic": 0.0, "fitted": 0.1, "rival": 0.2}, page.BEATEN),
        ({"best_generic": 0.1, "fitted": 0.1, "rival": 0.0}, page.GAIN),
        ({"best_generic": 0.0, "fitted": 0.1, "rival": 0.1}, page.GAIN),
        ({"best_generic": 0.05, "fitted": 0.1, "rival": 0.0}, page.ALL),
    ],
)
def test_the_verdict_follows_the_rule(gains, found):
    assert page.verdict(entry(**gains), "fitted") == found


def test_a_gain_is_paired_and_less_is_better_where_it_is():
    e = entry(fitted=0.1)
    assert abs(e.gain("fitted", "none")["mean"] - 0.1) < 1e-9
    assert abs(e.gain("none", "fitted", "clean")["mean"] - 0.02) < 1e-9
    e.sign = -1
    assert e.gain("fitted", "none")["mean"] < 0
    assert e.gain("fitted", "rival") is None and e.gain("fitted", "fitted") is None


def test_the_page_of_results_has_every_measured_set():
    here = collect.loaded("dirty")
    if not here:
        pytest.skip("no results yet")
    text = page.PAGE.read_text()
    for name in here.keys() & collect.FIGURES.keys():
        if len(here[name]) == 5 and name != "region_midwest":  # which is joined with results of a different program
            assert all(page.detail(e) in text for e in collect.own(name, here[name]))


def test_the_readme_says_what_the_results_say():
    entries, missing = collect.collected()
    if missing:
        pytest.skip("not all sets have results")
    real = [e for e in entries if not e.made]
    gains = {e.title for e, _, found in page.verdicts(real) if found in (page.GAIN, page.ALL)}
    assert gains == {"flights", "spoken_digits", "polyu_camera_noise", "region_midwest"}
    assert len({e.title for e in real}) == 9
    for e in entries:
        over = e.gain("fitted", "best generic")
        assert over is None or over["mean"] <= over["half"], e.title
    rows = (ROOT / "docs" / "results" / "noises.md").read_text().splitlines()
    mixture = next(row for row in rows if row.startswith("| mixture | 13 |"))
    assert mixture.split("|")[4:6] == [" 12 better, 0 worse ", " 9 better, 0 worse "] and "9 worse" in mixture


PROGRAM = """
import hashlib, sys, time
from pathlib import Path
program = __import__("experiments.dirty.__main__", fromlist=["run"])

def of_seed(seed):
    time.sleep(0.02)
    return {"model": {"arms": {"none": {"clean": seed, "dirty": hashlib.sha256(b"%d" % seed).hexdigest()}}}}

for name in ("first", "second"):
    program.run(name, of_seed, range(50), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_killed_at_ten_random_points_it_resumes_to_the_same_report(tmp_path):
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    settings.pop("XLA_FLAGS", None)

    def started(path):
        command = [sys.executable, "-c", PROGRAM, str(path)]
        return subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    whole = tmp_path / "whole.json"
    process = started(whole)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors.decode()
    killed, path = 0, tmp_path / "killed.json"
    draw = random.Random(0)
    while killed < 10:
        process = started(path)
        process.stdout.readline()  # one seed more is stored
        time.sleep(draw.random() * 0.1)
        assert process.poll() is None, "the program ended before it was killed: give it more seeds"
        process.kill()
        process.communicate()
        killed += 1
        json.loads(path.read_text())  # whole at every moment
    process = started(path)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(path.read_text()) == json.loads(whole.read_text())


@pytest.mark.slow
def test_all_sets_run():
    if (why := _dirty.missing()) is not None:
        pytest.skip(why)
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    settings.pop("XLA_FLAGS", None)
    command = [sys.executable, "-m", "experiments.dirty", "--smoke"]
    result = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(program.SETS)
    assert all("'none'" in line and "rival: " in line for line in lines)
