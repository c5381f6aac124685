"""Hand-written Pallas kernels, for GPUs (by Triton) and TPUs, each with a plain jnp form that says what it computes.

No device has measured one to win yet, so `implementation=None` takes none of them.
"""
