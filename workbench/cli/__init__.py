"""The command line: reads input, calls one workflow, shows its result.

Each command is a file that is imported when it runs, so that `workbench --help` answers at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.commands import Commands
from workbench.errors import BusyError, WorkbenchError, is_of_disk

app = typer.Typer(
    cls=Commands,
    help="Differentially private synthetic data and exact machine unlearning for tables about people.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEFAULT_WORKSPACE = Path("artifacts")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("erasure-workbench"))
        raise typer.Exit


_INTERRUPTED = 130  # what the parser makes of Ctrl-C


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[
        Path, typer.Option(envvar="WORKBENCH_HOME", help="The folder of the workspace.", show_default=True)
    ] = DEFAULT_WORKSPACE,
    version: Annotated[  # noqa: ARG001 (answered by its callback)
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = workspace


def main() -> None:
    """Runs the command line; every fault becomes one message and a documented exit code."""
    as_json = "--json" in sys.argv
    # `kill` ends like Ctrl-C: what was begun is taken back
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _no_stop_lost():
        _run(as_json)


@contextmanager
def _no_stop_lost() -> Iterator[None]:
    """Repeat a Ctrl-C that Python dropped because it met a callback of a C library or a finaliser."""
    report = sys.unraisablehook

    def dropped(fault: sys.UnraisableHookArgs) -> None:
        if issubclass(fault.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)  # the callback is over by then, or drops it again
        else:
            report(fault)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = report
        signal.signal(signal.SIGALRM, before)


def _run(as_json: bool) -> None:
    try:
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:
            code = _report(5, "interrupted", "interrupted", "give the same command again to go on", as_json)
        sys.exit(code)
    except WorkbenchError as fault:
        sys.exit(_report(fault.exit_code, fault.code, str(fault), fault.hint, as_json))
    except BrokenPipeError:
        sys.exit(0)
    except Exception as fault:
        if hasattr(fault, "format_message"):  # the parser's own faults: an unknown option, a missing argument
            sys.exit(_report(2, "usage", fault.format_message(), "workbench COMMAND --help", as_json))
        if os.environ.get("WORKBENCH_DEBUG"):
            raise
        if isinstance(fault, OSError) and fault.strerror:
            where = f"{fault.filename}: " if isinstance(fault.filename, str) else ""
            if is_of_disk(fault):
                hint = "free or mend the disk, then give the same command again; workbench resume finishes erasures"
                sys.exit(_report(BusyError.exit_code, "disk", f"{where}{fault.strerror}", hint, as_json))
            sys.exit(
                _report(
                    2, "file", f"{where}{fault.strerror}", "look at the path, its permissions and the disk", as_json
                )
            )
        # its message could quote a row, so it is not shown
        hint = "WORKBENCH_DEBUG=1 shows where, and may show values of the table"
        sys.exit(_report(1, "internal", f"unexpected {type(fault).__name__}", hint, as_json))


def _report(exit_code: int, code: str, message: str, hint: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message, "hint": hint}}, ensure_ascii=False))
    print(f"workbench: {message}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
    return exit_code
