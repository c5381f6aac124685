"""Doubts about an attack: losses that are not finite, and gradients that vanish. They are no evidence of robustness."""

import contextlib
import contextvars
import warnings
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_recorder: contextvars.ContextVar[list[jax.Array] | None] = contextvars.ContextVar("noisejax_doubts", default=None)


def host_value(value) -> np.ndarray | None:
    """A value as NumPy where it is known: not of a tracer, nor of an array that other processes hold parts of."""
    if isinstance(value, Tracer) or (isinstance(value, jax.Array) and not value.is_fully_addressable):
        return None
    return np.asarray(value)


@contextlib.contextmanager
def recording() -> Iterator[list[jax.Array]]:
    """Collects which examples met losses that are not finite, one (B,) mask for each attack, instead of warning."""
    found: list[jax.Array] = []
    token = _recorder.set(found)
    try:
        yield found
    finally:
        _recorder.reset(token)


def doubt(name: str, broken: jax.Array, flat: jax.Array | None = None) -> None:
    """Warns about examples on which an attack says little. Inside jit, where nothing is known yet, it does not.

    Args:
      name: the attack.
      broken: (B,) booleans, where a loss was not finite and the attack did not succeed.
      flat: (B,) booleans, where every gradient was 0 and the attack did not succeed.
    """
    found = _recorder.get()
    if found is not None:
        found.append(broken)
        return
    broke = (
        "the loss of {} of {} examples is not finite at some of the points that were tried. This is no evidence of "
        "robustness: look for overflow, log(0) or 0 / 0 in the model."
    )
    vanished = (
        "every gradient of the loss is 0 for {} of {} examples, which leaves the attack without a direction. This is "
        "no evidence of robustness: look for a saturated loss (replace cross_entropy by log_odds or dlr), for "
        "quantization, or for stopped gradients."
    )
    only_flat = None if flat is None else flat & ~broken
    for mask, text in ((broken, broke), (only_flat, vanished)):
        known = None if mask is None else host_value(mask)
        if known is not None and known.any():
            warnings.warn(f"{name}: {text.format(int(known.sum()), known.size)}", UserWarning, stacklevel=4)


def depends_on_batch(predict: Callable, x: jax.Array) -> bool:
    """Whether the outputs for some examples change when they are asked for in another order, among other examples."""
    few = x[:8]
    alone = host_value(predict(few))
    among = host_value(predict(jnp.concatenate([few[::-1], jnp.flip(few, axis=-1)])))
    if alone is None or among is None:  # inside jit, where also the results for values that are known are traced
        return False
    alone, among = alone.astype(np.float32), among.astype(np.float32)
    if among.shape != (2 * len(few), *alone.shape[1:]):  # a model of one batch size
        return False
    among = among[: len(few)][::-1]
    known = np.isfinite(alone) & np.isfinite(among)
    apart = np.abs(np.where(known, alone, 0) - np.where(known, among, 0))
    return bool(np.max(apart, initial=0) > 1e-3 * np.max(np.abs(alone), initial=0, where=known))
