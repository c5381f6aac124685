"""Noises of texts on strings, on the host: for tokenizers, data loaders and data frames."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import jax
import numpy as np
from jax.core import Tracer

from noisejax._calls.fitted import is_fitted
from noisejax._combinators.compose import per_example, reads_batch
from noisejax._noise import stages
from noisejax._padded import Padded
from noisejax._random import host
from noisejax._random.stream import enter
from noisejax.text._codes import decode, encode, strings_of
from noisejax.text._graphemes import Graphemes

_ROWS = 512  # strings of a batch
_SHORTEST = 64  # the smallest capacity


@dataclasses.dataclass(frozen=True)
class OnStrings:
    """A noise of texts as a function of strings, which `noisejax.text.on_strings` makes. It can be pickled."""

    noise: Callable
    alphabet: Graphemes | None = None

    @overload
    def __call__(self, key: jax.Array, strings: str, *, ids: Any = None) -> str: ...
    @overload
    def __call__(self, key: jax.Array, strings: Sequence[str], *, ids: Any = None) -> list[str]: ...
    def __call__(self, key, strings, *, ids=None):
        """The noisy strings.

        Args:
          key: a JAX key. It must be known: strings live on the host.
          strings: a list of strings, or one string.
          ids: integers, the number of each string. None for 0, 1, ...

        Returns:
          A list of strings, or a string for one.
        """
        key = enter("on_strings", key)
        host.known("on_strings", key)
        single = isinstance(strings, str)
        given = [strings] if single else strings
        if not single and hasattr(given, "__len__") and not len(given):
            return []
        given = strings_of("on_strings", given)
        ids = np.atleast_1d(np.arange(len(given)) if ids is None else np.asarray(ids))
        if ids.dtype.kind not in "iu" or ids.shape != (len(given),):
            raise ValueError(
                f"on_strings: ids must be {len(given)} integers, one for each string, got {ids.dtype} of shape "
                f"{ids.shape}."
            )
        with _on_cpu(ids) as ids:
            noisy = self._noisy(key, given, ids)
        return noisy[0] if single else noisy

    def _noisy(self, key: Any, strings: list[str], ids: np.ndarray) -> list[str]:
        out = list(strings)
        order = np.argsort([len(string) for string in strings], kind="stable")  # strings of similar lengths together
        for start in range(0, len(order), _ROWS):
            rows = order[start : start + _ROWS]
            longest = len(strings[rows[-1]])
            capacity = max(_SHORTEST, _step(longest + longest // 4 + 8))
            while len(rows):
                noisy, lost = self._batch(key, [strings[row] for row in rows], ids[rows], rows, len(strings), capacity)
                for row, string in zip(rows, noisy, strict=True):
                    out[row] = string
                rows, capacity = rows[lost > 0], 2 * capacity  # draws do not depend on the capacity
        return out

    def _batch(self, key, strings, ids, rows, n: int, capacity: int) -> tuple[list[str], np.ndarray]:
        """The noisy strings of one batch, and how many characters of each were cut."""
        size = len(strings)
        room = 1 << (size - 1).bit_length()  # batches of few sizes, since each size is compiled
        take = np.concatenate([rows, np.full(room - size, rows[0])])

        def cut(leaf):
            """The amounts of these strings."""
            own = not is_fitted(leaf) and np.ndim(leaf) and np.shape(leaf)[0] == n and n > 1
            return np.asarray(leaf)[take] if own else leaf

        noise = jax.tree.map(cut, self.noise, is_leaf=is_fitted)
        text = encode(strings + [""] * (room - size), length=capacity, alphabet=self.alphabet)
        ids = np.concatenate([ids, np.zeros(room - size, ids.dtype)])
        noisy = per_example(noise, ids)(key, text)
        if not isinstance(noisy, Padded):
            raise TypeError(f"on_strings: noise must return a Padded for a Padded, got a {type(noisy).__name__}.")
        return decode(noisy, alphabet=self.alphabet)[:size], np.asarray(noisy.lost)[:size]


def on_strings(noise: Callable, *, alphabet: Graphemes | None = None) -> OnStrings:
    """A noise of texts as a function of strings, ``(key, strings) -> strings``, for tokenizers and data loaders.

    Strings are encoded, run through the same function on the CPU, and decoded. The noise of a string depends on the
    key and the string's number alone, so data can be worked through in batches of any size and in any order. It is that
    of ``nj.per_example(noise, ids)`` on the encoded strings, on any device, to the bit. Nothing is cut: a string whose
    noisy form does not fit is drawn again with more room, with the same errors.

    Args:
      noise: a noise of texts, such as ``nj.bind(nj.text.typos, rate=0.1)``, or a chain of several. An amount of shape
        (B, 1) holds one value for each of B strings.
      alphabet: `graphemes` of strings, which keeps combining marks and emoji whole.

    Returns:
      A function of a key and of strings or one string, with the optional argument ``ids``: the number of each string.
      `noisejax.robustness` accepts it in a family with ``on="host"``.

    Raises:
      TypeError: the noise reads other examples of the batch, or strings are not strings.
      ValueError: a string has a lone surrogate.

    Example:
      >>> import jax, noisejax as nj
      >>> noisy = nj.text.on_strings(nj.bind(nj.text.typos, rate=0.2))
      >>> noisy(jax.random.key(0), ["the quick brown fox", "jumps"])
      ['the quick rownbfox', 'jumps']
      >>> noisy(jax.random.key(0), "jumps", ids=1)
      'jumps'
    """
    (noise,) = stages("on_strings", (noise,))
    if (reader := reads_batch(noise)) is not None:
        raise TypeError(f"on_strings: {reader} reads the other examples of a batch, and each string is alone.")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(noise)):
        raise TypeError(
            "on_strings: noise must not be traced, since strings are made on the host. Inside of jax.jit, call the "
            "noise itself on encoded strings."
        )
    if alphabet is not None and not isinstance(alphabet, Graphemes):
        raise TypeError(f"on_strings: alphabet must be made by nj.text.graphemes(strings), got {alphabet!r:.60}.")
    return OnStrings(noise, alphabet)


@contextlib.contextmanager
def _on_cpu(ids: np.ndarray) -> Iterator[np.ndarray]:
    """The CPU, and 64 bits only for numbers that need them."""
    small = not ids.size or (ids.min() >= 0 and ids.max() < 2**32)
    with jax.default_device(host.cpu()), jax.enable_x64(not small):
        yield ids.astype(np.uint32) if small else ids


def _step(n: int) -> int:
    """The next larger of 64, 96, 128, 192, 256, ...: few capacities, since each is compiled."""
    power = 1 << (n - 1).bit_length()
    return 3 * power // 4 if n <= 3 * power // 4 else power
