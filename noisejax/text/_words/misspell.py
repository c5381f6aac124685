"""Words exchanged for misspellings of them, and words that are dropped."""

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._batch import padded_noise
from noisejax._contract import Amount, Mask, Moved
from noisejax._padded import Padded
from noisejax._random import sample
from noisejax._random.stream import multiply_wide, words_like
from noisejax.text._edits import (
    INTEGERS,
    OF,
    Slot,
    blank,
    check_integers,
    check_shape,
    emit,
    numbers_of_words,
    per_text,
    pick,
    places,
    preceding,
)
from noisejax.text._words.buckets import matches
from noisejax.text._words.split import Words, at, hashes, split
from noisejax.text._words.table import Misspellings, shipped


def _options(shape, batch_ndim, of) -> None:
    check_shape("misspell")(shape, batch_ndim)
    _checks.one_of("misspell", "of", of, OF)


def _fits(rate, of, table=None) -> None:
    if table is not None and not isinstance(table, Misspellings):
        raise TypeError(f"misspell: table must be made by nj.text.misspellings(pairs), got {table!r:.60}.")


@padded_noise(INTEGERS, options=_options, amounts=_fits, ranges={"rate": _checks.rate}, aligned=True)
def misspell(
    key: jax.Array,
    x: Padded,
    rate: Amount,
    table: Misspellings | None = None,
    *,
    of: str = "eligible",
    lengths: Mask = None,
) -> Moved:
    """Exchanges words for misspellings of them that people made.

    Words are runs of letters. A word is found in any case, and its capital letters stay capital. Each of its
    misspellings is equally likely. Whitespace, punctuation and words that the table does not have stay.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the probability that a word that the table has is misspelt, in [0, 1]; traced values are clamped. 0 is the
        identity.
      table: `misspellings` of pairs. None for the English table that the library ships.
      of: ``"eligible"`` if the rate counts words that the table has; ``"all"`` if it is the word error rate of all
        words of a text, which raises it for those that the table has, up to 1. Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    Raises:
      TypeError: table was not made by `misspellings`.

    References:
      Peter Norvig, "Natural language corpus data", in "Beautiful data", 2009, on lists of misspellings as a model of
      errors; `misspellings` names the source of the shipped table.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["The government is probably separate."])
      >>> nj.text.decode(nj.text.misspell(jax.random.key(0), text, 1.0))
      ['Thev govermnment eis probaby serapate.']
    """
    check_integers("misspell", x.values)
    table = shipped() if table is None else table
    if table.largest > jnp.iinfo(x.values.dtype).max:
        raise ValueError(
            f"misspell: x of {x.values.dtype} cannot hold the letters of table. Encode the text with dtype=np.uint32."
        )
    words = split(x)
    # XLA would otherwise look the words up again for each use.
    start, count = jax.lax.optimization_barrier(_found(words, table))
    rate = per_text("misspell", "rate", rate, x)
    place = places(x.values)
    known = words.inside & (count > 0)
    if of == "all":
        begins = words.inside & (words.first == place)
        total, able = (jnp.sum(m, axis=-1, keepdims=True, dtype=jnp.float32) for m in (begins, begins & known))
        rate = jnp.broadcast_to(rate * total / jnp.maximum(able, 1), begins.shape)
    # One draw for each word, that of its first character.
    hit = at(sample.bernoulli(words_like(key, "misspell", x.values), rate), words.first) & known
    drawn = at(words_like(key, "misspell.which", x.values), words.first)
    number = start + multiply_wide(drawn, jnp.maximum(count, 1).astype(jnp.uint32))[1].astype(jnp.int32)
    number = jax.lax.optimization_barrier(number)
    kept, taken, given, letter = (pick(a, number) for a in (table.kept, table.taken, table.given, table.place))
    offset = place - words.first - kept  # in the part that differs
    part = hit & (offset >= 0) & (offset < taken)
    capital = words.small != x.values.astype(jnp.uint32)

    def spelt(at_letter: jax.Array) -> jax.Array:
        code = pick(table.letters, jnp.clip(letter + at_letter, 0, len(table.letters) - 1)).astype(x.values.dtype)
        return jnp.where(capital & (code >= 0x61) & (code <= 0x7A), code - x.values.dtype.type(32), code)

    slots = [Slot(x.mask & ~(part & (offset >= given)), jnp.where(part, spelt(offset), x.values), place)]
    for more in range(table.growth):
        slots.append(Slot(part & (offset == taken - 1) & (taken + more < given), spelt(taken + more)))
    return emit(x, slots)


def _found(words: Words, table: Misspellings) -> tuple[jax.Array, jax.Array]:
    """The misspellings of the word of each character, as a range; a count of 0 for none."""
    first, second = hashes(words, jnp.asarray(table.salt))
    start = count = jnp.zeros(first.shape, jnp.int32)
    for bucket, column, same in matches(table.keys, first, second):
        number = pick(table.count[:, column], bucket)
        same = same & (number > 0)
        start = jnp.where(same, pick(table.start[:, column], bucket), start)
        count = jnp.where(same, number, count)
    return start, count


@padded_noise(INTEGERS, options=check_shape("drop_words"), ranges={"rate": _checks.rate}, aligned=True)
def drop_words(key: jax.Array, x: Padded, rate: Amount, words: Amount | None = None, *, lengths: Mask = None) -> Moved:
    """Drops whole words, with the whitespace after them.

    Args:
      key: a JAX key.
      x: a text of code points, as `encode` makes, or token ids with `words`.
      rate: the probability that a word is dropped, in [0, 1]; traced values are clamped. 0 is the identity.
      words: for token ids, the number of each token's word in its text, integers in [0, L) of x's shape that do not
        fall; all tokens of a word are dropped together. None for code points, whose words are runs of characters
        between spaces, tabs, line breaks and non-breaking spaces.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Places beyond the length are 0.

    References:
      Iyyer et al., "Deep unordered composition rivals syntactic methods for text classification", ACL 2015: word
      dropout.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox jumps over the lazy dog"])
      >>> nj.text.decode(nj.text.drop_words(jax.random.key(0), text, 0.3))
      ['the quick brown the lazy dog']
    """
    check_integers("drop_words", x.values)
    drawn = words_like(key, "drop_words", x.values)
    if words is None:
        inside = ~blank(x.values)
        begins = inside & ~preceding(inside) & x.mask
        owner = jax.lax.cummax(jnp.where(begins, places(x.values), -1), axis=x.values.ndim - 1)
    else:
        owner = numbers_of_words(words, x.values)
    rate = jnp.broadcast_to(per_text("drop_words", "rate", rate, x), x.values.shape)
    hit = at(sample.bernoulli(drawn, rate), owner) & (owner >= 0)
    return emit(x, [Slot(x.mask & ~hit, x.values, places(x.values))])
