"""Draws spoilt calls, judges them and counts outcomes by module."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from bad_input import calls, judge, mutations, surface
from bad_input.calls import Call
from bad_input.mutations import Mutation

KINDS = (judge.RIGHT, judge.CLEAR, judge.INTERNAL, judge.SILENT)


class Fault(NamedTuple):
    call: str
    argument: str
    mutation: str
    outcome: judge.Outcome

    def __str__(self):
        return f"{self.outcome.kind:8} {self.call}, {self.argument or 'the call'}: {self.mutation}: {self.outcome.why}"


class Found(NamedTuple):
    counts: Counter  # by (module, kind)
    faults: list[Fault]


def everything(seed: int = 0, only: str = "", few: int | None = None) -> list[tuple[Call, str, Mutation]]:
    """Every spoilt call, or those of a few right ones whose programs compile in a moment."""
    found, chosen = [], [call for call in calls.every() if only in call.name]
    if few is not None:
        cheap = [call for call in chosen if not call.expensive]
        chosen = sorted(cheap, key=lambda call: _rank(seed, call.name))[:few]
    for call in chosen:
        for name in call.spoilt:
            found += [(call, name, mutation) for mutation in mutations.mutations(call, name)]
        if call.function is None:
            found += [(call, "", mutation) for mutation in mutations.of_the_call(call)]
    return found


def drawn(number: int, seed: int, **which) -> list[tuple[Call, str, Mutation]]:
    """A pseudo-random choice of spoilt calls, in an order in which calls of one callable share compiled programs."""
    pool = everything(seed, **which)
    ranks = sorted((_rank(seed, f"{c.name}, {name}: {mutation.name}"), i) for i, (c, name, mutation) in enumerate(pool))
    return [pool[i] for i in sorted(i for _, i in ranks[:number])]


def _rank(seed: int, text: str) -> bytes:
    """A pseudo-random order in which a new callable does not change what is drawn of the others."""
    return hashlib.blake2b(f"{seed} {text}".encode()).digest()


def outcomes(chosen: list[tuple[Call, str, Mutation]]) -> Iterator[tuple[Call, str, Mutation, judge.Outcome]]:
    bases = {}
    for call, name, mutation in chosen:
        if call not in bases:
            result, error, _ = judge.run(call, call.arguments)
            if error is not None:
                raise AssertionError(f"the right call of {call.name} fails") from error
            bases[call] = result
        yield call, name, mutation, judge.judge(call, name, mutation, bases[call])


def found(number: int, seed: int = 0, tell=lambda fault: None, **which) -> Found:
    counts, faults = Counter(), []
    for call, name, mutation, outcome in outcomes(drawn(number, seed, **which)):
        counts[surface.room_of(call.address), outcome.kind] += 1
        if outcome.kind in (judge.INTERNAL, judge.SILENT):
            faults.append(Fault(call.name, name, mutation.name, outcome))
            tell(faults[-1])
    return Found(counts, faults)


def table(counts: Counter) -> str:
    """Figures by module, and their sums."""
    heads = ("calls", "right results", "clear errors", "internal errors", "silent wrong")
    rooms = sorted({room for room, _ in counts})
    rows = [(room, *(counts[room, kind] for kind in KINDS)) for room in rooms]
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, 5))))
    lines = [f"{'module':14}" + "".join(f"{head:>17}" for head in heads)]
    for room, *numbers in rows:
        lines.append(f"{room:14}" + "".join(f"{number:17,}" for number in (sum(numbers), *numbers)))
    return "\n".join(lines)
