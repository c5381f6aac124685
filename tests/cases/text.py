"""Noises of texts: rows of integers with lengths, and room in which insertions fit."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import noisejax as nj
from cases.padded import PaddedCase
from noisejax.text._learnt.align import pair_of
from noisejax.text._learnt.channel import channel_of
from noisejax.text._learnt.fit import assembled

LETTERS = np.array([97, 98, 32, 99, 32, 233, 0x456, 109], np.uint32)  # of every kind that a fault looks for


def between(least: Callable, most: Callable) -> Callable:
    """The shape stays, padding is 0, and new lengths lie between bounds that follow from the old ones."""

    def check(x: nj.Padded, y: nj.Padded) -> None:
        n = np.asarray(x.lengths)
        assert y.values.shape == x.values.shape
        assert (least(n) <= np.asarray(y.lengths)).all()
        assert (np.asarray(y.lengths) <= np.minimum(most(n), x.values.shape[1])).all()

    return check


class TextCase(PaddedCase):
    def array(self) -> nj.Padded:
        values = np.random.default_rng(7).choice(LETTERS, self.shape).astype(self.dtype)
        n = self.shape[1] // 4  # so that two stages that double a text still fit
        lengths = np.resize(np.array([n, n - 1, n // 2, 2, n, 1, 0], np.int32), self.shape[:1])
        values[np.arange(self.shape[1]) >= lengths[:, None]] = 0
        return nj.Padded(jnp.asarray(values), jnp.asarray(lengths), jnp.arange(self.shape[0], dtype=jnp.int32))

    @property
    def dtype(self) -> Any:
        return np.uint32


SAME = between(lambda n: n, lambda n: n)
FEWER = between(lambda n: 0 * n, lambda n: n)
MORE = between(lambda n: n, lambda n: 2 * n)
MOST = between(lambda n: n, lambda n: 4 * n)
ANY = between(lambda n: 0 * n, lambda n: 2 * n)


def text(function: Callable, check: Callable, rate: float | None = 0.4, note: str = "", **options: Any) -> TextCase:
    amounts = {"rate": rate, **{name: options.pop(name) for name in ("table", "model") if name in options}}
    if rate is None:
        del amounts["rate"]
    return TextCase(function, check, amounts, options, shape=(8, 48), note=note)


MISSPELT = nj.text.misspellings({"a": ["aa"], "b": ["d"], "c": ["cd"], "ab": ["ba", "a"], "éі": ["é"]})


def learnt() -> nj.text.EditModel:
    """A model of edits as `fit_edits` makes it, without the simulation that finds the scale of its rates."""
    channel = channel_of([pair_of(*pair) for pair in [("a b", "ab"), ("ab c", "b c"), ("bа", "b"), ("c", "c a")] * 5])
    return assembled(channel, np.array([0.5, 1.5]), np.array([0.5, 0.5]), 1.0, np.ones(2, np.float32))


TEXT = [
    text(nj.text.typos, ANY),
    text(nj.text.substitute, SAME),
    text(nj.text.delete, FEWER),
    text(nj.text.insert, MORE),
    text(nj.text.repeat, MORE),
    text(nj.text.transpose, SAME),
    text(nj.text.keyboard, SAME),
    text(nj.text.ocr, ANY),
    text(nj.text.homoglyph, SAME),
    text(nj.text.case, SAME),
    text(nj.text.whitespace, ANY),
    text(nj.text.mojibake, MOST, mode="element"),
    text(nj.text.misspell, ANY, table=MISSPELT),
    text(nj.text.edits, ANY, rate=None, model=learnt()),
    text(nj.text.drop_words, FEWER),
    text(nj.text.mask_tokens, SAME, mask_id=1, vocab_size=2000),
    text(nj.text.span_mask, SAME, mask_id=1, vocab_size=2000),
    text(nj.text.swap_tokens, SAME),
    text(nj.text.replace_tokens, SAME, vocab_size=2000),
    text(nj.text.delete_tokens, FEWER),
]
