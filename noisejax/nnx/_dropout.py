"""Layers that drop: elements, channels, blocks, patches and whole branches."""

from collections.abc import Sequence
from typing import ClassVar

import jax
from flax import nnx

from noisejax import _checks
from noisejax._noises import blocks, masking
from noisejax.nnx._layer import ArrayNoiseLayer, NoiseLayer, RateLayer, Streams


class Dropout(ArrayNoiseLayer, nnx.Dropout):
    """Dropout, in the place of `nnx.Dropout`: the same arguments and manners, with a rate that may be traced.

    It keeps nothing of the size of its inputs for the backward pass. The rate is held in an `Amount`: a schedule, set
    with `set_amounts` or by ``layer.rate = ...``, does not recompile, and vmapped or scanned constructors may give
    each layer a rate of its own.

    Args:
      rate: the probability that an element is dropped, in [0, 1], broadcastable to the inputs; traced values clamp.
      broadcast_dims: axes along which one draw is shared. Static.
      deterministic: True for no noise; None leaves it to the call or to `nnx.view`.
      rng_collection: the stream that is taken from Rngs.
      rngs: Rngs or an RngStream, of which the layer forks a stream of its own, or a JAX key; None if each call gives
        it.

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
        self.broadcast_dims = tuple(broadcast_dims)
        self._add(rate=rate)


class GaussianDropout(RateLayer):
    """Gaussian dropout: multiplies by normal noise of mean 1 and dropout's variance, rate / (1 - rate).

    Args:
      rate: the rate of the dropout that it stands for, in [0, 1]; traced values clamp.
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
    """Alpha dropout: keeps the mean 0 and the variance 1 of SELU's activations.

    Args:
      rate: the probability that an element is dropped, in [0, 1]; traced values clamp.
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
      rate: the probability that a channel is dropped, in [0, 1]; traced values clamp.
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
      rate: the probability that the branch is dropped, in [0, 1]; traced values clamp. `noisejax.linear_rates`
        grow with depth.
      mode: `'example'` draws for each example, `'batch'` once. Static.
      scale_by_keep: whether what is kept is divided by 1 - rate. Static.
      deterministic, rng_collection, rngs: as in `Dropout`.

    References:
      Huang et al., "Deep networks with stochastic depth", ECCV 2016; `DropPath` of timm.

    Example:
      Blocks in a scan, each with its own rate, which may be traced:

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
      rate: the share to be dropped, in [0, 1]; traced values clamp.
      block_size: the length of a block, along every axis or one for each. Static.
      broadcast_dims: axes along which one draw is shared: ``(-1,)`` hits all channels at once. Static.
      axes: the axes that blocks extend over; None for all but the first and the last. Static.
      scale_by_keep: whether what is kept is rescaled. Static.
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
        self.block_size = block_size if isinstance(block_size, int) else tuple(block_size)
        self.broadcast_dims = tuple(broadcast_dims)
        self.axes = None if axes is None else tuple(axes)
        self.scale_by_keep = scale_by_keep
        self._add(rate=rate)


class PatchDropout(NoiseLayer):
    """Patch dropout: keeps a random share of the tokens of (B, tokens, ...), so that what follows is cheaper.

    The rate sets the result's shape: it is static, no `Amount`, and another one compiles anew. Without noise, all
    tokens are kept.

    Args:
      rate: the share of tokens dropped, in [0, 1], rounded to whole tokens. Static.
      num_prefix_tokens: how many tokens at the start (a class token) are kept always. Static.
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
            raise TypeError(f"PatchDropout: rate sets the result's shape and must be a Python number, got {rate!r}.")
        _checks.rate("PatchDropout", "rate", rate)
        self.rate, self.num_prefix_tokens = rate, num_prefix_tokens

    def __call__(
        self,
        inputs: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: Streams = None,
        lengths: jax.Array | None = None,
    ) -> jax.Array:
        """Applies the noise.

        Args:
          inputs: an array (B, tokens, ...).
          deterministic: True for no noise; goes before what the constructor was given.
          rngs: Rngs, an RngStream or a JAX key; goes before what the constructor was given.
          lengths: the number of valid tokens of each example, prefix included; padding is dropped first.

        Returns:
          An array (B, num_prefix_tokens + kept, ...) of inputs' dtype.
        """
        key = self._key(deterministic, rngs)
        if key is None:
            return inputs
        static = {"rate": self.rate, "num_prefix_tokens": self.num_prefix_tokens}
        return blocks.patch_dropout(key, inputs, lengths=lengths, **static)
