"""Noise on labels: wrong, missing or smoothed classes.

Each function except `smooth` is an array noise, ``f(key, x, amount)``, on integer labels x of any shape and dtype. It
works with `nj.bind`, `nj.on_entries`, `nj.chain` and every other combinator. ``nj.changed(x, y).mean()`` gives the
realized rate of a draw. ``nj.hits(noise)(key, x)`` gives the mask, for noises that draw one.

NumPy labels outside [0, num_classes) raise. On a device or under jit the host cannot read labels: those outside are
unchanged and never hit, so the -1 of a missing label survives. In NumPy, mark them with ``where=labels >= 0``, and in
`smooth` with ``ignore=-1``.

Regression targets are ordinary numbers: apply `nj.gaussian`, `nj.laplace` or `nj.student_t` to them.
"""

from noisejax.labels._smoothing import smooth as smooth
from noisejax.labels._wrong import flip as flip, flip_by as flip_by, flip_pairs as flip_pairs, missing as missing

__all__ = ["flip", "flip_by", "flip_pairs", "missing", "smooth"]
