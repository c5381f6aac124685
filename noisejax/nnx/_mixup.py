"""Manifold mixup: a batch blended inside the network, at a place drawn for every batch."""

from typing import Any, ClassVar

import jax

from noisejax import _checks
from noisejax._layers import activations
from noisejax._layers.activations import HiddenMix
from noisejax.nnx._layer import NoiseLayer, Streams


class ManifoldMixup(NoiseLayer):
    """Manifold mixup: blends the hidden batch at a place drawn for each batch, and the labels with the same weights.

    Calling the layer on a batch returns a `HiddenMix`. Call that on the hidden batch at every place of the network,
    ``h = mix(h, place)``, and blend the labels with ``mix.labels(y)``. Without noise, neither changes anything.

    Args:
      alpha: the parameter of the weights' Beta distribution, at least 0; the authors use 2. 0 is the identity.
      places: the number of places; they are numbered from 0. Static.
      mode: `'batch'` draws one weight for the batch, as in the paper; `'example'` one for each example. Static.
      pairing: `'permutation'` or `'roll'`, as in `noisejax.mixup`. Static.
      shards: as in `noisejax.mixup`. Static.
      deterministic, rng_collection, rngs: as in `ActivationNoise`.

    References:
      Verma et al., "Manifold mixup: better representations by interpolating hidden states", ICML 2019.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> mixup = njx.ManifoldMixup(2.0, places=2, rngs=nnx.Rngs(0))
      >>> x, y = jnp.eye(4), jnp.array([0, 1, 2, 0])
      >>> mix = mixup(x)
      >>> h = jnp.tanh(mix(x, 0))
      >>> h = mix(h, 1)
      >>> mix.labels(y, num_classes=3).shape
      (4, 3)
    """

    ranges: ClassVar = {"alpha": _checks.nonnegative}

    def __init__(
        self,
        alpha: float | jax.Array,
        *,
        places: int,
        mode: str = "batch",
        pairing: str = "permutation",
        shards: int = 1,
        deterministic: bool | None = False,
        rng_collection: str = "noise",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        if not isinstance(places, int) or places < 1:
            raise ValueError(f"ManifoldMixup: places must be the number of places, at least 1, got {places!r}.")
        _checks.one_of("ManifoldMixup", "mode", mode, ("batch", "example"))
        _checks.one_of("ManifoldMixup", "pairing", pairing, ("permutation", "roll"))
        self.places, self.mode, self.pairing, self.shards = places, mode, pairing, shards
        self._add(alpha=alpha)

    def __call__(self, batch: Any, *, deterministic: bool | None = None, rngs: Streams = None) -> HiddenMix:
        """Draws the place, the partners and the weights for a batch.

        Args:
          batch: any pytree of arrays with a leading axis of examples.
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.

        Returns:
          The draw, a `HiddenMix`: calling it on a hidden batch and a place blends the batch.
        """
        key = self._key(deterministic, rngs)
        if key is None:
            return HiddenMix(None, None, None, self.places, self.shards)
        static = (self.places, self.mode, self.pairing, self.shards)
        return activations.draw_hidden_mix(key, batch, self._amount("alpha"), *static)
