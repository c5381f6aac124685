"""Prose for the tests of texts: this project's own pages, in Latin letters and in Cyrillic ones."""

from pathlib import Path

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
CYRILLIC = "".join(map(chr, range(0x430, 0x44A)))


def prose(count: int, length: int) -> list[str]:
    """Strings of about `length` characters, and the short ones that break things."""
    pages = sorted(
        page for pattern in ("*.md", "docs/concepts/*.md", "docs/guides/*.md") for page in ROOT.glob(pattern)
    )
    lines = [line for page in pages for line in page.read_text().splitlines()]
    everything = " ".join(line.strip() for line in lines if line[:1].isalpha() and not set(line) & set("|=#"))
    starts = range(0, len(everything) - length, length)
    return ["", "a", "ab", *(everything[start : start + length - n % 7] for n, start in enumerate(starts))][:count]


def in_cyrillic(strings: list[str]) -> list[str]:
    table = {ord("a") + n: letter for n, letter in enumerate(CYRILLIC)}
    return [string.lower().translate(table) for string in strings]
