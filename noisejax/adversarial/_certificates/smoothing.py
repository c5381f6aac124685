"""Randomized smoothing: counts of a classifier's predictions for noisy copies of an example.

Counts are computed on the device, in int32 and in one compiled loop. Bounds are computed from them on the host, in
float64. A float32 bound could exceed the true one, and certify a radius that does not hold.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks, _noise
from noisejax._combinators.compose import per_example
from noisejax._random.stream import fold, stage
from noisejax._statistics import binomial_tail, check_alpha
from noisejax.adversarial._health import depends_on_batch
from noisejax.adversarial._threats.balls import check_ids


def smoothed_counts(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    noise: Callable,
    *,
    samples: int,
    first: int = 0,
    num_classes: int | None = None,
    ids: jax.Array | None = None,
    batch_size: int = 1024,
) -> jax.Array:
    """Counts how often a classifier predicts each class for noisy copies of each example.

    The noise of a copy depends only on the key, the example's id and the copy's number. So the counts of samples
    0 to 99 and of 100 to 999 add up to those of 0 to 999. Neither the batch split nor `batch_size` changes a count
    (apart from the rounding of `predict` at a different matrix size).

    Args:
      key: a JAX key.
      predict: a function of x that returns logits or probabilities of shape (B, C), or class numbers (integers or
        booleans) of shape (B,). It must treat examples independently, without statistics over the batch. If it is a
        pytree of arrays (``jax.tree_util.Partial(apply, params)``, a Flax nnx module), different parameters of the same
        shapes do not compile again. Any other function is compiled in each call.
      x: the examples, (B, ...). Noise is added to narrow floats and to uint8 and uint16 images in float32, which
        `predict` then receives.
      noise: a function ``(key, x) -> x``. Amounts of shape (B, ...) belong to one example each.
      samples: the number of copies of each example. Not static.
      first: the number of the first copy. Not static.
      num_classes: C; None to read it from the logits. Static.
      ids: integers of shape (B,), the numbers of the examples in the whole data set; None for 0, 1, ..., B - 1.
      batch_size: the approximate number of copies, over all examples, that are predicted at a time; at least one copy
        of each example.

    Returns:
      int32 counts of shape (B, C), sharded as x is. Copies whose logits contain NaN count for no class.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import adversarial
      >>> x = jnp.array([[0.0, 0.0], [5.0, 0.0]])
      >>> right = lambda x: x[:, 0] > 0
      >>> counts = adversarial.smoothed_counts(
      ...     jax.random.key(0), right, x, nj.bind(nj.gaussian, std=1.0), samples=1000, num_classes=2
      ... )
      >>> (counts / 1000).round(1).tolist()
      [[0.5, 0.5], [0.0, 1.0]]
    """
    count = make_counter("smoothed_counts", key, predict, x, noise, num_classes, batch_size)
    check_samples("smoothed_counts", "samples", samples)
    samples = int(samples)  # 8 bits of NumPy do not hold the end
    if not isinstance(first, (int, np.integer)) or not 0 <= first < 2**30 - samples:
        raise ValueError(f"smoothed_counts: first must be an integer from 0 to 2**30 - samples, got {first!r}.")
    return count(x, noise, ids, first, samples)


def smoothed_predict(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    noise: Callable,
    *,
    samples: int = 1000,
    alpha: float = 0.001,
    num_classes: int | None = None,
    ids: jax.Array | None = None,
    batch_size: int = 1024,
) -> np.ndarray:
    """The predictions of the smoothed classifier: the most frequent class among noisy copies, or abstention.

    Any noise can be used. The classifier abstains unless a two-sided binomial test at level `alpha` rejects that the
    two most frequent classes are equally likely. So a prediction differs from the most likely class with probability
    at most alpha.

    Args:
      key, predict, x, noise, num_classes, ids, batch_size: as in `smoothed_counts`.
      samples: the number of noisy copies of each example.
      alpha: the probability of a wrong prediction, for each example.

    Returns:
      int64 classes of shape (B,), in NumPy; -1 where it abstains.

    References:
      Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019: PREDICT.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import adversarial
      >>> x = jnp.array([[0.0, 0.0], [5.0, 0.0]])
      >>> right = lambda x: x[:, 0] > 0
      >>> adversarial.smoothed_predict(
      ...     jax.random.key(0), right, x, nj.bind(nj.gaussian, std=1.0), num_classes=2
      ... ).tolist()
      [-1, 1]
    """
    check_alpha("smoothed_predict", alpha)
    check_samples("smoothed_predict", "samples", samples)
    check_examples("smoothed_predict", x)
    given = {"x": x, "noise": noise, "ids": ids, "num_classes": num_classes}
    check_known("smoothed_predict", key=key, predict=predict, **given)
    count = make_counter("smoothed_predict", key, predict, x, noise, num_classes, batch_size)
    counts = np.asarray(count(x, noise, ids, 0, samples))
    order = np.argsort(-counts, axis=1, kind="stable")[:, :2]
    top = np.take_along_axis(counts, order, 1).astype(np.float64)
    a, b = top[:, 0], top[:, 1] if counts.shape[1] > 1 else 0.0
    equal = 2 * binomial_tail(a, a + b, 0.5)  # the two-sided p-value by symmetry; above 1 where a == b
    return np.where(equal <= alpha, order[:, 0], -1)


def make_counter(function: str, key, predict: Callable, x, noise: Callable, num_classes, batch_size: int) -> Callable:
    """The program ``(x, noise, ids, first, samples) -> counts``, compiled once for each shape of x."""
    _checks.key(function, key)
    if not callable(predict):
        raise TypeError(f"{function}: predict must be a function of x, got {predict!r}.")
    check_examples(function, x)
    check_samples(function, "batch_size", batch_size)
    _noise.stages(function, (noise,))
    classes = _classes(function, _outputs(function, predict, x), x.shape, num_classes)
    if not isinstance(x, Tracer) and depends_on_batch(predict, in_float32(jnp.asarray(x))):
        warnings.warn(
            f"{function}: the outputs of predict for an example depend on the other examples of its batch, so its "
            "results mean little. BatchNorm in train mode does this: use eval mode.",
            UserWarning,
            stacklevel=3,
        )
    arrays = (jax.Array, np.ndarray, np.generic)
    if jax.tree_util.all_leaves([predict]) or not all(isinstance(leaf, arrays) for leaf in jax.tree.leaves(predict)):
        # Not cached between calls: the parameters are constants of the program, and may be large.
        program = jax.jit(functools.partial(_count, predict), static_argnums=(5, 6))
    else:
        program = functools.partial(_compiled, predict)

    def run(x, noise, ids, first, samples):
        x, (noise,) = in_float32(jnp.asarray(x)), _noise.stages(function, (noise,))
        ids = check_ids(function, jnp.arange(x.shape[0]) if ids is None else ids, x)
        copies = max(1, batch_size // x.shape[0])
        span = jnp.asarray([first, samples], jnp.int32)
        return program(key, noise, x, ids, span, copies, classes)

    return run


def check_examples(function: str, x: Any) -> None:
    """Requires a batch of numbers with an example."""
    _checks.native(function, "x", x)
    if not isinstance(x, (jax.Array, np.ndarray)) or x.ndim == 0 or not x.shape[0]:
        raise ValueError(f"{function}: x must be an array with examples along its first axis, got {_checks.shown(x)}.")
    _checks.operand(function, "x", x)


def check_known(function: str, **arguments: Any) -> None:
    """Requires arguments that the host can read."""
    for name, value in arguments.items():
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
            raise TypeError(
                f"{function}: {name} must not be traced, since the result is computed on the host. Call {function} "
                "outside of jax.jit. smoothed_counts may be traced."
            )


def _outputs(function: str, predict: Callable, x: Any) -> Any:
    """The shapes and dtypes of the outputs of a model for x."""

    def called(x):
        outputs = predict(x)
        for leaf in jax.tree.leaves(outputs, is_leaf=lambda leaf: leaf is None):
            if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float)):
                raise TypeError(f"{function}: predict must return one array, got {_checks.shown(outputs)}.")
        return outputs

    return jax.eval_shape(called, in_float32(jnp.asarray(x)))


def _count(predict, key, noise, x, ids, span, copies: int, classes: int) -> jax.Array:
    stream, each = stage(key, "smoothing"), per_example(noise, ids)
    end = span[0] + span[1]

    def answer(number):  # the prediction for one noisy copy of every example
        outputs = predict(_noise.call(each, fold(stream, number), x, None, None))
        if outputs.ndim == 1:
            return outputs.astype(jnp.int32)
        best = jnp.argmax(outputs, axis=-1).astype(jnp.int32)
        return jnp.where(jnp.isnan(outputs).any(-1), -1, best)

    def chunk(carry):
        number, counts = carry
        numbers = number + jnp.arange(copies, dtype=jnp.int32)
        answers = jax.vmap(answer)(numbers)  # (copies, B): no reshape, which would move examples between devices
        hit = answers[..., None] == jnp.arange(classes, dtype=jnp.int32)[None, None]
        hit = hit & (numbers < end)[:, None, None]
        return number + copies, counts + hit.sum(0, dtype=jnp.int32)

    sharding = jax.typeof(x).sharding
    sharding = sharding.update(spec=jax.sharding.PartitionSpec(*sharding.spec[:1], None))
    zeros = jax.lax.broadcast_in_dim(jnp.int32(0), (x.shape[0], classes), (), out_sharding=sharding)
    return jax.lax.while_loop(lambda carry: carry[0] < end, chunk, (span[0], zeros))[1]


_compiled = jax.jit(_count, static_argnums=(6, 7))


def in_float32(x: jax.Array) -> jax.Array:
    """Images and narrow floats as float32, in which noise is not rounded away. Other integers, such as tokens, stay."""
    narrow = jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits < 32
    return x.astype(jnp.float32) if narrow or x.dtype in (jnp.uint8, jnp.uint16) else x


def _classes(function: str, outputs, x_shape: tuple[int, ...], num_classes) -> int:
    if not hasattr(outputs, "shape"):
        raise TypeError(
            f"{function}: predict must return one array, got a {type(outputs).__name__}. If it returns a pair, select "
            "the logits: lambda x: predict(x)[0]."
        )
    shape, numbers = outputs.shape, not jnp.issubdtype(outputs.dtype, jnp.floating)
    if shape[:1] != x_shape[:1] or len(shape) != (1 if numbers else 2):
        raise ValueError(
            f"{function}: predict must return logits or probabilities of shape (B, C), or class numbers of shape (B,); "
            f"for x of shape {x_shape} it gives {outputs.dtype}{list(shape)}."
        )
    if num_classes is None:
        if numbers:
            raise ValueError(f"{function}: predict returns class numbers. Pass the number of classes as num_classes.")
        if shape[1] < 2:
            raise ValueError(
                f"{function}: predict must return at least 2 logits per example, got shape {list(shape)}, of which the "
                "largest is always class 0. For one logit, return class numbers: lambda x: predict(x)[:, 0] > 0, with "
                "num_classes=2."
            )
        return shape[1]
    whole = isinstance(num_classes, (int, np.integer)) and 2 <= num_classes < 2**31
    if not whole or (not numbers and num_classes != shape[1]):
        raise ValueError(
            f"{function}: num_classes must be the number of classes, got {num_classes!r} for {list(shape)}."
        )
    return int(num_classes)


def check_samples(function: str, name: str, value) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value < 2**30:
        raise ValueError(f"{function}: {name} must be an integer, at least 1 and below 2**30, got {value!r}.")
