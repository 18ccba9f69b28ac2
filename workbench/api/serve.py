"""Running the server: one process, a pool of threads, until it is asked to end."""

from __future__ import annotations

import ipaddress
import logging
import re
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from workbench.api.app import make_app
from workbench.api.log import Log, ServerFaults
from workbench.api.protocol import Connections, StrictHttp
from workbench.api.settings import Settings
from workbench.errors import InputError
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.callbacks import note_rules

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_NAME = re.compile(r"\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+")


def serve(
    workspace: Workspace, settings: Settings, host: str, port: int, *, remote: bool, ready: Callable[[str], None]
) -> None:
    """Answers until SIGINT or SIGTERM; `ready` is told the address once it listens. Port 0 takes any that is free.

    Raises InputError for a host that other machines can reach, unless `remote` says that this is meant, and for a domain that
    is more than a name.
    """
    if not _NAME.fullmatch(settings.domain):
        raise InputError("--domain is the name of a host, without scheme, port and path", hint="privacy.example.org")
    if not remote and not _is_loopback(host):
        raise InputError(
            f"{host} can be reached from other machines, and the server speaks plain HTTP",
            hint="put a proxy with TLS before it and add --remote, or leave --host out",
        )
    listener = _listener(host, port)
    note_rules(workspace, settings.callbacks, settings.domain)
    log = Log(workspace.root / "logs" / "api.log")
    faults = ServerFaults(log)
    config = configured(make_app(workspace, settings if remote else _at_home(settings, host), log), settings)
    complaints = logging.getLogger("uvicorn")
    complaints.addHandler(faults)
    complaints.propagate = False
    name = f"[{host}]" if ":" in host else host
    ready(f"http://{name}:{listener.getsockname()[1]}")
    try:
        with suppress(KeyboardInterrupt):  # the server has ended in order, then passes the signal on
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        complaints.removeHandler(faults)
        listener.close()
        log.close()


def configured(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How the server answers: by our own reading of HTTP/1.1, whatever other library is installed."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # -1 for no limit
    most = settings.most_connections if files < 0 else min(settings.most_connections, files * 3 // 4)
    connections = Connections(settings.header_seconds, most=most, most_waiting=settings.most_waiting)
    return uvicorn.Config(
        app,
        http=partial(StrictHttp, connections),  # type: ignore[arg-type]  # it asks for a class, and calls it
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
    )


def _at_home(settings: Settings, host: str) -> Settings:
    """The settings of a server on loopback: it is known by loopback's names, and by what it calls itself."""
    own = f"[{host}]" if ":" in host else host
    return replace(settings, hosts=_LOOPBACK | {own.lower(), settings.domain.lower()})


def _listener(host: str, port: int) -> socket.socket:
    # The protocol is named: asyncio sends without delay only on sockets that say they are TCP's
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
