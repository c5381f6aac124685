"""What is done to a whole model: set its amounts, derive its streams from paths, make it a function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from noisejax import _checks
from noisejax._random.stream import stage, words
from noisejax.nnx._layer import NoiseLayer


def set_amounts(model: Any, *filters: Any, **amounts: Any) -> None:
    """Sets amounts of a model's noise layers; a step compiled with `nnx.jit` does not compile again.

    Args:
      model: an nnx module, changed in place, inside `nnx.jit` or outside.
      *filters: layer types, or any filters of Flax, that say which layers; none for all that have the amount.
      **amounts: for each name a number or an array, traced or not, which all layers get (a scalar fills a stack of
        layers, as a vmapped constructor makes it); or a list or tuple with one of these for each layer, in the
        model's order.

    Raises:
      ValueError: no layer has such an amount, or a list does not have one entry for each.

    Example:
      >>> import noisejax.nnx as njx
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=rngs), njx.Dropout(0.1, rngs=rngs), njx.DropPath(0.1, rngs=rngs))
      >>> njx.set_amounts(model, njx.DropPath, rate=0.3)
      >>> [round(float(layer.rate[...]), 1) for layer in model.layers[1:]]
      [0.1, 0.3]
    """
    matches = [nnx.filterlib.to_predicate(each) for each in filters or (...,)]
    layers = [
        layer
        for path, layer in nnx.iter_modules(model)
        if isinstance(layer, NoiseLayer) and any(match(path, layer) for match in matches)
    ]
    for name, value in amounts.items():
        having = [layer for layer in layers if any(name == own for own, _, _ in layer._amounts())]
        if not having:
            known = sorted({f"{type(layer).__name__}.{own}" for layer in layers for own, _, _ in layer._amounts()})
            raise ValueError(
                f"set_amounts: no layer that was asked for has an amount {name!r}; there are {known}. "
                "What is static (PatchDropout's rate) is set with model.set_attributes, and compiles again."
            )
        values = list(value) if isinstance(value, (list, tuple)) else [value] * len(having)
        if len(values) != len(having):
            raise ValueError(
                f"set_amounts: {name} has {len(values)} entries for {len(having)} layers. Give one for each, a number "
                "for all, or an array of the shape that a stack of layers holds."
            )
        for layer, each in zip(having, values, strict=True):
            layer._set_amount(name, each)


def reseed(model: Any, key: jax.Array) -> None:
    """Derives every stream of a model from a key and the stream's path, and starts it anew.

    So a layer's noise depends on the key and on where the layer stands, and not on what else the model has: adding a
    layer changes no other's noise, as it does where streams are forked one after the other. In a stack of layers each
    has its own, by its place in the stack. Called in each step with ``fold_in(key, step)``, it makes a step's noise a
    function of the step, which needs no stream in a checkpoint.

    Args:
      model: an nnx module, changed in place, inside `nnx.jit` or outside.
      key: a JAX key.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> rngs, x = nnx.Rngs(0), jnp.ones(50)
      >>> small = nnx.Dict(last=njx.Dropout(0.5, rngs=rngs))
      >>> large = nnx.Dict(first=njx.Dropout(0.5, rngs=rngs), last=njx.Dropout(0.5, rngs=rngs))
      >>> for model in (small, large):
      ...     njx.reseed(model, jax.random.key(1))
      >>> bool((small.last(x) == large.last(x)).all())
      True
    """
    _checks.key("reseed", key)
    for path, node in nnx.iter_graph(model):
        if isinstance(node, nnx.RngStream):
            before = node.key.get_value()
            node.key.set_value(_derived(key, path, before))
            node.count.set_value(jnp.zeros(before.shape, jnp.uint32))


def functional(model: Any, *, deterministic: bool = True, method: str = "__call__") -> tuple[Callable, nnx.State]:
    """A model as a function that changes nothing: what attacks, `jax.grad` and `jax.lax.scan` close over.

    What the model would change (BatchNorm's statistics, counters of streams) is changed in a copy that the call
    forgets. Other modes stay as the model has them: BatchNorm in train mode uses the batch's statistics.

    Args:
      model: an nnx module; not changed.
      deterministic: True for no noise. False: the function takes a key, from which `reseed` derives the streams.
      method: the method that is called.

    Returns:
      ``(f, state)``: ``f(state, *args, **kwargs)``, with `deterministic=False` ``f(state, key, *args, **kwargs)``. The
      state is an `nnx.State` of all that the model holds but its streams, a pytree of floats for most models; for
      derivatives in the parameters alone, ``nnx.split_state(state, nnx.Param, ...)`` and `nnx.merge_state`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=rngs), njx.Dropout(0.5, rngs=rngs))
      >>> f, state = njx.functional(model)
      >>> jax.grad(lambda x: f(state, x).sum())(jnp.ones(2)).shape
      (2,)
      >>> f, state = njx.functional(model, deterministic=False)
      >>> jax.vmap(f, (None, 0, None))(state, jax.random.split(jax.random.key(0), 5), jnp.ones(2)).shape
      (5, 3)
    """
    copy = nnx.with_attributes(model, deterministic=deterministic, raise_if_not_found=False)
    graphdef, streams, state = nnx.split(copy, nnx.RngState, ...)

    def call(state: nnx.State, *args: Any, **kwargs: Any) -> Any:
        instance = nnx.merge(graphdef, streams, state, copy=True)
        if not deterministic:
            reseed(instance, args[0])
            args = args[1:]
        return getattr(instance, method)(*args, **kwargs)

    return call, state


def _derived(key: jax.Array, path: tuple, like: jax.Array) -> jax.Array:
    """A key, or an array of keys, of the kind and the shape of another."""
    stream = stage(key, *map(str, path))
    size = jax.eval_shape(jax.random.key_data, like).shape[-1]
    data = [words(stream, f"reseed.{n}", like.shape) for n in range(size)]
    return jax.random.wrap_key_data(jnp.stack(data, axis=-1), impl=jax.random.key_impl(like))
