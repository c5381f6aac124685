"""What the layers of `noisejax.nnx` and `noisejax.linen` share."""
