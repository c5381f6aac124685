"""The pictures of reports, and what stands in for them without matplotlib."""

import subprocess
import sys

import numpy as np
import pytest

from noisejax import robustness
from robustness.sweeps import LEVELS, X, Y, gaussian, masking, scaled, sweep


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_plot(pyplot):
    both = {"gaussian": (gaussian, LEVELS), "mask": (masking, (0.0, 0.5))}
    reports = {name: sweep(scaled(by), families=both) for name, by in (("a", 1), ("b", -1), ("c", 2))}
    figure = robustness.plot(reports, threshold=0.9, chance=0.5, faint=("c",), percent=True)
    assert [ax.get_xlabel() for ax in figure.axes] == ["gaussian, %", "mask, %"]
    for ax, (family, (_, levels)) in zip(figure.axes, both.items(), strict=True):
        lines = {line.get_label(): line for line in ax.get_lines()}
        assert set(lines) == {"a", "b", "others", "threshold", "chance"} and len(ax.collections) == 2  # two bands
        np.testing.assert_allclose(lines["a"].get_ydata(), reports["a"].interval(family).mean)
        np.testing.assert_allclose(lines["a"].get_xdata(), 100 * np.array(levels))
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(lines)
    figure.canvas.draw()
    alone, axes = pyplot.subplots(1, 2)
    assert robustness.plot(reports["a"], axes=axes) is alone and not alone.legends
    assert not robustness.plot({"": reports["a"]}).legends  # nothing to tell apart
    with pytest.raises(ValueError, match="axes"):
        robustness.plot(reports, axes=axes[:1])


@pytest.mark.slow
def test_plot_features(pyplot):
    noisy = X + 0.5
    figure = robustness.plot_features(X, {"one": noisy, "two": noisy}, list("abcd"))
    assert [ax.get_title() for ax in figure.axes] == list("abcd")
    heights = [patch.get_path() for patch in figure.axes[0].patches]
    assert len(heights) == 3
    columns = {"size": X[:, 0], "kind": np.where(Y > 0, "good", "bad")}
    figure = robustness.plot_features(columns, columns, ["kind", "size"])
    bars = figure.axes[0].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars[:2]], sorted([Y.mean(), 1 - Y.mean()], reverse=True))
    figure.canvas.draw()
    with pytest.raises(ValueError, match="a column for each name"):
        robustness.plot_features(X, noisy, ["a"])


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"noisejax\[plot\]"):
        robustness.plot(sweep())


def test_importing_costs_no_matplotlib_and_no_scipy_stats():
    code = "import sys; from noisejax import robustness; print({'matplotlib', 'scipy.stats'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
