"""`Tuned`: what a search found, measured on rows that it never saw."""

import dataclasses
import json
import math
from typing import Any, NamedTuple

from noisejax._noise import Noise
from noisejax._serialize import from_dict
from noisejax.robustness._report.compare import Comparison
from noisejax.robustness._report.report import Report
from noisejax.robustness._report.samples import Interval
from noisejax.robustness._tuning.population import robust

_FORMAT = "noisejax tuned, 1"


class Candidate(NamedTuple):
    """A noise that was tried, with its scores on the validation rows. The first candidate is no noise."""

    name: str  # of its space; '' for no noise
    amounts: dict[str, float]
    noise: Noise | None
    clean: Interval  # the score without noise in the rows
    robust: Interval  # the mean score under the deployment families
    cost: Interval  # how much worse it is than no noise on clean rows, paired
    gain: Interval  # how much better it is under the deployment families, paired
    rows: int  # training rows; fewer for those that successive halving dropped
    on_front: bool  # whether no other candidate of as many rows is better in one respect and as good in the other
    problem: str = ""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tuned:
    """The result of `tune`.

    The choice was made on validation rows. `report`, `baseline`, `cost` and `gain` are of rows that the choice never
    saw, after both models were trained again on all other rows.
    """

    noise: Noise | None  # the chosen noise; None if no candidate was better than no noise at the allowed cost
    chosen: int  # its number among the candidates
    candidates: tuple[Candidate, ...]
    report: Report  # of the model trained with the chosen noise
    baseline: Report  # of the model trained without noise
    clean_cost: float  # what was allowed
    predict: Any = None  # the predictor trained with the chosen noise; None after from_json

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The candidates that no other one of as many rows dominates, from the best on clean rows."""
        found = [c for c in self.candidates if c.on_front]
        return tuple(sorted(found, key=lambda c: float(c.cost.mean)))

    @property
    def cost(self) -> Interval:
        """How much worse than no noise the chosen one is on clean rows, paired."""
        return signed(self.report.difference(self.baseline), -self._sign)

    @property
    def gain(self) -> Interval:
        """How much better than no noise it is on average over the deployment families, paired."""
        difference = robust(self.report).combined(1.0, robust(self.baseline), -1.0).interval(0.95)
        return signed(difference, self._sign)

    @property
    def _sign(self) -> float:
        return 1.0 if self.report.metrics[0][2] else -1.0

    def compare(self, level: float) -> Comparison:
        """The chosen noise compared with no noise on the test rows, as by `robustness.compare`."""
        from noisejax.robustness._report.compare import compare

        return compare({"none": self.baseline, "chosen": self.report}, "none", level=level)["chosen"]

    def to_json(self, functions: dict[str, Any] | None = None) -> str:
        """The result as JSON, without the predictor.

        Args:
          functions: names for functions of your own that noises use, as in ``Noise.to_dict``.
        """
        return json.dumps(
            {
                "noisejax": _FORMAT,
                "chosen": self.chosen,
                "clean_cost": self.clean_cost,
                "candidates": [_written(candidate, functions) for candidate in self.candidates],
                "report": json.loads(self.report.to_json()),
                "baseline": json.loads(self.baseline.to_json()),
            }
        )

    @classmethod
    def from_json(cls, text: str, functions: dict[str, Any] | None = None) -> "Tuned":
        """Reads a result that `to_json` wrote. Nothing is executed.

        Raises:
          ValueError: the text is no such result. The message says where.
        """
        try:
            found = json.loads(text)
            if found["noisejax"] != _FORMAT:
                raise ValueError(f"of the format {found['noisejax']!r}")
            candidates = tuple(_read(candidate, functions) for candidate in found["candidates"])
            reports = [Report.from_json(json.dumps(found[name])) for name in ("report", "baseline")]
            chosen, allowed = int(found["chosen"]), float(found["clean_cost"])
            return cls(candidates[chosen].noise, chosen, candidates, *reports, clean_cost=allowed)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"from_json: the text must be the JSON of a Tuned, but it is not: {error}") from None

    def __repr__(self) -> str:
        return f"Tuned({self.noise!r} of {len(self.candidates) - 1} candidates)"

    def __str__(self) -> str:
        metric = self.report.metric
        lines = [f"chosen: {self.noise!r}", "on rows that the choice never saw:"]
        lines.append(f"  {metric} without noise in the rows: {self.report.clean()}, cost {self.cost:+.4f}")
        lines.append(f"  gain under the deployment families: {self.gain:+.4f}")
        lines.append(f"on validation rows, where a cost of {self.clean_cost:g} was allowed:")
        lines.append(f"  {'cost':>17}  {'gain':>17}  candidate")
        for candidate in self.front:
            amounts = ", ".join(f"{name}={value:g}" for name, value in candidate.amounts.items())
            named = f"{candidate.name}: {amounts}" if candidate.name else "no noise"
            mark = "  (chosen)" if candidate is self.candidates[self.chosen] else ""
            cost, gain = (f"{interval:+.4f}" for interval in (candidate.cost, candidate.gain))
            lines.append(f"  {cost:>17}  {gain:>17}  {named}{mark}")
        return "\n".join(lines)


def signed(interval: Interval, factor: float) -> Interval:
    """The interval times 1 or -1."""
    mean, *ends = (factor * value for value in interval)
    return Interval(mean, min(ends), max(ends))


_INTERVALS = ("clean", "robust", "cost", "gain")


def _written(candidate: Candidate, functions: Any) -> dict[str, Any]:
    record = candidate._asdict()
    for name in _INTERVALS:
        record[name] = [float(v) if math.isfinite(v) else None for v in record[name]]
    record["noise"] = None if candidate.noise is None else candidate.noise.to_dict(functions)
    return record


def _read(record: Any, functions: Any) -> Candidate:
    record = dict(record)
    for name in _INTERVALS:
        record[name] = Interval(*(math.nan if v is None else float(v) for v in record[name]))
    noise: Any = None if record["noise"] is None else from_dict(record["noise"], functions)
    return Candidate(**{**record, "noise": noise, "amounts": dict(record["amounts"])})
