"""Layers that add noise to activations: any bound noise, Gaussian noise and noisy embeddings."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax

from noisejax import _checks, _noise
from noisejax._contract import X
from noisejax._layers import activations
from noisejax._noises import additive
from noisejax.nnx._bound import BoundNoiseLayer
from noisejax.nnx._layer import ArrayNoiseLayer, NoiseLayer, Streams


class ActivationNoise(BoundNoiseLayer):
    """Any noise as a layer, on inputs, activations or a whole batch.

    The noise's amounts are held in `Amount`s. Those of a `noisejax.learnable` noise are held in `nnx.Param`s, so an
    optimizer trains them. Set single amounts by name with `set_amounts`, or all of them by assigning a noise of the
    same structure, ``layer.noise = ...``. Neither recompiles.

    Args:
      noise: a bound noise, a combination of them, or a function ``(key, x) -> x``.
      deterministic: True for no noise; None leaves the choice to the call or to `nnx.view`.
      rng_collection: the name of the stream in Rngs; if there is no `'noise'`, `'dropout'` is used.
      rngs: Rngs or an RngStream, from which the layer forks its own stream, or a JAX key. None if every call passes
        its own.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj, noisejax.nnx as njx
      >>> from flax import nnx
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.quantize, step=0.25))
      >>> layer = njx.ActivationNoise(noise, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 3))).shape
      (2, 3)
      >>> njx.set_amounts(layer, std=0.0)
      >>> layer(jnp.ones(2)).tolist()
      [1.0, 1.0]
    """

    def __init__(
        self,
        noise: Callable,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "noise",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        self.noise = noise

    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: bool | None = None,
        rngs: Streams = None,
        where: Any = None,
        lengths: Any = None,
    ) -> Any:
        """Applies the noise.

        Args:
          inputs: the noise's input: an array, a `noisejax.Padded`, or a batch for a noise of batches.
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.
          where, lengths: padding, as in `noisejax.Noise`.

        Returns:
          The noise's result; without noise, the inputs.
        """
        key = self._key(deterministic, rngs)
        if key is None:
            return inputs
        return _noise.call(self._bound(), key, inputs, where, lengths)


class GaussianNoise(ArrayNoiseLayer):
    """Additive Gaussian noise.

    Args:
      std: the standard deviation, in the units of the inputs; at least 0, broadcastable to the inputs. 0 is the
        identity.
      deterministic, rng_collection, rngs: as in `ActivationNoise`.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> layer = njx.GaussianNoise(0.1, rngs=nnx.Rngs(noise=0))
      >>> layer(jnp.zeros((2, 3))).shape
      (2, 3)
    """

    _function = staticmethod(additive.gaussian)

    def __init__(
        self,
        std: float | jax.Array,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "noise",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        self._add(std=std)


class NEFTune(NoiseLayer):
    """Noisy embeddings: adds uniform noise on [-1, 1] times ``alpha / sqrt(L * d)`` to embeddings (..., L, d).

    L is each example's true length, given by `lengths`, by `where` or by a `noisejax.Padded`. Padding is not counted
    and gets no noise.

    Args:
      alpha: the strength, at least 0; the authors use 5, 10 and 15. 0 is the identity.
      deterministic, rng_collection, rngs: as in `ActivationNoise`.

    References:
      Jain et al., "NEFTune: noisy embeddings improve instruction finetuning", ICLR 2024.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> layer = njx.NEFTune(5.0, rngs=nnx.Rngs(0))
      >>> y = layer(jnp.zeros((2, 16, 4)), lengths=jnp.array([16, 3]))
      >>> bool((y[1, 3:] == 0).all()), bool(abs(y[1, :3]).max() <= 5 / 12**0.5)
      (True, True)
    """

    ranges: ClassVar = {"alpha": _checks.nonnegative}

    def __init__(
        self,
        alpha: float | jax.Array,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "noise",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        self._add(alpha=alpha)

    def __call__(
        self,
        inputs: X,
        *,
        deterministic: bool | None = None,
        rngs: Streams = None,
        where: jax.Array | None = None,
        lengths: jax.Array | None = None,
    ) -> X:
        """Applies the noise.

        Args:
          inputs: embeddings (..., length, features), or a `noisejax.Padded` of them.
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.
          where: booleans, broadcastable to inputs: False at padding. For a mask of tokens pass ``mask[..., None]``.
          lengths: the number of tokens of each example.

        Returns:
          An array of inputs' shape and dtype; for a `Padded` a `Padded`.
        """
        key = self._key(deterministic, rngs)
        if key is None:
            return inputs
        return activations.neftune(key, inputs, self._amount("alpha"), where, lengths)
