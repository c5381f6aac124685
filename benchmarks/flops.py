"""The arithmetic operations of a train step, for comparison with the minimum cost of its method."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def flops(function: Callable, *args: Any, **kwargs: Any) -> float:
    """The floating-point operations of a function, as counted by XLA in the program it compiles for a CPU.

    Operations that XLA removes or merges do not count. All iterations of a scan (and of a `fori_loop` of known length)
    count: the function is compiled with its scans unrolled, without running it. A `lax.while_loop` counts as one
    iteration, and a `lax.cond` as its most expensive branch. A transcendental function counts as one operation or none.

    Args:
      function: a pure function. A train step of `nnx.jit` mutates its model: split the model first.
      *args, **kwargs: its arguments, arrays or `jax.ShapeDtypeStruct`. Close over static arguments.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from benchmarks.flops import flops
      >>> x = jnp.ones((32, 32))
      >>> once = flops(lambda x: x @ x, x)
      >>> many = flops(lambda x: jax.lax.scan(lambda x, _: (x @ x, None), x, length=5)[0], x)
      >>> once, many / once
      (65536.0, 5.0)
    """
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        closed = jax.make_jaxpr(function)(*args, **kwargs)
        unrolled = core.jaxpr_as_fun(_unrolled(closed))
        shapes = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in closed.jaxpr.invars]
        cost = jax.jit(unrolled).lower(*shapes).compile().cost_analysis()
    return float((cost or {}).get("flops", 0.0))


def overhead(step: Callable, plain: Callable, *args: Any, **kwargs: Any) -> float:
    """The operations of an adversarial train step divided by those of a plain one, both counted by `flops`.

    If a forward pass costs 1, the gradient in x 2 and the gradient in the parameters 3, the minimum is (2 k + 3) / 3
    for PGD training with k steps (FGSM has one step), (2 k + 6) / 3 for TRADES and MART, and slightly above 1 for each
    replay of `free_step`.

    Args:
      step, plain: pure functions of the same arguments.
      *args, **kwargs: their arguments.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from benchmarks.flops import overhead
      >>> x = jnp.ones((32, 32))
      >>> overhead(lambda x: x @ x @ x, lambda x: x @ x, x)
      2.0
    """
    return flops(step, *args, **kwargs) / flops(plain, *args, **kwargs)


def _unrolled(closed: Any) -> Any:
    """The same program with every scan unrolled, including nested ones."""
    return core.ClosedJaxpr(_without_loops(closed.jaxpr), closed.consts)


def _without_loops(jaxpr: Any) -> Any:
    return jaxpr.replace(eqns=[eqn.replace(params=_params(eqn)) for eqn in jaxpr.eqns])


def _params(eqn: Any) -> dict:
    params = {name: _inside(value) for name, value in eqn.params.items()}
    if eqn.primitive.name == "scan":
        params["unroll"] = max(int(params["length"]), 1)
    return params


def _inside(value: Any) -> Any:
    if isinstance(value, core.ClosedJaxpr):
        return _unrolled(value)
    if isinstance(value, core.Jaxpr):
        return _without_loops(value)
    if isinstance(value, (tuple, list)) and any(isinstance(v, (core.ClosedJaxpr, core.Jaxpr)) for v in value):
        return type(value)(map(_inside, value))
    return value
