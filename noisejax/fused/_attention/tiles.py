"""One tile of the attention matrix: its scores, which of them are visible, and which probabilities are dropped.

Queries are (B, T, K, G, H), with G query heads for each of the K heads of keys (B, S, K, H) and of values. A tile is
(B, K, G, queries, keys).
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from noisejax._random.sample import bernoulli
from noisejax.fused._tiles import Blocks, Place, tile_words


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static in a call."""

    scale: float
    causal: bool
    window: tuple[int | None, int | None]  # how far a query sees to the left and to the right; None for all the way
    place: Place | None  # of the dropout; None for none
    queries: Blocks
    keys: Blocks
    precision: Any = None

    def key_blocks(self, i) -> tuple[Any, Any]:
        """The blocks of keys that a block of queries sees: from the first to before the last."""
        first, end = self.queries.start(i), self.queries.start(i) + self.queries.size
        left, right = self.reach
        low = 0 if left is None else jnp.maximum(first - left, 0) // self.keys.size
        high = self.keys.count
        if right is not None:
            high = jnp.clip(-(-(end + right) // self.keys.size), 0, high)
        return low, high

    def query_blocks(self, j) -> tuple[Any, Any]:
        """The blocks of queries that see a block of keys."""
        first, end = self.keys.start(j), self.keys.start(j) + self.keys.size
        left, right = self.reach
        low = 0 if right is None else jnp.maximum(first - right, 0) // self.queries.size
        high = self.queries.count
        if left is not None:
            high = jnp.clip(-(-(end + left) // self.queries.size), 0, high)
        return low, high

    @property
    def reach(self) -> tuple[int | None, int | None]:
        left, right = self.window
        return left, 0 if self.causal else right


class Operands(NamedTuple):
    """What is not differentiated."""

    words: tuple[jax.Array, jax.Array] | None  # of the key
    query_lengths: jax.Array | None  # (B,)
    key_lengths: jax.Array | None  # (B,)
    query_segments: jax.Array | None  # (B, T)
    key_segments: jax.Array | None  # (B, S)
    mask: jax.Array | None  # booleans that broadcast to (B, K, G, T, S)


def scores(plan: Plan, q, k, bias, operands: Operands, i, j, new) -> jax.Array:
    """The scores of block i of queries and block j of keys; minus infinity where they are hidden.

    Here queries are (B, K, G, queries, H) and keys (B, K, H, keys), so that a loop over the others turns them once.
    `new` is "keys" or "queries" or both: of these the elements that earlier blocks have are hidden as well.
    """
    wide = accumulator(q.dtype)
    # An einsum puts the axes of its second operand first. In this order no result of a product is transposed.
    s = jnp.einsum("bkhs,bkgqh->bkgqs", k, q, precision=plan.precision, preferred_element_type=wide)
    s = s * jnp.asarray(plan.scale, wide)
    if bias is not None:
        s = s + part_of(plan, bias, i, j).astype(wide)
    hidden = [~m for m in _visible(plan, operands, i, j, new)]
    for h in hidden:
        s = jnp.where(h, -jnp.inf, s)
    return s


def _visible(plan: Plan, operands: Operands, i, j, new) -> list[jax.Array]:
    """Masks that broadcast to a tile, True where a query sees a key."""
    first, start = plan.queries.start(i), plan.keys.start(j)
    query = (first + lax.iota(jnp.int32, plan.queries.size)).reshape(1, 1, 1, -1, 1)
    key = (start + lax.iota(jnp.int32, plan.keys.size)).reshape(1, 1, 1, 1, -1)
    left, right = plan.reach
    masks = []
    if right is not None:
        masks.append(key <= query + right)
    if left is not None:
        masks.append(key >= query - left)
    if operands.query_lengths is not None:
        masks.append(query < operands.query_lengths[:, None, None, None, None])
    if operands.key_lengths is not None:
        masks.append(key < operands.key_lengths[:, None, None, None, None])
    if operands.query_segments is not None and operands.key_segments is not None:
        one = plan.queries.read(operands.query_segments, i, 1)[:, None, None, :, None]
        other = plan.keys.read(operands.key_segments, j, 1)[:, None, None, None, :]
        masks.append(one == other)
    if operands.mask is not None:
        masks.append(part_of(plan, operands.mask, i, j))
    if "queries" in new and not plan.queries.even:
        masks.append(query >= i * plan.queries.size)
    if "keys" in new and not plan.keys.even:
        masks.append(key >= j * plan.keys.size)
    return masks


def part_of(plan: Plan, bias: jax.Array, i, j) -> jax.Array:
    """The part of a bias (B, K, G, T, S), each axis possibly of one element, that belongs to a tile."""
    if bias.shape[3] > 1:
        bias = plan.queries.read(bias, i, 3)
    if bias.shape[4] > 1:
        bias = plan.keys.read(bias, j, 4)
    return bias


def dropped(plan: Plan, rate, operands: Operands, s: jax.Array, i, j) -> jax.Array | None:
    """Which probabilities of a tile are dropped: the words of `nj.dropout` on (B, heads, T, S), below the rate."""
    if plan.place is None or operands.words is None:
        return None
    batch, heads, queries, keys = plan.place.strides
    steps = (batch, heads * s.shape[2], heads, queries, keys)
    starts = (None, None, None, plan.queries.start(i), plan.keys.start(j))
    return bernoulli(tile_words(plan.place, operands.words, s, steps, starts), rate)


def accumulator(dtype):
    """The dtype of sums."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


def keep_scale(rate: jax.Array) -> jax.Array:
    """1 / (1 - rate), as `nj.dropout` has it: finite at rate 1, where nothing is kept."""
    return 1 / jnp.where(rate < 1, 1 - jnp.where(rate > 0, rate, 0), 1)
