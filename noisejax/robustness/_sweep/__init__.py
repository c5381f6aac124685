"""How a sweep runs: programs for JAX predictors, calls of host predictors, resampling and checkpoints."""
