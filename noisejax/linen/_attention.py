"""Dropout on attention probabilities, for the `attention_fn` of `flax.linen.MultiHeadDotProductAttention`."""

from typing import Any

import flax.linen as nn
import jax
from flax.linen.attention import dot_product_attention_weights
from flax.linen.dtypes import promote_dtype

from noisejax import _checks
from noisejax._contract import Amount
from noisejax._layers import attention
from noisejax.linen._layer import NoiseModule


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    broadcast_dropout: bool = True,
    dropout_rng: jax.Array | None = None,
    dropout_rate: Amount = 0.0,
    deterministic: bool = False,
    dtype: Any = None,
    precision: Any = None,
    module: nn.Module | None = None,
    force_fp32_for_softmax: bool = False,
) -> jax.Array:
    """Attention with dropout on the probabilities; a replacement for `flax.linen.dot_product_attention`.

    The rate may be traced. `noisejax.fused.attention` computes it by blocks, so that neither probabilities nor masks of
    all pairs are stored. Layers that sow their attention weights store them, and so does a rate that is no scalar. A
    query that sees no key gives zeros, where Flax gives the mean of all values.

    Args:
      query, key, value: (batch..., length, heads, features).
      bias, mask: broadcastable to (batch..., heads, queries, keys).
      broadcast_dropout: whether all examples and heads share one draw.
      dropout_rng: a JAX key.
      dropout_rate: the probability that an attention weight is dropped, in [0, 1]; traced values are clamped.
      deterministic: True for no noise.
      dtype, precision, module, force_fp32_for_softmax: as in `flax.linen.dot_product_attention`.

    Returns:
      (batch..., queries, heads, features).

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = nn.MultiHeadDotProductAttention(
      ...     2, dropout_rate=0.1, deterministic=False, attention_fn=njl.dot_product_attention)
      >>> y, _ = layer.init_with_output(jax.random.key(0), jnp.ones((3, 5, 4)))
      >>> y.shape
      (3, 5, 4)
    """
    flags = {"broadcast_dropout": broadcast_dropout, "deterministic": deterministic}
    attention.check("dot_product_attention", query, key, value, bias, mask, **flags)
    rate, silent = attention.rate_of("dot_product_attention", dropout_rate, dropout_rng, deterministic)
    query, key, value = promote_dtype(query, key, value, dtype=dtype)
    if module is None and rate.ndim == 0:
        return attention.fused(
            None if silent else dropout_rng,
            query,
            key,
            value,
            0.0 if silent else rate,
            bias,
            mask,
            broadcast=bool(broadcast_dropout),
            precision=precision,
        )
    static = {"dtype": query.dtype, "precision": precision, "module": module, "deterministic": True}
    static["force_fp32_for_softmax"] = force_fp32_for_softmax
    weights = dot_product_attention_weights(query, key, bias, mask, **static)
    if not silent:
        weights = attention.drop(dropout_rng, weights, rate, bool(broadcast_dropout))
    return attention.attend(weights, value, precision)


class AttentionDropout(NoiseModule):
    """Dropout on attention probabilities as a layer, with a rate that may be traced.

    Pass it to `flax.linen.MultiHeadDotProductAttention` as its `attention_fn`, and leave that layer's own
    `dropout_rate` at 0. Then pass `deterministic` to the constructor of this layer. It can also be called on
    (query, key, value).

    Attributes:
      rate: the probability that an attention weight is dropped, in [0, 1]; traced values are clamped.
      broadcast: whether all examples and heads share one draw, as in Flax by default.
      deterministic: True for no noise.
      rng_collection: the name of the collection of rngs that gives the key.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, noisejax.linen as njl
      >>> dropout = njl.AttentionDropout(0.1, deterministic=False)
      >>> layer = nn.MultiHeadDotProductAttention(2, attention_fn=dropout)
      >>> y, _ = layer.init_with_output(jax.random.key(0), jnp.ones((3, 5, 4)))
      >>> y.shape
      (3, 5, 4)
    """

    rate: Amount
    broadcast: bool = True
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(
        self,
        query,
        key,
        value,
        bias=None,
        mask=None,
        *,
        rng=None,
        dropout_rate=None,
        deterministic=None,
        dtype=None,
        precision=None,
        module=None,
        force_fp32_for_softmax=False,
    ):
        if dropout_rate:
            raise ValueError(
                f"AttentionDropout: the attention layer has a dropout_rate of its own, {dropout_rate!r}. Set it to 0, "
                "or keep it and pass attention_fn=njl.dot_product_attention."
            )
        if dropout_rate is not None:  # called by an attention layer whose own dropout is off: ignore its flag
            deterministic = None
        drawn = self._key(deterministic, rng, 1 if self.has_variable("amounts", "rate") else self.rate)
        return dot_product_attention(
            query,
            key,
            value,
            bias,
            mask,
            broadcast_dropout=_checks.flag("AttentionDropout", "broadcast", self.broadcast),
            dropout_rng=drawn,
            dropout_rate=self._amount("rate", {"rate": _checks.rate}),
            deterministic=drawn is None,
            dtype=dtype,
            precision=precision,
            module=module,
            force_fp32_for_softmax=force_fp32_for_softmax,
        )
