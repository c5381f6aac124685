"""The package as users get it: one version, current listings, a README that is true, small result files."""

import importlib.metadata
import importlib.util
import json
import re
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import left_out
import noisejax as nj
import slowest
from noisejax import _checks
from noisejax._contract import Amount, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import words_like

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
README = (ROOT / "README.md").read_text()
SCREEN = README.split("<!-- first screen ends -->")[0]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.fixture(scope="module")
def listing():
    spec = importlib.util.spec_from_file_location("listing", ROOT / "docs" / "listing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_that_of_the_metadata():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", nj.__version__)
    assert nj.__version__ == importlib.metadata.version("noisejax")


def test_the_listings_are_current(listing):
    for path, text in listing.pages():
        assert path.read_text() == text, "run python -m docs.listing --write"


def test_the_reference_has_every_public_name(listing):
    reference = listing.REFERENCE.read_text()
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", reference, re.DOTALL | re.MULTILINE))
    for module in listing.modules():
        listed = set(re.findall(r"^\| `(\w+)", sections[module.__name__], re.MULTILINE))
        assert listed == set(listing.names(module)) != set()


def test_a_signature_is_listed_as_it_is_called(listing):
    def noise(key, x, std, fill=0.0, *rest, axes: tuple = (1, 2), dtype=int, where=None, **more):
        pass

    assert listing.signature("f", noise) == (
        "f(key, x, std, fill=0.0, *rest, axes=(1, 2), dtype=int, where=None, **more)"
    )
    assert listing.signature("mask", nj.mask) == "mask(key, x, rate, fill=0.0, *, groups=None)"


def test_the_first_screen_is_short_and_says_what_it_is():
    words = re.sub(r"```.*?```", "", SCREEN, flags=re.DOTALL).split()
    assert len(words) < 300
    sentence = SCREEN.split("\n\n")[1]
    assert sentence.startswith("Noise injection for JAX") and sentence.count(".") == 1
    for wanted in ("pip install .", "```python", "docs/assets/dirty.png", "make demo", "make test"):
        assert wanted in SCREEN
    assert SCREEN.count("\n- **") == 4
    assert len(SCREEN.split("```python\n")[1].split("```")[0].splitlines()) <= 8


def test_the_extras_of_the_install_line_exist():
    named = re.search(r'pip install "\.\[(.+?)\]"', SCREEN)[1].split(",")
    declared = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert set(named) <= set(re.findall(r"^(\w+) =", declared, re.MULTILINE))


def test_there_are_as_many_noises_as_the_readme_says(listing):
    said = int(re.search(r"More than (\d+) noises", SCREEN)[1])
    found = sum(
        listing.is_noise(getattr(module, name)) for module in listing.modules() for name in listing.names(module)
    )
    assert said < found < 2 * said


def written_pages():
    """The Markdown of the repository, without what `make docs` generates."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        if not {"_build", "pages"} & set(page.relative_to(ROOT).parts):
            yield page


def test_links_between_pages_lead_somewhere():
    for page in written_pages():
        for target in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_sections_that_pages_link_to_exist(listing):
    for page in written_pages():
        for target, section in re.findall(r"\]\((?!https?:)([^)\s#]*)#([^)\s]+)\)", page.read_text()):
            text = (page.parent / target).read_text() if target else page.read_text()
            headings = {listing.anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
            assert section in headings, f"{page.relative_to(ROOT)}: {target}#{section}"


def test_the_noise_in_contributing_is_one(key):
    code = (ROOT / "CONTRIBUTING.md").read_text().split("```python\n")[1].split("```")[0]
    scope = {"jax": jax, "jnp": jnp, "_checks": _checks, "sample": sample, "words_like": words_like}
    exec(code, scope | {"Amount": Amount, "Mask": Mask, "array_noise": array_noise}, made := {})
    logistic, x = made["logistic"], jnp.ones((4, 50_000), jnp.float32)
    assert (logistic(key, x, 0.0) == x).all()
    noise = jax.jit(nj.bind(logistic, scale=0.5))(key, nj.Padded(x, jnp.array([50_000, 50_000, 50_000, 10])))
    assert (noise.values[3, 10:] == 1).all()
    drawn = 2 * (noise.values[:3] - 1)  # of variance pi**2 / 3; five standard errors of 150,000 draws
    assert abs(float(drawn.mean())) < 0.024 and abs(float(drawn.var()) - np.pi**2 / 3) < 0.08
    with pytest.raises(ValueError, match="scale"):
        logistic(key, x, -1.0)


@pytest.mark.skipif(not RESULTS, reason="the sdist has no benchmarks")
@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_result_files_are_small_and_hold_what_the_pages_print(path, monkeypatch):
    assert path.stat().st_size < 20_000
    monkeypatch.syspath_prepend(str(ROOT))
    kept = importlib.import_module("benchmarks.kept")
    if path.stem in ("quality", "normals", "sweeps", "image_corruptions-cpu"):  # these have forms of their own
        assert json.loads(path.read_text())
        return
    results = kept.unpack(path.read_text())
    assert kept.pack({**results, "rows": kept.kept(path.stem, results["rows"])}) == path.read_text()
    assert results["rows"] and results["command"] and results["date"]


@pytest.mark.skipif(not RESULTS, reason="the sdist has no benchmarks")
def test_packed_results_are_read_as_they_were(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    kept = importlib.import_module("benchmarks.kept")
    rows = [{"a": 1, "b": None}, {"a": 2.5, "b": [1, 2]}, {"c": "µs | x"}, {"a": 3, "b": True}]
    results = {"command": "c", "versions": {"jax": "1"}, "rows": rows}
    assert kept.unpack(kept.pack(results)) == results
    assert kept.unpack(json.dumps(results)) == results
    assert kept.kept("eager-cpu", [{"us": 1.23456789, "call": "f", "n": 12345678}]) == [
        {"us": 1.23457, "call": "f", "n": 12345678}
    ]


def test_the_slowest_files_are_named():
    def report(nodeid, duration):
        return types.SimpleNamespace(nodeid=nodeid, duration=duration)

    lines = []
    passed, failed = [report("a.py::x", 1.0), report("b.py::y", 3.0)], [report("a.py::z", 0.5)]
    stats = {"passed": passed, "failed": failed, "warnings": [object()]}
    slowest.pytest_terminal_summary(
        types.SimpleNamespace(stats=stats, section=lines.append, write_line=lambda line: lines.append(line.split()))
    )
    assert lines == ["slowest files", ["3.0", "s", "b.py"], ["1.5", "s", "a.py"]]


def test_tests_of_absent_folders_are_known_by_their_imports(tmp_path):
    texts = {
        "from benchmarks import run\n": True,
        "import experiments.dirty\n": True,
        "import os\n# import benchmarks\n": False,
    }
    for text, uses in texts.items():
        (tmp_path / "test_a.py").write_text(text)
        assert left_out.uses(tmp_path / "test_a.py") is uses
    assert not left_out.uses(tmp_path / "test_a.py", ())
