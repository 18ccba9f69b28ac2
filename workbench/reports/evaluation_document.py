"""An evaluation as it was stored, read back for pages and verdicts: parts may be absent or of a shape nobody expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Better, Definition, Measure
from workbench.reports.lenient_json import items, mapping, number, records, texts, whole

Kind = Literal["release", "ensemble", "erasure"]
Fact = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether something may be used so: yes, no, or None where that was not shown; and because of what."""

    use: str
    holds: bool | None
    because: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {"use": self.use, "holds": self.holds, "because": list(self.because)}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured of a release, an ensemble or an erasure, `of`; the facts are what is known of it without measuring.

    `pictures` are what charts draw, as the document has them: each chart reads its own part.
    """

    id: str
    of: str
    kind: str
    dataset: str
    made: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)
    sampled: Mapping[str, Fact] = field(default_factory=dict)
    left_out: Mapping[str, Fact] = field(default_factory=dict)
    method: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The document as it was stored."""
        return dict(self.document)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Evaluation:
        """The evaluation in a JSON document; what is absent or of another type is left out, never guessed."""
        names = {name: str(document.get(name) or "") for name in ("id", "of", "kind", "dataset", "made")}
        return cls(
            **names,
            facts=_facts(document.get("facts")),
            measures=tuple(map(_measure, records(document.get("measures")))),
            verdicts=tuple(map(_verdict, records(document.get("verdicts")))),
            pictures=mapping(document.get("pictures")),
            sampled=_facts(document.get("sampled")),
            left_out=_facts(document.get("left_out")),
            method=tuple(texts(document.get("method"))),
            limits=tuple(texts(document.get("limits"))),
            document=document,
        )

    @property
    def families(self) -> dict[str, list[Measure]]:
        """The measures by family, both in the document's order."""
        found: dict[str, list[Measure]] = {}
        for measure in self.measures:
            found.setdefault(measure.definition.family, []).append(measure)
        return found


def _facts(value: Any) -> dict[str, Fact]:
    return {str(key): fact for key, fact in mapping(value).items() if isinstance(fact, bool | int | float | str)}


def _verdict(record: Mapping[str, Any]) -> Verdict:
    holds = record.get("holds")
    because = tuple(texts(record.get("because")))
    return Verdict(use=str(record.get("use", "")), holds=holds if isinstance(holds, bool) else None, because=because)


def _measure(record: Mapping[str, Any]) -> Measure:
    found, failed = estimate(record.get("estimate")), record.get("failed") is True
    reason = str(record.get("reason") or "")
    return Measure(
        definition=_definition(record),
        estimate=None if failed else found,
        baseline=estimate(record.get("baseline")),
        ceiling=estimate(record.get("ceiling")),
        curve=tuple(filter(None, map(_point, items(record.get("curve"))))),
        reason=reason or ("" if found else "no reason was given"),
        failed=failed,
    )


def _definition(record: Mapping[str, Any]) -> Definition:
    words = {name: str(record.get(name) or "") for name in ("name", "formula", "source", "note")}
    return Definition(
        **words,
        title=str(record.get("title") or words["name"]),
        range=_range(record.get("range")),
        better=_better(record.get("better")),
        baseline=str(record.get("baseline_is") or ""),
        ceiling=str(record.get("ceiling_is") or ""),
    )


def _better(value: Any) -> Better:
    if value == "higher":
        return "higher"
    return "lower" if value == "lower" else "neither"


def _range(value: Any) -> tuple[float, float]:
    """The range; an end that is no finite number is open."""
    low, high = [*items(value), None, None][:2]
    found = number(low), number(high)
    return (-math.inf if found[0] is None else found[0]), (math.inf if found[1] is None else found[1])


def estimate(value: Any) -> Estimate | None:
    """An estimate, or None where its value is no finite number; an end of its interval that is none is NaN."""
    record = mapping(value)
    found = number(record.get("value"))
    if found is None:
        return None
    low, high = (math.nan if end is None else end for end in (number(record.get("low")), number(record.get("high"))))
    return Estimate(value=found, low=low, high=high, n=whole(record.get("n")) or 0)


def _point(value: Any) -> tuple[float, float] | None:
    x, y = [*map(number, items(value)), None, None][:2]
    return None if x is None or y is None else (x, y)
