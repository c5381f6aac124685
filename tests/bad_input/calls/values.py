"""Combinators and other functions that make values of noises, and the calls of bound noises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from bad_input.calls.call import KEY, LABELS, Call, X, array, call

MASK = nj.bind(nj.mask, rate=0.5)
GAUSSIAN = nj.bind(nj.gaussian, std=0.1)
BATCH = {"image": X, "label": LABELS}


def on(x):
    """Applies a noise, as a user does with what a combinator returns."""
    return lambda noise: noise(KEY, x)


def first_rate(level):
    return nj.bind(nj.mask, rate=level)


def calls() -> list[Call]:
    plain = on(X)
    inner = ("noise", "mask", "gaussian", "bind", "jax_key")
    found = [
        call(
            "bind",
            plain,
            a={"function": nj.gaussian, "std": 0.1},
            heads=("gaussian",),
            skip={"function": ("gives None",)},
        ),
        call(
            "bind",
            plain,
            a={"function": nj.mask, "*0": 0.5, "groups": (0, 0, 1)},
            note="options",
            heads=("mask",),
            none=("groups",),
            only=("*0", "groups"),
        ),
        call("chain", plain, a={"*0": MASK, "*1": GAUSSIAN}, heads=inner),
        call("choose", plain, a={"*0": MASK, "*1": GAUSSIAN, "weights": (0.25, 0.75), "mode": "example"}, heads=inner),
        call("sometimes", plain, a={"noise": GAUSSIAN, "rate": 0.5, "mode": "example"}, heads=inner),
        call("clip", plain, a={"low": 0.2, "high": 0.7}, signed=("low", "high")),
        call("keyless", plain, a={"function": _tanh}, heads=("_tanh",)),
        call("hits", plain, a={"noise": MASK}, heads=inner),
        call("changed", a={"x": X, "y": X + 1}, anything=("x", "y")),
        call("learnable", plain, a={"noise": GAUSSIAN}),
        call(
            "per_example",
            plain,
            a={"noise": GAUSSIAN, "ids": np.arange(4)},
            heads=inner,
            batch=("ids",),
            signed=("ids",),
        ),
        call("on_columns", plain, a={"noise": GAUSSIAN, "columns": (0, 2), "axis": -1}, heads=inner, signed=("axis",)),
        call("on_entries", on(BATCH), a={"spec": {"image": GAUSSIAN}, "shared": False}, heads=inner),
        call(
            "scheduled",
            lambda s: nj.at_step(nj.bind(nj.gaussian, std=s), 3)(KEY, X),
            a={"function": lambda step: 0.1 * step},
            heads=("gaussian", "at_step", "bind"),
        ),
        call(
            "at_step",
            plain,
            a={"noise": nj.bind(nj.gaussian, std=nj.scheduled(lambda step: 0.1 * step)), "step": 3},
            heads=inner,
            # Schedules are functions of any number; a list of noises is a pytree, which is not called.
            skip={"step": ("float 2.5",), "noise": ("a list",)},
        ),
        call("linear_rates", list, a={"rate": 0.3, "depth": 4, "start": 0.1}, slow=("depth",)),
        call(
            "marginals",
            lambda m: nj.mask(KEY, X, 0.5, m),
            a={"table": array(9, 3), "rows": 5},
            heads=("mask",),
            none=("rows",),
            slow=("rows",),
            anything=(),
        ),
        call(
            "key",
            lambda key: jax.random.normal(key, (2,)),
            a={"seed": 3, "generator": "mix"},
            signed=("seed",),
            anything=("seed",),
        ),
        call(
            "Padded",
            lambda p: (p.values, p.lengths, nj.mask(KEY, p, 0.5).values),
            a={"values": X, "lengths": np.array([3, 2, 1, 0], np.int32)},
            batch=("lengths",),
            anything=("values",),
        ),
        call(
            "adaptive",
            _adapted,
            a={
                "start": 0.1,
                "step": 0.1,
                "ceiling": 0.5,
                "rtol": 0.01,
                "atol": 0.0,
                "mode": "max",
            },
            signed=("start", "ceiling"),
        ),
        call("from_dict", plain, a={"document": GAUSSIAN.to_dict()}, heads=("mask", "gaussian")),
        call("tikhonov_penalty", a={"f": _tanh, "x": X, "std": 0.1, "loss": "squared"}),
        call(
            "tikhonov_estimate",
            a={"key": KEY, "f": _tanh, "x": X, "std": 0.1, "probes": 2, "loss": "squared"},
            slow=("probes",),
        ),
        call("in_shard_map", _in_shards, a={"noise": MASK, "spec": jax.sharding.PartitionSpec("data")}, heads=inner),
    ]
    bound = {
        "bind": MASK,
        "chain": nj.chain(MASK, GAUSSIAN),
        "choose": nj.choose(MASK, GAUSSIAN),
        "sometimes": nj.sometimes(MASK, 0.5),
        "on_columns": nj.on_columns(MASK, (0, 2)),
        "clip": nj.clip(0.2, 0.7),
        "keyless": nj.keyless(_tanh),
        "per_example": nj.per_example(MASK),
        "hits": nj.hits(MASK),
        "scheduled": nj.at_step(nj.bind(nj.mask, rate=nj.scheduled(first)), 1),
    }
    heads = (*bound, *inner, "_tanh")
    for name, noise in bound.items():
        function = functools.partial(_applied, noise)
        keywords = {"noise": name not in ("hits",), "anything": ("x",), "heads": heads}
        found.append(Call(name, {"key": KEY, "x": X}, note="called", function=function, **keywords))
    entries = nj.on_entries({"image": GAUSSIAN})
    found.append(
        Call(
            "on_entries",
            {"key": KEY, "batch": BATCH},
            note="called",
            function=functools.partial(_entries, entries),
            heads=heads,
        )
    )
    return found


def first(step):
    return 0.1 * step


def _tanh(x):
    return jnp.tanh(x)


def _applied(noise, key, x):
    return noise(key, x)


def _entries(noise, key, batch):
    return noise(key, batch)


def _adapted(rule):
    state = rule.init(0.8)
    for value in (0.8, 0.7, 0.6, 0.5):
        state = rule.update(state, value=value)
    return state.level


def _in_shards(local):
    mesh = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1], axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    run = jax.shard_map(local, mesh=mesh, in_specs=(spec(), spec("data")), out_specs=spec("data"))
    return run(KEY, X)
