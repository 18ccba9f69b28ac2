"""`workbench worker`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.controllers.inbox_worker import work


def worker(
    context: typer.Context,
    inbox: Annotated[Path, typer.Option(help="The folder that requests arrive in, as files.")],
    once: Annotated[bool, typer.Option("--once", help="Handle what is there, then end.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 5.0,
    as_json: Json = False,
) -> None:
    """Take erasure requests from a folder and carry them out; SIGTERM ends it after the step at hand."""

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    result = work(opened(context), inbox, stop=stop, once=once, interval=interval)
    show(result, as_json)
    raise typer.Exit(result.exit)
