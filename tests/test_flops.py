"""What `benchmarks.flops` counts is the arithmetic of a train step: the floors of adversarial training, by hand."""

import doctest
import functools

import jax
import jax.numpy as jnp
import pytest

from benchmarks import flops as module
from benchmarks.flops import flops, overhead
from noisejax import adversarial
from noisejax.adversarial import L2, Linf


def test_docstring_examples_run():
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.slow
def test_the_meter_counts_every_turn_of_a_loop(key):
    n, wide = 64, 128
    params = {"a": jnp.ones((n, wide)), "b": jnp.ones((wide, wide)), "c": jnp.ones((wide, 10))}
    x, y = jnp.ones((n, n)), jnp.zeros(n, jnp.int32)

    def predict(params, x):
        return jnp.tanh(jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"]

    def plain(params):
        return jax.grad(lambda p: adversarial.cross_entropy(predict(p, x), y).mean())(params)

    def trained(params, k):
        def loss(params):
            f = functools.partial(predict, params)
            x_adv = adversarial.pgd(key, adversarial.untargeted(f), x, Linf(0.1, None), args=(y,), steps=k)
            return adversarial.cross_entropy(f(x_adv), y).mean()

        return jax.grad(loss)(params)

    def free(params):
        def loss(params, x, y):
            return adversarial.cross_entropy(predict(params, x), y)

        return adversarial.free_step(loss, params, x, Linf(0.1, None), jnp.zeros_like(x), args=(y,))[1:]

    # A step of weights does not need the gradient in x, which is a share of a backward: floors in this model's units.
    first, rest = 2 * n * n * wide, 2 * n * wide * (wide + 10)
    forward, backward = first + rest, first + 2 * rest
    base = flops(plain, params)
    assert base == pytest.approx(forward + backward, rel=0.1)
    for k in (1, 3):
        floor = k * 2 * (first + rest) + forward + backward
        assert flops(functools.partial(trained, k=k), params) == pytest.approx(floor, rel=0.1)

    def freelb(params):
        loss = adversarial.untargeted(functools.partial(predict, params))
        return adversarial.freelb(key, loss, x, L2(0.1, None), args=(y,), steps=3).mean()

    # One backward for both gradients: that in x comes on top, but for the last of the perturbations.
    floor = 3 * (forward + backward) + 2 * first
    assert flops(jax.grad(freelb), params) == pytest.approx(floor, rel=0.1)
    floor = (forward + backward + first) / (forward + backward)
    assert overhead(free, plain, params) == pytest.approx(floor, rel=0.1)
