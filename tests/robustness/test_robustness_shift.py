"""How far columns have moved, against SciPy and sums by hand, and what `Report.print` shows."""

import numpy as np
import pytest
from scipy import stats

from noisejax.robustness._report.shift import psi, shift_of
from robustness.sweeps import gaussian, report, sweep

RNG = np.random.default_rng(5)


def test_distances_are_those_of_scipy_without_missing_values():
    before = RNG.standard_normal((500, 2))
    after = before * np.array([1.0, 2.0]) + np.array([0.5, 0.0])
    after[:100, 0] = np.nan
    found = shift_of(before, after)
    assert found["column"] == ["0", "1"]
    for c in (0, 1):
        known = after[np.isfinite(after[:, c]), c]
        assert found["ks"][c] == pytest.approx(stats.ks_2samp(before[:, c], known).statistic, abs=1e-6)
        distance = stats.wasserstein_distance(before[:, c], known) / before[:, c].std()
        assert found["wasserstein"][c] == pytest.approx(distance, abs=1e-6)
    assert found["wasserstein"][0] == pytest.approx(0.5, abs=0.15)


def test_psi_is_the_sum_over_deciles_and_missing_values():
    before = np.arange(1000.0)
    after = np.where(before < 500, before, np.nan)  # half is lost: five deciles keep a tenth each, five have nothing
    p, q = np.array([0.1] * 10 + [1e-4]), np.array([0.1] * 5 + [1e-4] * 5 + [0.5])
    assert psi(before, after) == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=0.02)
    assert psi(before, before) == pytest.approx(0, abs=1e-9)


def test_a_column_of_missing_values_and_tables_that_do_not_fit():
    found = shift_of(np.ones((20, 1)), np.full((20, 1), np.nan))
    assert found["ks"] == found["wasserstein"] == [None] and found["psi"][0] > 1
    assert shift_of(np.ones((20, 1)), np.ones((20, 2))) is None and shift_of([1], [1]) is None


def test_a_sweep_reports_the_shift_of_its_noise():
    found = sweep(families={"gaussian": (gaussian, (0.0, 2.0))}, shift=True).shift["gaussian"]
    assert found[0]["ks"] == [0, 0, 0, 0] and found[0]["psi"] == [0, 0, 0, 0]
    assert min(found[1]["ks"]) > 0.1 and min(found[1]["wasserstein"]) > 0.3 and min(found[1]["psi"]) > 0.2


def test_print_shows_scores_changes_and_problems(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    found = report(np.stack([np.ones((1, 40)), np.arange(40)[None] < 30]), levels=[0.0, 0.2])
    found.problems["f"] = {}
    found.print()
    printed = capsys.readouterr().out
    assert "accuracy without noise: 1.0000" in printed and "-0.2500" in printed and "0.7500" in printed
    found.problems["f"] = {1: "the model failed"}
    found.print()
    assert "–" in (line := next(s for s in capsys.readouterr().out.splitlines() if "0.2" in s)) and "failed" in line
