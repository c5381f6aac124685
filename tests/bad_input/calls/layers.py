"""Layers of `noisejax.nnx` and `noisejax.linen`."""

import inspect

import flax.linen as nn
import jax.numpy as jnp
from flax import nnx

import noisejax as nj
import noisejax.linen as njl
import noisejax.nnx as njx
from bad_input.calls.call import KEY, Call, X, array, call

RNGS = nnx.Rngs(0)
FREE = ("rng_collection", "block_size")  # a block that is longer than its axis covers it
GAUSSIAN = nj.bind(nj.gaussian, std=0.1)
PICTURES = array(2, 6, 6, 3)
TOKENS = array(2, 5, 3)
HEADS = array(2, 5, 2, 4)
NOISES = (
    "gaussian",
    "mask",
    "dropout",
    "drop_path",
    "drop_block",
    "alpha_dropout",
    "gaussian_dropout",
    "spatial_dropout",
    "patch_dropout",
    "mixup",
    "mixup_pairs",
    "blend",
    "perturb",
    "flipout",
    "noise",
    "drop_connect",
    "noisy_net",
    "uniform",
)


def on(x):
    return lambda layer: layer(jnp.asarray(x))


def applied(x):
    def use(layer):
        rngs = {"params": KEY, "noise": KEY, "dropout": KEY}
        return layer.init_with_output(rngs, jnp.asarray(x))[0]

    return use


def noisy_in_linen(x):
    def use(layer):
        return layer.apply(layer.init(KEY, jnp.asarray(x)), jnp.asarray(x), rngs={"noise": KEY})

    return use


def mixed(layer):
    mix = layer(jnp.asarray(X))
    return mix(jnp.asarray(X), 0)


def mixed_in_linen(layer):
    mix = layer.apply({}, jnp.asarray(X), rngs={"noise": KEY})
    return mix(jnp.asarray(X), 0)


def attended(layer):
    return layer(*(jnp.asarray(HEADS),) * 3)


def attended_in_linen(layer):
    return layer.apply({}, *(jnp.asarray(HEADS),) * 3, rngs={"dropout": KEY})


def model():
    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(3, 2, rngs=rngs), njx.Dropout(0.5, rngs=rngs))


def fresh(layer):
    """The constructor of a layer whose right call draws its parameters from streams that are new each time."""

    def made(**arguments):
        if arguments.get("rngs") is RNGS:
            arguments["rngs"] = nnx.Rngs(0)
        return layer(**arguments)

    signature = inspect.signature(layer.__init__)
    parameters = [
        p.replace(kind=p.KEYWORD_ONLY) for n, p in signature.parameters.items() if n not in ("self", "options")
    ]
    made.__signature__ = signature.replace(parameters=parameters)
    return made


def reseeded(model, key):
    njx.reseed(model, key)
    return model(jnp.asarray(X))


def set_and_called(model, *filters, **amounts):
    njx.set_amounts(model, *filters, **amounts)
    return model.layers[1].rate.get_value()


def calls() -> list[Call]:
    own = {
        "heads": (*NOISES, "deterministic", "attention", "_nothing", *(name for name in njx.__all__)),
        "none": ("deterministic", "rngs", "only", "dtype", "precision"),
    }
    images = {"block_size": 3, "broadcast_dims": (), "scale_by_keep": True}
    shapes = {
        "AlphaDropout": ({"rate": 0.5}, X),
        "Dropout": ({"rate": 0.5, "broadcast_dims": ()}, X),
        "GaussianDropout": ({"rate": 0.5}, X),
        "SpatialDropout": ({"rate": 0.5}, PICTURES),
        "DropPath": ({"rate": 0.5, "mode": "example", "scale_by_keep": True}, X),
        "DropBlock": ({"rate": 0.2, **images}, PICTURES),
        "GaussianNoise": ({"std": 0.1}, X),
        "ActivationNoise": ({"noise": GAUSSIAN}, X),
        "NEFTune": ({"alpha": 5.0}, TOKENS),
        "PatchDropout": ({"rate": 0.5, "num_prefix_tokens": 1}, TOKENS),
    }
    found = []
    for name, (arguments, x) in shapes.items():
        own["shapes"] = name == "PatchDropout"
        more = {"deterministic": False, "rng_collection": "noise"}
        found.append(
            call(
                f"nnx.{name}",
                on(x),
                a={**arguments, **more, "rngs": KEY},
                anything=FREE,
                **own,
            )
        )
        found.append(call(f"linen.{name}", applied(x), a={**arguments, **more}, anything=FREE, **own))
        layer = getattr(njx, name)(**arguments, rngs=nnx.Rngs(0))
        linen = getattr(njl, name)(**arguments, deterministic=False)

        def in_linen(x, linen=linen):
            return linen.apply({}, x, rngs={"noise": KEY, "dropout": KEY})

        def in_nnx(x, rngs, layer=layer):
            return layer(x, rngs=rngs)

        noise = name != "PatchDropout"
        found.append(
            Call(
                f"nnx.{name}",
                {"x": x, "rngs": KEY},
                note="called",
                function=in_nnx,
                noise=noise,
                anything=("x",),
                **own,
            )
        )
        found.append(
            Call(f"linen.{name}", {"x": x}, note="called", function=in_linen, noise=noise, anything=("x",), **own)
        )
    own["shapes"] = False
    dense = {"use_bias": True, "deterministic": False}
    mix = {"alpha": 1.0, "places": 2, "mode": "batch", "pairing": "permutation", "shards": 1, "deterministic": False}
    attention = {"rate": 0.5, "broadcast": True, "deterministic": False}
    query = {
        "query": HEADS,
        "key": HEADS,
        "value": HEADS,
        "dropout_rng": KEY,
        "dropout_rate": 0.5,
        "broadcast_dropout": True,
        "deterministic": False,
    }
    found += [
        call("nnx.AttentionDropout", attended, a={**attention, "rngs": KEY}, **own),
        call("linen.AttentionDropout", attended_in_linen, a=attention, **own),
        call(
            "nnx.DropConnectLinear",
            on(X),
            a={"in_features": 3, "out_features": 2, "rate": 0.5, "deterministic": False, "rngs": RNGS},
            function=fresh(njx.DropConnectLinear),
            **own,
        ),
        call("linen.DropConnectLinear", applied(X), a={"features": 2, "rate": 0.5, **dense}, **own),
        call(
            "nnx.NoisyLinear",
            on(X),
            a={"in_features": 3, "out_features": 2, "sigma": 0.5, "mode": "example", **dense, "rngs": RNGS},
            function=fresh(njx.NoisyLinear),
            **own,
        ),
        call("linen.NoisyLinear", applied(X), a={"features": 2, "sigma": 0.5, "mode": "example", **dense}, **own),
        call("nnx.ManifoldMixup", mixed, a={**mix, "rngs": KEY}, **own),
        call("linen.ManifoldMixup", mixed_in_linen, a=mix, **own),
        call(
            "nnx.WeightNoise",
            on(X),
            a={
                "module": nnx.Linear(3, 2, rngs=nnx.Rngs(0)),
                "noise": GAUSSIAN,
                "only": "*kernel",
                "deterministic": False,
                "rngs": KEY,
            },
            skip={"only": ("a function",), "rngs": ("traced",), "noise": ("traced",)},
            **own,
        ),
        call(
            "linen.WeightNoise",
            noisy_in_linen(X),
            a={"module": nn.Dense(2), "noise": GAUSSIAN, "only": "*kernel", "deterministic": False},
            skip={"only": ("a function",)},
            **own,
        ),
        call(
            "nnx.PerExampleWeightNoise",
            on(X),
            a={
                "layer": nnx.Linear(3, 2, rngs=nnx.Rngs(0)),
                "std": 0.1,
                "method": "flipout",
                "mode": "example",
                "deterministic": False,
                "rngs": KEY,
            },
            **own,
        ),
        call(
            "linen.PerExampleWeightNoise",
            applied(X),
            a={"layer": nn.Dense(2), "std": 0.1, "method": "flipout", "mode": "example", "deterministic": False},
            **own,
        ),
        call("nnx.dot_product_attention", a=query, **own),
        call("linen.dot_product_attention", a=query, **own),
        call(
            "nnx.functional",
            lambda pair: pair[0](pair[1], jnp.asarray(X)),
            a={"model": model(), "deterministic": True, "method": "__call__"},
            **own,
        ),
        Call("nnx.reseed", {"model": model(), "key": KEY}, function=reseeded, **own),
        Call("nnx.set_amounts", {"model": model(), "*0": njx.Dropout, "rate": 0.3}, function=set_and_called, **own),
    ]
    return found
