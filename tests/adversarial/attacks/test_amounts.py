"""Amounts of attacks and training losses: one number, or one for each example; ids; what else is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisejax import adversarial
from noisejax.adversarial import L2, Linf

KEY = jax.random.key(0)
W = jnp.array([[1.0, -1.0, 0.0], [0.5, 0.0, -1.0]])
X, Y = jnp.array([[0.5, 0.4], [0.25, 0.5], [0.75, 0.25]]), jnp.array([0, 1, 0])
EMBEDDED = jnp.linspace(0.1, 0.9, 24).reshape(3, 4, 2)
BALL = L2(2.0, None)


def predict(x):
    return x @ W


def bent(x):
    return jnp.tanh(x @ W)


def on_logits(name, predict=predict, threat=BALL, **options):
    return lambda **amount: getattr(adversarial, name)(KEY, predict, X, Y, threat, **options, **amount)


def on_embeddings(name, function, threat=BALL, **options):
    return lambda **amount: getattr(adversarial, name)(KEY, function, EMBEDDED, threat, **options, **amount)


def moved(**amount):
    images = jnp.linspace(0, 1, 75).reshape(3, 5, 5)
    amounts = {"angle": 20.0, "shift": 1.0} | amount
    return adversarial.spatial(KEY, lambda x: x[:, 1, 2], images, **amounts, grid=(3, 3, 3))


def summed(x):
    return x.sum((1, 2)) ** 2


def pooled(x):
    return x.mean(1) @ W


FREELB = on_embeddings("freelb", summed, steps=2)
SMART = on_embeddings("smart", pooled, step_size=0.01)
VAT = on_embeddings("vat", pooled)
FEW = {"steps": 3}
PER_EXAMPLE = {
    ("deepfool", "overshoot"): (on_logits("deepfool"), [0.02, 0.5, 0.1]),
    ("cw", "initial_const"): (on_logits("cw", steps=30, searches=1, step_size=0.05), [0.5, 9.0, 1.0]),
    ("cw", "confidence"): (on_logits("cw", steps=30, searches=2, initial_const=9.0, step_size=0.1), [0.0, 0.5, 0.25]),
    ("ddn", "initial_norm"): (on_logits("ddn", **FEW), [0.25, 1.0, 2.0]),
    ("ddn", "gamma"): (on_logits("ddn", steps=9), [0.05, 0.25, 0.5]),
    ("fmn", "gamma"): (on_logits("fmn", predict=bent, steps=4), [0.05, 0.25, 0.5]),
    ("trades", "beta"): (on_logits("trades", **FEW), [1.0, 6.0, 2.0]),
    ("trades", "std"): (on_logits("trades", steps=0), [0.25, 0.5, 1.0]),
    ("mart", "std"): (on_logits("mart", steps=0), [0.25, 0.5, 1.0]),
    ("alp", "weight"): (on_logits("alp", **FEW), [1.0, 6.0, 2.0]),
    ("vat", "xi"): (VAT, [0.5, 1.0, 4.0]),
    ("smart", "std"): (SMART, [0.25, 0.5, 1.0]),
    ("freelb", "magnitude"): (FREELB, [0.25, 0.5, 1.0]),
    ("spatial", "angle"): (moved, [10.0, 20.0, 40.0]),
    ("spatial", "shift"): (moved, [1.0, 2.0, 0.5]),
}
SHARED = {
    ("cw", "step_size"): on_logits("cw"),
    ("fab", "alpha_max"): on_logits("fab"),
    ("fab", "beta"): on_logits("fab"),
    ("fab", "eta"): on_logits("fab"),
    ("square", "p_init"): on_logits("square"),
    ("spatial", "fill"): moved,
    ("scale_by_reach", "share"): adversarial.scale_by_reach,
    ("scale_by_apgd", "rho"): lambda rho: adversarial.scale_by_apgd(5, rho),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "argument"), PER_EXAMPLE, ids="-".join)
def test_an_amount_for_each_example_is_that_of_the_example(name, argument):
    call, values = PER_EXAMPLE[name, argument]
    together = call(**{argument: np.array(values, np.float32)})
    alone = [call(**{argument: value}) for value in values[:2]]
    for row in (0, 1):
        np.testing.assert_allclose(together[row], alone[row][row], rtol=1e-5, atol=1e-6)
    assert np.abs(alone[0] - alone[1]).max() > 1e-4  # the amount matters


@pytest.mark.parametrize(("name", "argument"), [*PER_EXAMPLE, *SHARED], ids="-".join)
def test_amounts_of_a_wrong_shape_are_refused(name, argument):
    call = SHARED[name, argument] if (name, argument) in SHARED else PER_EXAMPLE[name, argument][0]
    wrong = [np.full(shape, 0.5, np.float32) for shape in ((0,), (7,), (2, 2), (3, 1))]
    for value in [*wrong, [0.5], "0.5", np.array(["0.5"]), *([] if argument == "xi" else [None])]:
        with pytest.raises((TypeError, ValueError), match=rf"^{name}: {argument} must "):
            call(**{argument: value})


@pytest.mark.slow
def test_amounts_in_eight_bits():
    small = jnp.float8_e4m3fn(0.5)
    for (name, argument), (call, _) in PER_EXAMPLE.items():
        if name in ("ddn", "freelb", "trades"):
            np.testing.assert_array_equal(call(**{argument: small}), call(**{argument: 0.5}))
    tx, x = adversarial.scale_by_apgd(5, jnp.float8_e4m3fn(0.75)), jnp.zeros((1, 2))
    extra = {"value": jnp.zeros(1), "x": x, "threat": Linf(0.5, None)}
    assert tx.update(jnp.array([[0.25, -2.0]]), tx.init(x), x, **extra)[0].tolist() == [[-0.5, 0.5]]


@pytest.mark.slow
def test_counts_of_other_integer_types():
    same = on_logits("fab", steps=3)
    np.testing.assert_array_equal(same(refine=np.uint8(2)), same(refine=2))


def test_a_share_of_features_is_known_when_traced():
    with pytest.raises(TypeError, match=r"scale_by_sparse_apgd: top must be one number, got .* static"):
        jax.jit(lambda top: adversarial.scale_by_sparse_apgd(5, top).init(X))(0.5)


WITH_IDS = {
    "pgd": lambda **given: adversarial.pgd(KEY, summed, EMBEDDED, BALL, **given),
    "apgd": lambda **given: adversarial.apgd(KEY, summed, EMBEDDED, BALL, steps=2, **given),
    "spatial": moved,
    "freelb": FREELB,
    "smart": SMART,
    "vat": VAT,
    **{name: on_logits(name) for name in ("ddn", "fmn", "fab", "square", "trades", "mart")},
}


@pytest.mark.parametrize("name", WITH_IDS)
def test_ids_that_do_not_fit_are_named_by_the_function(name):
    for ids in (np.arange(4), np.arange(3)[:, None], np.int32(1)):
        with pytest.raises(ValueError, match=rf"^{name}: ids must be integers of shape \(3,\), one for each .* of x"):
            WITH_IDS[name](ids=ids)
    for ids in (np.ones(3), "abc"):
        with pytest.raises(TypeError, match=rf"^{name}: ids must "):
            WITH_IDS[name](ids=ids)


def test_ids_of_draws_from_a_threat():
    for draw in ("sample", "boundary"):
        with pytest.raises(ValueError, match=rf"^{draw}: ids must be integers of shape \(3,\)"):
            getattr(BALL, draw)(KEY, X, np.arange(2))


@pytest.mark.parametrize("name", ["trades", "mart", "alp"])
def test_labels_that_do_not_fit_are_named_by_the_training_loss(name):
    loss = getattr(adversarial, name)
    for labels in (Y[:, None], Y.astype(jnp.float32), np.array([0, 1, 3])):
        with pytest.raises((TypeError, ValueError), match=rf"^{name}: labels must "):
            loss(KEY, predict, X, labels, BALL)
    with pytest.raises(ValueError, match=rf"^{name}: logits must have shape \(B, classes\)"):
        loss(KEY, lambda x: x[:, 0], X, Y, BALL)


def test_outputs_that_are_no_logits_are_named_by_the_loss_without_labels():
    for name in ("vat", "smart"):
        for function in (summed, lambda x: x):
            with pytest.raises(ValueError, match=rf"^{name}: logits must have shape \(B, classes\)"):
                getattr(adversarial, name)(KEY, function, EMBEDDED, BALL)


def test_a_start_must_fit_x():
    for start in (np.zeros(7), np.zeros((3, 3)), "far"):
        with pytest.raises((TypeError, ValueError), match=r"^pgd: start "):
            adversarial.pgd(KEY, lambda x: x.sum(-1), X, BALL, start=start)


@pytest.mark.slow
def test_losses_that_give_no_number_for_each_example():
    def step(loss):
        return adversarial.free_step(lambda w, x: loss(x), W, X, BALL, jnp.zeros_like(X))

    calls = {
        "pgd": lambda loss: adversarial.pgd(KEY, loss, X, BALL),
        "gradient_alignment": lambda loss: adversarial.gradient_alignment(KEY, loss, X, BALL),
        "free_step": step,
        "freelb": lambda loss: adversarial.freelb(KEY, lambda x: loss(x[:, 0]), EMBEDDED, BALL),
    }
    for name, call in calls.items():
        for loss in (jnp.sum, lambda x: x, lambda x: jnp.ones(7)):
            with pytest.raises(ValueError, match=f"^{name}: the loss must give one number for each example of x"):
                call(loss)


def test_parameters_of_a_free_step():
    def step(params):
        return adversarial.free_step(lambda w, x: jnp.sum(x, axis=-1), params, X, BALL, jnp.zeros_like(X))

    for params in ({"w": 1}, {"w": "a"}, np.ones(2, ">f4"), {"w": np.ones(2, np.int32)}):
        with pytest.raises(TypeError, match=r"^free_step: params must "):
            step(params)
    assert step({"w": np.ones(2, np.float32)})[1]["w"].shape == (2,)
