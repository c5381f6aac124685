"""Prose is plain: no word that native engineers stumble over, in pages, docstrings, comments and messages.

The words are those of the guide to English that this library follows. Each has a plain one that takes its place.
"""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
WORDS = {  # a pattern of whole words: what to write
    r"anew": "again, new",
    r"beside": "next to, besides",
    r"mend(?:s|ed|ing)?": "fix",
    r"kin": "similar ones",
    r"goes before|go before|went before": "overrides, takes precedence over",
    r"withst(?:and|ands|ood|anding)": "survives, stays correct",
    r"dearer": "more expensive",
    r"in the place of": "instead of",
    # Titles of papers keep their spelling, so "generalise" and "regularise" are not listed.
    r"(?:recogni|maximi|minimi|reali|normali|materiali|optimi|vectori|quanti)s(?:e|es|ed|ing|er|ers|ation)": "-ize",
}
PAGES = sorted(page for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md") for page in ROOT.glob(pattern))
PROGRAMS = sorted(
    program
    for folder in ("noisejax", "examples", "experiments", "docs", "benchmarks")
    for program in (ROOT / folder).rglob("*.py")
)
OTHERS = [path for name in ("Makefile", "pyproject.toml", ".ci/run") if (path := ROOT / name).exists()]


def prose(source: str) -> str:
    """Comments and strings of a program, each line at its own number. Names of variables are not prose."""
    lines = [""] * (source.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)):
            for number, line in enumerate(token.string.split("\n"), token.start[0] - 1):
                lines[number] += " " + line
    return "\n".join(lines)


def found(text: str) -> list[str]:
    """Each listed word with its line and the plain one. A phrase may run over the end of a line."""
    said = []
    for words, plain in WORDS.items():
        pattern = rf"\b(?:{words})\b".replace(" ", r"[\s#>]+")
        for match in re.finditer(pattern, text, re.IGNORECASE):
            word = " ".join(match[0].split())
            said.append(f"line {text.count(chr(10), 0, match.start()) + 1}: {word!r} (write {plain})")
    return said


def test_words_are_found_in_prose_alone():
    program = 'beside = 1  # fix it anew\n"""Dearer, and\nin the\nplace of."""\n'
    assert [said.split("'")[1].lower() for said in found(prose(program))] == ["anew", "dearer", "in the place of"]
    assert not found("besides, of a kind, amended")


@pytest.mark.parametrize("path", [*PAGES, *OTHERS, *PROGRAMS], ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_plain(path):
    text = path.read_text()
    said = found(prose(text) if path.suffix == ".py" else text)
    assert not said, "\n".join(said)
