"""What is read from reports: tolerated levels, intervals as values, text, JSON, comparisons."""

import jax.numpy as jnp
import numpy as np
import pytest

from noisejax import robustness
from noisejax.robustness import Interval, Report
from robustness.sweeps import LEVELS, RNG, N, X, gaussian, report, scaled, sweep


def test_passes_is_the_first_crossing():
    scores = np.array([1.0, 0.9, 0.5, 0.95, 0.1])[:, None, None] * np.ones((1, 1, 4))
    found = report(scores, metric="score").passes(0.8)["f"]
    np.testing.assert_allclose(found[:3], [0.125, 0.125, 0.125], rtol=1e-5)  # linear between 0.1 (0.9) and 0.2 (0.5)
    assert f"{found:.1%}" == "12.5%" and str(found) == "0.125"
    assert f"{report(scores, metric='score').passes(0.1)['f']:.0%}" == "≥ 40%"
    assert f"{report(scores, metric='score').passes(1.1)['f']:.0%}" == "–"
    assert f"{report(scores, np.arange(1, 6), metric='score').passes(1.1)['f']}" == "< 1"


def test_passes_with_bounds():
    right = RNG.random((6, 5, 400)) < np.linspace(0.9, 0.6, 6)[:, None, None]
    found = report(right).passes(0.8)["f"]
    assert found.lower < found.mean < found.upper
    mean, lower, upper = report(right).interval("f")
    levels = np.arange(6) / 10
    for level, curve in zip(found[:3], (mean, lower, upper), strict=True):
        assert abs(np.interp(level, levels, curve) - 0.8) < 1e-9
    assert f"{found:.0%}".startswith(f"{found.mean:.0%} ({100 * found.lower:.0f}, ")


def test_tolerance_and_worst():
    a = np.linspace(1, 0.5, 6)[:, None, None] * np.ones((1, 1, 4), np.float32)
    two = report(a, metric="score", harsh=a**2)
    np.testing.assert_allclose(two.tolerance(0.9)["f"].mean, 0.1, rtol=1e-5)
    half = report(a, metric="score", harsh=a**2, clean=a[0] / 2)
    np.testing.assert_allclose(two.tolerance(0.9, half)["f"].mean, np.inf)
    assert two.worst(0.8)[0] == "harsh" and two.worst(1.1)[0] == "f"
    with pytest.raises(ValueError, match="share"):
        two.tolerance(95)
    with pytest.raises(ValueError, match=r"tolerance: baseline must have the metric 'score', got .'acc"):
        two.tolerance(0.9, report(a))


def test_tolerance_of_a_loss():
    """A share of 0.8 of the score -1 is -1.25: the error may be 1.25 times the baseline's."""
    error = np.array([1.0, 1.2, 1.3, 4.0], np.float32)[:, None, None] * np.ones((1, 1, 4), np.float32)
    found = report(-error, metric="minus the error")
    np.testing.assert_allclose(found.tolerance(0.8)["f"].mean, 0.15, rtol=1e-5)
    np.testing.assert_allclose(found.tolerance(1.0)["f"].mean, 0, atol=1e-6)
    worse = report(-2 * error, metric="minus the error")
    np.testing.assert_allclose(found.tolerance(0.8, worse)["f"].mean, 0.2 + 0.1 * (2.5 - 1.3) / 2.7, rtol=1e-5)
    rows = robustness.compare({"a": found, "b": worse}, "a", level=0.0, share=0.8)
    assert str(rows["a"].passes["f"]) == "0.15" and str(rows["b"].passes["f"]) == "–"


@pytest.mark.parametrize(
    "metric", [lambda o, y: -jnp.square(o - y), lambda o, y: 0.3 - jnp.abs(o - y), lambda o, y: 0 * o]
)
def test_a_report_is_within_its_own_tolerance(metric):
    found = sweep(lambda x: x.sum(1), (X, X.sum(1) + 1), metrics=metric)
    assert found.tolerance(0.95)["gaussian"].mean >= 0


def test_one_level_is_found_and_others_raise():
    found = sweep(families={"g": (gaussian, np.linspace(0, 0.5, 11))})
    assert found.interval("g", 0.3).mean == found.interval("g").mean[6]
    with pytest.raises(ValueError, match=r"not measured at 0\.31"):
        found.interval("g", 0.31)
    with pytest.raises(KeyError, match="no family 'h'"):
        found.interval("h")
    with pytest.raises(ValueError, match="confidence"):
        found.clean(95)


def test_interval_as_a_value():
    found = Interval(0.86, 0.85, 0.868)
    assert f"{found:.2f}" == "0.86 ± 0.01" and f"{found}" == "0.8600 ± 0.0100"
    assert f"{Interval(0.012, 0.004, 0.02).scaled(100):+.1f}" == "+1.2 ± 0.8"
    assert found.excludes(0.87) and not found.excludes(0.86)


def test_json_keeps_everything():
    one = sweep(draws=3)
    two = Report.from_json(one.to_json())
    np.testing.assert_array_equal(one.scores("gaussian"), two.scores("gaussian"))
    np.testing.assert_array_equal(one.levels["gaussian"], two.levels["gaussian"])
    assert two.difference(one).mean == 0 and str(one) == str(two) and repr(one) == repr(two)
    assert one.summary()["families"]["gaussian"]["levels"] == list(LEVELS)
    with pytest.raises(ValueError, match="from_json"):
        Report.from_json("{}")


def test_text():
    found = sweep()
    assert repr(found) == f"Report(gaussian at 3 levels; accuracy of 1 models on {N} examples, 1 draws)"
    lines = str(found).splitlines()
    assert lines[0].split()[0] == "clean" and lines[2].split()[0] == "gaussian" and len(lines) == 6


def test_compare():
    reports = {name: sweep(scaled(by)) for name, by in (("plain", 1), ("other way", -1), ("same", 2))}
    rows = robustness.compare(reports, "plain", level=0.2)
    assert list(rows) == list(reports) and rows["same"].notes() == ""
    worse = rows["other way"]
    assert worse.difference.mean == -1
    assert worse.notes(percent=True).startswith("clean -100.0 ± 6.7; at 20 %: gaussian -")
    assert worse.numbers()["differences at 0.2"]["gaussian"]["mean"] == worse.differences["gaussian"].mean
    assert f"{worse.passes['gaussian']}" == "–"
    with pytest.raises(KeyError, match="baseline"):
        robustness.compare(reports, "none", level=0.2)
