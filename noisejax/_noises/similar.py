"""Partners for mixing that have similar targets (C-Mixup)."""

from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._contract import wide
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax._sharding import automatic, axis_names, computed_once, with_axis_names

bandwidths = _checks.Range("at least 0, or inf", lambda v: v >= 0, "It is a distance of targets; inf ignores them.")


def check_similar(function: str, pairing: str, bandwidth: Any, targets: Any) -> None:
    """Requires a bandwidth and targets with ``pairing='similar'``, and neither without it."""
    for name, value in (("bandwidth", bandwidth), ("targets", targets)):
        if pairing == "similar" and value is None:
            raise ValueError(f"{function}: pairing='similar' compares targets: give bandwidth=... and targets=...")
        if pairing != "similar" and value is not None:
            raise ValueError(f"{function}: {name} is used with pairing='similar' only, got pairing={pairing!r}.")


def similar_partners(
    key: Any, tag: str, like: jax.Array, bandwidth: jax.Array, targets: list[jax.Array], shards: int
) -> jax.Array:
    """For each example the index of another one or itself, drawn with odds ``exp(-d**2 / (2 * bandwidth**2))``.

    Of exponential variables, each divided by its odds, every one is the smallest with a probability in proportion to
    its odds. So there is one word for each pair of examples, and no sum over the odds.

    Args:
      key, tag: as in `words`.
      like: an array of shape (n, ...) whose sharding along the first axis the partners have.
      bandwidth: a scalar, or of shape (n,).
      targets: arrays of shape (n, ...). d is the Euclidean distance of two examples in all of them.
      shards: the number of parts within which partners are drawn.
    """
    n = like.shape[0]
    size = n // shards
    names = axis_names(like, 1)[:1]
    w = words(key, tag, (n, size), sharding=with_axis_names(like, (*names, None)))
    own = jnp.zeros(n, jnp.int32, device=with_axis_names(like, names))
    bandwidth = jnp.maximum(bandwidth.astype(jnp.float32), 0)

    def within_parts(own, w, bandwidth, *targets):
        del own  # it says how the result is sharded
        bandwidth = jnp.broadcast_to(bandwidth, (n,)).reshape(shards, size, 1)
        squares = jnp.zeros((shards, size, size), jnp.float32)
        for target in targets:
            parts = wide(target).reshape(shards, size, -1)
            difference = (parts[:, :, None] - parts[:, None]).astype(jnp.float32)
            # Before they are squared, so that nothing overflows; and 0 / 0 is no distance.
            scaled = jnp.where(difference == 0, 0, difference / bandwidth[..., None])
            squares = squares + jnp.sum(scaled * scaled, axis=-1)
        itself = jnp.eye(size, dtype=bool)
        squares = jnp.where(itself, 0, jnp.where(jnp.isnan(squares), jnp.inf, squares))
        waiting = jnp.log(jnp.maximum(sample.exponential(w), 2**-33)).reshape(squares.shape)
        # The first index of the smallest: argmin would keep XLA from vectorizing what leads to it on CPUs. The times
        # are computed once, since a second computation might differ in its last bit, and none would equal the smallest.
        times = computed_once(squares / 2 + waiting)
        index = jnp.arange(size, dtype=jnp.int32)
        nearest = jnp.min(jnp.where(times == jnp.min(times, axis=-1, keepdims=True), index, size), axis=-1)
        return (nearest + size * jnp.arange(shards, dtype=jnp.int32)[:, None]).reshape(n)

    targets = [jax.lax.stop_gradient(target) for target in targets]
    return automatic(within_parts, own, w, jax.lax.stop_gradient(bandwidth), *targets) if n else own
