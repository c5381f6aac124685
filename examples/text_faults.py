"""One sentence under each fault of texts, at five rates and in two scripts: ``python examples/text_faults.py``.

It writes docs/guides/text-faults.md. With NOISEJAX_QUICK set to 1, it prints the page instead.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import noisejax as nj

PAGE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "text-faults.md"
SENTENCES = {
    "English": "The quick brown fox can’t jump over 3 lazy dogs.",
    "Greek": "Η γρήγορη αλεπού δεν πηδάει το τεμπέλικο σκυλί.",
}
RATES = (0.02, 0.05, 0.1, 0.2, 0.4)
GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
PAIRS = [
    ("the quick brown fox", "a quick brown fox"), ("lazy dogs", "lacy docks"), ("brown fox", "brown folks"),
    ("jump over", "jumper"), ("can’t jump", "can not jump"), ("το σκυλί", "το σκιλί"), ("η αλεπού", "η αλλεπού"),
] * 5  # fmt: skip

HEAD = """# What each fault does to a sentence

Written by `python examples/text_faults.py`. Every fault is shown at five rates, under one key. The rate is the
probability that an eligible character or word is hit, or the character error rate for the first six. `edits` is learnt
from seven pairs of phrases, and its rate is a strength.
"""


def noises(script: str) -> dict[str, Callable[[float], nj.Noise]]:
    text = nj.text
    letters = {"alphabet": GREEK} if script == "Greek" else {}

    def of(function: Any, **options) -> Callable[[float], nj.Noise]:
        return lambda rate: nj.bind(function, rate=rate, **options)

    model = text.fit_edits(*map(list, zip(*PAIRS, strict=True)))
    return {
        "typos": of(text.typos, **letters),
        "insert": of(text.insert, **letters),
        "delete": of(text.delete),
        "substitute": of(text.substitute, **letters),
        "transpose": of(text.transpose),
        "repeat": of(text.repeat),
        "keyboard": of(text.keyboard),
        "ocr": of(text.ocr),
        "homoglyph": of(text.homoglyph),
        "case": of(text.case),
        "whitespace": of(text.whitespace),
        "mojibake": of(text.mojibake, mode="element"),
        "misspell": of(text.misspell),
        "drop_words": of(text.drop_words),
        "edits": lambda rate: nj.bind(text.edits, model=model, strength=5 * rate),
    }


def page() -> str:
    parts, key = [HEAD], jax.random.key(3)
    for script, sentence in SENTENCES.items():
        parts.append(f"\n## {script}\n")
        for name, make in noises(script).items():
            parts += [f"\n`{name}`\n", "| rate | |", "|---|---|"]
            for rate in RATES:
                (noisy,) = nj.text.on_strings(make(rate))(key, [sentence])
                shown = noisy.replace("\t", "⇥").replace("\xa0", "⍽").replace("|", "\\|").replace("\n", "↵")
                shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
                parts.append(f"| {rate} | {shown.replace('  ', ' ␣')} |")
    return "\n".join(parts) + "\n"


def main() -> None:
    text = page()
    if os.environ.get("NOISEJAX_QUICK") == "1":
        print(text[:600])
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
