"""Faults of text: what people, scanners and tokenizers do to it.

A text is a `noisejax.Padded` of code points or token ids (B, L), made by `encode` from strings. Noises of characters
are calibrated: their rate is the character error rate. `alignment` says which entry came from where.
"""

from noisejax.text._alignment import Alignment as Alignment, alignment as alignment
from noisejax.text._characters import (
    delete as delete,
    insert as insert,
    repeat as repeat,
    substitute as substitute,
    transpose as transpose,
    typos as typos,
)
from noisejax.text._codes import decode as decode, encode as encode, graphemes as graphemes
from noisejax.text._encodings import mojibake as mojibake, whitespace as whitespace
from noisejax.text._glyphs import case as case, homoglyph as homoglyph, ocr as ocr
from noisejax.text._graphemes import Graphemes as Graphemes
from noisejax.text._keyboard import keyboard as keyboard
from noisejax.text._learnt.edits import edits as edits
from noisejax.text._learnt.fit import fit_edits as fit_edits
from noisejax.text._learnt.model import Edit as Edit, EditModel as EditModel
from noisejax.text._strings import OnStrings as OnStrings, on_strings as on_strings
from noisejax.text._tokens.single import (
    delete_tokens as delete_tokens,
    mask_tokens as mask_tokens,
    replace_tokens as replace_tokens,
    swap_tokens as swap_tokens,
)
from noisejax.text._tokens.spans import (
    SpanLengths as SpanLengths,
    Spans as Spans,
    span_lengths as span_lengths,
    span_mask as span_mask,
    spans as spans,
)
from noisejax.text._words.misspell import drop_words as drop_words, misspell as misspell
from noisejax.text._words.table import Misspellings as Misspellings, misspellings as misspellings

__all__ = [
    "Alignment",
    "Edit",
    "EditModel",
    "Graphemes",
    "Misspellings",
    "OnStrings",
    "SpanLengths",
    "Spans",
    "alignment",
    "case",
    "decode",
    "delete",
    "delete_tokens",
    "drop_words",
    "edits",
    "encode",
    "fit_edits",
    "graphemes",
    "homoglyph",
    "insert",
    "keyboard",
    "mask_tokens",
    "misspell",
    "misspellings",
    "mojibake",
    "ocr",
    "on_strings",
    "repeat",
    "replace_tokens",
    "span_lengths",
    "span_mask",
    "spans",
    "substitute",
    "swap_tokens",
    "transpose",
    "typos",
    "whitespace",
]
