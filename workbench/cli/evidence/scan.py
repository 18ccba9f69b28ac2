"""`workbench scan`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.errors import CheckFailedError
from workbench.foreign import read_stream, text_of
from workbench.workflows.operations.scan_workspace import scan as run

_MOST_NEEDLES = 10_000_000  # bytes on standard input


def scan(
    context: typer.Context,
    needles: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="TEXT", help="What to look for; - reads one text per line from standard input."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search every file, log and database page, packed ones too, for texts that should not be there."""
    texts = [text for needle in needles or () for text in (_read_lines() if needle == "-" else [needle])]
    result = run(opened(context), texts)
    show(result, as_json)
    raise typer.Exit(0 if result.clean else CheckFailedError.exit_code)


def _read_lines() -> list[str]:

    what = "standard input"
    content = read_stream(sys.stdin.buffer, most=_MOST_NEEDLES, what=what) if sys.stdin else b""
    text = text_of(content, what=what, hint="convert it, for example with iconv")
    return [line.strip() for line in text.splitlines() if line.strip()]
