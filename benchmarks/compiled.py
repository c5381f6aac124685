"""What the compiler makes of noise: loops over x, temporaries and collectives, read from the compiled program."""

import jax
import jax.numpy as jnp

import noisejax as nj
from benchmarks import measure  # noqa: F401  (every program of this folder is run the same way)
from benchmarks.throughput import CHAIN


def run(smoke: bool) -> list[dict]:
    size = 2**16 if smoke else 2**22
    key, x = jax.random.key(0), jnp.ones(size)
    three = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1), nj.bind(nj.speckle, std=0.1))
    programs = {
        "gaussian": nj.bind(nj.gaussian, std=0.1),
        "dropout": nj.bind(nj.dropout, rate=0.1),
        "chain(gaussian, mask, speckle)": three,
        "chain of five": nj.chain(*(nj.bind(f, **a) for f, a in CHAIN)),
    }
    rows = []
    for name, noise in programs.items():
        forward = jax.jit(noise).lower(key, x).compile()
        backward = jax.jit(jax.grad(lambda x, noise=noise: jnp.sum(noise(key, x)))).lower(x).compile()
        rows.append(
            {
                "program": name,
                "size": size,
                "loops over x": loops(forward, size),
                "temporary bytes": forward.memory_analysis().temp_size_in_bytes,
                "temporary bytes, gradient": backward.memory_analysis().temp_size_in_bytes,
            }
        )
    return rows


def loops(compiled, size: int) -> int:
    """How many instructions of the entry computation write something of the size of x."""
    text = compiled.as_text()
    lines = text[text.index("ENTRY") :].splitlines()
    written = [line.split(" = ")[1] for line in lines if " = " in line and "parameter(" not in line]
    return sum(f"[{size}]" in line.split("(")[0] for line in written)
