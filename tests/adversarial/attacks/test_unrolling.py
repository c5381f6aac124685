"""Attacks through convolutions are unrolled on CPUs, where XLA's convolutions are slow inside loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisejax import adversarial

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(3, 6, 6, 2)), jnp.float32)
Y = jnp.array([0, 1, 2])
KERNEL = jnp.asarray(RNG.standard_normal((3, 3, 2, 3)), jnp.float32)
EACH = jnp.asarray(RNG.standard_normal((3, 3, 1, 2)), jnp.float32)
DENSE = jnp.asarray(RNG.standard_normal((72, 3)), jnp.float32)
on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="a loop is as fast on other devices")


def convolved(x, kernel, **options):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=layout, **options)


def strided(x):
    return convolved(x, KERNEL).mean((1, 2))


def depthwise(x):
    return convolved(x, EACH, feature_group_count=2).mean((1, 2)) @ jnp.ones((2, 3))


def dense(x):
    return x.reshape(len(x), -1) @ DENSE


def pgd(key, predict, **options):
    loss, threat = adversarial.untargeted(predict), adversarial.Linf(0.1, (0, 1))
    return adversarial.pgd(key, loss, X, threat, args=(Y,), **options)


def scans(function):
    """The length and the unrolled steps of each scan over the steps of an attack."""
    equations = jax.make_jaxpr(function)().jaxpr.eqns
    return [(e.params["length"], int(e.params["unroll"])) for e in equations if e.primitive.name == "scan"]


@on_cpu
@pytest.mark.parametrize(
    ("predict", "options", "expected"),
    [
        (strided, {"steps": 4}, (4, 4)),
        (jax.jit(strided), {"steps": 4}, (4, 4)),
        (jax.checkpoint(strided), {"steps": 100}, (100, 100)),
        (strided, {"steps": 101}, (101, 1)),
        (strided, {"steps": 4, "unroll": 1}, (4, 1)),
        (strided, {"steps": 4, "unroll": 2}, (4, 2)),
        (strided, {"steps": 4, "restarts": 2}, (4, 4)),
        (depthwise, {"steps": 4}, (4, 1)),
        (dense, {"steps": 4}, (4, 1)),
        (dense, {"steps": 4, "unroll": 4}, (4, 4)),
    ],
)
def test_steps_are_unrolled_where_the_loss_convolves(predict, options, expected, key):
    assert scans(lambda: pgd(key, predict, **options)) == [expected]


@on_cpu
def test_auto_pgd_and_minimum_norm_attacks_do_the_same(key):
    loss, threat = adversarial.untargeted(strided), adversarial.L2(1.0, (0, 1))
    assert scans(lambda: adversarial.apgd(key, loss, X, threat, args=(Y,), steps=5)) == [(5, 5)]
    for attack in (adversarial.ddn, adversarial.fmn):
        assert (5, 5) in scans(lambda attack=attack: attack(key, strided, X, Y, threat, steps=5))
        assert (5, 1) in scans(lambda attack=attack: attack(key, strided, X, Y, threat, steps=5, unroll=1))
    assert (3, 3) in scans(lambda: adversarial.vat(key, strided, X, threat, steps=3))


@pytest.mark.slow
def test_the_result_is_that_of_the_loop(key):
    np.testing.assert_allclose(
        pgd(key, strided, steps=4, restarts=2), pgd(key, strided, steps=4, restarts=2, unroll=1), atol=1e-6
    )


@on_cpu
def test_the_device_decides(key, monkeypatch):
    def traced():
        threat = adversarial.Linf(0.1, None)
        return scans(lambda: adversarial.pgd(key, adversarial.untargeted(strided), X + 0, threat, args=(Y,), steps=4))

    assert traced() == [(4, 4)]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert traced() == [(4, 1)]
