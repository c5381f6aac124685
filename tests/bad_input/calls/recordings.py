"""`noisejax.signal` besides its noises: steps of streams, replayed movements and responses."""

import noisejax as nj
from bad_input.calls.call import KEY, Call, array, call

SERIES = array(2, 8, 3)
STATE = nj.signal.start(SERIES)


def calls() -> list[Call]:
    window = {"key": KEY, "state": STATE, "x": SERIES}
    return [
        call("signal.start", a={"x": SERIES, "axis": 1}, none=("axis",), signed=("axis",), anything=("x",)),
        call(
            "signal.bursts_step",
            a={**window, "rate": 0.3, "burst": 4.0, "value": 0.0, "fill": "hold", "mode": "example", "axis": 1},
            signed=("value", "axis"),
            anything=("x", "value"),
            heads=("bursts",),
        ),
        call(
            "signal.stuck_step",
            a={**window, "rate": 0.3, "duration": 4.0, "value": 0.5, "mode": "channel", "axis": 1},
            signed=("value", "axis"),
            anything=("x", "value"),
            heads=("stuck",),
        ),
        call(
            "signal.drift_step",
            a={**window, "amount": 0.3, "tau": 4.0, "duration": 9.0, "kind": "thermal", "mode": "channel", "axis": 1},
            signed=("axis",),
            anything=("x",),
            heads=("drift",),
        ),
        call(
            "signal.moved",
            lambda replay: replay(KEY, SERIES),
            a={"noise": nj.bind(nj.signal.time_warp, std=0.2)},
            heads=("time_warp",),
        ),
        call(
            "signal.decaying_responses",
            a={"key": KEY, "rt60": 0.2, "rate_hz": 100.0, "taps": 16, "count": 2},
            slow=("taps", "count"),
        ),
    ]
