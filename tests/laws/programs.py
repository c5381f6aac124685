"""The programs that the laws of one case share.

Compiling is what a law costs. So each program is compiled once and serves every law that asks something it can answer:
the noise, the keys and x are its arguments, and other amounts, keys and values cost nothing. `conftest.py` runs the
laws of one case one after the other, so few programs are kept. What a noise does when it is called eagerly is one
compiled program of the noise itself, which laws share by calling it with the same shapes and dtypes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj

of_a_case = functools.lru_cache(maxsize=2)


# From their words, since to split a key and to take the parts from an array are programs too.
WORDS = np.random.default_rng(2026).integers(2**32, size=(8, 2), dtype=np.uint32)
KEYS = [jax.random.wrap_key_data(words) for words in WORDS]
THREE = jax.random.wrap_key_data(WORDS[:3])


def direction(case) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(case.x().shape, np.float32)


@of_a_case
def jitted(case):
    """``(noise, key, x)`` to the value and the mask of what it hits (None where it does not say); and its traces."""
    traces = []

    @jax.jit
    def program(noise, key, x):
        traces.append(noise)
        return noise(key, x), nj.hits(noise)(key, x) if case.hits else None

    return program, traces


@jax.jit
def one_by_one(noise, key, xs, where, lengths):
    """The noise on each of several arrays, of any dtypes and shapes: the last with padding, the others without."""
    *plain, padded = xs
    return [noise(key, x) for x in plain], noise(key, padded, where=where, lengths=lengths)


def kinds(case) -> dict[str, np.ndarray]:
    """What a case is asked to act on besides its float32 array."""
    x, image = case.x(), np.asarray(case.array(jnp.uint8))
    found = {"bfloat16": x.astype(jnp.bfloat16), "float16": x.astype(np.float16), "empty": x[:0]}
    if case.elementwise and not case.options:
        found |= {"scalar": np.float32(1.5), "line": np.ones(7, np.float32)}
    if case.images:
        found["uint8"] = image
    if case.integers:
        found["int32"] = integers(case)
    return found


def integers(case) -> np.ndarray:
    """Integers of which none is a float32."""
    x = case.x()
    return 2**24 + 1 + 2 * np.arange(x.size, dtype=np.int32).reshape(x.shape)


def padding(case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of where and lengths: the first says what is padding, then the second, then both."""
    x = case.x()
    some, all_of_it = np.random.default_rng(1).random(x.shape) < 0.5, np.ones(x.shape, bool)
    short = np.arange(len(x), dtype=np.int32) % (x.shape[1] + 1)
    full = np.full(len(x), x.shape[1], np.int32)
    return [(some, full), (all_of_it, short), (some, short)]


@of_a_case
def on_kinds(case):
    """``(noise)`` to the value for every kind of x, and ``(noise, where, lengths)`` to that for x with padding."""
    given, key = kinds(case), KEYS[0]

    def run(noise, where=None, lengths=None):
        if where is None:
            where, lengths = padding(case)[0]
        values, padded = one_by_one(noise, key, [*given.values(), case.x()], where, lengths)
        return dict(zip(given, values, strict=True)) | {"padded": padded}

    return run


@of_a_case
def batched(case):
    """Keys and amounts mapped over by `jax.vmap`, an amount per example, and draws per example, in one program."""

    reads_batch = case.function.__noise__.sees == "batch"  # such a noise is refused, in tests/core/test_compose.py

    @jax.jit
    def program(noises, keys, column, noise, ids, key, x):
        return {
            "mapped": jax.vmap(lambda noise, key: noise(key, x))(noises, keys),
            "column": column(key, x),
            "per_example": None if reads_batch else nj.per_example(noise, ids)(key, x),
        }

    def run(ids, x):
        noises = jax.tree.map(lambda *leaves: np.stack(leaves), *(case.bind(**a) for a in alternating(case)))
        column = case.bind(**{case.per_example: columns(case)}) if case.per_example else case.bind()
        return program(noises, THREE, column, case.bind(), ids, KEYS[0], x)

    return run


def alternating(case) -> list[dict]:
    return [case.amounts, case.other, case.amounts]


def columns(case) -> np.ndarray:
    """An amount for every example: the one at which it acts, and another one, in turn."""
    x, name = case.x(), case.per_example
    even = np.arange(len(x)) % 2 == 0
    column = np.where(even, case.amounts[name], case.other[name]).astype(np.float32)
    return column.reshape((-1,) + (1,) * (x.ndim - 1))


@of_a_case
def chained(case):
    """``(first, second, key, x)`` to both in a chain, traced while reuse of a key is an error."""

    @jax.jit
    def program(first, second, key, x):
        return nj.chain(first, second)(key, x)

    def run(*args):
        with jax.debug_key_reuse(True):
            return program(*args)

    return run


def sine(noise, x, key):
    """A loss, and the noise's value."""
    y = noise(key, x)
    return jnp.sum(jnp.sin(y)), y


gradients = jax.grad(sine, (0, 1), has_aux=True)


@of_a_case
def differentiated(case):
    """Reverse mode of the loss, forward over reverse, and forward mode of the noise itself, at amounts that learn."""

    @jax.jit
    def program(learning, noise, key, x, direction):
        at_x = functools.partial(gradients, learning, key=key)
        (first, y), (second, y_slope) = jax.jvp(at_x, (x,), (direction,))
        still = gradients(noise, x, key)[0][0]
        return {
            "value": y,
            "value_slope": y_slope,
            "x": first[1],
            "second_order": second[1],
            "learnt_amounts": first[0],
            "amounts": still,
        }

    def run(**amounts) -> dict:
        learning, noise = case.bind(**amounts, learn=True), case.bind(**amounts)
        return program(learning, noise, KEYS[0], case.x(), direction(case))

    return run
