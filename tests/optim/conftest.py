"""What several tests of optimizers need."""

import jax
import pytest


@pytest.fixture
def as_optax_needs():
    """Its Adam, schedules and contrib promote dtypes, which the suite's settings refuse; so do Flax's layers."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
