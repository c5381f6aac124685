"""The small network for tables: what it learns, what noise does to it, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
SMALL = {"hidden": (8,), "seeds": 2, "epochs": 12, "batch_size": 50, "learning_rate": 2e-2}
mlp = functools.partial(robustness.mlp, KEY, **SMALL)


def gaussian(std):
    return nj.on_entries((nj.bind(nj.gaussian, std=std), None))


def accuracy(predict, x=X, y=Y):
    return (np.asarray(predict(x)).argmax(-1) == y).mean(1)


@pytest.mark.slow
def test_it_learns_classes_and_seeds_are_different_models():
    predict = mlp((X, Y))
    outputs = predict(X)
    assert outputs.shape == (2, 400, 2) and (outputs[0] != outputs[1]).any()
    assert (accuracy(predict) > 0.95).all()
    report = robustness.sweep(
        KEY, predict, (X, Y), [robustness.Family("g", lambda s: nj.bind(nj.gaussian, std=s), [0.0])]
    )
    assert report.models == 2 and report.clean().mean == pytest.approx(accuracy(predict).mean())


@pytest.mark.slow
def test_units_of_columns_and_targets_do_not_matter_and_a_missing_value_is_the_mean():
    scale, shift = np.array([1e3, 1e-3, 1.0], np.float32), np.array([5e3, 0, -2], np.float32)
    target = X @ np.array([1.0, -2.0, 0.0], np.float32)
    plain = mlp((X, target))
    moved = mlp((X * scale + shift, 100 * target + 7))
    assert plain(X).shape == (2, 400)
    np.testing.assert_allclose(moved(X * scale + shift), 100 * plain(X) + 7, rtol=2e-2, atol=2)
    assert np.corrcoef(plain(X)[0], target)[0, 1] > 0.95
    holes = X.copy()
    holes[:, 1] = np.nan
    np.testing.assert_allclose(plain(holes), plain(np.where([False, True, False], X.mean(0), X)), atol=1e-5)
    assert np.isfinite(mlp((np.where(RNG.random(X.shape) < 0.2, np.nan, X).astype(np.float32), target))(X)).all()


def test_columns_of_zeros_and_ones_keep_their_values():
    from noisejax.robustness._models import network

    x = np.stack([np.eye(1, 50)[0], np.arange(50.0), np.full(50, 3.0)], 1)
    mean, std = network.scales(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(mean, [0, 24.5, 3], rtol=1e-6)
    np.testing.assert_allclose(std, [1, np.arange(50).std(), 1], rtol=1e-6)


@pytest.mark.slow
def test_amounts_of_zero_change_nothing_and_noise_does():
    from noisejax.robustness._models import training

    clean = mlp((X, Y))(X)
    np.testing.assert_array_equal(mlp((X, Y), gaussian(0.0))(X), clean)
    np.testing.assert_array_equal(mlp((X, Y), None, jnp.float32(0), jnp.float32(0))(X), clean)
    before = training.fixed._cache_size()
    several = [mlp((X, Y), gaussian(std))(X) for std in (0.5, 2.0)]
    assert training.fixed._cache_size() == before  # another amount is no new program
    assert (several[0] != several[1]).any() and (several[0] != clean).any()
    both = mlp((X, Y), None, jnp.float32(0.5), jnp.float32(0)), mlp((X, Y), None, jnp.float32(0), jnp.float32(0.3))
    assert all((predict(X) != clean).any() for predict in both)


@pytest.mark.slow
def test_fgsm_training_makes_larger_margins():
    """The same attack by hand on both models: it costs the one that has seen it less."""

    def hurt(predict):
        def loss(x):
            return -jax.nn.log_softmax(predict(x))[:, jnp.arange(len(Y)), Y].mean()

        return accuracy(predict, X + 0.5 * jnp.sign(jax.grad(loss)(jnp.asarray(X)))).mean()

    noisy_y = np.where(RNG.random(len(Y)) < 0.1, 1 - Y, Y)  # so that the plain model fits noise
    assert hurt(mlp((X, noisy_y), fgsm=0.5, epochs=40)) > hurt(mlp((X, noisy_y), epochs=40))


@pytest.mark.slow
def test_noise_of_a_batch_may_soften_labels():
    noise = nj.bind(nj.mixup, alpha=0.4, num_classes=2)
    assert (accuracy(mlp((X, Y), noise)) > 0.9).all()
    assert np.abs(np.diff(mlp((X, Y), noise)(X))).mean() < np.abs(np.diff(mlp((X, Y))(X))).mean()  # less sure


@pytest.mark.slow
def test_it_works_under_vmap_over_noises():
    train = jax.jit(jax.vmap(functools.partial(robustness.mlp, classes=2, **SMALL), (None, None, 0)))
    noises = jax.tree.map(lambda *v: jnp.stack(v), gaussian(0.1), gaussian(1.0))
    many = train(KEY, (jnp.asarray(X), jnp.asarray(Y)), noises)
    outputs = jax.vmap(lambda predict: predict(X))(many)
    assert outputs.shape == (2, 2, 400, 2)
    np.testing.assert_allclose(outputs[1], mlp((X, Y), gaussian(1.0))(X), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_adaptive_levels_rise_while_they_are_free_and_stay_low_where_they_cost():
    def free(level):
        return nj.on_entries((nj.on_columns(nj.bind(nj.gaussian, std=level), (1, 2)), None))  # no information there

    def costly(level):
        return nj.on_entries((lambda key, x: jnp.where(level > 0, -x, x), None))

    fits = [
        robustness.mlp_adaptive(KEY, (X, Y), noise_at, (X[:200], Y[:200]), 1.0, 0.02, **SMALL)
        for noise_at in (free, costly)
    ]
    for fit in fits:
        assert fit.level.shape == fit.metric.shape == fit.clean_metric.shape == (2, 12)
        assert (fit.level[:, 0] == 0).all() and (fit.level <= 1).all()
        np.testing.assert_array_equal(fit.clean(X), mlp((X, Y))(X))  # without noise it is `mlp`, with the same seeds
    assert fits[0].level.max() > 0.5 > fits[1].level.mean()
    assert (accuracy(fits[0].predict) > 0.9).all()


@pytest.mark.slow
def test_adaptive_regression_measures_r2():
    target = X[:, 0]
    fit = robustness.mlp_adaptive(KEY, (X, target), gaussian, (X[:100], target[:100]), **SMALL)
    np.testing.assert_allclose(fit.clean_metric[:, -1], _r2(fit.clean, X[:100], target[:100]), rtol=1e-4)


def _r2(predict, x, y):
    return 1 - ((np.asarray(predict(x)) - y) ** 2).mean(1) / y.var()


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "noise of x alone.*on_entries", lambda: mlp((X, Y), nj.bind(nj.gaussian, std=0.1))),
        (ValueError, "noise must return .x, y.", lambda: mlp((X, Y), lambda key, batch: batch[0])),
        (
            ValueError,
            "noise must return .x, y. of shapes .50, 3.",
            lambda: mlp((X, Y), lambda key, b: (b[0][1:], b[1])),
        ),
        (ValueError, "constant label", lambda: mlp((X, 0 * Y))),
        (ValueError, "class numbers from 0 to 1", lambda: mlp((X, Y + 1), classes=2)),
        (ValueError, "from -1 to 0", lambda: mlp((X, Y - 1))),
        (TypeError, "must be numbers.*return_inverse", lambda: mlp((X, np.where(Y, "a", "b")))),
        (ValueError, "must be finite.*without a target", lambda: mlp((X, np.where(Y == 1, np.nan, 0.0)))),
        (TypeError, "y.astype.int", lambda: mlp((X, Y.astype(float)), classes=2)),
        (ValueError, r"\(B, columns\)", lambda: mlp((X, Y[1:]))),
        (TypeError, "hidden must be a tuple", lambda: robustness.mlp(KEY, (X, Y), hidden=8)),
        (ValueError, "seeds", lambda: robustness.mlp(KEY, (X, Y), seeds=0)),
        (ValueError, "dropout must be in", lambda: mlp((X, Y), dropout=2.0)),
        (ValueError, "fgsm must be at least 0", lambda: mlp((X, Y), fgsm=-1.0)),
        (TypeError, "classes must be given inside jit", lambda: jax.jit(mlp)((X, Y))),
        (ValueError, "as in training", lambda: mlp((X, Y))(X[:, :2])),
        (
            ValueError,
            "the 3 columns of data",
            lambda: robustness.mlp_adaptive(KEY, (X, Y), gaussian, (X[:, :2], Y), **SMALL),
        ),
    ],
)
def test_wrong_calls(error, match, call):
    with pytest.raises(error, match=match):
        call()


def test_a_constant_column_keeps_its_scale():
    """Its deviation is about 2e-7 in float32, and noise that is divided by that is enormous."""
    from noisejax.robustness._models import network

    x = np.float32(np.stack([np.full(3000, -0.81443816), np.full(3000, np.nan), RNG.standard_normal(3000)], 1))
    mean, std = network.scales(jnp.asarray(x))
    assert float(std[0]) == float(std[1]) == 1 and abs(float(std[2]) - 1) < 0.1
    assert abs(float(mean[0]) + 0.81443816) < 1e-5
    assert np.isfinite(np.asarray(network.standardized(jnp.asarray(x), (mean, std)))).all()
