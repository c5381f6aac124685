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
        (lambda: adversarial.kl(Z, Y), "both logits"),
        (lambda: adversarial.untargeted(lambda x: x)(Z), "takes logits and 1 more"),
    ],
)
def test_bad_logits_and_labels_say_what_is_wrong(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
