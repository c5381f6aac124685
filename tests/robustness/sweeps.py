"""A small task, sweeps over it, and reports of given scores, which the tests of robustness share."""

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Family, Report

N = 60
RNG = np.random.default_rng(3)
X = RNG.standard_normal((N, 4)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)
W = np.stack([-np.ones(4), np.ones(4)], 1).astype(np.float32)
LEVELS = (0.0, 0.2, 0.5)


def linear(w, x):
    return x @ w


def gaussian(std):
    return nj.bind(nj.gaussian, std=std)


def masking(rate):
    return nj.bind(nj.mask, rate=rate)


def features(outputs, _):
    """A score that tells the noisy x itself."""
    return outputs.sum(-1)


def sweep(predict=None, data=(X, Y), families=None, **options):
    predict = predict or jax.tree_util.Partial(linear, jnp.asarray(W))  # one program for most tests
    made = families_of(families or {"gaussian": (gaussian, LEVELS)})
    return robustness.sweep(jax.random.key(0), predict, data, made, **options)


def families_of(given):
    """Families from {name: (noise_at, levels)} or {name: (noise_at, levels, on)}."""
    return [Family(name, *of) for name, of in given.items()]


def scaled(by):
    return jax.tree_util.Partial(linear, jnp.asarray(by * W))


def report(scores, levels=None, metric="accuracy", draws=1, clean=None, higher=True, best=1.0, **more):
    """A report of given scores: (levels, models, examples)."""
    scores = {"f": np.asarray(scores, np.float32), **{name: np.asarray(v, np.float32) for name, v in more.items()}}
    clean = scores["f"][0] if clean is None else np.asarray(clean, np.float32)
    values = f"{metric}/values"
    at = {name: np.arange(len(v)) / 10 if levels is None else np.asarray(levels, float) for name, v in scores.items()}
    return Report(
        levels=at,
        labels={},
        metrics=((metric, "example", higher, best),),
        draws=draws,
        examples=clean.shape[-1],
        counts=np.ones(clean.shape[-1]),
        parts={},
        cells={"": [{values: clean}], **{name: [{values: level} for level in v] for name, v in scores.items()}},
        problems={},
        shown={"": [None], **{name: [None] * len(v) for name, v in scores.items()}},
        shift={name: [None] * len(v) for name, v in scores.items()},
        pairing="0" * 16,
    )
