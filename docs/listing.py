"""The listings of public names, made from the functions themselves: ``python -m docs.listing [--write]``.

It writes docs/reference/index.md and the table between the marks in the README. Without --write it prints whether they
are current, and its exit status says the same.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import noisejax

ROOT = Path(__file__).resolve().parents[1]
REFERENCE, README = ROOT / "docs" / "reference" / "index.md", ROOT / "README.md"
START, END = "<!-- listing: made by python -m docs.listing --write -->", "<!-- /listing -->"
PADDING = ("where", "lengths")  # every array noise takes them, so the listing does not repeat them


def modules() -> list[ModuleType]:
    """noisejax, then its public modules by name. Some of them need an extra."""
    found = [m.name for m in pkgutil.iter_modules(noisejax.__path__) if not m.name.startswith("_")]
    return [noisejax, *(importlib.import_module(f"noisejax.{name}") for name in sorted(found))]


def names(module: ModuleType) -> list[str]:
    """What users type after the module's name, without its submodules."""
    public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return sorted(name for name in public if is_ours(getattr(module, name)))


def is_ours(value) -> bool:
    return not inspect.ismodule(value) and getattr(value, "__module__", "noisejax").startswith("noisejax")


def is_noise(value) -> bool:
    return hasattr(value, "__noise__")


def summary(value) -> str:
    """The first paragraph of a docstring, on one line."""
    paragraph = (inspect.getdoc(value) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", "\\|")


def signature(name: str, value) -> str:
    """How it is called: parameters and their defaults, without annotations."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return name
    shown, star = [], False
    for parameter in parameters:
        if is_noise(value) and parameter.name in PADDING:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={literal(parameter.default)}"
        shown.append(f"{prefix}{parameter.name}{default}")
    return f"{name}({', '.join(shown)})"


def literal(value) -> str:
    """A default as a user would type it; a reader of a listing is not helped by an object's address."""
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__name__
    text = repr(value)
    return "..." if " at 0x" in text or len(text) > 30 else text


def reference() -> str:
    lines = ["# Reference", "", "All public names, from their signatures and the first lines of their docstrings."]
    lines += ["`help(nj.gaussian)` shows the rest. Every array noise also takes `where` and `lengths`.", ""]
    for module in modules():
        lines += [f"## {module.__name__}", "", *([summary(module), ""] if summary(module) else [])]
        found = [(name, getattr(module, name)) for name in names(module)]
        for title, chosen in (
            ("noise", [pair for pair in found if is_noise(pair[1])]),
            ("function", [pair for pair in found if not is_noise(pair[1]) and callable(pair[1])]),
            ("value", [pair for pair in found if not callable(pair[1])]),
        ):
            if chosen:
                lines += [f"| {title} | |", "|---|---|"]
                lines += [f"| `{escaped(signature(*pair))}` | {documentation(pair[1])} |" for pair in chosen]
                lines += [""]
    return "\n".join(lines).rstrip("\n") + "\n"


def documentation(value) -> str:
    return summary(value) if callable(value) else f"`{escaped(literal(value))}`"


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def table() -> str:
    """The README's: the noises at the top by family, then a line for each module."""
    families: dict[str, list[str]] = {}
    others = []
    for name in names(noisejax):
        value = getattr(noisejax, name)
        if is_noise(value):
            families.setdefault(inspect.unwrap(value).__module__.rpartition(".")[2].strip("_"), []).append(name)
        elif inspect.isroutine(value):
            others.append(name)
    lines = ["| | |", "|---|---|"]
    lines += [f"| {family} | {listed(found)} |" for family, found in sorted(families.items())]
    lines += [f"| combinators and tools | {listed(others)} |"]
    for module in modules()[1:]:
        public = names(module)
        noises = [name for name in public if is_noise(getattr(module, name))]
        more = len(public) - len(noises)
        rest = f"{more} {'more' if noises else 'functions and classes'}" if more else ""
        link = f"[`{module.__name__}`](docs/reference/index.md#{anchor(module.__name__)})"
        cells = [summary(module), "; ".join(filter(None, [listed(noises), rest]))]
        lines.append(f"| {link} | {' '.join(filter(None, cells))} |")
    return "\n".join(lines)


def listed(found: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in found)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def pages() -> Iterator[tuple[Path, str]]:
    """Each file with its text as it should be."""
    yield REFERENCE, reference()
    text = README.read_text()
    before, rest = text.split(START)
    yield README, f"{before}{START}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> int:
    stale = 0
    for path, text in pages():
        current = path.exists() and path.read_text() == text
        if "--write" in sys.argv[1:] and not current:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print("written to", path.relative_to(ROOT))
        elif not current:
            print(f"{path.relative_to(ROOT)} is not current: python -m docs.listing --write")
            stale += 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
