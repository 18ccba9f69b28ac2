"""What every call passes first and last: a number for it, safe headers, one line of log, a count, no stack trace."""

from __future__ import annotations

import secrets
import time
import traceback
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

import workbench
from workbench.api.fault import RETRY_SECONDS, answer
from workbench.api.log import Log
from workbench.api.metrics import Metrics

_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH")
_HOME = Path(workbench.__file__).parent


class Front:
    """Wraps the app. What it logs is ours: the template of the route, never the path that was asked for."""

    def __init__(self, app: ASGIApp, log: Log, metrics: Metrics, *, most: int) -> None:
        self._app, self._log, self._metrics = app, log, metrics
        self._most, self._running = most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, started, status = secrets.token_hex(8), time.perf_counter(), 500
        scope.setdefault("state", {})

        async def passed_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", number.encode()), *_HEADERS]
            await send(message)

        fault = None
        self._running += 1
        try:
            await (self._app if self._running <= self._most else _full)(scope, receive, passed_on)
        except Exception as unexpected:  # it was answered; its message could quote the call, so it goes no further
            fault = unexpected
        finally:
            self._running -= 1
        seconds = time.perf_counter() - started
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.called(method, route, status, seconds)
        told = {"fault": type(fault).__name__, "at_line": _place(fault)} if fault else {}
        self._log(
            "call",
            call=number,
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            token=scope["state"].get("token"),
            **told,
        )


_full = answer(
    503,
    "busy",
    "the server answers as many calls as it can",
    hint="try again shortly",
    headers={"Retry-After": str(RETRY_SECONDS)},
)


def _place(fault: Exception) -> str | None:
    """The innermost line of ours that a fault passed."""
    frames = [f for f in traceback.extract_tb(fault.__traceback__) if Path(f.filename).is_relative_to(_HOME)]
    return f"{Path(frames[-1].filename).relative_to(_HOME)}:{frames[-1].lineno}" if frames else None
