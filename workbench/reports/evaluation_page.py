"""An evaluation as one page: the verdict first, then charts, then every figure, then method and limits. Pure.

The page is internal: its figures were computed from personal records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.metrics.measure import Better, Definition, Measure
from workbench.reports.charts.associations import association_map
from workbench.reports.charts.overlay import overlay
from workbench.reports.charts.roc import attack_curves
from workbench.reports.charts.shard_map import shard_map
from workbench.reports.charts.strip import strip
from workbench.reports.charts.tradeoff import Point, tradeoff
from workbench.reports.epsilon_text import odds
from workbench.reports.evaluation_document import Evaluation, Verdict, estimate
from workbench.reports.formatting import written
from workbench.reports.lenient_json import mapping, number, records
from workbench.reports.page import page, series

INTERNAL = (
    "Internal: computed from personal records. It never goes out with a release or a model, and an erasure purges or "
    "recomputes it."
)
FAMILIES = {
    "fidelity": ("Fidelity", "How like the real records the synthetic ones are."),
    "utility": ("Utility", "How well models do that were trained on it."),
    "disclosure": ("Disclosure", "What attacks learn of the people in the training records."),
    "forgetting": ("Forgetting", "What attacks tell of erased people, before and after."),
    "cost": ("Cost", "What it took."),
}
MARKS = {True: ("✓", "conditions met"), False: ("✗", "conditions not met"), None: ("?", "not shown")}


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Measures of one family, under its title and what it is about."""

    title: str
    about: str
    measures: Sequence[Measure]


def evaluation_page(document: Mapping[str, Any]) -> str:
    """The page of an evaluation document. Equal documents give equal pages; parts it lacks are left out or said to lack."""
    it = Evaluation.read(document)
    return page(
        "evaluation.html",
        title=f"Evaluation of {it.of}",
        footer=f"Made from {it.id or 'an evaluation'} by the erasure workbench.",
        it=it,
        of_kind=f" of {_article(it.kind)}" if it.kind else "",
        internal=INTERNAL,
        left_out=left_out_text(it.left_out),
        verdict_style=_verdict_style(it.verdicts),
        privacy=_privacy(it),
        charts=_charts(it),
        columns=list(filter(None, map(overlay, records(it.pictures.get("columns"))))),
        families=list(_families(it)),
        sampled=series([f"{name.replace('_', ' ')}: {written(fact)}" for name, fact in it.sampled.items()]),
        marks=MARKS,
        better=BETTER,
        strip=strip,
        defined=_defined,
    )


def left_out_text(counts: Mapping[str, Any]) -> str:
    """Return the sentence about the people and shards that were left out; empty where all were looked at."""
    people, shards = (counts.get(name) for name in ("people", "shards"))
    if not isinstance(people, int) or not people:
        return ""
    who = "1 person waits for erasure and was" if people == 1 else f"{people:,} people wait for erasure and were"
    said = f"{who} left out"
    if isinstance(shards, int) and shards:
        said += f", with the {shards:,} {'shard' if shards == 1 else 'shards'} that learnt from them"
    return f"{said}."


def _article(kind: str) -> str:
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"


def _verdict_style(verdicts: Sequence[Verdict]) -> str:
    held = {verdict.holds for verdict in verdicts}
    return "" if held == {True} else " open" if held & {True, None} else " bad"


def _privacy(it: Evaluation) -> str:
    epsilon, delta = number(it.facts.get("epsilon")), number(it.facts.get("delta"))
    if it.facts.get("private") is True and epsilon is not None:
        return f"It was made with noise, so that for every person: {odds(epsilon, delta)}"
    if it.facts.get("private") is False:
        return "It was made without differential privacy: nothing bounds what it tells of a person."
    return ""


def _charts(it: Evaluation) -> list[str]:
    pictures = it.pictures
    drawn = [
        attack_curves(it.measures),
        tradeoff(
            _points(pictures.get("tradeoff")),
            title="Utility against epsilon",
            note="The smaller epsilon, the stronger the privacy. Lines are 95 % intervals; the filled point is this one.",
            x="epsilon",
            y="utility",
            log=True,
            none="no ε",
        ),
        association_map(mapping(pictures.get("associations"))),
        shard_map(pictures.get("shards")),
    ]
    return list(filter(None, drawn))


def _points(value: Any) -> list[Point]:
    """The artifacts that have a utility; an epsilon that is no positive number is none."""
    found = []
    for record in records(value):
        utility, epsilon = estimate(record.get("utility")), number(record.get("epsilon"))
        if utility is not None:
            found.append(
                Point(
                    name=str(record.get("id", "")),
                    group=str(record.get("generator", "")),
                    x=epsilon if epsilon is not None and epsilon > 0 else None,
                    y=utility,
                    emphasised=record.get("this") is True,
                )
            )
    return found


def _families(it: Evaluation) -> Iterator[_Family]:
    families = it.families
    for family in (*(f for f in FAMILIES if f in families), *(f for f in families if f not in FAMILIES)):
        title, about = FAMILIES.get(family, (family, ""))
        yield _Family(title=title, about=about, measures=families[family])


BETTER: Mapping[Better, str] = {
    "higher": "higher\N{NO-BREAK SPACE}↑",
    "lower": "lower\N{NO-BREAK SPACE}↓",
    "neither": "–",
}


def _defined(definition: Definition) -> str:
    said = [definition.formula, f"range {_end(definition.range[0])} to {_end(definition.range[1])}"]
    said += [f"baseline: {definition.baseline}"] if definition.baseline else []
    said += [f"ceiling: {definition.ceiling}"] if definition.ceiling else []
    said += [definition.source, definition.note.rstrip(".")]
    return f"{'; '.join(filter(None, said))}."


def _end(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "any"
