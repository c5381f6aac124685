"""The manners of a linen layer: whether there is noise now, the key, the amounts."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisejax import _noise
from noisejax._checks import key as check_key


class NoiseModule(nn.Module):
    """What all layers here share; it has no fields, since the amount comes first."""

    def _key(self, deterministic: bool | None, rng: jax.Array | None, amount: Any = None) -> jax.Array | None:
        """The key for this call, from a collection of rngs; None where there is no noise now."""
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)  # pyright: ignore
        if deterministic or (isinstance(amount, (int, float)) and amount == 0):
            return None
        if rng is not None:
            check_key(type(self).__name__, rng)
            return rng
        collection: str = self.rng_collection  # pyright: ignore[reportAttributeAccessIssue] every layer has it
        if collection == "noise" and not self.has_rng("noise") and self.has_rng("dropout"):
            collection = "dropout"
        return self.make_rng(collection)

    def _amount(self, name: str, ranges: dict) -> jax.Array:
        """An amount: the variable of its name in the collection "amounts", or the field. No gradient reaches it."""
        value = getattr(self, name)
        if self.has_variable("amounts", name):
            value = self.get_variable("amounts", name)
        value = _noise.host_amount(type(self).__name__, name, value, ranges.get(name))
        return jax.lax.stop_gradient(jnp.asarray(value, jnp.float32))


class ArrayNoiseModule(NoiseModule):
    """A layer around one array noise, whose amounts and options are its fields."""

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
