"""What software does to text: whitespace that is doubled, lost or exchanged, and bytes read in the wrong encoding."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._batch import padded_noise
from noisejax._contract import Amount, Mask, Moved
from noisejax._padded import Padded
from noisejax._random import sample
from noisejax._random.stream import along, words, words_like
from noisejax.text._edits import (
    INTEGERS,
    OF,
    Slot,
    check_integers,
    check_shape,
    emit,
    host_data,
    of_all,
    per_text,
    places,
    reaches,
)

_KINDS = ("double", "drop", "tab", "nbsp")
_SPACE, _TAB, _NBSP = 0x20, 0x09, 0xA0


def _whitespace_options(shape, batch_ndim, kinds, of) -> None:
    check_shape("whitespace")(shape, batch_ndim)
    _checks.one_of("whitespace", "of", of, OF)
    for kind in kinds if isinstance(kinds, tuple) else (kinds,):
        _checks.one_of("whitespace", "every kind", kind, _KINDS)
    if not isinstance(kinds, tuple) or not kinds or len(set(kinds)) != len(kinds):
        raise ValueError(f"whitespace: kinds must be a tuple of different kinds, at least one, got {kinds!r}.")


def _whitespace_host(x, rate, kinds, of) -> None:
    reaches("whitespace", rate, of, (x.values == _SPACE).astype(np.float32), host_data(x), "that are spaces")


@padded_noise(INTEGERS, options=_whitespace_options, host=_whitespace_host, ranges={"rate": _checks.rate}, aligned=True)
def whitespace(
    key: jax.Array,
    x: Padded,
    rate: Amount,
    *,
    kinds: tuple[str, ...] = _KINDS,
    of: str = "eligible",
    lengths: Mask = None,
) -> Moved:
    """Spaces that are doubled, dropped, or exchanged for tabs or non-breaking spaces.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the probability that a space (U+0020) is hit, in [0, 1]; traced values are clamped. 0 is the identity.
      kinds: what happens to a space that is hit, with equal probabilities: some of ``"double"``, ``"drop"``, ``"tab"``
        and ``"nbsp"``. Static.
      of: ``"eligible"`` if the rate counts spaces; ``"all"`` if it is the error rate of all characters of a text.
        Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    Raises:
      ValueError: an unknown kind, or x on the host has too few spaces for a rate of all characters.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox"])
      >>> nj.text.decode(nj.text.whitespace(jax.random.key(0), text, 1.0, kinds=("drop",)))
      ['thequickbrownfox']
    """
    check_integers("whitespace", x.values)
    values, data = x.values, x.mask
    space = (values == _SPACE) & data
    rate = per_text("whitespace", "rate", rate, x)
    if of == "all":
        rate = of_all(rate, space.astype(jnp.float32), data)
    hit = sample.bernoulli(words_like(key, "whitespace", values), rate) & space
    drawn = sample.integers(
        words_like(key, "whitespace.kind", values), words_like(key, "whitespace.kind.low", values), len(kinds)
    )
    does = {kind: hit & (drawn == number) for number, kind in enumerate(kinds)}
    nothing = jnp.zeros_like(hit)
    changed = jnp.where(does.get("tab", nothing), jnp.asarray(_TAB, values.dtype), values)
    changed = jnp.where(does.get("nbsp", nothing), jnp.asarray(_NBSP, values.dtype), changed)
    slots = [Slot(data & ~does.get("drop", nothing), changed, places(values))]
    return emit(x, [*slots, Slot(does["double"], values)] if "double" in does else slots)


# The characters of the bytes 0x80 to 0x9F in Windows-1252. The five that it leaves undefined are control characters.
_UNDEFINED = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
_WINDOWS = np.array([code if code in _UNDEFINED else ord(bytes([code]).decode("cp1252")) for code in range(128, 160)])
_CODECS, _MODES = ("cp1252", "latin-1"), ("example", "element")


def _mojibake_options(shape, batch_ndim, codec, mode, of) -> None:
    check_shape("mojibake")(shape, batch_ndim)
    for name, value, allowed in (("codec", codec, _CODECS), ("mode", mode, _MODES), ("of", of, OF)):
        _checks.one_of("mojibake", name, value, allowed)


def _bytes_of(code, xp):
    """How many bytes UTF-8 has for each code point, as float32; 0 for those that stay: ASCII, and no code points."""
    size = 2 + (code >= 0x800).astype(xp.float32) + (code >= 0x10000).astype(xp.float32)
    return xp.where((code >= 0x80) & (code < 0x110000), size, 0)


def _mojibake_host(x, rate, codec, mode, of) -> None:
    size = _bytes_of(x.values.astype(np.uint32), np)
    reaches("mojibake", rate, of, size, host_data(x), "beyond ASCII, by the edits of each")


@padded_noise(INTEGERS, options=_mojibake_options, host=_mojibake_host, ranges={"rate": _checks.rate}, aligned=True)
def mojibake(
    key: jax.Array,
    x: Padded,
    rate: Amount,
    *,
    codec: str = "cp1252",
    mode: str = "example",
    of: str = "eligible",
    lengths: Mask = None,
) -> Moved:
    """Wrong encodings: the UTF-8 bytes of characters are read as Windows-1252 or Latin-1.

    Each character beyond ASCII becomes two to four. ASCII characters never change.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the probability that a text, or with ``mode="element"`` a character beyond ASCII, is hit, in [0, 1]; traced
        values are clamped. 0 is the identity.
      codec: ``"cp1252"``, with the five bytes that it leaves undefined read as control characters, as browsers do, or
        ``"latin-1"``. Static.
      mode: ``"example"`` if a text is misread as a whole, which is what happens, or ``"element"``. Static.
      of: ``"eligible"`` for the rate above; ``"all"`` if it is the character error rate of all characters, of which
        every byte of a misread character costs one. Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    Raises:
      ValueError: x on the host has too few such characters for a rate of all, or x's dtype cannot hold Windows-1252.

    References:
      WHATWG, "Encoding standard": windows-1252; RFC 3629 for UTF-8.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["Zoë’s café"], length=20)
      >>> nj.text.decode(nj.text.mojibake(jax.random.key(0), text, 1.0))
      ['ZoÃ«â€™s cafÃ©']
    """
    check_integers("mojibake", x.values)
    values, data = x.values, x.mask
    if codec == "cp1252" and jnp.iinfo(values.dtype).max < _WINDOWS.max():
        raise ValueError(
            f"mojibake: x of {values.dtype} cannot hold the characters of codec='cp1252'. Encode the text with "
            "dtype=np.uint32, or use codec='latin-1'."
        )
    code = values.astype(jnp.uint32)
    size = _bytes_of(code, jnp)
    rate = per_text("mojibake", "rate", rate, x)
    if of == "all":
        rate = of_all(rate, size, data)
    if mode == "example":
        word = words(key, "mojibake", **along(values, range(values.ndim - 1)))
    else:
        word = words_like(key, "mojibake", values)
    hit = sample.bernoulli(word, rate) & data & (size > 0)
    slots = []
    for place in range(4):
        last = size.astype(jnp.int32) - 1 - place  # how many bytes follow
        six = (code >> (6 * jnp.clip(last, 0, 3)).astype(jnp.uint32)) & jnp.uint32(0x3F)
        if place == 0:
            mark = jnp.where(size == 2, 0xC0, jnp.where(size == 3, 0xE0, 0xF0)).astype(jnp.uint32)
            byte = mark | six
        else:
            byte = jnp.uint32(0x80) | six
        if codec == "cp1252":
            table = jnp.asarray(_WINDOWS, jnp.uint32)
            low = jnp.clip(byte.astype(jnp.int32) - 0x80, 0, len(_WINDOWS) - 1)
            byte = jnp.where((byte >= 0x80) & (byte < 0xA0), table.at[low].get(mode="promise_in_bounds"), byte)
        if place == 0:
            slots.append(Slot(data, jnp.where(hit, byte.astype(values.dtype), values), places(values)))
        else:
            slots.append(Slot(hit & (last >= 0), byte.astype(values.dtype)))
    return emit(x, slots)
