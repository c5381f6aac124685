"""Calls that a type checker must refuse. Never run: `test_pyright.py` reads what pyright says of each marked line.

A mark is a comment that names the fault. The word after its colon must be part of the error.
"""

import functools

import jax
import jax.numpy as jnp

import noisejax as nj
from noisejax import adversarial

key, x = jax.random.key(0), jnp.ones((8, 3))

nj.gaussian(key, x)  # missing amount: std
nj.gaussian(key, x, sigma=0.1)  # misspelt amount: sigma
nj.gaussian(key, x, "loud")  # wrong type of amount: Literal
nj.gaussian(key, x, std="loud")  # wrong type of amount: Literal
nj.gaussian(key, x, 0.1, length=8)  # misspelt padding: length
nj.dropout(key, x, 0.1, broadcast_dim=(0,))  # misspelt option: broadcast_dim
nj.mask(key, x, 0.1, 0.0, groups="all")  # wrong type of option: Literal
nj.uniform(key, x, scale=0.1)  # misspelt amount: scale
nj.image.cutout(key, x, sise=3.0)  # misspelt amount: sise
nj.signal.time_mask(key, x)  # missing amount: width
nj.labels.flip(key, jnp.zeros(3, int), 0.1)  # missing option: num_classes
nj.weights.relative_gaussian(key, x)  # missing amount: std
nj.mixup(key, (x, x), alfa=0.2)  # misspelt amount of a batch noise: alfa

nj.bind(nj.gaussian)  # missing amount in bind: std
nj.bind(nj.gaussian, sigma=0.1)  # misspelt amount in bind: sigma
nj.bind(nj.gaussian, std="loud")  # wrong type of amount in bind: Literal
nj.bind(nj.dropout, rate=0.1, broadcast_dim=(0,))  # misspelt option in bind: broadcast_dim
nj.bind(nj.image.grid_mask, rat=0.1)  # misspelt amount in bind: rat
nj.bind(nj.mixup, alpha=0.2, num_class=10)  # misspelt option of a batch noise in bind: num_class
nj.bind(nj.gaussian, std=lambda step: 0.1 * step)  # a schedule without `scheduled`: std

nj.gausian(key, x, 0.1)  # misspelt noise: gausian
nj.image.cutot(key, x, 3.0)  # misspelt noise in a module: cutot


def loss(x: jax.Array) -> jax.Array:
    return x.sum(-1)


threat = adversarial.Linf(0.1, bounds=(0, 1))
adversarial.pgd(key, loss, x, threat, step=3)  # misspelt option of pgd: step
adversarial.pgd(key, loss, x, threat, restart=3)  # misspelt option of pgd: restart
adversarial.pgd(key, loss, x, threat, steps="many")  # wrong type of an option of pgd: Literal
adversarial.pgd(key, loss, x)  # missing threat of pgd: threat
functools.partial(adversarial.pgd, steps="many")  # wrong type in partial: Literal
