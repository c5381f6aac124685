"""Noises at the top level of the package, by family: their axes have no meaning, or they act on activations."""
