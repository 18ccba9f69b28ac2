"""Several evaluations side by side: every figure of each, and what is gained against what it costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Measure
from workbench.reports.charts import drawing
from workbench.reports.charts.tradeoff import Point, tradeoff
from workbench.reports.evaluation_document import Evaluation
from workbench.reports.evaluation_page import BETTER, FAMILIES, INTERNAL, STYLE, mark
from workbench.reports.formatting import absence, figure, finite_ends, interval, written
from workbench.reports.lenient_json import number
from workbench.reports.page import escaped, page, time

_STYLE = """
.compared { min-width: 40rem; }
.compared th[scope=row] { position: sticky; left: 0; background: var(--paper); min-width: 9rem; }
.compared td, .compared thead th { min-width: 7.5rem; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.compared .family th { padding-top: 1.4rem; font-size: 1.05rem; }
@media screen and (max-width: 34rem) { .compared th[scope=row] { min-width: 7.5rem; font-size: .85rem; } }
@media print { .wide { overflow: visible; } .compared { min-width: 0; } .compared td, .compared thead th { min-width: 0; } }
"""


def comparison_page(documents: Sequence[Mapping[str, Any]]) -> str:
    """The page of several evaluation documents, in their order. Equal documents give equal pages.

    The best of a figure is marked only where its interval lies beyond all others', and never across data sets or kinds.
    """
    them = [Evaluation.read(document) for document in documents]
    return page(
        f"Comparison of {len(them)} evaluations",
        [
            '<p class="kicker">Comparison</p>',
            f'<p class="note">{INTERNAL}</p>',
            f"<h1>{len(them)} evaluations beside each other</h1>",
            *_warnings(them),
            *_charts(them),
            "<h2>Figures</h2>",
            f"<p>{_MARKED}</p>",
            _table(them),
        ],
        footer=f"Made from {', '.join(it.id for it in them) or 'no evaluation'} by the erasure workbench.",
        style=drawing.STYLE + STYLE + _STYLE,
    )


_MARKED = (
    'The best of a row is <span class="best">marked ★</span> only where its 95 % interval parts from every other; where none '
    "is, the evaluations do not say which is best."
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


def _warnings(them: Sequence[Evaluation]) -> Iterable[str]:
    if not _alike(them):
        yield (
            '<p class="note">These are of different data sets or kinds of things: their figures stand beside each other, but '
            "none is better than another, and nothing is marked.</p>"
        )


def _charts(them: Sequence[Evaluation]) -> Iterable[str]:
    utility = _common(them, "utility")
    if utility is None or not _alike(them):
        return
    drawn = [
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
    yield f'<h2>What is gained, and what it costs</h2>\n<div class="charts">{"".join(drawn)}</div>'


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


def _table(them: Sequence[Evaluation]) -> str:
    names = list(dict.fromkeys(m.definition.name for it in them for m in it.measures))
    families = list(dict.fromkeys(name.partition("/")[0] for name in names))
    rows = [_facts(them), _verdicts(them)]
    for family in (*(f for f in FAMILIES if f in families), *(f for f in families if f not in FAMILIES)):
        title = FAMILIES.get(family, (family, ""))[0]
        rows.append(f'<tr class="family"><th colspan="{len(them) + 1}">{escaped(title)}</th></tr>')
        rows += [_row(them, name) for name in names if name.partition("/")[0] == family]
    heads = "".join(f'<th scope="col">{escaped(it.of)}</th>' for it in them)
    return (
        '<div class="wide" role="region" aria-label="Figures of all evaluations" tabindex="0">'
        f'<table class="compared"><thead><tr><th>Figure</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _facts(them: Sequence[Evaluation]) -> str:
    names = list(dict.fromkeys(name for it in them for name in it.facts))
    rows = [
        f'<tr><th scope="row">{escaped(name.replace("_", " "))}</th>'
        + "".join(f"<td>{escaped(written(it.facts[name])) if name in it.facts else '–'}</td>" for it in them)
        + "</tr>"
        for name in names
    ]
    measured = "".join(f"<td>{time(it.made)}</td>" for it in them)
    return f'<tr><th scope="row">measured</th>{measured}</tr>{"".join(rows)}'


def _verdicts(them: Sequence[Evaluation]) -> str:
    uses = list(dict.fromkeys(verdict.use for it in them for verdict in it.verdicts))
    rows = []
    for use in uses:
        held = [next((mark(v.holds) for v in it.verdicts if v.use == use), "–") for it in them]
        rows.append(f'<tr><th scope="row">{escaped(use)}</th>{"".join(f"<td>{sign}</td>" for sign in held)}</tr>')
    head = f'<tr class="family"><th colspan="{len(them) + 1}">Verdicts</th></tr>' if uses else ""
    return head + "".join(rows)


def _row(them: Sequence[Evaluation], name: str) -> str:
    measures = [_named(it, name) for it in them]
    first = best(measures) if _alike(them) else None
    better = next(BETTER[m.definition.better] for m in measures if m is not None)
    cells = "".join(_cell(measure, is_best=n == first) for n, measure in enumerate(measures))
    return f'<tr><th scope="row">{escaped(_title(them, name))}<small>{better}</small></th>{cells}</tr>'


def _cell(measure: Measure | None, *, is_best: bool) -> str:
    if measure is None:
        return '<td class="absent">not measured</td>'
    if measure.estimate is None:
        return f'<td class="{"failed" if measure.failed else "absent"}">{escaped(absence(measure))}</td>'
    value = figure(measure.estimate.value)
    shown = f'<span class="best">{value} ★</span>' if is_best else value
    return f"<td>{shown}<small>{interval(measure.estimate)}</small></td>"
