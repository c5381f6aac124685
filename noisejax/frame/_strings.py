"""Faults of strings, on the host: typing errors, wrong encodings and known misspellings.

They draw from the NumPy form of the stream, by the number of the row. Only the cells that are hit are read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._checks import Amount
from noisejax._random import host
from noisejax._random.stream import enter
from noisejax.tabular import Mechanism

OPERATIONS = ("insert", "delete", "substitute", "transpose")
_BLOCK = 65536  # rows whose words fit into the cache
_CELLS = 1 << 20  # characters of the strings that are changed at once


def mistyped(
    key: jax.Array,
    x: Any,
    rate: Amount,
    mechanism: Mechanism | None = None,
    *,
    operations: tuple[str, ...] = OPERATIONS,
) -> Any:
    """Typing errors: in a string that is hit, one character is inserted, deleted, substituted or transposed.

    The operation is uniform among those that can change the string, and so is its place. A character that is typed by
    mistake is a neighbour on a QWERTY keyboard; for characters beyond ASCII, the next one of Unicode. Equal neighbours
    are never transposed, and a single character is never deleted.

    Args:
      key: a JAX key.
      x: a sequence of strings, None among them, or one string.
      rate: the probability that a string is hit, in [0, 1], a number or one for each string. 0 is the identity.
      mechanism: in `corrupt`, where hits fall: `noisejax.tabular.at_random` or `block` with a conditioning column.
      operations: some of `'insert'`, `'delete'`, `'substitute'` and `'transpose'`.

    Returns:
      A list of strings, or a string for one.

    Raises:
      ValueError: an unknown operation, or a rate outside [0, 1].

    References:
      Damerau, "A technique for computer detection and correction of spelling errors", CACM 7(3), 1964 (the operations);
      Jung et al., "tab-err" (Typo, with keyboard neighbours).

    Example:
      >>> import jax
      >>> from noisejax import frame
      >>> frame.mistyped(jax.random.key(0), ["nurse", None], 1.0, operations=("transpose",))
      ['unrse', None]
    """
    return _called("mistyped", key, x, rate, mechanism, operations=operations)


def mojibake(key: jax.Array, x: Any, rate: Amount, mechanism: Mechanism | None = None, *, codec: str = "cp1252") -> Any:
    """Wrong encodings: the UTF-8 bytes of a string that is hit are read as Latin-1 or Windows-1252.

    Args:
      key: a JAX key.
      x: a sequence of strings, None among them, or one string.
      rate: the probability that a string that can change is hit, in [0, 1]. ASCII strings do not change. 0 is the
        identity.
      mechanism: as in `mistyped`.
      codec: `'cp1252'`, with the five bytes that it leaves undefined read as in Latin-1, as browsers do, or
        `'latin-1'`.

    Returns:
      A list of strings, or a string for one.

    References:
      WHATWG, "Encoding standard" (windows-1252); Jung et al., "tab-err" (Mojibake).

    Example:
      >>> import jax
      >>> from noisejax import frame
      >>> frame.mojibake(jax.random.key(0), ["Zoë", "Zoe"], 1.0)
      ['ZoÃ«', 'Zoe']
    """
    return _called("mojibake", key, x, rate, mechanism, codec=codec)


def misspelt(key: jax.Array, x: Any, rate: Amount, mechanism: Mechanism | None = None, *, table: Any) -> Any:
    """Known misspellings: a value that is hit becomes one of its alternatives in a table.

    Args:
      key: a JAX key.
      x: a sequence of strings, None among them, or one string.
      rate: the probability that a value that the table has is hit, in [0, 1]. 0 is the identity.
      mechanism: as in `mistyped`.
      table: pairs of a value and its alternatives, which are equally likely: ``(("colour", ("color", "coulour")),)``.
        `similar` makes one.

    Returns:
      A list of strings, or a string for one.

    Raises:
      TypeError: a table that does not consist of such pairs.

    Example:
      >>> import jax
      >>> from noisejax import frame
      >>> frame.misspelt(jax.random.key(0), ["Berlin", "Bonn"], 1.0, table=(("Berlin", ("Brelin",)),))
      ['Brelin', 'Bonn']
    """
    return _called("misspelt", key, x, rate, mechanism, table=table)


def similar(values: Sequence[str], limit: int = 3, *, most: int = 2) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A table for `misspelt`: for each value, the other values whose spelling is most similar.

    Args:
      values: the different values, such as ``schema["city"].classes``.
      limit: the largest number of alternatives of a value, at least 1.
      most: the largest number of edits (insertions, deletions, substitutions, transpositions of neighbours) between a
        value and an alternative, at least 1.

    Returns:
      Pairs of a value and its alternatives. Values without any are left out.

    Raises:
      ImportError: rapidfuzz is not installed.

    Example:
      >>> from noisejax import frame
      >>> frame.similar(["Bonn", "Born", "Köln"])
      (('Bonn', ('Born',)), ('Born', ('Bonn',)))
    """
    limit, most = _checks.count("similar", "limit", limit, 1), _checks.count("similar", "most", most, 1)
    if isinstance(values, (str, bytes, Mapping)) or not _is_list(values):
        raise TypeError(f"similar: values must be a list of strings, got {values!r}.")
    try:
        from rapidfuzz import distance, process
    except ImportError:
        raise ImportError("similar: edit distances need rapidfuzz: pip install 'noisejax[frame]'.") from None
    names = list(dict.fromkeys(map(str, values)))
    apart = process.cdist(names, names, scorer=distance.OSA.distance, score_cutoff=most)
    table = []
    for row, name in enumerate(names):
        near = [n for n in np.argsort(apart[row], kind="stable") if n != row and apart[row, n] <= most][:limit]
        if near:
            table.append((name, tuple(names[n] for n in near)))
    return tuple(table)


def _is_list(values: Any) -> bool:
    """Whether these are several values in order: a sequence, or an array of NumPy, pandas and the like."""
    return isinstance(values, Sequence) or (hasattr(values, "__array__") and getattr(values, "ndim", 0) == 1)


Rule = Callable[..., tuple[np.ndarray, list[str]]]
_RULES: dict[str, Rule] = {}


def _called(function: str, key: Any, x: Any, rate: Any, mechanism: Any, **options: Any) -> Any:
    """A fault of strings on a sequence."""
    key = enter(function, key)
    host.known(function, key)
    rate = arithmetic_amount(function, "rate", rate, _checks.rate)
    if isinstance(rate, Tracer):
        raise TypeError(
            f"{function}: rate must be known, since this runs on the host, got a traced one. Leave out jit."
        )
    rate = np.asarray(rate)
    if isinstance(x, (bytes, Mapping)) or not (isinstance(x, str) or _is_list(x)):
        raise TypeError(f"{function}: x must be a string or a list of strings, got {x!r}.")
    rows = 1 if isinstance(x, str) else len(x)
    if rate.size not in (1, rows) or rate.ndim > 1:
        raise ValueError(f"{function}: rate must be one number, or one for each of {rows} strings, got {rate.shape}.")
    if mechanism is not None:
        raise TypeError(f"{function}: a mechanism needs the other columns of a table. Use frame.corrupt.")
    strings = np.array([x] if isinstance(x, str) else [*x, None], object)[: 1 if isinstance(x, str) else len(x)]
    wrong = next((n for n, s in enumerate(strings) if not (s is None or isinstance(s, str) or s != s)), None)
    if wrong is not None:
        raise TypeError(f"{function}: x must hold strings, got {strings[wrong]!r} in row {wrong}.")
    eligible = np.array([isinstance(s, str) for s in strings], bool)
    rule = _RULES[function]
    numbers = np.arange(len(strings))
    rows, values = rule(host.host_stream(key), lambda rows: strings[rows], eligible, numbers, rate, **options)
    strings[rows] = values
    return strings[0] if isinstance(x, str) else strings.tolist()


def _drawn(stream: host.HostStream, tag: str, eligible: np.ndarray, numbers: np.ndarray, rate: Any) -> np.ndarray:
    """The rows that are hit."""
    rate = np.asarray(rate, np.float32).reshape(-1)
    found = []
    for low in range(0, len(numbers), _BLOCK):
        part = slice(low, low + _BLOCK)
        w = host.words(stream, tag, numbers[part])
        hit = eligible[part] & host.bernoulli(w, rate if len(rate) == 1 else rate[part])
        found.append(low + np.flatnonzero(hit))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _integers(stream: host.HostStream, tag: str, numbers: np.ndarray, n: Any) -> np.ndarray:
    return host.integers(host.words(stream, tag, numbers), np.zeros(1, np.uint32), n)


def _mistype(stream, at, eligible, numbers, rate, *, operations=OPERATIONS) -> tuple[np.ndarray, list[str]]:
    if isinstance(operations, str) or not operations:
        raise TypeError(f"mistyped: operations must be a tuple of names, got {operations!r}.")
    for operation in operations:
        _checks.one_of("mistyped", "an operation", operation, OPERATIONS)
    rows = _drawn(stream, "frame.mistyped", eligible, numbers, rate)
    strings = at(rows)
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    order = np.argsort(lengths, kind="stable")  # blocks of similar lengths waste no memory
    out_rows, out = [], []
    low = 0
    while low < len(order):
        widest = np.maximum.accumulate(lengths[order[low:]]) + 1
        count = max(int(np.searchsorted(widest * np.arange(1, len(widest) + 1), _CELLS, "right")), 1)
        block = order[low : low + count]
        done, values = _typed(stream, strings[block].tolist(), lengths[block], numbers[rows[block]], operations)
        out_rows.append(rows[block][done])
        out += values
        low += count
    return np.concatenate(out_rows) if out_rows else rows, out


def _typed(stream, strings: list[str], lengths: np.ndarray, numbers: np.ndarray, operations) -> tuple[np.ndarray, list]:
    """The strings that change, as a mask, and their new values."""
    m, width = len(strings), int(lengths.max(initial=0)) + 1
    text = np.array(strings, f"U{width}").reshape(m, 1).view(np.uint32).reshape(m, width)
    column = np.arange(width)
    pairs = (text[:, :-1] != text[:, 1:]) & (column[1:] < lengths[:, None])
    swaps = pairs.sum(1)
    ways = {"insert": lengths >= 0, "delete": lengths > 1, "substitute": lengths > 0, "transpose": swaps > 0}
    possible = np.stack([ways[operation] for operation in operations], axis=1)
    count = possible.sum(1)
    pick = _integers(stream, "frame.mistyped.operation", numbers, np.maximum(count, 1))
    chosen = (np.cumsum(possible, axis=1) > pick[:, None]).argmax(1)
    kind = np.array([OPERATIONS.index(operation) for operation in operations])[chosen]
    insert, delete, substitute, transpose = (kind == n for n in range(4))
    places = np.where(transpose, swaps, lengths + insert)
    place = _integers(stream, "frame.mistyped.place", numbers, np.maximum(places, 1)).astype(np.int64)
    place = np.where(transpose, (np.cumsum(pairs, axis=1) > place[:, None]).argmax(1) if width > 1 else 0, place)
    # Where each character of the result comes from.
    column, at_place = column[None], place[:, None]
    source = column - (insert[:, None] & (column > at_place)) + (delete[:, None] & (column >= at_place))
    source = source + (transpose[:, None] & (column == at_place)) - (transpose[:, None] & (column == at_place + 1))
    result = np.take_along_axis(text, np.clip(source, 0, width - 1), axis=1)
    row = np.arange(m)
    meant = text[row, np.maximum(place - insert, 0)]
    typed = insert | substitute
    letter = _neighbouring(meant, host.words(stream, "frame.mistyped.letter", numbers))
    result[row[typed], place[typed]] = letter[typed]
    new = lengths + insert - delete
    result[column >= new[:, None]] = 0
    done = count > 0
    values = np.ascontiguousarray(result[done]).view(f"U{width}").reshape(-1).tolist()
    new = new[done].tolist()
    return done, [v if len(v) == n else v + "\0" * (n - len(v)) for v, n in zip(values, new, strict=True)]


def _neighbouring(code: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The character of a key next to that of each character."""
    ascii_too = code < 128
    known = np.where(ascii_too, code, 0)
    pick = host.integers(w, np.zeros(1, np.uint32), COUNT[known])
    following = np.where((code == 0xD7FF) | (code >= 0x10FFFF), code - 1, code + 1)
    return np.where(ascii_too, NEIGHBOURS[known, pick], following).astype(np.uint32)


def _garble(stream, at, eligible, numbers, rate, *, codec="cp1252") -> tuple[np.ndarray, list[str]]:
    _checks.one_of("mojibake", "codec", codec, ("cp1252", "latin-1"))
    rows = _drawn(stream, "frame.mojibake", eligible, numbers, rate)
    strings = at(rows)
    changes = np.fromiter((not s.isascii() for s in strings), bool, len(strings))
    values = [s.encode("utf-8", "surrogatepass").decode("latin-1") for s in strings[changes]]
    return rows[changes], [s.translate(_WINDOWS) for s in values] if codec == "cp1252" else values


_UNDEFINED = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
_WINDOWS = {n: bytes([n]).decode("cp1252") for n in range(0x80, 0xA0) if n not in _UNDEFINED}


def _misspell(stream, at, eligible, numbers, rate, *, table) -> tuple[np.ndarray, list[str]]:
    known = _table(table)
    rows = _drawn(stream, "frame.misspelt", eligible, numbers, rate)
    ways = [known.get(s, ()) for s in at(rows)]
    count = np.fromiter(map(len, ways), np.int64, len(ways))
    pick = _integers(stream, "frame.misspelt.which", numbers[rows], np.maximum(count, 1)).tolist()
    return rows[count > 0], [way[n] for way, n in zip(ways, pick, strict=True) if way]


def _table(table: Any) -> dict[str, tuple[str, ...]]:
    pairs = table.items() if isinstance(table, Mapping) else table
    try:
        found = {value: tuple(ways) for value, ways in pairs}
        right = all(
            isinstance(v, str) and all(isinstance(w, str) for w in ways) for v, ways in found.items()
        ) and not any(isinstance(ways, str) for _, ways in pairs)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise TypeError(
            f"misspelt: table must be pairs of a string and its alternatives, (('colour', ('color',)),), got {table!r}."
        )
    return {value: tuple(way for way in ways if way != value) for value, ways in found.items()}


_RULES.update(mistyped=_mistype, mojibake=_garble, misspelt=_misspell)
for _function in (mistyped, mojibake, misspelt):
    _function.__strings__ = _RULES[_function.__name__]  # pyright: ignore[reportFunctionMemberAccess] read by corrupt


# The keys next to each key of a QWERTY keyboard, for the characters of ASCII.
_ROWS = ("`1234567890-=", " qwertyuiop[]\\", " asdfghjkl;'", " zxcvbnm,./")
_SHIFTED = ("~!@#$%^&*()_+", " QWERTYUIOP{}|", ' ASDFGHJKL:"', " ZXCVBNM<>?")
_SPACE = "xcvbnm"  # above the space bar


def _neighbours() -> dict[str, str]:
    """A key touches those left and right of it, and two each in the rows above and below, which are offset."""
    found: dict[str, str] = {" ": _SPACE}
    for rows in (_ROWS, _SHIFTED):
        for r, row in enumerate(rows):
            for c, character in enumerate(row):
                if character == " ":
                    continue
                spots = [(r, c - 1), (r, c + 1), (r - 1, c), (r - 1, c + 1), (r + 1, c - 1), (r + 1, c)]
                near = [rows[i][j] for i, j in spots if 0 <= i < len(rows) and 0 <= j < len(rows[i])]
                found[character] = "".join(key for key in near if key != " ")
    return found


def _keys() -> tuple[np.ndarray, np.ndarray]:
    keys = _neighbours()
    known = [keys.get(chr(code), " ") for code in range(128)]  # control characters become spaces
    widest = max(map(len, known))
    return np.array([[ord(c) for c in k.ljust(widest)] for k in known], np.uint32), np.array([len(k) for k in known])


NEIGHBOURS, COUNT = _keys()
