"""How a word sounds: the classes of its consonants, so that words that are spelt differently share a key."""

import functools
import unicodedata

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax.text._edits import pick, preceding
from noisejax.text._words.split import Running, running

_LAST = 0x3000  # characters from here on are classes of their own
_CLASSES = {1: "bfpv", 2: "cgjkqsxz", 3: "dt", 4: "l", 5: "mn", 6: "r"}
_VOWEL, _BREATH = 7, 8  # these count at the start of a word alone


def sound(string: str) -> str:
    """The key of a word or of several: one character for each class that is heard.

    It follows Soundex (Russell and Odell, 1918; Knuth, "The art of computer programming", volume 3, section 6.4), but
    is not cut after four characters, and its first letter is a class as well.
    """
    table, key = _classes(), []
    for word in string.split():
        before = 0
        for place, letter in enumerate(word):
            code = ord(letter)
            own = int(table[code]) if code < _LAST else code
            if (own not in (_VOWEL, _BREATH) or place == 0) and own != before:
                key.append(chr(own))
            before = own
    return "".join(key)


def heard(codes: jax.Array, inside: jax.Array, salt: jax.Array) -> Running:
    """The running sums of the classes of a text's characters, of which `ranged` makes the hash of `sound`.

    Args:
      codes: uint32.
      inside: the characters of words.
    """
    known = pick(_classes(), jnp.minimum(codes, jnp.uint32(_LAST)).astype(jnp.int32))
    own = jnp.where(codes < _LAST, known, codes)
    before = jnp.where(preceding(inside), preceding(own), 0)
    quiet = ((own == _VOWEL) | (own == _BREATH)) & preceding(inside)
    counted = inside & ~quiet & (own != before)
    rank = lax.cumsum(counted.astype(jnp.int32), axis=codes.ndim - 1) - counted.astype(jnp.int32)
    return running(own, counted, salt, rank)


@functools.cache
def _classes() -> np.ndarray:
    """The class of each character: of letters of the Latin alphabet their consonant's, of others the code itself."""
    table = np.arange(_LAST + 1, dtype=np.uint32)
    groups = {letter: n for n, letters in _CLASSES.items() for letter in letters}
    groups |= {**dict.fromkeys("aeiou", _VOWEL), **dict.fromkeys("hwy", _BREATH)}
    for code in range(_LAST):
        base = unicodedata.normalize("NFD", chr(code))[0].lower()
        if base in groups:
            table[code] = groups[base]
    return table
