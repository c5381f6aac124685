"""Noises in programs of `jax.export` whose number of examples is symbolic: they draw what they draw for each number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import noisejax as nj

KEY = jax.random.key(1)
GAUSSIAN, MASK = nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.5)
FLIP = nj.bind(nj.labels.flip, rate=0.5, num_classes=3)
ROWS = np.ones((6, 3), np.float32)
PICTURES = np.random.default_rng(0).random((6, 5, 4, 2), np.float32)
WORKING = {
    "gaussian": (GAUSSIAN, ROWS),
    "one std for each feature": (nj.bind(nj.gaussian, std=np.array([1.0, 2.0, 3.0])), ROWS),
    "dropout": (nj.bind(nj.dropout, rate=0.5), ROWS),
    "drop_path": (nj.bind(nj.drop_path, rate=0.5), ROWS),
    "colored": (nj.bind(nj.signal.colored, std=0.1), PICTURES),
    "cutout": (nj.bind(nj.image.cutout, size=2.0), PICTURES),
    "labels": (FLIP, np.array([0, 1, 2, 2, 1, 0], np.int32)),
    "chain": (nj.chain(GAUSSIAN, MASK, nj.clip(0, 1)), ROWS),
    "choose": (nj.choose(GAUSSIAN, MASK), ROWS),
    "per_example": (nj.per_example(GAUSSIAN), ROWS),
    "patch_dropout": (nj.bind(nj.patch_dropout, rate=0.5), ROWS[:, :, None]),
    "mixup": (nj.bind(nj.mixup, alpha=1.0, pairing="roll"), ROWS),
    "entries": (nj.on_entries({"x": GAUSSIAN, "y": FLIP}), {"x": ROWS, "y": np.array([0, 1, 2, 2, 1, 0], np.int32)}),
    "padded": (MASK, nj.Padded(ROWS, np.array([3, 2, 1, 0, 3, 2], np.int32))),
}


def exported(noise, x, *axes):
    """The noise for arrays of which the first axis, or `axes`, are symbolic."""

    def symbolic(leaf):
        names = [f"n{axis}" if axis in (axes or (0,)) else str(size) for axis, size in enumerate(leaf.shape)]
        return jax.ShapeDtypeStruct(export.symbolic_shape(", ".join(names) + ",", scope=scope), leaf.dtype)

    scope = export.SymbolicScope()
    run = jax.jit(lambda data, x: noise(jax.random.wrap_key_data(data), x))
    return export.export(run)(jax.ShapeDtypeStruct((2,), jnp.uint32), jax.tree.map(symbolic, x))


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKING)
def test_the_number_of_examples_may_be_symbolic(name):
    noise, x = WORKING[name]
    program = exported(noise, x)
    for size in (6, 4):
        part = jax.tree.map(lambda leaf: jnp.asarray(leaf[:size]), x)  # noqa: B023
        result, wanted = program.call(jax.random.key_data(KEY), part), noise(KEY, part)
        for got, right in zip(jax.tree.leaves(result), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("noise", "axes", "words"),
    [
        (GAUSSIAN, (1,), r"only the first axis of a draw may have a symbolic dimension, got shape \(6, n1\)"),
        (GAUSSIAN, (0, 1), "only the first axis of a draw"),
        (nj.bind(nj.swap, rate=0.5), (0,), "swap: the number of examples must be known"),
        (nj.bind(nj.mixup, alpha=1.0), (0,), "mixup: the number of examples must be known"),
    ],
)
def test_what_cannot_be_exported_says_why(noise, axes, words):
    with pytest.raises(ValueError, match=words):
        exported(noise, ROWS, *axes)
