"""Is the character error rate the rate that was asked for? On real texts in two scripts.

    python -m experiments.text_rates

Protocol. Texts: 2,000 reviews of fine foods, cut at 300 characters (English), and the messages of Django's Russian
translation (needs ``pip install django``), joined to texts of at least 150 characters; both with three texts of 0, 1
and 2 characters. The single messages are shown as well: half of them are shorter than 20 characters, and near the ends
of a text errors merge less, which the curve for a long text does not know. (In a first run they were the only Russian
texts, and missed the bar at .5 for two operations.) Every operation of characters, and the default mixture, at rates 0,
.01, .05, .1, .2, .3 and .5. Faults that need certain characters count all characters (``of="all"``), at rates that
every text longer than 20 can reach; shorter texts are left out for them. The error rate is the Levenshtein distance
(rapidfuzz) of all texts, divided by their length. The bar for its difference to the rate is .005, or three standard
errors over texts if that is more.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import noisejax as nj
from experiments import _dirty

RATES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
RUSSIAN = "".join(map(chr, range(0x430, 0x450)))
SHORT = {"English": ["", "a", "ab"], "Russian": ["", "я", "да"]}
PLAIN = ("typos", "insert", "delete", "substitute", "repeat", "transpose")
ELIGIBLE = ("keyboard", "ocr", "homoglyph", "case", "whitespace", "mojibake")


def reviews() -> list[str]:
    sys.path.insert(0, str(_dirty.ROOT / "examples"))
    import _reviews  # pyright: ignore[reportMissingImports]

    return [text[:300] for text in _reviews.strings()[1][0][0][:2000]]


def messages() -> list[str]:
    """The strings of Django's Russian translation; none where Django is not installed."""
    import importlib.util

    found = importlib.util.find_spec("django")
    if found is None or found.origin is None:
        return []
    pages = sorted(Path(found.origin).parent.rglob("locale/ru/LC_MESSAGES/*.po"))
    parts = [m for page in pages for m in re.findall(r'^msgstr(?:\[\d\])? ((?:".*"\n)+)', page.read_text(), re.M)]
    lines = ["".join(re.findall(r'"(.*)"\n', part)).replace("\\n", "\n") for part in parts]
    return [line[:300] for line in dict.fromkeys(lines) if re.search("[а-я]", line) and "Project-Id" not in line]


def joined(strings: list[str]) -> list[str]:
    texts = [""]
    for string in strings:
        texts[-1] += f" {string}" if texts[-1] else string
        if len(texts[-1]) >= 150:
            texts.append("")
    return texts[:-1]


def measured(noise: Callable, strings: list[str]) -> tuple[float, float]:
    """The error rate of all strings together, and its standard error."""
    from rapidfuzz.distance import Levenshtein

    text = nj.text.encode(strings, length=1024)
    noisy = nj.text.decode(noise(jax.random.key(4), text))
    found = np.array([Levenshtein.distance(a, b) for a, b in zip(strings, noisy, strict=True)], float)
    sizes = np.array(list(map(len, strings)), float)
    mean = found.sum() / sizes.sum()
    return float(mean), float(np.sqrt(((found - mean * sizes) ** 2).sum()) / sizes.sum())


def main() -> None:
    given = _dirty.arguments(__doc__ or "", dirty=False)
    rows = []
    short = messages()
    for script, strings in (("English", reviews()), ("Russian", joined(short)), ("Russian, messages", short)):
        if not strings:
            print(f"{script}: skipped, since Django is not installed.")
            continue
        strings = strings[:100] if given.smoke else strings
        letters: Any = {} if script == "English" else {"alphabet": RUSSIAN}
        for name in (*PLAIN, *ELIGIBLE):
            function, options = getattr(nj.text, name), {}
            if name in ("typos", "insert", "substitute"):
                options = letters
            if name in ELIGIBLE:
                options = {"of": "all"} | ({"mode": "element"} if name == "mojibake" else {})
            if name == "keyboard" and script != "English":
                options |= {"layout": "jcuken"}
            texts = strings + SHORT[script[:7]] if name in PLAIN else [text for text in strings if len(text) > 20]
            for rate in RATES if texts else ():
                try:
                    mean, error = measured(nj.bind(function, rate=rate, **options), texts)
                except ValueError as why:  # some text has too few characters that can change
                    if "rate must be at most" not in str(why):
                        raise
                    break
                bar = max(0.005, 3 * error)
                rows.append(
                    {"script": script, "texts": len(texts), "fault": name, "rate": rate, "error rate": mean, "bar": bar}
                )
                print(script, name, rate, round(mean, 4), "" if abs(mean - rate) <= bar else "MISSED", flush=True)
    _dirty.write("text_rates", {"rows": rows}, given.out)


if __name__ == "__main__":
    main()
