"""Functions of a whole model: set its amounts, derive its streams from paths, turn it into a pure function."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import errors, nnx

from noisejax import _checks
from noisejax._random.stream import stage, words
from noisejax.nnx._layer import NoiseLayer


def set_amounts(model: Any, *filters: Any, **amounts: Any) -> None:
    """Sets amounts of a model's noise layers, without recompiling a step compiled with `nnx.jit`.

    Args:
      model: an nnx module, changed in place, inside `nnx.jit` or outside.
      *filters: layer types, or any Flax filters, that select the layers; none for all layers that have the amount.
      **amounts: for each name a number or an array, traced or not, for all layers, or a list or tuple of these with
        one for each layer, in the model's order. A scalar fills a stack of layers made by a vmapped constructor.

    Raises:
      ValueError: no layer has such an amount, or a list does not have one entry for each layer.

    Example:
      >>> import noisejax.nnx as njx
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=rngs), njx.Dropout(0.1, rngs=rngs), njx.DropPath(0.1, rngs=rngs))
      >>> njx.set_amounts(model, njx.DropPath, rate=0.3)
      >>> [round(float(layer.rate[...]), 1) for layer in model.layers[1:]]
      [0.1, 0.3]
    """
    _check_model("set_amounts", model)
    matches = [_predicate(each) for each in filters or (...,)]
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
                f"set_amounts: no selected layer has an amount {name!r}; their amounts are {known}. Set a static value "
                "(PatchDropout's rate) with model.set_attributes, which recompiles."
            )
        values = list(value) if isinstance(value, (list, tuple)) else [value] * len(having)
        if len(values) != len(having):
            raise ValueError(
                f"set_amounts: {name} has {len(values)} entries for {len(having)} layers. Give one for each layer, a "
                "number for all, or an array of the shape that a stack of layers holds."
            )
        with _changing("set_amounts", name):
            for layer, each in zip(having, values, strict=True):
                layer._set_amount(name, each)


def reseed(model: Any, key: jax.Array) -> None:
    """Restarts every stream of a model from a key and the stream's path.

    A layer's noise then depends only on the key and on the layer's path. Adding a layer does not change the noise of
    other layers, as it does when streams are forked one after the other. In a stack of layers, each layer has its own
    stream, derived from its index. Call it in every step with ``fold_in(key, step)`` to make the noise a function of
    the step. Checkpoints then need no streams.

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
    _check_model("reseed", model)
    _checks.key("reseed", key)
    with _changing("reseed", "key"):
        for path, node in nnx.iter_graph(model):
            if isinstance(node, nnx.RngStream):
                before = node.key.get_value()
                node.key.set_value(_derived(key, path, before))
                node.count.set_value(jnp.zeros(before.shape, jnp.uint32))


@contextlib.contextmanager
def _changing(function: str, name: str) -> Iterator[None]:
    """Says how to change a model inside a transformation, which Flax allows only if the model is its argument."""
    try:
        yield
    except errors.TraceContextError:
        raise TypeError(
            f"{function}: {name} must not change a model that was made outside of the transformation, such as jax.jit, "
            "in which this runs. Pass the model through it: use nnx.jit with the model among the arguments."
        ) from None


def functional(model: Any, *, deterministic: bool = True, method: str = "__call__") -> tuple[Callable, nnx.State]:
    """Turns a model into a pure function, for attacks, `jax.grad` and `jax.lax.scan`.

    Each call works on a copy of the model, so updates of its state (BatchNorm's statistics, stream counters) are
    discarded. Other modes of the model are kept: BatchNorm in train mode uses the batch's statistics.

    Args:
      model: an nnx module; it is not changed.
      deterministic: True for no noise. If False, the function takes a key, from which `reseed` derives the streams.
      method: the name of the method to call.

    Returns:
      A pair ``(f, state)``. The function is called as ``f(state, *args, **kwargs)``, or with `deterministic=False` as
      ``f(state, key, *args, **kwargs)``. The state is an `nnx.State` of everything in the model except its streams; for
      most models it is a pytree of floats. For derivatives with respect to the parameters alone, use
      ``nnx.split_state(state, nnx.Param, ...)`` and `nnx.merge_state`.

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
    _check_model("functional", model)
    deterministic = _checks.flag("functional", "deterministic", deterministic)
    if not isinstance(method, str) or not callable(getattr(model, method, None)):
        raise ValueError(f"functional: method must be the name of a method of the model, got {_checks.shown(method)}.")
    copy = nnx.with_attributes(model, deterministic=deterministic, raise_if_not_found=False)
    graphdef, streams, state = nnx.split(copy, nnx.RngState, ...)

    def call(state: nnx.State, *args: Any, **kwargs: Any) -> Any:
        instance = nnx.merge(graphdef, streams, state, copy=True)
        if not deterministic:
            reseed(instance, args[0])
            args = args[1:]
        return getattr(instance, method)(*args, **kwargs)

    return call, state


def _predicate(chosen: Any) -> Callable[[Any, Any], bool]:
    try:
        return nnx.filterlib.to_predicate(chosen)
    except (TypeError, ValueError):
        raise TypeError(
            "set_amounts: filters must be layer types such as njx.Dropout, or Flax filters, got "
            f"{_checks.shown(chosen)}."
        ) from None


def _check_model(function: str, model: Any) -> None:
    if not isinstance(model, nnx.Module):
        raise TypeError(f"{function}: model must be an nnx module, got {_checks.shown(model)}.")


def _derived(key: jax.Array, path: tuple, like: jax.Array) -> jax.Array:
    """A key, or an array of keys, with the implementation and shape of `like`."""
    stream = stage(key, *map(str, path))
    size = jax.eval_shape(jax.random.key_data, like).shape[-1]
    data = [words(stream, f"reseed.{n}", like.shape) for n in range(size)]
    return jax.random.wrap_key_data(jnp.stack(data, axis=-1), impl=jax.random.key_impl(like))
