"""`noisejax.fused`."""

import numpy as np

import noisejax as nj
from bad_input.calls.call import KEY, Call, array, call

HEADS = array(2, 5, 4, 3)
SHARED = array(2, 6, 2, 3)


def calls() -> list[Call]:
    attention = {
        "key": KEY,
        "query": HEADS,
        "key_states": SHARED,
        "value_states": SHARED,
        "rate": 0.3,
        "bias": array(2, 4, 5, 6),
        "causal": True,
        "scale": 0.5,
        "window": 4,
        "query_lengths": np.array([5, 3], np.int32),
        "key_lengths": np.array([6, 4], np.int32),
        "segment_ids": (np.array([[0, 0, 0, 1, 1]] * 2, np.int32), np.array([[0, 0, 1, 1, 1, 1]] * 2, np.int32)),
        "broadcast_dims": (0,),
        "implementation": "xla",
    }
    none = ("bias", "scale", "window", "query_lengths", "key_lengths", "segment_ids", "implementation")
    free = ("bias", "query", "key_states", "value_states")
    entropy = {
        "logits": array(4, 3),
        "labels": np.array([0, 1, 2, 0], np.int32),
        "alpha": 0.1,
        "lam": 0.3,
        "partner": np.array([1, 0, 3, 2], np.int32),
        "where": np.array([True, True, False]),
        "ignore": 1,
    }
    flipped = {**{n: entropy[n] for n in ("logits", "labels", "alpha")}, "transition": np.eye(3, dtype=np.float32)}
    binary = {"logits": array(4, 3), "labels": np.eye(4, 3, dtype=np.int32), "alpha": 0.1, "ignore": -1}
    several = {"logits": array(4, 3), "labels": np.array([[0, 2], [1, -1], [-1, -1], [2, 1]], np.int32), "ignore": -1}
    x, w = array(4, 3), array(3, 5)
    dense = {"key": KEY, "x": x, "w": w, "noise": nj.bind(nj.gaussian, std=0.1), "implementation": "xla"}
    norm = {"key": KEY, "x": x, "residual": x + 1, "rate": 0.3, "scale": array(3), "shift": array(3), "norm": "layer"}
    more = {"anything": ("x", "w", "residual", "scale", "shift"), "none": ("implementation", "scale", "shift")}
    kinds = {"classes": ("labels",), "anything": ("logits",), "none": ("partner", "where", "ignore", "transition")}
    return [
        call("fused.attention", a=attention, none=none, signed=("scale", "bias"), anything=free, expensive=True),
        call("fused.cross_entropy", a=entropy, signed=("ignore",), **kinds),
        call("fused.cross_entropy", a=flipped, note="flipped", **kinds),
        call("fused.binary_cross_entropy", a=binary, signed=("ignore",), **kinds),
        call("fused.multi_label_cross_entropy", a={**several, "alpha": 0.1}, signed=("ignore",), **kinds),
        call("fused.noisy_dense", a=dense, heads=("gaussian",), **more),
        call("fused.dropout_residual_norm", a={**norm, "epsilon": 1e-6, "implementation": "xla"}, **more),
    ]
