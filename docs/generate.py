"""Writes docs/reference/ from the code: every command from the Typer app, every config from its model. `make reference`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import TypeAdapter

FOLDER = Path(__file__).parent / "reference"
_MADE = "<!-- Made by `make reference` from the code: edit that. -->"
_NO_DEFAULT = "required"
_CONFIGS = (
    "Configs are YAML. Give them to a command as a file, and change single fields with `--set field=value`. Those in "
    "`configs/` ship with the workbench. An unknown field is refused, and so is a value outside what is said here. Schemas, "
    "rules of verdicts and `roles.yaml` are read as files alone."
)
_METRICS = (
    "What `workbench evaluate` measures, where it can be computed: here of the schema of German Credit. Each figure has an "
    "interval, and where it says so a baseline and a ceiling; a rule of verdicts names it, see `configs/verdicts.yaml`."
)
_ROLES = (
    "A viewer looks; an operator takes in data, makes tables and models and hands in requests; an approver decides on "
    "requests; an admin does all of that, and sets budgets, policies and keys."
)
_WORDS: Mapping[str, str] = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "nothing",
}
_PARTS: Mapping[str, str] = {
    "CallbackRules": "rules",
    "Column": "a column",
    "Condition": "a condition",
    "Constraint": "a constraint",
    "Determined": "`column`, `by` and `values`",
    "Holdout": "`share` or `file`",
}
_LIMITS: Mapping[str, str] = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
}


def pages() -> dict[str, str]:
    """The pages by file name."""
    return {"cli.md": _cli(), "config.md": _config(), "metrics.md": _metrics()}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


def _cli() -> str:
    from workbench.cli import app

    command = typer.main.get_command(app)
    lines = [_MADE, "", "# Commands", "", *_command(command, typer.Context(command, info_name="workbench"))]
    return "\n".join(lines).rstrip() + "\n"


def _command(command: Any, context: Any) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield ""
    yield (command.help or "").split("\f")[0].strip()
    yield ""
    usage = command.collect_usage_pieces(context)
    yield f"    {' '.join([context.command_path, *usage])}"
    yield ""
    rows = [found for parameter in command.get_params(context) if (found := _parameter(parameter, context))]
    if rows:
        yield from _table(("argument or option", "meaning"), rows)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            yield from _command(inner, typer.Context(inner, info_name=name, parent=context))


def _parameter(parameter: Any, context: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None or parameter.name == "help":
        return None
    return f"`{' '.join(record[0].split())}`", record[1]


def _config() -> str:
    from workbench.api.settings import Settings
    from workbench.config import SynthesizeConfig, TrainConfig
    from workbench.erasure.callback_url import CallbackRules
    from workbench.erasure.policy import ErasurePolicy
    from workbench.reports.verdict import Condition, VerdictRules
    from workbench.schema.column import Column
    from workbench.schema.constraints import Constraint, Determined
    from workbench.schema.schema import Holdout, Schema
    from workbench.state.roles import RoleMap

    sections = [
        _MADE,
        "",
        "# Configs",
        "",
        _CONFIGS,
        "",
        *_section("Generators: `workbench synthesize CONFIG`", SynthesizeConfig),
        *_generators(),
        *_section("Models: `workbench train CONFIG`", TrainConfig),
        *_learners(),
        *_section("Schemas: `workbench ingest NAME --schema FILE`", Schema),
        *_section("A column of a schema", Column),
        *_section("The holdout of a schema", Holdout),
        *_section("A constraint of a schema", Constraint),
        *_section("What is determined", Determined),
        *_section("Policies: `workbench policy DATASET FILE`", ErasurePolicy),
        *_section("Rules of verdicts: `workbench evaluate ID --rules FILE`", VerdictRules),
        *_section("A condition of such a rule", Condition),
        *_section("Roles: `roles.yaml` in the workspace", RoleMap),
        _ROLES,
        "",
        *_section("The server: options of `workbench api`", Settings),
        *_section("Its callbacks", CallbackRules),
    ]
    return "\n".join(sections).rstrip() + "\n"


def _section(title: str, model: Any) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield " ".join((model.__doc__ or "").split())
    yield ""
    schema = TypeAdapter(model).json_schema()
    shared, required = schema.get("$defs", {}), schema.get("required", [])
    rows = []
    for name, field in schema["properties"].items():
        default = _NO_DEFAULT if name in required else _written(field.get("default"))
        rows.append((f"`{name}`", _kind(field, shared), default, " ".join(field.get("description", "").split())))
    yield from _table(("field", "type", "default", "meaning"), rows)


def _written(default: Any) -> str:
    return "" if default in (None, [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _kind(field: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """A field's type in words; a field that may be left out says so by its default."""
    if "anyOf" in field:
        kinds = [_kind(one, shared) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _kind(shared[name], shared) if "enum" in shared[name] else f"{_PARTS[name]}, see below"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type", "anything")
    if kind == "array":
        return _list(field, shared)
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"a map to: {_kind(inner, shared)}" if isinstance(inner, Mapping) else "a map"
    if field.get("format") == "date-time":
        return "a date or time"
    limits = [text.format(f"{field[name]:,}") for name, text in _LIMITS.items() if name in field]
    return ", ".join([_WORDS.get(kind, kind), *limits])


def _list(field: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    if "prefixItems" in field:
        return "[" + ", ".join(_kind(one, shared) for one in field["prefixItems"]) + "]"
    return f"a list of: {_kind(field['items'], shared)}" if field.get("items") else "a list"


def _generators() -> Iterator[str]:
    """Which fields each generator takes."""
    from workbench.generators.registry import GENERATORS

    rows = []
    for spec in GENERATORS:
        own = [f"`{field}`" for field in spec.settings.model_fields if field not in ("epsilon", "delta")]
        fields = ", ".join((["`epsilon`, `delta`"] if spec.private else []) + own)
        rows.append((f"`{spec.name}`", "yes" if spec.private else "no", fields))
    yield from _table(("generator", "private", "fields beside `dataset` and `rows`"), rows)


def _learners() -> Iterator[str]:
    """The settings of each learner, as a config that does not name them gets them: in general, and with small shards."""
    from workbench.sisa.learners.registry import LEARNERS

    rows, needs = [], []
    for spec in LEARNERS:
        given = {field: value for field, value in spec.defaults.items() if value is not None}
        rows.append((f"`{spec.name}`", _settings(given), _settings(spec.few_rows)))
        needs += [(spec.name, [f"`{field}`" for field in spec.defaults if field not in given])]
    head = ("learner", "its fields and their defaults", "instead, where `rows` are fewer than 10,000 a shard")
    yield from _table(head, rows)
    yield from (f"`{name}` also needs {' and '.join(fields)}.\n" for name, fields in needs if fields)


def _metrics() -> str:
    """Every figure of an evaluation, as the registries have them for the schema of German Credit and a learner."""
    from workbench.config import CONFIGS
    from workbench.metrics.attacks.reconstruction import RECONSTRUCTION
    from workbench.metrics.attacks.shadow import shadow
    from workbench.metrics.registry import attacks_on_ensemble, attacks_on_erasure, attacks_on_release, fidelity_metrics
    from workbench.metrics.utility import utility_metrics
    from workbench.schema.schema import read_schema

    schema = read_schema(CONFIGS / "datasets" / "german.yaml")
    untrained: Any = None
    learners = {"LEARNER": untrained}
    on_release = attacks_on_release(schema, "large release", "release", "whole tables")
    lines = [
        _MADE,
        "",
        "# Metrics",
        "",
        _METRICS,
        "",
        *_figures("How close a release is to the records", fidelity_metrics(schema)),
        *_figures("What a release is good for", utility_metrics(schema, learners)),
        *_figures("What a release tells of people", (*on_release, shadow(untrained))),
        *_figures("What an ensemble's answers tell of people", attacks_on_ensemble()),
        *_figures("What an erasure leaves", (*attacks_on_erasure(), RECONSTRUCTION)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _figures(title: str, metrics: Sequence[Any]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    rows = [
        (f"`{one.name}`", one.title, one.formula, one.better, one.source)
        for metric in metrics
        for one in metric.definitions
    ]
    yield from _table(("figure", "title", "what it is", "better", "source"), rows)


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}: {json.dumps(value)}`" for name, value in values.items())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name, file=sys.stderr)
