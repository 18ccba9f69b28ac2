"""Results for people, as tables on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from workbench.workflows.operations.results import DemoResult
    from workbench.workflows.training.results import AdviceResult

Row = Mapping[str, Any]


def show_result(result: Mapping[str, Any]) -> None:
    """Prints plain fields first, then each list of records: as a table where no word is broken, else field by field."""
    console = Console()
    _print_fields(console, {key: value for key, value in result.items() if not _is_records(value)})
    for key, value in result.items():
        if _is_records(value):
            _print_records(console, key, value)


def show_demo(result: DemoResult) -> None:
    """Prints what happened in the demo and where to look."""
    console = Console()
    table = Table(title=f"Adult, {result.rows:,} people: release, train, erase one, verify", title_justify="left")
    table.add_column("what")
    table.add_column("result", justify="right")
    epsilon, auc, retraining = result.epsilon, result.auc, result.retraining
    rows = {
        "epsilon of the release": f"{epsilon.release:g}  (δ {epsilon.delta:g})",
        "epsilon spent of the budget": f"{epsilon.spent:g} of {epsilon.budget:g}",
        "AUC of the ensemble before / after": f"{auc.before:.4f} / {auc.after:.4f}",
        "AUC of a model trained on synthetic rows": f"{auc.on_synthetic:.4f}",
        "shards touched by the erasure": f"{result.shards.touched}/{result.shards.of}",
        "training all shards": f"{retraining.all_shards_seconds:.2f} s",
        "retraining for the erasure": f"{retraining.erasure_seconds:.2f} s  ({retraining.speedup}x faster)",
        "whole erasure, with purge, scan and certificate": f"{result.seconds_by_step.erase:.2f} s",
        f"certificate, verified by {result.verify.level}": "valid" if result.verify.valid else "NOT VALID",
        "the same with one bit flipped": "VALID" if result.tampered.valid else "refused",
        "erasing the same person again": result.erased_again,
        "seconds in all": f"{result.seconds:.0f}",
    }
    for what, value in rows.items():
        table.add_row(what, value)
    console.print(table)
    if result.workspace:
        console.print(f"release      {result.release}", soft_wrap=True)
        console.print(f"certificate  {result.certificate}", soft_wrap=True)
        console.print(
            f"tracking     mlflow ui --backend-store-uri sqlite:///{result.workspace}/mlflow.db", soft_wrap=True
        )
    else:
        console.print("The workspace was removed; workbench demo --keep leaves it to look around in.")


def show_advice(result: AdviceResult) -> None:
    """Prints what each number of shards and slices loses and costs, and which one is recommended."""
    best = result.recommended
    table = Table(title=f"{result.learner} on {result.dataset}", title_justify="left")
    for title in ("shards", "slices", result.metric, "lost", "training", "one request", "a day", "stored"):
        table.add_column(title, justify="right")
    for c in result.choices:
        table.add_row(
            str(c.shards),
            str(c.slices),
            f"{c.achieved:.4f} ({c.low:.3f}–{c.high:.3f})",
            f"{c.lost:.4f}",
            f"{c.training_s:.1f} s",
            f"{c.one_request_s:.3f} s ({c.cheaper}x)",
            f"{c.a_day_s:.2f} s",
            f"{c.stored_mb:.1f} MB",
            style="bold" if (c.shards, c.slices) == (best.shards, best.slices) else None,
        )
    console = Console()
    console.print(table)
    console.print(
        f"Recommended: {best.shards} shards of {best.slices} slices, the cheapest of those that lose at most"
        f" {result.most_lost:g}, at {result.requests_a_day:g} requests a day. {result.note.capitalize()}.",
        soft_wrap=True,
    )


def show_evaluation(document: Row) -> None:
    """Prints what a thing is fit for and why, then its figures, each with its interval, baseline and ceiling."""
    console = Console()
    console.print(f"{document['id']} (internal: computed from people's records)", soft_wrap=True, highlight=False)
    if document.get("left_out"):
        counts = ", ".join(f"{number} {what}" for what, number in document["left_out"].items())
        console.print(f"  left out, because people wait for their erasure: {counts}", soft_wrap=True, highlight=False)
    for verdict in document["verdicts"]:
        sign = {True: "yes", False: "NO", None: "not shown"}[verdict["holds"]]
        console.print(f"  {verdict['use']}: {sign}", soft_wrap=True, highlight=False)
        reasons = verdict["because"] if verdict["holds"] is not True else ()
        for reason in reasons:
            console.print(f"      {reason}", soft_wrap=True, highlight=False, markup=False)
    table = Table(box=SIMPLE, padding=0, pad_edge=False)
    for title in ("figure", "value", "95 % interval", "baseline", "ceiling"):
        table.add_column(title, justify="left" if title == "figure" else "right", overflow="fold")
    family = ""
    for measure in (m for m in document["measures"] if m["estimate"] is not None):
        before, (family, _, name) = family, measure["name"].partition("/")
        if family != before:
            table.add_row(f"[bold]{family}")
        numbers = [measure["estimate"], measure["baseline"] or {}, measure["ceiling"] or {}]
        value, baseline, ceiling = (_short(estimate.get("value")) for estimate in numbers)
        ends = [_short(measure["estimate"][end]) for end in ("low", "high")]
        table.add_row(name, value, " to ".join(filter(None, ends)), baseline, ceiling)
    console.print(table)
    for measure in (m for m in document["measures"] if m["estimate"] is None):
        console.print(f"{measure['name']}: {measure['reason']}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"workbench report {document['of']} --out REPORT.html makes a page of it", soft_wrap=True, highlight=False
    )


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _print_fields(console: Console, fields: Row, indent: str = "") -> None:
    """One field per line, never broken, so that paths and digests can be copied."""
    width = max(map(len, fields), default=0)
    for key, value in fields.items():
        console.print(f"{indent}{key:<{width}}  {_text(value)}", markup=False, highlight=False, soft_wrap=True)


def _print_records(console: Console, title: str, records: list[Row], indent: str = "") -> None:
    table = _records(title, records)
    is_flat = not any(_is_records(value) for record in records for value in record.values())
    unbroken = console.measure(table, options=console.options.update(max_width=10_000)).minimum  # its longest words
    if is_flat and not indent and unbroken <= console.width:
        console.print(table)
        return
    for number, record in enumerate(records, start=1):
        console.print(f"{indent}{title} {number}/{len(records)}", markup=False, highlight=False, soft_wrap=True)
        _print_fields(console, {k: v for k, v in record.items() if not _is_records(v)}, indent + "  ")
        for key, value in record.items():
            if _is_records(value):
                _print_records(console, key, value, indent + "  ")


def _records(title: str, records: list[Row]) -> Table:
    columns = list(dict.fromkeys(key for record in records for key in record))
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for record in records:
        table.add_row(*(Text(_text(record.get(column, ""))) for column in columns))
    return table


def _text(value: Any) -> str:
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high", "n"}:
            middle, low, high = ("-" if value[end] is None else f"{value[end]:.4f}" for end in ("value", "low", "high"))
            return f"{middle} [{low}, {high}] n={value['n']}"
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
