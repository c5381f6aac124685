"""Chooses the implementation by name, and raises an error with the reason where it cannot run."""

from typing import Any

import jax

from noisejax import _checks

PUBLIC = (None, "xla", "pallas")


def kernel(function: str, implementation: str | None, reason: str | None) -> dict[str, Any] | None:
    """How `pallas_call` is to run a kernel, or None for the plain form.

    Args:
      function: of the operation, for errors.
      implementation: None or `"xla"` for the plain form, `"pallas"` for the kernel. None is the plain form until the
        kernel has won on a device. Tests and benchmarks also have `"interpret"`, for the kernel in Pallas' interpreter,
        and `"gpu"` and `"tpu"`, to compile it where there is no such device.
      reason: why the kernel cannot take these arguments, or None if it can: a predicate's answer, since a lowering
        error comes too late to fall back from.
    """
    if not (isinstance(implementation, str) and implementation in ("interpret", "gpu", "tpu")):
        _checks.one_of(function, "implementation", implementation, PUBLIC)
    if implementation in (None, "xla"):
        return None
    backend = {"pallas": jax.default_backend()}.get(implementation, implementation)
    if reason is None and backend not in ("gpu", "tpu", "interpret"):
        reason = f"it is written for GPUs and TPUs, and the default backend is {backend}"
    if reason is not None:
        raise ValueError(
            f"{function}: implementation='pallas' cannot run here: {reason}. Leave implementation out for the form "
            "that runs everywhere."
        )
    return {"interpret": backend == "interpret", "gpu": backend == "gpu"}


def parameters(how: dict[str, Any], warps: int, stages: int = 2) -> dict[str, Any]:
    """The arguments of `pallas_call` that say how it is compiled."""
    if how["interpret"] or not how["gpu"]:
        return {"interpret": how["interpret"]}
    from jax.experimental.pallas import triton  # pyright: ignore[reportMissingImports] only where a GPU is meant

    return {"compiler_params": triton.CompilerParams(num_warps=warps, num_stages=stages)}
