"""What the api refuses: strangers, other scopes, too much, too often, and bodies that are hostile; and what it tells of it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import anyio
import pytest
from asking import ROWS, bearer, client, erasure_of, fault, identity_of, log_of, state
from shared import copy_of
from starlette.requests import Request
from stored import ensemble_of

from workbench.api.body import reader
from workbench.api.fault import RefusedCallError
from workbench.bytescan.folders import scan_folder
from workbench.errors import InputError
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.tokens import SCOPES, create_token, revoke_token
from workbench.workflows.training.publish_version import current_versions

JSON = {"Content-Type": "application/json"}
CALLS = {
    ("POST", "/requests"): "requests:write",
    ("GET", "/requests/x"): "requests:read",
    ("DELETE", "/requests/x"): "requests:write",
    ("POST", "/predict/x"): "predict",
    ("GET", "/certificates/x"): "certificates",
    ("GET", "/metrics"): "metrics",
}


def test_no_route_but_the_public_ones_answers_a_stranger(trained: Workspace) -> None:
    revoked = create_token(trained, "crm", SCOPES)
    revoke_token(trained, revoked.token)
    strangers = [
        *({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wbt_nobody"}),
        *({"Authorization": f"Bearer {revoked.secret}"}, {"Authorization": revoked.secret}),
        {"Authorization": b"Bearer \xff\xfe"},
    ]
    with client(trained) as asking:
        routes = [(r.path, sorted(r.methods)) for r in asking.app._app.routes if hasattr(r, "methods")]  # type: ignore[attr-defined]
        open_ = {"/discovery", "/healthz", "/openapi.json"}
        assert len([path for path, _ in routes if path not in open_]) == len(CALLS), "every route is in the table"
        asking.headers.pop("Authorization")
        before = state(trained)
        for (method, path), headers in ((call, headers) for call in CALLS for headers in strangers):
            answer = asking.request(method, path, headers=headers, json=None if method == "GET" else {"rows": ROWS})
            assert fault(answer) == (401, "unknown_caller"), (method, path, headers)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert state(trained) == before


def test_a_token_opens_what_its_scopes_say(trained: Workspace) -> None:
    with client(trained) as asking:
        for (method, path), scope in CALLS.items():
            others = bearer(trained, *(other for other in SCOPES if other != scope))
            assert fault(asking.request(method, path, headers=others)) == (403, "scope"), (method, path)
            answer = asking.request(method, path, headers=bearer(trained, scope))
            assert answer.status_code not in (401, 403), (method, path)


HOSTILE: dict[str, bytes | Any] = {
    "nothing": b"",
    "no JSON": b"\x00\x01",
    "UTF-16": json.dumps(erasure_of("pupil-1000")).encode("utf-16"),
    "Latin-1": '{"regulation": "ü"}'.encode("latin-1"),
    "deep lists": b"[" * 30_000 + b"]" * 30_000,
    "deep objects": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "a deep extra": lambda: erasure_of("pupil-1000", extensions=json.loads("[" * 500 + "]" * 500)),
    "a long number": b'{"regulation": ' + b"9" * 20_000 + b"}",
    "a list": lambda: [erasure_of("pupil-1000")],
    "a text": b'"pupil-1000"',
    "a field twice": json.dumps(erasure_of("pupil-1000"))[:-1].encode() + b', "regulation": "ccpa"}',
    "an identity twice": b'{"subject_identities": [], "subject_identities": []}',
    "access": lambda: erasure_of("pupil-1000", subject_request_type="access"),
    "version 1": lambda: erasure_of("pupil-1000", api_version="1.0"),
    "no time": lambda: erasure_of("pupil-1000", submitted_time="yesterday"),
    "no uuid": lambda: erasure_of("pupil-1000", subject_request_id="pupil-1000"),
    "uuid 1": lambda: erasure_of("pupil-1000", subject_request_id=str(uuid.uuid1())),
    "no identity": lambda: erasure_of("pupil-1000", subject_identities=[]),
    "101 identities": lambda: erasure_of("", subject_identities=[identity_of(f"pupil-{n}") for n in range(101)]),
    "hashed": lambda: erasure_of("", subject_identities=[identity_of("pupil-1000") | {"identity_format": "md5"}]),
    "a NUL": lambda: erasure_of("pupil-1000\x00"),
    "a surrogate": json.dumps(erasure_of("pupil-1000\ud800")).encode(),
    "a blank": lambda: erasure_of("  "),
    "a long one": lambda: erasure_of("pupil-1000" * 200),
    "an object": lambda: erasure_of("", subject_identities=[identity_of("") | {"identity_value": {"a": "pupil-1000"}}]),
    "callbacks: text": lambda: erasure_of("pupil-1000", status_callback_urls="https://example.org/"),
    "callbacks: many": lambda: erasure_of("pupil-1000", status_callback_urls=["https://example.org/"] * 11),
    "callbacks: inside": lambda: erasure_of("pupil-1000", status_callback_urls=["https://169.254.169.254/"]),
    "callbacks: plain": lambda: erasure_of("pupil-1000", status_callback_urls=["http://example.org/"]),
    "callbacks: named": lambda: erasure_of("pupil-1000", status_callback_urls=["https://e.org/pupil%2D1000"]),
}


@pytest.fixture(scope="module")
def calm(full_workspace: Any, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all refusals: none of them may change it."""
    root = tmp_path_factory.mktemp("calm") / "workspace"
    copy_of(full_workspace, root)
    return Workspace.open(root)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_changes_nothing_and_is_not_quoted(calm: Workspace, name: str) -> None:
    body = HOSTILE[name]() if callable(HOSTILE[name]) else HOSTILE[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with client(calm) as asking:
        before = state(calm)
        answer = asking.post("/requests", content=content, headers=JSON)
        if name == "a deep extra":
            assert answer.status_code in (201, 400)
            return
        assert fault(answer) == (400, "bad_input")
        assert "pupil" not in answer.text
        assert state(calm) == before
    assert not scan_folder(calm.root / "logs", [b"pupil"]).hits


@pytest.mark.parametrize(
    "others", [[], [{}], [{"hours": 1.5, "town": "north"}]], ids=["alone", "beside nothing", "mixed"]
)
def test_a_number_beyond_floats_is_a_cell_that_breaks_the_schema(calm: Workspace, others: list[dict[str, Any]]) -> None:
    name = ensemble_of(calm)
    with client(calm) as asking:
        for column in ROWS[0]:
            for digits in (309, 4_000):
                rows = [ROWS[0] | {column: int("9" * digits)}, *(ROWS[1] | other for other in others)]
                answer = asking.post(f"/predict/{name}", json={"rows": rows})
                assert fault(answer) == (400, "bad_input"), column
                assert "999" not in answer.text


def test_bodies_are_read_no_further_than_their_limit(calm: Workspace) -> None:
    with client(calm, most_request_bytes=50_000, most_rows_bytes=50_000) as asking:
        for path in ("/requests", "/predict/x"):
            assert fault(asking.post(path, content=b" " * 50_001, headers=JSON)) == (413, "too_large")
        assert fault(asking.post("/requests", content=b"{}", headers=JSON | {"Content-Length": "9" * 12})) == (
            413,
            "too_large",
        )
        assert fault(asking.post("/requests", content=b"", headers={"Content-Type": "text/plain"})) == (
            415,
            "media_type",
        )
        packed = JSON | {"Content-Encoding": "gzip"}
        assert fault(asking.post("/requests", content=b"", headers=packed)) == (415, "media_type")


def test_a_body_of_unknown_length_is_cut_off_where_it_is_too_long_or_too_slow() -> None:
    pieces = 0

    async def endless() -> dict[str, Any]:
        nonlocal pieces
        pieces += 1
        return {"type": "http.request", "body": b" " * 10_000, "more_body": pieces < 100}

    async def silent() -> dict[str, Any]:
        await anyio.sleep(60)
        raise AssertionError

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(RefusedCallError) as long:
        anyio.run(reader(50_000, 60.0), Request(scope, endless))
    assert (long.value.status, pieces) == (413, 6)
    with pytest.raises(RefusedCallError) as slow:
        anyio.run(reader(50_000, 0.05), Request(scope, silent))
    assert slow.value.status == 408


def test_the_description_is_counted_and_refused_like_any_call(calm: Workspace) -> None:
    with client(calm, per_client="2/hour", hosts=frozenset({"testserver"})) as asking:
        assert asking.get("/openapi.json", headers={"Host": "evil.example"}).status_code == 421
        assert [asking.get("/openapi.json").status_code for _ in range(3)] == [200, 200, 429]


def test_who_calls_too_often_is_told_when_to_come_back(calm: Workspace) -> None:
    with client(calm, per_token="3/hour", per_client="10/hour") as asking:
        statuses = [asking.get("/metrics").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        asking.headers.update(bearer(calm))
        assert asking.get("/metrics").status_code == 200, "another token has its own count"
        others = [asking.get("/healthz") for _ in range(6)]
        assert [answer.status_code for answer in others] == [200] * 5 + [429], "and all of a client count together"
        assert fault(others[-1]) == (429, "too_often")
        assert 0 < int(others[-1].headers["Retry-After"]) <= 3600
    with pytest.raises(InputError, match="rate"), client(calm, per_token="often"):
        pass


def test_no_identifier_token_path_or_key_comes_into_a_log_or_answer(trained: Workspace) -> None:
    """Callers put identifiers everywhere they can; only the body of a request may hold one, and nothing repeats it."""
    with trained.engine.connect() as connection:
        name = next(iter(current_versions(connection)))
    canary, told = "pupil-1000", []
    with client(trained) as asking:
        secret = asking.headers["Authorization"].removeprefix("Bearer ")
        for method in ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "BREW"):
            for path in (
                "/{}",
                "/requests/{}",
                "/certificates/{}",
                "/predict/{}",
                "/healthz?who={}",
                "/requests?{}",
                "//{}",
            ):
                extra = {"X-Request-Id": canary, "User-Agent": canary, "Idempotency-Key": canary * 2, "Host": canary}
                told.append(asking.request(method, path.format(canary), headers=extra))
                told.append(
                    asking.request(method, path.format(canary), headers=extra, json={"rows": [{canary: canary}]})
                )
        told.append(asking.post(f"/predict/{name}", json={"rows": [dict.fromkeys(ROWS[0], canary)]}))
        told.append(asking.post("/requests", json=erasure_of(canary, status_callback_urls=["https://example.org/x"])))
        told.append(asking.post("/requests", json=erasure_of(canary, **{canary: canary})))
        told.append(asking.post("/requests", json=erasure_of(canary, subject_request_id=canary)))
    assert {answer.status_code for answer in told} >= {200, 201, 400, 404, 405}
    log = log_of(trained).read_text()
    assert len(log.splitlines()) == len(told) + 2
    for answer in told:
        everything = answer.text + str(answer.headers)
        assert canary not in everything
        assert str(trained.root) not in everything
        assert "Traceback" not in everything
        assert answer.headers["X-Request-Id"] in log
        assert answer.headers["Cache-Control"] == "no-store"
    for text in (canary, secret, str(trained.root), "https://example.org"):
        assert text not in log
    assert not scan_folder(trained.root, [canary.encode(), secret.encode()]).hits
