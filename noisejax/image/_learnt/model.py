"""The learnt noise of a camera, as values."""

import jax
import numpy as np

from noisejax._calls.fitted import Fitted

LEVELS = 16  # points of the brightness curve


class SensorModel(Fitted):
    """The noise of a camera as `fit_sensor` found it. All sizes are for pictures in [0, 1].

    Args:
      sizes: the standard deviation of the noise in each of the N fitted pictures, (N,).
      spectrum: the power of each frequency, (S, S) in the order of `numpy.fft.fft2`, with mean 1.
      channels: a factor (C, C) that makes independent fields of unit variance as correlated as the channels are.
      curve: the noise at brightness 0 to 1 relative to its mean, (16,) at equal steps; ones without a curve.
    """

    sizes: jax.Array
    spectrum: jax.Array
    channels: jax.Array
    curve: jax.Array

    def __repr__(self):
        shapes = (np.shape(self.sizes)[0], np.shape(self.spectrum)[0], np.shape(self.channels)[0])
        return "SensorModel({} pictures, {} frequencies along each axis, {} channels)".format(*shapes)
