"""Servers over a workspace, as processes: our own, and MLflow's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import forked

from workbench.state.workspace import Workspace


@contextmanager
def api_server(workspace: Workspace, *options: str) -> Iterator[tuple[forked.Popen, int]]:
    """A running `workbench api` and its port."""
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "api", "--port", "0", "--json"]
    process = forked.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, int(json.loads(process.stdout.readline())["api"].rsplit(":", 1)[1])
    finally:
        process.kill()
        process.communicate()


@contextmanager
def mlflow_server(workspace: Workspace, model: str) -> Iterator[int]:
    """The port of an `mlflow models serve`, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.root}/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # the server is started by its name, uvicorn
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    with (workspace.root.parent / "served.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, start_new_session=True, stdout=log, stderr=log
        )
    try:
        for _ in range(900):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping")
                break
            assert server.poll() is None, (workspace.root.parent / "served.log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
