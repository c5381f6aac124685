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
from noisejax.text._graphemes import Graphemes as Graphemes

__all__ = [
    "Alignment",
    "Graphemes",
    "alignment",
    "decode",
    "delete",
    "encode",
    "graphemes",
    "insert",
    "repeat",
    "substitute",
    "transpose",
    "typos",
]
