"""Layers that add noise to activations: any bound noise, Gaussian noise, noisy embeddings."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from noisejax import _checks, _continuous, _hidden, _noise
from noisejax._noise import Noise
from noisejax.nnx._layer import Amount, ArrayNoiseLayer, NoiseLayer, Streams, like


class ActivationNoise(NoiseLayer):
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
        (noise,) = _noise.stages("ActivationNoise", (noise,))
        self.noise = nnx.data(_held(noise))

    def amounts(self) -> Iterator[tuple[str, Amount, Callable | None]]:
        for function, name, held in _owned(self.noise):
            if isinstance(held, Amount):
                spec = getattr(function, "__noise__", None)
                yield name, held, spec.ranges.get(name) if spec else None

    def __setattr__(self, name: str, value: Any):
        if name == "noise" and "noise" in vars(self) and not _is_held(value):
            (value,) = _noise.stages("ActivationNoise", (value,))
            if jax.tree.structure(value) == jax.tree.structure(self.noise, is_leaf=_is_variable):
                jax.tree.map(_set, self.noise, value, is_leaf=_is_variable)
                return
            value = nnx.data(_held(value))
        super().__setattr__(name, value)

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
        noise = jax.tree.map(lambda held: held.get_value(), self.noise, is_leaf=_is_variable)
        return _noise.apply(noise, key, inputs, where=where, lengths=lengths)[0]


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

    noise = staticmethod(_continuous.gaussian)

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
        return _hidden.neftune(key, inputs, self._amount("alpha"), where, lengths)


def _held(noise: Noise) -> Noise:
    """The noise with its amounts in Variables: Params where it was bound to learn, and Amounts elsewhere."""
    if _noise._is_combinator(noise.function):
        amounts = {name: jax.tree.map(_part, value, is_leaf=_is_noise) for name, value in noise.amounts.items()}
    else:
        kind = nnx.Param if noise.learn else Amount
        amounts = {name: jax.tree.map(lambda v: kind(jnp.array(v)), value) for name, value in noise.amounts.items()}
    for name, value in noise.amounts.items():
        if isinstance(value, _noise.Schedule):
            raise TypeError(
                f"ActivationNoise: {name} of {noise!r} follows a schedule, and a layer knows no step. Bind a number and "
                f"set it at every step, njx.set_amounts(model, njx.ActivationNoise, {name}=schedule(step)), which does "
                "not recompile."
            )
    return Noise(noise.function, amounts, noise.options, noise.learn)


def _part(part: Any) -> Any:
    return _held(part) if isinstance(part, Noise) else Amount(jnp.array(part))


def _owned(noise: Noise) -> Iterator[tuple[Callable, str, Any]]:
    """Every Variable with the function whose amount it is, and its name."""
    for name, value in noise.amounts.items():
        for part in jax.tree.leaves(value, is_leaf=lambda v: _is_noise(v) or _is_variable(v)):
            if isinstance(part, Noise):
                yield from _owned(part)
            else:
                yield noise.function, name, part


def _set(held: nnx.Variable, value: Any) -> None:
    held.set_value(like("ActivationNoise: noise", value, held.get_value(), None))


def _is_held(value: Any) -> bool:
    return any(_is_variable(leaf) for leaf in jax.tree.leaves(value, is_leaf=_is_variable))


def _is_variable(value: Any) -> bool:
    return isinstance(value, nnx.Variable)


def _is_noise(value: Any) -> bool:
    return isinstance(value, Noise)
