"""A text of a new length, in which each character emits any number of others."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from noisejax._contract import Moved
from noisejax._padded import Padded
from noisejax.text._edits import pick, places, written
from noisejax.text._words.split import at


class Emission(NamedTuple):
    """What each character of a text emits, int32 of the text's shape.

    Args:
      given: how many characters of the table it emits.
      letter: the place of the first of them in the table.
      own: the place of the character itself among what it emits; -1 if it is not emitted.
      taken: how many characters, this one and the following, the emitted ones take the place of.
    """

    given: jax.Array
    letter: jax.Array
    own: jax.Array
    taken: jax.Array


def emitted(x: Padded, what: Emission, letters: jax.Array) -> Moved:
    """What all characters emit, one after the other, cut at the capacity. Places beyond the length are 0.

    The number of characters that one may emit has no bound: each place of the result looks up its source.
    """
    capacity, axis = x.values.shape[-1], x.values.ndim - 1
    if not capacity:
        return Moved(x, jnp.zeros(x.values.shape, jnp.int32))
    count = jnp.where(x.mask, what.given + (what.own >= 0).astype(jnp.int32), 0)
    end = lax.cumsum(count, axis=axis)
    begin, total = end - count, end[..., -1]
    place = places(x.values)
    # The source of each place is the last character that begins at or before it.
    source = written(jnp.zeros(count.shape, jnp.int32), jnp.where(count > 0, begin, capacity), place)
    source = lax.optimization_barrier(lax.cummax(source, axis=axis))
    offset = place - at(begin, source)
    _given, letter, own, taken = (at(part, source) for part in what)
    itself = offset == own
    index = letter + offset - ((own >= 0) & (own < offset)).astype(jnp.int32)
    new = pick(letters, jnp.clip(index, 0, len(letters) - 1)).astype(x.values.dtype)
    values = jnp.where(itself, at(x.values, source), new)
    origin = jnp.where(itself, source, jnp.where((own < 0) & (offset < taken), source + offset, -1))
    lengths = jnp.minimum(total, capacity)
    data = place < lengths[..., None]
    values, origin = jnp.where(data, values, 0), jnp.where(data, origin, -1)
    return Moved(Padded(values, lengths, x.lost + (total - lengths)), origin)
