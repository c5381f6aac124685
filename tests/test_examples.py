"""Every example and every block of Python in the documentation runs, with a small budget."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[a-z]*.py"))
BLOCK = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.DOTALL | re.MULTILINE)


def python_blocks(text: str) -> str:
    """The Python of a page, each line at its own number, so that a traceback points into the page.

    All blocks of a page are one program. A fence marked `python no-run` is left out; so is any other language.
    """
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block["info"].strip() in ("python", "{code-block} python"):
            first = text.count("\n", 0, block.start("code"))
            for n, line in enumerate(block["code"].splitlines()):
                lines[first + n] = line.removeprefix(block["indent"])
    return "\n".join(lines)


def pages() -> dict[str, str]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    programs = {str(page.relative_to(ROOT)): python_blocks(page.read_text()) for page in found if page.exists()}
    return {name: program for name, program in programs.items() if program.strip()}


PAGES = pages()


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path):
    """In a process of its own with JAX's ordinary settings, as its reader runs it.

    It runs in a copy of the folder, so that figures of a small budget do not replace those of a real run.
    """
    for script in example.parent.glob("*.py"):
        shutil.copy(script, tmp_path)
    if (example.parent / "data").exists():
        (tmp_path / "data").symlink_to(example.parent / "data")
    settings = {"NOISEJAX_QUICK": "1", "MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu"}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("XLA_FLAGS", None)  # the tests' eight devices
    result = subprocess.run(
        [sys.executable, example.name], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip(), "an example shows something"


FAST_PAGES = ("README", "padding", "frames")  # those of other guides compile for seconds


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (Path(page).stem not in FAST_PAGES)) for page in PAGES]
)
@pytest.mark.filterwarnings("default")
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOISEJAX_QUICK", "1")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(PAGES[page], str(ROOT / page), "exec"), {"__name__": "__main__"})


def test_blocks_are_read_as_they_are_marked():
    page = "# Title\n\n```python\na = 1\n```\n\n```python no-run\n1 / 0\n```\n```text\n1 / 0\n```\n"
    page += "- item\n\n  ```python\n  if a:\n      b = 2\n  ```\n\n```{code-block} python\nc = a + b\n```\n"
    program, scope = python_blocks(page), {}
    assert program.splitlines()[3] == "a = 1"
    exec(program, scope)
    assert (scope["a"], scope["b"], scope["c"]) == (1, 2, 3)
    assert EXAMPLES
