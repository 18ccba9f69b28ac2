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
    return {"cli.md": _cli(), "config.md": _config()}


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
        *_generators(SynthesizeConfig),
        *_section("Models: `workbench train CONFIG`", TrainConfig),
        *_learners(TrainConfig),
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


def _generators(model: Any) -> Iterator[str]:
    """Which fields a generator takes, found by asking it."""
    budget = {"epsilon": 1.0, "delta": 1e-5}
    rows = []
    for name in TypeAdapter(model).json_schema()["properties"]["generator"]["enum"]:
        given = {"generator": name, "dataset": "d"}
        private = _accepts(model, given | budget)
        base = given | (budget if private else {})
        asked = {"shards": 2, "epochs": 1, "steps": 1}
        own = [f"`{field}`" for field, value in asked.items() if _accepts(model, base | {field: value})]
        rows.append(
            (f"`{name}`", "yes" if private else "no", ", ".join((["`epsilon`, `delta`"] if private else []) + own))
        )
    yield from _table(("generator", "private", "fields beside `dataset` and `rows`"), rows)


def _accepts(model: Any, given: Mapping[str, Any]) -> bool:
    try:
        model.model_validate(given)
    except ValueError:
        return False
    return True


def _learners(model: Any) -> Iterator[str]:
    """The settings of each learner, as a config that does not name them gets them: in general, and with small shards."""
    rows = []
    for name in TypeAdapter(model).json_schema()["properties"]["learner"]["enum"]:
        given = {"learner": name, "dataset": "d", "shards": 1, "slices": 1}
        private = {"epsilon": 3.0, "delta": 1e-5} if name == "dp_mlp" else {}
        own = {"estimator": "RandomForest"} if name == "sklearn" else {}
        large, small = (
            model.model_validate({**given, **private, **own, "rows": rows}).settings for rows in (10**6, 1000)
        )
        shown = {key: value for key, value in large.items() if key not in {*private, *own, "subjects"}}
        few = {key: small[key] for key, value in shown.items() if small[key] != value}
        rows.append((f"`{name}`", _settings(shown), _settings(few)))
    head = ("learner", "its fields and their defaults", "instead, where `rows` are fewer than 10,000 a shard")
    yield from _table(head, rows)
    yield "`dp_mlp` also takes `epsilon` and `delta`, and `sklearn` an `estimator`: each needs its own."
    yield ""


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}: {json.dumps(value)}`" for name, value in values.items())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name, file=sys.stderr)
