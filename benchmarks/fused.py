"""`noisejax.fused` compared with the unfused forms: time in one run with turns, and memory of compiled programs.

Attention is (1, 8, T, 64) with dropout at a rate of 0.1: compared with that of Flax, whose dropout draws for every
probability (`broadcast_dropout=False`), with the same formula and `nj.dropout`, and at rate 0 with
`jax.nn.dot_product_attention`. Losses are smoothed cross entropies compared with `optax.smooth_labels` and
`optax.softmax_cross_entropy`. The product is 512 x 4096 by 4096 x 4096 with Gaussian noise on the weights. Forward and
backward is one compiled gradient of a sum of squares.

Times are medians of 7 turns at T = 1024 and 5 at 2048, and one turn at 4096, where a call takes many seconds. Nothing
is timed at 8192, and bfloat16 up to 2048. Temporaries are those that XLA says it allocates besides arguments and
results; they are the same however busy the machine is. The unfused attention is not run where its temporaries exceed
6 GB.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import noisejax as nj
from benchmarks import measure

HEADS, FEATURES, RATE = 8, 64, 0.1
MIB = 2**20
LARGEST = 6 * 2**30  # bytes of temporaries of a program that is run


def run(smoke: bool) -> Iterator[dict]:
    lengths = (256,) if smoke else (1024, 2048, 4096)
    for length in (256,) if smoke else (1024, 2048, 4096, 8192, 16384, 32768, 65536):
        yield memory(length)
    for length in lengths:
        yield from times(length, jnp.float32)
    for length in lengths[:2]:
        yield from times(length, jnp.bfloat16)
    for shape in ((64, 2048),) if smoke else ((1024, 32_768), (2048, 131_072)):
        for dtype in (jnp.float32, jnp.bfloat16):
            yield losses(shape, dtype, timed=shape[0] < 2048)
    for dtype in (jnp.float32, jnp.bfloat16):
        yield product((64, 256) if smoke else (512, 4096), dtype)


def attentions() -> dict[str, Callable]:
    key = jax.random.key(0)

    def unfused(q, k, v):
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) / jnp.float32(FEATURES**0.5)
        weights = jax.nn.softmax(scores).astype(q.dtype)
        return jnp.einsum("bhqk,bkhd->bqhd", nj.dropout(key, weights, RATE), v)

    def flax(q, k, v):
        return nnx.dot_product_attention(q, k, v, broadcast_dropout=False, dropout_rng=key, dropout_rate=RATE)

    return {
        "fused": lambda q, k, v: nj.fused.attention(key, q, k, v, RATE),
        "fused, causal": lambda q, k, v: nj.fused.attention(key, q, k, v, RATE, causal=True),
        "fused, rate 0": lambda q, k, v: nj.fused.attention(None, q, k, v, 0.0),
        "unfused": unfused,
        "Flax": flax,
        "jax.nn, rate 0": lambda q, k, v: jax.nn.dot_product_attention(q, k, v),
    }


def compiled(function: Callable, *shapes) -> dict[str, jax.stages.Compiled]:
    """The programs of a function and of the gradient of a sum of its squares in all floats."""
    places = tuple(n for n, s in enumerate(shapes) if jnp.issubdtype(s.dtype, jnp.floating))

    def loss(*given):
        return (function(*given).astype(jnp.float32) ** 2).sum()

    both = {"forward": jax.jit(function), "forward and backward": jax.jit(jax.grad(loss, places))}
    return {way: program.lower(*shapes).compile() for way, program in both.items()}


def temporaries(program: jax.stages.Compiled) -> int:
    analysis = program.memory_analysis()
    assert analysis is not None, "this backend does not say what it allocates"
    return analysis.temp_size_in_bytes


def memory(length: int) -> dict:
    row: dict = {"attention, T": length}
    for name in ("fused", "unfused", "Flax"):
        if name != "fused" and length > 16384:
            row[f"{name} MiB"] = row[f"{name} MiB, both"] = None  # 32-bit sizes of XLA's buffers end here
            continue
        shapes = [jax.ShapeDtypeStruct((1, length, HEADS, FEATURES), jnp.float32)] * 3
        forward, both = compiled(attentions()[name], *shapes).values()
        row |= {f"{name} MiB": temporaries(forward) / MIB, f"{name} MiB, both": temporaries(both) / MIB}
    return row


def times(length: int, dtype) -> Iterator[dict]:
    arrays = [jax.random.normal(jax.random.key(n), (1, length, HEADS, FEATURES)).astype(dtype) for n in range(3)]
    programs = {name: compiled(function, *arrays) for name, function in attentions().items()}
    for way in ("forward", "forward and backward"):
        ways = {n: p[way] for n, p in programs.items() if temporaries(p[way]) <= LARGEST}
        rounds = 7 if length < 2048 else 5 if length < 4096 else 1
        seconds = measure.interleaved({n: lambda p=p: p(*arrays) for n, p in ways.items()}, rounds=rounds, budget=4.0)
        row = {"attention, T": length, "dtype": jnp.dtype(dtype).name, "way": way}
        row |= {f"{n} ms": 1e3 * seconds[n] if n in seconds else None for n in programs}

        def ratio(one: str, other: str, seconds=seconds) -> float | None:
            return seconds[one] / seconds[other] if one in seconds and other in seconds else None

        row["Flax / fused"], row["unfused / fused"] = ratio("Flax", "fused"), ratio("unfused", "fused")
        row["jax.nn / fused, rate 0"] = ratio("jax.nn, rate 0", "fused, rate 0")
        row["causal / fused"] = ratio("fused, causal", "fused")
        yield row


def losses(shape: tuple[int, int], dtype, timed: bool) -> dict:
    def fused(logits, labels):
        return nj.fused.cross_entropy(logits, labels, 0.1).mean()

    def rows(logits, labels):
        target = optax.smooth_labels(jax.nn.one_hot(labels, shape[1], dtype=dtype), 0.1)
        return optax.softmax_cross_entropy(logits, target).astype(jnp.float32).mean()

    given = [jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(shape[:1], jnp.int32)]
    programs = {
        n: jax.jit(jax.value_and_grad(f)).lower(*given).compile() for n, f in (("fused", fused), ("rows", rows))
    }
    size = shape[0] * shape[1] * jnp.dtype(dtype).itemsize
    row: dict = {"loss, logits": f"{shape[0]} x {shape[1]}", "dtype": jnp.dtype(dtype).name}
    row |= {f"{n}: temporaries / logits": temporaries(p) / size for n, p in programs.items()}
    seconds: dict[str, float] = {}
    if timed:
        logits = jax.random.normal(jax.random.key(0), shape).astype(dtype)
        labels = jax.random.randint(jax.random.key(1), shape[:1], 0, shape[1])
        seconds = measure.interleaved({n: lambda p=p: p(logits, labels) for n, p in programs.items()}, rounds=7)
    row |= {f"{n} ms": 1e3 * seconds[n] if timed else None for n in programs}
    return row | {"rows / fused": seconds["rows"] / seconds["fused"] if timed else None}


def product(shape: tuple[int, int], dtype) -> dict:
    rows, n = shape
    key, noise = jax.random.key(0), nj.bind(nj.gaussian, std=0.1)
    arrays = [jax.random.normal(key, s).astype(dtype) for s in ((rows, n), (n, n))]
    ways = {
        "fused": compiled(lambda x, w: nj.fused.noisy_dense(key, x, w, noise), *arrays),
        "unfused": compiled(lambda x, w: x @ noise(key, w), *arrays),
    }
    row: dict = {"noisy product": f"{rows} x {n} by {n} x {n}", "dtype": jnp.dtype(dtype).name}
    for way in ("forward", "forward and backward"):
        calls = {name: lambda p=programs[way]: p(*arrays) for name, programs in ways.items()}
        seconds = measure.interleaved(calls, rounds=7)
        share = {name: temporaries(programs[way]) / arrays[1].nbytes for name, programs in ways.items()}
        row |= {f"{way}: {name} temporaries / w": value for name, value in share.items()}
        row |= {f"{way}: {name} ms": 1e3 * value for name, value in seconds.items()}
        row[f"{way}: fused / unfused"] = seconds["fused"] / seconds["unfused"]
    return row
