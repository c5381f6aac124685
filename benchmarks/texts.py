"""Faults of 2,000 texts of 192 characters at an error rate of .05, compared with nlpaug and textnoisr.

``taskset -c 0 python -m benchmarks.run texts`` in an environment with ``nlpaug==1.1.11`` and ``textnoisr==1.2.0``.
Peers that are missing are left out. All run on the same core. nlpaug has no error rate: it runs at its default amounts,
and the error rate that it gives is shown. Where the form is `codes`, texts are encoded before; `strings` includes
encoding and decoding. nlpaug has no mixture of operations, so the mixture is compared with one operation of it.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import measure

LENGTH, COUNT, RATE = 192, 2000, 0.05
_FOUR = ("insert", "swap", "substitute", "delete")


def run(smoke: bool):
    strings = texts(20 if smoke else COUNT)
    text = jax.tree.map(jnp.asarray, nj.text.encode(strings))
    key = jax.random.key(0)
    for job, (noise, rivals) in jobs().items():
        ours, noisy = jax.jit(noise), nj.text.on_strings(noise)
        forms: dict[str, tuple[Callable, Callable]] = {
            "codes": (lambda ours=ours: ours(key, text), lambda ours=ours: nj.text.decode(ours(key, text))),
            "strings": (lambda noisy=noisy: noisy(key, strings),) * 2,
        }
        for form, (call, result) in forms.items():
            ways = {"noisejax": call}
            for rival, (make, _) in rivals.items():
                ways[rival] = lambda make=make: make(strings)
            seconds = measure.interleaved(ways, rounds=3 if smoke else 5, calls=1)
            for rival, (make, bars) in (rivals or {"none": (None, {})}).items():
                yield {
                    "fault": job,
                    "form": form,
                    "texts/s": len(strings) / seconds["noisejax"],
                    "error rate": error_rate(strings, result()),
                    "peer": rival,
                    "peer texts/s": len(strings) / seconds[rival] if make else None,
                    "peer error rate": error_rate(strings, make(strings)) if make else None,
                    "times as fast": seconds[rival] / seconds["noisejax"] if make else None,
                    "bar": bars.get(form),
                }


def texts(count: int) -> list[str]:
    """Prose of this project's pages, in windows of one length."""
    root = Path(__file__).resolve().parents[1]
    lines = [line for page in sorted(root.glob("docs/guides/*.md")) for line in page.read_text().splitlines()]
    prose = " ".join(line.strip() for line in lines if line[:1].isalpha() and not set(line) & set("|=#`"))
    starts = np.linspace(0, len(prose) - LENGTH, count).astype(int)
    return [prose[start : start + LENGTH] for start in starts]


def error_rate(clean: list[str], noisy: list[str]) -> float:
    from rapidfuzz.distance import Levenshtein

    return sum(map(Levenshtein.distance, clean, noisy)) / sum(map(len, clean))


def jobs() -> dict[str, tuple[nj.Noise, dict[str, tuple[Callable, dict[str, float]]]]]:
    """By the name of a job: the noise, and its peers as functions of strings, with the bars of each form."""
    text = nj.text
    found = {name: nj.bind(getattr(text, name), rate=RATE) for name in ("typos", "substitute", "delete", "insert")}
    found |= {name: nj.bind(getattr(text, name), rate=RATE) for name in ("keyboard", "ocr", "misspell")}
    rivals: dict[str, dict] = {name: {} for name in found}
    if importlib.util.find_spec("nlpaug"):
        import nlpaug.augmenter.char as characters  # pyright: ignore[reportMissingImports]
        import nlpaug.augmenter.word as words  # pyright: ignore[reportMissingImports]

        made = {
            "typos": (characters.RandomCharAug(action="insert"), {"codes": 10, "strings": 3}),
            "substitute": (characters.RandomCharAug(action="substitute"), {"codes": 20, "strings": 3}),
            "delete": (characters.RandomCharAug(action="delete"), {"strings": 3}),
            "insert": (characters.RandomCharAug(action="insert"), {"strings": 3}),
            "keyboard": (characters.KeyboardAug(), {"codes": 20, "strings": 3}),
            "ocr": (characters.OcrAug(), {"codes": 20, "strings": 3}),
            "misspell": (words.SpellingAug(), {"strings": 3}),
        }
        for name, (way, bars) in made.items():
            rivals[name]["nlpaug"] = (lambda strings, way=way: way.augment(strings), bars)
    if importlib.util.find_spec("textnoisr"):
        from textnoisr.noise import CharNoiseAugmenter  # pyright: ignore[reportMissingImports]

        for name, actions in {
            "typos": _FOUR, "substitute": ("substitute",), "delete": ("delete",), "insert": ("insert",),
            "keyboard": ("substitute",),
        }.items():  # fmt: skip
            way = CharNoiseAugmenter(noise_level=RATE, actions=actions, seed=0)
            bars = {"codes": 5} if name in ("typos", "substitute", "keyboard") else {}
            rivals[name]["textnoisr"] = (lambda strings, way=way: [way.add_noise(s) for s in strings], bars)
    return {name: (noise, rivals[name]) for name, noise in found.items()}
