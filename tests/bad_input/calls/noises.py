"""Every noise, from the table of cases; noises of labels and batches, which have laws of their own."""

import numpy as np

import noisejax as nj
from bad_input.calls.call import KEY, LABELS, PUBLIC, Call, X, array, call
from cases import CASES
from cases.padded import PADDED

ADDRESSES = {id(function): address for address, function in PUBLIC.items()}
SIGNED = ("fill", "low", "high", "origin", "value", "snr_db", "axis", "channel_axis", "exponent", "nu")
SIGNED += ("position", "time", "shift", "delta", "offset", "scale", "beta", "degrees", "pixels")
SIGNED += ("ppm",)  # a slow clock
# A block that is longer than its axis covers it. A fill, an end or an origin is a value of x, and may be NaN.
ANYTHING = ("fill", "low", "high", "value", "x", "block_size")
MECHANISMS = ("at_random", "not_at_random", "block", "bursty", "copula")  # they head their own messages


def calls() -> list[Call]:
    found = []
    for case in CASES:
        x = case.x()
        arguments = {"key": KEY, "x": x, **case.amounts, **case.options}
        more: dict = {"noise": True, "expensive": case.heavy, "signed": SIGNED, "anything": ANYTHING}
        if case.function is nj.image.scale:
            more["signed"] = (*SIGNED, "amount")  # pictures shrink, with kind="exact"
        if isinstance(arguments.get("fill"), nj.Marginals):
            more["skip"] = {"fill": ("a number", "an array")}  # it is either
        if "mechanism" in arguments:
            more["heads"] = MECHANISMS
        found.append(Call(ADDRESSES[id(case.function)], arguments, note=case.note, **more))
        mask = np.arange(x.size).reshape(x.shape) % 3 > 0
        lengths = (np.arange(len(x)) % x.shape[1]).astype(np.int32)
        if not case.note:
            padded = {**arguments, "where": mask, "lengths": lengths}
            found.append(Call(ADDRESSES[id(case.function)], padded, note="padding", only=("where", "lengths"), **more))
    for case in PADDED:
        arguments = {"key": KEY, "x": case.array(), **case.arguments}
        found.append(Call(ADDRESSES[id(case.function)], arguments, note=case.note, shapes=True))
    return found + LABEL_NOISES + MIXING


labels = {"noise": True, "signed": ("value",)}
TRANSITION = np.array([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]], np.float32)
LABEL_NOISES = [
    call("labels.flip", a={"key": KEY, "x": LABELS, "rate": 0.5, "num_classes": 3, "include_true": False}, **labels),
    call("labels.flip_pairs", a={"key": KEY, "x": LABELS, "rate": 0.5, "num_classes": 3}, **labels),
    call("labels.flip_by", a={"key": KEY, "x": LABELS, "transition": TRANSITION}, **labels),
    call("labels.missing", a={"key": KEY, "x": LABELS, "rate": 0.5, "value": -1, "mode": "element"}, **labels),
    call("labels.smooth", a={"labels": LABELS, "alpha": 0.1, "num_classes": 3}, classes=("labels",)),
    call("labels.smooth", a={"labels": array(4), "alpha": 0.1, "binary": True}, note="binary"),
    call(
        "labels.smooth",
        a={"labels": LABELS, "alpha": 0.1, "num_classes": 3, "ignore": 2},
        note="ignore",
        only=("ignore",),
        signed=("ignore",),
        anything=("ignore",),
    ),
]

BATCH = {"image": array(4, 6, 6, 2), "label": LABELS}
mixing = {"heads": ("mixup", "cutmix", "blend")}
MIXING = [
    call(
        f"{name}",
        a={
            "key": KEY,
            "batch": BATCH,
            "alpha": 1.0,
            "num_classes": 3,
            "mode": "example",
            "keep": (),
            "pairing": "permutation",
            "shards": 1,
            **more,
        },
        signed=("axes",),
        **mixing,
    )
    for name, more in (("mixup", {}), ("cutmix", {"axes": (1, 2)}))
] + [
    call(
        "blend",
        a={
            "batch": BATCH,
            "lam": np.full(4, 0.3, np.float32),
            "partner": np.array([1, 2, 3, 0]),
            "num_classes": 3,
            "keep": (),
            "shards": 1,
        },
        batch=("lam", "partner"),
        **mixing,
    ),
    call("blend", a={"batch": X, "lam": 0.5, "partner": 1}, note="one array", signed=("partner",), **mixing),
    call(
        "mixup",
        a={
            "key": KEY,
            "batch": {"x": X, "y": array(4)},
            "alpha": 1.0,
            "bandwidth": 0.5,
            "pairing": "similar",
            "targets": "y",
            "shards": 2,
        },
        note="similar",
        none=("targets",),
        only=("bandwidth", "pairing", "targets", "shards"),
        **mixing,
    ),
    call(
        "mixup_pairs",
        a={"key": KEY, "n": 4, "alpha": 1.0, "bandwidth": 0.5, "targets": array(4), "pairing": "similar"},
        note="similar",
        batch=("targets",),
        only=("n", "bandwidth", "targets", "pairing"),
    ),
    call("mixup_pairs", a={"key": KEY, "n": 4, "alpha": 1.0, "mode": "example", "pairing": "permutation", "shards": 1}),
]
