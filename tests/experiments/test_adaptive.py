"""The experiments about adaptive levels run in a small form and skip absent tables; the page says what they found."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments import _tables, adaptive_page, adaptive_simulation, adaptive_tables


def made_up(rows=500, classes=3) -> _tables.Table:
    """Two numbers and a category; the target depends on one of the numbers."""
    rng = np.random.default_rng(0)
    first, second, kind = rng.normal(size=rows), rng.normal(size=rows), rng.choice(["a", "b", "c"], rows)
    frame = pd.DataFrame({"first": 5 + 2 * first, "kind": pd.Categorical(kind), "second": second})
    frame.loc[3, "second"] = np.nan
    target = np.digitize(first, [-0.5, 0.5]) if classes else 100 + 10 * first
    return _tables.Table("made up", frame, target, classes, (0, 1, 1, 1, 2), (0, 4))


@pytest.mark.slow
def test_the_rule_in_the_simulation_is_that_of_the_library():
    """Two implementations, the same draws: the same levels but for rounding at a threshold."""
    written = adaptive_simulation.RULES | {"written": lambda step: adaptive_simulation.Means(step, 0.25, 1.0, 8, 4)}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for reference in (0.5, adaptive_simulation.BY_EPOCH, None):
            ours, theirs = (
                adaptive_simulation.simulate(written[name], 30, "slow", reference, runs=20)[0]
                for name in ("library", "written")
            )
            agree = np.isclose(ours, theirs, atol=1e-5).mean()
            assert agree > 0.98, agree
            assert ours.max() > 0.3
        found = adaptive_simulation.figures(ours, ours)
    assert set(found) == {"0.5", "1.0", "2.0"}
    assert found["1.0"]["false back-offs"] == 0, "no level falls where the levels after are those before"


def test_figures_of_levels_that_are_known():
    shape = (10, len(adaptive_simulation.CURVES), len(adaptive_simulation.SCATTERS), 4)
    levels = jnp.full(shape, 0.15)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = adaptive_simulation.figures(levels, levels.at[0].set(0.1))["1.0"]
    assert found["bias"] == pytest.approx(-0.15)
    assert found["rms"] == pytest.approx(0.15)
    assert found["spread"] == pytest.approx(0, abs=1e-6)
    assert found["regret"] == pytest.approx(0.5)
    assert found["false back-offs"] == pytest.approx(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [3, 0])
def test_every_recipe_is_measured_on_the_same_rows(classes):
    small = {"seeds": 2, "sizes": (200, 100, 150), "epochs": 6}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = adaptive_tables.measure(made_up(classes=classes), **small)
    assert found["rows"] == [200, 100, 150]
    assert set(found["test"]) == {"none", "fixed", "adaptive", "adaptive, last epochs", "largest harmless", "tuned"}
    for metrics in found["test"].values():
        assert all(np.all(np.isfinite(values)) and len(values) == 2 for values in metrics.values())
    assert found["test"]["fixed"] == found["by level"][str(adaptive_tables.FIXED)]
    assert np.mean(found["test"]["none"]["clean"]) > 0.4
    assert found["test"]["none"]["wrong values"] < found["test"]["none"]["clean"]
    assert len(adaptive_tables.summary("made up", found).splitlines()) == 11


def test_splits_use_statistics_of_their_training_rows():
    table = made_up()
    rows = table.split(1, (200, 100, 150))
    again, other = table.split(1, (200, 100, 150)), table.split(2, (200, 100, 150))
    np.testing.assert_array_equal(rows.test[0], again.test[0])
    assert not np.array_equal(rows.test[0], other.test[0])
    x = rows.train[0]
    assert x.shape == (200, 5)
    np.testing.assert_allclose(x[:, 0].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(x[:, 0].std(), 1, atol=1e-5)
    np.testing.assert_array_equal(x[:, 1:4].sum(1), 1)
    np.testing.assert_array_equal(rows.fill, [0, *np.eye(3)[x[:, 1:4].sum(0).argmax()], 0])
    assert np.isfinite(np.concatenate([part[0] for part in (rows.train, rows.valid, rows.test)])).all()


def test_a_table_whose_package_is_absent_is_skipped_with_a_line(monkeypatch, capsys):
    absent = _tables.SOURCES["Letter"]._replace(package="no-such==1.0", file="no_such_package/letter.dat")
    monkeypatch.setitem(_tables.SOURCES, "Letter", absent)
    monkeypatch.setattr(sys, "argv", ["adaptive_tables", "--smoke", "--tables", "Letter"])
    adaptive_tables.main()
    line = "Letter is skipped: no-such==1.0 is not installed (pip install --no-deps no-such==1.0)."
    assert capsys.readouterr().out.strip() == line


def test_intervals_are_those_of_student():
    from scipy import stats

    a, b = np.random.default_rng(3).normal(size=(2, 10))
    mean, half = adaptive_tables.paired(a, b)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose([mean - half, mean + half], [100 * low, 100 * high])


def test_the_page_says_what_the_results_say():
    for name, made in adaptive_page.PAGES.items():
        assert (adaptive_page.FOLDER / name).read_text() == made()
