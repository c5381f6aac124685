"""Values that are fitted to data once: the base class of what noises take as an amount besides numbers."""

import dataclasses
from typing import Any, dataclass_transform

import jax


@dataclass_transform(frozen_default=True, eq_default=False)
class Fitted:
    """Base class of values that are fitted to data once and passed to a noise as an amount.

    A subclass declares its fields as a dataclass does. It automatically becomes a frozen dataclass and a pytree. Its
    leaves are all fields except those made by ``dataclasses.field(metadata={"static": True})``. `per_example` shares a
    fitted value among all examples, and `on_columns` does not change its shape.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> class Means(nj.Fitted):
      ...     mean: jax.Array
      >>> def shrink(key, x, means):
      ...     return (x + means.mean) / 2
      >>> noise = nj.per_example(nj.bind(shrink, means=Means(jnp.array([[2.0, 4.0]]))))
      >>> noise(jax.random.key(0), jnp.zeros((3, 2)))[0].tolist()
      [1.0, 2.0]
    """

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        dataclasses.dataclass(frozen=True, eq=False, repr="__repr__" not in vars(cls))(cls)
        static = {field.name for field in fields_of(cls) if field.metadata.get("static")}
        data = [field.name for field in fields_of(cls) if field.name not in static]
        jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=sorted(static))

    def __init__(self, *args: Any, **fields: Any):  # the dataclass decorator writes that of a subclass
        raise TypeError("Fitted: this is a base class. Define a subclass with fields, and instantiate that.")


def fields_of(fitted: Any) -> tuple[dataclasses.Field, ...]:
    """The fields of a `Fitted`, or of its class."""
    return dataclasses.fields(fitted)


def is_fitted(value: Any) -> bool:
    return isinstance(value, Fitted)
