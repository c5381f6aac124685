"""Tables of the guides, made from result files: no number in them is typed by hand."""

import pathlib

GUIDES = pathlib.Path(__file__).parent.parent / "docs" / "guides"


def write(page: pathlib.Path, name: str, command: str, text: str) -> None:
    """Replaces what stands between ``<!-- name: made by command -->`` and ``<!-- /name -->``."""
    start, end = f"<!-- {name}: made by {command} -->", f"<!-- /{name} -->"
    before, rest = page.read_text().split(start)
    page.write_text(f"{before}{start}\n{text.strip()}\n{end}{rest.split(end)[1]}")
    print("written to", page)


def table(columns: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def number(value: float | None, digits: int = 3) -> str:
    """With this many significant digits, and commas."""
    if value is None:
        return ""
    shown = f"{value:.{digits}g}"
    return f"{float(shown):,.0f}" if abs(value) >= 10 ** (digits - 1) else shown


def where(results: dict) -> str:
    """The circumstances of a result file, in italics."""
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v and k != "jaxlib")
    load = f"; load {results['load']}" if "load" in results else ""
    return f"*{results['processor']}; {versions}; {results['date']}{load}; `{results['command']}`.*"
