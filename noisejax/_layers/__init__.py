"""Code shared by the layers of `noisejax.nnx` and `noisejax.linen`."""
