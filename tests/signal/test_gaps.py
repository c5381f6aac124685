"""Bursts by Gilbert and Elliott, packets, and windows of a recording that equal one call on the whole."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from scipy import stats

from noisejax import signal

ALPHA = 1e-4
X = np.random.default_rng(0).standard_normal((8, 40, 3)).astype(np.float32)


def lost(key, rate, burst, shape=(200, 2000), **more):
    return np.asarray(signal.bursts(key, np.zeros(shape, np.float32), rate, burst, 1.0, fill="value", **more)) == 1


def runs(mask):
    """The lengths of runs that touch neither end."""
    edge = np.diff(mask.astype(np.int8), axis=1)
    found = []
    for row in edge:
        begins, ends = np.flatnonzero(row == 1), np.flatnonzero(row == -1)
        ends = ends[np.searchsorted(ends, begins[0]) :] if len(begins) else ends[:0]
        found.extend(ends - begins[: len(ends)])
    return np.array(found)


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 5.0), (0.3, 2.0), (0.05, 20.0), (0.2, 1.25)])
def test_bursts_have_the_rate_and_geometric_lengths(rate, burst, key):
    mask = lost(key, rate, burst)
    # The correlation of the chain over one step is 1 - p - r, which sets the standard error of its mean.
    leave = 1 / burst
    memory = 1 - leave - rate * leave / (1 - rate)
    error = np.sqrt(rate * (1 - rate) * (1 + memory) / (1 - memory) / mask.size)
    assert abs(mask.mean() - rate) < 4 * error
    # The first and the last step have the rate too: the chain is stationary.
    for step in (0, -1):
        assert abs(mask[:, step].mean() - rate) < 4.5 * np.sqrt(rate * (1 - rate) / len(mask))
    lengths = runs(mask[:, :])
    longest = int(stats.geom(leave).ppf(1 - 20 / len(lengths))) + 1
    counts = np.bincount(np.minimum(lengths, longest), minlength=longest + 1)[1:]
    expected = len(lengths) * stats.geom(leave).pmf(np.arange(1, longest + 1))
    expected[-1] += len(lengths) - expected.sum()
    assert stats.chisquare(counts, expected).pvalue > ALPHA


def test_losses_in_both_states_have_the_rate(key):
    mask = lost(key, 0.3, 10.0, bad=0.8, good=0.05)
    share = (0.3 - 0.05) / 0.75
    memory = 1 - 0.1 - share * 0.1 / (1 - share)
    error = np.sqrt((0.21 + 2 * 0.75**2 * share * (1 - share) * memory / (1 - memory)) / mask.size)
    assert abs(mask.mean() - 0.3) < 4 * error


def test_all_or_nothing_is_lost_at_the_ends(key):
    assert lost(key, 1.0, 3.0, (2, 50)).all()
    assert not lost(key, 0.0, 3.0, (2, 50)).any()


def test_channels_are_lost_together_unless_asked_otherwise(key):
    together, apart = (lost(key, 0.3, 3.0, (4, 50, 3), mode=mode) for mode in ("example", "channel"))
    assert (together == together[..., :1]).all() and not (apart == apart[..., :1]).all()


def test_fills_are_those_of_numpy(key):
    mask = lost(key, 0.4, 4.0, (8, 40))
    x = X[..., 0]
    held, linear = (np.asarray(signal.bursts(key, x, 0.4, 4.0, 7.0, fill=fill)) for fill in ("hold", "linear"))
    for row in range(8):
        good = np.flatnonzero(~mask[row])
        before = np.searchsorted(good, np.arange(40), side="right") - 1
        expected = np.where(before >= 0, x[row, good[np.maximum(before, 0)]], 7.0)
        np.testing.assert_array_equal(held[row], expected)
        np.testing.assert_allclose(linear[row], np.interp(np.arange(40), good, x[row, good]), rtol=1e-5, atol=1e-6)


def test_padding_changes_no_draw_and_fills_no_gap(key):
    short = np.asarray(signal.bursts(key, X[:, :30], 0.4, 4.0, fill="linear"))
    padded = np.concatenate([X[:, :30], np.full((8, 10, 3), np.nan, np.float32)], axis=1)
    whole = np.asarray(signal.bursts(key, padded, 0.4, 4.0, fill="linear", lengths=np.full(8, 30, np.int32)))
    np.testing.assert_array_equal(whole[:, :30], short)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"rate": 0.5, "burst": 1.5}, r"burst must be at least 1 / \(1 - rate\).*that is 2"),
        ({"rate": 0.9, "burst": 4.0, "bad": 0.8}, "rate must lie between the losses"),
        ({"rate": 0.1, "burst": 0.5}, "burst must be at least 1 and finite"),
        ({"rate": 0.1, "burst": 5.0, "fill": "mean"}, "fill must be one of"),
        ({"rate": np.full(3, 0.1), "burst": 5.0}, "shared by all channels"),
    ],
)
def test_infeasible_bursts_raise(arguments, match, key):
    with pytest.raises(ValueError, match=match):
        signal.bursts(key, X, **arguments)


def test_traced_infeasible_bursts_are_independent_losses(key):
    mask = jax.jit(lambda burst: signal.bursts(key, np.zeros((100, 1000), np.float32), 0.5, burst, 1.0, fill="value"))(
        1.0
    )
    lengths = runs(np.asarray(mask) == 1)
    assert abs(lengths.mean() - 2) < 5 * np.sqrt(2 / len(lengths))


@pytest.mark.parametrize("kind", ["hold", "value"])
def test_windows_of_bursts_equal_one_call(kind, key):
    whole = signal.bursts(key, X, 0.4, 4.0, 5.0, fill=kind)

    def step(state, window):
        return signal.bursts_step(key, state, window, 0.4, 4.0, 5.0, fill=kind)

    _, noisy = jax.lax.scan(step, signal.start(X), np.moveaxis(X.reshape(8, 8, 5, 3), 1, 0))
    np.testing.assert_array_equal(np.moveaxis(noisy, 0, 1).reshape(X.shape), whole)


@pytest.mark.slow
def test_windows_of_stuck_sensors_and_drift_equal_one_call(key):
    state = {name: signal.start(X) for name in ("stuck", "walk", "thermal", "linear")}
    found = {name: [] for name in state}
    for first in range(0, 40, 8):
        window = X[:, first : first + 8]
        state["stuck"], y = signal.stuck_step(key, state["stuck"], window, 0.5, 11.0)
        found["stuck"].append(y)
        for kind in ("walk", "thermal", "linear"):
            state[kind], y = signal.drift_step(key, state[kind], window, 2.0, 6.0, 40.0, kind=kind)
            found[kind].append(y)
    np.testing.assert_array_equal(np.concatenate(found["stuck"], 1), signal.stuck(key, X, 0.5, 11.0))
    for kind in ("walk", "thermal", "linear"):
        whole = signal.drift(key, X, 2.0, 6.0, kind=kind)
        np.testing.assert_allclose(np.concatenate(found[kind], 1), whole, rtol=1e-5, atol=1e-5)


def test_a_wrong_state_says_what_it_must_be(key):
    with pytest.raises(ValueError, match=r"arrays of shape \(8, 1, 3\)"):
        signal.bursts_step(key, signal.start(X[:2]), X, 0.1, 5.0)


@pytest.mark.slow
def test_packets_are_lost_repeated_or_reordered_as_wholes(key):
    x = np.tile(np.arange(1, 603, dtype=np.float32), (50, 1))
    gone = np.asarray(signal.packets(key, x, 0.3, size=4)) == 0
    whole = gone[:, :600].reshape(50, 150, 4)
    assert (whole == whole[..., :1]).all() and abs(whole[..., 0].mean() - 0.3) < 4.5 * np.sqrt(0.21 / 7500)
    repeated = np.asarray(signal.packets(key, x, 0.3, size=4, kind="repeated"))
    for row in range(50):
        last = np.zeros(4, np.float32)
        for packet in range(150):
            last = last if whole[row, packet, 0] else x[row, 4 * packet : 4 * packet + 4]
            np.testing.assert_array_equal(repeated[row, 4 * packet : 4 * packet + 4], last)
    reordered = np.asarray(signal.packets(key, x, 0.8, size=4, kind="reordered", window=3))
    np.testing.assert_array_equal(reordered[:, 600:], x[:, 600:])
    number = (reordered[:, :600].reshape(50, 50, 3, 4) - 1).astype(int)
    np.testing.assert_array_equal(number % 4, np.broadcast_to(np.arange(4), number.shape))
    order = number[..., 0] // 4 - 3 * np.arange(50)[None, :, None]
    np.testing.assert_array_equal(np.sort(order, -1), np.broadcast_to(np.arange(3), order.shape))
    moved = (order != np.arange(3)).any(-1).mean()  # one in six random orders is the old one
    assert abs(moved - 0.8 * 5 / 6) < 4.5 * np.sqrt(0.25 / 2500)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_eight_devices_lose_the_same_samples(axis_type, key):
    alone = signal.bursts(key, X, 0.4, 4.0)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(X, NamedSharding(mesh, P("batch")))
        result = jax.jit(lambda key, x: signal.bursts(key, x, 0.4, 4.0))(key, sharded)
    np.testing.assert_array_equal(result, alone)


STEPS = {
    "bursts_step": {"rate": 0.3, "burst": 4.0, "value": 0.0},
    "stuck_step": {"rate": 0.3, "duration": 4.0, "value": 0.5},
    "drift_step": {"amount": 0.3, "tau": 4.0, "duration": 9.0},
}


@pytest.mark.parametrize("name", STEPS)
def test_amounts_of_a_step_are_checked_as_those_of_the_noise(name, key):
    def step(**change):
        return getattr(signal, name)(key, signal.start(X), X, **{**STEPS[name], **change})[1]

    for argument in STEPS[name]:
        for wrong in ("0.5", np.array(["0.5"]), 1j, {"a": 1}):
            with pytest.raises(TypeError, match=f"{name}: {argument} must be"):
                step(**{argument: wrong})
        if argument != "value":
            for wrong in (-0.1, np.nan, np.full((1, 1, 1), -1, np.float32)):
                with pytest.raises(ValueError, match=f"{name}: (every )?{argument} must be"):
                    step(**{argument: wrong})
        few = step(**{argument: np.float16(STEPS[name][argument])})
        np.testing.assert_allclose(few, step(), rtol=1e-2, atol=1e-2)
    for mode in ("batch", ["channel"], None):
        with pytest.raises(ValueError, match=f"{name}: mode must be one of"):
            step(mode=mode)


@pytest.mark.slow
def test_amounts_of_responses(key):
    made = signal.decaying_responses(key, [0.1, 0.3], 100.0, taps=16, count=2)
    np.testing.assert_allclose(made[1], signal.decaying_responses(key, 0.3, 100.0, taps=16, count=2)[1], rtol=1e-6)
    for change in ({"rt60": 0}, {"rt60": [0.1, 0.2, 0.3]}, {"rate_hz": [1.0, 2.0]}, {"rt60": "1"}, {"taps": 0}):
        arguments = {"rt60": 0.3, "rate_hz": 100.0, "taps": 16, "count": 2} | change
        with pytest.raises((TypeError, ValueError), match=f"decaying_responses: {next(iter(change))} must be"):
            signal.decaying_responses(key, **arguments)
