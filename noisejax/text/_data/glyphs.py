"""Glyphs that scanners and eyes mistake for each other."""

import functools
from importlib import resources

# Characters that optical recognition confuses, each with every other one of its group: by round, straight and open
# shapes, by small and capital letters of one shape, and by marks that are easily lost.
CONFUSED = (
    "0OoDQ", "1lI|!i", "2Zz", "5Ss", "6bG", "8B&", "9gq", "4A", "7T", "ceo", "ao", "hbn", "nru", "uv", "vy", "ft", "CG",
    "EF", "MN", "PR", "UV", "Cc", "Kk", "Pp", "Vv", "Ww", "Xx", "jl", ".,", ":;", "'`", "-~", "({", ")}",
    "0Оо", "3Зз", "иняп", "шщ", "цд", "ъьы", "гт", "сео", "бв", "лп", "ИН", "ШЩ", "ЪЬЫ", "еёЕ", "жк",
)  # fmt: skip

# One glyph read as two, and two that touch read as one.
JOINED = {"m": "rn", "d": "cl", "w": "vv", "h": "li", "H": "Il", "U": "LI", "ы": "ьі"}


def groups() -> dict[str, tuple[str, ...]]:
    """What a scanner may read in place of each character: single characters, and pairs."""
    found: dict[str, dict[str, None]] = {}
    for group in CONFUSED:
        for character in group:
            found.setdefault(character, {}).update(dict.fromkeys(other for other in group if other != character))
    for one, two in JOINED.items():
        found.setdefault(one, {})[two] = None
    return {character: tuple(others) for character, others in found.items()}


@functools.cache
def lookalikes() -> dict[str, tuple[str, ...]]:
    """The characters that look like each character, from Unicode's table of confusables."""
    found = {}
    for line in resources.files("noisejax.text._data").joinpath("homoglyphs.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            found |= {character: tuple(other for other in line if other != character) for character in line}
    return found
