"""The library's words inside a kernel: the same bits for the same key, tag and index."""

import jax
import jax.numpy as jnp

from noisejax._random.generators import multiply_wide
from noisejax.fused._tiles import GENERATORS, Place


def row_index(place: Place, terms) -> tuple[jax.Array, jax.Array | None]:
    """The index at the start of each row: the sum of numbers times steps, from (number, step) pairs."""
    low, high = jnp.uint32(0), jnp.uint32(0) if place.is_long else None
    for number, step in terms:
        if step == 0:
            continue
        if high is None:
            low = low + number.astype(jnp.uint32) * jnp.uint32(step & 0xFFFFFFFF)
        else:
            term_low, term_high = multiply_wide(number.astype(jnp.uint32), jnp.uint32(step & 0xFFFFFFFF))
            term_high = term_high + number.astype(jnp.uint32) * jnp.uint32(step >> 32)
            low = low + term_low
            high = high + term_high + (low < term_low).astype(jnp.uint32)
    return low, high


def words_at(place: Place, k0, k1, row, column) -> jax.Array:
    """The words of rows at these columns, from `row_index` of the rows."""
    low, high = row
    column = column.astype(jnp.uint32)
    low = low + column
    if high is not None:
        high = high + (low < column).astype(jnp.uint32)
    return GENERATORS[place.generator](low, high, k0, k1, place.place)
