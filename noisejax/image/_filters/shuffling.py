"""The local shuffle of frosted glass: every pixel in turn takes the value of a neighbour."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_DOUBLINGS = 5  # a chain of more than 32 steps has a probability below 1e-7 per picture


def offsets(w: jax.Array, reach: int) -> tuple[jax.Array, jax.Array]:
    """Two whole numbers for each word, uniform on -reach to reach - 1: from its halves."""
    n = np.uint32(2 * reach)
    high, low = w >> np.uint32(16), w & np.uint32(0xFFFF)
    down, right = ((half * n >> np.uint32(16)).astype(jnp.int32) - reach for half in (high, low))
    return down, right


def shuffled(x: jax.Array, down: jax.Array, right: jax.Array, reach: int) -> jax.Array:
    """One pass over a picture (H, W, C): from the last pixel to the first, each takes the value of a neighbour.

    ``down`` and ``right`` are the offsets (H, W) to the neighbour. Pixels closer to an edge than the definition visits
    stay. A neighbour that was visited before, which has the larger index, hands on its new value, so values move along
    chains. The ends of all chains are found at once by doubling.
    """
    height, width, channels = x.shape
    place = lax.iota(jnp.int32, height * width)
    rows, columns = (np.arange(n)[:, None] for n in (height, width))
    visited = ((rows > reach) & (rows <= height - reach)) & ((columns > reach) & (columns <= width - reach)).T
    moved = jnp.where(jnp.asarray(visited), down * width + right, 0).reshape(-1)
    source = place + moved
    if reach > 1:  # with a reach of 1 no offset leads forward
        end = jnp.maximum(source, place)

        def double(end, _):
            return end.at[end].get(mode="promise_in_bounds"), None

        end = lax.scan(double, end, None, _DOUBLINGS)[0]
        source = source.at[end].get(mode="promise_in_bounds")
    return x.reshape(-1, channels).at[source].get(mode="promise_in_bounds").reshape(x.shape)
