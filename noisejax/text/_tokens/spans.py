"""Noise on spans of tokens: span corruption as T5 has it, and masked spans as SpanBERT has them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._padded import Padded, values_of
from noisejax._random import sample
from noisejax._random.stream import along, enter, words as draw, words_like
from noisejax.text._edits import Slot, check_integers, emit, numbers_of_words, places, preceding
from noisejax.text._tokens.single import check_masking, numbered, ordinary
from noisejax.text._words.split import at


class SpanLengths(NamedTuple):
    """The lengths of span corruption. `noisejax.text.span_lengths` makes it.

    Args:
      raw: tokens of a text before corruption.
      inputs: tokens of the corrupted text, with sentinels and the end of the sequence.
      targets: tokens of the targets, with sentinels and the end of the sequence.
      noise: the tokens that are removed.
      spans: the number of spans.
    """

    raw: int
    inputs: int
    targets: int
    noise: int
    spans: int


def _lengths(raw: int, rate: float, mean: float) -> SpanLengths:
    noise = min(max(round(raw * rate), 1), raw - 1)  # half to even, as Python rounds
    spans = min(max(round(noise / mean), 1), noise, raw - noise)
    return SpanLengths(raw, raw - noise + spans + 1, noise + spans + 1, noise, spans)


def _check_spans(function: str, rate: float, mean: float) -> None:
    for name, value, inside, what in (
        ("rate", rate, lambda v: 0 < v < 1, "a share of the tokens, between 0 and 1"),
        ("mean", mean, lambda v: v >= 1, "the mean length of a span, at least 1"),
    ):
        real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not real or not inside(value):
            raise ValueError(f"{function}: {name} must be {what}, got {value!r}.")


def span_lengths(inputs_length: int, *, rate: float = 0.15, mean: float = 3.0) -> SpanLengths:
    """The number of raw tokens that span corruption turns into inputs of at most a length, and the other lengths.

    Args:
      inputs_length: the length that the inputs may have, at least 4.
      rate: the share of tokens that are removed, between 0 and 1.
      mean: the mean length of a span, at least 1.

    Returns:
      A `SpanLengths`. Cut texts to its `raw` tokens.

    Raises:
      ValueError: an argument is out of its range.

    References:
      Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", JMLR 2020;
      `random_spans_helper` of its code.

    Example:
      >>> import noisejax as nj
      >>> nj.text.span_lengths(512)
      SpanLengths(raw=568, inputs=512, targets=114, noise=85, spans=28)
    """
    _checks.count("span_lengths", "inputs_length", inputs_length, 4, "Two tokens need two more.")
    _check_spans("span_lengths", rate, mean)
    raw = 2
    while _lengths(raw + 1, rate, mean).inputs <= inputs_length:
        raw += 1
        if raw > 2**24:
            raise ValueError(f"span_lengths: rate must leave some tokens, got {rate!r}.")
    return _lengths(raw, rate, mean)


class Spans(NamedTuple):
    """Inputs and targets of span corruption. `noisejax.text.spans` makes it.

    Args:
      inputs: the text with a sentinel in place of each span, (*batch, inputs), a `noisejax.Padded`.
      targets: each sentinel with the tokens of its span, (*batch, targets), a `noisejax.Padded`.
      mask: the tokens of the text that were removed, booleans (*batch, L).
    """

    inputs: Padded
    targets: Padded
    mask: jax.Array


def spans(
    key: jax.Array,
    ids: jax.Array | np.ndarray | Padded,
    *,
    rate: float = 0.15,
    mean: float = 3.0,
    sentinel: int,
    eos: int,
    roll: bool = False,
) -> Spans:
    """Span corruption: spans of tokens are removed, with sentinels in their place, and are to be predicted.

    Of L tokens, ``round(L * rate)`` are removed, in ``round(n / mean)`` spans. The removed tokens and the rest are each
    cut into that many parts, every cut equally likely, and alternate, beginning with the rest. All texts of a batch
    have L tokens, so all results have one length each, `span_lengths`. In a `noisejax.Padded`, each text has the counts
    that follow from its own length. Texts with fewer than two tokens stay whole, and their targets hold the end alone.

    Args:
      key: a JAX key.
      ids: token ids (*batch, L), integers, or a `noisejax.Padded` of them.
      rate: the share of tokens that are removed, between 0 and 1. Static: it decides shapes.
      mean: the mean length of a span, at least 1. Static.
      sentinel: the id of the first sentinel. The following spans have the ids below it, as in T5's vocabulary. Static.
      eos: the id of the end of the sequence, which ends inputs and targets. Static.
      roll: whether the pattern is turned by a uniformly distributed offset. Without it, the last token is always
        removed and the first never. With it, spans are uniform along the text, and one may wrap around its end. Static.

    Returns:
      A `Spans`.

    Raises:
      TypeError: ids do not hold integers.
      ValueError: L is below 2, or there are fewer ids below `sentinel` than spans.

    References:
      Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", JMLR 2020;
      `random_spans_noise_mask` of its code. Tay et al., "UL2", 2022, mixes such tasks: X-denoising has
      ``rate=0.5``, or ``mean=64``.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> ids = jnp.arange(10, 20)[None]
      >>> result = nj.text.spans(jax.random.key(0), ids, rate=0.3, mean=1.5, sentinel=99, eos=1)
      >>> result.inputs.values.tolist(), result.targets.values.tolist()
      ([[10, 11, 99, 13, 14, 15, 16, 17, 98, 1]], [[99, 12, 98, 18, 19, 1]])
    """
    stream = enter("spans", key)
    _checks.array("spans", values_of(ids), _checks.numbers, "ids")
    check_integers("spans", values_of(ids))
    _check_spans("spans", rate, mean)
    roll = _checks.flag("spans", "roll", roll)
    values = values_of(ids)
    if values.ndim < 1 or values.shape[-1] < 2:
        raise ValueError(f"spans: ids must have at least two tokens along the last axis, got shape {values.shape}.")
    if isinstance(ids, Padded) and ids.lengths.ndim != values.ndim - 1:
        raise ValueError(f"spans: ids must have one id for each place, so values (*batch, L), got {values.shape}.")
    most = _lengths(values.shape[-1], rate, mean)
    info = jnp.iinfo(values.dtype)
    for name, token, least in (("sentinel", sentinel, max(most.spans - 1, 0)), ("eos", eos, 0)):
        whole = isinstance(token, (int, np.integer)) and not isinstance(token, bool)
        if not whole or not least <= token <= info.max:
            more = f": {most.spans} spans need as many ids down from it" if name == "sentinel" else ""
            raise ValueError(
                f"spans: {name} must be an id in [{least}, {info.max}] for ids of {values.dtype}{more}, got {token!r}."
            )
    lengths = ids.lengths if isinstance(ids, Padded) else np.full(values.shape[:-1], values.shape[-1], np.int32)
    lost = ids.lost if isinstance(ids, Padded) else np.zeros(values.shape[:-1], np.int32)
    return _spans(
        stream, jnp.asarray(values), jnp.asarray(lengths), jnp.asarray(lost), rate, mean, int(sentinel), int(eos), roll
    )


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7, 8))
def _spans(key, values, lengths, lost, rate, mean, sentinel: int, eos: int, roll: bool) -> Spans:
    size, most = values.shape[-1], _lengths(values.shape[-1], rate, mean)
    noise, count = (jnp.asarray(table).at[jnp.clip(lengths, 0, size)].get() for table in _counts(size, rate, mean))
    removed = _ends(key, "spans.noise", values, noise, count, most.noise, most.spans)
    kept = _ends(key, "spans.rest", values, lengths - noise, count, size - 1, most.spans)
    starts = kept + jnp.concatenate([jnp.zeros_like(removed[..., :1]), removed[..., :-1]], axis=-1)
    # Of spans beyond the count nothing is removed: they start and end at the end of the text.
    steps = _added(jnp.zeros_like(values, jnp.int32), starts, 1) - _added(
        jnp.zeros_like(values, jnp.int32), kept + removed, 1
    )
    pattern = lax.cumsum(steps, axis=values.ndim - 1) > 0
    place, length = places(values), lengths[..., None]
    if roll:
        shape = along(values, range(values.ndim - 1))
        high, low = draw(key, "spans.roll.high", **shape), draw(key, "spans.roll.low", **shape)
        turned = place + sample.integers(high, low, jnp.maximum(length, 1))
        turned = jnp.where(turned >= length, turned - length, turned)
        pattern = jnp.take_along_axis(pattern, jnp.clip(turned, 0, size - 1), axis=-1)
    mask = lax.optimization_barrier(pattern & (place < length))
    first = mask & ~preceding(mask)
    number = lax.cumsum(first.astype(jnp.int32), axis=values.ndim - 1) - 1
    token = (sentinel - number).astype(values.dtype)

    def ended(x):
        return jnp.concatenate([x, jnp.zeros_like(x[..., :1])], axis=-1)

    longer = Padded.tree_unflatten(None, (ended(values), lengths, lost))
    last = Slot(places(longer.values) == length, jnp.asarray(eos, values.dtype))
    sentinels = Slot(ended(first), ended(token))
    more = int(roll)  # a span that wraps around the end is two
    rest, gone = (Slot(ended(part), longer.values) for part in ((place < length) & ~mask, mask))
    inputs = emit(longer, [sentinels, rest, last], most.inputs + more).value
    targets = emit(longer, [sentinels, gone, last], most.targets + more).value
    return Spans(inputs, targets, mask)


@functools.lru_cache(maxsize=64)
def _counts(size: int, rate: float, mean: float) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens are removed from texts of every length up to `size`, in how many spans."""
    found = [_lengths(raw, rate, mean) if raw > 1 else SpanLengths(raw, raw, 1, 0, 0) for raw in range(size + 1)]
    return np.array([f.noise for f in found], np.int32), np.array([f.spans for f in found], np.int32)


def _ends(key, tag: str, x: jax.Array, total: jax.Array, count: jax.Array, size: int, parts: int) -> jax.Array:
    """The ends of `count` parts into which `total` things are cut, every cut equally likely: int32 (*batch, parts).

    The parts beyond the count end where the last one does.
    """
    like = jnp.broadcast_to(x[..., :1], (*x.shape[:-1], size))
    place, total, count = places(like), total[..., None], count[..., None]
    # Of the places between two things, those with the smallest words are cuts.
    possible = (place >= 1) & (place < total)
    order = lax.sort(
        ((~possible).astype(jnp.int32), words_like(key, tag, like), place), dimension=place.ndim - 1, num_keys=3
    )[2]
    order = jnp.concatenate([order, jnp.broadcast_to(total, (*order.shape[:-1], parts))], axis=-1)[..., :parts]
    number = places(order)
    return lax.sort(jnp.where(number < count - 1, order, total), dimension=order.ndim - 1)


def _added(onto: jax.Array, place: jax.Array, number: int) -> jax.Array:
    def add(onto, place):
        return onto.at[place].add(number, mode="drop")

    for _ in range(onto.ndim - 1):
        add = jax.vmap(add)
    return add(onto, place)


def _mask_options(x, mask_id, vocab_size, special, random, keep, longest) -> None:
    check_masking("span_mask", x, mask_id, vocab_size, special, random, keep)
    _checks.count("span_mask", "longest", longest, 1)


@array_noise(
    _checks.numbers,
    options=_mask_options,
    ranges={"rate": _checks.rate, "p": _checks.rate},
    moves=False,
)
def span_mask(
    key: jax.Array,
    x: jax.Array,
    rate: Amount = 0.15,
    p: Amount = 0.2,
    words: Amount | None = None,
    *,
    mask_id: int,
    vocab_size: int,
    special: tuple[int, ...] = (),
    random: float = 0.1,
    keep: float = 0.1,
    longest: int = 10,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Masks spans of tokens as SpanBERT does, and treats all tokens of a span alike: mask, random token, or none.

    The tokens of a text, in random order, each begin a span of a random length, until the budget of the text is spent.
    The length has the probabilities ``p (1 - p)**(n - 1)`` for n from 1 to `longest`, scaled to a sum of 1: 3.8 in the
    mean. The last span is cut where the budget ends. A span may begin within another one and lengthen it, which the
    original code excludes.

    Args:
      key: a JAX key.
      x: token ids of shape (..., L), integers, or a `noisejax.Padded` of them.
      rate: the share of tokens of each text that are hit, in [0, 1]: the budget, rounded up or down at random so that
        this is the mean. Traced values are clamped. 0 is the identity.
      p: the parameter of the geometric distribution of lengths, in [0, 1].
      words: the number of each token's word in its text, integers in [0, L) of x's shape. Lengths then count words, and
        words are hit whole, so that the last one may exceed the budget. None to count tokens.
      mask_id: the id of the mask. Static.
      vocab_size: the number of ids. Static.
      special: ids that are never hit and never drawn, besides the mask. Static.
      random: the share of spans whose tokens become random ones, uniform over the ordinary ids. Static.
      keep: the share of spans whose tokens stay. Static.
      longest: the largest length of a span. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Token ids of x's shape and dtype. The targets are the hits, as in `mask_tokens`.

    Raises:
      TypeError: x does not hold integers.
      ValueError: a special id is outside the vocabulary, or the shares exceed 1.

    References:
      Joshi et al., "SpanBERT: improving pre-training by representing and predicting spans", TACL 2020, section 3.1.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> ids = jnp.arange(10, 30)[None]
      >>> noise = nj.bind(nj.text.span_mask, rate=0.25, mask_id=3, vocab_size=50, random=0.0, keep=0.0)
      >>> noise(jax.random.key(0), ids)[0].tolist()
      [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 3, 3, 3, 3, 3, 27, 28, 29]
    """
    reserved, size = (*special, mask_id), x.shape[-1]
    allowed = ordinary(x, reserved) if where is None else ordinary(x, reserved) & where
    number = places(x)
    if words is not None:
        number = numbers_of_words(words, x)
    u = sample.uniform(words_like(key, "span_mask.length", x))
    p = jnp.clip(p, 2**-20, 1 - 2**-20)
    length = jnp.floor(jnp.log1p(u * jnp.expm1(longest * jnp.log1p(-p))) / jnp.log1p(-p)).astype(jnp.int32) + 1
    length = jnp.minimum(length, longest)
    # Every token is hit by the first span that covers it, in the order of the words of the tokens where they begin.
    order, begins = words_like(key, "span_mask.order", x), places(x)
    drawn, anchor = order, begins
    for n in range(1, min(longest, size)):
        order, begins, length = preceding(order), preceding(begins), preceding(length)
        earlier = (places(x) >= n) & (length > n) & (order < drawn)
        drawn, anchor = jnp.where(earlier, order, drawn), jnp.where(earlier, begins, anchor)
    if words is not None:
        drawn, anchor = at(drawn, number), at(anchor, number)
    drawn, anchor = lax.optimization_barrier((drawn, anchor))
    # As many as the budget has, the earliest first, and those of one span from left to right.
    axis, last = x.ndim - 1, jnp.uint32(2**32 - 1)
    able = jnp.sum(allowed, axis=-1, keepdims=True, dtype=jnp.float32)
    wanted = jnp.clip(rate, 0, 1) * able
    one = sample.uniform(draw(key, "span_mask.budget", **along(x, range(axis)))) < wanted - jnp.floor(wanted)
    budget = jnp.floor(wanted).astype(jnp.int32) + one.astype(jnp.int32)
    ranked = lax.sort((jnp.where(allowed, drawn, last),), dimension=axis)[0]
    limit = at(ranked, jnp.broadcast_to(jnp.maximum(budget - 1, 0), (*x.shape[:-1], budget.shape[-1])))[..., :1]
    under = allowed & (drawn < limit)
    left = budget - jnp.sum(under, axis=-1, keepdims=True, dtype=jnp.int32)
    equal = allowed & (drawn == limit)
    hit = (under | (equal & (lax.cumsum(equal.astype(jnp.int32), axis=axis) <= left))) & (budget > 0)
    if words is not None:
        hit = at(_added(jnp.zeros_like(number), jnp.where(hit, number, size), 1), number) > 0
        hit = hit & allowed
    choice = at(sample.uniform(words_like(key, "span_mask.kind", x)), anchor)
    other = sample.integers(
        words_like(key, "span_mask.token", x),
        words_like(key, "span_mask.token.low", x),
        vocab_size - len(set(reserved)),
    )
    value = jnp.where(choice < np.float32(keep), x, jnp.asarray(mask_id, x.dtype))
    replaced = (choice >= np.float32(keep)) & (choice < np.float32(keep + random))
    return Hit(hit, jnp.where(replaced, numbered(other, reserved).astype(x.dtype), value))
