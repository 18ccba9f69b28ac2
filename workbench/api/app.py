"""The routes: each reads a call, calls one workflow and shows its result."""

# No postponed annotations here: FastAPI reads them, and these name what is local to a function.

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Header, Path, Response
from pydantic import StringConstraints
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy import select
from starlette.types import ASGIApp

from workbench.api import documents
from workbench.api.body import reader, rows_of
from workbench.api.fault import tell_faults
from workbench.api.front import Front
from workbench.api.gate import Gate
from workbench.api.log import Log
from workbench.api.metrics import CONTENT_TYPE, Metrics
from workbench.api.settings import Settings
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.callbacks import tell_callbacks, telling
from workbench.workflows.controllers.queue_counts import counts
from workbench.workflows.controllers.request_status import cancel, certificate, follow
from workbench.workflows.controllers.sign_answers import DOMAIN, KEY_ID, SIGNATURE, discovery, signed
from workbench.workflows.controllers.submit import IDEMPOTENCY_KEY, accept, forget_answers
from workbench.workflows.controllers.tokens import Caller
from workbench.workflows.result import Result
from workbench.workflows.training.predict import predict_rows_as

_FORGET_SECONDS = 600.0
# With more threads each request takes longer: whoever has the database's lock waits for the interpreter behind all others
_THREADS = 8
_PREDICTIONS = 4  # at once, in threads of their own: they must not keep requests waiting
Id = Annotated[str, Path(description="A subject_request_id.", max_length=64)]
Key = Annotated[
    Annotated[str, StringConstraints(pattern=f"^{IDEMPOTENCY_KEY}$")] | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description="Random, such as a UUID: the same call then gets the same receipt for a day.",
    ),
]


def make_app(workspace: Workspace, settings: Settings, log: Log) -> ASGIApp:
    """The whole server as an ASGI application. It holds no state but counts: a kill loses nothing."""
    gate, metrics = Gate(workspace, settings), Metrics()
    app = FastAPI(
        title="Erasure workbench",
        version="2.0",
        summary="Erasure requests by OpenDSR 2.0, predictions that honour them, certificates.",
        openapi_url=None,  # FastAPI's own route would answer any number of calls, for any host
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the path
        lifespan=_lifespan(workspace, settings, log),
        dependencies=[Depends(gate.client)],
    )
    tell_faults(app, str(workspace.root))
    _add_requests(app, workspace, settings, gate)
    _add_others(app, workspace, settings, gate, metrics)
    _add_description(app)
    return Front(app, log, metrics, most=settings.most_calls)


def _add_requests(app: FastAPI, workspace: Workspace, settings: Settings, gate: Gate) -> None:
    read = reader(settings.most_request_bytes, settings.body_seconds)

    def answer(document: Result, status: int) -> Response:
        body, headers = signed(workspace, document, settings.domain)
        return Response(body, status, media_type="application/json", headers=headers)

    @app.post("/requests", **_of(documents.Standing, 201, 408, 409, 413, 415, 422, 404), **_body(documents.REQUEST))
    def hand_in(
        caller: Annotated[Caller, Depends(gate.caller("requests:write"))],
        body: Annotated[bytes, Depends(read)],
        key: Key = None,
    ) -> Response:
        """Hands in an erasure request. Its person is under quarantine when this answers; retraining comes later."""
        return answer(accept(workspace, caller, body, key=key, rules=settings.callbacks), 201)

    @app.get("/requests/{request_id}", **_of(documents.Standing, 200, 404))
    def ask(caller: Annotated[Caller, Depends(gate.caller("requests:read"))], request_id: Id) -> Response:
        """Tells how a request of one's own stands."""
        return answer(follow(workspace, caller, request_id), 200)

    @app.delete("/requests/{request_id}", **_of(documents.Standing, 202, 404, 409))
    def take_back(caller: Annotated[Caller, Depends(gate.caller("requests:write"))], request_id: Id) -> Response:
        """Takes back a request of one's own that is pending; its quarantine is lifted."""
        return answer(cancel(workspace, caller, request_id), 202)

    @app.get("/discovery", **_of(documents.Discovery, 200, private=False))
    def discover() -> Response:
        """Tells what is supported, and the keys that answers are signed with. Needs no token."""
        return answer(discovery(workspace), 200)


def _add_others(app: FastAPI, workspace: Workspace, settings: Settings, gate: Gate, metrics: Metrics) -> None:
    read, limiter = reader(settings.most_rows_bytes, settings.body_seconds), anyio.CapacityLimiter(_PREDICTIONS)

    @app.post("/predict/{ensemble}", **_of(documents.Predictions, 200, 404, 408, 413, 415), **_body(documents.ROWS))
    async def predict(
        _: Annotated[Caller, Depends(gate.caller("predict"))],
        ensemble: Annotated[str, Path(max_length=64)],
        body: Annotated[bytes, Depends(read)],
    ) -> Response:
        """Predicts for rows with the current version, without any model that saw someone who asked to be erased."""

        def answer() -> Response:
            rows = rows_of(body, settings.most_rows)
            response = predict_rows_as(workspace, ensemble, rows, lambda predicted: _json(predicted.to_json()))
            metrics.predicted(len(rows))
            return response

        return await anyio.to_thread.run_sync(answer, limiter=limiter)

    @app.get("/certificates/{request_id}", **_of(documents.Certificate, 200, 404))
    def certify(_: Annotated[Caller, Depends(gate.caller("certificates"))], request_id: Id) -> Response:
        """The signed certificate of a request, byte for byte, whoever handed the request in."""
        return Response(certificate(workspace, request_id), media_type="application/json")

    @app.get("/healthz", **_of(documents.Health, 200, private=False))
    def health() -> Response:
        """Whether the server answers and its database can be read. Needs no token."""
        with workspace.engine.connect() as connection:
            connection.execute(select(1))
        return _json({"status": "ok"})

    @app.get("/metrics", **_of(None, 200))
    def measure(_: Annotated[Caller, Depends(gate.caller("metrics"))]) -> Response:
        """Counts for Prometheus."""
        return Response(metrics.text(counts(workspace)), media_type=CONTENT_TYPE)


def _add_description(app: FastAPI) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    async def describe() -> Response:
        return _json(app.openapi())


def _json(document: Mapping[str, Any]) -> Response:
    return Response(json.dumps(document, allow_nan=False).encode(), media_type="application/json")


def _of(model: type | None, status: int, *faults: int, private: bool = True) -> dict[str, Any]:
    """How a route is described: its answer, and the faults it may answer with."""
    codes = {400, 421, 429, 500, 503, *faults} | ({401, 403} if private else set())
    responses: dict[int | str, Any] = {code: {"model": documents.Fault} for code in sorted(codes)}
    responses[status] = {"description": "Done."}
    if model is None:
        responses[status]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        responses[status]["model"] = model
    if model in (documents.Standing, documents.Discovery):
        headers = {SIGNATURE: "Ed25519 over the body.", KEY_ID: "Which key.", DOMAIN: "Whose."}
        responses[status]["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    return {"status_code": status, "responses": responses, "response_class": Response}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"openapi_extra": {"requestBody": {"required": True, "content": content}}}


def _lifespan(workspace: Workspace, settings: Settings, log: Log) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        # SQLite writes its log back whenever the last connection closes: not after each call, then
        with workspace.engine.connect() as connection:
            connection.execute(select(1))
            connection.rollback()
            with telling(_teller(workspace, settings, log), interval=settings.callback_interval, log=log):
                log("started")
                yield
        log("stopped")

    return lifespan


def _teller(workspace: Workspace, settings: Settings, log: Log) -> Callable[[], int]:
    """What tells callbacks that are due, and forgets old answers now and then."""
    forgotten = 0.0

    def tell() -> int:
        nonlocal forgotten
        if time.monotonic() - forgotten > _FORGET_SECONDS:
            forget_answers(workspace)
            forgotten = time.monotonic()
        return tell_callbacks(workspace, settings.callbacks, settings.domain, log=log)

    return tell
