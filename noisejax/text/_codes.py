"""Strings to arrays of code points and back, on the host, by whole buffers and not by loops."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._padded import Padded
from noisejax.text._graphemes import Graphemes


def encode(
    strings: Sequence[str], *, length: int | None = None, alphabet: Graphemes | None = None, dtype: Any = np.uint32
) -> Padded:
    """Strings as a `noisejax.Padded` of code points (B, L), with room for what noises insert.

    The arrays are NumPy arrays: they go to the device with the first noise.

    Args:
      strings: a sequence of strings, at least one. Every character is kept, whitespace and control characters included.
      length: the capacity L. None for the longest string plus a quarter of it plus 8.
      alphabet: `graphemes` of strings, which keeps combining marks and emoji whole. None for single code points.
      dtype: ``uint32``, or ``uint8`` for text that has no code point above 255.

    Returns:
      A `noisejax.Padded` with values of shape (B, L). Places beyond the length of a string are 0.

    Raises:
      TypeError: strings is a single string, or contains something else.
      ValueError: there are no strings, a string does not fit into `length` or `dtype`, or it has a lone surrogate.

    Example:
      >>> import noisejax as nj
      >>> text = nj.text.encode(["naïve", "日本"])
      >>> text.values.shape, text.lengths.tolist()
      ((2, 14), [5, 2])
      >>> nj.text.decode(text)
      ['naïve', '日本']
    """
    strings = strings_of("encode", strings)
    _check_alphabet("encode", alphabet)
    if isinstance(dtype, (jax.Array, np.ndarray, np.generic)) or np.dtype(_dtype(dtype)) not in (np.uint8, np.uint32):
        raise ValueError(f"encode: dtype must be uint8 or uint32, got {_checks.shown(dtype)}.")
    dtype = np.dtype(dtype)
    flat, lengths = code_points("encode", strings)
    if alphabet is not None:
        flat, lengths = alphabet.coded("encode", flat, lengths)
    longest = int(lengths.max())
    if length is None:
        length = longest + longest // 4 + 8
    elif longest > (length := _checks.count("encode", "length", length)):
        raise ValueError(
            f"encode: length must be at least that of the longest string, {longest}, got {length}. Cut the strings "
            "first, or leave out length for a capacity with room for insertions."
        )
    if flat.size and int(flat.max()) > np.iinfo(dtype).max:
        raise ValueError(
            f"encode: dtype uint8 holds code points up to 255, got {int(flat.max())} in "
            f"{_first(strings, lengths, flat)}. Use dtype=np.uint32."
        )
    values = np.zeros((len(strings), length), dtype)
    values[np.arange(length) < lengths[:, None]] = flat
    return Padded(values, lengths)


def decode(text: Padded, *, alphabet: Graphemes | None = None) -> list[str]:
    """The strings of a `noisejax.Padded` of code points: the inverse of `encode`.

    Args:
      text: values of shape (B, L), on the host or on a device.
      alphabet: the `graphemes` with which the text was encoded.

    Returns:
      A list of B strings.

    Raises:
      TypeError: text is not a `noisejax.Padded` of integers.
      ValueError: a value is not a code point. Pass the alphabet with which the text was encoded.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["hello"])
      >>> nj.text.decode(nj.text.delete(jax.random.key(0), text, 1.0))
      ['']
    """
    if not isinstance(text, Padded) or np.dtype(text.values.dtype).kind not in "iu" or text.values.ndim != 2:
        got = f"{text.values.dtype}{list(text.values.shape)}" if isinstance(text, Padded) else type(text).__name__
        raise TypeError(
            f"decode: text must be a Padded of integers of shape (B, L), as nj.text.encode makes, got {got}."
        )
    _check_alphabet("decode", alphabet)
    if isinstance(text.values, Tracer) or isinstance(text.lengths, Tracer):
        raise TypeError(
            "decode: text must be known, since strings are made on the host, got a traced one. Leave out jit."
        )
    values, lengths = np.asarray(text.values), np.clip(np.asarray(text.lengths), 0, text.values.shape[1])
    flat = values[np.arange(values.shape[1]) < lengths[:, None]].astype(np.int64)
    if alphabet is not None:
        flat, lengths = alphabet.points("decode", flat, lengths)
    wrong = (flat < 0) | (flat > 0x10FFFF) | ((flat >= 0xD800) & (flat < 0xE000))
    if np.any(wrong):
        raise ValueError(
            f"decode: every value must be a code point, got {int(flat[wrong][0])} among them. If the text was encoded "
            "with an alphabet, pass it: decode(text, alphabet=alphabet)."
        )
    everything = flat.astype("<u4").tobytes().decode("utf-32-le")
    ends = np.cumsum(lengths).tolist()
    return [everything[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def graphemes(strings: Sequence[str]) -> Graphemes:
    """An alphabet of characters as users perceive them: a base with its combining marks, or a whole emoji, is one code.

    Clusters of one code point keep it. Each longer cluster that occurs in the strings gets a private code above
    0x10FFFF. With the alphabet, no noise separates an accent from its letter or takes an emoji apart.

    Args:
      strings: the strings whose clusters are to be coded, for instance all texts of a data set.

    Returns:
      A `Graphemes` to pass to `encode` and `decode`.

    References:
      Unicode Standard Annex 29, "Unicode text segmentation": extended grapheme clusters, without the rules for
      prepended marks (GB9b) and conjuncts of Indic scripts (GB9c).

    Example:
      >>> import noisejax as nj
      >>> strings = ["e\\u0301t\\u0301", "👩‍🚀!"]
      >>> alphabet = nj.text.graphemes(strings)
      >>> text = nj.text.encode(strings, alphabet=alphabet)
      >>> text.lengths.tolist()
      [2, 2]
      >>> nj.text.decode(text, alphabet=alphabet) == strings
      True
    """
    return Graphemes.of(*code_points("graphemes", strings_of("graphemes", strings)))


def _check_alphabet(function: str, alphabet: Any) -> None:
    if alphabet is not None and not isinstance(alphabet, Graphemes):
        raise TypeError(f"{function}: alphabet must be made by nj.text.graphemes, got {_checks.shown(alphabet)}.")


def _dtype(given: Any) -> Any:
    """What may be a dtype; one that no text has for what is none."""
    try:
        return np.dtype(given)
    except (TypeError, ValueError):
        return np.object_


def strings_of(function: str, strings: Any, name: str = "strings") -> list[str]:
    """A list of strings, at least one."""
    if isinstance(strings, (str, bytes)):
        raise TypeError(f"{function}: {name} must be a sequence of strings, got a single one. Write [{strings!r:.40}].")
    if isinstance(strings, (Mapping, Set, type, jax.Array)) or not isinstance(strings, Iterable):
        raise TypeError(f"{function}: {name} must be a sequence of strings, got {_checks.shown(strings)}.")
    strings = list(strings)
    if not strings:
        raise ValueError(f"{function}: {name} must hold at least one string, got none.")
    for number, string in enumerate(strings):
        if not isinstance(string, str):
            raise TypeError(
                f"{function}: {name} must hold strings, got a {type(string).__name__} at position {number}: "
                f"{string!r:.40}. Replace missing values first."
            )
    return strings


def code_points(function: str, strings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The code points of all strings in one array, and the length of each string."""
    lengths = np.fromiter(map(len, strings), np.int32, len(strings))
    try:
        flat = np.frombuffer("".join(strings).encode("utf-32-le"), "<u4")
    except UnicodeEncodeError as error:
        number = int(np.searchsorted(np.cumsum(lengths), error.start, side="right"))
        raise ValueError(
            f"{function}: strings must not contain lone surrogates, which are no characters, got "
            f"U+{ord(error.object[error.start]):04X} in string {number}. Remove it: "
            "string.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        ) from None
    return flat, lengths


def _first(strings: list[str], lengths: np.ndarray, flat: np.ndarray) -> str:
    number = int(np.searchsorted(np.cumsum(lengths), int(flat.argmax()), side="right"))
    return f"string {number}, {strings[number]!r:.40}"
