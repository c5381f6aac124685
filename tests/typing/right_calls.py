"""Calls that a type checker must accept, with the types of their results. Never run, except by pyright."""

from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np
import optax

import noisejax as nj
from noisejax import adversarial

key, x = jax.random.key(0), jnp.ones((8, 3))
series = nj.Padded(x, jnp.full(8, 2))

assert_type(nj.gaussian(key, x, 0.1), jax.Array)
assert_type(nj.gaussian(key, x, std=jnp.linspace(0, 1, 8)[:, None]), jax.Array)
assert_type(nj.gaussian(key, np.ones((8, 3)), np.float32(0.1)), jax.Array)
assert_type(nj.gaussian(key, series, 0.1), nj.Padded)
assert_type(nj.gaussian(key, x, 0.1, where=x > 0, lengths=np.full(8, 2)), jax.Array)
assert_type(nj.dropout(key, x, 0.1, broadcast_dims=(0,)), jax.Array)
assert_type(nj.image.cutout(key, jnp.ones((8, 32, 32, 3)), 8.0), jax.Array)
assert_type(nj.patch_dropout(key, series, rate=0.5), nj.Padded)

noise = nj.chain(
    nj.bind(nj.gaussian, 0.1),
    nj.bind(nj.gaussian, std=nj.scheduled(optax.linear_schedule(0.0, 0.1, 10))),
    nj.sometimes(nj.bind(nj.mask, rate=0.1, fill=-1.0), 0.5),
    nj.choose(nj.bind(nj.laplace, scale=0.1), nj.keyless(jnp.sign)),
    nj.learnable(nj.bind(nj.dropout, rate=0.1, broadcast_dims=(0,))),
)
assert_type(noise, nj.Noise)
noisy = jax.jit(noise)(key, x)
batch = nj.chain(nj.on_entries((noise, None)), nj.bind(nj.mixup, alpha=0.2, num_classes=10))
both = nj.at_step(batch, 3)(key, (x, jnp.zeros(8, int)))
std = jax.grad(lambda std: nj.bind(nj.gaussian, std=std)(key, x).sum())(0.1)


def loss(x: jax.Array, y: jax.Array) -> jax.Array:
    return (x - y).sum(-1)


found = adversarial.pgd(key, loss, x, adversarial.Linf(0.1, bounds=(0, 1)), args=(x,), steps=3)
