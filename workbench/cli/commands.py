"""The tree of commands: each lies in a file of its own, which is imported when the command runs or its help is asked for."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from workbench.extras import require_extra

# By words: the module of workbench.cli; its function has the name of the module
COMMANDS = {
    "init": "tables.init",
    "ingest": "tables.ingest",
    "schema infer": "tables.schema_infer",
    "ledger budget": "tables.ledger_budget",
    "ledger vouch": "tables.ledger_vouch",
    "ledger show": "tables.ledger_show",
    "synthesize": "models.synthesize",
    "sample": "models.sample",
    "audit": "models.audit",
    "train": "models.train",
    "predict": "models.predict",
    "retire": "models.retire",
    "jobs list": "models.jobs_list",
    "jobs cancel": "models.jobs_cancel",
    "jobs run": "models.jobs_run",
    "evaluate": "evaluations.evaluate",
    "report": "evaluations.report",
    "card": "evaluations.card",
    "compare": "evaluations.compare",
    "sweep": "evaluations.sweep",
    "erase": "requests.erase",
    "policy": "requests.policy",
    "resume": "requests.resume",
    "worker": "requests.worker",
    "requests list": "requests.requests_list",
    "requests show": "requests.requests_show",
    "requests approve": "requests.requests_approve",
    "requests release": "requests.requests_release",
    "requests accept-hit": "requests.requests_accept_hit",
    "requests deny": "requests.requests_deny",
    "requests cancel": "requests.requests_cancel",
    "api": "service.api",
    "tokens create": "service.tokens_create",
    "tokens list": "service.tokens_list",
    "tokens revoke": "service.tokens_revoke",
    "tokens rotate": "service.tokens_rotate",
    "verify": "evidence.verify",
    "certificate": "evidence.certificate",
    "forgetting": "evidence.forgetting",
    "lineage": "evidence.lineage",
    "scan": "evidence.scan",
    "doctor": "evidence.doctor",
    "keys list": "evidence.keys_list",
    "keys rotate": "evidence.keys_rotate",
    "backup": "upkeep.backup",
    "migrate": "upkeep.migrate",
    "restore": "upkeep.restore",
    "demo": "upkeep.demo",
    "suppressions export": "upkeep.suppressions_export",
    "suppressions import": "upkeep.suppressions_import",
    "ui": "ui",
}
WANTED = {"api": "api", "ui": "app"}  # the extra that a command needs
GROUPS = {
    "schema": "Schemas: the public description of a table.",
    "ledger": "Privacy budgets and what was spent.",
    "jobs": "Long work, here or in processes of its own.",
    "requests": "Erasure requests.",
    "tokens": "Tokens for those who ask over HTTP.",
    "keys": "The keys that sign certificates.",
    "suppressions": "Who may not come back, and what was charged: for copies of a workspace.",
}


class Commands(TyperGroup):
    """The commands whose words begin with those of the group; none is imported for a list of them."""

    def __init__(self, *, words: str = "", **attributes: Any) -> None:
        """`words` end with a space, or are empty for the group of all."""
        super().__init__(**attributes)
        self.words = words
        self.commands = {name: TyperCommand(name) for name in self.list_commands(None)}  # what typing errors resemble

    def list_commands(self, context: Any) -> list[str]:  # noqa: ARG002 (click's signature)
        """The next word of each command, in the order of the table."""
        found = (words.removeprefix(self.words).split() for words in COMMANDS if words.startswith(self.words))
        return list(dict.fromkeys(rest[0] for rest in found))

    def get_command(self, context: Any, name: str) -> Any:  # noqa: ARG002 (click's signature)
        """The command or the group of that name; None where there is none."""
        words = f"{self.words}{name}"
        if words in GROUPS:
            return group_of(words)
        if words in WANTED:
            require_extra(WANTED[words])
        return command_of(words) if words in COMMANDS else None

    def format_commands(self, context: Any, formatter: Any) -> None:
        """Write the list of commands with the first sentence of each."""
        names = self.list_commands(context)
        width = formatter.width - 6 - max(map(len, names))
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(name).get_short_help_str(width)) for name in names])

    def _summary(self, name: str) -> TyperCommand:
        words = f"{self.words}{name}"
        return TyperCommand(name, help=GROUPS.get(words) or summary_of(words))


def group_of(words: str) -> Commands:
    """The group of commands that begin with those words."""
    return Commands(words=f"{words} ", name=words, help=GROUPS[words], no_args_is_help=True, rich_markup_mode=None)


@cache
def command_of(words: str) -> Any:
    """The command of those words; imports its file."""
    home = COMMANDS[words]
    function = getattr(import_module(f"workbench.cli.{home}"), home.rpartition(".")[2])
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(words.rpartition(" ")[2])(function)
    return typer.main.get_command(app)


def summary_of(words: str) -> str:
    """The docstring of a command's function, read without importing what the function needs."""
    home = COMMANDS[words]
    tree = ast.parse((Path(__file__).parent / home.replace(".", "/")).with_suffix(".py").read_bytes())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return ast.get_docstring(functions[home.rpartition(".")[2]]) or ""
