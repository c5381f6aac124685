"""Errors of attacks and training losses: amounts that make no sense, arguments in another order, models that misfit."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from noisejax import adversarial
from noisejax.adversarial import L2, Linf

KEY = jax.random.key(0)
W = jnp.array([[1.0, -1.0, 0.0], [0.5, 0.0, -1.0]])
X, Y = jnp.array([[0.5, 0.5], [0.25, 0.5], [0.75, 0.25]]), jnp.array([0, 1, 0])
BALL, L2_BALL, EMBEDDED = Linf(0.1, (0, 1)), L2(0.5, (0, 1)), jnp.ones((3, 4, 2))


def predict(x):
    return x @ W


LOSS = adversarial.untargeted(predict)
GRADIENT = ("fgsm", "bim", "pgd", "mi_fgsm", "ni_fgsm", "adam_pgd")


def gradient(name, **options):
    return lambda value, argument: getattr(adversarial, name)(
        KEY, LOSS, X, BALL, args=(Y,), **options, **{argument: value}
    )


def on_logits(name, threat=L2_BALL):
    return lambda value, argument: getattr(adversarial, name)(KEY, predict, X, Y, threat, **{argument: value})


def on_embeddings(name, function):
    return lambda value, argument: getattr(adversarial, name)(
        KEY, function, EMBEDDED, L2(0.5, None), **{argument: value}
    )


WRONG = {
    **{(name, "step_size"): (gradient(name), (np.nan, -0.1, np.inf, jnp.float32(-1))) for name in GRADIENT},
    **{(name, "decay"): (gradient(name), (np.nan, -0.5, np.inf)) for name in ("mi_fgsm", "ni_fgsm")},
    **{("adam_pgd", b): (gradient("adam_pgd"), (-1e30, 1.0, np.nan, 1.5)) for b in ("b1", "b2")},
    **{(name, "beta"): (on_logits(name), (np.nan, -6, np.array([1, 2, -1.0]))) for name in ("trades", "mart")},
    **{(name, "step_size"): (on_logits(name), (np.nan, -6.0)) for name in ("trades", "mart", "alp", "fmn", "cw")},
    **{(name, "std"): (on_logits(name), (np.nan, -6.0)) for name in ("trades", "mart")},
    ("alp", "weight"): (on_logits("alp"), (np.nan, -0.5)),
    ("cw", "confidence"): (on_logits("cw"), (-5, np.nan, np.inf)),
    ("cw", "initial_const"): (on_logits("cw"), (-5, 0.0, np.nan, np.inf)),
    ("deepfool", "overshoot"): (on_logits("deepfool"), (-0.02, np.nan)),
    ("ddn", "initial_norm"): (on_logits("ddn"), (0.0, -1, np.nan, np.inf)),
    ("ddn", "gamma"): (on_logits("ddn"), (1.0, -0.1, np.nan)),
    ("fmn", "gamma"): (on_logits("fmn"), (1.0, -0.1, np.nan)),
    **{("fab", name): (on_logits("fab"), (0.0, -1, np.nan, np.inf)) for name in ("alpha_max", "beta", "eta")},
    ("fab", "refine"): (on_logits("fab"), (-1, 0.5)),
    ("square", "p_init"): (on_logits("square"), (0.0, 1.5, np.nan)),
    ("vat", "xi"): (on_embeddings("vat", lambda x: x.sum(1)), (0.0, -1, np.nan, np.inf)),
    ("freelb", "magnitude"): (on_embeddings("freelb", lambda x: x.sum((1, 2))), (-1, np.nan)),
    ("freelb", "step_size"): (on_embeddings("freelb", lambda x: x.sum((1, 2))), (-1.0, np.nan)),
    ("smart", "step_size"): (on_embeddings("smart", lambda x: x.sum(1)), (-1.0, np.nan)),
    ("smart", "std"): (on_embeddings("smart", lambda x: x.sum(1)), (-1, np.nan)),
    ("universal", "step_size"): (gradient("universal", batch=3), (-1.0, np.nan)),
    ("universal", "ceiling"): (gradient("universal", batch=3), (np.nan,)),
    ("scale_by_reach", "share"): (lambda value, _: adversarial.scale_by_reach(value), (-0.1, np.nan)),
    ("scale_by_step", "step_size"): (lambda value, _: adversarial.scale_by_step(value), (-0.1, np.nan)),
    ("scale_by_apgd", "steps"): (lambda value, _: adversarial.scale_by_apgd(value), (-1, 0.5)),
    ("scale_by_sparse_apgd", "top"): (lambda value, _: adversarial.scale_by_sparse_apgd(9, value), (0.0, 2, np.nan)),
    ("apgd", "steps"): (lambda value, _: adversarial.apgd(KEY, LOSS, X, BALL, (Y,), steps=value), (-1, 0.5)),
    ("normalized", "std"): (lambda value, _: adversarial.normalized(predict, 0.0, value), (0, np.nan, [1, -1])),
    ("Linf", "eps"): (lambda value, _: Linf(value, None), (np.nan, -1, jnp.float32(-1), jnp.array([1, jnp.nan]))),
    ("L2", "bounds"): (lambda value, _: L2(1.0, value), ((1, 0), (0, np.nan), (jnp.float32(1), jnp.float32(0)))),
}


@pytest.mark.parametrize(("name", "argument"), WRONG, ids="-".join)
def test_amounts_that_make_no_sense_are_refused(name, argument):
    call, values = WRONG[name, argument]
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name}: (every )?{argument} must be"):
            call(value, argument)


@pytest.mark.slow
def test_arguments_of_the_loss_in_the_place_of_the_step_size():
    for name in GRADIENT:
        attack = getattr(adversarial, name)
        for wrong in ((Y,), Y, [Y], (Y, Y)):
            with pytest.raises(TypeError, match=rf"^{name}: step_size .* by name: args=\(labels,\)"):
                attack(KEY, LOSS, X, BALL, wrong)
        assert attack(KEY, LOSS, X, BALL, args=(Y,)).shape == X.shape
    with pytest.raises(TypeError, match=r"^freelb: step_size .* args=\(labels,\)"):
        adversarial.freelb(KEY, lambda x, y: x.sum((1, 2)), EMBEDDED, L2(0.5, None), (Y,))


@pytest.mark.parametrize(
    ("call", "order"),
    [
        (
            lambda: adversarial.pgd(LOSS, KEY, X, BALL, args=(Y,)),
            "pgd: the first arguments must be key, loss, x, threat",
        ),
        (
            lambda: adversarial.pgd(KEY, X, LOSS, BALL, args=(Y,)),
            "pgd: the first arguments must be key, loss, x, threat",
        ),
        (lambda: adversarial.apgd(KEY, LOSS, BALL, X), "apgd: .* must be key, loss, x, threat"),
        (
            lambda: adversarial.fab(KEY, predict, X, BALL, Y),
            "fab: the first arguments must be key, logits_fn, x, labels",
        ),
        (
            lambda: adversarial.square(predict, KEY, X, Y, BALL),
            "square: the first arguments must be key, logits_fn, x,",
        ),
        (lambda: adversarial.trades(predict, KEY, X, Y, BALL), "trades: .* must be key, predict, x,"),
        (
            lambda: adversarial.autoattack(predict, X, Y, BALL, KEY),
            "autoattack: the first arguments must be key, logits",
        ),
    ],
)
def test_arguments_in_another_order(call, order):
    with pytest.raises(TypeError, match=order):
        call()


@pytest.mark.parametrize("output", [lambda z: (z, 0), lambda z: [z], lambda z: {"logits": z}])
def test_a_model_that_returns_more_than_logits(output):
    def model(x):
        return output(predict(x))

    calls = [
        lambda: adversarial.pgd(KEY, adversarial.untargeted(model), X, BALL, args=(Y,)),
        lambda: adversarial.pgd(KEY, adversarial.targeted(model, adversarial.margin), X, BALL, args=(Y,)),
        lambda: adversarial.misclassified(model)(X, Y),
        lambda: adversarial.cross_entropy(model(X), Y),
        lambda: adversarial.trades(KEY, model, X, Y, BALL),
        lambda: adversarial.mart(KEY, model, X, Y, BALL),
        lambda: adversarial.vat(KEY, model, X, BALL),
        lambda: adversarial.fab(KEY, model, X, Y, BALL),
        lambda: adversarial.autoattack(KEY, model, X, Y, BALL),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=r"lambda x: predict\(x\)\[0\]"):
            call()


@pytest.mark.parametrize("eps", ["8/255", b"1", {"eps": 1}, 1j, max])
def test_eps_is_a_number(eps):
    for make in (Linf, L2):
        with pytest.raises(TypeError, match=f"{make.__name__}: eps must be a number or an array of numbers, got"):
            make(eps, (0, 1))
    with pytest.raises(TypeError, match=re.escape("Write 8/255 without quotes")):
        Linf("8/255", (0, 1))


class Net(nnx.Module):
    def __init__(self, layer):
        self.layer, self.out = layer, nnx.Linear(2, 3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.out(self.layer(x))


@pytest.mark.slow
@pytest.mark.parametrize("layer", [nnx.BatchNorm(2, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))])
def test_a_model_in_train_mode(layer):
    model = Net(layer)
    loss = adversarial.untargeted(model)
    calls = [
        lambda: adversarial.pgd(KEY, loss, X, BALL, args=(Y,)),
        lambda: adversarial.fab(KEY, model, X, Y, BALL, steps=2),
        lambda: adversarial.vat(KEY, model, X, BALL),
    ]
    for call in calls:
        model.train()
        with pytest.raises(ValueError, match=r"changes its own state .* model\.eval\(\)"):
            call()
        model.eval()
        assert np.isfinite(call()).all()


@pytest.mark.parametrize("kind", ["both", "one", "mutable"])
@pytest.mark.parametrize("images", [False, True])
def test_eps_beside_leaves_of_the_same_shape_is_ambiguous(kind, images):
    x, eps = jnp.full((3, 2, 2, 3) if images else (3, 3), 0.5), np.array([0.1, 0.2, 0.3])
    bounds = {"both": (np.zeros(3), np.ones(3)), "one": (jnp.zeros(3), 1.0), "mutable": (0, 1)}[kind]
    mutable = np.array([True, True, False]) if kind == "mutable" else None
    with pytest.raises(ValueError, match="number of examples and that of features") as raised:
        L2(eps, bounds, mutable=mutable).project(x, x)
    column = (3, 1, 1, 1) if images else (3, 1)
    assert f"eps.reshape{column}" in str(raised.value)
    found = L2(eps.reshape(column), bounds, mutable=mutable).project(0.5 * x, x)
    np.testing.assert_allclose(L2(1.0, None).norm(found), np.minimum(eps, L2(1.0, None).norm(found)), rtol=1e-5)
    assert (
        Linf(eps[None] if not images else eps[None, None, None], bounds, mutable=mutable).project(x, x).shape == x.shape
    )
    assert L2(eps[:2], bounds, mutable=mutable).project(x[:2], x[:2]).shape == x[:2].shape


@pytest.mark.slow
def test_a_model_that_was_trained_between_two_attacks():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    for attack in (adversarial.fab, adversarial.deepfool, adversarial.vat):
        rest = (L2_BALL,) if attack is adversarial.vat else (Y, L2(2.0, None))
        model.kernel[...] = W * jnp.array([[1.0, 1.0, 3.0]])
        before = attack(KEY, model, X, *rest)
        model.kernel[...] = -W
        np.testing.assert_array_equal(attack(KEY, model, X, *rest), attack(KEY, lambda x: x @ -W, X, *rest))
        assert (before != attack(KEY, model, X, *rest)).any()
