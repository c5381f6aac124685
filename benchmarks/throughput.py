"""The speed of a noise, compared with a copy, jax.random under each key implementation, flax, NumPy and torch.

Each time is for a jitted call on an existing array. The limit is a copy (x * 1.5): it reads x once and
writes the result once, and forward and backward it does both twice. `% of copy` is a copy's time, measured in the same
run, over that of the noise; GB/s counts the bytes that the copy moves. Two parts: three jobs done by every rival over
sizes and dtypes, and every noise of the package at one size.

Arrays are batches, (examples, 1024). Flat ones are measured at the main size too: XLA's loop over a flat array on
several threads of a CPU counts in 64 bits, and takes almost twice as long as one over rows.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

import noisejax as nj
from benchmarks import measure, rivals

# Keyed by the names of amounts, so that a new noise is measured without a line here.
AMOUNTS = {
    "alpha": 0.1,
    "bits": 4.0,
    "df": 4.0,
    "exponent": 1.0,
    "half_width": 0.1,
    "high": 1.0,
    "holes": 2.0,
    "mantissa_bits": 4.0,
    "nu": 0.05,
    "photons": 100.0,
    "rate": 0.1,
    "scale": 0.1,
    "size": 8.0,
    "snr_db": 20.0,
    "std": 0.1,
    "step": 0.1,
    "time": 3600.0,
    "width": 8.0,
}
OPTIONS = {"drop_block": {"block_size": 3}}
# Noises that know their axes act on pictures (B, 32, 32, 4) or series (B, 256, 16), the rest on a batch of rows.
PICTURES = {"channel_dropout", "pixel_dropout", "spatial_dropout", "random_erasing", "cutout", "coarse_dropout"}
PICTURES |= {"grid_mask", "drop_block", "drop_path", "gaussian_snr"}
SERIES = {"colored", "time_mask", "freq_mask", "swap"}
OTHER = {"labels"}  # its noises act on labels and not on large arrays


def run(smoke: bool) -> Iterator[dict]:
    yield from deep(smoke)
    yield from all_noises(smoke)


def headline() -> int:
    """The size at which everything is measured: it stays in the cache of a CPU and leaves that of an accelerator."""
    return 2**26 if measure.accelerator() else 2**20


def deep(smoke: bool) -> Iterator[dict]:
    sizes = [2**28, 2**24, 2**20, 2**16] if measure.accelerator() else [2**16, 2**24, 2**22, 2**18]
    main = 2**12 if smoke else headline()
    plan = [(main, jnp.float32, "forward", "")]
    if not smoke:
        plan += [(main, jnp.bfloat16, "forward", ""), (main, jnp.float32, "forward", ", flat")]
    plan.append((main, jnp.float32, "forward+backward", ""))
    if not smoke:
        plan.append((main, jnp.bfloat16, "forward+backward", ""))
        plan += [(s, d, "forward", "") for s in sizes for d in (jnp.float32, jnp.bfloat16)]
    for size, dtype, mode, form in plan:
        which = ("forward", "forward+backward").index(mode)
        full = size == main and not smoke
        for job in rivals.NOISEJAX:
            impls = rivals.IMPLEMENTATIONS if full and job != "chain of five" else rivals.FEW
            array = (size,) if form else (size // 1024, 1024)
            found = rivals.ways(job, array, dtype, implementations=impls, compiled_torch=full)
            timed = {way: pair[which] for way, pair in found.items() if pair[which] is not None}
            if job == "chain of five" and mode == "forward" and full:
                timed |= _stages(array, dtype)
            seconds = measure.interleaved(timed, budget=2.0 if full else 0.1 if smoke else 0.8)
            for way, time in seconds.items():
                yield _row(job + form, mode, size, dtype, way, time, seconds["copy"], seconds["noisejax"])
        jax.clear_caches()


def _stages(array: tuple[int, ...], dtype) -> dict[str, Callable]:
    """Each noise of the chain alone; then all of them, the chain and a copy without memory that hides arithmetic.

    A pass over memory computes while it waits, so that a stage's time minus a copy's is not its arithmetic. Therefore
    they also run on an array that stays in the cache, in a loop whose keys change (otherwise XLA would draw once,
    before the loop).
    """
    key, x, small = jax.random.key(0), rivals.data(array, dtype), rivals.data((32, 1024), dtype)
    stages = {f.__name__: nj.bind(f, **a) for f, a in rivals.CHAIN}
    timed = {f"{name} alone": rivals.pair(noise, key, x)[0] for name, noise in stages.items()}

    def turns(noise):
        def turn(n, state):
            key, x = state
            return key + jnp.uint32(1), noise(jax.random.wrap_key_data(key), x)

        run = jax.jit(lambda key, x: jax.lax.fori_loop(0, 64, turn, (key, x))[1])
        return lambda: run(jax.random.key_data(key), small)

    looped = {
        "copy": lambda key, x: x * jnp.asarray(0.99, x.dtype),
        "chain": rivals.NOISEJAX["chain of five"],
        **stages,
    }
    return timed | {f"{name} in cache": turns(noise) for name, noise in looped.items()}


def all_noises(smoke: bool) -> Iterator[dict]:
    size = 2**12 if smoke else headline()
    for dtype in [jnp.float32] if smoke else [jnp.float32, jnp.bfloat16, jnp.float16, jnp.uint8]:
        timed: dict[str, Callable] = {}
        for name, noise, shape in noises(size):
            if smoke and name not in ("gaussian", "mask", "image.cutout", "signal.time_mask"):
                continue
            key, x = jax.random.key(0), jnp.abs(rivals.data(shape, jnp.float32))
            x = (x * (200 if dtype == jnp.uint8 else 1)).astype(dtype)
            try:
                jax.eval_shape(noise, key, x)
            except TypeError:  # not a noise of this dtype, or not of arrays
                continue
            timed[name] = functools.partial(jax.jit(noise), key, x)
        x = rivals.data((size // 1024, 1024), dtype)
        seconds = measure.interleaved({"copy": rivals.copy(x)[0], **timed}, budget=0.2 if smoke else 4.0)
        for name, time in seconds.items():
            yield _row(
                name, "forward", size, dtype, "copy" if name == "copy" else "noisejax", time, seconds["copy"], None
            )


def noises(size: int) -> Iterator[tuple[str, nj.Noise, tuple[int, ...]]]:
    """Every public array noise, bound to amounts, and the shape of what it acts on; says which it leaves out."""
    rooms = [room for name, room in vars(nj).items() if inspect.ismodule(room) and name[0] != "_" and name not in OTHER]
    for room in [nj, *rooms]:
        for name, function in sorted(vars(room).items()):
            if name.startswith("_") or getattr(getattr(function, "__noise__", None), "kind", None) != "array":
                continue
            parameters = inspect.signature(function).parameters
            if not known(function):
                _say(f"{name} is left out: no number is known for its amounts")
                continue
            required = [a for a in function.__noise__.amounts if parameters[a].default is inspect.Parameter.empty]
            address = name if room is nj else f"{room.__name__.rpartition('.')[2]}.{name}"
            bound = nj.bind(function, **{a: AMOUNTS[a] for a in required}, **OPTIONS.get(name, {}))
            yield address, bound, shape(name, size)


def known(function: Callable) -> bool:
    """Whether there are numbers for all that a noise needs. Faults of tables and images have other benchmarks."""
    module = inspect.unwrap(function).__module__
    if module.startswith("noisejax.image.") and module != "noisejax.image._erasing":
        return False
    parameters = list(inspect.signature(function).parameters.values())[2:]
    needed = [p for p in parameters if p.default is p.empty]
    options = OPTIONS.get(function.__name__, {})
    return all(p.name in (options if p.kind is p.KEYWORD_ONLY else AMOUNTS) for p in needed)


@functools.cache
def _say(once: str) -> None:
    print(once)


def shape(name: str, size: int) -> tuple[int, ...]:
    if name in PICTURES:
        return (size // 4096, 32, 32, 4)
    return (size // 4096, 256, 16) if name in SERIES else (size // 1024, 1024)


def _row(job, mode, size, dtype, way, seconds, copy, ours) -> dict:
    moved = size * jnp.dtype(dtype).itemsize * (2 if mode == "forward" else 4)
    return {
        "job": job,
        "mode": mode,
        "size": size,
        "dtype": jnp.dtype(dtype).name,
        "way": way,
        "ms": 1e3 * seconds,
        "GB/s": moved / seconds / 1e9,
        "% of copy": 100 * copy / seconds,
        "noisejax is faster": None if ours is None else seconds / ours,
    }


def show(rows: list[dict]) -> None:
    """Milliseconds, and percent of a copy in brackets."""

    def cell(row):
        return f"{row['ms']:.3g} ({row['% of copy']:.0f}%)"

    for mode in ("forward", "forward+backward"):
        for job in (name + form for form in ("", ", flat") for name in rivals.NOISEJAX):
            some = [r for r in rows if r["mode"] == mode and r["job"] == job and r["noisejax is faster"] is not None]
            if some:
                print(f"\n{job}, {mode}: ms (% of copy)")
                order = sorted(some, key=lambda r: (r["dtype"] != "float32", r["size"]))
                measure.table(measure.pivot(order, "way", lambda r: f"{r['dtype']} 2^{_log2(r['size'])}", cell))
    for line in stages(rows):
        print(line)
    some = [r for r in rows if r["noisejax is faster"] is None]
    if some:
        print(f"\nevery noise, forward, 2^{_log2(some[0]['size'])} elements: ms (% of copy)")
        measure.table(measure.pivot(some, "job", lambda r: r["dtype"], cell))


def stages(rows: list[dict]) -> Iterator[str]:
    """The chain, one loop, against its five stages: as five passes, and their arithmetic in cache."""
    for dtype in ("float32", "bfloat16"):
        ms = {
            r["way"]: r["ms"]
            for r in rows
            if r["job"] == "chain of five"
            and r["mode"] == "forward"
            and r["dtype"] == dtype
            and r["size"] == headline()
        }
        passes = [t for way, t in ms.items() if way.endswith(" alone")]
        cached = {way.removesuffix(" in cache"): t for way, t in ms.items() if way.endswith(" in cache")}
        if passes and cached:
            chain, copy = cached.pop("chain"), cached.pop("copy")
            arithmetic = copy + sum(t - copy for t in cached.values())
            yield (
                f"chain of five, {dtype}: {ms['noisejax']:.3g} ms, {ms['noisejax'] / sum(passes):.2f} of its stages "
                f"one after another; in cache {chain / arithmetic:.2f} of one copy and its stages' arithmetic"
            )


def _log2(size: int) -> int:
    return round(math.log2(size))
