"""The app in the browser."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.errors import BusyError, InputError

_PACKAGE = Path(__file__).parents[1]
UPLOAD_MB = 200


def ui(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="The port on this machine.", min=1, max=65535)] = 8501,
    address: Annotated[
        str, typer.Option(help="Where to listen; beyond this machine only with sign-in configured.")
    ] = "127.0.0.1",
    mlflow_url: Annotated[
        str | None,
        typer.Option(help="Where an mlflow ui of this workspace answers, to link to.", envvar="WORKBENCH_MLFLOW_URL"),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Start the app in the browser; a workspace is made where there is none."""
    from workbench.workflows.operations.initialise import initialise

    if mlflow_url is not None and not mlflow_url.startswith(("http://", "https://")):
        raise InputError(
            "the address of mlflow ui is no http or https address", hint="--mlflow-url http://127.0.0.1:5000"
        )
    root = initialise(context.obj).root
    given = {"WORKBENCH_HOME": str(root)} | ({"WORKBENCH_MLFLOW_URL": mlflow_url} if mlflow_url else {})
    command = [sys.executable, "-m", "streamlit", "run", str(app_file()), *options(port, address, browser=browser)]
    _require_free(address, port)
    os.execve(sys.executable, command, os.environ | given)  # in this one's place: whatever ends it ends the server


def _require_free(address: str, port: int) -> None:
    try:
        socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET).close()
    except OSError:
        raise BusyError(f"the app can't listen on port {port} there", hint="--port takes another") from None


def app_file() -> Path:
    """Where the app's first file is: beside the package in a clone, in it once it is installed."""
    for path in (_PACKAGE / "_app.py", _PACKAGE.parent / "app.py"):
        if path.is_file():
            return path
    raise InputError("this installation carries no app", hint="install the wheel of erasure-workbench")


def options(port: int, address: str, *, browser: bool) -> list[str]:
    """The options of the server that must hold whatever a config file says."""
    # by another name than these a page from elsewhere, whose name was made to point here, would come in
    hosts = ("localhost", "127.0.0.1") if address in ("localhost", "127.0.0.1") else ()
    return [
        *(part for host in hosts for part in ("--server.allowedHosts", host)),
        *("--server.port", str(port)),
        *("--server.address", address),
        *("--server.headless", "false" if browser else "true"),
        *("--server.enableXsrfProtection", "true"),
        *("--server.enableCORS", "true"),
        *("--server.maxUploadSize", str(UPLOAD_MB)),
        *("--server.fileWatcherType", "none"),
        *("--server.enableStaticServing", "false"),
        *("--browser.gatherUsageStats", "false"),
        *("--client.showErrorDetails", "none"),
        *("--runner.magicEnabled", "false"),
    ]
