"""Strict by default: what a careful user's settings would refuse must not happen here."""

import os

# Eight devices on one host, before jax starts: the sharding laws need them, nothing else minds.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

pytest_plugins = ["slowest", "left_out", "without_caches"]

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")


@pytest.fixture
def key():
    return jax.random.key(2026)


def pytest_configure(config):
    # Most of the suite's time is compiling, and both workers compile alike: a second run takes a third of the time.
    jax.config.update("jax_compilation_cache_dir", str(config.rootpath / ".pytest_cache" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
