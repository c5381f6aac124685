"""Hand-written kernels as compilers for an H200 and for TPUs leave them: registers, memory, spills and inner loops.

The H200's compiler says what it launches with how much shared memory, and `ptxas` how many registers a thread has and
what it spills. The inner loop is counted in the machine code. A TPU's compiler writes its final bundles, each of which
takes a cycle at least, and the memory that they have. Nothing here measures time.
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Callable

import jax

from benchmarks import _h200, _tpu


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A kernel. An H200 has the spills in bytes of a thread, and instructions of a warp; a TPU has registers of 8 x 128
    that are spilled, and bundles.
    """

    launches: int  # of the whole program
    temporary: int  # bytes, of the whole program
    programs: int  # of the kernel's grid
    threads: int | None
    registers: int | None
    memory: int  # bytes shared by the threads of a program, or of a TPU's vector memory
    spills: int
    loop: int  # instructions or bundles of the inner loop
    rest: int  # those outside of it


def for_h200(function: Callable, names: tuple[str, ...], *arguments) -> dict[str, Compiled]:
    """By name, kernels of a function of arrays (or their shapes and dtypes)."""
    folder = _emptied(_h200.dumps())
    sharding = _h200.target()
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), arguments)
    os.environ["NOISEJAX_CUBINS"] = str(folder)
    try:
        compiled = jax.jit(function).lower(*shapes).compile()
    finally:
        del os.environ["NOISEJAX_CUBINS"]
    text = next(folder.glob("*.thunk_sequence.txt")).read_text()
    launched = re.findall(r" (\w+) grid: \[(\d+), (\d+), (\d+)\] threads: \[(\d+), .*?shared_memory: (\d+) bytes", text)
    others = len(re.findall(r": k(?:Copy|Memset\w*|Gemm|CuDnn|Cublas\w*) ", text))
    code, said = {}, {}
    for cubin in folder.glob("*.cubin"):
        if any(f".text.{name}\0".encode() in cubin.read_bytes() for name in names):
            code.update(_h200.listing(cubin))
            said.update(_said(cubin.with_suffix(".said").read_text()))
    found, temporary = {}, compiled.memory_analysis().temp_size_in_bytes
    for name, *grid, threads, shared in launched:
        if name in names:
            loop, rest = _loop(code[name])
            registers, spills = said[name]
            programs = math.prod(map(int, grid))
            count = len(launched) + others
            found[name] = Compiled(count, temporary, programs, int(threads), registers, int(shared), spills, loop, rest)
    return found


def _emptied(folder: pathlib.Path) -> pathlib.Path:
    for old in folder.iterdir():
        old.unlink()
    return folder


def _said(text: str) -> dict[str, tuple[int, int]]:
    """Registers of a thread and bytes that it spills, stored and loaded, of each kernel."""
    found = re.findall(
        r"Function properties for (\w+)\s+\d+ bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers",
        text,
        re.DOTALL,
    )
    return {name: (int(registers), int(stored) + int(loaded)) for name, stored, loaded, registers in found}


def _loop(code: list[str]) -> tuple[int, int]:
    """Instructions of the longest loop, and those outside of it."""
    labels, count, longest = {}, 0, 0
    for line in code:
        if match := re.match(r"(\.L_x_\d+):", line):
            labels[match[1]] = count
            continue
        if re.match(r"NOP\b", line):
            continue
        count += 1
        target = re.search(r"\bBRA\b.*\((\.L_x_\d+)\)", line)
        if target and target[1] in labels:
            longest = max(longest, count - labels[target[1]])
    longest = longest if longest > 1 else 0  # after the end of the code there is a jump to itself
    return longest, count - longest


def for_tpu(device: str, function: Callable, names: tuple[str, ...], *arguments) -> dict[str, Compiled]:
    folder = _emptied(_tpu.dumps())
    sharding = _tpu.target(device)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), arguments)
    compiled = jax.jit(function).lower(*shapes).compile()
    written = _h200.launched(compiled.as_text())
    found = {}
    for path in folder.glob("*-final_bundles.txt"):
        name = next((n for n in sorted(names, key=len, reverse=True) if n in path.name), None)
        if name is None or "schedule-analysis" in path.name or "static_gap" in path.name:
            continue
        allocated = next(folder.glob(f"*{_kernel_of(path)}-[0-9]*-post-ra.txt")).read_text()
        sizes = re.findall(r"#allocation\w* \[shape = .*?, space=vmem, size = (0x[0-9a-f]+)", allocated)
        spills = len(re.findall(r"#allocation\w*_spill \[shape = .*?, space=vmem", allocated))
        memory = sum(int(size, 16) for size in sizes)
        loop, rest = _bundles(path.read_text())
        temporary = compiled.memory_analysis().temp_size_in_bytes
        found[name] = Compiled(len(written), temporary, 0, None, None, memory, spills, loop, rest)
    return found


def _kernel_of(path: pathlib.Path) -> str:
    return re.sub(r"-\d+-final_bundles$", "", path.stem).split("-", 1)[1]


def _bundles(text: str) -> tuple[int, int]:
    """Bundles of the inner loop, and those of the loop over the grid that are not in it."""
    depth: dict[int, int] = {}
    for marks in re.findall(r"^ *(?:0x[0-9a-f]+|0) +(?:\w\w)? *: *([> ]*)\{", text, re.MULTILINE):
        level = marks.count(">")
        depth[level] = depth.get(level, 0) + 1
    inner = max(depth)
    return (depth[inner], sum(n for level, n in depth.items() if 0 < level < inner)) if inner > 1 else (0, depth[1])
