"""Faults that are learnt from pairs: a known mixture is recovered, and imitated row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax.tabular._learnt import components, latent

SCHEMA = nj.tabular.Schema({"age": "integer", "weight": "number", "job": tuple("abcdef"), "site": ("x", "y")})
SIZE = 20_000


def people(size=SIZE, seed=0):
    """A table with missing jobs, of which the weight depends on the site."""
    rng = np.random.default_rng(seed)
    job = rng.choice(6, size, p=(0.3, 0.25, 0.2, 0.15, 0.07, 0.03)).astype(float)
    job[rng.random(size) < 0.1] = np.nan
    site = rng.integers(0, 2, size).astype(float)
    return np.stack([rng.integers(18, 90, size), np.round(rng.normal(70 + site, 12), 1), job, site], 1)


def planted(clean, seed=1):
    """Dirty rows and the masks of what was planted. The hits of age and weight have a latent correlation of .7."""
    rng = np.random.default_rng(seed)
    size = len(clean)
    shared, own = rng.standard_normal((size, 1)), rng.standard_normal((size, 2))
    hit = np.sqrt(0.7) * shared + np.sqrt(0.3) * own < stats.norm.ppf((0.15, 0.2))
    dirty, kind = clean.copy(), rng.random((size, 2))
    masks = {
        "age missing": hit[:, 0] & (kind[:, 0] < 0.6),
        "age times 10": hit[:, 0] & (kind[:, 0] >= 0.6),
        "weight in pounds": hit[:, 1] & (kind[:, 1] < 0.5),
        "weight plus 5": hit[:, 1] & (kind[:, 1] >= 0.5) & (kind[:, 1] < 0.8),
        "weight 0": hit[:, 1] & (kind[:, 1] >= 0.8),
        "job b is d": (clean[:, 2] == 1) & (rng.random(size) < 0.3),
        "job a is any": (clean[:, 2] == 0) & (rng.random(size) < 0.1),
        "job filled": np.isnan(clean[:, 2]) & (rng.random(size) < 0.5),
    }
    dirty[masks["age missing"], 0] = np.nan
    dirty[masks["age times 10"], 0] *= 10
    dirty[masks["weight in pounds"], 1] /= 0.45359237
    dirty[masks["weight plus 5"], 1] += 5
    dirty[masks["weight 0"], 1] = 0
    dirty[masks["job b is d"], 2] = 3
    dirty[masks["job a is any"], 2] = rng.integers(1, 6, masks["job a is any"].sum())
    dirty[masks["job filled"], 2] = 4
    return dirty, masks


CLEAN = people()
DIRTY, MASKS = planted(CLEAN)
MODEL = nj.tabular.fit_errors(CLEAN, DIRTY, SCHEMA)


def rate(model, column, kind, value=None):
    found = [
        r
        for r in model.rates()
        if (r.column, r.kind) == (column, kind) and (value is None or np.isclose(r.value, value, rtol=1e-4))
    ]
    assert len(found) == 1, model.rates()
    return found[0]


PLANTED = [
    ("age", "missing", None, 0.15 * 0.6),
    ("age", "scale", 10, 0.15 * 0.4),
    ("weight", "scale", 1 / 0.45359237, 0.2 * 0.5),
    ("weight", "add", 5, 0.2 * 0.3),
    ("weight", "replace", 0, 0.2 * 0.2),
    ("job", "filled", 4, 0.5),
]


@pytest.mark.parametrize(("column", "kind", "value", "true"), PLANTED, ids=lambda v: str(v))
def test_every_rate_of_a_known_mixture_is_within_three_standard_errors(column, kind, value, true):
    found = rate(MODEL, column, kind, value)
    assert abs(found.rate - true) < 3 * found.error
    assert found.low < true < found.high or abs(found.rate - true) > 1.9 * found.error


def test_nothing_else_is_found():
    assert len(MODEL.rates()) == len(PLANTED) + 1  # wrong jobs


def test_confusions_are_those_that_were_planted():
    table = MODEL.confusion("job")
    counts = np.nansum(CLEAN[:, 2][:, None] == np.arange(6), axis=0)
    expected = np.zeros((6, 7))
    expected[1, 3] = 0.3
    expected[0, 1:6] = 0.1 / 5
    error = np.sqrt(expected * (1 - expected) / counts[:, None])
    assert np.all(np.abs(table / counts[:, None] - expected) <= 3.5 * error)
    assert table[2:].sum() == 0


def test_the_correlation_of_hits_is_the_planted_one():
    assert abs(MODEL.correlation[0, 1] - 0.7) < 0.05
    assert abs(MODEL.correlation[0, 2]) < 0.05


def test_the_tetrachoric_correlation_is_that_of_scipy():
    for r in (-0.8, 0.0, 0.5, 0.95):
        one, two = 0.2, 0.05
        h = stats.norm.ppf((one, two))
        together = stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf(h)
        assert abs(latent._tetrachoric(one, two, together) - r) < 2e-3


@pytest.mark.parametrize("dependence", ["donors", "copula", "independent"])
def test_the_noise_has_the_rates_of_the_pairs(dependence):
    model = MODEL if dependence == "donors" else nj.tabular.fit_errors(CLEAN, DIRTY, SCHEMA, dependence=dependence)
    fresh = people(seed=5).astype(np.float32)
    noisy = np.asarray(nj.tabular.errors(jax.random.key(0), fresh, model))
    again = nj.tabular.fit_errors(fresh, noisy, SCHEMA)
    for column, kind, value, true in PLANTED:
        found = rate(again, column, kind, value)
        assert abs(found.rate - true) < 3 * np.sqrt(2) * found.error, found  # two samples of one size
    r = again.correlation[0, 1]
    assert abs(r - (0 if dependence == "independent" else 0.7)) < 0.05
    counts = again.confusion("job").sum(1)
    assert counts[2:].sum() < 1e-3 * SIZE, "only the classes that were hit are hit, up to a little smoothing"


def test_the_wrong_values_of_one_row_stay_together():
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(200, 2))
    both = rng.normal(size=(200, 1))
    model = nj.tabular.fit_errors(clean, clean + both, nj.tabular.Schema({"a": "number", "b": "number"}))
    moved = nj.tabular.errors(jax.random.key(0), jnp.zeros((100, 2)), model)
    np.testing.assert_allclose(moved[:, 0], moved[:, 1], atol=1e-6)
    assert np.abs(np.asarray(moved[:, :1]) - both.T).min(1).max() < 1e-6


def test_a_donor_is_of_the_same_group():
    """One site loses the age, the other the weight. Without the group the rows are mixed."""
    dirty = CLEAN[:200].copy()
    for site in (0, 1):
        dirty[CLEAN[:200, 3] == site, site] = np.nan
    fresh = people(1000, seed=3).astype(np.float32)
    for group, mixed in (("site", False), (None, True)):
        model = nj.tabular.fit_errors(CLEAN[:200], dirty, SCHEMA, group=group)
        lost = np.isnan(np.asarray(nj.tabular.errors(jax.random.key(0), fresh, model)))
        assert (lost[:, 0] != lost[:, 1]).all()
        assert (lost[fresh[:, 3] == 0, 1].any() or lost[fresh[:, 3] == 1, 0].any()) == mixed


def test_a_group_without_pairs_takes_any_donor():
    first = CLEAN[:, 3] == 0
    clean, dirty = CLEAN[first][:100], CLEAN[first][:100].copy()
    dirty[::2, 0] = np.nan
    model = nj.tabular.fit_errors(clean, dirty, SCHEMA, group="site")
    fresh = CLEAN[~first].astype(np.float32)
    fresh[:10, 3] = np.nan
    lost = np.isnan(np.asarray(nj.tabular.errors(jax.random.key(0), fresh, model)))[:, 0]
    assert abs(lost.mean() - 0.5) < 4 * np.sqrt(0.25 / len(fresh))


@pytest.mark.parametrize("dependence", ["donors", "copula"])
def test_strength_is_the_frequency_of_faults(dependence):
    model = nj.tabular.fit_errors(CLEAN, DIRTY, SCHEMA, dependence=dependence)
    fresh, key = CLEAN.astype(np.float32), jax.random.key(3)

    def share(strength):
        y = nj.tabular.errors(key, fresh, model, strength)
        return np.asarray(nj.changed(fresh, y)).mean(0)

    np.testing.assert_array_equal(nj.tabular.errors(key, fresh, model, 0.0), fresh)
    whole = share(1.0)
    for strength in (0.5, 1.5):
        error = np.sqrt(whole / SIZE) * 4
        close = np.abs(share(strength) - strength * whole) <= error + 1e-9
        # Above 1 a donor's column whose classes differ is hit less often than that: see `errors`.
        assert close[[0, 1, 3]].all() and (close[2] or (dependence, strength) == ("donors", 1.5))
    rows = np.where(np.arange(SIZE) % 2, 0.0, 1.0)[:, None].astype(np.float32)
    y = np.asarray(nj.changed(fresh, nj.tabular.errors(key, fresh, model, rows)))
    assert not y[1::2].any() and y[::2].any()


def test_hits_are_the_changed_cells_with_missing_ones():
    noise, fresh = nj.bind(nj.tabular.errors, model=MODEL), CLEAN.astype(np.float32)
    y = noise(jax.random.key(4), fresh)
    np.testing.assert_array_equal(nj.hits(noise)(jax.random.key(4), fresh), nj.changed(fresh, y))
    assert np.isnan(np.asarray(y)[:, 0]).any() and not np.isnan(np.asarray(y)[:, 3]).any()


@pytest.mark.slow
def test_the_model_is_an_amount_of_a_noise():
    noise, key, x = nj.bind(nj.tabular.errors, model=MODEL), jax.random.key(6), CLEAN[:3000].astype(np.float32)
    whole = np.asarray(noise(key, x))
    np.testing.assert_array_equal(jax.jit(lambda noise, key, x: noise(key, x))(noise, key, x), whole)
    some = np.asarray(nj.on_columns(noise, (0, 2))(key, x))
    np.testing.assert_array_equal(some[:, [0, 2]], whole[:, [0, 2]])
    np.testing.assert_array_equal(some[:, [1, 3]], x[:, [1, 3]])
    ids = np.arange(3000, dtype=np.int32)
    alone = np.asarray(nj.per_example(noise, ids)(key, x))
    np.testing.assert_array_equal(nj.per_example(noise, ids[1000:1003])(key, x[1000:1003]), alone[1000:1003])
    rate = np.isnan(alone[:, 0]).mean()
    assert abs(rate - 0.09) < 4 * np.sqrt(0.09 / 3000)


def test_whole_columns_stay_whole_and_float64_is_kept():
    clean = np.arange(1.0, 101)[:, None]
    model = nj.tabular.fit_errors(clean, clean * 0.45359237, nj.tabular.Schema({"n": "integer"}))
    y = nj.tabular.errors(jax.random.key(0), jnp.float32(clean), model)
    np.testing.assert_array_equal(y, np.round(clean.astype(np.float32) * np.float32(0.45359237)))
    with jax.enable_x64(True):
        model = nj.tabular.fit_errors(clean, clean + 1e-9, nj.tabular.Schema({"n": "number"}))
        y = nj.tabular.errors(jax.random.key(0), jnp.asarray(clean), model)
        np.testing.assert_allclose(np.asarray(y) - clean, 1e-9, rtol=1e-4)


def test_few_pairs_and_a_model_without_faults():
    same = nj.tabular.fit_errors(CLEAN[:50], CLEAN[:50], SCHEMA)
    fresh = CLEAN.astype(np.float32)
    np.testing.assert_array_equal(nj.tabular.errors(jax.random.key(0), fresh, same, 3.0), fresh)
    assert str(same).endswith("no faults: age, weight, job, site")
    one = nj.tabular.fit_errors(CLEAN[:1], DIRTY[:1], SCHEMA)
    assert nj.tabular.errors(jax.random.key(0), fresh, one).shape == fresh.shape
    gone = nj.tabular.fit_errors(CLEAN[:50], np.full((50, 4), np.nan), SCHEMA)
    assert np.isnan(np.asarray(nj.tabular.errors(jax.random.key(0), fresh, gone))).all()


def test_the_report_is_a_table_in_plain_text():
    lines = str(MODEL).splitlines()
    assert lines[0].split("  ")[0] == "column"
    assert any("times 10" in line and f"{rate(MODEL, 'age', 'scale', 10).rate:.1%}" in line for line in lines)
    table = MODEL.confusion("job")
    assert any(f"a different class (b to d: {table[1, 3] / table.sum():.0%})" in line for line in lines)
    assert "no faults: site" in lines
    assert "hit together (correlation): age and weight" in str(MODEL)
    assert repr(MODEL) == "<nj.tabular.ErrorModel of age, weight, job, site>"


def test_states_that_do_not_differ_share_their_rate_and_others_keep_theirs():
    pairs = np.full(10, 40.0)
    rng = np.random.default_rng(0)
    alike = latent.shrunk(rng.binomial(40, 0.2, 10).astype(float), pairs)
    assert np.ptp(alike) < 0.1
    apart = latent.shrunk(np.where(np.arange(10) < 5, 38.0, 1.0), pairs)
    assert apart[:5].min() > 0.9 and apart[5:].max() < 0.05
    unseen = latent.shrunk(np.array([20.0, 0.0]), np.array([40.0, 0.0]))
    np.testing.assert_allclose(unseen, 0.5)


def test_latent_values_are_uniform():
    """The probability transform: the mixture of the donors' intervals is uniform in each state."""
    state = np.random.default_rng(0).integers(0, 3, 5000)
    outcome = np.random.default_rng(1).choice(3, 5000, p=(0.6, 0.3, 0.1))
    missing, wrong = latent.rates(state, outcome, 5)
    low, high = latent.intervals(state, outcome, missing, wrong)
    drawn = low + np.random.default_rng(2).random(5000) * (high - low)
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("change", "spread"),
    [("offset", 0.0), ("scale", 0.0), ("value", 0.0), ("offset", 1.0), ("scale", 0.1), ("value", 9.0)],
)
def test_operations_are_told_apart(change, spread):
    rng = np.random.default_rng(0)
    a = rng.uniform(20, 200, 300)
    size = spread * rng.standard_normal(300)
    b = {"offset": a + 7 + size, "scale": a * (2 + size), "value": 40 + size}[change]
    found = components.operations(a, b, a)
    np.testing.assert_allclose(np.where(found[:, 0] == 0, 0, found[:, 0] * a) + found[:, 1], b, rtol=1e-5)
    kind = {"offset": found[:, 0] == 1, "scale": found[:, 1] == 0, "value": found[:, 0] == 0}[change]
    assert kind.mean() > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": None}, "schema must be a Schema"),
        ({"clean": CLEAN[:5]}, "must have one shape"),
        ({"clean": np.full((2, 4), 9.0), "dirty": np.full((2, 4), 9.0)}, "the codes 0 to 5, got 9"),
        ({"clean": np.full((2, 4), np.inf)}, "infinite in row 0"),
        ({"clean": np.array([["a"] * 4])}, "clean must hold numbers"),
        ({"clean": np.zeros((2, 4), complex)}, "must be an array of numbers"),
        ({"clean": np.zeros((2, 3))}, r"shape \(N, 4\)"),
        ({"group": "age"}, "must be a column with classes"),
        ({"group": "nobody"}, "there is no column 'nobody'"),
        ({"dependence": "none"}, "dependence"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    given = {"clean": CLEAN, "dirty": DIRTY, "schema": SCHEMA, **change}
    with pytest.raises((TypeError, ValueError, KeyError), match=message):
        nj.tabular.fit_errors(given.pop("clean"), given.pop("dirty"), given.pop("schema"), **given)


def test_the_noise_names_what_does_not_fit():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="fitted to 4 columns"):
        nj.tabular.errors(key, jnp.zeros((2, 3)), MODEL)
    with pytest.raises(TypeError, match="model must be fitted"):
        nj.tabular.errors(key, jnp.zeros((2, 4)), 0.3)
    with pytest.raises(ValueError, match="strength is that of rows"):
        nj.tabular.errors(key, jnp.zeros((2, 4)), MODEL, jnp.ones(4))
    with pytest.raises(ValueError, match="strength"):
        nj.tabular.errors(key, jnp.zeros((2, 4)), MODEL, -1.0)
