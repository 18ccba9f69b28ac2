"""Who may pass, and how often: tokens by scope, rates per token and per client."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from workbench.api.fault import RefusedCallError
from workbench.api.settings import Settings
from workbench.errors import InputError, UnknownCallerError
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.tokens import Caller, recognise

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:]*)(:[0-9]*)?")
_BEARER = HTTPBearer(auto_error=False, description="A token of `workbench tokens create`.")


class Gate:
    """The limits of one server; they are counted in its memory."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self._workspace = workspace
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._hosts = settings.hosts
        self._per_client, self._per_token = _rate(settings.per_client), _rate(settings.per_token)

    async def client(self, request: Request) -> None:
        """A dependency of every route: refuses a client, by its address, that calls too often, or that means another host.

        A page in somebody's browser that had its own name resolved to this machine tells that name.
        """
        if self._hosts is not None and _host_of(request) not in self._hosts:
            raise RefusedCallError(421, "misdirected", "the call names a host that this server is not known by")
        self._count(self._per_client, "client", request.client.host if request.client else "")

    def caller(self, scope: str) -> Callable[..., Caller]:
        """A dependency: the caller, once their token is known, covers the scope, and is not used too often."""

        def pass_(
            request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
        ) -> Caller:
            if credentials is None:
                raise UnknownCallerError("the call brings no token", hint="Authorization: Bearer TOKEN")
            caller = recognise(self._workspace, credentials.credentials)
            request.state.token = caller.token
            self._count(self._per_token, "token", caller.token)
            caller.require(scope)
            return caller

        return pass_

    def _count(self, rate: RateLimitItem, kind: str, who: str) -> None:
        if not self._limiter.hit(rate, kind, who):
            end = self._limiter.get_window_stats(rate, kind, who).reset_time
            wait = max(1, math.ceil(end - time.time()))
            raise RefusedCallError(429, "too_often", f"more than {rate} calls per {kind}", retry_after=wait)


def _host_of(request: Request) -> str | None:
    found = _HOST.fullmatch(request.headers.get("host", ""))
    return found[1].lower() if found else None


def _rate(text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError:
        raise InputError("a rate can't be read", hint="200/second, 5000/hour") from None
