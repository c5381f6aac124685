"""The benchmarks that compile for other devices, and those of generators: what they read must be what is there."""

import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from benchmarks import _h200, candidates, compiled, generators, instructions
from benchmarks.quality import trees
from noisejax._random.stream import fold, words

# (k0, k1, tag, index) -> the word of the programs in C, benchmarks/quality/generators.h, with `second` of the tag.
INPUTS = ((0, 0, 0, 0), (0x12345678, 0x9ABCDEF0, 0xDEADBEEF, 0xFFFFFFFF), (0, 42, 0x6A09E667, 12345))
KNOWN = {
    "mix13c": (0x3F01C3A8, 0x08132AB3, 0x6622102D),
    "mix12": (0xEC61F02D, 0x27420305, 0xA809F869),
    "mix11": (0x9AC474F1, 0x93CAFF0C, 0x0A54857E),
    "mix14c": (0x8167A2B0, 0xB099DFCE, 0xE19041A6),
    "mix14b": (0x00000000, 0x77C96C7E, 0x6B1E4473),
    "mix13": (0x00000000, 0x8F9C5354, 0xF3D24805),
    "fin2": (0x00000000, 0xD2C4DB6F, 0xB29CFD43),
    "pcg4dw": (0xD3259BCF, 0x452332A7, 0xC7180879),
    "tf13": (0x9D1C5EC6, 0x74DBDBD1, 0xFBA87EA2),
    "tf20": (0x6B200159, 0x27AD4685, 0xC6D41A7C),
    "philox10": (0x6627E8D5, 0xE38148F6, 0xD7EA2DC4),
}


@pytest.mark.parametrize("name", [name for name, g in candidates.GENERATORS.items() if g.twin])
def test_words_are_those_of_the_programs_that_the_batteries_read(name):
    generator = candidates.GENERATORS[name]
    for (k0, k1, tag, index), known in zip(INPUTS, KNOWN[generator.twin], strict=True):
        # One call has an array for an index, as in a noise; jit, since 64-bit types are switched on inside.
        word = jax.jit(lambda i, k0, k1, tag=tag: generator.word(i, k0, k1, tag))
        drawn = word(jnp.full(3, index, jnp.uint32), jnp.uint32(k0), jnp.uint32(k1))
        assert drawn.tolist() == [known] * 3


# Of Random123's kat_vectors: rounds -> the block of counter 0 under key 0.
@pytest.mark.parametrize(("rounds", "block"), [(13, (0x9D1C5EC6, 0x8BD50731)), (20, (0x6B200159, 0x99BA4EFE))])
def test_threefry_is_the_published_one(rounds, block):
    zero = jnp.uint32(0)
    assert [int(word) for word in candidates.threefry(rounds)(zero, zero, zero, 0)] == list(block)


@pytest.mark.parametrize(
    ("rounds", "block"),
    [
        (7, (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        (10, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ],
)
@pytest.mark.parametrize("wide", [candidates.wide_multiply, candidates.multiply_wide])
def test_philox_is_the_published_one(rounds, block, wide):
    zero = jnp.uint32(0)
    drawn = jax.jit(lambda i: candidates.philox(rounds, wide)(i, zero, zero, 0))(zero)
    assert [int(word) for word in drawn] == list(block)


@pytest.mark.parametrize("passes", [1, 2])
def test_pcg4d_is_that_of_the_paper(passes):
    """Written out in 64-bit integers cut to 32 bits, from Jarzynski and Olano's listing."""
    mask, words = 0xFFFFFFFF, [7, 0x12345678, 0x9ABCDEF0, 0xDEADBEEF]
    for _ in range(passes):
        x, y, z, w = (v * 1664525 + 1013904223 & mask for v in words)
        x, y, z, w = x + y * w & mask, y, z, w
        y = y + z * x & mask
        z = z + x * y & mask
        w = w + y * z & mask
        x, y, z, w = (v ^ v >> 16 for v in (x, y, z, w))
        x = x + y * w & mask
        y = y + z * x & mask
        z = z + x * y & mask
        w = w + y * z & mask
        words = [x, y, z, w]
    drawn = candidates.pcg4d(passes)(jnp.uint32(7), jnp.uint32(0x12345678), jnp.uint32(0x9ABCDEF0), 0xDEADBEEF)
    assert [int(word) for word in drawn] == words


def test_by_lane_every_word_of_every_block_is_used_once():
    block = candidates.philox(7, candidates.multiply_wide)
    key = jnp.uint32(3), jnp.uint32(5), 11
    drawn = candidates.lanes(block, 4)(jnp.arange(64, dtype=jnp.uint32), *key)
    np.testing.assert_array_equal(drawn.reshape(16, 4), jnp.stack(block(jnp.arange(16, dtype=jnp.uint32), *key), -1))


def test_the_index_is_row_major():
    np.testing.assert_array_equal(generators.index((2, 3, 1, 5)), np.arange(30).reshape(2, 3, 1, 5))


def test_the_page_is_made_of_the_results_and_can_be_made_again():
    text = generators.PAGE.read_text()
    quality = {"rows": [verdict("mix13c", "idx", "clean"), verdict("mix13", "seed", "FAIL")]}
    results = {"generators-cpu": None, "generators-h200": None, "quality": quality}
    made = generators.page(text, results)
    assert generators.page(made, results) == made
    assert "| noisejax | this library | 1 axis, up to 32 GB; 1 clean | not run |" in made
    assert "**FAIL** on `seed`" in made
    outside = generators.END.format("quality")
    assert made.split(outside)[1] == text.split(outside)[1]


def verdict(generator, axis, said):
    return {"generator": generator, "axis": axis, "verdict": said, "battery": "practrand", "amount": "32 gigabytes"}


@pytest.mark.parametrize("axis", ["split4", "fold4", "ids", "chain", "tree"])
def test_trees_are_those_of_the_keys(axis, monkeypatch):
    """The first words of each axis, and that the next ones are of the next keys."""
    monkeypatch.setattr(trees, "WORDS", 2**20 if axis == "chain" else 64)
    monkeypatch.setattr(trees, "KEYS", 4)
    root, blocks = nj.key(7), trees.blocks(axis, nj.key(7))
    bits = functools.partial(jax.random.bits, shape=(4,))
    if axis == "chain":
        key, sub = jax.random.split(root)
        np.testing.assert_array_equal(next(blocks)[:2], [bits(sub), bits(jax.random.split(key)[1])])
        assert next(blocks, None) is None
    elif axis == "tree":
        leaf = jax.random.split(jax.random.split(root, 256)[1], 256)[2]
        want = jax.random.bits(jax.random.fold_in(leaf, 0), (16,))
        np.testing.assert_array_equal(next(blocks)[:, 256 + 2], want)
    else:
        want = {
            "split4": lambda n: bits(jax.random.split(root, 16)[n]),
            "fold4": lambda n: bits(jax.random.fold_in(root, n)),
            "ids": lambda n: words(fold(root, jnp.array(n)), "ids", (4,)),
        }[axis]
        want = [want(n) for n in range(16)]
        np.testing.assert_array_equal(np.concatenate(list(blocks)), want)


def test_a_program_over_its_budget_is_named():
    row = {"program": "dropout", "dtype": "float32", "shape": "flat", "direction": "forward", "launches": 1}
    row |= {"temporary bytes": 513, "instructions per element": instructions.BUDGETS["dropout"]["float32"][0]}
    assert instructions.broken(row) is None
    assert instructions.broken({**row, "program": "copy", "instructions per element": 1000.0}) is None
    assert "instructions per element" not in (instructions.broken({**row, "launches": 2}) or "")
    assert "2 launches" in instructions.broken({**row, "launches": 2})
    assert "67108864 bytes" in instructions.broken({**row, "temporary bytes": 2**26})
    assert "80.0 instructions" in instructions.broken({**row, "instructions per element": 80.0})


def test_every_program_has_a_budget_that_memory_would_allow_alone():
    assert set(instructions.BUDGETS) == set(instructions.NOISES)
    assert math.isclose(_h200.budget(8), 62.2, abs_tol=0.1)  # a float32 read and written at 4.3 TB/s
    for name in ("gaussian", "dropout", "mask"):
        assert instructions.BUDGETS[name]["float32"][0] < _h200.budget(8)
    assert instructions.BUDGETS["dropout"]["bfloat16"][0] < _h200.budget(4)


MACHINE_CODE = """
LDC R1, c[0x0][0x28]
@P0 BRA `(.L_x_1)
LDG.E.128 R4, desc[UR4][R2.64]
FADD R4, R4, R8
MUFU.RSQ R5, R4
MUFU.RSQ R6, R4
LOP3.LUT R6, R6, 0x1, RZ, 0x3c, !PT
STG.E.128 desc[UR4][R2.64], R4
EXIT
BRA `(.L_x_2)
NOP
"""


def test_instructions_are_counted_per_element_that_a_thread_writes():
    kernel = _h200._kernel("loop_add_fusion", MACHINE_CODE.strip().splitlines(), [(2**20, 32)])
    once = dict.fromkeys(("LDC", "BRA", "LDG", "FADD", "LOP3", "STG", "EXIT"), 1)
    assert kernel.kinds == once | {"MUFU": 2}
    assert (kernel.per_thread, kernel.per_element, kernel.branches) == (4, 2.25, 1)
    assert kernel.pipe() == ("special", 4.0)  # 2/4 per element, at an eighth of the rate
    narrow = _h200._kernel("loop_add_fusion", MACHINE_CODE.strip().splitlines(), [(2**20, 16)])
    assert narrow.per_thread == 8


def test_launches_are_read_from_the_entry_computation():
    text = """ENTRY %main (x: f32[8,4]) -> (f32[8,4], u32[]) {
  %x = f32[8,4]{1,0} parameter(0), metadata={op_name="x fusion("}
  %loop_add.1 = (f32[8,4]{1,0}, u32[]) fusion(%x), kind=kLoop, calls=%fused
  %part = f32[8,4]{1,0} get-tuple-element(%loop_add.1), index=0
  ROOT %copy = bf16[8,4]{1,0} copy(%part)
}"""
    assert _h200.launched(text) == {"loop_add_1": [(32, 32), (1, 32)], "copy": [(32, 16)]}


def test_without_a_toolkit_it_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(_h200.Unavailable, match="nvcc is not on the PATH"):
        _h200._toolkit()


def test_a_download_that_fails_is_told_with_its_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(_h200, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(_h200.sys, "executable", "/bin/false")
    with pytest.raises(_h200.Unavailable, match=r"pip could not download a-wheel==1: it said nothing"):
        _h200.unpacked("folder", "a-wheel==1")
    assert not (tmp_path / "cache" / "folder").exists()


def test_noise_adds_no_kernel_and_no_temporary_to_what_it_is_fused_into():
    program, arguments, ways = compiled.contexts(32)["gelu, dropout, residual"]
    found = {
        way: compiled.on_cpu(lambda *a, noise=ways[way]: program(noise, *a), *arguments) for way in ("none", "noisejax")
    }
    assert found["none"]["loops"] == found["noisejax"]["loops"] == 1
    assert found["none"]["temporary"] == found["noisejax"]["temporary"] == 0


@pytest.mark.slow
def test_in_a_scan_a_layer_more_saves_nothing_for_its_noise(monkeypatch):
    monkeypatch.setattr(compiled, "LAYERS", 2)
    monkeypatch.setattr(compiled, "WIDTH", 64)
    saved = {
        way: compiled.saved("", way, "cpu", noise, False, 32, compiled.on_cpu)["temporaries per layer"]
        for way, noise in compiled.DROPOUTS.items()
    }
    assert saved["none"] == saved["noisejax"] == saved["jax.random"] - 0.25  # the mask there, a byte for four


def test_results_name_what_they_were_compiled_for():
    for path in pathlib.Path(instructions.__file__).parent.glob("results/*-h200.json"):
        made = json.loads(path.read_text())
        assert "H200, compiled for and not run" in made["device"]
        assert made["versions"]["jax"] and made["versions"]["nvcc"] and made["date"] and made["command"]


def test_reads_of_an_array_as_large_as_the_batch_are_counted():
    text = """ENTRY %main (x: f32[8,4], k: u32[2]) -> f32[8,4] {
  %x = f32[8,4]{1,0} parameter(0)
  %k = u32[2]{0} parameter(1)
  %small = f32[4]{0} fusion(%k), kind=kLoop, calls=%a
  %y = f32[8,4]{1,0} fusion(%x, %k, %x), kind=kLoop, calls=%b
  %flat = f32[32]{0} bitcast(%y)
  ROOT %z = f32[8,4]{1,0} fusion(%flat, %small), kind=kLoop, calls=%c
}"""
    assert _h200.reads(text, 32) == 3
    assert _h200.reads(text, 4) == 4
