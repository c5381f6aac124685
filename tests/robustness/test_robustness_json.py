"""Reports as JSON: what is read is what was written, and every broken text gets one clear error."""

import base64
import json
import re
import tracemalloc
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Report

X = np.random.default_rng(3).standard_normal((40, 4)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)


def predict(x):
    return x.sum(1) > 0.1


@pytest.fixture(scope="module")
def text():
    families = {name: (lambda std: nj.bind(nj.gaussian, std=std), [0.0, 0.5, 1.0]) for name in ("a", "b")}
    return robustness.sweep(jax.random.key(0), predict, (X, Y), families, draws=2).to_json()


def packed(values, level=9, **changes):
    data = np.asarray(values, "<f4")
    return {
        "shape": list(data.shape), "float32": base64.b85encode(zlib.compress(data.tobytes(), level)).decode(), **changes
    }  # fmt: skip


def test_read_and_written_again_is_the_same(text):
    assert Report.from_json(text).to_json() == Report.from_json(text.encode()).to_json() == text


@pytest.mark.parametrize(
    ("clean", "metric"), [(jnp.abs, "absolute"), (lambda x: -jnp.square(x), "<lambda>")], ids=["positive", "negative"]
)
def test_other_metrics_and_single_examples_are_read(clean, metric):
    def score(outputs, y):
        return clean(outputs - y)

    score.__name__ = metric
    found = robustness.sweep(jax.random.key(0), lambda x: x, (jnp.ones(1), jnp.zeros(1)), {}, metric=score)
    again = Report.from_json(found.to_json())
    assert again.metric == metric and again.clean_scores == found.clean_scores


def change(path, value):
    """A text with another value at a path; `...` removes it."""

    def changed(text):
        whole = json.loads(text)
        *parents, last = path
        within = whole
        for name in parents:
            within = within[name]
        if value is ...:
            del within[last]
        else:
            within[last] = value
        return json.dumps(whole)

    return changed


BROKEN = {
    "empty": lambda text: "",
    "no JSON": lambda text: "report",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "nothing": lambda text: "null",
    "nested": lambda text: "[" * 100_000,
    "a number of 10,000 digits": lambda text: "9" * 10_000,
    "not Unicode": lambda text: b"\xff" + text.encode(),
    "twice": lambda text: text.replace('"draws": 2', '"draws": 2, "draws": 3'),
    "another version": change(["noisejax"], "robustness report, 2"),
    "pairing": change(["data", "pairing"], 3),
    "pairing of words": change(["data", "pairing"], "the same key"),
    "no pairing": change(["data", "pairing"], ...),
    "no metric": change(["metric"], ...),
    "metric": change(["metric"], ["accuracy"]),
    "draws 0": change(["draws"], 0),
    "draws true": change(["draws"], True),
    "draws 1.5": change(["draws"], 1.5),
    "examples": change(["examples"], 39),
    "models": change(["models"], 2),
    "confidence": change(["confidence"], 95),
    "clean": change(["clean"], None),
    "a clean mean of NaN": change(["clean", "mean"], float("nan")),
    "no families": change(["families"], ...),
    "a family less": change(["families", "a"], ...),
    "a mean less": change(["families", "a", "mean"], [1.0, 1.0]),
    "levels in the summary": change(["families", "a", "levels"], [0.0, 0.5, 2.0]),
    "data": change(["data"], []),
    "no levels": change(["data", "levels"], ...),
    "levels that fall": change(["data", "levels", "a"], [0.0, 2.0, 1.0]),
    "levels of text": change(["data", "levels", "a"], ["0", "1", "2"]),
    "an infinite level": change(["data", "levels", "a"], [0.0, 0.5, float("inf")]),
    "a level of 400 digits": change(["data", "levels", "a"], [0.0, 0.5, 10**400]),
    "scores less": change(["data", "scores", "a"], ...),
    "scores more": change(["data", "scores", "c"], packed(np.ones((3, 1, 40)))),
    "scores null": change(["data", "scores", "a"], None),
    "other shape": change(["data", "scores", "a"], packed(np.ones((1, 3, 40)))),
    "shape and data differ": change(["data", "scores", "a"], packed(np.ones((3, 1, 39)), shape=[3, 1, 40])),
    "more data than the shape": change(["data", "scores", "a"], packed(np.ones((3, 1, 41)), shape=[3, 1, 40])),
    "a negative shape": change(["data", "clean_scores"], packed(np.ones((1, 40)), shape=[-1, 40])),
    "not base85": change(["data", "clean_scores", "float32"], "\x00 \x01"),
    "not ASCII": change(["data", "clean_scores", "float32"], "Üü"),
    "not zlib": change(["data", "clean_scores", "float32"], base64.b85encode(b"scores").decode()),
    "bytes after the end": change(
        ["data", "clean_scores", "float32"],
        base64.b85encode(zlib.compress(np.ones((1, 40), "<f4").tobytes()) + b"more").decode(),
    ),
    "zlib cut": change(
        ["data", "clean_scores", "float32"],
        base64.b85encode(zlib.compress(np.ones((1, 40), "<f4").tobytes())[:-3]).decode(),
    ),
    "scores of NaN": change(["data", "scores", "a"], packed(np.full((3, 1, 40), np.nan))),
    "infinite clean scores": change(["data", "clean_scores"], packed(np.full((1, 40), np.inf))),
    "accuracies of 2": change(["data", "clean_scores"], packed(np.full((1, 40), 2.0))),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_broken_texts_get_one_clear_error(broken, text):
    assert broken(text) not in (text, text.encode())
    with pytest.raises(ValueError, match=r"^from_json: text must be a report that to_json of this version wrote, but"):
        Report.from_json(broken(text))


@pytest.mark.parametrize("value", [None, 3, {"noisejax": "robustness report, 1"}], ids=["None", "number", "dict"])
def test_what_is_no_text(value):
    with pytest.raises(TypeError, match="from_json: text must be a string"):
        Report.from_json(value)


def test_a_small_text_does_not_expand_to_gigabytes(text):
    """2 GB of zeros compress to about 2 MB. Neither an honest nor a wrong shape makes them appear in memory."""
    some = zlib.compressobj(9)
    data = b"".join([*(some.compress(bytes(2**20)) for _ in range(600)), some.flush()])
    huge = {"shape": [3, 1, 52428800], "float32": base64.b85encode(data).decode()}  # 600 MiB
    honest = change(["examples"], 52428800)(change(["data", "scores", "a"], huge)(text))
    hidden = change(["data", "scores", "a"], {**huge, "shape": [3, 1, 40]})(text)
    tracemalloc.start()
    with pytest.raises(
        ValueError, match=r"from_json: max_bytes must be .* got 268435456 and scores of 1468006400 bytes"
    ):
        Report.from_json(honest)
    with pytest.raises(ValueError, match="but the scores of 'a' is not finite float32 scores"):
        Report.from_json(hidden)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_the_limit_is_yours_and_its_advice_works(text):
    size, scores = len(text), 4 * 40 * (1 + 3 + 3)
    for large in (size, scores):  # the size of the text is known first
        for limit in (1, large - 1):
            if limit < size or limit < scores:
                with pytest.raises(ValueError, match="from_json: max_bytes must be at least the size") as error:
                    Report.from_json(text, max_bytes=limit)
                assert int(re.findall(r"pass max_bytes=(\d+)", str(error.value))[0]) in (size, scores)
    assert Report.from_json(text, max_bytes=max(size, scores)).draws == 2
    with pytest.raises(ValueError, match="max_bytes must be an integer of at least 1, got 0"):
        Report.from_json(text, max_bytes=0)
