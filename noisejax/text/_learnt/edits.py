"""The noise that applies a learnt channel of edits to a text."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from noisejax import _checks
from noisejax._batch import padded_noise
from noisejax._contract import Amount, Mask, Moved
from noisejax._padded import Padded
from noisejax._random import sample
from noisejax._random.stream import all_but, multiply_wide, words, words_like
from noisejax.text._edits import (
    INTEGERS,
    blank,
    check_integers,
    check_shape,
    following,
    per_text,
    pick,
    places,
    preceding,
    written,
)
from noisejax.text._learnt.emission import Emission, emitted
from noisejax.text._learnt.model import (
    AFTER,
    BEFORE,
    BLOCK,
    CHARACTERS,
    LENGTHS,
    LONGEST,
    SOUNDS,
    WHOLE,
    WORDS,
    EditModel,
)
from noisejax.text._learnt.sound import heard
from noisejax.text._words.buckets import matches, salted
from noisejax.text._words.split import at, ranged, running


def _is_model(model, strength=1.0) -> None:
    if not isinstance(model, EditModel):
        raise TypeError(f"edits: model must be fitted, nj.text.fit_edits(clean, noisy), got {model!r:.60}.")


@padded_noise(
    INTEGERS, options=check_shape("edits"), amounts=_is_model, ranges={"strength": _checks.nonnegative}, aligned=True
)
def edits(key: jax.Array, x: Padded, model: EditModel, strength: Amount = 1.0, *, lengths: Mask = None) -> Moved:
    """Edits that are learnt from the user's own pairs of texts: imitates the noisy texts to which the model was fitted.

    Segments of one to four words become what they became in the pairs, at the rates of the pairs. Segments that touch
    are one segment in the pairs, so a word lies between two that are hit, unless nearly every occurrence is. A segment
    that the pairs do not have becomes one that sounds alike or one of those that rare segments became, and its
    characters are edited as in the pairs. A level is drawn for each text, because errors bunch: some texts have many,
    and others none.

    Args:
      key: a JAX key.
      x: a text of code points, as `encode` makes. Words are runs of characters between spaces, tabs, line breaks and
        non-breaking spaces, and are found in exactly the fitted spelling.
      model: the result of `fit_edits`.
      strength: how much more often edits occur than in the fitted pairs, at least 0: a scalar, or one value for each
        text, of shape (..., 1). 0 is the identity and 1 as fitted; traced values below 0 count as 0.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    Raises:
      TypeError: model was not made by `fit_edits`.
      ValueError: x's dtype cannot hold the characters of the model.

    References:
      Brill and Moore, "An improved error model for noisy channel spelling correction", ACL 2000 (edits of segments);
      Sagae et al., "Hallucinated n-best lists for discriminative language modeling", ICASSP 2012 (a recognizer of
      speech, imitated by segments of words).

    Example:
      >>> import jax, noisejax as nj
      >>> model = nj.text.fit_edits(["turn it on", "turn it off"] * 10, ["turn on", "turn it of"] * 10)
      >>> text = nj.text.encode(["please turn it off now"])
      >>> nj.text.decode(nj.text.edits(jax.random.key(1), text, model))
      ['please turn it of now']
    """
    check_integers("edits", x.values)
    if model.bits > jnp.iinfo(x.values.dtype).bits:
        raise ValueError(
            f"edits: x of {x.values.dtype} cannot hold the characters of the model. Encode the text with "
            "dtype=np.uint32."
        )
    if not x.values.shape[-1]:
        return Moved(x, jnp.zeros(x.values.shape, jnp.int32))
    text = _Text.of(x)
    level = sample.uniform(words(key, "text.edits.level", **all_but(x.values, (-1,))))
    number = jnp.zeros(level.shape, jnp.int32)
    for bound in jnp.asarray(model.below, jnp.float32)[:-1]:
        number = number + (level >= bound).astype(jnp.int32)
    level = pick(jnp.asarray(model.levels, jnp.float32), number)
    strength = jnp.maximum(per_text("edits", "strength", strength, x), 0)
    if strength.ndim and strength.shape[-1] != 1:
        raise ValueError(f"edits: strength is that of texts: give it shape (..., 1), got {strength.shape}.")
    chosen, share = _words_hit(key, text, model, strength, strength * level)
    what, covered = _placed(text, model, chosen)
    what = _characters_hit(key, text, model, strength * level, at(share, text.number), covered, what)
    return emitted(x, what, jnp.asarray(model.letters))


class _Text(NamedTuple):
    """A text and its words: arrays of characters (..., L), and of words (..., W)."""

    codes: jax.Array  # uint32
    data: jax.Array
    inside: jax.Array  # characters of words
    number: jax.Array  # the word of each character, or the one before it; -1 for none
    start: jax.Array
    end: jax.Array
    count: jax.Array  # (..., 1)

    @classmethod
    def of(cls, x: Padded) -> "_Text":
        data, size = x.mask, (x.values.shape[-1] + 1) // 2
        inside = ~blank(x.values) & data
        place = places(x.values)
        begins, ends = inside & ~preceding(inside), inside & ~following(inside)
        number = lax.cumsum(begins.astype(jnp.int32), axis=place.ndim - 1) - 1
        empty = jnp.zeros((*place.shape[:-1], size), jnp.int32)
        start, end = (written(empty, jnp.where(mark, number, size), place) for mark in (begins, ends))
        codes = jnp.where(data, x.values.astype(jnp.uint32), jnp.uint32(0x20))
        number, start, end = lax.optimization_barrier((number, start, end))
        count = jnp.sum(begins, axis=-1, keepdims=True, dtype=jnp.int32)
        return cls(codes, data, inside, number, start, end, count)


def _later(x: jax.Array, n: int, fill: int = 0) -> jax.Array:
    """The n-th entry after each along the last axis."""
    n = min(n, x.shape[-1])
    return lax.pad(x, jnp.asarray(fill, x.dtype), [(0, 0, 0)] * (x.ndim - 1) + [(-n, n, 0)])


def _found(model: EditModel, first: jax.Array, second: jax.Array) -> jax.Array:
    """The row of each hash, -1 for none."""
    row = jnp.full(first.shape, -1, jnp.int32)
    for bucket, column, same in matches(model.keys, first, second):
        row = jnp.where(same, pick(jnp.asarray(model.row)[:, column], bucket), row)
    return lax.optimization_barrier(row)


def _of_row(values: jax.Array, row: jax.Array, missing: float) -> jax.Array:
    values = jnp.asarray(values)
    return jnp.where(row >= 0, pick(values, jnp.maximum(row, 0)), jnp.asarray(missing, values.dtype))


class _Chosen(NamedTuple):
    """The segments of words that are hit: the number of words, 0 for none, and the edit, for each first word."""

    size: jax.Array
    edit: jax.Array


def _words_hit(key, text: _Text, model: EditModel, strength, level) -> tuple[_Chosen, jax.Array]:
    """The segments that are hit, and how much each word is like an unseen one."""
    word = lax.broadcasted_iota(jnp.int32, text.start.shape, text.start.ndim - 1)
    ends = jnp.stack([_later(text.end, n) for n in range(LONGEST)])
    there = jnp.stack([word + n < text.count for n in range(LONGEST)])
    starts = jnp.broadcast_to(text.start, ends.shape)
    salt = jnp.asarray(model.salt)
    spelt, spoken = (
        jax.vmap(lambda e, s=sums: ranged(s, text.start, e))(ends)
        for sums in (
            running(text.codes, text.data, salted(salt, WORDS)),
            heard(text.codes, text.inside, salted(salt, SOUNDS)),
        )
    )
    rows = jnp.where(there, _found(model, *spelt), -1)
    alike = jnp.where(there, _found(model, *spoken), -1)
    known = rows[0] >= 0
    share = _of_row(model.share, rows, 1.0)
    size = ends - starts + 1
    kinds = [sum((size[0] > longest).astype(jnp.int32) for longest in LENGTHS)]
    unknown = ~known
    for n in range(1, LONGEST):
        unknown = unknown | ~_later(known, n, True)
        kinds.append(len(LENGTHS) + 1 + 2 * (n - 1) + unknown.astype(jnp.int32))
    kinds = jnp.stack(kinds)
    steady = _of_row(model.steady, rows, False)
    own = _of_row(model.rate, rows, 0.0) * jnp.where(steady, _each(strength), _each(level))
    unseen = pick(jnp.asarray(model.general, jnp.float32), kinds) * share * _each(level)
    hazards = jnp.where(jnp.concatenate([there, there]), jnp.concatenate([own, unseen]), 0)
    ends_of = lax.cumsum(hazards, axis=0)
    total = ends_of[-1]
    draw, which, edit, coin = (
        at(words_like(key, f"text.edits{part}", text.codes), text.start) for part in ("", ".segment", ".edit", ".alike")
    )
    hit = sample.bernoulli(draw, -jnp.expm1(-total)) & (total > 0)
    aim = sample.uniform(which) * total
    source = jnp.minimum(sum((aim >= end).astype(jnp.int32) for end in ends_of), 2 * LONGEST - 1)
    n, general = source % LONGEST, source >= LONGEST

    def chosen(values):
        return jnp.take_along_axis(values, n[None], axis=0, mode="promise_in_bounds")[0]

    row, sounding, kind, second = chosen(rows), chosen(alike), chosen(kinds), chosen(spelt[1])
    ranges = [
        (_of_row(a, row, 0), _of_row(a, sounding, 0), pick(b, kind))
        for a, b in ((model.first, model.pool_first), (model.count, model.pool_count))
    ]
    picks = [_picked(model, edit, first, count) for first, count in zip(*ranges, strict=True)]
    # A segment that sounds alike may be the segment itself: then the next one is taken.
    same = pick(jnp.asarray(model.key), picks[1]) == second
    picks[1] = jnp.where(same, _picked(model, edit, ranges[0][1], ranges[1][1], 1), picks[1])
    other = (ranges[1][1] > 1) | ((ranges[1][1] == 1) & ~same)
    heard_alike = other & sample.bernoulli(coin, pick(jnp.asarray(model.alike, jnp.float32), kind))
    picked = jnp.where(general, jnp.where(heard_alike, picks[1], picks[2]), picks[0])
    some = jnp.where(general, (ranges[1][2] > 0) | heard_alike, row >= 0)
    touching = chosen(steady) & ~general
    length = jnp.where(_free(jnp.where(hit & some, n + 1, 0), touching), n + 1, 0)
    return _Chosen(length, picked), share[0]


def _each(values: jax.Array) -> jax.Array:
    """One value for each text, for an array with an axis of sizes before those of the text."""
    return values[None] if values.ndim else values


def _picked(model: EditModel, word: jax.Array, first: jax.Array, count: jax.Array, step: int = 0) -> jax.Array:
    """One of the edits of a range, or the one a step after it."""
    count = jnp.maximum(count, 1)
    number = multiply_wide(word, count.astype(jnp.uint32))[1].astype(jnp.int32)
    number = jnp.where(number + step >= count, number + step - count, number + step)
    which = jnp.asarray(model.which)
    return pick(which, jnp.clip(first + number, 0, len(which) - 1))


def _free(size: jax.Array, touching: jax.Array | None = None) -> jax.Array:
    """Of segments given by their sizes, 0 for none: those that no chosen one on the left overlaps, left to right.

    With `touching`, something lies between two chosen ones, unless the second one is marked there.
    """
    gap = 0 if touching is None else 1
    marks = jnp.zeros(size.shape, bool) if touching is None else touching

    def step(busy, this):
        size, mark = this
        free = (busy <= mark.astype(jnp.int32)) & (size > 0)
        return jnp.where(free, size + gap, jnp.maximum(busy, 1)) - 1, free

    sizes, marks = (jnp.moveaxis(values, -1, 0) for values in (size, marks))
    return jnp.moveaxis(lax.scan(step, jnp.zeros_like(sizes[0]), (sizes, marks))[1], 0, -1)


def _placed(text: _Text, model: EditModel, chosen: _Chosen) -> tuple[Emission, jax.Array]:
    """What characters emit after the edits of words, and the characters of the segments that are hit."""
    size, word = text.codes.shape[-1], lax.broadcasted_iota(jnp.int32, text.start.shape, text.start.ndim - 1)
    last_word = word + jnp.maximum(chosen.size, 1) - 1
    start, end = text.start, at(text.end, last_word)
    kind, kept, taken, given, letter = _edit(model, chosen.edit)
    whole = kind == WHOLE
    kept = jnp.where(kind == AFTER, end - start, jnp.where(whole, 0, kept))
    taken = jnp.where(whole, end - start + 1, taken)
    # A deleted segment takes the space after it along; the last one of a text, the space before it.
    gone = whole & (given == 0)
    follows = last_word + 1 < text.count
    taken = jnp.where(gone & follows, at(text.start, last_word + 1) - start, taken)
    before = jnp.where(gone & ~follows & (word > 0), start - at(text.end, word - 1) - 1, 0)
    anchor = jnp.where(chosen.size > 0, start + kept - before, size)
    own = jnp.where(kind == BEFORE, given, jnp.where(kind == AFTER, 0, -1))
    # The kept character of an insertion counts as taken, so that the parts never overlap.
    what, covered = [], written(jnp.full(text.codes.shape, -1, jnp.int32), jnp.where(chosen.size > 0, start, size), end)
    taken = jnp.where(own >= 0, 1, taken + before)
    for values, empty in ((given, 0), (letter, 0), (own, 0), (taken, 0)):
        what.append(written(jnp.full(text.codes.shape, empty, jnp.int32), anchor, values))
    place = places(text.codes)
    until = lax.cummax(jnp.where(what[3] > 0, place + what[3] - 1, -1), axis=place.ndim - 1)
    removed = (place <= until) & (what[3] == 0)
    what[2] = jnp.where(removed, -1, what[2])
    covered = place <= lax.cummax(covered, axis=place.ndim - 1)
    return Emission(*lax.optimization_barrier(tuple(what))), covered | removed | (what[3] > 0)


def _edit(model: EditModel, number: jax.Array) -> list[jax.Array]:
    parts = (model.kind, model.kept, model.taken, model.given, model.place)
    return [pick(jnp.asarray(part), number).astype(jnp.int32) for part in parts]


def _characters_hit(key, text: _Text, model: EditModel, level, share, covered, what: Emission) -> Emission:
    """What characters emit after edits of one or two characters, of words that are not hit."""
    place = places(text.codes)
    able = text.data & ~covered & (text.number >= 0)
    sums = running(text.codes, jnp.ones_like(text.data), salted(jnp.asarray(model.salt), CHARACTERS))
    size = text.codes.shape[-1]
    rows = []
    for n in range(1, BLOCK + 1):
        row = _found(model, *ranged(sums, place, jnp.minimum(place + n, size - 1)))
        fits = able & _later(able, n - 1, False) if n > 1 else able
        rows.append(jnp.where(fits & (place + n < size), row, -1))
    rows = jnp.stack(rows)
    hazards = _of_row(model.rate, rows, 0.0) * _each(share * level)
    ends = lax.cumsum(hazards, axis=0)
    total = ends[-1]
    draw, which, edit = (words_like(key, f"text.edits.character{p}", text.codes) for p in ("", ".size", ".edit"))
    hit = sample.bernoulli(draw, -jnp.expm1(-total)) & (total > 0)
    n = jnp.minimum(sum((sample.uniform(which) * total >= end).astype(jnp.int32) for end in ends), BLOCK - 1)
    hit = _free(jnp.where(hit, n + 1, 0))
    row = jnp.take_along_axis(rows, n[None], axis=0, mode="promise_in_bounds")[0]
    picked = _picked(model, edit, _of_row(model.first, row, 0), _of_row(model.count, row, 0))
    _, kept, taken, given, letter = _edit(model, picked)
    anchor = jnp.where(hit, place + kept, size)
    new = [
        written(old, anchor, values) for old, values in zip(what, (given, letter, -1 + 0 * given, taken), strict=True)
    ]
    last = written(jnp.full(place.shape, -1, jnp.int32), anchor, place + kept + taken - 1)
    removed = (place <= lax.cummax(last, axis=place.ndim - 1)) & (last < 0) & ~covered
    new[2] = jnp.where(removed, -1, new[2])
    return Emission(*new)
