"""Hand-written kernels, each with its specification in plain jnp.

They are not in the package: a kernel moves there when it beats XLA's version of its specification in context, on a real
device, and `python -m benchmarks.run hand_kernels` measures that. None has been measured on one yet.
"""
