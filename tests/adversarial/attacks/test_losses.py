"""Losses of logits against their formulas in NumPy, and what makes a loss of a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from noisejax import adversarial

RNG = np.random.default_rng(2)
Z = RNG.normal(size=(7, 5)).astype(np.float32) * 3
OTHER = RNG.normal(size=(7, 5)).astype(np.float32)
Y = np.array([0, 1, 2, 3, 4, 0, 1])
T = np.array([1, 2, 3, 4, 0, 2, 0])


def identity(x):
    return x


def test_losses_are_their_formulas():
    rows, ordered = np.arange(7), np.sort(Z, axis=1)
    others = np.where(np.eye(5, dtype=bool)[Y], -np.inf, Z).max(1)
    margin = others - Z[rows, Y]
    expected = {
        adversarial.cross_entropy: (-log_softmax(Z, axis=1)[rows, Y], (Y,)),
        adversarial.margin: (margin, (Y,)),
        adversarial.dlr: (margin / (ordered[:, -1] - ordered[:, -3]), (Y,)),
        adversarial.targeted_dlr: (
            (Z[rows, T] - Z[rows, Y]) / (ordered[:, -1] - (ordered[:, -3] + ordered[:, -4]) / 2),
            (Y, T),
        ),
        adversarial.kl: (
            (np.exp(log_softmax(OTHER, axis=1)) * (log_softmax(OTHER, axis=1) - log_softmax(Z, axis=1))).sum(1),
            (OTHER,),
        ),
    }
    compute = {f: lambda z, f=f, a=args: f(z, *a) for f, (_, args) in expected.items()}
    both = jax.jit(lambda z: [(f(z), jax.grad(lambda z, f=f: f(z).sum())(z)) for f in compute.values()])
    for (got, grad), (value, _) in zip(both(Z), expected.values(), strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, value, rtol=2e-5, atol=1e-6)
        assert np.all(np.isfinite(grad))
    certain = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0, 1]] * 1e4
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(both(certain)))


def test_cross_entropy_keeps_its_gradient_where_the_softmax_rounds_to_one():
    sure = jnp.asarray([[30.0, 0.0, -1.0]])
    grad = jax.jit(jax.grad(lambda z: adversarial.cross_entropy(z, np.array([0])).sum()))(sure)[0]
    others = np.exp([-30.0, -31.0])
    np.testing.assert_allclose(grad, [-others.sum(), *others], rtol=1e-5)


@pytest.mark.slow
def test_losses_of_models():
    y, key = jnp.asarray(Y), jax.random.key(0)
    np.testing.assert_array_equal(adversarial.untargeted(identity)(Z, y), adversarial.cross_entropy(Z, y))
    np.testing.assert_array_equal(adversarial.targeted(identity, adversarial.dlr)(Z, y), -adversarial.dlr(Z, y))
    np.testing.assert_array_equal(
        adversarial.untargeted(identity, adversarial.targeted_dlr)(Z, y, T), adversarial.targeted_dlr(Z, y, T)
    )
    noisy = adversarial.untargeted(lambda key, x: x + jax.random.normal(key, x.shape))
    assert not np.allclose(noisy(key, Z, y), adversarial.cross_entropy(Z, y))
    missed = Z.argmax(1) != Y
    np.testing.assert_array_equal(adversarial.misclassified(identity)(Z, y), missed)
    np.testing.assert_array_equal(adversarial.classified_as(identity)(Z, y), ~missed)
    broken = jnp.asarray(Z).at[:, 0].set(jnp.nan)
    for success in (adversarial.misclassified, adversarial.classified_as):
        assert not success(identity)(broken, y).any()
    images = jnp.asarray(RNG.uniform(size=(2, 3, 3, 3)), jnp.float32)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    got = adversarial.normalized(identity, mean, std)(images)
    np.testing.assert_allclose(got, (np.asarray(images) - mean) / std, rtol=1e-5)


def test_a_targeted_attack_reaches_its_target():
    run = jax.jit(
        lambda x, t: adversarial.pgd(
            jax.random.key(0),
            adversarial.targeted(identity),
            x,
            adversarial.L2(30.0, None),
            args=(t,),
            success=adversarial.classified_as(identity),
        )
    )
    np.testing.assert_array_equal(run(Z, T).argmax(1), T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adversarial.dlr(Z[:, :2], Y % 2), "at least 3 classes"),
        (lambda: adversarial.targeted_dlr(Z[:, :3], Y % 3, T % 3), "at least 4 classes"),
        (lambda: adversarial.margin(Z[:, :1], Y * 0), "at least 2 classes"),
        (lambda: adversarial.cross_entropy(Z[0], Y), "logits must have shape"),
        (lambda: adversarial.cross_entropy(Z, jnp.asarray(Y, jnp.float32)), "labels must be integers"),
        (lambda: adversarial.cross_entropy(Z, Y[:3]), r"integers of shape \(7,\)"),
        (lambda: adversarial.targeted_dlr(Z, Y, T + 5), "targets must lie in"),
        (lambda: adversarial.kl(Z, Y), "logits and clean_logits must have one shape"),
        (lambda: adversarial.untargeted(lambda x: x)(Z), "takes logits and 1 more"),
    ],
)
def test_bad_logits_and_labels_say_what_is_wrong(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.slow
def test_log_odds_are_those_of_the_softmax():
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(20, 5)).astype(np.float32), np.arange(20) % 5
    p = np.exp(log_softmax(np.float64(logits), axis=1))[np.arange(20), labels]
    np.testing.assert_allclose(adversarial.log_odds(logits, labels), np.log((1 - p) / p), atol=1e-5)
    ascent = jax.vmap(jax.grad(lambda loss, z, y: loss(z[None], y[None])[0], argnums=1), in_axes=(None, 0, 0))
    np.testing.assert_allclose(
        ascent(adversarial.cross_entropy, logits, labels),
        (1 - p)[:, None] * ascent(adversarial.log_odds, logits, labels),
        atol=1e-5,
    )
    sharp = ascent(adversarial.log_odds, 1e6 * logits, labels)
    assert (np.abs(sharp).max(1) == 1).all()
    with pytest.raises(ValueError, match="log_odds: labels must lie in"):
        adversarial.log_odds(logits, labels + 1)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 1000, 1e6])
@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "mi_fgsm", "ni_fgsm", "apgd", "ddn"])
def test_the_scale_of_the_logits_hides_no_gradient(key, name, scale):
    """A linear model with margins of up to 1: the attack finds what it finds at scale 1."""
    w = np.float32([[1, -1, 0.5], [0.25, 1, -1]])
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(32, 2)), jnp.float32)
    y = jnp.argmax(x @ w, axis=1)

    def found(scale, loss=None):
        def predict(x):
            return scale * (x @ w)

        if name == "ddn":
            x_adv = adversarial.ddn(key, predict, x, y, adversarial.L2(0.3, (0, 1)))
        else:
            goal = adversarial.untargeted(predict, loss)
            x_adv = getattr(adversarial, name)(key, goal, x, adversarial.Linf(0.2, (0, 1)), args=(y,))
        return adversarial.misclassified(predict)(x_adv, y)

    wrong = jax.jit(found)(jnp.float32(scale))
    assert 0 < wrong.sum() < 32
    assert wrong.sum() >= found(1).sum()
    if scale == 1e6 and name != "ddn":
        published = jax.jit(lambda scale: found(scale, adversarial.cross_entropy))(jnp.float32(scale))
        assert published.sum() < wrong.sum()
        with pytest.warns(UserWarning, match=f"{name}: every gradient of the loss is 0 for .* log_odds"):
            found(scale, adversarial.cross_entropy)


@pytest.mark.slow
def test_only_attacks_of_one_key_climb_another_form(key):
    """A mean over keys, a training loss and a transform that sees the scale keep the cross-entropy itself."""
    x, y = jnp.array([[0.5, 0.25]]), jnp.array([0])
    loss = adversarial.untargeted(lambda x: x)
    assert loss(x, y) == adversarial.cross_entropy(x, y)
    assert adversarial.targeted(lambda x: x)(x, y) == -adversarial.cross_entropy(x, y)
    noisy = adversarial.untargeted(lambda key, x: x * jnp.float32(1e4))
    with pytest.warns(UserWarning, match="pgd: every gradient of the loss is 0"):
        adversarial.pgd(key, noisy, x, adversarial.Linf(0.01, None), args=(y,), eot=2)
    sharp = adversarial.untargeted(lambda x: x * jnp.float32(1e4))
    with pytest.warns(UserWarning, match="adam_pgd: every gradient of the loss is 0"):
        adversarial.adam_pgd(key, sharp, x, adversarial.Linf(0.01, None), args=(y,))
