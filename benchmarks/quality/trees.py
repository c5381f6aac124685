"""The words of trees of `nj.key`'s own keys, for a battery that reads them from a pipe.

``python -m benchmarks.quality.trees AXIS | RNG_test stdin32 -tlmax 256MB``. The axes of the programs in C are trees of
JAX's own Threefry; here the library's generator makes the keys too:

  tree      65,536 keys, the splits of splits, each in turn; each of their foldings gives 16 words
  split     the splits of one key, 1 word of each: split4 and split16 take more words
  fold      its foldings: fold4, fold16
  ids       4 words of the stream that `per_example` gives to each id
  chain     key, sub = split(key), 4 words of sub, and so on

Each but `tree` ends after 64 million words (256 MB), `tree` after twice as many.
"""

import re
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from noisejax._random.stream import fold, words

WORDS, KEYS = 2**26, 2**20  # in all, and keys at a time


def blocks(axis: str, root: jax.Array) -> Iterator[jax.Array]:
    if axis == "tree":
        keys = jax.vmap(lambda key: jax.random.split(key, 256))(jax.random.split(root, 256)).ravel()
        level = jax.jit(lambda n: jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, n), (16,)))(keys).T)
        yield from (level(n) for n in range(128))
    elif axis == "chain":

        def step(key, _):
            key, sub = jax.random.split(key)
            return key, jax.random.bits(sub, (4,))

        link = jax.jit(lambda key: jax.lax.scan(step, key, length=2**18))
        for _ in range(WORDS // 2**20):
            root, drawn = link(root)
            yield drawn
    else:
        each = int((re.findall(r"\d+", axis) or ["4" if axis == "ids" else "1"])[0])
        count = min(KEYS, WORDS // each)
        if axis.startswith("split"):
            keys = jax.random.split(root, WORDS // each).reshape(-1, count)

            def draw(n):
                return jax.vmap(lambda key: jax.random.bits(key, (each,)))(keys[n])

        elif axis.startswith("fold"):

            def draw(n):
                ids = n * count + jnp.arange(count)
                return jax.vmap(lambda i: jax.random.bits(jax.random.fold_in(root, i), (each,)))(ids)
        else:

            def draw(n):
                return jax.vmap(lambda key: words(key, "ids", (each,)))(fold(root, n * count + jnp.arange(count)))

        draw = jax.jit(draw)
        yield from (draw(n) for n in range(WORDS // each // count))


def main() -> int:
    axis = sys.argv[1] if len(sys.argv) == 2 else ""
    if not re.fullmatch(r"tree|chain|ids|(split|fold)(4|16)?", axis):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for block in blocks(axis, nj.key(1)):
            sys.stdout.buffer.write(np.asarray(block, np.uint32).tobytes())
    except BrokenPipeError:  # PractRand has read enough
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
