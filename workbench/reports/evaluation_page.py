"""An evaluation as one page: the verdict first, then charts, then every figure, then method and limits. Pure.

The page is internal: its figures were computed from personal records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workbench.metrics.measure import Better, Measure
from workbench.reports.charts import drawing
from workbench.reports.charts.associations import association_map
from workbench.reports.charts.overlay import overlay
from workbench.reports.charts.roc import attack_curves
from workbench.reports.charts.shard_map import shard_map
from workbench.reports.charts.strip import strip
from workbench.reports.charts.tradeoff import Point, tradeoff
from workbench.reports.epsilon_text import odds
from workbench.reports.evaluation_document import Evaluation, Verdict, estimate
from workbench.reports.formatting import absence, figure, interval, written
from workbench.reports.lenient_json import mapping, number, records
from workbench.reports.page import escaped, listed, page, pairs, series, time

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

STYLE = """
:root { --bad: #a3231b; --bad-soft: #fdeceb; }
@media screen and (prefers-color-scheme: dark) { :root { --bad: #ff9a90; --bad-soft: #3a1b19; } }
main { max-width: 66rem; overflow-wrap: break-word; } section.words, .note, .verdict { max-width: 52rem; }
.verdict.bad { border-left-color: var(--bad); background: var(--bad-soft); }
.owned { margin-top: .9rem; font-size: .92rem; }
.uses { list-style: none; padding: 0; margin: 0; } .uses > li { margin: .8rem 0 0; padding-left: 1.9rem; position: relative; }
.uses .sign { position: absolute; left: 0; top: -.1rem; font-size: 1.2rem; }
.uses ul { margin: .1rem 0 0; padding-left: 1.1rem; font-size: .92rem; }
.facts dl { grid-template-columns: 7rem 1fr; } .facts dd { margin: 0; }
.sign { font-weight: 700; } .sign.yes { color: var(--good); } .sign.no { color: var(--bad); } .sign.open { color: var(--warn); }
.best { color: var(--good); font-weight: 700; }
td small, th small { display: block; color: var(--dim); font-weight: 400; }
.measures th[scope=row] { font-weight: 600; width: 32%; min-width: 11rem; overflow-wrap: anywhere; }
.measures td { font-variant-numeric: tabular-nums; }
.absent { color: var(--dim); } .failed { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; } .definitions { font-size: .92rem; grid-template-columns: 15rem 1fr; max-width: 60rem; }
@media screen and (max-width: 44rem) { .measures, .measures tbody { display: block; }
  .measures thead { position: absolute; left: -100rem; }
  .measures tr { display: block; border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .measures th[scope=row] { width: auto; } .measures th, .measures td { display: block; border: 0; padding: .1rem 0; }
  .measures td[data-of] { display: grid; grid-template-columns: 6.5rem 1fr; }
  .measures td[data-of]::before { content: attr(data-of); color: var(--dim); }
  .measures td small { display: inline; } .definitions { grid-template-columns: 1fr; } }
@media print { :root { --bad: #8a1a13; --bad-soft: #fff; --bar: #c8c8c8; } .columns { columns: 2; } figure { max-width: none; }
  .charts { grid-template-columns: 1fr 1fr; } }
"""


def evaluation_page(document: Mapping[str, Any]) -> str:
    """The page of an evaluation document. Equal documents give equal pages; parts it lacks are left out or said to lack."""
    it = Evaluation.read(document)
    return page(
        f"Evaluation of {it.of}",
        [
            f'<p class="kicker">Evaluation{f" of {_article(it.kind)}" if it.kind else ""}</p>',
            f'<p class="note">{INTERNAL}</p>',
            _left_out(it),
            _verdict(it),
            _facts(it),
            *_charts(it),
            *_families(it),
            *_method(it),
            listed("Limits", it.limits, "None were stated."),
        ],
        footer=f"Made from {it.id or 'an evaluation'} by the erasure workbench.",
        style=drawing.STYLE + STYLE,
    )


def _left_out(it: Evaluation) -> str:
    """Say how many people wait for their erasure, and were not looked at."""
    text = left_out_text(it.left_out)
    return f'<p class="note">{escaped(text)}</p>' if text else ""


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


def _heading(verdicts: Sequence[Verdict]) -> str:
    """The uses with their marks, as HTML in one line."""
    line = ", ".join(f"{escaped(verdict.use)}&nbsp;{mark(verdict.holds)}" for verdict in verdicts)
    return line[:1].upper() + line[1:]


def mark(holds: bool | None) -> str:
    """✓, ✗ or ?, with its meaning for whoever does not see it."""
    sign, meaning = MARKS[holds]
    style = {True: "yes", False: "no", None: "open"}[holds]
    return f'<span class="sign {style}" role="img" aria-label="{meaning}">{sign}</span>'


def _article(kind: str) -> str:
    return escaped(f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}")


def _verdict(it: Evaluation) -> str:
    if not it.verdicts:
        return (
            f'<section class="verdict open">\n<h1>{escaped(it.of)}</h1>\n<p>No verdict was given on it.</p>\n</section>'
        )
    held = {verdict.holds for verdict in it.verdicts}
    style = "" if held == {True} else " open" if held & {True, None} else " bad"
    uses = "".join(f"<li>{_use(verdict)}</li>" for verdict in it.verdicts)
    return (
        f'<section class="verdict{style}">\n<h1>{_heading(it.verdicts)}</h1>\n<p>{escaped(it.of)}</p>\n'
        f'<ul class="uses">{uses}</ul>\n<p class="owned">{_OWNED}</p>\n</section>'
    )


_OWNED = "By declared thresholds, which are as good as whoever chose them."


def _use(verdict: Verdict) -> str:
    because = "".join(f"<li>{escaped(reason)}</li>" for reason in verdict.because)
    return f"{mark(verdict.holds)} <strong>{escaped(verdict.use)}</strong>: {MARKS[verdict.holds][1]}<ul>{because}</ul>"


def _facts(it: Evaluation) -> str:
    known: list[tuple[str, str]] = [("Of", f"<code>{escaped(it.of)}</code>"), ("Data set", escaped(it.dataset))]
    known.append(("Measured", time(it.made)))
    known += [(name.replace("_", " "), escaped(written(fact))) for name, fact in it.facts.items()]
    return f'<section class="facts">\n{pairs(known)}{_privacy(it)}</section>'


def _privacy(it: Evaluation) -> str:
    epsilon, delta = number(it.facts.get("epsilon")), number(it.facts.get("delta"))
    if it.facts.get("private") is True and epsilon is not None:
        return f"<p>It was made with noise, so that for every person: {escaped(odds(epsilon, delta))}</p>"
    if it.facts.get("private") is False:
        return "<p>It was made without differential privacy: nothing bounds what it tells of a person.</p>"
    return ""


def _charts(it: Evaluation) -> Iterable[str]:
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
    if any(drawn):
        yield "<h2>Charts</h2>\n" + f'<div class="charts">{"".join(filter(None, drawn))}</div>'
    columns = list(filter(None, map(overlay, records(pictures.get("columns")))))
    if columns:
        yield f'<h2>Columns</h2>\n<p>{_COLUMNS}</p>\n<div class="columns">{"".join(columns)}</div>'


_COLUMNS = (
    '<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true"><rect x="0" y="1" width="28" height="10" class="bar"/></svg> '
    "training records, "
    '<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true"><rect x="12" y="0" width="3" height="12" class="mark"/></svg> '
    "synthetic records. Cells with too few records are suppressed; of very many, the smallest are drawn together."
)


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


def _families(it: Evaluation) -> Iterable[str]:
    families = it.families
    if not families:
        yield "<h2>Figures</h2>\n<p>Nothing was measured.</p>"
    for family in (*(f for f in FAMILIES if f in families), *(f for f in families if f not in FAMILIES)):
        title, about = FAMILIES.get(family, (family, ""))
        rows = "".join(map(_row, families[family]))
        yield (
            f'<h2>{escaped(title)}</h2>\n<p>{about}</p>\n<table class="measures"><thead><tr>{_HEADS}</tr></thead>'
            f"<tbody>{rows}</tbody></table>"
        )


_HEADS = "".join(
    f'<th scope="col">{head}</th>'
    for head in ("Figure", "Value, 95 % interval", "Baseline&nbsp;▽", "Ceiling&nbsp;▼", "Place", "Better")
)


def _row(measure: Measure) -> str:
    definition = measure.definition
    # a figure that is better neither high nor low says at once what it is not; what else is to be noted stands below
    note = f"<small>{escaped(definition.note)}</small>" if definition.better == "neither" else ""
    head = f'<tr><th scope="row">{escaped(definition.title)}{note}</th>'
    if measure.estimate is None:
        style = "failed" if measure.failed else "absent"
        return f'{head}<td colspan="5" class="{style}">{escaped(absence(measure))}</td></tr>'
    ends = interval(measure.estimate)
    rest = f"{ends}, n = {measure.estimate.n:,}" if ends else f"no interval, n = {measure.estimate.n:,}"
    beside = [
        (name, _beside(found)) for name, found in (("Baseline ▽", measure.baseline), ("Ceiling ▼", measure.ceiling))
    ]
    return (
        f'{head}<td data-of="Value"><span><strong>{figure(measure.estimate.value)}</strong> <small>{rest}</small></span></td>'
        + "".join(f'<td data-of="{name}">{value}</td>' for name, value in beside)
        + f'<td>{strip(measure)}</td><td data-of="Better">{BETTER[definition.better]}</td></tr>'
    )


BETTER: Mapping[Better, str] = {"higher": "higher&nbsp;↑", "lower": "lower&nbsp;↓", "neither": "–"}


def _beside(found: Any) -> str:
    return "–" if found is None else figure(found.value)


def _method(it: Evaluation) -> Iterable[str]:
    yield "<h2>Method</h2>"
    if it.method:
        yield f"<ul>{''.join(f'<li>{escaped(sentence)}</li>' for sentence in it.method)}</ul>"
    if it.sampled:
        said = series(
            [f"{escaped(name.replace('_', ' '))}: {escaped(written(fact))}" for name, fact in it.sampled.items()]
        )
        yield f"<p>Measured on a sample ({said}).</p>"
    if it.measures:
        yield f'<h3>What the figures are</h3>\n<dl class="definitions">{"".join(map(_definition, it.measures))}</dl>'


def _definition(measure: Measure) -> str:
    definition = measure.definition
    said = [definition.formula, f"range {_end(definition.range[0])} to {_end(definition.range[1])}"]
    said += [f"baseline: {definition.baseline}"] if definition.baseline else []
    said += [f"ceiling: {definition.ceiling}"] if definition.ceiling else []
    said += [definition.source, definition.note.rstrip(".")]
    return f"<dt>{escaped(definition.title)}</dt><dd>{escaped('; '.join(filter(None, said)))}.</dd>"


def _end(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "any"
