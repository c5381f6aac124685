"""Pytest hooks for the sdist, which has no benchmarks and no experiments: their tests are left out, as a line says.

A file of tests is left out if it imports a folder that is absent.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "experiments")
ABSENT = tuple(folder for folder in FOLDERS if not (ROOT / folder).exists())


def uses(path: Path, folders: tuple[str, ...] = FOLDERS) -> bool:
    if path.suffix != ".py" or not folders:
        return False
    return re.search(rf"^(from|import) ({'|'.join(folders)})\b", path.read_text(), re.MULTILINE) is not None


def pytest_ignore_collect(collection_path):
    return True if collection_path.is_file() and uses(collection_path, ABSENT) else None


def pytest_report_header(config):
    if ABSENT:
        names = sorted(path.name for path in Path(__file__).parent.rglob("test_*.py") if uses(path, ABSENT))
        return f"left out, since the sdist has no {' and no '.join(ABSENT)}: {', '.join(names)}"
    return None
