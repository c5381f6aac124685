"""Where each entry of a noisy text came from, replayed from the key through every combinator."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from noisejax._calls.replay import ALIGNMENT
from noisejax._noise import Run
from noisejax._padded import Padded, is_padded


class Alignment(NamedTuple):
    """The places of a noisy text in the clean one. `noisejax.text.alignment` makes it.

    Args:
      source: int32 of the shape (*batch, L) of the noisy text: the place in the clean text that each entry came from;
        -1 for inserted entries and for padding. The entry itself may have been replaced.
      deleted: booleans of the shape of the clean text: the data entries that no entry of the noisy text came from.
    """

    source: jax.Array
    deleted: jax.Array

    def spans(self, starts: jax.Array, ends: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The spans [start, end) of the clean text in the noisy one, for instance of entities.

        A moved span begins with the first entry that came from it and ends after the last. Entries inserted in between
        belong to it, and those inserted at its ends do not. A span of which nothing is left is empty, (0, 0).

        Args:
          starts, ends: integers of shape (*batch, n).
        """
        place = jax.lax.broadcasted_iota(jnp.int32, self.source.shape, self.source.ndim - 1)[..., None, :]
        source, size = self.source[..., None, :], self.source.shape[-1]
        starts, ends = (jnp.asarray(end)[..., None].astype(jnp.int32) for end in (starts, ends))
        inside = (source >= starts) & (source < ends) & (source >= 0)
        first = jnp.min(jnp.where(inside, place, size), axis=-1, initial=size)
        last = jnp.max(jnp.where(inside, place + 1, 0), axis=-1, initial=0)
        return jnp.where(last > 0, first, 0), last


def alignment(noise: Callable) -> Callable:
    """Where the entries of a noisy text came from: ``alignment(noise)(key, text)``, replayed from the key.

    It works through every combinator, and for entries of a batch it returns one alignment for each `noisejax.Padded`
    and None for arrays. Array noises that change each entry by itself move nothing.

    Args:
      noise: a bound noise. It must consist of noises that know where entries come from: those of `noisejax.text`, and
        array noises that change each entry by itself.

    Returns:
      A function of a key and a text that returns an `Alignment`.

    Raises:
      TypeError: a noise does not know where entries come from.

    Example:
      >>> import jax, noisejax as nj
      >>> key, text = jax.random.key(1), nj.text.encode(["clean"])
      >>> noise = nj.bind(nj.text.delete, rate=0.4)
      >>> nj.text.decode(noise(key, text))
      ['an']
      >>> source, deleted = nj.text.alignment(noise)(key, text)
      >>> source[0, :5].tolist(), deleted[0, :5].tolist()
      ([3, 4, -1, -1, -1], [True, True, True, False, False])
    """

    def replay(key: jax.Array, text: Any) -> Any:
        source = Run(None, ALIGNMENT)(noise, key, text)[1]
        return jax.tree.map(_aligned, text, source, is_leaf=is_padded)

    return replay


def _aligned(clean: Any, source: Any) -> Alignment | None:
    if not isinstance(clean, Padded) or source is None:
        return None
    return Alignment(source, clean.mask & ~_kept(source, clean.values.shape[source.ndim - 1]))


def _kept(source: jax.Array, size: int) -> jax.Array:
    def mark(source):
        return jnp.zeros(size, bool).at[jnp.where(source < 0, size, source)].set(True, mode="drop")

    for _ in range(source.ndim - 1):
        mark = jax.vmap(mark)
    return mark(source)
