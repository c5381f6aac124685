"""The noises of the top level, by family: their axes have no meaning, or they act on activations."""
