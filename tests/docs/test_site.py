"""What the documentation site is made from: fences, names in code, pages of the reference. `make docs` builds it."""

import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from _site import fences, groups, names, numbers, reference  # noqa: E402

from docs import listing  # noqa: E402

PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))}
PAGES = {name: text for name, text in PAGES.items() if "_build" not in name and "reference/pages" not in name}


@pytest.fixture(scope="module")
def public():
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in listing.modules()
        for name in listing.names(module)
    }


def test_blocks_of_python_become_cells():
    page = "# T\n\n```python\na = 1\n```\n\n```python no-run\n1 / 0\n```\n\n"
    page += "- item\n\n  ```python\n  b = 2\n  ```\n\n```sh\nls\n```\n"
    cells = fences.executed(page)
    assert cells.startswith("---\nfile_format: mystnb")
    assert re.findall(r"^ *```(.+)$", cells, re.MULTILINE) == ["{code-cell} python", "python", "python", "sh"]
    assert fences.executed("# no code\n") == "# no code\n"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("nj.mask", "noisejax.mask"),
        ("nj.mask(key, x, 0.1)", "noisejax.mask"),
        ("njx.Dropout", "noisejax.nnx.Dropout"),
        ("robustness.sweep", "noisejax.robustness.sweep"),
        ("mask", None),
        ("x + nj.mask", None),
    ],
)
def test_names_in_code(code, name):
    assert names.dotted(code) == name


def test_a_number_stays_with_its_sign():
    shown = numbers.unbroken("1.0 ±\n0.2 and 95 % of ≥ 50 %, a ± b")
    assert (
        shown
        == "1.0 ±\N{NO-BREAK SPACE}0.2 and 95\N{NO-BREAK SPACE}% of ≥\N{NO-BREAK SPACE}50\N{NO-BREAK SPACE}%, a ± b"
    )


def test_every_public_name_is_on_one_page_of_the_reference_and_documented(public):
    shown = [name for found in groups.grouped().values() for name, _ in found]
    assert len(shown) == len(set(shown))
    assert set(shown) == set(public) - {"noisejax.TYPE_CHECKING"}
    silent = [name for name, value in public.items() if callable(value) and not inspect.getdoc(value)]
    assert not silent


def test_no_title_is_given_twice():
    titles = [title for _, title in groups.grouped()]
    assert len(titles) == len(set(titles)) == len(set(groups.PAGES.values()) & set(groups.grouped()))


@pytest.mark.parametrize("page", PAGES)
def test_names_of_this_library_exist(page, public):
    """In inline code: `nj.maks` is a misspelt name. Names of other libraries and of arguments are not looked at."""
    prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    wrong = []
    for code in re.findall(r"`((?:nj|njx|njl)\.[\w.]+)(?:\([^`]*\))?`", prose):
        parts = names.dotted(code).split(".")
        known = [".".join(parts[:n]) for n in range(len(parts), 1, -1)]
        modules = {module.__name__ for module in listing.modules()}
        if not any(name in public for name in known) and names.dotted(code) not in modules:
            wrong.append(code)
    assert not wrong


def test_names_of_other_libraries_reach_the_reference(public):
    peers = reference.peers(PAGES["docs/guides/migrating.md"])
    assert set(peers) <= set(public)
    assert peers["noisejax.image.fog"] == [
        'imagecorruptions.corrupt(x, corruption_name="fog", severity=3)',
        "A.RandomFog",
    ]
    assert "flax.nnx.Dropout" in peers["noisejax.nnx.Dropout"]
