"""Sweeps against loops by hand, intervals against scipy and by their coverage, and the text and pictures of reports."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Family, Interval, Report

N = 60
RNG = np.random.default_rng(3)
X = RNG.standard_normal((N, 4)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)
W = np.stack([-np.ones(4), np.ones(4)], 1).astype(np.float32)
LEVELS = (0.0, 0.2, 0.5)


def linear(w, x):
    return x @ w


def gaussian(std):
    return nj.bind(nj.gaussian, std=std)


def masking(rate):
    return nj.bind(nj.mask, rate=rate)


def features(outputs, _):
    """A score that tells the noisy x itself."""
    return outputs.sum(-1)


def sweep(predict=None, data=(X, Y), families=None, **options):
    predict = predict or jax.tree_util.Partial(linear, jnp.asarray(W))  # one program for most tests
    made = families_of(families or {"gaussian": (gaussian, LEVELS)})
    return robustness.sweep(jax.random.key(0), predict, data, made, **options)


def families_of(given):
    """Families from {name: (noise_at, levels)} or {name: (noise_at, levels, on)}."""
    return [Family(name, *of) for name, of in given.items()]


def scaled(by):
    return jax.tree_util.Partial(linear, jnp.asarray(by * W))


def report(scores, levels=None, metric="accuracy", draws=1, clean=None, higher=True, best=1.0, **more):
    """A report of given scores: (levels, models, examples)."""
    scores = {"f": np.asarray(scores, np.float32), **{name: np.asarray(v, np.float32) for name, v in more.items()}}
    clean = scores["f"][0] if clean is None else np.asarray(clean, np.float32)
    values = f"{metric}/values"
    at = {name: np.arange(len(v)) / 10 if levels is None else np.asarray(levels, float) for name, v in scores.items()}
    return Report(
        levels=at,
        labels={},
        metrics=((metric, "example", higher, best),),
        draws=draws,
        examples=clean.shape[-1],
        counts=np.ones(clean.shape[-1]),
        parts={},
        cells={"": [{values: clean}], **{name: [{values: level} for level in v] for name, v in scores.items()}},
        problems={},
        shown={"": [None], **{name: [None] * len(v) for name, v in scores.items()}},
        shift={name: [None] * len(v) for name, v in scores.items()},
        pairing="0" * 16,
    )


# --- the sweep ---


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
    # A sweep asks the predictor once. It traces it for clean examples and for the family, and these programs are kept.
    assert [predicts for predicts, _ in counted] == [3, 4, 5]
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
    "an amount": (masking, (0, 5, 20), "the level 5 of 'f' .* mask: rate must be in .0, 1., got 5.0"),
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


# --- what is read from them ---


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
    assert worse.notes(percent=True).startswith("clean -100.0 ± 0.0; at 20 %: gaussian -")
    assert worse.numbers()["differences at 0.2"]["gaussian"]["mean"] == worse.differences["gaussian"].mean
    assert f"{worse.passes['gaussian']}" == "–"
    with pytest.raises(KeyError, match="baseline"):
        robustness.compare(reports, "none", level=0.2)
