"""Strict by default: what a careful user's settings would refuse must not happen here."""

import os

# Eight devices on one host, before jax starts: the sharding laws need them, nothing else minds.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")


@pytest.fixture
def key():
    return jax.random.key(2026)
