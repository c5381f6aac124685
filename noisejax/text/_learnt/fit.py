"""Learns a noisy channel of texts from pairs of a clean and a noisy string."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from noisejax.text._codes import decode, encode, strings_of
from noisejax.text._learnt.align import Pair, distances, pair_of, words_of
from noisejax.text._learnt.channel import Channel, channel_of
from noisejax.text._learnt.model import EditModel
from noisejax.text._learnt.rows import tables

_STEADY = 0.7  # a segment that changes more often than this is a convention: it changes in all texts alike
_LEVELS = np.array([0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0])
_MANY = 3000  # texts in a simulation
_LONG = 3  # times the median
_APART = 20  # different texts, below which the rates are judged on the texts that they come from


def fit_edits(clean: Sequence[str], noisy: Sequence[str]) -> EditModel:
    """Learns what people or machines do to texts from pairs of strings, clean and noisy, for the noise `edits`.

    The noise then imitates the noisy texts: for test sets, reports and tuning on realistic errors. It does not promise
    a more accurate model: what a recognizer destroys, no noise in training brings back. Several hundred pairs are
    enough for typing errors, and recognized speech needs thousands.

    What is learnt: what segments of one to four words become, and how often; the same for classes of segments that the
    pairs do not have, by their length and by whether their words are known; which segments sound alike; edits of one or
    two characters; and how much the number of errors differs from text to text. Rates of unseen segments come from
    words that occur in one text alone. All rates are then scaled until the word error rate of texts that the rates were
    not learnt from is the observed one: smoothing and edits that cancel each other lose a part of it.

    Args:
      clean, noisy: strings, pair by pair. Several noisy forms of one clean string are pairs with the same clean string.
        Use training data only.

    Returns:
      The fitted model. ``print(model)`` shows it, and ``model.rates()`` has its numbers.

    Raises:
      ImportError: rapidfuzz is not installed.
      TypeError: clean and noisy are not sequences of strings.
      ValueError: they have different lengths, or no clean string has a word.

    References:
      Brill and Moore, "An improved error model for noisy channel spelling correction", ACL 2000 (edits of segments);
      Laird, "Nonparametric maximum likelihood estimation of a mixing distribution", 1978 (levels of texts); Soundex
      (Russell and Odell, 1918) for the sound of a word.

    Example:
      >>> import noisejax as nj
      >>> print(nj.text.fit_edits(["turn it on", "turn it off"] * 10, ["turn on", "turn it of"] * 10))
      word error rate 33.3%, unchanged texts 0.0%, 2 different edits
      <BLANKLINE>
      segment  becomes    rate    95 % interval    occurrences
      -------  ---------  ------  ---------------  -----------
      it       (deleted)  50.0%   29.9% to 70.1%   20
      off      of         100.0%  72.2% to 100.0%  10
    """
    distances()
    before, after = strings_of("fit_edits", clean, name="clean"), strings_of("fit_edits", noisy, name="noisy")
    if len(before) != len(after):
        raise ValueError(
            f"fit_edits: clean and noisy must be pairs, so have one length, got {len(before)} and {len(after)}."
        )
    pairs = [pair_of(*strings) for strings in zip(before, after, strict=True)]
    pairs = [pair for pair in pairs if pair.words]
    if not pairs:
        raise ValueError("fit_edits: clean must have at least one string with a word, got only blank ones.")
    count = sum(len(pair.words) for pair in pairs)
    errors = sum(pair.errors for pair in pairs)
    channel = channel_of(pairs)
    halves = _halves(pairs)
    others = [channel_of(half) for half in halves] if len(halves) > 1 else [channel, channel]
    judged = [*zip(others, reversed(halves), strict=True)] if len(halves) > 1 else [(channel, pairs)]
    levels, shares = _levels(judged)
    scale = _calibrated(judged, levels, shares)
    observed = np.array([errors / count, np.mean([not pair.errors for pair in pairs])], np.float32)
    return assembled(channel, levels, shares, scale, observed)


def _halves(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """The pairs of every other clean string, and the rest; one part if there are few different ones."""
    number = {clean: n for n, clean in enumerate(dict.fromkeys(pair.clean for pair in pairs))}
    if len(number) < _APART:
        return [list(pairs)]
    return [[pair for pair in pairs if number[pair.clean] % 2 == part] for part in (0, 1)]


def _levels(judged: Sequence[tuple[Channel, Sequence[Pair]]]) -> tuple[np.ndarray, np.ndarray]:
    """The levels of texts and their shares, with mean 1, by maximum likelihood: hits of a text are Poisson."""
    found = [(channel.hazard(pair.words), len(pair.hits)) for channel, pairs in judged for pair in pairs]
    expected, hits = np.array(found, float).T
    total = expected.sum()
    if not total or not hits.sum():
        return np.ones(len(_LEVELS)), np.full(len(_LEVELS), 1 / len(_LEVELS))
    mean = _LEVELS * (expected * hits.sum() / total)[:, None]
    log = hits[:, None] * np.log(np.maximum(mean, 1e-12)) - mean
    like = np.exp(log - log.max(1, keepdims=True))
    shares = np.full(len(_LEVELS), 1 / len(_LEVELS))
    for _ in range(300):
        weight = shares * like
        shares = (weight / weight.sum(1, keepdims=True)).mean(0)
    return _LEVELS / (shares @ _LEVELS), shares


def _calibrated(judged: Sequence[tuple[Channel, Sequence[Pair]]], levels, shares) -> float:
    """The factor of all rates at which the word error rate of simulated texts is that of the pairs."""
    simulations = [_simulation(channel, pairs, levels, shares) for channel, pairs in judged]
    target = sum(goal for goal, _ in simulations)
    scale = 1.0
    for _ in range(6 if target else 0):
        rate = sum(run(scale) for _, run in simulations)
        if not rate or abs(rate / target - 1) < 0.005:
            break
        scale = float(np.clip(scale * target / rate, 0.1, 10))
    return scale


def _simulation(channel: Channel, pairs: Sequence[Pair], levels, shares) -> tuple[float, Callable[[float], float]]:
    """The word error rate of some pairs, and a function that simulates that of a channel on their clean strings."""
    from noisejax.text._learnt.edits import edits

    # Long texts would make every text of the batch long.
    usual = _LONG * np.median([len(pair.clean) for pair in pairs])
    pairs = [pair for pair in pairs if len(pair.clean) <= usual]
    texts = [pair.clean for pair in pairs]
    texts = (texts * (_MANY // len(texts) + 1))[:_MANY]
    longest = max(map(len, texts))
    text = encode(texts, length=-(-(longest + longest // 2 + 32) // 64) * 64)
    model = assembled(channel, levels, shares, 1.0, np.zeros(2, np.float32))
    words = [words_of(string) for string in texts]
    count, distance = sum(map(len, words)), distances().distance

    def run(scale: float) -> float:
        noisy = decode(edits(jax.random.key(16), text, model, scale))
        return sum(distance(a, words_of(b)) for a, b in zip(words, noisy, strict=True)) / count

    return sum(pair.errors for pair in pairs) / sum(len(pair.words) for pair in pairs), run


def assembled(channel: Channel, levels, shares, scale: float, observed: np.ndarray) -> EditModel:
    """The model of a channel, with the levels of texts and their shares, and all rates times a scale."""
    hazards = np.concatenate([[0.0], np.geomspace(1e-4, 50, 400)])
    reached = 1 - np.exp(-hazards[:, None] * levels) @ shares

    def hazard(probability: Any) -> Any:
        """The hazard at which a segment is hit with a probability, over all levels."""
        return scale * np.interp(probability, reached, hazards)

    limit = min(_STEADY, 0.9 * reached[-1])
    return tables(channel, hazard, limit, levels, np.cumsum(shares), observed)
