"""Differential privacy: per-example clipping and Gaussian noise, to be used with an accountant of your choice."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from noisejax import _checks
from noisejax._contract import Amount
from noisejax.optim import _streams
from noisejax.optim._additive import normal
from noisejax.optim._streams import ScalarOrSchedule


def clipped_sum(grads: optax.Updates, l2_norm_clip: Amount, *, where: jax.Array | None = None) -> Any:
    """The float32 sum of per-example gradients, each scaled down to norm `l2_norm_clip` if it is longer.

    The norm is taken over the whole tree of an example. Adding or removing one example changes the sum by at most
    l2_norm_clip, up to float32 rounding. An example whose norm is not finite counts as 0. The sums of microbatches add
    up to the sum of the batch, so add noise once, to the total.

    Args:
      grads: a tree of gradients with a leading axis of examples, such as the result of
        ``jax.vmap(jax.grad(loss), (None, 0))``.
      l2_norm_clip: the maximum norm of an example's gradient, above 0.
      where: booleans of shape (B,), False for padding examples, which count as 0. Use it to fill a Poisson sample to a
        fixed batch size.

    Returns:
      A tree of float32 sums, without the leading axis.

    References:
      Abadi et al., "Deep learning with differential privacy", CCS 2016.

    Example:
      >>> import jax.numpy as jnp, noisejax.optim
      >>> grads = {"w": jnp.array([[3.0, 4.0], [0.5, 0.25]])}  # norms 5 and 0.56
      >>> noisejax.optim.clipped_sum(grads, 2.5)["w"]
      Array([2.  , 2.25], dtype=float32)
    """
    clip = _streams.constant("clipped_sum", "l2_norm_clip", l2_norm_clip, _streams.positive)
    leaves = jax.tree.leaves(grads)
    if not leaves:
        raise ValueError(f"clipped_sum: grads must be a tree of arrays, one gradient for each example, got {grads!r}.")
    for leaf in leaves:
        _checks.operand("clipped_sum", "grads", leaf)
    where = _checks.mask("clipped_sum", "where", where)
    size = _checks.batch("clipped_sum", {f"grads {n}": leaf for n, leaf in enumerate(leaves)})
    if where is not None and (where.shape != (size,) or where.dtype != jnp.bool_):
        raise ValueError(
            f"clipped_sum: where must be booleans of shape {(size,)}, one for each example of grads, got {where.dtype}"
            f"{list(where.shape)}."
        )
    squares = [jnp.sum(jnp.square(g.astype(jnp.float32)), axis=tuple(range(1, g.ndim))) for g in leaves]
    norm = jnp.sqrt(sum(squares[1:], squares[0]))
    counted = jnp.isfinite(norm) if where is None else jnp.isfinite(norm) & where
    clip = jnp.asarray(clip).astype(jnp.float32)
    factor = clip / jnp.maximum(norm, clip)

    def total(g):
        column = (size,) + (1,) * (g.ndim - 1)
        kept = jnp.where(counted.reshape(column), g.astype(jnp.float32), 0)  # times 0 would keep NaN
        return jnp.sum(kept * jnp.where(counted, factor, 0).reshape(column), axis=0)

    return jax.tree.map(total, grads)


def add_private_noise(
    key: jax.Array,
    l2_norm_clip: ScalarOrSchedule,
    noise_multiplier: ScalarOrSchedule,
    batch_size: Amount,
) -> optax.GradientTransformationExtraArgs:
    """The Gaussian mechanism on a *sum* of clipped gradients, then the mean: ``(g + clip * multiplier * n) / batch``.

    Use it with gradients that `clipped_sum` accumulates over microbatches. `differentially_private_aggregate` combines
    both steps, and documents the assumptions behind the privacy guarantee.

    Args:
      key: a JAX key. Keep it secret, and use it for nothing else.
      l2_norm_clip: the same as in `clipped_sum`, above 0.
      noise_multiplier: the standard deviation of the noise in units of l2_norm_clip, at least 0, as accountants use the
        term.
      batch_size: the sum is divided by it, above 0. It is the *expected* number of examples, a constant, and not the
        actual size of a Poisson sample, which is private.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with a `NoiseState`. It keeps the dtype of the sums.

    References:
      Abadi et al., "Deep learning with differential privacy", CCS 2016.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> noise = noisejax.optim.add_private_noise(jax.random.key(0), 1.0, 1.1, batch_size=256)
      >>> optimizer = optax.chain(noise, optax.sgd(0.1))
      >>> state = optimizer.init(jnp.zeros(3))
      >>> grads = jnp.ones((4, 64, 3))  # four microbatches of per-example gradients
      >>> total = sum(noisejax.optim.clipped_sum(g, 1.0) for g in grads)
      >>> updates, state = optimizer.update(total, state)
    """
    _checks.key("add_private_noise", key)
    name = "add_private_noise"
    amounts = _amounts(name, l2_norm_clip, noise_multiplier)
    batch_size = _streams.constant(name, "batch_size", batch_size, _streams.positive)

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if params is not None:
            _check_shapes(name, updates, params, per_example=False)
        return _release(key, updates, state, *amounts, batch_size, None)

    return optax.GradientTransformationExtraArgs(lambda params: _streams.init(key), update)


def differentially_private_aggregate(
    key: jax.Array,
    l2_norm_clip: ScalarOrSchedule,
    noise_multiplier: ScalarOrSchedule,
    batch_size: Amount | None = None,
) -> optax.GradientTransformationExtraArgs:
    """DP-SGD's private mean of per-example gradients: clip each, sum, add Gaussian noise, divide by the batch size.

    ``(sum_i g_i * min(1, clip / |g_i|) + clip * noise_multiplier * n) / batch_size``. Place it first in a chain. It
    takes gradients with a leading axis of examples, and ``where`` as an extra argument of `update` (see `clipped_sum`).
    ``update(grads, state, params)`` needs the parameters, because their shapes tell whether gradients are per example.
    Norms, sums and noise are float32 for any dtype of the gradients, and the result is rounded once. Rounding after the
    noise costs no privacy, but noise drawn in bfloat16 would not be Gaussian.

    This is the mechanism, not the proof. The proof also needs:

    - An accountant (from dp-accounting, jax-privacy or opacus) that knows noise_multiplier, the number of steps and the
      sampling. Nothing else here affects epsilon. The sensitivity of the *sum* is l2_norm_clip, under adding or
      removing one record.
    - Poisson sampling, where each record is drawn independently with rate q, for amplification by sampling. Shuffled
      batches of fixed size do not satisfy this. Fill a Poisson sample to a fixed size, mark the filling in `where`, and
      pass ``batch_size = q * N``.
    - The whole tree in one transform. Clipping per group under `optax.multi_transform` has a different sensitivity, and
      `optax.MultiSteps` averages gradients before they are clipped (accumulate with `clipped_sum` instead).
    - A secure generator, if the adversary is determined. Gaussian noise of finite precision can leak information that
      ideal noise would hide (Mironov 2012). Draws here take 2**32 values, none beyond 6.66 standard deviations, from a
      generator that is fast and *not cryptographic*. For such a release, add the noise of a secure generator to
      `clipped_sum`.

    Args:
      key: a JAX key. Keep it secret, and use it for nothing else.
      l2_norm_clip: above 0: a number (traced or not) or a schedule.
      noise_multiplier: the standard deviation of the noise in units of l2_norm_clip, at least 0: a number or a
        schedule.
      batch_size: the expected number of examples, by which the sum is divided; None for the length of the leading axis,
        1 for the sum itself.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with a `NoiseState`.

    References:
      Abadi et al., "Deep learning with differential privacy", CCS 2016; Mironov, "On significance of the least
      significant bits for differential privacy", CCS 2012. The names follow
      `optax.contrib.differentially_private_aggregate`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> private = noisejax.optim.differentially_private_aggregate(jax.random.key(0), 1.0, 1.1)
      >>> optimizer = optax.chain(private, optax.sgd(0.1))
      >>> params = jnp.zeros(3)
      >>> loss = lambda w, x: ((x @ w - 1) ** 2).mean()
      >>> grads = jax.vmap(jax.grad(loss), (None, 0))(params, jnp.ones((8, 3)))
      >>> updates, state = optimizer.update(grads, optimizer.init(params), params)
      >>> updates.shape
      (3,)
    """
    name = "differentially_private_aggregate"
    _checks.key(name, key)
    amounts = _amounts(name, l2_norm_clip, noise_multiplier)
    if batch_size is not None:
        batch_size = _streams.constant(name, "batch_size", batch_size, _streams.positive)

    def update(updates, state, params=None, *, where=None, **extra_args):
        del extra_args
        _streams.refuse_accumulation(
            name,
            "gradients must not be averaged before they are clipped, got the update of optax.MultiSteps. Sum the "
            "clipped_sum of each micro-batch, and pass the total to add_private_noise.",
        )
        if params is None:
            raise ValueError(
                f"{name}: params must be given, got None. Write update(grads, state, params): their shapes tell "
                "whether the gradients are per example."
            )
        _check_shapes(name, updates, params, per_example=True)
        sums = clipped_sum(updates, _streams.at_count(amounts[0], state.count), where=where)
        size = jax.tree.leaves(updates)[0].shape[0] if batch_size is None else batch_size
        return _release(key, sums, state, *amounts, size, updates)

    return optax.GradientTransformationExtraArgs(lambda params: _streams.init(key), update)


def _amounts(name, l2_norm_clip, noise_multiplier):
    return (
        _streams.checked(name, "l2_norm_clip", l2_norm_clip, _streams.positive),
        _streams.checked(name, "noise_multiplier", noise_multiplier, _streams.nonnegative),
    )


def _check_shapes(function: str, updates: Any, params: Any, per_example: bool) -> None:
    """Requires updates in the shapes of params, with a leading axis of examples or without it.

    The rows of an ordinary gradient would otherwise be clipped as if they were examples.
    """
    named = jax.tree_util.tree_flatten_with_path(updates)[0]
    params = dict(jax.tree_util.tree_flatten_with_path(params)[0])
    batch: tuple[int, ...] = ()
    for path, update in named:
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        of = f"of {where!r} " if where else ""
        if path not in params:
            raise ValueError(f"{function}: params must have the structure of the gradients, got none {of}there.")
        got, shape = tuple(jnp.shape(update)), tuple(jnp.shape(params[path]))
        if per_example and not batch:
            batch = got[:1]
        if got == (*batch, *shape) and len(got) == len(shape) + per_example:
            continue
        if per_example:
            raise ValueError(
                f"{function}: the gradient {of}must have shape {('B', *shape)}, with the same number B of examples for "
                f"all parameters, got {got}. Take gradients per example: jax.vmap(jax.grad(loss), (None, 0))(params, "
                "batch).".replace("'B'", "B")
            )
        raise ValueError(
            f"{function}: the sum of gradients {of}must have the shape of the parameter, {shape}, got {got}. Sum "
            "gradients per example with clipped_sum first."
        )


def _release(key, sums, state, l2_norm_clip, noise_multiplier, batch_size, like):
    std = _streams.at_count(l2_norm_clip, state.count) * _streams.at_count(noise_multiplier, state.count)
    size = jnp.asarray(batch_size).astype(jnp.float32)

    def mean(stream, g, like):
        return ((g.astype(jnp.float32) + std * normal(stream, g)) / size).astype(like.dtype)

    like = sums if like is None else like
    means = _streams.leafwise(mean, "private", (_streams.at_step(key, state),), sums, like)
    return means, state._replace(count=_streams.following(state.count))
