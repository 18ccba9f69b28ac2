"""Cards in Hugging Face's Markdown: what a release or an ensemble is, what for, and what protects the people in it. Pure.

A card that leaves says nothing that was computed from personal rows: neither figures nor verdicts, which are noiseless
functions of figures, nor their reasons. It names the uses that the rules ask about; `internal` cards hold everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from workbench.metrics.measure import Measure
from workbench.reports.epsilon_text import odds
from workbench.reports.evaluation_document import Evaluation
from workbench.reports.evaluation_page import INTERNAL, MARKS
from workbench.reports.formatting import absence, figure, interval, written
from workbench.reports.lenient_json import number, whole
from workbench.schema import Schema

_PUBLIC = ("generator", "learner", "private", "epsilon", "delta", "shards", "slices", "version")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def data_card(
    document: Mapping[str, Any], schema: Schema, *, internal: bool = False, remarks: Sequence[str] = ()
) -> str:
    """The card of a release: front matter for the hub, then what is said to people.

    `remarks` are what a person stated about the budget of the population.
    """
    it = Evaluation.read(document)
    private = it.facts.get("private") is True
    front: dict[str, Any] = {
        "pretty_name": f"Synthetic {it.dataset}",
        "license": "unknown",
        "tags": ["tabular", "synthetic", *(["differential-privacy"] if private else [])],
        "task_categories": [_task(schema)],
        "size_categories": [_size(it)],
    }
    about = "Every row of this table was made by a generator: none is a person's record."
    front = front if schema.target else _without(front, "task_categories")
    return _card(it, schema, front, about, internal, remarks)


def model_card(
    document: Mapping[str, Any], schema: Schema, *, internal: bool = False, remarks: Sequence[str] = ()
) -> str:
    """The card of an ensemble: front matter for the hub, then what is said to people; `remarks` as in `data_card`."""
    it = Evaluation.read(document)
    private = it.facts.get("private") is True
    front: dict[str, Any] = {
        "license": "unknown",
        "library_name": "erasure-workbench",
        "tags": ["tabular", "machine-unlearning", *(["differential-privacy"] if private else [])],
        "pipeline_tag": _task(schema),
    }
    if internal:
        front["model-index"] = [{"name": it.of, "results": [_results(it, schema)]}]
    about = (
        "An ensemble of which each member learnt from a part of the people. A person is removed by training again the one part "
        "that they are in, without them."
    )
    return _card(it, schema, front, about, internal, remarks)


def _card(
    it: Evaluation, schema: Schema, front: Mapping[str, Any], about: str, internal: bool, remarks: Sequence[str]
) -> str:
    parts = [
        f"---\n{yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)}---\n",
        f"# {_text(it.of)}\n",
        *([f"> **{INTERNAL}**\n"] if internal else []),
        f"{about}\n",
        *_facts(it, internal),
        *_uses(it, internal),
        *_data(schema),
        *_figures(it, internal),
        *_privacy(it, remarks),
        *_limits(it, internal),
    ]
    return "\n".join(parts)


def _facts(it: Evaluation, internal: bool) -> Iterable[str]:
    rows = [(name, fact) for name, fact in it.facts.items() if internal or name in _public(it)]
    yield _table(
        ("", ""),
        [("data set", _text(it.dataset)), *((_text(name.replace("_", " ")), _text(written(f))) for name, f in rows)],
    )


def _public(it: Evaluation) -> tuple[str, ...]:
    """The facts that may leave: a release shows its rows, while those that an ensemble learnt from are a count of people."""
    return (*_PUBLIC, "rows") if it.kind == "release" else _PUBLIC


def _uses(it: Evaluation, internal: bool) -> Iterable[str]:
    yield "## Intended uses\n"
    if not it.verdicts:
        yield "No verdict was given on any use.\n"
    if it.verdicts and not internal:
        yield "These uses were judged by measuring on personal records. The verdicts are internal and not part of this card:\n"
    for verdict in it.verdicts:
        sign, meaning = MARKS[verdict.holds]
        yield f"- {sign} **{_text(verdict.use)}**: {meaning}" if internal else f"- {_text(verdict.use)}"
        if internal:
            yield from (f"  - {_text(reason)}" for reason in verdict.because)
    yield "\nWhat is not named here was not judged.\n"


def _data(schema: Schema) -> Iterable[str]:
    yield "## Training data\n"
    most = schema.max_rows_per_subject
    yield f"Records of the population {_text(schema.population)}, at most {most} per person. The columns:\n"
    rows = [
        (_text(name), column.kind, column.role.replace("_", " "), "yes" if column.missing else "no")
        for name, column in schema.encoded.items()
    ]
    yield _table(("column", "kind", "role", "may be missing"), rows)
    if schema.unreviewed:
        names = ", ".join(map(_text, schema.unreviewed))
        yield f"The value ranges of these columns were proposed from the data and confirmed by nobody: {names}.\n"


def _figures(it: Evaluation, internal: bool) -> Iterable[str]:
    yield "## Figures\n"
    if not internal:
        yield "What was measured was measured on personal records. It is internal and not part of this card.\n"
        return
    rows = [
        (_text(m.definition.title), _value(m), _beside(m, "baseline"), _beside(m, "ceiling"), m.definition.better)
        for m in it.measures
    ]
    yield _table(("figure", "value (95 % interval)", "baseline", "ceiling", "better"), rows)


def _value(measure: Measure) -> str:
    if measure.estimate is None:
        return _text(absence(measure))
    ends = interval(measure.estimate)
    return f"{figure(measure.estimate.value)}{f' ({ends})' if ends else ''}"


def _beside(measure: Measure, name: str) -> str:
    found = measure.ceiling if name == "ceiling" else measure.baseline
    return "–" if found is None else figure(found.value)


def _privacy(it: Evaluation, remarks: Sequence[str]) -> Iterable[str]:
    yield "## Privacy\n"
    epsilon, delta = number(it.facts.get("epsilon")), number(it.facts.get("delta"))
    if it.facts.get("private") is not True or epsilon is None:
        yield (
            "Made **without differential privacy**: nothing bounds what it tells of the people in the training records. "
            "Treat it as you treat those records.\n"
        )
        return
    guarantee = f"ε = {epsilon:g}" + (f", δ = {delta:g}" if delta else "")
    yield f"Made with **differential privacy** ({guarantee}), for whole persons. For each of them: {odds(epsilon, delta)}\n"
    yield "What this does not promise:\n"
    yield from (f"- {sentence}" for sentence in _NOT_PROMISED)
    yield ""
    if remarks:
        yield "What was stated about the budget of these people:\n"
        yield from (f"- {_text(remark)}" for remark in remarks)
        yield ""


_NOT_PROMISED = (
    "That nothing can be concluded about a person: what holds for the population holds for them, be they in the data or not.",
    "Anything about other results made from the same people: each one's ε adds to it.",
    "Anything about the declared columns, categories and bounds, which are public.",
)
_LIMITS = (
    "Attacks that were tried and failed prove nothing: the differential privacy, where there is one, is what holds.",
    "Small groups are drawn less faithfully than large ones. Check a conclusion about few people on real records.",
    "It is as biased as the records that it was made from.",
)


def _limits(it: Evaluation, internal: bool) -> Iterable[str]:
    yield "## Limits\n"
    yield from (f"- {sentence}" for sentence in (*_LIMITS, *(map(_text, it.limits) if internal else ())))
    yield ""


def _results(it: Evaluation, schema: Schema) -> dict[str, Any]:
    named = [
        (m.definition, m.estimate) for m in it.measures if m.estimate is not None and m.definition.family == "utility"
    ]
    return {
        "task": {"type": _task(schema)},
        "dataset": {"name": it.dataset, "type": it.dataset},
        "metrics": [{"type": d.name, "name": d.title, "value": estimate.value} for d, estimate in named],
    }


def _task(schema: Schema) -> str:
    level = schema.columns[schema.target].spec.level if schema.target else None
    return "tabular-regression" if level == "ratio" else "tabular-classification"


def _size(it: Evaluation) -> str:
    rows = whole(it.facts.get("rows")) or 0
    return next((name for bound, name in _SIZES if rows < bound), "n>10M")


def _without(front: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in front.items() if key != name}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _text(value: Any) -> str:
    """A value as Markdown that shows it as it stands, in one line: no markup, no HTML, no link, no cell of a table."""
    line = re.sub(r"\s+", " ", str(value).encode("utf-8", "replace").decode()).replace("&", "&amp;")
    marked = re.sub(r"([\\`*_{}\[\]()#+!|~$:@]|(?<=www)\.)", r"\\\1", line, flags=re.IGNORECASE)
    return marked.replace("<", "&lt;").replace(">", "&gt;")
