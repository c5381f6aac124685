"""Levels that move: schedules cost one trace, and the adaptive level does what its docstring says."""

import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import noisejax as nj

# Schedules


def test_a_whole_run_along_a_schedule_is_one_trace(key):
    noise = nj.chain(
        nj.bind(nj.gaussian, std=nj.scheduled(optax.linear_schedule(0.0, 1.0, 10))),
        nj.sometimes(
            nj.bind(nj.mask, rate=nj.scheduled(optax.cosine_decay_schedule(0.5, 10))),
            nj.scheduled(optax.linear_schedule(0.2, 1.0, 10)),
        ),
    )
    x, traces = jnp.ones((4, 3)), []

    @jax.jit
    def train_step(noise, key, step):
        traces.append(step)
        return nj.at_step(noise, step)(key, x)

    for step in range(12):
        share = min(step, 10) / 10
        fixed = nj.chain(
            nj.bind(nj.gaussian, std=share),
            nj.sometimes(nj.bind(nj.mask, rate=0.25 * (1 + math.cos(math.pi * share))), 0.2 + 0.8 * share),
        )
        np.testing.assert_allclose(train_step(noise, key, step), fixed(key, x), rtol=1e-5, atol=1e-6)
    assert len(traces) == 1


def test_a_schedule_runs_inside_scan(key):
    noise = nj.bind(nj.gaussian, std=nj.scheduled(optax.linear_schedule(0.0, 1.0, 10)))

    def body(carry, step):
        return carry, nj.at_step(noise, step)(key, jnp.zeros(100)).std()

    spread = jax.jit(lambda: jax.lax.scan(body, 0, jnp.arange(11))[1])()
    unit = nj.gaussian(key, jnp.zeros(100), 1.0).std()
    np.testing.assert_allclose(spread, unit * np.linspace(0, 1, 11), rtol=1e-5)


def test_at_step_takes_what_schedules_return():
    row = jnp.array([1.0, 2.0])
    schedules = {
        "python": lambda step: 0.5 * step,
        "numpy": lambda step: np.float64(0.5) * np.asarray(step),
        "jax": lambda step: jnp.asarray(0.5 * step),
        "row": lambda step: 0.5 * step * row,
    }
    noises = {name: nj.bind(nj.gaussian, std=nj.scheduled(schedule)) for name, schedule in schedules.items()}
    assert not jax.tree.leaves(noises), "schedules are static"
    for name, noise in nj.at_step(noises, 3).items():
        std = noise.amounts["std"]
        assert std.dtype == np.float32
        np.testing.assert_array_equal(std, 1.5 * row if name == "row" else 1.5)
    fixed = nj.bind(nj.gaussian, std=0.3)
    assert nj.at_step(fixed, 3).amounts == fixed.amounts


def test_a_schedule_in_the_weights_of_a_choice(key):
    # Nothing of the second noise at step 0, nothing of the first at step 10.
    noise = nj.choose(
        nj.bind(nj.gaussian, std=0.0),
        nj.bind(nj.mask, rate=1.0),
        weights=nj.scheduled(lambda step: jnp.array([10.0 - step, step])),
    )
    x = jnp.ones((50, 2))
    shares = [float((nj.at_step(noise, step)(key, x) == 0).mean()) for step in (0, 5, 10)]
    assert shares[0] == 0
    assert 0.1 < shares[1] < 0.9
    assert shares[2] == 1


def test_a_noise_on_a_schedule_asks_for_its_step(key):
    with pytest.raises(ValueError, match=r"nj.at_step\(noise, step\)"):
        nj.bind(nj.gaussian, std=nj.scheduled(optax.linear_schedule(0.0, 1.0, 10)))(key, jnp.zeros(3))
    with pytest.raises(ValueError, match="std must be at least 0"):
        nj.at_step(nj.bind(nj.gaussian, std=nj.scheduled(lambda step: -0.1 * step)), 1)(key, jnp.zeros(3))


# The adaptive level


def written_out(start, step, ceiling, values, *, rtol, atol, mode, reference=None, errors=None):
    """The docstring's rule with branches, in float64: the level after each value."""
    sign = {"max": 1.0, "min": -1.0}[mode]
    best = None if reference is None else sign * reference
    level, mean, n, last, variance, differences, levels = start, 0.0, 0, None, 0.0, 0, []
    for k, value in enumerate(values):
        if not math.isfinite(value):
            move, n = -1, 0
        else:
            if last is not None:
                differences = min(differences + 1, 4)
                variance += ((value - last) ** 2 / 2 - variance) / differences
            last, n = value, min(n + 1, 8)
            mean += (value - mean) / n
            move, s = 0, math.sqrt(variance) if errors is None else errors[k]
            if differences or errors is not None:
                e = s / math.sqrt(n)
                if reference is None:
                    best = max(best, sign * mean - e) if best is not None else sign * mean - e
                margin = sign * mean - best + rtol * abs(best) + atol
                move = 1 if margin >= e / 4 else -1 if margin < -e else 0
            if move:
                n = 0
        level = min(max(level + move * step, start), ceiling)
        levels.append(level)
    return np.array(levels)


def unreferenced(a):
    with pytest.warns(UserWarning, match="without a reference"):
        return a.init()


def run(a, values, reference=None, error=None):
    start = unreferenced(a) if reference is None else a.init(reference)
    values = jnp.asarray(values, jnp.float32)

    def body(state, seen):
        state = a.update(state, value=seen[0], error=None if error is None else seen[1])
        return state, state

    given = jnp.zeros(len(values)) if error is None else jnp.asarray(error, jnp.float32)
    return jax.jit(lambda: jax.lax.scan(body, start, (values, given))[1])()


RULES = [
    {"rtol": 0.0, "atol": 0.0, "mode": "max"},
    {"rtol": 0.05, "atol": 0.0, "mode": "max", "reference": 0.6},
    {"rtol": 0.0, "atol": 0.03, "mode": "min", "reference": -0.2},
    {"rtol": 0.01, "atol": 0.01, "mode": "min"},
    {"rtol": 0.01, "atol": 0.0, "mode": "max", "reference": 0.5, "errors": True},
    {"rtol": 0.0, "atol": 0.02, "mode": "min", "errors": True},
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_follows_the_rule_as_it_is_written(rule, seed):
    rng = np.random.default_rng(seed)
    # It gets better and worse by turns, and crosses 0, where the relative tolerance vanishes.
    trend = np.repeat(rng.choice([-0.01, 0.01], 20), 10).cumsum()
    values = (trend - trend[60] + rule.get("reference", 0.0) + 0.02 * rng.standard_normal(200)).astype(np.float32)
    values[rng.random(200) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    errors = rng.uniform(0.0, 0.05, 200).astype(np.float32) if rule.get("errors") else None
    a = nj.adaptive(0.05, 0.1, 0.62, **{k: v for k, v in rule.items() if k in ("rtol", "atol", "mode")})
    levels = run(a, values, rule.get("reference"), errors).level
    np.testing.assert_allclose(levels, written_out(0.05, 0.1, 0.62, values, **rule | {"errors": errors}), atol=1e-5)
    assert len(np.unique(np.round(levels, 3))) > 3, "the level has moved"


def simulate(a, metric, steps=200, reference=None):
    """Levels of a run whose metric depends on the level in use: metric(time, level)."""
    start = unreferenced(a) if reference is None else a.init(reference)

    def body(state, time):
        return a.update(state, value=metric(time, state.level)), state.level

    return np.asarray(jax.jit(lambda: jax.lax.scan(body, start, jnp.arange(steps))[1])())


@pytest.mark.parametrize("mode", ["max", "min"])
def test_settles_near_a_known_optimum(mode):
    sign = 1 if mode == "max" else -1
    # Best at 0.3 with 0.9; an rtol of 0.01 allows 0.009 less, which is 0.03 more noise or less than one step.
    a = nj.adaptive(0.0, 0.05, 1.0, rtol=0.01, mode=mode)
    levels = simulate(a, lambda _, level: sign * (0.9 - 10 * jnp.maximum(level - 0.3, 0) ** 2), reference=sign * 0.9)
    assert np.all(np.abs(levels[20:] - 0.33) < 0.1 + 1e-5)
    np.testing.assert_allclose(levels[20:].mean(), 0.33, atol=0.04)


def test_settles_where_the_noise_costs_what_the_tolerance_allows_of_a_reference():
    """The metric rises as the model learns, answers a level with a lag, scatters, and a baseline's is known: 0.85."""
    scatter = 0.003 * jnp.asarray(np.random.default_rng(0).standard_normal(400), jnp.float32)

    def metric(time, level):
        learnt = 0.85 * (1 - jnp.exp(-(time + 1).astype(jnp.float32) / 5))
        return learnt - 0.4 * jnp.maximum(level - 0.2, 0) + scatter[time]

    a = nj.adaptive(0.0, 0.02, 1.0, rtol=0.03, mode="max")
    levels = simulate(a, metric, 400, reference=0.85)
    assert np.all(levels[:10] == 0), "it waits until the model has learnt"
    # 3% of 0.85 is what 0.064 above 0.2 costs; scatter of 0.003 moves that by 0.01, and the step is 0.02.
    assert abs(levels[100:].mean() - 0.264) < 0.03
    assert levels[100:].max() < 0.36
    # Without the reference, learning hides the cost at first: the docstring says so.
    assert simulate(a, metric, 400)[30] > 0.4


def test_scatter_as_large_as_the_tolerance_does_not_drive_the_level_down():
    """Over 500 runs, the level settles near the target 0.3; the best of noisy values would drive it to the start."""
    scatter = 0.01 * jnp.asarray(np.random.default_rng(1).standard_normal((100, 500)), jnp.float32)
    a = nj.adaptive(np.zeros(500), 0.01, 0.5, rtol=0.0, atol=0.01, mode="max")
    levels = simulate(a, lambda time, level: 0.8 - 0.01 * level / 0.3 + scatter[time], 100, reference=0.8)
    assert abs(levels[-20:].mean() - 0.3) < 0.05  # its standard error is 0.003
    known = simulate_with_error(a, scatter, 0.01)
    assert abs(known[-20:].mean() - 0.3) < 0.05


def simulate_with_error(a, scatter, error):
    def body(state, noise):
        value = 0.8 - 0.01 * state.level / 0.3 + noise
        return a.update(state, value=value, error=error), state.level

    return np.asarray(jax.lax.scan(body, a.init(0.8), scatter)[1])


def test_a_given_reference_never_moves_and_a_missing_one_only_improves():
    values = np.random.default_rng(2).normal(0.5, 0.1, 100)
    for mode, better in (("max", np.greater_equal), ("min", np.less_equal)):
        a = nj.adaptive(0.0, 0.1, 1.0, mode=mode)
        np.testing.assert_array_equal(run(a, values, 0.45).reference, np.float32(0.45))
        found = np.asarray(run(a, values).reference)
        assert not np.isfinite(found[0]), "one value has no scatter"
        assert np.all(np.isfinite(found[1:]))
        assert np.all(better(found[2:], found[1:-1]))


def test_values_that_are_not_finite_lower_the_level_and_are_forgotten():
    for mode in ("max", "min"):
        for bad in (np.nan, np.inf, -np.inf):
            a = nj.adaptive(0.0, 0.1, 1.0, mode=mode)
            states = run(a, [0.5, 0.5, 0.5, bad, bad, 0.5], 0.5)
            np.testing.assert_allclose(states.level, [0.0, 0.1, 0.2, 0.1, 0.0, 0.1], atol=1e-6)
            np.testing.assert_array_equal(states.seen, [1, 2, 3, 3, 3, 4])
            np.testing.assert_array_equal(states.variance, 0)
    from_the_start = run(nj.adaptive(0.0, 0.1, 1.0, mode="max"), [np.nan, 0.5, 0.5], 0.5)
    np.testing.assert_allclose(from_the_start.level, [0.0, 0.0, 0.1], atol=1e-6)


def test_a_known_error_needs_no_second_value():
    a = nj.adaptive(0.0, 0.1, 1.0, rtol=0.0, atol=0.1, mode="max")
    assert float(a.update(a.init(0.5), value=0.5).level) == 0
    for error, level in ((0.3, 0.1), (0.5, 0.0)):  # a quarter of the error is below the margin of 0.1, or above it
        np.testing.assert_allclose(a.update(a.init(0.5), value=0.5, error=error).level, level)


def test_a_level_that_holds_averages_the_last_eight_values():
    a = nj.adaptive(0.0, 0.1, 1.0, rtol=0.0, mode="max")
    states = run(a, [0.4] * 10 + [0.5], 0.5, error=[5.0] * 11)  # an error so large that every value holds
    np.testing.assert_array_equal(states.count, [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8])
    np.testing.assert_allclose(states.mean, [0.4] * 10 + [0.4 + 0.1 / 8], rtol=1e-6)


@pytest.mark.slow
def test_several_levels_at_once_are_several_levels(key):
    starts, steps, ceilings = np.array([0.0, 0.1, 0.2]), np.array([0.1, 0.05, 0.3]), np.array([0.4, 0.3, 0.6])
    values = np.random.default_rng(5).random((30, 3)).astype(np.float32)
    options, references = {"rtol": 0.2, "mode": "max"}, np.array([0.5, 0.6, 0.4])
    alone = np.stack(
        [
            run(nj.adaptive(*rule, **options), values[:, n], references[n]).level
            for n, rule in enumerate(zip(starts, steps, ceilings, strict=True))
        ],
        axis=-1,
    )
    assert len(np.unique(alone)) > 6
    together = run(nj.adaptive(starts, steps, ceilings, **options), values, references)
    np.testing.assert_array_equal(together.level, alone)

    rules = nj.adaptive(jnp.asarray(starts), jnp.asarray(steps), jnp.asarray(ceilings), **options)
    one = jax.vmap(lambda a, values, reference: run(a, values, reference).level, in_axes=(0, 1, 0), out_axes=1)
    np.testing.assert_array_equal(jax.jit(one)(rules, values, jnp.asarray(references)), alone)

    shared = run(nj.adaptive(starts, steps, ceilings, **options), values[:, 0], 0.5)  # one metric for all levels
    np.testing.assert_array_equal(shared.level[:, 0], alone[:, 0])


def test_a_level_drives_a_noise_in_one_trace_and_its_state_may_be_donated(key):
    a, traces = nj.adaptive(0.1, 0.1, 1.0, mode="max"), []
    x = jnp.zeros(1000)

    def step(a, state, key, value):
        traces.append(value)
        return nj.bind(nj.gaussian, std=state.level)(key, x).std(), a.update(state, value=value, error=0.01)

    step, state, spread = jax.jit(step, donate_argnums=1), a.init(0.7), []
    for value in (0.7, 0.8, 0.9):
        std, state = step(a, state, key, value)
        spread.append(float(std))
    assert len(traces) == 1
    unit = float(nj.gaussian(key, x, 1.0).std())
    np.testing.assert_allclose(spread, [0.1 * unit, 0.2 * unit, 0.3 * unit], rtol=1e-4)
    other = nj.adaptive(0.2, 0.05, 0.8, mode="max")
    step(other, unreferenced(other), key, 0.7)
    assert len(traces) == 1, "start, step, ceiling and the reference are data"


@pytest.mark.slow
def test_a_run_goes_on_from_pickle_and_from_a_checkpoint(tmp_path):
    a = nj.adaptive(0.0, 0.1, 1.0, rtol=0.05, mode="max")
    values = np.random.default_rng(6).normal(0.5, 0.1, 40).astype(np.float32)
    state = unreferenced(a)
    for value in values[:21]:
        state = a.update(state, value=value)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", a.init(0.0))
    assert isinstance(restored, nj.AdaptiveState)
    again, pickled = pickle.loads(pickle.dumps((a, state)))
    levels = run(a, values).level
    assert len(np.unique(levels[21:])) > 1
    for rule, resumed in ((a, state), (a, restored), (again, pickled)):
        for value in values[21:]:
            resumed = rule.update(resumed, value=value)
        np.testing.assert_array_equal(resumed.level, levels[-1])


def test_keeps_its_dtypes_where_x64_is_on():
    with jax.enable_x64(True):
        a = nj.adaptive(0.0, 0.1, 1.0, rtol=np.float64(0.1), mode="min")
        state = a.update(a.init(np.float64(0.3)), value=np.float64(0.3), error=np.float64(0.1))
        assert {leaf.dtype.name for leaf in state} == {"float32", "int32", "bool"}
        jax.lax.scan(lambda s, v: (a.update(s, value=v), None), a.init(0.5), jnp.ones(3))


@pytest.mark.slow
def test_notes_say_what_to_doubt():
    a = nj.adaptive(0.0, 0.1, 1.0, atol=0.01, rtol=0.0, mode="max")
    scattered = 0.8 + 0.05 * np.random.default_rng(7).standard_normal(30)

    def after(values, reference=None, rule=a):
        state = unreferenced(rule) if reference is None else rule.init(reference)
        for value in values:
            state = rule.update(state, value=value)
        return rule.notes(state)

    flat = 0.85 - 0.001 * np.arange(30)
    assert after(flat, 0.85) == []
    assert [note.split(",")[0] for note in after(flat)] == ["There is no reference"]
    assert after(flat[:7], 0.85) == ["7 values are few: a level seldom settles in fewer than 20."]
    (note,) = after(scattered, 0.9)
    assert "is above the tolerance, 0.01." in note
    (note,) = after(np.full(30, 0.9), 0.85)
    assert "at its ceiling" in note
    several = nj.adaptive(np.zeros(2), 0.1, 1.0, rtol=0.5, mode="min")
    (note,) = after(np.stack([flat, scattered], 1), np.array([0.1, 0.01]), several)
    assert "is above the tolerance, 0.005." in note


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("step must be above 0", {"step": 0.0}),
        ("start must be a number", {"start": math.nan}),
        ("ceiling must be at least start", {"start": 0.5, "ceiling": 0.4}),
        (r"rtol must be in \[0, 1\]", {"rtol": 1.1}),
        ("atol must be at least 0", {"atol": -0.1}),
        ("mode must be one of 'max', 'min'", {"mode": "maximum"}),
    ],
)
def test_bad_rules_are_named(match, arguments):
    with pytest.raises(ValueError, match=match):
        nj.adaptive(**({"start": 0.0, "step": 0.1, "ceiling": 1.0, "mode": "max"} | arguments))


def test_mode_has_no_default_and_a_metric_is_one_number_per_level():
    with pytest.raises(TypeError, match="mode"):
        nj.adaptive(0.0, 0.1, 1.0)
    a = nj.adaptive(0.0, 0.1, 1.0, mode="max")
    with pytest.raises(ValueError, match="value must be a scalar"):
        a.update(a.init(0.5), value=jnp.ones(5))
    with pytest.raises(ValueError, match="error must be a scalar"):
        a.update(a.init(0.5), value=0.5, error=jnp.ones(5))
    with pytest.raises(ValueError, match="error must be at least 0"):
        a.update(a.init(0.5), value=0.5, error=-0.1)
    with pytest.raises(ValueError, match="reference must be a scalar"):
        a.init(np.ones(3))
    with pytest.raises(ValueError, match="reference must be"):
        a.init(math.nan)
