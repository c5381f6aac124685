"""How noises draw: a key, a tag and an index determine one 32-bit word, and a word determines a draw.

Words, from `noisejax._random.stream` (`words` documents the guarantees):

- ``words_like(key, "tag", x)``: one word for each element of x.
- ``words(key, "tag", **along(x, (0,)))``: one word for each example of x, of shape (B, 1, ...).
- ``words(key, "tag", **all_but(x, (-1,)))``: one word for each place, shared along the last axis.
- ``words(key, "tag", ())``: one word.
- ``fold(key, ids)``: a stream for each integer id, to map over. ``stage(key, "name")``: the stream of a part.
- ``positions(x, axis)``: the index along an axis, of x's rank.

Give each draw of a noise its own tag: the name of the noise for the first, ``"name.what"`` for others.

Draws from words, from `noisejax._random.sample`; one word each unless noted:

- ``bernoulli(w, rate)``; ``uniform(w)`` on [0, 1), ``symmetric_uniform(w)`` on [-1, 1], ``open_uniform(w)`` on (0, 1):
  multiples of 2**-24, so that quantiles beyond that need a word of more bits.
- ``normal(w, into=x.dtype)``, ``exponential(w)``, ``laplace(w)``.
- ``student_t(w, w2, df)``, ``symmetric_beta(w, w2, alpha)``: two words. ``poisson(w, mean)``.
  ``stable.stable(w, w2, alpha, beta, continuous)``.
- ``integers(w, w2, n)``: two words, uniform on 0, ..., n - 1. ``permutation(key, "tag", n)``.

Every draw fuses into its consumer, does not depend on batch, device or sharding, and keeps x's sharding.
"""
