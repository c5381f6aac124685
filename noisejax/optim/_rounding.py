"""Stochastic rounding, with which low-precision parameters keep small updates in expectation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from noisejax import _checks
from noisejax._random import sample
from noisejax._random.stream import Stream, enter, stream as stream_of, words_like
from noisejax.optim import _streams

_NARROW = (jnp.bfloat16, jnp.float16)


def stochastic_round(key: jax.Array | Stream, x: jax.Array, dtype: jax.typing.DTypeLike = jnp.bfloat16) -> jax.Array:
    """Rounds x to one of its two neighbours in a narrower dtype, at random, so that the expectation is x.

    A value at a fraction p of the way from the lower to the upper neighbour is rounded up with probability exactly p.
    Values that the dtype represents stay unchanged, including -0. Subnormal numbers are rounded in the same way. A
    finite x beyond the largest finite number becomes that number. Infinities and NaN stay unchanged. No gradient flows.

    Args:
      key: a JAX key.
      x: an array of float32, bfloat16 or float16. float64 is first rounded to float32.
      dtype: bfloat16 or float16.

    Returns:
      An array of x's shape and of the given dtype.

    References:
      Gupta, Agrawal, Gopalakrishnan and Narayanan, "Deep learning with limited numerical precision", ICML 2015; Croci,
      Fasi, Higham, Mary and Mikaitis, "Stochastic rounding: implementation, error analysis and applications", Royal
      Society Open Science 9(3), 2022.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.optim
      >>> x = jnp.full(10_000, 1.001)  # bfloat16 has 1 and 1.0078125 here
      >>> y = noisejax.optim.stochastic_round(jax.random.key(0), x)
      >>> sorted(set(y.tolist())), bool(abs(y.astype(float).mean() - 1.001) < 1e-4)
      ([1.0, 1.0078125], True)
    """
    if isinstance(dtype, (jax.Array, np.ndarray, np.generic)):  # JAX would take some for their dtype
        raise TypeError(f"stochastic_round: dtype must be bfloat16 or float16, got {_checks.shown(dtype)}.")
    key = enter("stochastic_round", key)
    _checks.array("stochastic_round", x, _checks.floats)
    if dtype not in _NARROW:
        raise ValueError(f"stochastic_round: dtype must be bfloat16 or float16, got {dtype!r}.")
    x = lax.stop_gradient(jnp.asarray(x))
    if x.dtype == dtype:
        return x
    x = x.astype(jnp.float32)
    w = words_like(key, "stochastic_round", x)
    rounded = _to_bfloat16(w, x) if dtype == jnp.bfloat16 else _to_float16(w, x)
    return jnp.where(jnp.isfinite(x), rounded, x.astype(dtype))


def _to_bfloat16(w: jax.Array, x: jax.Array) -> jax.Array:
    # bfloat16 is the upper half of float32. Adding 16 random bits to the lower half carries with the right probability,
    # for both signs and for subnormals. In integers, since processors may flush subnormal floats to 0.
    u = jnp.uint32
    bits = lax.bitcast_convert_type(x, u) + (w >> u(16))
    upper = (bits >> u(16)).astype(jnp.uint16)
    overflow = (upper & jnp.uint16(0x7FFF)) == jnp.uint16(0x7F80)
    return lax.bitcast_convert_type(jnp.where(overflow, upper - jnp.uint16(1), upper), jnp.bfloat16)


def _to_float16(w: jax.Array, x: jax.Array) -> jax.Array:
    size = jnp.minimum(abs(x), jnp.float32(65504))
    below = lax.bitcast_convert_type(size.astype(jnp.float16), jnp.uint16)
    nearest = lax.bitcast_convert_type(below, jnp.float16).astype(jnp.float32)
    below = below - (nearest > size).astype(jnp.uint16)
    low, high = (
        lax.bitcast_convert_type(bits, jnp.float16).astype(jnp.float32) for bits in (below, below + jnp.uint16(1))
    )
    up = (size > low) & sample.bernoulli(w, (size - low) / (high - low))
    sign = (lax.bitcast_convert_type(x, jnp.uint32) >> jnp.uint32(16)).astype(jnp.uint16) & jnp.uint16(0x8000)
    return lax.bitcast_convert_type(below + up.astype(jnp.uint16) | sign, jnp.float16)


def apply_updates(key: jax.Array, params: optax.Params, updates: optax.Updates) -> optax.Params:
    """`optax.apply_updates` with stochastic rounding: ``params + updates`` in float32, then `stochastic_round`.

    Rounding to nearest loses every update below half a unit in the last place, 1/512 to 1/256 of a bfloat16 parameter.
    Stochastic rounding keeps such updates in expectation. Parameters of other dtypes are updated as in optax.

    Args:
      key: a JAX key. Use a different key in every step.
      params: a tree of parameters.
      updates: a tree of the same structure. Its dtypes may be wider than those of the parameters.

    Returns:
      The new parameters, in the dtypes of the old ones.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.optim
      >>> params, updates = jnp.ones(10_000, jnp.bfloat16), jnp.full(10_000, 0.001, jnp.bfloat16)
      >>> new = noisejax.optim.apply_updates(jax.random.key(0), params, updates)
      >>> new.dtype, bool(abs(new.astype(float).mean() - 1.001) < 1e-4)
      (dtype(bfloat16), True)
    """
    _checks.key("apply_updates", key)
    _streams.same_shapes("apply_updates", "params", params, "updates", updates)
    for name, tree in (("params", params), ("updates", updates)):
        for leaf in jax.tree.leaves(tree):
            _checks.operand("apply_updates", name, leaf)

    def new(path, p, u):
        if p is None:
            return None
        if not hasattr(u, "dtype"):
            raise ValueError(
                f"apply_updates: updates must have the structure of params, got {_checks.shown(u)} for an array."
            )
        if getattr(p, "dtype", None) not in _NARROW:
            return optax.apply_updates(p, u)
        stream = _streams.at_path(stream_of(key), "stochastic_round", path)
        return stochastic_round(stream, p.astype(jnp.float32) + u.astype(jnp.float32), p.dtype)

    return jax.tree_util.tree_map_with_path(new, params, updates, is_leaf=lambda x: x is None)


def stochastic_rounding(key: jax.Array) -> optax.GradientTransformationExtraArgs:
    """Stochastic rounding of parameters in train steps that call `optax.apply_updates`, such as those of Flax.

    For bfloat16 and float16 parameters it replaces the update u by the float32 difference ``q - p``, where q is p + u
    rounded by `stochastic_round`. optax adds it in float32 and casts, which gives q. Other updates are unchanged.

    Place it last, outside every other wrapper: ``optax.chain(optax.MultiSteps(...).gradient_transformation(),
    stochastic_rounding(key))``. An update of 0 leaves the parameter unchanged. If jax_numpy_dtype_promotion is
    "strict", optax cannot add float32 to bfloat16. Use `apply_updates` then, which also avoids the float32 differences.

    Args:
      key: a JAX key.

    Returns:
      An `optax.GradientTransformationExtraArgs` with a `NoiseState`; its update needs the parameters.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> optimizer = optax.chain(optax.sgd(1e-3), noisejax.optim.stochastic_rounding(jax.random.key(0)))
      >>> params = jnp.ones(10_000, jnp.bfloat16)
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(-jnp.ones_like(params), state, params)
      >>> with jax.numpy_dtype_promotion("standard"):  # as it is by default
      ...     params = optax.apply_updates(params, updates)
      >>> params.dtype, bool(abs(params.astype(float).mean() - 1.001) < 1e-4)
      (dtype(bfloat16), True)
    """
    _checks.key("stochastic_rounding", key)

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if params is None:
            raise ValueError(
                "stochastic_rounding: to round params + updates, it needs the parameters: update(g, state, params)."
            )

        def difference(stream, u, p):
            if p.dtype not in _NARROW:
                return u
            old = p.astype(jnp.float32)
            new = stochastic_round(stream, old + u.astype(jnp.float32), p.dtype).astype(jnp.float32)
            return jnp.where(new == old, 0, new - old)  # inf - inf would be NaN

        updates = _streams.leafwise(difference, "stochastic_round", (_streams.at_step(key, state),), updates, params)
        return updates, state._replace(count=_streams.following(state.count))

    return optax.GradientTransformationExtraArgs(lambda params: _streams.init(key), update)
