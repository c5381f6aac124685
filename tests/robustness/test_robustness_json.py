"""Reports as JSON: what is read is what was written, and every broken text gets one clear error."""

import json
import tracemalloc

import jax
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Family, Report

X = np.random.default_rng(3).standard_normal((40, 4)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)


@pytest.fixture(scope="module")
def text():
    families = [Family(name, lambda std: nj.bind(nj.gaussian, std=std), [0.0, 0.5]) for name in ("a", "b")]
    families.append(robustness.by_column("wrong", nj.bind(nj.swap, rate=1.0), list("abcd")))
    return robustness.sweep(
        jax.random.key(0), lambda x: x.sum(1) > 0.1, (X, Y), families, metrics=["accuracy", "f1"], draws=2,
        shift=True, groups=X[:, 0] > 0, resamples=100,
    ).to_json()  # fmt: skip


def test_read_and_written_again_is_the_same(text):
    again = Report.from_json(text)
    assert again.to_json() == Report.from_json(text.encode()).to_json() == text
    assert again.sensitivity()["wrong"] == Report.from_json(text).sensitivity()["wrong"]
    assert again.to_html() == Report.from_json(text).to_html()


def places(tree, path=()):
    """The paths of all values of a text."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in list(items)[:3]:
        yield from places(value, (*path, name))


@pytest.mark.parametrize("value", [None, -1, "x", [], {}, 1e400, [1, "a"], {"shape": [2**40], "float32": ""}, ...])
def test_a_spoiled_text_is_refused_or_harmless(value, text):
    """Every value of a report in turn is replaced: the text is refused, or gives a report that works."""
    whole = json.loads(text)
    for path in list(places(whole["data"], ("data",))):
        spoiled = json.loads(text)
        within = spoiled
        for name in path[:-1]:
            within = within[name]
        if value is ...:
            del within[path[-1]]
        else:
            within[path[-1]] = value
        found, error = None, ""
        try:
            found = Report.from_json(json.dumps(spoiled))
        except ValueError as raised:
            error = str(raised)
        assert found or error.startswith("from_json: "), error
        if found:
            assert "page" in found.to_html(title="page") and str(found) and found.tolerance() and found.to_csv()


@pytest.mark.parametrize("text_", ["", "{}", "[]", "null", "[" * 100_000, b"\xff\xfe", "1" * 6000, '{"noisejax": 1}'])
def test_other_texts_are_refused(text_):
    with pytest.raises(ValueError, match="from_json: text must be a report that to_json"):
        Report.from_json(text_)
    with pytest.raises(TypeError, match="from_json: text must be a string"):
        Report.from_json(3)


def test_size_is_checked_before_anything_is_expanded(text):
    whole = json.loads(text)
    whole["data"]["counts"]["shape"] = [2**30]
    bomb = json.dumps(whole)
    tracemalloc.start()
    with pytest.raises(ValueError, match="max_bytes"):
        Report.from_json(bomb)
    assert tracemalloc.get_traced_memory()[1] < 50 * len(bomb)
    tracemalloc.stop()
    with pytest.raises(ValueError, match="max_bytes"):
        Report.from_json(text, max_bytes=1000)
