"""Noise on activations, shared by the layers of `noisejax.nnx` and `noisejax.linen`."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._noises.additive import uniform
from noisejax._noises.mixing import blend, mixup_pairs
from noisejax._padded import Padded, is_padded, padding, values_of
from noisejax._random.sample import integers
from noisejax._random.stream import words


def neftune(key, x: Any, alpha: jax.Array, where, lengths) -> Any:
    """x + u with u uniform within alpha / sqrt(L d), for each example's true length L and d features."""
    if isinstance(x, Padded) and lengths is not None:
        raise TypeError("NEFTune: x is a Padded, which already has lengths: leave out lengths=...")
    values = values_of(x)
    _checks.array("NEFTune", values, _checks.floats)
    where = _checks.mask("NEFTune", "where", where)
    if values.ndim < 2:
        raise ValueError(f"NEFTune: embeddings must be (..., length, features), got shape {values.shape}.")
    where = _tokens(values, where)
    _checks.broadcastable("NEFTune", "alpha", alpha.shape, values.shape)
    mask = padding("NEFTune", values, where, x.lengths if isinstance(x, Padded) else lengths)
    length = jnp.float32(values.shape[-2])
    if mask is not None:
        tokens = mask.any(-1, keepdims=True)
        tokens = jnp.broadcast_to(tokens, (*tokens.shape[:-2], values.shape[-2], 1))
        length = jnp.sum(tokens, -2, keepdims=True, dtype=jnp.float32)
    scale = jnp.maximum(alpha, 0) * jax.lax.rsqrt(jnp.maximum(length, 1) * jnp.float32(values.shape[-1]))
    return uniform(key, x, scale, where=where, lengths=lengths)


def _tokens(values: Any, where: Any) -> Any:
    """A mask of tokens (..., length), booleans or a tokenizer's zeros and ones, with an axis of features."""
    if where is None or getattr(where, "shape", None) != values.shape[:-1]:
        return where
    if jnp.issubdtype(where.dtype, jnp.integer):
        if isinstance(where, np.ndarray) and np.any((where < 0) | (where > 1)):
            raise ValueError(
                f"NEFTune: a mask of tokens must hold zeros and ones, got {where.max()} among them. If these are "
                "numbers of segments in packed rows, unpack the rows: alpha / sqrt(L d) needs the length L of each "
                "segment."
            )
        where = where > 0
    return where[..., None]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["lam", "partner", "place"], meta_fields=["places", "shards"]
)
@dataclasses.dataclass(frozen=True)
class HiddenMix:
    """Manifold mixup's draw for one batch: a place in the network, and each example's partner and weight.

    Call it at every place on the hidden batch, then blend the labels with `labels`. It is a pytree of arrays, so it
    passes through any transform.
    """

    lam: jax.Array | None  # (B,); None without noise, like the two below
    partner: Any
    place: Any
    places: int
    shards: int

    def __call__(self, hidden: Any, place: int) -> Any:
        """The hidden batch, blended if `place` is the one that was drawn."""
        if not isinstance(place, int) or not 0 <= place < self.places:
            raise ValueError(f"ManifoldMixup: place must be in [0, {self.places}), got {place!r}.")
        if any(map(is_padded, jax.tree.leaves(hidden, is_leaf=is_padded))):
            raise TypeError(
                "ManifoldMixup: hidden is a Padded, and examples of different lengths cannot be blended. Place the mix "
                "after pooling, where all examples have one shape."
            )
        if self.lam is None:
            return hidden
        lam = jnp.where(self.place == place, self.lam, 1)
        return blend(hidden, lam, self.partner, shards=self.shards)

    def labels(self, labels: Any, *, num_classes: int | None = None) -> Any:
        """The labels, blended like the hidden batch; integers of shape (B,) become rows of `num_classes`."""
        if self.lam is None:
            return blend(labels, 1.0, 0, num_classes=num_classes)
        return blend(labels, self.lam, self.partner, num_classes=num_classes, shards=self.shards)


def draw_hidden_mix(key, batch: Any, alpha: jax.Array, places: int, mode: str, pairing: str, shards: int) -> HiddenMix:
    """Draws a `HiddenMix` for a batch: any pytree of arrays with a leading axis of examples."""
    n = _checks.batch_size("ManifoldMixup", batch)
    places = _checks.count("ManifoldMixup", "places", places, 1)
    lam, partner = mixup_pairs(key, n, alpha, mode=mode, pairing=pairing, shards=shards)
    place = integers(words(key, "manifold_mixup.high", ()), words(key, "manifold_mixup.low", ()), places)
    return HiddenMix(lam, partner, place, places, shards)
