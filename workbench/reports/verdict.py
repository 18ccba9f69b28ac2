"""What an evaluated thing may be used for, by thresholds that a person owns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, FiniteFloat, StrictBool, model_validator

from workbench.described import Described
from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Measure
from workbench.reports.evaluation_document import Evaluation, Fact, Verdict
from workbench.reports.formatting import absence, figure, written
from workbench.reports.lenient_json import number


class Condition(Described):
    """What a use asks of a measure, or of a fact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """A measure, a pattern such as `utility/tstr_auc_*`, or several: all that match one must hold."""
    fact: str | None = None
    """A fact of the thing, such as `private`, `epsilon`, `delta` or `exact`. Either a measure or a fact is named."""
    at_most: FiniteFloat | None = None
    """The value may not be greater."""
    at_least: FiniteFloat | None = None
    """The value may not be less. One of at_most, at_least and equals is given."""
    equals: StrictBool | str | None = None
    """What a fact must be."""
    against: Literal["baseline", "ceiling"] | None = None
    """Adds the bound to the measure's ceiling or baseline: `at_least: -0.05` against the ceiling is 0.05 below it."""
    by: Literal["interval", "value"] = "interval"
    """Whether the worse end of the 95 % interval must keep the bound, or the value alone."""

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.measure is None) == (self.fact is None):
            raise ValueError("a condition names either a measure or a fact")
        if sum(asked is not None for asked in (self.at_most, self.at_least, self.equals)) != 1:
            raise ValueError("a condition has one of at_most, at_least and equals")
        if self.measure is not None and self.equals is not None:
            raise ValueError("a measure is never known exactly: give at_most or at_least")
        if self.fact is not None and (self.against is not None or "by" in self.model_fields_set):
            raise ValueError("against and by are for measures: a fact has no interval")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of names of measures; none where it asks for a fact."""
        return (self.measure,) if isinstance(self.measure, str) else self.measure or ()

    def names(self, measure: Measure) -> bool:
        """Whether it is a condition on this measure."""
        return any(fnmatchcase(measure.definition.name, pattern) for pattern in self.patterns)

    def met(self, value: float, beside: float = 0.0) -> bool:
        """Whether a number keeps the bound, which is added to what it is judged against."""
        if self.at_most is not None:
            return value <= beside + self.at_most
        return value >= beside + (self.at_least or 0.0)

    def asked(self, beside: float = 0.0, *, write: Callable[[float], str] = figure) -> str:
        """The bound in words."""
        if self.at_most is not None:
            return f"at most {write(beside + self.at_most)} asked"
        return f"at least {write(beside + (self.at_least or 0.0))} asked"


Uses = dict[str, Annotated[tuple[Condition, ...], Field(min_length=1)]]
Found = tuple[bool | None, str]


class VerdictRules(Described):
    """For each kind of thing its uses, and for each use the conditions, all of which must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Uses = Field(default={})
    """Uses of a synthetic table, each with its conditions."""
    ensemble: Uses = Field(default={})
    """Uses of a model, each with its conditions."""
    erasure: Uses = Field(default={})
    """Uses of an erasure, each with its conditions."""


def verdicts(document: Mapping[str, Any], rules: VerdictRules) -> list[Verdict]:
    """The verdict on each use of the kind of thing that the document evaluates, in the order of the rules.

    - A use holds only if every condition was shown to hold: a measure that failed, is not computable, was not taken or has
      no interval shows nothing.
    - One broken condition is enough for no. Otherwise one that was not shown makes the verdict None.
    """
    evaluation = Evaluation.read(document)
    uses: Uses = getattr(rules, evaluation.kind) if evaluation.kind in VerdictRules.model_fields else {}
    return [_verdict(use, conditions, evaluation) for use, conditions in uses.items()]


def judged(measure: Measure, kind: str, rules: VerdictRules) -> dict[str, bool | None]:
    """The uses of a kind of thing that ask something of one measure, and whether it keeps that; None where it was not shown."""
    uses: Uses = getattr(rules, kind) if kind in VerdictRules.model_fields else {}
    found: dict[str, bool | None] = {}
    for use, conditions in uses.items():
        held = [_of_measure(condition, measure)[0] for condition in conditions if condition.names(measure)]
        if held:
            found[use] = False if False in held else None if None in held else True
    return found


def _verdict(use: str, conditions: tuple[Condition, ...], evaluation: Evaluation) -> Verdict:
    found = [finding for condition in conditions for finding in _found(condition, evaluation)]
    for holds in (False, None):
        because = [said for held, said in found if held is holds]
        if because:
            unshown = [said for held, said in found if held is None and holds is False]
            return Verdict(use=use, holds=holds, because=(*because, *unshown))
    return Verdict(use=use, holds=True, because=tuple(said for _, said in found))


def _found(condition: Condition, evaluation: Evaluation) -> Iterator[Found]:
    """Whether the condition holds of each thing it names, and the sentence that says so."""
    if condition.fact is not None:
        yield _of_fact(condition, condition.fact, evaluation.facts.get(condition.fact))
        return
    named = list(filter(condition.names, evaluation.measures))
    if not named:
        yield None, f"not shown: {' or '.join(condition.patterns)} was not measured"
    yield from (_of_measure(condition, measure) for measure in named)


def _of_fact(condition: Condition, name: str, fact: Fact | None) -> Found:
    if fact is None:
        return None, f"not shown: {name} is not stated"
    if condition.equals is not None:
        same = type(fact) is type(condition.equals) and fact == condition.equals  # 1 is not True
        return same, f"{name}: {written(fact)}" + ("" if same else f"; {written(condition.equals)} asked")
    value = number(fact)
    if value is None:
        return None, f"not shown: {name} is not a number"
    return condition.met(value), f"{name}: {written(value)}; {condition.asked(write=written)}"


def _of_measure(condition: Condition, measure: Measure) -> Found:
    title, estimate = measure.definition.title, measure.estimate
    if estimate is None:
        return None, f"not shown: {title}: {absence(measure)}"
    beside = {"ceiling": measure.ceiling, "baseline": measure.baseline}.get(condition.against or "")
    if condition.against is not None and beside is None:
        return None, f"not shown: {title} has no {condition.against} to compare with"
    value = _judged(condition, estimate)
    if math.isnan(value):
        return None, f"not shown: {title} has no interval"
    said = f"{title}: {figure(estimate.value)}" + ("" if condition.by == "value" else f", {figure(value)} at worst")
    if beside is None:
        return condition.met(value), f"{said}; {condition.asked()}"
    against = f"{condition.asked(beside.value)}, the {condition.against} being {figure(beside.value)}"
    return condition.met(value, beside.value), f"{said}; {against}"


def _judged(condition: Condition, estimate: Estimate) -> float:
    """The value, or the end of the interval that is worse for the condition; NaN where that is not known."""
    end = estimate.low if condition.at_most is None else estimate.high
    if condition.by == "value" or math.isnan(end):
        return estimate.value if condition.by == "value" else end
    return min(end, estimate.value) if condition.at_most is None else max(end, estimate.value)
