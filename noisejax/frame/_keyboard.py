"""The keys next to each key of a QWERTY keyboard, for the characters of ASCII."""

import numpy as np

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


def _table() -> tuple[np.ndarray, np.ndarray]:
    keys = _neighbours()
    known = [keys.get(chr(code), " ") for code in range(128)]  # control characters become spaces
    widest = max(map(len, known))
    return np.array([[ord(c) for c in k.ljust(widest)] for k in known], np.uint32), np.array([len(k) for k in known])


NEIGHBOURS, COUNT = _table()
