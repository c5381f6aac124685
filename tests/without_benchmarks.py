"""Pytest hooks for the sdist, which has no benchmarks: their tests are left out, and a line at the top says so."""

import re
from pathlib import Path

ABSENT = not (Path(__file__).resolve().parents[1] / "benchmarks").exists()
USES = re.compile(r"^(from|import) benchmarks\b", re.MULTILINE)


def uses_benchmarks(path: Path) -> bool:
    return path.suffix == ".py" and USES.search(path.read_text()) is not None


def pytest_ignore_collect(collection_path):
    return True if ABSENT and collection_path.is_file() and uses_benchmarks(collection_path) else None


def pytest_report_header(config):
    if ABSENT:
        left_out = sorted(path.name for path in Path(__file__).parent.rglob("test_*.py") if uses_benchmarks(path))
        return f"left out, since the sdist has no benchmarks: {', '.join(left_out)}"
    return None
