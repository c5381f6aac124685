"""A different weight sample for every example, at the cost of a vector per example instead of a matrix.

Every function here computes a product ``y = x w`` whose weight is ``w + std * E``, where each example has a different
sample E: ``f(key, x, w, std)``. The draws have the size of x or y. Only the key is saved for the backward pass.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax._random import sample
from noisejax._random.stream import along, enter, words, words_like
from noisejax.weights._product import DENSE, Conv, plan


def local_reparam(
    key: jax.Array,
    x: jax.Array,
    w: jax.Array,
    std: Amount,
    *,
    product: str | Conv = DENSE,
    mode: str = "example",
    precision: Any = None,
) -> jax.Array:
    """Gaussian weight noise, drawn at the outputs: ``y = x w + sqrt(x**2 std**2) n``, with n standard normal.

    For a row x and a weight ``w + std * E`` with E standard normal, the outputs are independent normals with this mean
    and variance. So the result has exactly the joint distribution that a different weight sample for each row gives. If
    an example has several rows (time steps, positions of a convolution), each row has its own sample, and the noise at
    different rows is independent. `flipout` shares one sample between the rows of an example.

    Args:
      key: a JAX key.
      x: floats, (B, ..., inputs) for the default product.
      w: the weight, floats of x's dtype: (inputs, outputs) for the default product.
      std: the standard deviation of the noise of each weight, at least 0, broadcastable to w. 0 is the plain product.
        If it does not vary along the summed axes (a scalar, or one value for each output), no second product is
        computed.
      product: the product that the layer computes: an einsum of x and w, or a `Conv`. Static.
      mode: `'example'`, or `'batch'` for one weight sample in the whole call. Static.
      precision: as in `jax.numpy.einsum`. Static.

    Returns:
      The noisy product, in x's dtype.

    References:
      Kingma, Salimans and Welling, "Variational dropout and the local reparameterization trick", NeurIPS 2015.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.weights.local_reparam(jax.random.key(0), jnp.ones((2, 3)), jnp.ones((3, 4)), 0.1)
      >>> y.shape
      (2, 4)
    """
    return _call(_local_reparam, key, x, w, {"std": std}, product=product, mode=mode, precision=precision)


def flipout(
    key: jax.Array,
    x: jax.Array,
    w: jax.Array,
    std: Amount,
    *,
    product: str | Conv = DENSE,
    mode: str = "example",
    precision: Any = None,
) -> jax.Array:
    """Gaussian weight noise, one sample with different signs for each example: ``y = x w + ((x s) (std * E)) r``.

    E is one standard normal sample of w's shape; s and r are random signs for the inputs and outputs of each example.
    The weight of one example has exactly the distribution of ``w + std * E``, and the time steps or positions of an
    example share it. Different examples are uncorrelated but not independent, since they share the absolute values of
    E. A second product is computed.

    Args:
      key: a JAX key.
      x: floats, (B, ..., inputs) for the default product.
      w: the weight, floats of x's dtype: (inputs, outputs) for the default product.
      std: the standard deviation of the noise of each weight, at least 0, broadcastable to w. 0 is the plain product.
      product: the product that the layer computes: an einsum of x and w, or a `Conv`, where each channel has a sign.
        Static.
      mode: `'example'`, or `'batch'` for one weight sample in the whole call. Static.
      precision: as in `jax.numpy.einsum`. Static.

    Returns:
      The noisy product, in x's dtype.

    References:
      Wen et al., "Flipout: efficient pseudo-independent weight perturbations on mini-batches", ICLR 2018.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x, w = jnp.ones((2, 5, 3)), jnp.ones((3, 4, 2))
      >>> nj.weights.flipout(jax.random.key(0), x, w, 0.1, product="nta,ahb->nthb").shape
      (2, 5, 4, 2)
    """
    return _call(_flipout, key, x, w, {"std": std}, product=product, mode=mode, precision=precision)


def noisy_net(
    key: jax.Array,
    x: jax.Array,
    w: jax.Array,
    std: Amount,
    bias: Amount = 0.0,
    bias_std: Amount = 0.0,
    *,
    product: str | Conv = DENSE,
    mode: str = "example",
    precision: Any = None,
) -> jax.Array:
    """Factorised noise: the weight ``w + std * f(e) f(e')`` and the bias ``bias + bias_std * f(e')``.

    e and e' are standard normal for each input and each output of an example, and ``f(e) = sign(e) sqrt(|e|)``. The
    noise of one weight has mean 0 and variance ``std**2 * 2 / pi``; it is not normal.

    Args:
      key: a JAX key.
      x: floats, (B, ..., inputs) for the default product.
      w: the weight, floats of x's dtype: (inputs, outputs) for the default product.
      std: the factor on the noise of each weight, of either sign, broadcastable to w. NoisyNet initializes it to
        ``0.5 / sqrt(inputs)`` and trains it. 0 is the plain product. If it does not vary along the summed axes, no
        second product is computed.
      bias, bias_std: the bias and the factor on its noise, broadcastable to the result. The bias noise uses the factors
        ``f(e')`` of the outputs.
      product: the product that the layer computes: an einsum of x and w, or a `Conv`, where each channel has a factor.
        Static.
      mode: `'example'`, or `'batch'` for one weight sample in the whole call, as in the paper. Static.
      precision: as in `jax.numpy.einsum`. Static.

    Returns:
      The noisy product, in x's dtype.

    References:
      Fortunato et al., "Noisy networks for exploration", ICLR 2018, equations 9 to 11.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x, w, b = jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.zeros(4)
      >>> std = 0.5 / jnp.sqrt(3)
      >>> nj.weights.noisy_net(jax.random.key(0), x, w, std, b, std).shape
      (2, 4)
    """
    amounts = {"std": std, "bias": bias, "bias_std": bias_std}
    return _call(_noisy_net, key, x, w, amounts, product=product, mode=mode, precision=precision)


def low_rank(
    key: jax.Array,
    x: jax.Array,
    w: jax.Array,
    std: Amount,
    *,
    rank: int = 1,
    product: str = DENSE,
    mode: str = "example",
    precision: Any = None,
) -> jax.Array:
    """Low-rank weight noise: ``w + std / sqrt(rank) * A B'``, with A and B standard normal for each example.

    This evaluates the population of an evolution strategy in one product: example i sees member i. The update is
    computed from the factors, which `low_rank_factors` draws again from the key. The same key with ``-std`` gives the
    mirrored population. The noise of one weight has mean 0, variance ``std**2`` and excess kurtosis ``6 / rank``.
    Different weights are uncorrelated.

    Args:
      key: a JAX key.
      x: floats, (B, ..., inputs) for the default product.
      w: the weight, floats of x's dtype: (inputs, outputs) for the default product.
      std: the standard deviation of the noise of each weight, of either sign, broadcastable to w. 0 is the plain
        product. If it does not vary along the summed axes, no second product is computed, otherwise one for each rank.
      rank: the number of columns of A and of B, at most 512. Static.
      product: the product that the layer computes: an einsum of x and w. Static.
      mode: `'example'`, or `'batch'` for one weight sample in the whole call. Static.
      precision: as in `jax.numpy.einsum`. Static.

    Returns:
      The noisy product, in x's dtype.

    References:
      Sarkar et al., "Evolution strategies at the hyperscale", arXiv:2511.16652, 2025 (EGGROLL).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.weights.low_rank(jax.random.key(0), jnp.ones((2, 3)), jnp.ones((3, 4)), 0.1, rank=2).shape
      (2, 4)
    """
    _check_rank("low_rank", rank, product)
    return _call(_low_rank, key, x, w, {"std": std}, product=product, mode=mode, precision=precision, rank=rank)


def low_rank_factors(
    key: jax.Array, x: jax.Array, w: jax.Array, *, rank: int = 1, product: str = DENSE, mode: str = "example"
) -> tuple[jax.Array, jax.Array]:
    """The factors A and B that `low_rank` draws from the same key.

    For a batch of fitness values f and the default product, an evolution strategy estimates the gradient as
    ``einsum('b,bir,bor->io', f, A, B) / (B * std * sqrt(rank))``.

    Args:
      key: the key given to `low_rank`.
      x, w: the arrays given to `low_rank`; only their shapes are read.
      rank, product, mode: the options given to `low_rank`. Static.

    Returns:
      A, of shape (B, inputs, rank), and B, of shape (B, outputs, rank), in float32, for the default product and an x
      with one or more axes besides its inputs. In general A has the example axis of x, the axes that x shares with the
      weight, and the rank as its last axis; B has the same axes of the result. With `'batch'` or for a single example
      there is no example axis.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x, w = jax.random.key(0), jnp.ones((2, 3)), jnp.ones((3, 4))
      >>> a, b = nj.weights.low_rank_factors(key, x, w)
      >>> y = x @ w + 0.1 * jnp.einsum("bi,bir,bor->bo", x, a, b)
      >>> bool(jnp.allclose(y, nj.weights.low_rank(key, x, w, 0.1), atol=1e-5))
      True
    """
    _check_rank("low_rank_factors", rank, product)
    _check_product("low_rank_factors", product)
    _check("low_rank_factors", key, x, w, mode)
    return _factors(key, x, w, rank, product, mode)


@functools.partial(jax.jit, static_argnums=(3, 4, 5), inline=True)
def _factors(key, x, w, rank, product, mode):
    p = plan("low_rank_factors", product, x, w, None)
    y = p.multiply(x, w)  # only its shape and sharding are used, so it is not computed

    def stacked(draw, like, kept):
        columns = jnp.stack([sample.normal(words(key, f"low_rank.{draw}{k}", **like)) for k in range(rank)], axis=-1)
        return lax.squeeze(columns, [axis for axis in range(columns.ndim - 1) if axis not in kept])

    (ins, kept_in), (outs, kept_out) = _inputs(p, x, mode), _outputs(p, y, mode)
    return stacked("in", ins, kept_in), stacked("out", outs, kept_out)


def _local_reparam(key, x, w, y, p, mode, std):
    if mode == "batch":
        return _one_sample("local_reparam", key, x, w, p, std)
    x, outer = x.astype(y.dtype), p.on_outputs(std)
    if outer is not None:  # take the root of x**2 without std, so that a small std does not underflow
        return outer * _root(p.gather(x * x)) * _normal(key, "local_reparam", y)
    variance = p.multiply(x * x, jnp.broadcast_to(std * std, w.shape).astype(y.dtype))
    return _root(variance) * _normal(key, "local_reparam", y)


def _flipout(key, x, w, y, p, mode, std):
    if mode == "batch":
        return _one_sample("flipout", key, x, w, p, std)
    sample = std * _normal(key, "flipout", w, y.dtype)
    signs_in = _signs(words(key, "flipout.in", **_inputs(p, x, mode)[0]), x.dtype)
    signs_out = _signs(words(key, "flipout.out", **_outputs(p, y, mode)[0]), y.dtype)
    return p.multiply(x * signs_in, sample.astype(x.dtype)) * signs_out


def _noisy_net(key, x, w, y, p, mode, std, bias, bias_std):
    a, b = _vectors(key, "noisy_net.in", "noisy_net.out", x, y, p, mode, _signed_root)
    return _rank_one(x, w, y, p, std, a, b) + bias + bias_std * b


def _low_rank(key, x, w, y, p, mode, std, rank):
    total = 0.0
    for k in range(rank):
        a, b = _vectors(key, f"low_rank.in{k}", f"low_rank.out{k}", x, y, p, mode, lambda draw: draw)
        total = total + _rank_one(x, w, y, p, std, a, b)
    return total * (1 / math.sqrt(rank))


def _rank_one(x, w, y, p, std, a, b):
    """The product of x with ``std * a b'``."""
    scaled, outer = x.astype(y.dtype) * a, p.on_outputs(std)
    if outer is not None:
        return outer * p.gather(scaled) * b
    return p.multiply(scaled.astype(x.dtype), jnp.broadcast_to(std, w.shape).astype(x.dtype)) * b


def _vectors(key, tag_in, tag_out, x, y, p, mode, function):
    a = function(sample.normal(words(key, tag_in, **_inputs(p, x, mode)[0])))
    b = function(sample.normal(words(key, tag_out, **_outputs(p, y, mode)[0])))
    return a.astype(y.dtype), b.astype(y.dtype)


def _inputs(p, x, mode) -> tuple[dict, tuple[int, ...]]:
    """The arguments for a draw that varies over examples and the axes shared with the weight, and these axes of x."""
    kept = p.features if mode == "batch" else p.example + p.features
    return along(x, kept), kept


def _outputs(p, y, mode) -> tuple[dict, tuple[int, ...]]:
    kept = p.features_out if mode == "batch" else p.example_out + p.features_out
    return along(y, kept), kept


def _one_sample(tag, key, x, w, p, std):
    sample = std * _normal(key, tag, w, std.dtype)
    return p.multiply(x, sample.astype(x.dtype))


def _normal(key, tag, like, dtype=None):
    into = dtype or like.dtype
    return sample.normal(words_like(key, tag, like), into).astype(into)


def _signs(w: jax.Array, dtype) -> jax.Array:
    return jnp.where(w >> jnp.uint32(31) == 0, 1, -1).astype(dtype)


def _signed_root(draw: jax.Array) -> jax.Array:
    return jnp.sign(draw) * jnp.sqrt(jnp.abs(draw))


def _root(variance: jax.Array) -> jax.Array:
    """The square root with gradient 0 at 0, so that a row of zeros does not give NaN."""
    some = variance > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0)


_finite = _checks.Range("finite", lambda v: abs(v) < float("inf"), "0 is the layer without noise.")


def _call(body: Callable, key, x, w, amounts: dict, *, product, mode, precision, **statics) -> jax.Array:
    name = body.__name__.lstrip("_")
    _check(name, key, x, w, mode)
    _check_product(name, product)
    trained = body in (_noisy_net, _low_rank)  # their factor may become negative, which only mirrors the noise
    ranges = {"std": _finite if trained else _checks.nonnegative, "bias_std": _finite}
    amounts = {n: arithmetic_amount(name, n, v, ranges.get(n, _checks.real)) for n, v in amounts.items()}
    return _compiled(body, product, mode, precision, tuple(statics.items()), key, x, w, amounts)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), inline=True)
def _compiled(body, product, mode, precision, statics, key, x, w, amounts):
    name = body.__name__.lstrip("_")
    p = plan(name, product, x, w, precision)
    y = p.multiply(x, w)
    amounts = {n: jnp.asarray(v).astype(y.dtype) for n, v in amounts.items()}
    for n, amount in amounts.items():
        of, shape = ("w", w.shape) if n == "std" else ("the product of x and w", y.shape)
        amounts[n] = _fit(name, n, amount, of, shape)

    # Remat: the backward pass draws again from the key and saves nothing of the noise.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def noise(key, x, w, amounts):
        return body(key, x, w, y, p, mode, **amounts, **dict(statics))

    return (y + noise(key, x, w, amounts)).astype(x.dtype)


def _fit(name: str, amount: str, value: jax.Array, of: str, shape: tuple[int, ...]) -> jax.Array:
    wide = (1,) * (len(shape) - value.ndim) + value.shape
    if len(wide) > len(shape) or any(a not in (1, b) for a, b in zip(wide, shape, strict=True)):
        raise ValueError(f"{name}: {amount} of shape {value.shape} does not broadcast to {of}, of shape {shape}.")
    return value.reshape(wide)


def _check(name: str, key, x, w, mode: str) -> None:
    key = enter(name, key)
    _checks.array(name, x, _checks.floats)
    if not hasattr(w, "dtype") or w.dtype != x.dtype:
        raise TypeError(f"{name}: w must have x's dtype, {x.dtype}, got {getattr(w, 'dtype', w)}. Cast one of them.")
    _checks.one_of(name, "mode", mode, ("example", "batch"))


def _check_product(name: str, product) -> None:
    if not isinstance(product, (str, Conv)):
        raise TypeError(
            f"{name}: product must be an einsum such as '...i,io->...o', or a Conv, got {_checks.shown(product)}."
        )


_MAX_RANK = 512


def _check_rank(name: str, rank, product) -> None:
    if not isinstance(rank, (int, np.integer)) or rank < 1:
        raise ValueError(f"{name}: rank must be an integer of at least 1, got {rank!r}.")
    if rank > _MAX_RANK:
        raise ValueError(
            f"{name}: rank must be at most {_MAX_RANK}, got {rank}: each is traced by itself, which takes long. The "
            "noise is close to normal long before. For normal noise use flipout, or perturb the weight."
        )
    if isinstance(product, Conv):
        raise TypeError(
            f"{name}: product must be an einsum, got {product!r}. Low-rank noise on a kernel costs one convolution per "
            "example. Use flipout, or noisy_net, which has one factor for each channel."
        )
