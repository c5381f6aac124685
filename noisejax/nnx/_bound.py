"""Base of layers that hold a bound noise, with its amounts in Variables."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from noisejax import _noise
from noisejax._noise import Noise
from noisejax.nnx._layer import Amount, NoiseLayer, like


class BoundNoiseLayer(NoiseLayer):
    """A layer with an attribute `noise`. Assigning a noise of the same structure sets the amounts."""

    noise: Any  # a Noise whose leaves are Variables

    def _bound(self) -> Noise:
        """The noise with the current values of its amounts."""
        return jax.tree.map(lambda held: held.get_value(), self.noise, is_leaf=_is_variable)

    def _amounts(self) -> Iterator[tuple[str, Amount, Callable | None]]:
        for function, name, held in _owned(self.noise):
            if isinstance(held, Amount):
                spec = getattr(function, "__noise__", None)
                yield name, held, spec.ranges.get(name) if spec else None

    def __setattr__(self, name: str, value: Any):
        if name == "noise" and not _is_held(value):
            (value,) = _noise.stages(type(self).__name__, (value,))
            held = vars(self).get("noise")
            if jax.tree.structure(value) == jax.tree.structure(held, is_leaf=_is_variable):
                jax.tree.map(_set, held, value, is_leaf=_is_variable)
                return
            value = nnx.data(_held(type(self).__name__, value))
        super().__setattr__(name, value)


def _held(layer: str, noise: Noise) -> Noise:
    """The noise with its amounts in Variables: Params if it is learnable, otherwise Amounts."""
    if isinstance(noise.function, _noise.Combinator):
        amounts = {
            name: jax.tree.map(lambda part: _part(layer, part), value, is_leaf=_is_noise)
            for name, value in noise.amounts.items()
        }
    else:
        kind = nnx.Param if noise.learn else Amount
        amounts = {name: jax.tree.map(lambda v: kind(jnp.array(v)), value) for name, value in noise.amounts.items()}
    for name, value in noise.amounts.items():
        if isinstance(value, _noise.Schedule):
            raise TypeError(
                f"{layer}: {name} of {noise!r} follows a schedule, but a layer knows no step. Bind a number and set "
                f"it at every step with njx.set_amounts(model, njx.{layer}, {name}=schedule(step)), which does not "
                "recompile."
            )
    return Noise(noise.function, amounts, noise.options, noise.learn)


def _part(layer: str, part: Any) -> Any:
    return _held(layer, part) if isinstance(part, Noise) else Amount(jnp.array(part))


def _owned(noise: Noise) -> Iterator[tuple[Callable, str, Any]]:
    """Yields for every Variable the noise function, the amount's name and the Variable."""
    for name, value in noise.amounts.items():
        for part in jax.tree.leaves(value, is_leaf=lambda v: _is_noise(v) or _is_variable(v)):
            if isinstance(part, Noise):
                yield from _owned(part)
            else:
                yield noise.function, name, part


def _set(held: nnx.Variable, value: Any) -> None:
    held.set_value(like("layer: noise", value, held.get_value(), None))


def _is_held(value: Any) -> bool:
    return any(_is_variable(leaf) for leaf in jax.tree.leaves(value, is_leaf=_is_variable))


def _is_variable(value: Any) -> bool:
    return isinstance(value, nnx.Variable)


def _is_noise(value: Any) -> bool:
    return isinstance(value, Noise)
