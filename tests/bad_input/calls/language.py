"""`noisejax.text`: the noises of texts from the table of cases, and the functions around them."""

import numpy as np

import noisejax as nj
from bad_input.calls.call import KEY, PUBLIC, Call, call
from cases.text import TEXT as CASES

ADDRESSES = {id(function): address for address, function in PUBLIC.items()}
STRINGS = ["the quick brown fox", "naïve, isn't it?"]
WORDS = nj.text.encode(STRINGS)
IDS = np.arange(10, 40, dtype=np.int32).reshape(2, 15)
CLUSTERS = nj.text.graphemes(["e\u0301a"])


def placed(function):
    result = function(KEY, WORDS)
    return [result.source, result.deleted]


def calls() -> list[Call]:
    return [
        *(
            Call(ADDRESSES[id(case.function)], {"key": KEY, "x": case.array(), **case.arguments}, note=case.note)
            for case in CASES
        ),
        call(
            "text.encode",
            a={"strings": STRINGS, "length": 30, "alphabet": CLUSTERS, "dtype": np.uint32},
            anything=("strings",),
        ),
        call("text.decode", a={"text": WORDS, "alphabet": CLUSTERS}),
        call("text.graphemes", lambda made: made.clusters, a={"strings": ["e\u0301a", "b"]}),
        call("text.alignment", placed, a={"noise": nj.bind(nj.text.typos, rate=0.2)}, heads=("typos",)),
        call("text.misspellings", lambda made: made.growth, a={"pairs": {"their": ["thier"], "its": ["it's"]}}),
        call(
            "text.fit_edits",
            str,
            a={"clean": STRINGS, "noisy": ["teh quick brown fox", "naive, isnt it?"]},
            expensive=True,
        ),
        call(
            "text.on_strings",
            lambda noise: noise(KEY, STRINGS),
            a={"noise": nj.bind(nj.text.typos, rate=0.2), "alphabet": None},
            heads=("typos", "encode", "per_example", "decode"),  # which it is made of
        ),
        call("text.span_lengths", a={"inputs_length": 64, "rate": 0.15, "mean": 3.0}, slow=("inputs_length",)),
        call(
            "text.spans",
            a={"key": KEY, "ids": IDS, "rate": 0.3, "mean": 1.5, "sentinel": 99, "eos": 1, "roll": False},
            shapes=True,
        ),
    ]
