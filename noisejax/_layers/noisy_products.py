"""Per-example weight noise inside existing layers: noisy replacements for the products that they call."""

import functools
import string
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks, weights
from noisejax._calls.arguments import arithmetic_amount
from noisejax._checks import Range, one_of
from noisejax._padded import is_padded
from noisejax._random import sample
from noisejax._random.stream import words

METHODS = {
    "flipout": weights.flipout,
    "local_reparam": weights.local_reparam,
    "low_rank": weights.low_rank,
    "noisy_net": weights.noisy_net,
}


def check_method(function: str, method: str, mode: str) -> None:
    one_of(function, "method", method, tuple(METHODS))
    one_of(function, "mode", mode, ("example", "batch"))


_sigma = Range("at least 0 and finite", lambda v: (v >= 0) & (v < float("inf")), "0 is a layer without noise.")


def check_sigma(sigma: Any) -> Any:
    """NoisyNet's sigma_0, a number in float32 or Python's own; a traced one is unchecked."""
    checked = arithmetic_amount("NoisyLinear", "sigma", sigma, _sigma)
    if np.shape(checked) != ():
        raise TypeError(f"NoisyLinear: sigma must be a number, got {_checks.shown(sigma)}. The paper uses 0.5.")
    if isinstance(sigma, (int, float)):
        return sigma
    return checked.astype(jnp.float32) if isinstance(checked, jax.Array) else checked


def check_inputs(function: str, inputs: Any) -> None:
    """Requires an array: a product has no use for lengths."""
    if is_padded(inputs):
        raise TypeError(
            f"{function}: inputs must be an array, got a Padded, whose lengths a product would not use. Apply the "
            "layer to its values: x.with_values(layer(x.values))."
        )
    _checks.array(function, inputs, _checks.numbers, "inputs")


def dot_general(method: str, key, std: jax.Array, mode: str) -> Callable:
    """A noisy replacement for `jax.lax.dot_general` of inputs and a kernel."""

    def product(x, w, dimension_numbers, precision=None, preferred_element_type=None, out_sharding=None):
        (contract_x, contract_w), (batch_x, batch_w) = dimension_numbers
        letters = iter(string.ascii_letters)
        in_x = [next(letters) for _ in range(x.ndim)]
        in_w = [""] * w.ndim
        for a, b in zip((*contract_x, *batch_x), (*contract_w, *batch_w), strict=True):
            in_w[b] = in_x[a]
        in_w = [label or next(letters) for label in in_w]
        free_x = [label for axis, label in enumerate(in_x) if axis not in (*contract_x, *batch_x)]
        free_w = [label for axis, label in enumerate(in_w) if axis not in (*contract_w, *batch_w)]
        out = [*(in_x[axis] for axis in batch_x), *free_x, *free_w]
        spec = f"{''.join(in_x)},{''.join(in_w)}->{''.join(out)}"
        return _laid_out(METHODS[method](key, x, w, std, product=spec, mode=mode, precision=precision), out_sharding)

    return product


def einsum(method: str, key, std: jax.Array, mode: str) -> Callable:
    """A noisy replacement for `jax.numpy.einsum` of inputs and a kernel."""

    def product(spec, x, w, *, precision=None, preferred_element_type=None, out_sharding=None):
        return _laid_out(METHODS[method](key, x, w, std, product=spec, mode=mode, precision=precision), out_sharding)

    return product


def conv_general_dilated(method: str, key, std: jax.Array, mode: str) -> Callable:
    """A noisy replacement for `jax.lax.conv_general_dilated` as Flax's convolutions call it, channels last."""

    def product(
        x,
        w,
        strides,
        padding,
        *,
        lhs_dilation,
        rhs_dilation,
        dimension_numbers,
        feature_group_count=1,
        precision=None,
        preferred_element_type=None,
        out_sharding=None,
    ):
        conv = weights.Conv(
            strides=tuple(strides),
            padding=padding if isinstance(padding, str) else tuple(tuple(pair) for pair in padding),
            input_dilation=tuple(lhs_dilation),
            kernel_dilation=tuple(rhs_dilation),
            feature_group_count=feature_group_count,
        )
        return _laid_out(METHODS[method](key, x, w, std, product=conv, mode=mode, precision=precision), out_sharding)

    return product


def dropped(product: Callable | None, key, rate: jax.Array) -> Callable:
    """A `dot_general` that drops connections of its kernel."""

    def drop(x, w, *arguments: Any, **keywords: Any):
        return (product or lax.dot_general)(x, weights.drop_connect(key, w, rate), *arguments, **keywords)

    return drop


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def uniform_start(key, shape: tuple[int, ...], bound: float, dtype: Any) -> jax.Array:
    """Initial values of NoisyNet's means: uniform on [-bound, bound]."""
    return (bound * sample.symmetric_uniform(words(key, "noisy_linear", shape))).astype(dtype)


def _laid_out(y: jax.Array, out_sharding: Any) -> jax.Array:
    return y if out_sharding is None else jax.sharding.reshard(y, out_sharding)
