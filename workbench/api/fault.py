"""Faults as answers: OpenDSR's error object, with our stable reason and a hint. No path, no value, no stack trace."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from workbench.errors import (
    ApprovalRequiredError,
    BudgetError,
    BusyError,
    DamagedError,
    DecidedError,
    ForbiddenError,
    InputError,
    KnownRequestError,
    NotFoundError,
    QuarantinedError,
    ReusedKeyError,
    ScopeError,
    UnknownCallerError,
    WorkbenchError,
    told_outside,
)

RETRY_SECONDS = 5
_STATUS: dict[type[WorkbenchError], int] = {  # the first that fits
    UnknownCallerError: 401,
    ScopeError: 403,
    DamagedError: 500,
    KnownRequestError: 409,
    DecidedError: 409,
    ReusedKeyError: 422,
    NotFoundError: 404,
    QuarantinedError: 503,
    BusyError: 503,
    ApprovalRequiredError: 409,
    BudgetError: 403,
    ForbiddenError: 403,
    InputError: 400,
}
_REASON: dict[type[WorkbenchError], str] = {
    UnknownCallerError: "unknown_caller",
    ScopeError: "scope",
    KnownRequestError: "known_request",
    DecidedError: "decided",
    ReusedKeyError: "reused_key",
}


class RefusedCallError(Exception):
    """A call that is refused before it means anything: too large, too often, of another kind."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_after = status, reason, retry_after


def answer(
    status: int, reason: str, message: str, *, hint: str = "", headers: dict[str, str] | None = None
) -> Response:
    """The answer that tells a fault."""
    told = {"code": status, "reason": reason, "message": message, "hint": hint}
    content = json.dumps({"error": told}, ensure_ascii=False).encode()
    return Response(content, status, media_type="application/json", headers=headers)


def tell_faults(app: FastAPI, root: str) -> None:
    """Has every fault of the app answered; `root` is the folder that no answer may name."""

    def of_ours(_: Request, fault: Any) -> Response:
        status = next((status for kind, status in _STATUS.items() if isinstance(fault, kind)), 500)
        reason = next((reason for kind, reason in _REASON.items() if isinstance(fault, kind)), fault.code)
        headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": str(RETRY_SECONDS)}}.get(status)
        message, hint = (text.replace(root, "WORKSPACE") for text in told_outside(fault))
        return answer(status, reason, message, hint=hint, headers=headers)

    def of_the_call(_: Request, fault: Any) -> Response:
        headers = None if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return answer(fault.status, fault.reason, str(fault), headers=headers)

    def of_http(_: Request, fault: Any) -> Response:
        reason = HTTPStatus(fault.status_code).phrase
        return answer(fault.status_code, reason.lower().replace(" ", "_"), reason, headers=fault.headers)

    def of_a_parameter(_: Request, __: Any) -> Response:
        return answer(400, "bad_input", "a parameter of the call is not as declared", hint="see /openapi.json")

    def of_the_system(_: Request, __: Any) -> Response:
        return answer(503, "disk", "the disk or store failed", headers={"Retry-After": str(RETRY_SECONDS)})

    def unexpected(_: Request, fault: Any) -> Response:
        return answer(500, "internal", f"unexpected {type(fault).__name__}")

    app.add_exception_handler(WorkbenchError, of_ours)
    app.add_exception_handler(RefusedCallError, of_the_call)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_a_parameter)
    app.add_exception_handler(OSError, of_the_system)
    app.add_exception_handler(Exception, unexpected)
