"""Schemas, fitted columns, mechanisms and learnt faults of tables, and the functions of data frames."""

import numpy as np
import pandas as pd

import noisejax as nj
from bad_input.calls.call import KEY, Call, call
from noisejax import frame, tabular

RNG = np.random.default_rng(4)
TABLE = np.stack([RNG.normal(3, 2, 60), RNG.integers(3, size=60)], 1).astype(np.float32)
SCHEMA = tabular.Schema({"a": "number", "c": ("x", "y", "z")})
COLUMNS = tabular.fit(TABLE, SCHEMA)
DIRTY = np.where(RNG.random(TABLE.shape) < 0.3, np.nan, TABLE).astype(np.float32)
TEXT = {"city": ["Bend", "Gary", "Boise"], "state": ["OR", "IN", "ID"]}
MARRED = {"city": ["Bend OR", "Gary", "Boise"], "state": ["", "IN", "ID"]}
PICTURES = (0.2 + 0.5 * RNG.random((2, 10, 9, 3))).astype(np.float32)
NOISY = (PICTURES + 0.05 * RNG.normal(size=PICTURES.shape)).astype(np.float32)
STORED = nj.keyless(nj.image.jpeg, quality=75.0)
FRAME = pd.DataFrame({"a": TABLE[:, 0].astype(float), "c": np.array(["x", "y", "z"])[TABLE[:, 1].astype(int)]})
FAULTS = [("a", nj.bind(tabular.missing, rate=0.3))]
NUMBERED = FRAME.assign(id=np.arange(len(FRAME)))
SIMILAR = frame.similar(("abc", "abd", "abe"))
SERIES = RNG.normal(size=(3, 80, 2)).astype(np.float32)
READ = (1.2 * SERIES + 0.1 * RNG.normal(size=SERIES.shape)).astype(np.float32)
LOST = RNG.random((3, 80, 2)) < 0.2
NAMES = ("corrupt", "Schema", "Column", "fit", "encode", "schema", "missing", "bind")


def missing_by(mechanism):
    return tabular.missing(KEY, TABLE, 0.5, mechanism)


def learnt(model):
    return [part for part in (model.gain, model.noise, model.walk, model.spectrum, model.rate) if part is not None]


by_name = {"skip": {"on": ("a string",)}}  # the name of a column
# One string is a right x, and gives one string.
strings = {"anything": ("x",), "skip": {"x": ("a string",)}}


def calls() -> list[Call]:
    return [
        call(
            "tabular.Column",
            a={"name": "a", "kind": "number", "low": 0.0, "high": 1.0},
            signed=("low", "high"),
            anything=("name",),
            skip={"name": ("an object", "a number", "a float")},  # data frames have such names
        ),
        call("tabular.fit", a={"table": TABLE, "schema": SCHEMA, "quantiles": 9}, none=("schema",), signed=("table",)),
        call("tabular.fit", a={"table": TABLE, "where": DIRTY == DIRTY}, note="where", only=("where",)),
        call(
            "tabular.at_random",
            missing_by,
            a={"columns": COLUMNS, "on": 0, "slope": 2.0},
            signed=("on", "slope"),
            **by_name,
        ),
        call("tabular.not_at_random", missing_by, a={"columns": COLUMNS, "slope": 2.0}, signed=("slope",)),
        call("tabular.block", missing_by, a={"columns": COLUMNS, "on": 0}, none=("on",), signed=("on",), **by_name),
        call("tabular.bursty", missing_by, a={"burst": 3.0}),
        call("tabular.copula", missing_by, a={"correlation": 0.5}),
        call("tabular.by_frequency", a={"columns": COLUMNS, "column": 1}, signed=("column",)),
        call(
            "tabular.neighbours",
            a={"classes": ("cat", "cut", "cup"), "temperature": 1.0, "unknown": 0.1},
            skip={"unknown": ("zero",)},  # without unknown names their column is left out
        ),
        call(
            "tabular.one_hot", a={"x": TABLE, "schema": SCHEMA, "columns": COLUMNS}, none=("columns",), anything=("x",)
        ),
        call(
            "tabular.drift_weight",
            a={"time": TABLE[:, 0], "position": 2.0, "width": 1.0},
            signed=("time", "position"),
            skip={"": ("swapped",)},  # one time and a position for each row is right, too
        ),
        call("tabular.imbalance", a={"key": KEY, "batch": (TABLE, TABLE[:, 1].astype(int)), "shares": (0.5, 0.2, 0.3)}),
        call(
            "tabular.fit_errors", str, a={"clean": TABLE, "dirty": DIRTY, "schema": SCHEMA}, anything=("clean", "dirty")
        ),
        call(
            "tabular.fit_shift",
            str,
            a={"train": TABLE, "deployed": DIRTY, "schema": SCHEMA},
            anything=("train", "deployed"),
        ),
        call("tabular.fit_text_errors", str, a={"clean": TEXT, "dirty": MARRED}),
        call(
            "image.fit_sensor",
            lambda model: [model.sizes, model.spectrum, model.channels, model.curve],
            a={"clean": PICTURES, "noisy": NOISY, "size": 8, "brightness": True, "after": STORED},
            none=("after",),
        ),
        # NaN is a missing reading, and a list one recording or several.
        call("signal.fit", learnt, a={"clean": SERIES, "faulty": READ, "size": 8}, anything=("clean", "faulty")),
        call("signal.fit_noise", learnt, a={"quiet": SERIES, "size": 8}, anything=("quiet",)),
        call("signal.fit_bursts", learnt, a={"missing": LOST}, anything=("missing",)),
        call("frame.schema", a={"df": FRAME}),
        call("frame.encode", lambda made: made[0], a={"df": FRAME, "schema": SCHEMA}, none=("schema",), heads=NAMES),
        call(
            "frame.corrupt", lambda made: made[1].to_numpy(), a={"key": KEY, "df": FRAME, "faults": FAULTS}, heads=NAMES
        ),
        call("frame.augment", len, a={"key": KEY, "df": FRAME, "faults": FAULTS, "copies": 2}, heads=NAMES),
        call("frame.noise", lambda made: len(made(KEY, FRAME)), a={"faults": FAULTS}, heads=NAMES),
        call(
            "frame.map_batches", lambda f: len(f(NUMBERED)), a={"key": KEY, "faults": FAULTS, "ids": "id"}, heads=NAMES
        ),
        call("frame.decode", len, a={"x": TABLE, "schema": SCHEMA, "like": FRAME}, none=("like",), anything=("x",)),
        call(
            "frame.numpy_door", lambda door: door(KEY, TABLE), a={"noise": nj.bind(nj.gaussian, std=0.1)}, heads=NAMES
        ),
        call("frame.mistyped", a={"key": KEY, "x": ["abc", "abd"], "rate": 0.5}, **strings),
        call("frame.mojibake", a={"key": KEY, "x": ["Köln", "abd"], "rate": 0.5, "codec": "cp1252"}, **strings),
        call("frame.misspelt", a={"key": KEY, "x": ["abc", "abd"], "rate": 0.5, "table": SIMILAR}, **strings),
        call("frame.similar", a={"values": ("cat", "cut", "cup"), "limit": 3, "most": 2}, slow=("limit", "most")),
        call("tabular.Schema", len, a={"columns": {"a": "number", "c": 3}}, heads=("Column",)),
    ]
