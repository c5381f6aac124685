"""The reference: a page for each group of public names, from signatures and docstrings, written before Sphinx reads.

The pages go to docs/reference/pages, which git ignores. docs/reference/index.md, which lists the same names for readers
of the repository, becomes their table of contents.
"""

import inspect
import re
from pathlib import Path

from _site import groups
from _site.names import dotted
from docs import listing

ROW = re.compile(r"^\|(?P<theirs>[^|]+)\|(?P<ours>[^|]+)\|", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


def write(app) -> None:
    folder = Path(app.srcdir) / "reference" / "pages"
    folder.mkdir(exist_ok=True)
    pages = {f"{slug}.md": page(title, found) for (slug, title), found in groups.grouped().items()}
    for old in folder.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:  # an unchanged page is not read again
            path.write_text(text)


def page(title: str, found: list[tuple[str, object]]) -> str:
    """A table of what is on the page, then each name in full."""
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [
        f"| [`{name.rpartition('.')[2]}`](#{name}) | {listing.summary(value) if callable(value) else 'a value'} |"
        for name, value in found
    ]
    for name, value in found:
        lines += ["", f"## {name.rpartition('.')[2]}", "", "```{eval-rst}", *directive(name, value), "```"]
    return "\n".join(lines) + "\n"


def directive(name: str, value) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:"]
    if callable(value):
        return [f".. autofunction:: {name}"]
    return [f".. py:data:: {name}", "", f"   {len(value)} entries: ``{', '.join(map(str, value))}``."]


def contents() -> str:
    """What the site shows in place of docs/reference/index.md."""
    lines = ["# Reference", "", "Every public name, from its signature and docstring. The search finds them, too."]
    lines += ["", "If you know what is wrong with your data, start from the [problem](by-problem.md)."]
    lines += ["", "```{toctree}", ":maxdepth: 1", ""]
    return "\n".join([*lines, *(f"pages/{slug}" for slug, _ in groups.grouped()), "```", ""])


def peers(page: str) -> dict[str, list[str]]:
    """{our dotted name: names in other libraries}, from the tables of the page on migration.

    A row with as many names on the left as on the right pairs them in order; otherwise all belong to all.
    """
    found: dict[str, list[str]] = {}
    for row in ROW.finditer(page):
        theirs, ours = CODE.findall(row["theirs"]), [dotted(code) for code in CODE.findall(row["ours"])]
        paired = len(ours) > 1 and len(theirs) == len(ours)
        for place, name in enumerate(ours):
            if name:
                found.setdefault(name, []).extend([theirs[place]] if paired else theirs)
    return found


def escaped(app, kind, name, value, options, lines: list[str]) -> None:
    """Keeps stars of shapes and parameters, as in (*batch, L) and **options, from being read as emphasis."""
    for number, line in enumerate(lines):
        plain = re.split(r"(``.*?``)", line)
        plain[::2] = [
            re.sub(r"(?<=\()\*(?=\w)|(?<=, )\*\*(?=\w)", lambda star: "\\*" * len(star[0]), part) for part in plain[::2]
        ]
        lines[number] = "".join(plain)


def compared(app, kind, name, value, options, lines: list[str]) -> None:
    """Appends to a docstring what other libraries call the same or a similar thing."""
    theirs = peers((Path(app.srcdir) / "guides" / "migrating.md").read_text()).get(name)
    if theirs:
        lines += ["", "**Compare with**: " + ", ".join(f"``{their}``" for their in theirs) + ".", ""]


def setup(app) -> dict:
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", escaped, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", compared)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
