"""Law 8 over time: the draws of a noise under a fixed key are part of its interface, and never change unnoticed."""

import json

import numpy as np

from cases import CASES, every
from laws import known_answers

KNOWN = json.loads(known_answers.FILE.read_text())


@every
def test_draws_are_those_that_are_written_down(case):
    known, found = KNOWN[case.name], known_answers.answers(case)
    assert found.get("hits") == known.get("hits")
    np.testing.assert_allclose(found["values"], known["values"], rtol=2e-4, atol=2e-5)


def test_there_are_answers_for_the_cases_and_for_nothing_else():
    assert {case.name for case in CASES} == set(KNOWN)
