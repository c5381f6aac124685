"""The experiments with dirty tables: they run where the tables are, and say so in one line where they are not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import _dirty, tables

ROOT = Path(__file__).resolve().parents[2]


def ran(name, **environment):
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    settings.pop("XLA_FLAGS", None)  # the tests' eight devices
    settings["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", f"experiments.{name}", "--smoke"]
    result = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imitation", "flights", "camera_noise"])
def test_an_experiment_skips_with_one_line_without_its_tables(name, tmp_path):
    lines = ran(name, NOISEJAX_DIRTY=str(tmp_path))
    assert len(lines) == 1 and lines[0].startswith("skipped:")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imitation", "flights"])
def test_an_experiment_runs(name):
    lines = ran(name)
    if len(lines) == 1:
        pytest.skip(lines[0])
    assert any("donor rows" in line for line in lines)


def test_the_page_of_results_is_that_of_the_results():
    parts = [tables.HEAD, tables.recovery(), tables.imitation(), tables.flights(), tables.camera_noise()]
    assert tables.PAGE.read_text() == "\n".join(parts).rstrip() + "\n"


def test_the_bars_of_imitation_hold():
    results = json.loads((ROOT / "experiments" / "results" / "imitation.json").read_text())
    bars = [row for name in ("flights", "beers") for row in results[name] if row["bar"]]
    assert len(bars) == 4
    for row in bars:
        assert row["auc"]["mean"] <= row["bar"], row
    # Two halves of one hospital differ by chance: no model of the one can be nearer to the other than the half itself.
    hearts = {row["noise"]: row["auc"] for row in results["heart_sites"]}
    assert hearts["fit_shift"]["mean"] <= max(0.55, hearts["the fitted half itself"]["mean"] + 0.02)


def test_times_and_areas_under_curves():
    texts = (
        "7:10 a.m.",
        "12:15 p.m.",
        "11:35aDec 1",
        "12/02/2011 6:55 a.m.",
        "Thu  22:25",
        "Contact Airline",
        "12:05 a.m.",
    )
    np.testing.assert_array_equal([_dirty.minutes(t) for t in texts], [430, 735, 695, 415, 1345, np.nan, 5])
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    score, label = rng.integers(0, 5, 200), rng.random(200) < 0.3
    assert abs(_dirty.auc(score, label) - roc_auc_score(label, score)) < 1e-12
