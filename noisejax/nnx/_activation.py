"""Layers that add noise to activations: any bound noise, Gaussian noise, noisy embeddings."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax

from noisejax import _checks, _noise
from noisejax._layers import activations
from noisejax._noises import additive
from noisejax.nnx._bound import BoundNoiseLayer
from noisejax.nnx._layer import ArrayNoiseLayer, NoiseLayer, Streams


class ActivationNoise(BoundNoiseLayer):
    """Any noise as a layer, on inputs, activations or a whole batch.

    The noise's amounts are held in `Amount`s, those that were bound with ``learn=True`` in `nnx.Param`s. They are set
    by name with `set_amounts`; to set them all, assign a noise of the same structure, ``layer.noise = ...``. Neither
    recompiles.

    Args:
      noise: a bound noise, a combination of them, or a function ``(key, x) -> x``.
      deterministic: True for no noise; None leaves it to the call or to `nnx.view`.
      rng_collection: the stream that is taken from Rngs; where `'noise'` is missing, `'dropout'` stands in.
      rngs: Rngs or an RngStream, of which the layer forks a stream of its own, or a JAX key; None if each call gives
        it.

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
          inputs: what the noise takes: an array, or a batch for a noise of batches.
          deterministic: True for no noise; goes before what the constructor was given.
          rngs: Rngs, an RngStream or a JAX key; goes before what the constructor was given.
          where, lengths: padding, as `noisejax.Noise` takes it.

        Returns:
          What the noise returns.
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

    L is each example's true length, where `lengths` or `where` tells it; padding is neither counted nor noised.

    Args:
      alpha: the strength, at least 0: the authors use 5, 10 and 15. 0 is the identity.
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
        inputs: jax.Array,
        *,
        deterministic: bool | None = None,
        rngs: Streams = None,
        where: jax.Array | None = None,
        lengths: jax.Array | None = None,
    ) -> jax.Array:
        """Applies the noise.

        Args:
          inputs: embeddings (..., length, features).
          deterministic: True for no noise; goes before what the constructor was given.
          rngs: Rngs, an RngStream or a JAX key; goes before what the constructor was given.
          where: boolean, broadcastable to inputs: what is no padding; for a mask of tokens ``mask[..., None]``.
          lengths: the number of tokens of each example.

        Returns:
          An array of inputs' shape and dtype.
        """
        key = self._key(deterministic, rngs)
        if key is None:
            return inputs
        return activations.neftune(key, inputs, self._amount("alpha"), where, lengths)
