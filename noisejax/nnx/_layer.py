"""Bases of the layers: they hold amounts in Variables, take keys from streams and decide whether noise is added."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from noisejax import _checks, _noise
from noisejax._calls.arguments import arithmetic
from noisejax._contract import X

Streams = nnx.Rngs | nnx.RngStream | jax.Array | None


class Amount(nnx.Variable):
    """A Variable that holds a noise's amount as a float32 array. Optimizers do not train it: it is no `nnx.Param`."""


class NoiseLayer(nnx.Module):
    """Base of all noise layers: used like `nnx.Dropout`, with amounts that can be set without recompiling."""

    collections: ClassVar[tuple[str, ...]] = ("noise", "dropout")  # each is used if the other is missing
    ranges: ClassVar[dict[str, Callable]] = {}

    def __init__(self, *, deterministic: bool | None = False, rng_collection: str, rngs: Streams = None):
        name = type(self).__name__
        self.deterministic = _checks.flag_or_none(name, "deterministic", deterministic)
        self.rng_collection = _checks.string(name, "rng_collection", rng_collection)
        self.idle = False
        if isinstance(rngs, nnx.Rngs):
            self.rngs = self._stream_of(rngs).fork()
        elif isinstance(rngs, nnx.RngStream):
            self.rngs = rngs.fork()
        elif rngs is None:
            self.rngs = nnx.data(None)
        else:
            self.rngs = nnx.RngStream(self._raw_key(rngs), tag=rng_collection)

    def set_view(self, deterministic: bool | None = None):
        """Sets the layer's mode; called by `nnx.view`.

        Args:
          deterministic: True for no noise.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def _amounts(self) -> Iterator[tuple[str, Amount, Callable | None]]:
        """Yields the name, Variable and range check of each amount that can be set."""
        for name, held in vars(self).items():
            if isinstance(held, Amount):
                yield name, held, self.ranges.get(name)

    def _set_amount(self, name: str, value: Any) -> int:
        """Sets all amounts of that name and returns their number."""
        found = [(held, inside) for own, held, inside in self._amounts() if own == name]
        for held, inside in found:
            held.set_value(like(f"{type(self).__name__}: {name}", value, held.get_value(), inside))
        if found and self.idle:
            self.idle = _is_zero(value)
        return len(found)

    def __setattr__(self, name: str, value: Any):
        # `layer.rate = 0.2` sets the Variable's value, as it sets Flax's own `rate`; so does `set_attributes`.
        if isinstance(vars(self).get(name), Amount) and not isinstance(value, nnx.Variable):
            self._set_amount(name, value)
        else:
            super().__setattr__(name, value)

    def _add(self, **amounts: Any) -> None:
        """Adds amounts: checked numbers, or arrays, traced or not."""
        name = type(self).__name__
        for amount, value in amounts.items():
            stored = _noise.amount(name, amount, value, self.ranges.get(amount))
            if isinstance(stored, _noise.Schedule):
                raise TypeError(
                    f"{name}: {amount} must be a number or an array, got {value!r}. A layer knows no step: set the "
                    f"schedule's value at every step with njx.set_amounts(model, njx.{name}, {amount}=schedule(step)), "
                    "which does not recompile."
                )
            arithmetic(name, amount, stored, False)
            self.idle = self.rngs is None and _is_zero(value)
            setattr(self, amount, Amount(jnp.array(stored)))  # a copy: a train step may donate it

    def _amount(self, name: str) -> jax.Array:
        """An amount's value, with gradients stopped."""
        return jax.lax.stop_gradient(getattr(self, name).get_value())

    def _key(self, deterministic: bool | None, rngs: Streams) -> jax.Array | None:
        """The key for this call, drawn from a stream; None if no noise is to be added."""
        name = type(self).__name__
        if deterministic is None:
            deterministic = self.deterministic
        if deterministic is None:
            raise ValueError(
                f"{name}: deterministic must be True or False, got None. Give it\n"
                f"  1. to the constructor: njx.{name}(..., deterministic=False),\n"
                "  2. to the call: layer(x, deterministic=False),\n"
                "  3. to a view of the model: nnx.view(model, deterministic=False)."
            )
        if _checks.flag(name, "deterministic", deterministic):
            return None
        source = self.rngs if rngs is None else rngs
        if source is None:
            if self.idle:  # constructed with amount 0 and no stream, which Flax's dropout allows
                return None
            raise ValueError(
                f"`deterministic` is False, but no `rngs` argument was provided to {name}. Give `rngs`\n"
                f"  1. to the constructor: njx.{name}(..., rngs=nnx.Rngs(...)),\n"
                "  2. to the call: layer(x, rngs=...): Rngs, an RngStream or a JAX key."
            )
        if isinstance(source, nnx.Rngs):
            source = self._stream_of(source)
        return source() if isinstance(source, nnx.RngStream) else self._raw_key(source)

    def _stream_of(self, rngs: nnx.Rngs) -> nnx.RngStream:
        """The stream of the layer's collection, else of its substitute, else the default stream."""
        wanted = self.rng_collection
        others = self.collections if wanted in self.collections else ()
        for collection in (wanted, *others, "default"):
            if collection in rngs:
                return rngs[collection]
        asked = " or ".join(map(repr, dict.fromkeys((wanted, *others))))
        raise ValueError(
            f"{type(self).__name__}: rngs must have a stream {asked}, or a default stream; it has {list(rngs)}. "
            f"Name one, nnx.Rngs({wanted}=0), or give a default, nnx.Rngs(0)."
        )

    def _raw_key(self, key: Any) -> jax.Array:
        if not isinstance(key, jax.Array):
            raise TypeError(
                f"{type(self).__name__}: rngs must be an nnx.Rngs, an nnx.RngStream or a JAX key, got a "
                f"{type(key).__name__}: {key!r}."
            )
        _checks.key(type(self).__name__, key)
        return key


class ArrayNoiseLayer(NoiseLayer):
    """A layer of one array noise, with the noise's amounts and options as attributes of the same names."""

    _function: ClassVar[Callable[..., Any]]
    options: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        if hasattr(cls, "_function"):
            cls.ranges = cls._function.__noise__.ranges  # pyright: ignore[reportFunctionMemberAccess] every array noise has it

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
          inputs: an array or a `noisejax.Padded`.
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.
          where: booleans, broadcastable to inputs: False at padding.
          lengths: the number of valid entries of each example.

        Returns:
          An array of inputs' shape and dtype; for a `Padded` a `Padded`.
        """
        key = self._key(deterministic, rngs)
        if key is None:
            return inputs
        keywords = {name: getattr(self, name) for name in self.options}
        keywords |= {name: self._amount(name) for name, _, _ in self._amounts()}
        return type(self)._function(key, inputs, where=where, lengths=lengths, **keywords)


class RateLayer(ArrayNoiseLayer):
    """A layer of the dropout family with a rate and no option."""

    collections: ClassVar = ("dropout",)

    def __init__(
        self,
        rate: float | jax.Array,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        self._add(rate=rate)


def like(label: str, value: Any, before: jax.Array, inside: Callable | None) -> Any:
    """A new value for an amount, checked and brought to its shape, dtype and sharding, so that nothing recompiles."""
    function, _, name = label.partition(": ")
    value = _noise.host_amount(function, name, value, inside)
    if not hasattr(value, "dtype"):
        raise TypeError(f"{label} must be a number or an array, got {value!r}.")
    if value.ndim and value.shape != before.shape:
        raise ValueError(
            f"{label} has shape {before.shape} in this layer: set it to a scalar or to an array of that shape, got "
            f"{value.shape}. For a different shape assign a Variable, layer.{name} = njx.Amount(...)."
        )
    if isinstance(value, jax.Array):
        value = jnp.broadcast_to(value.astype(before.dtype), before.shape)
    else:
        value = np.broadcast_to(np.asarray(value, before.dtype), before.shape)
    if isinstance(before, Tracer) or isinstance(value, Tracer):
        return jnp.asarray(value)
    return jax.device_put(value, before.sharding) if before.committed else jnp.array(value)


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and value == 0
