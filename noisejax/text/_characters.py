"""Typing errors of single characters, at a calibrated character error rate."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._batch import padded_noise
from noisejax._contract import Amount, Hit, Mask, Moved, array_noise
from noisejax._padded import Padded
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.text._curves import OPERATIONS, TRANSPOSE, curve, draws, largest
from noisejax.text._edits import (
    INTEGERS,
    Slot,
    check_integers,
    check_shape,
    emit,
    every_other,
    following,
    other_than,
    per_text,
    places,
    preceding,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _codes(function: str, alphabet: str | tuple[int, ...]) -> tuple[int, ...]:
    codes = tuple(map(ord, alphabet)) if isinstance(alphabet, str) else tuple(int(code) for code in alphabet)
    if not codes or len(set(codes)) != len(codes):
        raise ValueError(f"{function}: alphabet must hold different characters, at least one, got {alphabet!r}.")
    return codes


def _fits(function: str, codes: tuple[int, ...], dtype) -> tuple[int, ...]:
    if max(codes) > jnp.iinfo(dtype).max:
        raise ValueError(
            f"{function}: x of {jnp.dtype(dtype)} cannot hold the code {max(codes)} of alphabet. Encode the text with "
            "dtype=np.uint32."
        )
    return codes


def _edit(function: str, key, x: Padded, rates: dict, letters: tuple[int, ...] | None) -> Moved:
    """One draw for each character decides which operation hits it: `rates` has the probability of each."""
    check_integers(function, x.values)
    values, data = x.values, x.mask
    word, bound, before = words_like(key, function, values), jnp.float32(0), jnp.zeros_like(data)
    hit = {}
    for name, rate in rates.items():
        bound = bound + rate
        below = sample.bernoulli(word, bound)
        hit[name] = below & ~before & data
        before = below
    nowhere = jnp.zeros_like(data)
    source = places(values)
    if "transpose" in hit:
        # XLA would otherwise compute the pairs again for each of their uses.
        first = lax.optimization_barrier(every_other(hit["transpose"] & _movable(values, data)))
        second = preceding(first)
        hit = {name: mask & ~second for name, mask in hit.items()}
        values = jnp.where(first, following(values), jnp.where(second, preceding(values), values))
        source = source + first.astype(jnp.int32) - second.astype(jnp.int32)
    # A character that is moved to the left is not hit; the draw of the one that it passes is not used.
    letter, different = other_than(key, f"{function}.letter", x.values, letters) if letters else (values, values)
    values = jnp.where(hit.get("substitute", nowhere), different, values)
    slots = [Slot(data & ~hit.get("delete", nowhere), values, source)]
    if "repeat" in hit:
        slots.insert(0, Slot(hit["repeat"], values))
    if "insert" in hit:
        slots.insert(0, Slot(hit["insert"], letter))
    if len(slots) == 1 and "delete" not in hit:
        padded = Padded(jnp.where(data, values, 0), x.lengths, x.lost)
        return Moved(padded, jnp.where(data, source, -1))
    return emit(x, slots)


def _movable(values: jax.Array, data: jax.Array) -> jax.Array:
    """Characters that differ from the next one."""
    return following(data) & data & (values != following(values))


def _transposed(rate: jax.Array, x: Padded) -> jax.Array:
    """The probability of a transposition at a pair that differs, so that `rate` of all characters begin one."""
    movable = jnp.sum(_movable(x.values, x.mask), axis=-1, keepdims=True, dtype=jnp.float32)
    length = jnp.sum(x.mask, axis=-1, keepdims=True, dtype=jnp.float32)
    return jnp.minimum(rate * length / jnp.maximum(movable, 1), 1)


@array_noise(_checks.numbers, sees="element", ranges={"rate": _checks.rate}, moves=False)
def substitute(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    alphabet: str | tuple[int, ...] = LETTERS,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Substitutes characters with other ones of an alphabet, never with themselves.

    The length stays the same, so `noisejax.hits` reports where, and x may be an array.

    Args:
      key: a JAX key.
      x: code points, a `noisejax.Padded` as `encode` makes or an array of integers.
      rate: the character error rate: the probability that a character is substituted, in [0, 1]; traced values are
        clamped. 0 is the identity.
      alphabet: the characters to draw from, with equal probabilities: a string, or codes. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Code points of x's shape and dtype.

    References:
      Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox"])
      >>> nj.text.decode(nj.text.substitute(jax.random.key(0), text, 0.2))
      ['thesqujck bsfdn fox']
    """
    check_integers("substitute", x)
    letters = _fits("substitute", _codes("substitute", alphabet), x.dtype)
    hit = sample.bernoulli(words_like(key, "substitute", x), rate)
    if len(letters) == 1:
        hit = hit & (x != letters[0])
    return Hit(hit, other_than(key, "substitute.letter", x, letters)[1])


@padded_noise(INTEGERS, options=check_shape("delete"), ranges={"rate": _checks.rate}, aligned=True)
def delete(key: jax.Array, x: Padded, rate: Amount, *, lengths: Mask = None) -> Moved:
    """Deletes characters.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the character error rate: the probability that a character is deleted, in [0, 1]; traced values are
        clamped. 0 is the identity.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths.

    References:
      Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox"])
      >>> nj.text.decode(nj.text.delete(jax.random.key(0), text, 0.2))
      ['thquick brown fx']
    """
    return _edit("delete", key, x, {"delete": per_text("delete", "rate", rate, x)}, None)


@padded_noise(INTEGERS, options=check_shape("insert"), ranges={"rate": _checks.rate}, aligned=True)
def insert(
    key: jax.Array, x: Padded, rate: Amount, *, alphabet: str | tuple[int, ...] = LETTERS, lengths: Mask = None
) -> Moved:
    """Inserts characters of an alphabet, at most one before each character.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the character error rate: the probability that a character is inserted before a character, in [0, 1];
        traced values are clamped. 0 is the identity.
      alphabet: the characters to draw from, with equal probabilities: a string, or codes. Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    References:
      Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox"])
      >>> nj.text.decode(nj.text.insert(jax.random.key(0), text, 0.2))
      ['thge quick bvrownp fox']
    """
    letters = _fits("insert", _codes("insert", alphabet), x.values.dtype)
    return _edit("insert", key, x, {"insert": per_text("insert", "rate", rate, x)}, letters)


@padded_noise(INTEGERS, options=check_shape("repeat"), ranges={"rate": _checks.rate}, aligned=True)
def repeat(key: jax.Array, x: Padded, rate: Amount, *, lengths: Mask = None) -> Moved:
    """Repeats characters, as a key does that is held for too long.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the character error rate: the probability that a character is typed twice, in [0, 1]; traced values are
        clamped. 0 is the identity.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    References:
      Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox"])
      >>> nj.text.decode(nj.text.repeat(jax.random.key(0), text, 0.2))
      ['thhee quick brown fox']
    """
    return _edit("repeat", key, x, {"repeat": per_text("repeat", "rate", rate, x)}, None)


def _can_transpose(rate) -> None:
    if isinstance(rate, np.ndarray) and rate.size and np.any(rate > largest(TRANSPOSE)):
        raise ValueError(
            f"transpose: rate must be at most {largest(TRANSPOSE):.3f}, got {rate.max():g}. Neighbours that change "
            "places in disjoint pairs give no more errors than that."
        )


@padded_noise(
    INTEGERS, options=check_shape("transpose"), amounts=_can_transpose, ranges={"rate": _checks.rate}, aligned=True
)
def transpose(key: jax.Array, x: Padded, rate: Amount, *, lengths: Mask = None) -> Moved:
    """Transposes neighbouring characters, in disjoint pairs.

    From left to right, a character that was not moved changes places with the next one. The probability is found from
    the rate by a curve that was simulated. A pair of equal characters stays, and the probability is raised for the
    other pairs of the same text, so that the error rate is the same.

    The curve is that of long texts. Short texts get more errors: at a rate of 0.5, 0.01 more for 20 characters and 0.08
    for 5. Up to a rate of 0.2 the difference is below 0.006 from 5 characters on. A single character, and a text of
    equal characters, cannot change.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the character error rate, in [0, 0.51]: the Levenshtein distance per character. Traced values are
        clamped. 0 is the identity.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape, dtype and lengths.

    Raises:
      ValueError: the rate is above 0.51.

    References:
      textnoisr (Preligens) inverts ``c = p (2 - p) / (1 + p)``, which neglects that runs of pairs may match by chance:
      it is exact at small rates, and gives 0.02 less at 0.5.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox"])
      >>> nj.text.decode(nj.text.transpose(jax.random.key(0), text, 0.2))
      ['the qiuck brown fox']
    """
    total = draws(per_text("transpose", "rate", rate, x), curve(TRANSPOSE))
    return _edit("transpose", key, x, {"transpose": _transposed(total, x)}, None)


def _mixture(rate, operations, shares, alphabet) -> None:
    weights = _weights(operations, shares)
    if isinstance(rate, np.ndarray) and rate.size and np.any(rate > largest(weights)):
        raise ValueError(
            f"typos: rate must be at most {largest(weights):.3f} for operations={operations!r}, got {rate.max():g}. "
            "When every character is hit, errors next to each other merge, and the distance is no larger."
        )


def _weights(operations, shares) -> tuple[tuple[str, float], ...]:
    """The share of each operation, in the library's order."""
    if isinstance(operations, str):
        operations = (operations,)
    for name in operations:
        _checks.one_of("typos", "every operation", name, OPERATIONS)
    if not operations or len(set(operations)) != len(operations):
        raise ValueError(f"typos: operations must be different, and at least one, got {operations!r}.")
    shares = (1.0,) * len(operations) if shares is None else shares
    if len(shares) != len(operations) or not all(0 < share < np.inf for share in shares):
        raise ValueError(f"typos: shares must be one positive number for each of {operations!r}, got {shares!r}.")
    given = dict(zip(operations, shares, strict=True))
    return tuple((name, given[name] / sum(shares)) for name in OPERATIONS if name in given)


@padded_noise(INTEGERS, options=check_shape("typos"), amounts=_mixture, ranges={"rate": _checks.rate}, aligned=True)
def typos(
    key: jax.Array,
    x: Padded,
    rate: Amount,
    *,
    operations: tuple[str, ...] = ("insert", "delete", "substitute", "transpose"),
    shares: tuple[float, ...] | None = None,
    alphabet: str | tuple[int, ...] = LETTERS,
    lengths: Mask = None,
) -> Moved:
    """Typing errors at a character error rate: a mixture of insertions, deletions, substitutions and transpositions.

    One draw for each character decides which operation hits it. Neighbouring errors merge (a deletion next to an
    insertion is one substitution), so the probability of a hit is found from the rate by a curve that was measured for
    the mixture. Nothing else changes: whitespace, punctuation and emoji are characters like others.

    The curve is that of long texts. Errors merge less at the ends of a text, so short texts get more: at a rate of 0.5,
    0.005 more for 20 characters and 0.025 for 5. Up to a rate of 0.2 the difference is below 0.006 from 5 characters
    on. A single character has no neighbour to change places with, so it gets less.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the character error rate: the Levenshtein distance between the clean and the noisy text, divided by the
        length of the clean text, in expectation; from 0 to the largest that the mixture can reach, 0.69 for the
        default. Traced values are clamped. 0 is the identity.
      operations: some of ``"insert"``, ``"delete"``, ``"substitute"``, ``"transpose"`` and ``"repeat"``. Static.
      shares: the relative probability that a hit is each operation. None for equal shares. The curve of other shares
        or operations than the default is simulated on the host at first use, in about a second. Static.
      alphabet: the characters to insert and substitute: a string, or codes. Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    Raises:
      ValueError: the rate is above the largest, an operation is unknown, or the alphabet does not fit into x's dtype.

    References:
      Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966; Damerau, "A technique
      for computer detection and correction of spelling errors", 1964, for the four operations.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox jumps"])
      >>> nj.text.decode(nj.text.typos(jax.random.key(3), text, 0.1))
      ['thetquci rbown fox jumpzs']
    """
    letters = _fits("typos", _codes("typos", alphabet), x.values.dtype)
    weights = _weights(operations, shares)
    total = draws(per_text("typos", "rate", rate, x), curve(weights))
    rates = {name: total * np.float32(share) for name, share in weights}
    if "transpose" in rates:
        rates["transpose"] = rates.pop("transpose")  # the last: its probability differs from text to text
        rates["transpose"] = _transposed(rates["transpose"], x)
    return _edit("typos", key, x, rates, letters)
