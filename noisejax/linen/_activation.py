"""linen layers that add noise to activations, thin wrappers of the same functions as in `noisejax.nnx`."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from noisejax import _checks, _noise
from noisejax._contract import Amount
from noisejax._layers import activations
from noisejax._layers.activations import HiddenMix
from noisejax._noises import additive, blocks, masking
from noisejax.linen._layer import ArrayNoiseModule, NoiseModule


class Dropout(ArrayNoiseModule):
    """Dropout with a rate that may be traced; a replacement for `flax.linen.Dropout` with the same fields.

    As in every layer here, a variable ``rate`` in the collection ``"amounts"`` overrides the field. A schedule can thus
    reach layers that were constructed elsewhere, and each layer in an `nn.scan` can have its own rate. Inputs are an
    array or a `noisejax.Padded`.

    Attributes:
      rate: the probability that an element is dropped, in [0, 1], broadcastable to the inputs; traced values are
        clamped.
      broadcast_dims: axes along which one draw is shared.
      deterministic: True for no noise; set it here or in the call.
      rng_collection: the name of the collection of rngs that gives the key.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.Dropout(0.5, deterministic=False)
      >>> sorted(set(layer.apply({}, jnp.ones(100), rngs={"dropout": jax.random.key(0)}).tolist()))
      [0.0, 2.0]
    """

    rate: Amount
    broadcast_dims: Sequence[int] = ()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        return self._run(masking.dropout, inputs, deterministic, rng, where, lengths, "broadcast_dims")


class GaussianDropout(ArrayNoiseModule):
    """Gaussian dropout, see `noisejax.gaussian_dropout`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.GaussianDropout(0.5, deterministic=False)
      >>> layer.apply({}, jnp.ones((2, 3)), rngs={"dropout": jax.random.key(0)}).shape
      (2, 3)
    """

    rate: Amount
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        return self._run(masking.gaussian_dropout, inputs, deterministic, rng, where, lengths)


class AlphaDropout(ArrayNoiseModule):
    """Alpha dropout, see `noisejax.alpha_dropout`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.AlphaDropout(0.5, deterministic=False)
      >>> len(set(layer.apply({}, jnp.zeros(100), rngs={"dropout": jax.random.key(0)}).tolist()))
      2
    """

    rate: Amount
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        return self._run(masking.alpha_dropout, inputs, deterministic, rng, where, lengths)


class SpatialDropout(ArrayNoiseModule):
    """Spatial dropout: drops whole channels of (B, ..., C), see `noisejax.spatial_dropout`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.SpatialDropout(0.5, deterministic=False)
      >>> y = layer.apply({}, jnp.ones((2, 8, 8, 16)), rngs={"dropout": jax.random.key(0)})
      >>> bool((y == y[:, :1, :1]).all())
      True
    """

    rate: Amount
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        return self._run(masking.spatial_dropout, inputs, deterministic, rng, where, lengths)


class DropPath(ArrayNoiseModule):
    """Stochastic depth, ``x + drop_path(block(x))``, see `noisejax.drop_path` and `noisejax.linear_rates`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.DropPath(0.5, deterministic=False)
      >>> layer.apply({}, jnp.ones((6, 1)), rngs={"dropout": jax.random.key(0)}).shape
      (6, 1)
    """

    rate: Amount
    mode: str = "example"
    scale_by_keep: bool = True
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        return self._run(masking.drop_path, inputs, deterministic, rng, where, lengths, "mode", "scale_by_keep")


class DropBlock(ArrayNoiseModule):
    """DropBlock: drops contiguous blocks of feature maps (B, ..., C), see `noisejax.drop_block`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.DropBlock(0.1, block_size=3, deterministic=False)
      >>> layer.apply({}, jnp.ones((2, 14, 14, 8)), rngs={"dropout": jax.random.key(0)}).shape
      (2, 14, 14, 8)
    """

    rate: Amount
    block_size: int | Sequence[int] = 7
    broadcast_dims: Sequence[int] = ()
    axes: Sequence[int] | None = None
    scale_by_keep: bool = True
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        options = ("block_size", "broadcast_dims", "axes", "scale_by_keep")
        return self._run(blocks.drop_block, inputs, deterministic, rng, where, lengths, *options)


class PatchDropout(NoiseModule):
    """Patch dropout: keeps a random share of the tokens of (B, tokens, ...), see `noisejax.patch_dropout`.

    Inputs are an array or a `noisejax.Padded`, whose result is a `Padded` with the new lengths. The rate is static.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.PatchDropout(0.5, deterministic=False)
      >>> layer.apply({}, jnp.ones((2, 197, 8)), rngs={"dropout": jax.random.key(0)}).shape
      (2, 99, 8)
    """

    rate: float
    num_prefix_tokens: int = 1
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, lengths=None):
        key = self._key(deterministic, rng, self.rate)
        if key is None:
            return inputs
        static = {"rate": self.rate, "num_prefix_tokens": self.num_prefix_tokens}
        return blocks.patch_dropout(key, inputs, lengths=lengths, **static)


class GaussianNoise(ArrayNoiseModule):
    """Additive Gaussian noise, see `noisejax.gaussian`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.GaussianNoise(0.1, deterministic=False)
      >>> layer.apply({}, jnp.zeros((2, 3)), rngs={"noise": jax.random.key(0)}).shape
      (2, 3)
    """

    std: Amount
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        return self._run(additive.gaussian, inputs, deterministic, rng, where, lengths)


class ActivationNoise(NoiseModule):
    """Any bound noise as a layer, on inputs, activations or a whole batch.

    Inputs are whatever the noise takes: an array, a `noisejax.Padded`, or a batch for a noise of batches.

    Attributes:
      noise: a bound noise, a combination of them, or a function ``(key, x) -> x``; its amounts may be traced.
      deterministic: True for no noise; set it here or in the call.
      rng_collection: the name of the collection of rngs that gives the key; if there is no `"noise"`, `"dropout"` is
        used.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj, noisejax.linen as njl
      >>> layer = njl.ActivationNoise(nj.bind(nj.speckle, std=0.1), deterministic=False)
      >>> layer.apply({}, jnp.ones((2, 3)), rngs={"noise": jax.random.key(0)}).shape
      (2, 3)
    """

    noise: Callable
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        key = self._key(deterministic, rng)
        if key is None:
            return inputs
        (noise,) = _noise.stages("ActivationNoise", (self.noise,))
        return _noise.call(noise, key, inputs, where, lengths)


class NEFTune(NoiseModule):
    """Noisy embeddings (..., L, d): uniform noise within ``alpha / sqrt(L * d)``, for each example's true length L.

    The true length is given by `lengths`, by `where` or by a `noisejax.Padded`.

    References:
      Jain et al., "NEFTune: noisy embeddings improve instruction finetuning", ICLR 2024.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer, rngs = njl.NEFTune(5.0, deterministic=False), {"noise": jax.random.key(0)}
      >>> y = layer.apply({}, jnp.zeros((2, 16, 4)), lengths=jnp.array([16, 3]), rngs=rngs)
      >>> bool((y[1, 3:] == 0).all())
      True
    """

    alpha: Amount
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None, *, where=None, lengths=None):
        key = self._key(deterministic, rng, 1 if self.has_variable("amounts", "alpha") else self.alpha)
        if key is None:
            return inputs
        alpha = self._amount("alpha", {"alpha": _checks.nonnegative})
        return activations.neftune(key, inputs, alpha, where, lengths)


class ManifoldMixup(NoiseModule):
    """Manifold mixup: draws, for a batch, a `HiddenMix` that blends the hidden batch at one of `places` and the labels.

    Attributes:
      alpha: the parameter of the weights' Beta distribution, at least 0.
      places: the number of places; they are numbered from 0.
      mode: `'batch'` draws one weight for the batch, as in the paper; `'example'` one for each example.
      pairing, shards: as in `noisejax.mixup`.

    References:
      Verma et al., "Manifold mixup: better representations by interpolating hidden states", ICML 2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.ManifoldMixup(2.0, places=2, deterministic=False)
      >>> mix = layer.apply({}, jnp.eye(4), rngs={"noise": jax.random.key(0)})
      >>> mix(jnp.eye(4), 1).shape, mix.labels(jnp.array([0, 1, 2, 0]), num_classes=3).shape
      ((4, 4), (4, 3))
    """

    alpha: Amount
    places: int = 1
    mode: str = "batch"
    pairing: str = "permutation"
    shards: int = 1
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, batch: Any, deterministic=None, rng=None) -> HiddenMix:
        key = self._key(deterministic, rng)
        if key is None:
            return HiddenMix(None, None, None, self.places, self.shards)
        alpha = self._amount("alpha", {"alpha": _checks.nonnegative})
        return activations.draw_hidden_mix(key, batch, alpha, self.places, self.mode, self.pairing, self.shards)
