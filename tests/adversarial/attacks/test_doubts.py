"""What is not evidence of robustness: inputs outside their bounds, losses that are not finite, vanished gradients."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noisejax import adversarial
from noisejax.adversarial import L0, L1, L2, Linf, Tabular

KEY = jax.random.key(0)
W = jnp.array([[1.0, -1.0, 0.0], [0.5, 0.0, -1.0]])
X = jnp.array([[0.5, 0.5], [0.25, 0.5], [0.75, 0.25]])
Y = jnp.array([0, 0, 0])
OVER = X.at[1, 0].set(1.05)


def predict(x):
    return 4 * x @ W


LOSS = adversarial.untargeted(predict)
TX = optax.chain(adversarial.scale_by_steepest(), adversarial.scale_by_reach(0.25))


def of_loss(attack, **options):
    return lambda x, t, model=predict: attack(KEY, adversarial.untargeted(model), x, t, args=(Y,), **options)


def of_logits(attack, **options):
    return lambda x, t, model=predict: attack(KEY, model, x, Y, t, **options)


ATTACKS = {
    "attack": lambda x, t, model=predict: adversarial.attack(
        KEY, TX, adversarial.untargeted(model), x, t, (Y,), steps=3
    ),
    "fgsm": of_loss(adversarial.fgsm),
    "pgd": of_loss(adversarial.pgd, restarts=2),
    "apgd": of_loss(adversarial.apgd, steps=5),
    "deepfool": of_logits(adversarial.deepfool),
    "cw": of_logits(adversarial.cw, steps=5, searches=2),
    "ddn": of_logits(adversarial.ddn, steps=5),
    "fmn": of_logits(adversarial.fmn, steps=5),
    "fab": of_logits(adversarial.fab, steps=5),
    "square": of_logits(adversarial.square, queries=5),
}


def threat_of(name, bounds=(0, 1)):
    return L2(0.25, bounds) if name in ("cw", "ddn") else Linf(0.25, bounds)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_an_example_outside_its_bounds_is_an_error_or_nan(name):
    attack = ATTACKS[name]
    for bounds in ((0, 1), (jnp.zeros(2), jnp.float32(1.0))):
        with pytest.raises(ValueError, match="x must lie inside the bounds"):
            attack(OVER, threat_of(name, bounds))
    found = jax.jit(attack)(OVER, threat_of(name))
    assert np.isnan(np.asarray(found)).all(1).tolist() == [False, True, False]
    np.testing.assert_array_equal(found[::2], jax.jit(attack)(X, threat_of(name))[::2])


@pytest.mark.parametrize("wrong", [X.at[0, 1].set(-0.05), X.at[0, 1].set(jnp.nan), 255 * X, X.astype(jnp.bfloat16) + 1])
@pytest.mark.parametrize("kind", ["linf", "l1", "l0", "tabular", "closed over"])
def test_known_values_are_checked_under_every_threat(wrong, kind):
    threat = {"l1": L1(0.5, (0, 1)), "l0": L0(1, (0, 1)), "tabular": Tabular(Linf(0.5, (0, 1)))}.get(
        kind, Linf(0.5, (jnp.float32(0), np.ones((1, 2))))
    )
    call = functools.partial(adversarial.pgd, KEY, LOSS, wrong, threat, args=(Y,))
    with pytest.raises(ValueError, match="x must lie inside the bounds"):
        jax.jit(call)() if kind == "closed over" else call()


@pytest.mark.slow
def test_rounding_and_missing_bounds_are_no_reason_to_object():
    near = X.at[0, 0].set(1.0000005)
    assert np.isfinite(adversarial.pgd(KEY, LOSS, near, Linf(0.1, (0, 1)), args=(Y,))).all()
    assert np.isfinite(adversarial.pgd(KEY, LOSS, 2.5 * X, Linf(0.1, (-np.inf, np.inf)), args=(Y,))).all()
    assert np.isfinite(jax.jit(ATTACKS["pgd"])(2.5 * X, Linf(0.1, None))).all()


def test_an_example_outside_its_bounds_is_never_reported_robust():
    with pytest.raises(ValueError, match="x must lie inside the bounds"):
        adversarial.autoattack(KEY, predict, OVER, Y, Linf(0.1, (jnp.float32(0), jnp.float32(1))))

    @jax.jit
    def evaluate(x):
        held = adversarial.misclassified(predict)
        return adversarial.evaluate(KEY, TX, LOSS, x, Linf(1e-4, (0, 1)), (Y,), success=held, steps=3, slots=2)

    found = evaluate(OVER)
    assert found.success.tolist() == [False, True, False] and found.steps.tolist() == [3, 0, 3]
    assert np.isnan(np.asarray(found.x)).all(1).tolist() == [False, True, False]
    assert not evaluate(X).success.any()


def test_training_losses_start_from_the_bounds_inside_jit():
    for loss in (adversarial.trades, adversarial.mart, adversarial.alp):
        train = jax.jit(lambda x, loss=loss: loss(KEY, predict, x, Y, Linf(0.25, (0, 1))))
        assert np.isfinite(train(OVER)).all()
        with pytest.raises(ValueError, match="x must lie inside the bounds"):
            loss(KEY, predict, OVER, Y, Linf(0.25, (0, 1)))


def fragile(x):
    """Finite at X, and NaN at most other points."""
    return jnp.where(jnp.all(jnp.any(x[:, None] == X[None], axis=1), axis=1, keepdims=True), predict(x), jnp.nan)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "fgsm"])
def test_losses_that_are_not_finite_are_warned_about(name):
    with pytest.warns(UserWarning, match="the loss of [23] of 3 examples is not finite"):
        ATTACKS[name](X, threat_of(name), fragile)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        fragile,
        lambda x: predict(x) * jnp.sqrt(jnp.float32(0.001) - jnp.abs(x - X[:1]).max(1, keepdims=True)),
        lambda x: jnp.log(jnp.float32(0.001) - jnp.abs(x - X[:1]).max(1, keepdims=True)) + predict(x),
    ],
)
@pytest.mark.parametrize("version", ["standard", ("apgd-ce",), ("square",), ("fab",)])
def test_autoattack_never_takes_nan_for_robustness(model, version):
    x, labels = X[:1], Y[:1]
    assert (model(x).argmax(-1) == labels).all() and np.isfinite(model(x)).all()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = adversarial.autoattack(KEY, model, x, labels, Linf(0.01, (0, 1)), version=version, steps=5, queries=10)
    assert any("the loss of 1 of 1 examples is not finite" in str(w.message) for w in seen)
    assert not found.robust.any() and found.found_by.tolist() == [-2] and np.isnan(found.x).all()
    assert list(found.accuracy.values())[-1] == 0.0 and found.accuracy["clean"] == 1.0


@pytest.mark.slow
def test_autoattack_counts_clean_nan_logits_as_wrong():
    def model(x):
        return jnp.where(x[:, :1] == 0.5, jnp.nan, predict(x))

    with pytest.warns(UserWarning, match="the logits of 1 clean examples are not finite"):
        found = adversarial.autoattack(KEY, model, X, Y, Linf(1e-3, (0, 1)), version=("apgd-ce",), steps=3)
    assert not found.robust[0] and found.accuracy["clean"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_evaluate_counts_losses_that_are_not_finite():
    def evaluate(model):
        loss, held = adversarial.untargeted(model), adversarial.misclassified(model)
        return adversarial.evaluate(KEY, TX, loss, X, Linf(1e-3, (0, 1)), (Y,), success=held, steps=3, slots=2)

    with pytest.warns(UserWarning, match="evaluate: the loss of 3 of 3 examples is not finite"):
        found = evaluate(fragile)
    assert found.success.all() and np.isnan(found.x).all()
    assert jax.jit(lambda: evaluate(fragile).success)().all()
    assert not evaluate(predict).success.any()


@pytest.mark.slow
def test_evaluate_warns_of_a_model_that_depends_on_its_batch():
    def normalized(x):
        return predict((x - x.mean(0, keepdims=True)) / (x.std(0, keepdims=True) + 0.1))

    def evaluate(model, x=X):
        loss, held = adversarial.untargeted(model), adversarial.misclassified(model)
        return adversarial.evaluate(KEY, TX, loss, x, Linf(1e-3, (0, 1)), (Y,), success=held, steps=2, slots=2)

    with pytest.warns(UserWarning, match="evaluate: the loss of an example depends on the other examples"):
        evaluate(normalized)
    evaluate(predict)
    jax.jit(lambda x: evaluate(normalized, x).success)(X)  # where nothing can be known, nothing is asked


@pytest.mark.slow
def test_vanished_gradients_are_warned_about():
    def steps(x):
        return predict(jnp.round(4 * x) / 4)

    for name, model in {"pgd": steps, "apgd": steps, "fgsm": lambda x: 1e5 * predict(x)}.items():
        attack = {"pgd": adversarial.pgd, "apgd": adversarial.apgd, "fgsm": adversarial.fgsm}[name]
        loss = adversarial.untargeted(model, adversarial.cross_entropy)
        with pytest.warns(UserWarning, match="every gradient of the loss is 0 for 3 of 3 examples"):
            attack(KEY, loss, X, Linf(0.01, (0, 1)), args=(Y,))
    with pytest.warns(UserWarning, match="deepfool: every gradient"):
        adversarial.deepfool(KEY, steps, X, Y, Linf(0.01, (0, 1)))


@pytest.mark.slow
def test_a_model_that_draws_noise_gives_no_cause_to_doubt_its_batches():
    """Its draws belong to places in the batch: they change with the order, which is no fault."""

    def noisy(key, x):
        return predict(x + 0.01 * jax.random.normal(key, x.shape))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adversarial.autoattack(KEY, noisy, X, Y, Linf(0.01, (0, 1)), version="rand", steps=2, eot=2)
