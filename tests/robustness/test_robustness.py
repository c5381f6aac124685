"""Sweeps against loops by hand, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Family
from robustness.sweeps import (
    LEVELS,
    N,
    W,
    X,
    Y,
    families_of,
    features,
    gaussian,
    linear,
    masking,
    sweep,
)


def test_level_zero_is_clean_and_shapes():
    found = sweep(families={"gaussian": (gaussian, LEVELS), "mask": (masking, (0.0, 0.3))})
    assert found.scores("gaussian").shape == (3, 1, N) and found.scores("mask").shape == (2, 1, N)
    for family in found.levels:
        np.testing.assert_array_equal(found.scores(family)[0], found.scores(None)[0])
    np.testing.assert_array_equal(found.scores(None)[0][0], (X @ W).argmax(1) == Y)


def test_draws_are_the_same_at_every_level_and_for_every_model():
    """Gaussian noise grows in proportion, hits of a mask are nested, and another model sees the same x."""
    data = (np.zeros_like(X), Y)
    found = sweep(lambda x: x, data, {"gaussian": (gaussian, (0.1, 0.2))}, metrics=features)
    low, high = found.scores("gaussian")[:, 0]
    np.testing.assert_allclose(high, 2 * low, rtol=1e-5, atol=1e-6)
    ones = sweep(lambda x: 1 - x, (np.ones_like(X), Y), {"mask": (masking, (0.2, 0.6))}, metrics=features).scores(
        "mask"
    )[:, 0]
    assert (ones[1] >= ones[0]).all() and (ones[1] > ones[0]).any()
    twice = sweep(lambda x: 3 * x, data, {"gaussian": (gaussian, (0.1, 0.2))}, metrics=features).scores("gaussian")
    np.testing.assert_allclose(twice, 3 * found.scores("gaussian"), rtol=1e-5, atol=1e-6)  # sums of a few cancel


@pytest.mark.slow
def test_families_draws_and_batches_do_not_change_one_another():
    one = sweep(families={"gaussian": (gaussian, LEVELS)}).scores("gaussian")
    both = sweep(families={"mask": (masking, LEVELS), "gaussian": (gaussian, LEVELS)}, batch_size=7)
    np.testing.assert_array_equal(both.scores("gaussian"), one)
    data, families = (np.zeros_like(X), Y), {"a": (gaussian, (0.5,)), "b": (gaussian, (0.5,))}
    named = sweep(lambda x: x, data, families, metrics=features)
    assert (named.scores("a") != named.scores("b")).all()
    averaged = sweep(lambda x: x, data, families, metrics=features, draws=400)
    assert averaged.scores("a").std() < 0.1 * named.scores("a").std()  # expected 1/20


def test_levels_are_traced_once_and_other_parameters_cost_nothing():
    traces = []

    def predict(w, x):
        traces.append("predict")
        return x @ w

    def level_to_noise(std):
        traces.append("level")
        assert isinstance(std, jax.core.Tracer)
        return gaussian(std)

    families = {"g": (level_to_noise, np.linspace(0, 1, 7))}
    made, counted = families_of(families), []
    for scale in (1, 2, 3):
        predictor = jax.tree_util.Partial(predict, scale * W)
        found = robustness.sweep(jax.random.key(0), predictor, (X, Y), made)
        counted.append((traces.count("predict"), traces.count("level")))
    # A sweep asks the predictor once. It traces it once for all examples, clean and noisy, and this program is kept.
    assert [predicts for predicts, _ in counted] == [2, 3, 4]
    first, second, third = (levels for _, levels in counted)
    assert third - second == second - first < first <= 7  # of the checks, whatever the number of levels
    np.testing.assert_array_equal(
        found.scores("g"), sweep(families={"g": (gaussian, np.linspace(0, 1, 7))}).scores("g")
    )


def test_models_in_leading_axes():
    ws = np.stack([W, -W, 0.5 * W])
    stacked = jax.tree_util.Partial(jax.vmap(linear, (0, None)), jnp.asarray(ws))
    for batch_size in (None, 16):
        found = sweep(stacked, batch_size=batch_size)
        assert found.scores("gaussian").shape == (3, 3, N)
        for model, w in enumerate(ws):
            alone = sweep(jax.tree_util.Partial(linear, jnp.asarray(w)))
            np.testing.assert_array_equal(found.scores("gaussian")[:, model], alone.scores("gaussian")[:, 0])


@pytest.mark.parametrize(
    "predict",
    [
        lambda x: x.sum(-1) > 0,
        lambda x: (x.sum(-1) > 0).astype(jnp.uint8),
        lambda x: (x @ W).astype(jnp.bfloat16),
        lambda x: jax.nn.softmax(x @ W),
    ],
    ids=["booleans", "classes", "bfloat16", "probabilities"],
)
def test_outputs_of_every_kind(predict):
    assert sweep(predict).clean().mean == 1
    assert sweep(predict, (X, np.eye(2, dtype=np.float32)[Y])).clean().mean == 1


def test_regression_by_a_metric_and_pytrees():
    data = ({"a": X[:, :2], "b": X[:, 2:]}, X.sum(1))

    def error(outputs, y):
        return -jnp.abs(outputs - y)

    families = {"g": (lambda std: nj.on_entries({"a": gaussian(std)}), (0.0, 1.0))}
    found = sweep(lambda x: x["a"].sum(1) + x["b"].sum(1), data, families, metrics=error)
    mean = found.interval("g").mean
    np.testing.assert_allclose(mean, [0, -np.sqrt(2) * np.sqrt(2 / np.pi)], atol=0.25)  # 60 examples, 5 standard errors
    assert found.metric == "error"


def test_on_batch_acts_on_labels():
    def flips(rate):
        return nj.on_entries((None, nj.bind(nj.labels.flip, rate=rate, num_classes=2)))

    found = sweep(families={"flip": (flips, (0.0, 1.0), "batch")})
    assert found.interval("flip", 0.0).mean == 1 > found.interval("flip", 1.0).mean
    with pytest.raises(TypeError, match="'flip' must return"):
        sweep(families={"flip": (lambda rate: lambda key, batch: batch[0], (0.5,), "batch")})


def test_values_that_are_not_finite_are_refused_where_they_are():
    def broken(x):
        return jnp.where(jnp.abs(x).max() > 1e6, jnp.nan, x @ W)

    with pytest.warns(UserWarning, match="1 levels could not be measured .* first of 'g': .* not finite"):
        found = sweep(broken, families={"g": (gaussian, (0.1, 1e9)), "h": (masking, (0.1,))})
    assert np.isfinite(found.interval("g").mean).tolist() == [True, False] and found.problems["g"].keys() == {1}
    assert np.isfinite(found.interval("h").mean).all() and "not finite" in str(found) and "–" in str(found)
    assert found.tolerance(0.5)["g"].mean == 0.1  # a marked level is not passed
    with pytest.raises(FloatingPointError, match="without noise"):
        sweep(lambda x: x @ W + jnp.inf, batch_size=50)
    with pytest.raises(FloatingPointError):
        sweep(metrics=lambda outputs, y: jnp.log(jnp.zeros(N)))


G = Family("g", gaussian, LEVELS)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "key", lambda: robustness.sweep(0, linear, (X, Y), [])),
        (TypeError, "predict", lambda: robustness.sweep(jax.random.key(0), W, (X, Y), [])),
        (TypeError, r"\(x, y\)", lambda: sweep(data=X)),
        (ValueError, "leading axis", lambda: sweep(data=(X, Y[:-1]))),
        (TypeError, "noise_at must be a function", lambda: sweep(families={"g": (0.1, LEVELS)})),
        (TypeError, "families must be a list", lambda: robustness.sweep(jax.random.key(0), linear, (X, Y), {"g": 1})),
        (TypeError, "'g' must return a noise", lambda: sweep(families={"g": (lambda level: 0.1, LEVELS)})),
        (
            ValueError,
            "'g' twice",
            lambda: robustness.sweep(jax.random.key(0), linear, (X, Y), 2 * [G]),
        ),
        (ValueError, "increasing", lambda: sweep(families={"g": (gaussian, (0.2, 0.1))})),
        (ValueError, "draws", lambda: sweep(draws=0)),
        (ValueError, "batch_size", lambda: sweep(batch_size=0.5)),
        (ValueError, "metrics", lambda: sweep(metrics="f3")),
        (ValueError, "logit > 0", lambda: sweep(lambda x: x.sum(-1))),
        (ValueError, "logit > 0", lambda: sweep(lambda x: x[:, :1])),
        (ValueError, "class numbers or rows", lambda: sweep(data=(X, X[:, 0]))),
        (ValueError, "do not match", lambda: sweep(lambda x: jnp.zeros(3, jnp.int32))),
        (TypeError, "one array", lambda: sweep(lambda x: {"logits": x})),
        (ValueError, "one score per example", lambda: sweep(metrics=lambda outputs, y: outputs.mean())),
    ],
)
def test_errors(error, match, call):
    with pytest.raises(error, match=match):
        call()


# Each gives an amount outside its range at one of the levels. Noises clamp traced amounts.
IMPOSSIBLE_LEVELS = {
    "an amount": (masking, (0, 5, 20), "the level 5 among the levels of 'f' .* mask: rate must be in .0, 1., got 5.0"),
    "a computed amount": (lambda level: masking(jnp.sqrt(level)), (0.5, 4), "the level 4 .* mask: rate .* got 2.0"),
    "a negative amount": (gaussian, (-0.1, 0.1), "the level -0.1 .* gaussian: std .* at least 0 and finite"),
    "NaN": (lambda level: gaussian(jnp.sqrt(level - 1)), (0, 1), "the level 0 .* gaussian: std .* got nan"),
    "of an array": (lambda r: masking(jnp.stack([0.1, 0.2, r, 0.3])), (0.5, 1.5), "the level 1.5 .* got 1.5"),
    "inside a chain": (lambda r: nj.chain(gaussian(0.1), masking(r)), (0.5, 1.5), "mask: rate"),
    "of a combinator": (lambda r: nj.sometimes(gaussian(0.1), r), (0.5, 1.5), "sometimes: rate must be in"),
    "a direct call": (lambda r: lambda key, x: nj.mask(key, x, r), (0.5, 1.5), "the level 1.5 .* mask: rate"),
    "a direct call in a chain": (lambda r: nj.chain(gaussian(0.1), lambda k, x: nj.mask(k, x, r)), (0.5, 2), "rate"),
    "of a batch": (
        lambda r: nj.on_entries((None, nj.bind(nj.labels.flip, rate=r, num_classes=2))),
        (0.5, 1.1), "the level 1.1 .* flip: rate", "batch",
    ),
    "a function of a batch": (
        lambda r: lambda k, b: (nj.mask(k, b[0], r), b[1]), (0.5, 3), "the level 3 .* mask: rate", "batch"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", IMPOSSIBLE_LEVELS.values(), ids=IMPOSSIBLE_LEVELS)
def test_levels_outside_the_range_of_an_amount(case):
    level_to_noise, levels, match, on = (*case, "x")[:4]
    for _ in range(2):  # also when the program is already compiled
        with pytest.raises(ValueError, match=f"sweep: .*{match}"):
            sweep(families={"f": (level_to_noise, levels, on)})
    assert sweep(families={"f": (level_to_noise, [1.0], on)}).scores("f").shape == (1, 1, N)


def test_functions_that_need_a_traced_level_get_one():
    def level_to_noise(level):
        assert isinstance(level, jax.core.Tracer)
        return lambda key, x: x + level

    assert sweep(families={"f": (level_to_noise, [0.0, 1.0])}).interval("f").mean[0] == 1


@pytest.mark.parametrize(
    ("predict", "y", "match"),
    [
        (None, Y + 1, r"classes of predict, numbered from 0, got others without noise \(labels from 1 to 2 in data\)"),
        (None, np.where(Y == 0, -1, 1), "labels from -1 to 1"),
        (None, np.where(np.arange(N) < N - 1, Y, -100), "labels from -100 to 1"),
        (lambda x: x.sum(-1) > 0, 5 * Y, "numbered from 0, got others"),
        (lambda x: (x.sum(-1) > 0).astype(jnp.uint8), Y - 1, "numbered from 0, got others"),
        (None, np.where(np.arange(N)[:, None] < 1, np.nan, np.eye(2, dtype=np.float32)[Y]), "rows with NaN"),
        (None, np.eye(3, dtype=np.float32)[Y], "one entry for each of the 2 classes of predict"),
    ],
    ids=["from 1", "minus 1", "ignored", "booleans", "unsigned", "NaN", "three columns"],
)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_labels_that_are_no_class_of_the_model(predict, y, match, batch_size):
    with pytest.raises(ValueError, match=f"sweep: .*{match}"):
        sweep(predict, (X, y), batch_size=batch_size)


def test_noisy_labels_that_are_no_class_of_the_model():
    def flips(rate):
        return nj.on_entries((None, nj.bind(nj.labels.flip, rate=rate, num_classes=9)))

    with pytest.warns(UserWarning, match="labels that are not classes of the model; fix its num_classes"):
        found = sweep(families={"flip": (flips, (0.0, 0.9), "batch")})
    assert np.isfinite(found.interval("flip").mean).tolist() == [True, False]
    signs = sweep(lambda x: jnp.sign(x.sum(-1)).astype(int), (X, 2 * Y - 1))
    assert signs.clean().mean == 1  # class numbers are what the model says, also -1 and 1


def test_a_flax_model_is_a_predict():
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    expected = (X @ np.asarray(model.kernel[...]) + np.asarray(model.bias[...])).argmax(1) == Y
    np.testing.assert_array_equal(sweep(model).scores(None)[0][0], expected)


def test_names_and_data_are_named():
    for name in ({1, 2}, lambda level: level, None):
        with pytest.raises(TypeError, match="by_column: name must be a name, a string"):
            robustness.by_column(name, nj.bind(nj.gaussian, std=0.1), ["a", "b"])
    x, y = np.ones((4, 3), np.float32), np.zeros(4, np.int32)
    family = Family("gaussian", lambda std: nj.bind(nj.gaussian, std=std), (0.0, 0.1))
    for data in (("cat", y), (b"cats", y), (None, y), (x, y[:3]), (x[:0], y[:0])):
        with pytest.raises((TypeError, ValueError), match=r"sweep: data must be \(x, y\)"):
            robustness.sweep(jax.random.key(0), lambda x: x[:, 0] > 0, data, family)
