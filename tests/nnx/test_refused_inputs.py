"""Inputs that a layer cannot take, refused in its own name with what to write instead."""

import importlib
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import noisejax as nj
import noisejax.linen as njl
import noisejax.nnx as njx

KEY = jax.random.key(0)
PADDED = nj.Padded(jnp.ones((2, 5, 3)), [5, 2])


class TestProducts:
    @pytest.mark.parametrize("deterministic", [True, False])
    @pytest.mark.parametrize(
        "layer",
        [
            njx.NoisyLinear(3, 4, rngs=nnx.Rngs(0)),
            njx.DropConnectLinear(3, 4, rate=0.5, rngs=nnx.Rngs(0)),
            njx.PerExampleWeightNoise(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), 0.1, rngs=nnx.Rngs(0)),
        ],
    )
    def test_nnx(self, layer, deterministic):
        with pytest.raises(TypeError, match=rf"{type(layer).__name__}: inputs must be an array, got a Padded"):
            layer(PADDED, deterministic=deterministic)
        x = PADDED
        y = x.with_values(layer(x.values))
        assert y.values.shape == (2, 5, 4)
        assert (y.lengths == x.lengths).all()

    @pytest.mark.parametrize(
        "layer",
        [
            njl.NoisyLinear(4, deterministic=False),
            njl.DropConnectLinear(4, rate=0.5, deterministic=False),
            njl.PerExampleWeightNoise(nn.Dense(4), 0.1, deterministic=False),
        ],
    )
    def test_linen(self, layer):
        for x in (PADDED, nj.Padded(jnp.ones((2, 5)), [1, 2])):
            with pytest.raises(TypeError, match=rf"{type(layer).__name__}: inputs must be an array, got a Padded"):
                layer.init(KEY, x)


class TestManifoldMixup:
    @pytest.mark.parametrize("deterministic", [True, False])
    def test_a_padded_batch(self, deterministic):
        mix = njx.ManifoldMixup(2.0, places=1, rngs=nnx.Rngs(0))(PADDED, deterministic=deterministic)
        for hidden in (PADDED, {"text": PADDED}):
            with pytest.raises(TypeError, match=r"ManifoldMixup: hidden is a Padded.*after pooling"):
                mix(hidden, 0)
        assert mix(PADDED.values.mean(1), 0).shape == (2, 3)


class TestMasksOfTokens:
    X = jnp.zeros((2, 5, 3))
    MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])

    def test_masks_of_tokenizers(self):
        layer = njx.NEFTune(5.0)
        right = layer(self.X, lengths=np.array([5, 2]), rngs=KEY)
        for mask in (self.MASK, self.MASK > 0, self.MASK.astype(np.uint8), jnp.asarray(self.MASK)):
            assert (layer(self.X, where=mask, rngs=KEY) == right).all()
        assert (layer(self.X, where=(self.MASK > 0)[..., None], rngs=KEY) == right).all()
        linen = njl.NEFTune(5.0, deterministic=False)
        noisy = linen.apply({}, self.X, where=self.MASK, rngs={"noise": KEY})
        assert (np.asarray(noisy)[1, 2:] == 0).all()

    def test_a_mask_of_tokens_is_not_ambiguous(self):
        x = jnp.zeros((4, 4, 4))
        mask = np.arange(4)[None] < np.array([1, 2, 3, 4])[:, None]
        y = np.asarray(njx.NEFTune(5.0)(x, where=mask, rngs=KEY))
        assert ((y != 0) == mask[..., None]).all()

    def test_numbers_of_segments_are_refused(self):
        with pytest.raises(ValueError, match=r"NEFTune: a mask of tokens.*unpack the rows"):
            njx.NEFTune(5.0)(self.X, where=2 * self.MASK, rngs=KEY)

    def test_other_noises_name_the_cure(self):
        with pytest.raises(TypeError, match=r"where must be boolean.*where=mask > 0"):
            nj.gaussian(KEY, self.X, 1.0, where=self.MASK[..., None])
        with pytest.raises(ValueError, match=r"first axes of x write where\[\.\.\., None\]"):
            nj.gaussian(KEY, self.X, 1.0, where=self.MASK > 0)


BLOCKED = """
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import noisejax
try:
    importlib.import_module({module!r})
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("nnx", "flax", "flax"),
        ("linen", "flax", "flax"),
        ("optim", "optax", "optax"),
        ("adversarial", "optax", "optax"),
        ("frame", "narwhals", "frame"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(module, package, extra):
    code = BLOCKED.format(module=f"noisejax.{module}", package=package)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == f"noisejax.{module} needs {package}: pip install 'noisejax[{extra}]'.", done.stderr
    assert importlib.import_module(f"noisejax.{module}")


@pytest.mark.parametrize("function", [nj.weights.low_rank, nj.weights.low_rank_factors])
def test_a_rank_that_would_be_traced_for_minutes(function):
    amounts = (0.1,) if function is nj.weights.low_rank else ()
    with pytest.raises(ValueError, match=rf"{function.__name__}: rank must be at most 512, got 10000.*flipout"):
        function(KEY, jnp.ones((2, 3)), jnp.ones((3, 4)), *amounts, rank=10000)


@pytest.mark.parametrize("change", [{"noise": None}, {"noise": np.ones(2)}, {"noise": nj.gaussian}, {"only": b"k"}])
def test_noise_of_linen_weights_is_checked_when_parameters_are_made(change):
    arguments = {"noise": nj.bind(nj.gaussian, std=0.1), "only": "*kernel", "deterministic": False} | change
    layer = njl.WeightNoise(nn.Dense(2), **arguments)
    with pytest.raises(TypeError, match=f"WeightNoise: .*{next(iter(change))}|bind"):
        layer.init(KEY, jnp.ones((2, 3)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float8_e4m3fn])
def test_a_sigma_in_few_bits_is_used_in_float32(dtype):
    few = njx.NoisyLinear(3, 2, sigma=dtype(0.5), rngs=nnx.Rngs(0))
    full = njx.NoisyLinear(3, 2, sigma=0.5, rngs=nnx.Rngs(0))
    assert few.kernel_std.get_value().dtype == jnp.float32
    assert bool((few.kernel_std.get_value() == full.kernel_std.get_value()).all())
    made = [njl.NoisyLinear(2, sigma=s, deterministic=True).init(KEY, jnp.ones((1, 3))) for s in (dtype(0.5), 0.5)]
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), *made))


def test_what_is_no_filter_of_layers():
    model = nnx.Sequential(njx.Dropout(0.5, rngs=nnx.Rngs(0)))
    for wrong in (object(), 3.5):
        with pytest.raises(TypeError, match=r"set_amounts: filters must be layer types such as njx.Dropout"):
            njx.set_amounts(model, wrong, rate=0.1)
