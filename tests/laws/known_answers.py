"""What the noises of all cases draw under one key: a few values of each, and a checksum of the mask of its hits.

After a change of the bits (CONTRIBUTING.md, "When the bits change"), ``python tests/laws/known_answers.py`` writes them
again. Nothing else may change its output.
"""

import json
import pathlib
import sys
import zlib

import jax
import numpy as np

FILE = pathlib.Path(__file__).with_name("known_answers.json")
SEED, PLACES = 2026, 8


def places(size: int) -> np.ndarray:
    return np.linspace(0, size - 1, PLACES).astype(int)


def checksum(mask) -> int:
    return zlib.crc32(np.packbits(np.asarray(mask)).tobytes())


def answers(case) -> dict:
    import noisejax as nj

    key, x = jax.random.key(SEED), case.array()
    value = np.asarray(case.bind()(key, x), np.float64).reshape(-1)
    found = {"values": [float(f"{v:.6g}") for v in value[places(value.size)]]}
    return found | ({"hits": checksum(nj.hits(case.bind())(key, x))} if case.hits else {})


def main() -> None:
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    from cases import CASES

    rows = (
        f"{json.dumps(case.name)}: {json.dumps(answers(case))}" for case in sorted(CASES, key=lambda case: case.name)
    )
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
