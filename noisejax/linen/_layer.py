"""Bases of the linen layers: they decide whether noise is added, and resolve the key and the amounts."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisejax import _checks, _noise
from noisejax._calls.arguments import arithmetic


class NoiseModule(nn.Module):
    """Base of all linen noise layers. It has no fields, so that a layer's first field is its amount."""

    def _key(self, deterministic: bool | None, rng: jax.Array | None, amount: Any = None) -> jax.Array | None:
        """The key for this call, from a collection of rngs; None if no noise is to be added."""
        name = type(self).__name__
        own: bool | None = self.deterministic  # pyright: ignore[reportAttributeAccessIssue] every layer has it
        if own is None and deterministic is None:
            raise ValueError(f"{name}: deterministic must be passed to the constructor or at call time, got None.")
        deterministic = nn.merge_param("deterministic", own, deterministic)
        if _checks.flag(name, "deterministic", deterministic) or (isinstance(amount, (int, float)) and amount == 0):
            return None
        if rng is not None:
            _checks.key(name, rng)
            return rng
        collection: str = self.rng_collection  # pyright: ignore[reportAttributeAccessIssue] every layer has it
        _checks.string(name, "rng_collection", collection)
        if collection == "noise" and not self.has_rng("noise") and self.has_rng("dropout"):
            collection = "dropout"
        return self.make_rng(collection)

    def _amount(self, name: str, ranges: dict) -> jax.Array:
        """An amount with gradients stopped: the variable of its name in the collection "amounts", or else the field."""
        value = getattr(self, name)
        if self.has_variable("amounts", name):
            value = self.get_variable("amounts", name)
        value = _noise.host_amount(type(self).__name__, name, value, ranges.get(name))
        arithmetic(type(self).__name__, name, value, False)
        return jax.lax.stop_gradient(jnp.asarray(value, jnp.float32))


class ArrayNoiseModule(NoiseModule):
    """A layer of one array noise, with the noise's amounts and options as fields."""

    def _run(self, noise, inputs, deterministic, rng, where, lengths, *options: str) -> jax.Array:
        spec = noise.__noise__
        first = spec.amounts[0]
        given = 1 if self.has_variable("amounts", first) else getattr(self, first)
        key = self._key(deterministic, rng, given)
        if key is None:
            return inputs
        static = {name: _static(getattr(self, name)) for name in options}
        amount = self._amount(first, spec.ranges)
        return noise(key, inputs, **{first: amount}, **static, where=where, lengths=lengths)


def _static(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
