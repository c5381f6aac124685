"""What a type checker tells users: every wrong call is reported on its line, and what we publish is clean.

Pyright runs once, over the calls of this folder, the examples, and the Python of the README and of every page.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from test_examples import PAGES

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
WRONG, RIGHT = (Path(__file__).with_name(f"{name}_calls.py") for name in ("wrong", "right"))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MARK = re.compile(r"  # (?P<fault>.+)$")

pytestmark = pytest.mark.slow  # one run of pyright takes ten seconds in each worker


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Messages by the path or page, then by line. Pyright reads copies: it ignores files outside its project."""
    folder = tmp_path_factory.mktemp("pyright")
    texts = {page: (re.sub(r"\W", "_", page) + ".py", program) for page, program in PAGES.items()}
    texts |= {str(path): (path.name, path.read_text()) for path in (WRONG, RIGHT, *EXAMPLES)}
    for name, text in texts.values():
        (folder / name).write_text(text)
    settings = {
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "basic",
        "pythonVersion": "3.11",  # the oldest that is supported
        "useLibraryCodeForTypes": False,  # packages without types, such as scikit-learn, are not guessed at
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "-p", str(folder), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: there are errors
    output = json.loads(done.stdout)
    assert output["summary"]["filesAnalyzed"] == len(texts)
    sources = {name: source for source, (name, _) in texts.items()}
    found = {}
    for report in output["generalDiagnostics"]:
        if report["severity"] == "error":
            lines = found.setdefault(sources[Path(report["file"]).name], {})
            lines.setdefault(report["range"]["start"]["line"] + 1, []).append(report["message"])
    return found


def marks():
    lines = enumerate(WRONG.read_text().splitlines(), 1)
    return [(number, match["fault"]) for number, line in lines if (match := MARK.search(line))]


@pytest.mark.parametrize(("line", "fault"), marks())
def test_a_wrong_call_is_reported(reports, line, fault):
    said = "\n".join(reports[str(WRONG)].get(line, []))
    assert said, f"no error: {fault}"
    assert fault.rpartition(": ")[2] in said


def test_nothing_else_is_reported_there(reports):
    assert set(reports[str(WRONG)]) == {line for line, _ in marks()}


def test_right_calls_have_the_right_types(reports):
    clean(reports, str(RIGHT))


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_clean(reports, page):
    clean(reports, page)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_clean(reports, example):
    clean(reports, str(example))


def clean(reports, source):
    said = [f"{source}:{line}: {message}" for line, messages in reports.get(source, {}).items() for message in messages]
    assert not said, "\n".join(said)
