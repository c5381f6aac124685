"""Noise on single tokens: masked, replaced, deleted and swapped."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._batch import padded_noise
from noisejax._contract import Amount, Hit, Mask, Moved, array_noise
from noisejax._padded import Padded
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.text._edits import (
    INTEGERS,
    Slot,
    check_integers,
    check_shape,
    emit,
    every_other,
    following,
    numbers_of_words,
    per_text,
    places,
    preceding,
)
from noisejax.text._words.split import at


def _check_vocabulary(function: str, x, vocab_size: int, special: tuple[int, ...], **more: int) -> None:
    check_integers(function, x)
    if not isinstance(vocab_size, (int, np.integer)) or not 1 < vocab_size <= 2**31 - 1:
        raise ValueError(f"{function}: vocab_size must be the number of token ids, at least 2, got {vocab_size!r}.")
    if vocab_size - 1 > jnp.iinfo(x.dtype).max:
        raise ValueError(f"{function}: x of {x.dtype} cannot hold all ids below vocab_size={vocab_size}. Cast it.")
    check_special(function, special)
    for name, token in (*(("special", token) for token in special), *more.items()):
        if not isinstance(token, (int, np.integer)) or not 0 <= token < vocab_size:
            raise ValueError(f"{function}: {name} must be ids in [0, {vocab_size}), the vocabulary, got {token!r}.")
    if vocab_size - len({*special, *more.values()}) < 2:
        raise ValueError(f"{function}: special leaves fewer than 2 of {vocab_size} ids to draw from.")


def check_special(function: str, special) -> None:
    if not isinstance(special, tuple) or not all(isinstance(token, (int, np.integer)) for token in special):
        raise TypeError(f"{function}: special must be a tuple of ids, got {special!r}.")


def ordinary(x: jax.Array, special: tuple[int, ...]) -> jax.Array:
    """Tokens that are not special."""
    allowed = jnp.ones_like(x, bool)
    for token in special:
        if jnp.iinfo(x.dtype).min <= token <= jnp.iinfo(x.dtype).max:
            allowed = allowed & (x != jnp.asarray(token, x.dtype))
    return allowed


def numbered(index: jax.Array, special: tuple[int, ...]) -> jax.Array:
    """The id of the index-th ordinary token."""
    for token in sorted(set(special)):
        index = index + (index >= token).astype(jnp.int32)
    return index


def _mask_options(x, mask_id, vocab_size, special, random, keep, at_least_one) -> None:
    check_masking("mask_tokens", x, mask_id, vocab_size, special, random, keep)


def check_masking(function: str, x, mask_id, vocab_size, special, random, keep) -> None:
    _check_vocabulary(function, x, vocab_size, special, mask_id=mask_id)
    for name, share in (("random", random), ("keep", keep)):
        if not isinstance(share, (int, float, np.floating, np.integer)) or not 0 <= share <= 1:
            raise ValueError(f"{function}: {name} must be a share of the hit tokens, in [0, 1], got {share!r}.")
    if random + keep > 1:
        raise ValueError(f"{function}: random + keep must be at most 1, got {random} + {keep}.")
    if not x.ndim:
        raise ValueError(f"{function}: x must have an axis of tokens, (..., L), got a scalar.")


@array_noise(_checks.numbers, options=_mask_options, ranges={"rate": _checks.rate}, moves=False)
def mask_tokens(
    key: jax.Array,
    x: jax.Array,
    rate: Amount = 0.15,
    words: Amount | None = None,
    *,
    mask_id: int,
    vocab_size: int,
    special: tuple[int, ...] = (),
    random: float = 0.1,
    keep: float = 0.1,
    at_least_one: bool = False,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Masks tokens as BERT does: of the hit tokens, most become a mask, some a random token, and some stay.

    The targets of masked language modeling are the hits, those that stay included:
    ``jnp.where(nj.hits(noise)(key, ids), ids, -100)``.

    Args:
      key: a JAX key.
      x: token ids of shape (..., L), integers, or a `noisejax.Padded` of them.
      rate: the probability that a token is hit, in [0, 1]; traced values are clamped. 0 is the identity.
      words: the number of each token's word in its text, integers in [0, L) of x's shape. All tokens of a word are hit
        together. None to hit each token by itself.
      mask_id: the id of the mask. Static.
      vocab_size: the number of ids. Static.
      special: ids that are never hit and never drawn, besides the mask. Static.
      random: the share of the hit tokens that become a random token, uniform over the ordinary ids. Static.
      keep: the share of the hit tokens that stay. Static.
      at_least_one: whether a text without a hit gets one, at a token or word drawn uniformly. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Token ids of x's shape and dtype.

    Raises:
      TypeError: x does not hold integers.
      ValueError: a special id is outside the vocabulary, or the shares exceed 1.

    References:
      Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding", NAACL 2019;
      `DataCollatorForLanguageModeling` of transformers, whose random tokens may be special ones.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> ids = jnp.array([[101, 7592, 2088, 999, 102]])
      >>> noise = nj.bind(nj.text.mask_tokens, rate=0.5, mask_id=103, vocab_size=30522, special=(0, 101, 102))
      >>> key = jax.random.key(0)
      >>> hits = nj.hits(noise)(key, ids)
      >>> bool(hits[0, 0] | hits[0, -1]), noise(key, ids).shape
      (False, (1, 5))
    """
    reserved = (*special, mask_id)
    drawn = words_like(key, "mask_tokens", x)
    if words is not None:
        drawn = at(drawn, numbers_of_words(words, x))
    allowed = ordinary(x, reserved) if where is None else ordinary(x, reserved) & where
    hit = sample.bernoulli(drawn, rate) & allowed
    if at_least_one:  # the smallest word is hit whenever any is
        least = jnp.min(jnp.where(allowed, drawn, jnp.uint32(2**32 - 1)), axis=-1, keepdims=True)
        hit = hit | (allowed & (drawn == least) & (jnp.asarray(rate) > 0))
    choice = sample.uniform(words_like(key, "mask_tokens.kind", x))
    other = sample.integers(
        words_like(key, "mask_tokens.token", x),
        words_like(key, "mask_tokens.token.low", x),
        vocab_size - len(set(reserved)),
    )
    value = jnp.where(choice < np.float32(keep), x, jnp.asarray(mask_id, x.dtype))
    replaced = (choice >= np.float32(keep)) & (choice < np.float32(keep + random))
    return Hit(hit, jnp.where(replaced, numbered(other, reserved).astype(x.dtype), value))


def _replace_options(x, vocab_size, special) -> None:
    _check_vocabulary("replace_tokens", x, vocab_size, special)


@array_noise(_checks.numbers, options=_replace_options, sees="element", ranges={"rate": _checks.rate}, moves=False)
def replace_tokens(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    vocab_size: int,
    special: tuple[int, ...] = (),
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Replaces tokens with other ones of the vocabulary, with equal probabilities and never with themselves.

    Args:
      key: a JAX key.
      x: token ids, integers, or a `noisejax.Padded` of them.
      rate: the probability that a token is replaced, in [0, 1]; traced values are clamped. 0 is the identity.
      vocab_size: the number of ids. Static.
      special: ids that are never replaced and never drawn. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Token ids of x's shape and dtype.

    Raises:
      TypeError: x does not hold integers.
      ValueError: a special id is outside the vocabulary.

    References:
      Clark et al., "ELECTRA: pre-training text encoders as discriminators rather than generators", ICLR 2020, replaces
      tokens by a generator's; a uniform one is its simplest generator.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> ids = jnp.array([[1, 5, 6, 7, 2]])
      >>> noisy = nj.text.replace_tokens(jax.random.key(0), ids, 1.0, vocab_size=10, special=(0, 1, 2))
      >>> (noisy == ids)[0].tolist()
      [True, False, False, False, True]
    """
    allowed = ordinary(x, special)
    n = vocab_size - len(set(special))
    drawn = sample.integers(
        words_like(key, "replace_tokens.token", x), words_like(key, "replace_tokens.token.low", x), n - 1
    )
    own = x.astype(jnp.int32)
    for token in sorted(set(special), reverse=True):
        own = own - (own > token).astype(jnp.int32)
    drawn = drawn + (drawn >= own).astype(jnp.int32)
    hit = sample.bernoulli(words_like(key, "replace_tokens", x), rate) & allowed
    return Hit(hit, numbered(drawn, special).astype(x.dtype))


@padded_noise(INTEGERS, options=check_shape("delete_tokens"), ranges={"rate": _checks.rate}, aligned=True)
def delete_tokens(
    key: jax.Array, x: Padded, rate: Amount, *, special: tuple[int, ...] = (), lengths: Mask = None
) -> Moved:
    """Deletes tokens; those after them move up.

    Args:
      key: a JAX key.
      x: token ids (B, L), a `noisejax.Padded` of integers.
      rate: the probability that a token is deleted, in [0, 1]; traced values are clamped. 0 is the identity.
      special: ids that are never deleted. Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      Token ids of x's shape and dtype with new lengths. Places beyond the length are 0.

    Raises:
      TypeError: x is not a `noisejax.Padded` of integers, or special is not a tuple of ids.

    References:
      Lewis et al., "BART: denoising sequence-to-sequence pre-training", ACL 2020: token deletion; Wei and Zou, "EDA:
      easy data augmentation techniques for boosting performance on text classification tasks", EMNLP 2019: random
      deletion.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> ids = nj.Padded(jnp.array([[1, 5, 6, 7, 2, 0]]), jnp.array([5]))
      >>> noisy = nj.text.delete_tokens(jax.random.key(0), ids, 1.0, special=(1, 2))
      >>> noisy.values.tolist(), noisy.lengths.tolist()
      ([[1, 2, 0, 0, 0, 0]], [2])
    """
    check_integers("delete_tokens", x.values)
    check_special("delete_tokens", special)
    drawn = words_like(key, "delete_tokens", x.values)
    hit = sample.bernoulli(drawn, per_text("delete_tokens", "rate", rate, x)) & ordinary(x.values, special)
    return emit(x, [Slot(x.mask & ~hit, x.values, places(x.values))])


def _can_swap(rate, special=()) -> None:
    if isinstance(rate, np.ndarray) and rate.size and np.any(rate > _MOST):
        raise ValueError(
            f"swap_tokens: rate must be at most {_MOST:g}, the share of tokens that begin a pair where every token is "
            f"in one, got {rate.max():g}."
        )


_MOST = 0.5


@padded_noise(
    INTEGERS, options=check_shape("swap_tokens"), amounts=_can_swap, ranges={"rate": _checks.rate}, aligned=True
)
def swap_tokens(
    key: jax.Array, x: Padded, rate: Amount, *, special: tuple[int, ...] = (), lengths: Mask = None
) -> Moved:
    """Swaps neighbouring tokens, in disjoint pairs.

    From left to right, a token that was not moved changes places with the next one.

    Args:
      key: a JAX key.
      x: token ids (B, L), a `noisejax.Padded` of integers.
      rate: the share of tokens that change places with the next one, in expectation, in [0, 0.5], up to the last token
        of a text, which has no next one. At a rate of 0.1 a fifth of all tokens move. Traced values are clamped. 0 is
        the identity.
      special: ids that never move. Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      Token ids of x's shape, dtype and lengths.

    Raises:
      TypeError: x is not a `noisejax.Padded` of integers, or special is not a tuple of ids.
      ValueError: the rate is above 0.5.

    References:
      Artetxe et al., "Unsupervised neural machine translation", ICLR 2018, section 3.2: noise by swaps of neighbouring
      words.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> ids = nj.Padded(jnp.array([[1, 5, 6, 7, 8, 2]]), jnp.array([6]))
      >>> nj.text.swap_tokens(jax.random.key(0), ids, 0.5, special=(1, 2)).values.tolist()
      [[1, 6, 5, 8, 7, 2]]
    """
    check_integers("swap_tokens", x.values)
    check_special("swap_tokens", special)
    values, data = x.values, x.mask & ordinary(x.values, special)
    rate = jnp.clip(per_text("swap_tokens", "rate", rate, x), 0, _MOST)
    # A hit begins a pair unless the token before it did, so hits with probability p begin p / (1 + p) pairs.
    hit = sample.bernoulli(words_like(key, "swap_tokens", values), rate / (1 - rate)) & data & following(data)
    first = jax.lax.optimization_barrier(every_other(hit))
    second = preceding(first)
    moved = jnp.where(first, following(values), jnp.where(second, preceding(values), values))
    source = places(values) + first.astype(jnp.int32) - second.astype(jnp.int32)
    padded = Padded(jnp.where(x.mask, moved, 0), x.lengths, x.lost)
    return Moved(padded, jnp.where(x.mask, source, -1))
