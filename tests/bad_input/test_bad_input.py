"""Bad input gives a right result or an error in the library's words: no internal error, and no silent wrong result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from bad_input import calls, generate, judge, mutations, surface
from bad_input.calls import Call
from bad_input.mutations import Mutation

pytest.importorskip("pandas")
pytest.importorskip("matplotlib").use("Agg")


def test_every_public_callable_has_a_right_call_or_a_reason():
    have = {call.address for call in calls.every()}
    public = set(surface.callables())
    assert public - have - set(calls.WITHOUT) == set()
    assert (have | set(calls.WITHOUT)) - public == set()
    assert have & set(calls.WITHOUT) == set()


def report(found: generate.Found) -> str:
    return "\n".join(["", generate.table(found.counts), *map(str, found.faults)])


def test_some_bad_input():
    found = generate.found(250, seed=0, few=12)
    assert sum(found.counts.values()) == 250
    assert not found.faults, report(found)


class TestJudge:
    """The judge itself: each kind of outcome, from functions that behave in one known way."""

    KEY = jax.random.key(0)

    def outcome(self, function, mutation):
        call = Call("gaussian", {"key": self.KEY, "x": np.ones(3, np.float32), "std": 0.5}, function=function)
        base, error, _ = judge.run(call, call.arguments)
        assert error is None
        return judge.judge(call, "std", mutation, base)

    def test_a_result_is_compared_with_that_of_the_canonical_value(self):
        assert self.outcome(nj.gaussian, Mutation("an array", jnp.float32(0.5), "same")).kind == judge.RIGHT
        assert self.outcome(nj.gaussian, Mutation("one", True, "as", 1.0)).kind == judge.RIGHT
        assert self.outcome(nj.gaussian, Mutation("another", 0.25, "same")).kind == judge.SILENT

    def test_what_has_no_right_result_must_raise(self):
        assert self.outcome(nj.gaussian, Mutation("negative", -1.0, "wrong")).kind == judge.CLEAR
        assert self.outcome(lambda key, x, std: x, Mutation("a string", "a", "wrong")).kind == judge.SILENT

    def test_an_error_that_nobody_raised_is_internal(self):
        def multiplied(key, x, std):
            return x * std

        found = self.outcome(multiplied, Mutation("a string", "a", "wrong"))
        assert found.kind == judge.INTERNAL

    def test_an_error_must_name_the_function_and_the_argument(self):
        def refused(key, x, std):
            return x if std == 0.5 else nj.gaussian(key, x, std=-1.0)

        assert self.outcome(refused, Mutation("two", 2.0, "wrong")).kind == judge.CLEAR

        def another(key, x, std):
            return x if std == 0.5 else nj.laplace(key, x, scale=-1.0)

        found = self.outcome(another, Mutation("two", 2.0, "wrong"))
        assert found.kind == judge.INTERNAL and "headed by another function" in found.why

    def test_results_that_are_not_finite_are_found(self):
        found = self.outcome(lambda key, x, std: x / (np.float32(std) - 1), Mutation("one", 1.0, "open"))
        assert found.kind in (judge.SILENT, judge.INTERNAL)


def test_mutations_have_names_of_their_own():
    for call in calls.every()[:40]:
        for name in call.spoilt:
            names = [mutation.name for mutation in mutations.mutations(call, name)]
            assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]


@pytest.mark.slow
def test_more_bad_input():
    """Of callables that compile in a moment. The command line draws from all: python -m tests.bad_input 10000."""
    found = generate.found(1500, seed=1, few=50)
    assert sum(found.counts.values()) == 1500
    assert not found.faults, report(found)
