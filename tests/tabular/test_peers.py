"""The faults that tab-err and pyampute also have, against them, where they are installed (they need pandas 2)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisejax import tabular

X = np.random.default_rng(0).normal(3, 2, (2000, 3))
KEY = jax.random.key(1)
COLUMNS = tabular.fit(X)


@pytest.fixture(scope="module")
def tab_err():
    return pytest.importorskip("tab_err", reason="tab-err 0.2.1 is not installed: pip install tab-err 'pandas<3'")


def theirs(kind, column=1):
    """What tab-err makes of a whole column."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abc"))
    mask = pd.DataFrame(False, index=frame.index, columns=frame.columns)
    mask.iloc[:, column] = True
    return kind.apply(frame, mask, "abc"[column]).to_numpy()


def test_values_are_those_of_tab_err(tab_err):
    what, config = tab_err.error_type, tab_err.error_type.ErrorTypeConfig
    x = jnp.asarray(X, jnp.float32)
    ours = tabular.outlier(KEY, x, 1.0, COLUMNS, 1.5, 0.0)[:, 1]
    kind = what.Outlier(config(outlier_coefficient=1.5, outlier_noise_coeff=0.0), seed=0)
    np.testing.assert_allclose(ours, theirs(kind), rtol=1e-5, atol=1e-5)
    ours = tabular.add_delta(KEY, x, 1.0, 2.5)[:, 1]
    np.testing.assert_allclose(ours, theirs(what.AddDelta(config(add_delta_value=2.5), seed=0)), rtol=1e-5, atol=1e-6)
    ours = tabular.wrong_unit(KEY, x, 1.0, 2.54)[:, 1]
    kind = what.WrongUnit(config(wrong_unit_scaling=lambda v: 2.54 * v), seed=0)
    np.testing.assert_allclose(ours, theirs(kind), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("on", [0, 1], ids=["a conditioning column", "itself"])
def test_a_block_is_a_window_of_tab_err(tab_err, on):
    """Both hit the rows of one window of the sorted values, whose start is uniform."""
    import pandas as pd
    from scipy import stats

    frame = pd.DataFrame(X, columns=list("abc"))
    order = np.argsort(X[:, on])
    block = tabular.block(tabular.fit(X, quantiles=2001), None if on == 1 else 0)
    starts = {"ours": [], "theirs": []}
    for seed in range(100):
        mechanism = tab_err.error_mechanism
        kind = mechanism.ENAR(seed=seed) if on == 1 else mechanism.EAR(condition_to_column="a", seed=seed)
        mask = kind.sample(frame, "b", 0.25, error_mask=None).to_numpy()[:, 1]
        y = tabular.missing(jax.random.key(seed), jnp.asarray(X, jnp.float32), 0.25, block)
        for name, hit in (("theirs", mask), ("ours", np.isnan(np.asarray(y[:, 1])))):
            places = np.flatnonzero(hit[order])
            assert len(places) in (499, 500, 501) and places[-1] - places[0] == len(places) - 1
            starts[name].append(places[0])
    assert stats.ks_2samp(starts["ours"], starts["theirs"]).pvalue > 1e-4


def test_missing_rates_by_quartile_are_those_of_pyampute():
    """Missing at random to the right: the share that is lost in each quartile of the conditioning column."""
    ampute = pytest.importorskip("pyampute.ampute", reason="pyampute 0.0.3 is not installed: pip install pyampute")
    pattern = {
        "incomplete_vars": [1],
        "weights": [1, 0, 0],
        "mechanism": "MAR",
        "score_to_probability_func": "sigmoid-right",
    }
    quartile = np.digitize(X[:, 0], np.quantile(X[:, 0], [0.25, 0.5, 0.75]))
    shares = {"ours": [], "theirs": []}
    right = tabular.at_random(COLUMNS, 0, 1.0)
    for seed in range(30):
        lost = np.isnan(ampute.MultivariateAmputation(prop=0.3, patterns=[pattern], seed=seed).fit_transform(X)[:, 1])
        y = np.isnan(np.asarray(tabular.missing(jax.random.key(seed), jnp.asarray(X, jnp.float32), 0.3, right)))[:, 1]
        for name, hit in (("theirs", lost), ("ours", y)):
            shares[name].append([hit[quartile == q].mean() for q in range(4)])
    np.testing.assert_allclose(np.mean(shares["ours"], 0), np.mean(shares["theirs"], 0), atol=0.03)
