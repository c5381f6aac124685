"""What is read from the compilers' files, on short examples, and the comparison with budgets."""

import pytest

from benchmarks import _pallas, kernel_budgets, measure

CODE = """
MOV R1, R2
.L_x_1:
IADD3 R1, R1, 0x1, RZ
@P0 BRA `(.L_x_1)
EXIT
.L_x_2:
BRA `(.L_x_2)
NOP
"""
BUNDLES = """
     0   :  { %s0 = smov 0 }
   0x1 LB: > { %s1 = sadd.s32 1, %s0 }
   0x2   : > { %s2 = sadd.s32 1, %s1 }
   0x3 LB: >> { %v1 = vst 1 }
   0x4   :  { %s3 = smov 1 }
"""


def test_the_inner_loop_is_counted():
    assert _pallas._loop(CODE.strip().splitlines()) == (2, 3)
    assert _pallas._bundles(BUNDLES) == (1, 2)
    assert _pallas._bundles(BUNDLES.replace(">>", ">")) == (0, 3)


def test_what_ptxas_says_is_read():
    said = """ptxas info    : Function properties for attention
    0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers"""
    assert _pallas._said(said) == {"attention": (168, 12)}


def test_stored_rows_are_within_their_budgets_and_worse_ones_are_not():
    results = measure.load("kernel_budgets", "compiled")
    assert results is not None
    assert len(results["rows"]) == 3 * len(kernel_budgets.BUDGETS)
    for row in results["rows"]:
        assert kernel_budgets.broken(row) is None
        assert "spills 99" in (kernel_budgets.broken({**row, "spills": 99}) or "")
        assert "are allowed" in (kernel_budgets.broken({**row, "inner loop": 9999}) or "")


@pytest.mark.parametrize("job", kernel_budgets.jobs())
def test_each_job_says_what_it_has_to_do(job):
    _, shapes, work = kernel_budgets.jobs()[job]
    for of in work(4).values():
        assert of.bytes > 4 * 4096 and of.programs >= 32
    assert all(len(shape) in (1, 2, 4) for shape in shapes)
