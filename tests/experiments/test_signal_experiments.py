"""The experiments with signals: they skip in one line without their data, and the page is that of the results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.signals import page

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spoken_digits", "airquality", "machine"])
def test_an_experiment_skips_with_one_line_without_its_data(name, tmp_path):
    (tmp_path / "flights").mkdir()
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", "NOISEJAX_DIRTY": str(tmp_path)}
    settings["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", f"experiments.signals.{name}", "--smoke"]
    result = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1 and result.stdout.startswith("skipped:")


def test_the_page_of_results_of_signals_is_that_of_the_results():
    assert page.PAGE.read_text() == page.text()
