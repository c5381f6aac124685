"""Layers that drop elements, channels, blocks, patches or whole branches."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from flax import nnx

from noisejax import _checks
from noisejax._contract import X
from noisejax._noises import blocks, masking
from noisejax.nnx._layer import ArrayNoiseLayer, NoiseLayer, RateLayer, Streams


def _axes(layer: nnx.Module, value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or not all(isinstance(axis, (int, np.integer)) for axis in value):
        raise TypeError(f"{type(layer).__name__}: broadcast_dims must be a tuple of axes, got {_checks.shown(value)}.")
    return tuple(value)


class Dropout(ArrayNoiseLayer, nnx.Dropout):
    """Dropout with a rate that may be traced; a replacement for `nnx.Dropout` with the same arguments.

    Nothing the size of the inputs is saved for the backward pass. The rate is held in an `Amount`. Setting it, with
    `set_amounts` or by ``layer.rate = ...``, does not recompile, and vmapped or scanned constructors may give each
    layer its own rate.

    Args:
      rate: the probability that an element is dropped, in [0, 1], broadcastable to the inputs; traced values are
        clamped.
      broadcast_dims: axes along which one draw is shared. Static.
      deterministic: True for no noise; None leaves the choice to the call or to `nnx.view`.
      rng_collection: the name of the stream in Rngs.
      rngs: Rngs or an RngStream, from which the layer forks its own stream, or a JAX key. None if every call passes
        its own.

    References:
      Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> layer = njx.Dropout(0.5, rngs=nnx.Rngs(0))
      >>> sorted(set(layer(jnp.ones(100)).tolist()))
      [0.0, 2.0]
      >>> nnx.view(layer, deterministic=True)(jnp.ones(2)).tolist()
      [1.0, 1.0]
    """

    _function = staticmethod(masking.dropout)
    options = ("broadcast_dims",)
    collections: ClassVar = ("dropout",)

    def __init__(
        self,
        rate: float | jax.Array,
        *,
        broadcast_dims: Sequence[int] = (),
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        NoiseLayer.__init__(self, deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        self.broadcast_dims = _axes(self, broadcast_dims)
        self._add(rate=rate)


class GaussianDropout(RateLayer):
    """Gaussian dropout: multiplies by normal noise with mean 1 and dropout's variance, rate / (1 - rate).

    Args:
      rate: the rate of the dropout with the same variance, in [0, 1]; traced values are clamped.
      deterministic, rng_collection, rngs: as in `Dropout`.

    References:
      Srivastava et al., JMLR 15, 2014, section 10.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> njx.GaussianDropout(0.5, rngs=nnx.Rngs(0))(jnp.ones((2, 3))).shape
      (2, 3)
    """

    _function = staticmethod(masking.gaussian_dropout)


class AlphaDropout(RateLayer):
    """Alpha dropout: preserves the mean 0 and variance 1 of SELU activations.

    Args:
      rate: the probability that an element is dropped, in [0, 1]; traced values are clamped.
      deterministic, rng_collection, rngs: as in `Dropout`.

    References:
      Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> len(set(njx.AlphaDropout(0.5, rngs=nnx.Rngs(0))(jnp.zeros(100)).tolist()))
      2
    """

    _function = staticmethod(masking.alpha_dropout)


class SpatialDropout(RateLayer):
    """Spatial dropout: drops whole channels of each example; inputs are (B, ..., C).

    Args:
      rate: the probability that a channel is dropped, in [0, 1]; traced values are clamped.
      deterministic, rng_collection, rngs: as in `Dropout`.

    References:
      Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> y = njx.SpatialDropout(0.5, rngs=nnx.Rngs(0))(jnp.ones((2, 8, 8, 16)))
      >>> bool((y == y[:, :1, :1]).all())
      True
    """

    _function = staticmethod(masking.spatial_dropout)


class DropPath(ArrayNoiseLayer):
    """Stochastic depth: drops the branch of a residual block, ``x + drop_path(block(x))``, for whole examples.

    Args:
      rate: the probability that the branch is dropped, in [0, 1]; traced values are clamped. `noisejax.linear_rates`
        gives rates that grow with depth.
      mode: `'example'` draws for each example, `'batch'` once for the batch. Static.
      scale_by_keep: whether branches that are kept are divided by 1 - rate. Static.
      deterministic, rng_collection, rngs: as in `Dropout`.

    References:
      Huang et al., "Deep networks with stochastic depth", ECCV 2016; `DropPath` of timm.

    Example:
      Scanned blocks, each with its own rate, which may be traced:

      >>> import jax.numpy as jnp, noisejax as nj, noisejax.nnx as njx
      >>> from flax import nnx
      >>> @nnx.vmap(in_axes=(0, 0))
      ... def make(rate, rngs):
      ...     return njx.DropPath(rate, rngs=rngs)
      >>> @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
      ... def forward(layer, x):
      ...     return x + layer(jnp.tanh(x))
      >>> layers = make(nj.linear_rates(0.2, 6), nnx.Rngs(0).split(6))
      >>> forward(layers, jnp.ones((4, 3))).shape
      (4, 3)
    """

    _function = staticmethod(masking.drop_path)
    options = ("mode", "scale_by_keep")
    collections: ClassVar = ("dropout",)

    def __init__(
        self,
        rate: float | jax.Array,
        *,
        mode: str = "example",
        scale_by_keep: bool = True,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        _checks.one_of("DropPath", "mode", mode, ("example", "batch"))
        self.mode, self.scale_by_keep = mode, scale_by_keep
        self._add(rate=rate)


class DropBlock(ArrayNoiseLayer):
    """DropBlock: drops contiguous blocks of feature maps (B, ..., C).

    Args:
      rate: the share of elements to drop, in [0, 1]; traced values are clamped.
      block_size: the length of a block: one for all axes, or one for each axis. Static.
      broadcast_dims: axes along which one draw is shared: ``(-1,)`` hits all channels at once. Static.
      axes: the axes along which blocks extend; None for all but the first and the last. Static.
      scale_by_keep: whether elements that are kept are rescaled. Static.
      deterministic, rng_collection, rngs: as in `Dropout`.

    References:
      Ghiasi, Lin and Le, "DropBlock: a regularization method for convolutional networks", NeurIPS 2018.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> njx.DropBlock(0.1, block_size=3, rngs=nnx.Rngs(0))(jnp.ones((2, 14, 14, 8))).shape
      (2, 14, 14, 8)
    """

    _function = staticmethod(blocks.drop_block)
    options = ("block_size", "broadcast_dims", "axes", "scale_by_keep")
    collections: ClassVar = ("dropout",)

    def __init__(
        self,
        rate: float | jax.Array,
        *,
        block_size: int | Sequence[int] = 7,
        broadcast_dims: Sequence[int] = (),
        axes: Sequence[int] | None = None,
        scale_by_keep: bool = True,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        self.block_size = tuple(block_size) if isinstance(block_size, (list, tuple)) else block_size
        self.broadcast_dims = _axes(self, broadcast_dims)
        self.axes = None if axes is None else tuple(axes)
        self.scale_by_keep = scale_by_keep
        self._add(rate=rate)


class PatchDropout(NoiseLayer):
    """Patch dropout: keeps a random share of the tokens of (B, tokens, ...), which makes later layers cheaper.

    The rate determines the result's shape, so it is static and not an `Amount`. A different rate recompiles. Without
    noise, all tokens are kept.

    Args:
      rate: the share of tokens dropped, in [0, 1], rounded to whole tokens. Static.
      num_prefix_tokens: the number of tokens at the start (a class token) that are always kept. Static.
      deterministic, rng_collection, rngs: as in `Dropout`.

    References:
      Liu et al., "PatchDropout: economizing vision transformers using patch dropout", WACV 2023.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> njx.PatchDropout(0.5, rngs=nnx.Rngs(0))(jnp.ones((2, 197, 8))).shape
      (2, 99, 8)
    """

    collections: ClassVar = ("dropout",)

    def __init__(
        self,
        rate: float,
        *,
        num_prefix_tokens: int = 1,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        if not isinstance(rate, (int, float)):
            raise TypeError(f"PatchDropout: rate sets the result's shape, so it must be a Python number, got {rate!r}.")
        _checks.rate("PatchDropout", "rate", rate)
        self.rate, self.num_prefix_tokens = rate, num_prefix_tokens

    def __call__(
        self,
        inputs: X,
        *,
        deterministic: bool | None = None,
        rngs: Streams = None,
        lengths: jax.Array | None = None,
    ) -> X:
        """Applies the noise.

        Args:
          inputs: an array (B, tokens, ...), or a `noisejax.Padded` of one.
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.
          lengths: the number of valid tokens of each example, prefix included; padding is dropped first.

        Returns:
          An array (B, num_prefix_tokens + kept, ...) of inputs' dtype; for a `Padded` a `Padded` with the new lengths.
        """
        key = self._key(deterministic, rngs)
        if key is None:
            return inputs
        static = {"rate": self.rate, "num_prefix_tokens": self.num_prefix_tokens}
        return blocks.patch_dropout(key, inputs, lengths=lengths, **static)
