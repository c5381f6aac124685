"""Chooses the implementation by name, and raises an error with the reason where it cannot run."""

from collections.abc import Callable

import jax

IMPLEMENTATIONS = (None, "xla", "pallas", "interpret", "compile")


def dispatch(name: str, implementation: str | None, reason: str | None, specification: Callable, kernel: Callable):
    """Calls the specification or the kernel.

    Args:
      name: of the operation, for errors.
      implementation: None or "xla" for the specification, "pallas" for the kernel on a GPU, "interpret" for the kernel
        run by Pallas' interpreter, on any machine, "compile" for the kernel on any backend, to compile it without a
        GPU. None is "xla" as long as the kernel has not won on a device.
      reason: why the kernel cannot take these arguments, or None if it can: a predicate's answer, since a lowering
        error comes too late to fall back from.
      specification: a function without arguments.
      kernel: a function of `interpret`.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"{name}: implementation must be one of {IMPLEMENTATIONS}, got {implementation!r}.")
    if implementation in (None, "xla"):
        return specification()
    if reason is None and implementation == "pallas" and jax.default_backend() != "gpu":
        reason = f"it is written for GPUs and the default backend is {jax.default_backend()}"
    if reason is not None:
        raise ValueError(f"{name}: the kernel cannot run: {reason}. Use implementation=None.")
    return kernel(interpret=implementation == "interpret")
