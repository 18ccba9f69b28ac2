"""Several evaluations side by side: every figure of each, and what is gained against what it costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Measure
from workbench.reports.charts.tradeoff import Point, tradeoff
from workbench.reports.evaluation_document import Evaluation, Verdict
from workbench.reports.evaluation_page import BETTER, FAMILIES, INTERNAL, MARKS
from workbench.reports.formatting import finite_ends
from workbench.reports.lenient_json import number
from workbench.reports.page import page


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One figure of all evaluations, None where one lacks it; `best` is the place of the best."""

    title: str
    better: str
    measures: Sequence[Measure | None]
    best: int | None


@dataclass(frozen=True, kw_only=True)
class _Family:
    """The figures of one family."""

    title: str
    rows: Sequence[_Row]


@dataclass(frozen=True, kw_only=True)
class _Use:
    """One use, with each evaluation's verdict on it."""

    name: str
    verdicts: Sequence[Verdict | None]


def comparison_page(documents: Sequence[Mapping[str, Any]]) -> str:
    """The page of several evaluation documents, in their order. Equal documents give equal pages.

    The best of a figure is marked only where its interval lies beyond all others', and never across data sets or kinds.
    """
    them = [Evaluation.read(document) for document in documents]
    return page(
        "comparison.html",
        title=f"Comparison of {len(them)} evaluations",
        footer=f"Made from {', '.join(it.id for it in them) or 'no evaluation'} by the erasure workbench.",
        them=them,
        internal=INTERNAL,
        alike=_alike(them),
        charts=_charts(them),
        facts=list(dict.fromkeys(name for it in them for name in it.facts)),
        uses=_uses(them),
        families=list(_families(them)),
        marks=MARKS,
    )


def best(measures: Sequence[Measure | None]) -> int | None:
    """Which of one figure's measures is the best: the one whose interval lies beyond the intervals of all others.

    None where intervals overlap, where fewer than two have one, or where neither more nor less is better.
    """
    known = {n: m.estimate for n, m in enumerate(measures) if m is not None and m.estimate is not None}
    directions = {m.definition.better for m in measures if m is not None}
    if len(known) < 2 or directions not in ({"higher"}, {"lower"}) or not all(map(finite_ends, known.values())):
        return None
    higher = directions == {"higher"}
    first = max(known, key=lambda n: known[n].value if higher else -known[n].value)
    others = [estimate for n, estimate in known.items() if n != first]
    beyond = _above if higher else _below
    return first if all(beyond(known[first], other) for other in others) else None


def _above(one: Estimate, other: Estimate) -> bool:
    return one.low > other.high


def _below(one: Estimate, other: Estimate) -> bool:
    return one.high < other.low


def _alike(them: Sequence[Evaluation]) -> bool:
    return len({(it.dataset, it.kind) for it in them}) <= 1


def _charts(them: Sequence[Evaluation]) -> list[str]:
    utility = _common(them, "utility")
    if utility is None or not _alike(them):
        return []
    return [
        tradeoff(
            _points(them, utility, lambda it: number(it.facts.get("epsilon"))),
            title="Utility against epsilon",
            note="The smaller epsilon, the stronger the privacy.",
            x="epsilon",
            y=_title(them, utility),
            log=True,
            none="no ε",
        ),
        tradeoff(
            _points(them, utility, _strongest),
            title="Utility against the strongest attack",
            note="The AUC of whichever membership attack tells most; 0.5 is guessing.",
            x="AUC of the strongest attack",
            y=_title(them, utility),
            log=False,
            none="no attack",
        ),
    ]


def _common(them: Sequence[Evaluation], family: str) -> str | None:
    """The name of the first figure of a family that all have and of which more is better."""
    having = [{m.definition.name for m in it.measures if m.estimate is not None} for it in them]
    named = [m.definition.name for m in (them[0].measures if them else ()) if _is_gain(m, family)]
    return next((name for name in named if all(name in names for names in having)), None)


def _is_gain(measure: Measure, family: str) -> bool:
    return measure.definition.family == family and measure.definition.better == "higher"


def _strongest(it: Evaluation) -> float | None:
    """The highest value of the attacks that have a curve: their AUCs."""
    return max((m.estimate.value for m in it.measures if m.curve and m.estimate is not None), default=None)


def _points(them: Sequence[Evaluation], utility: str, x: Callable[[Evaluation], float | None]) -> list[Point]:
    found = []
    for it in them:
        measure = _named(it, utility)
        if measure is not None and measure.estimate is not None:
            group = str(it.facts.get("generator", it.facts.get("learner", "")))
            found.append(Point(name=it.of, group=group, x=x(it), y=measure.estimate))
    return found


def _title(them: Sequence[Evaluation], name: str) -> str:
    return next((m.definition.title for it in them for m in it.measures if m.definition.name == name), name)


def _named(it: Evaluation, name: str) -> Measure | None:
    return next((measure for measure in it.measures if measure.definition.name == name), None)


def _uses(them: Sequence[Evaluation]) -> list[_Use]:
    names = dict.fromkeys(verdict.use for it in them for verdict in it.verdicts)
    return [
        _Use(name=name, verdicts=[next((v for v in it.verdicts if v.use == name), None) for it in them])
        for name in names
    ]


def _families(them: Sequence[Evaluation]) -> Iterator[_Family]:
    names = list(dict.fromkeys(m.definition.name for it in them for m in it.measures))
    families = list(dict.fromkeys(name.partition("/")[0] for name in names))
    for family in (*(f for f in FAMILIES if f in families), *(f for f in families if f not in FAMILIES)):
        rows = [_row(them, name) for name in names if name.partition("/")[0] == family]
        yield _Family(title=FAMILIES.get(family, (family, ""))[0], rows=rows)


def _row(them: Sequence[Evaluation], name: str) -> _Row:
    measures = [_named(it, name) for it in them]
    better = next(BETTER[m.definition.better] for m in measures if m is not None)
    return _Row(
        title=_title(them, name), better=better, measures=measures, best=best(measures) if _alike(them) else None
    )
