"""Dropout on attention probabilities, for the `attention_fn` of `nnx.MultiHeadAttention`."""

import inspect
from typing import Any, ClassVar

import jax
from flax import nnx
from flax.nnx.nn.attention import dot_product_attention_weights
from flax.nnx.nn.dtypes import promote_dtype

from noisejax import _checks
from noisejax._layers import attention
from noisejax.nnx._layer import NoiseLayer, Streams

_KEYWORDS = {"is_causal", *inspect.signature(dot_product_attention_weights).parameters}


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    broadcast_dropout: bool = True,
    dropout_rng: jax.Array | None = None,
    dropout_rate: float | jax.Array = 0.0,
    deterministic: bool = False,
    dtype: Any = None,
    precision: Any = None,
    module: nnx.Module | None = None,
    **keywords: Any,
) -> jax.Array:
    """Attention with dropout on the probabilities; a replacement for `nnx.dot_product_attention`.

    It takes the same arguments, and the rate may be traced. `noisejax.fused.attention` computes it by blocks, so that
    neither probabilities nor masks of all pairs are stored. Layers that sow their attention weights store them, and so
    does a rate that is no scalar. A query
    that sees no key gives zeros, where Flax gives the mean of all values.

    Args:
      query, key, value: (batch..., length, heads, features).
      bias, mask: broadcastable to (batch..., heads, queries, keys).
      broadcast_dropout: whether all examples and heads share one draw.
      dropout_rng: a JAX key.
      dropout_rate: the probability that an attention weight is dropped, in [0, 1]; traced values are clamped.
      deterministic: True for no noise.
      dtype, precision, module, **keywords: as in `nnx.dot_product_attention`.

    Returns:
      (batch..., queries, heads, features).

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> attention = nnx.MultiHeadAttention(
      ...     2, 4, dropout_rate=0.1, attention_fn=njx.dot_product_attention, deterministic=False, decode=False,
      ...     rngs=nnx.Rngs(0))
      >>> attention(jnp.ones((3, 5, 4))).shape
      (3, 5, 4)
    """
    if unknown := sorted(keywords.keys() - _KEYWORDS):
        raise TypeError(
            f"dot_product_attention: got an unexpected keyword argument {unknown[0]!r}. The arguments are those of "
            "nnx.dot_product_attention."
        )
    flags = {"broadcast_dropout": broadcast_dropout, "deterministic": deterministic}
    attention.check("dot_product_attention", query, key, value, bias, mask, **flags)
    rate, silent = attention.rate_of("dot_product_attention", dropout_rate, dropout_rng, deterministic)
    promote = keywords.get("promote_dtype", promote_dtype)
    query, key, value = promote((query, key, value), dtype=dtype)
    if module is None and rate.ndim == 0 and not keywords.keys() - {"promote_dtype", "is_causal"}:
        return attention.fused(
            None if silent else dropout_rng,
            query,
            key,
            value,
            0.0 if silent else rate,
            bias,
            mask,
            broadcast=bool(broadcast_dropout),
            causal=keywords.get("is_causal", False),
            precision=precision,
        )
    static = {"dtype": dtype, "precision": precision, "module": module, "deterministic": True, **keywords}
    weights = dot_product_attention_weights(query, key, bias, mask, **static)
    if not silent:
        weights = attention.drop(dropout_rng, weights, rate, bool(broadcast_dropout))
    return attention.attend(weights, value, precision)


class AttentionDropout(NoiseLayer):
    """Dropout on attention probabilities as a layer, with a rate that may be traced and set during training.

    Pass it to `nnx.MultiHeadAttention` as its `attention_fn`, and leave that layer's own `dropout_rate` at 0. The
    dropout is then part of the model, so `set_amounts`, ``model.eval()`` and `nnx.view` reach it. It can also be called
    on (query, key, value).

    Args:
      rate: the probability that an attention weight is dropped, in [0, 1]; traced values are clamped.
      broadcast: whether all examples and heads share one draw, as in Flax by default. Static.
      deterministic, rng_collection, rngs: as in `Dropout`.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> dropout = njx.AttentionDropout(0.1, rngs=rngs)
      >>> attention = nnx.MultiHeadAttention(2, 4, attention_fn=dropout, decode=False, rngs=rngs)
      >>> attention(jnp.ones((3, 5, 4))).shape
      (3, 5, 4)
      >>> njx.set_amounts(attention, njx.AttentionDropout, rate=0.2)
    """

    collections: ClassVar = ("dropout",)
    ranges: ClassVar = {"rate": _checks.rate}

    def __init__(
        self,
        rate: float | jax.Array,
        *,
        broadcast: bool = True,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        self.broadcast = _checks.flag("AttentionDropout", "broadcast", broadcast)
        self._add(rate=rate)

    def __call__(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        bias: jax.Array | None = None,
        mask: jax.Array | None = None,
        *,
        deterministic: bool | None = None,
        rngs: Streams = None,
        dropout_rate: float | None = None,
        dropout_rng: jax.Array | None = None,
        broadcast_dropout: bool | None = None,
        **keywords: Any,
    ) -> jax.Array:
        """Applies attention with dropout.

        Args:
          query, key, value: (batch..., length, heads, features).
          bias, mask: broadcastable to (batch..., heads, queries, keys).
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.
          dropout_rate, dropout_rng, broadcast_dropout: the settings of `nnx.MultiHeadAttention`'s own dropout, which
            must be off.
          **keywords: as in `nnx.dot_product_attention`.

        Returns:
          (batch..., queries, heads, features).
        """
        if dropout_rate:
            raise ValueError(
                f"AttentionDropout: the attention layer has a dropout_rate of its own, {dropout_rate!r}. Set it to 0, "
                "or keep it and pass attention_fn=njx.dot_product_attention."
            )
        if dropout_rate is not None:  # called by an attention layer whose own dropout is off: ignore its flag
            deterministic = None
        drawn = self._key(deterministic, rngs)
        return dot_product_attention(
            query,
            key,
            value,
            bias,
            mask,
            broadcast_dropout=self.broadcast,
            dropout_rng=drawn,
            dropout_rate=self._amount("rate"),
            deterministic=drawn is None,
            **keywords,
        )
