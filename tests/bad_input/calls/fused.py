"""`noisejax.fused`."""

import numpy as np

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
    return [call("fused.attention", a=attention, none=none, signed=("scale", "bias"), anything=free, expensive=True)]
