"""What strangers and browsers may send to a real server: it is refused, changes nothing, is not repeated, and it lives on."""

from __future__ import annotations

import gzip
import json
import re
import socket
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from asking import bearer, client, erasure_of, identity_of, log_of, state
from conftest import PUPILS_SCHEMA, pupils
from served import api_server
from shared import copy_of

from workbench.bytescan.folders import scan_folder
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.tokens import create_token, revoke_token, rotate_token
from workbench.workflows.datasets.ingest import ingest

CANARY = "pupil-1000"


class Server:
    """A running server that is spoken to byte by byte."""

    def __init__(self, workspace: Workspace, port: int) -> None:
        self.workspace, self.port, self.token = workspace, port, bearer(workspace)["Authorization"]

    def say(self, content: bytes) -> bytes:
        """All that it answers until it hangs up, or says no more."""
        heard = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=4) as raw, suppress(OSError):
            raw.sendall(content)
            while piece := raw.recv(65_536):
                heard += piece
        return heard

    def post(self, body: bytes, *, path: str = "/requests", **headers: str) -> tuple[int, bytes]:
        """Status and whole answer of one POST, with JSON's type and a token unless others are given."""
        given = {
            "Host": "127.0.0.1",
            "Authorization": self.token,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        heard = self.say(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        return int(heard.split(b" ", 2)[1]), heard


@pytest.fixture(scope="module")
def server(full_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all that is refused."""
    root = tmp_path_factory.mktemp("hostile") / "workspace"
    copy_of(full_workspace, root)
    workspace = Workspace.open(root)
    with api_server(workspace) as (_, port):
        yield Server(workspace, port)


@pytest.fixture
def unmoved(server: Server) -> Iterator[Server]:
    """The server; at the end nothing was changed, it still answers, and its log names nobody."""
    before = state(server.workspace)
    yield server
    assert state(server.workspace) == before
    assert b"200 OK" in server.say(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert not scan_folder(server.workspace.root / "logs", [CANARY.encode(), server.token[7:].encode()]).hits


ERASURE = json.dumps(erasure_of(CANARY)).encode()
BOMB = gzip.compress(b"0" * 50_000_000)


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "GZIP", "identity, gzip", "zstd"])
def test_a_packed_body_is_never_unpacked(unmoved: Server, packing: str) -> None:
    status, heard = unmoved.post(BOMB, Content_Encoding=packing)
    assert status == 415
    assert b"media_type" in heard


def chunked(*pieces: bytes) -> bytes:
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def test_a_body_in_chunks_is_read_no_further_than_the_limit(unmoved: Server) -> None:
    status, heard = unmoved.post(chunked(*[b" " * 8_000] * 40), Content_Length="", Transfer_Encoding="chunked")
    assert (status, b"too_large" in heard) == (413, True)
    endless = b"1;" + b"x" * 100_000 + b"\r\n \r\n0\r\n\r\n"  # an extension of a chunk
    heard = unmoved.say(
        b"POST /requests HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        + endless
    )
    assert not heard.startswith(b"HTTP/1.1 2")


HEAD = ["POST /requests HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Connection: close"]
LENGTH, CHUNKS = f"Content-Length: {len(ERASURE)}", "Transfer-Encoding: chunked"


def whole(server: Server, *more: str, end: str = "\r\n", body: bytes = ERASURE) -> bytes:
    """A call that hands a request in, but for the headers given and how its lines end."""
    lines = [*HEAD, f"Authorization: {server.token}", *more]
    return "".join(f"{line}{end}" for line in [*lines, ""]).encode() + body


IN_CHUNKS = chunked(ERASURE)
AMBIGUOUS = {
    "a length and chunks": lambda s: whole(s, LENGTH, CHUNKS, body=IN_CHUNKS),
    "chunks and a length": lambda s: whole(s, CHUNKS, LENGTH, body=IN_CHUNKS),
    "chunks and the length of the chunks": lambda s: whole(
        s, f"Content-Length: {len(IN_CHUNKS)}", CHUNKS, body=IN_CHUNKS
    ),
    "chunks and no length to speak of": lambda s: whole(s, "Content-Length: 0", CHUNKS, body=IN_CHUNKS),
    "line feeds alone": lambda s: whole(s, LENGTH, end="\n"),
    "one line feed alone": lambda s: whole(s, "X: 1\nY: 2", LENGTH),
    "a line feed alone at the end": lambda s: whole(s, LENGTH).replace(b"\r\n\r\n", b"\r\n\n"),
    "a request line that ends in a line feed": lambda s: whole(s, LENGTH).replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
    "a return alone": lambda s: whole(s, "X: 1\rY: 2", LENGTH),
    "a folded header": lambda s: whole(s, "X: 1\r\n 2", LENGTH),
    "a folded length": lambda s: whole(s, f"Content-Length:\r\n {len(ERASURE)}"),
    "a folded header by a tab": lambda s: whole(s, "X: 1\r\n\t2", LENGTH),
    "a length twice": lambda s: whole(s, LENGTH, LENGTH),
    "a length twice in one": lambda s: whole(s, f"{LENGTH}, {len(ERASURE)}"),
    "two lengths": lambda s: whole(s, LENGTH, "Content-Length: 1"),
    "a blank before the colon": lambda s: whole(s, LENGTH.replace(":", " :")),
    "chunks twice": lambda s: whole(s, CHUNKS, CHUNKS, body=IN_CHUNKS),
    "chunks in HTTP/1.0": lambda s: whole(s, CHUNKS, body=IN_CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a coding that is none": lambda s: whole(s, "Transfer-Encoding: identity", LENGTH),
    "chunks under another name": lambda s: whole(s, "Transfer-Encoding: xchunked", LENGTH),
    "a chunk that ends in a line feed": lambda s: whole(s, CHUNKS, body=IN_CHUNKS.replace(b"\r\n", b"\n", 1)),
    "an extension with a return": lambda s: whole(s, CHUNKS, body=IN_CHUNKS.replace(b"\r\n", b";a\rb\r\n", 1)),
    "a last line that is a line feed": lambda s: whole(s, CHUNKS, body=IN_CHUNKS[:-2] + b"\n"),
    "two tokens": lambda s: whole(s, LENGTH, f"Authorization: {s.token}"),
    "two types": lambda s: whole(s, LENGTH, "Content-Type: text/plain"),
    "two hosts": lambda s: whole(s, LENGTH, "Host: localhost"),
    "an empty line before": lambda s: b"\n" + whole(s, LENGTH),
    "a negative length": lambda s: whole(s, "Content-Length: -1"),
    "a signed length": lambda s: whole(s, LENGTH.replace(": ", ": +")),
    "a length of another base": lambda s: whole(s, f"Content-Length: {len(ERASURE):#x}"),
    "packed chunks": lambda s: whole(s, "Transfer-Encoding: gzip, chunked", body=IN_CHUNKS),
    "a nul": lambda s: whole(s, "X: \0", LENGTH),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_call_that_readers_see_end_elsewhere_hands_nothing_in(unmoved: Server, name: str) -> None:
    """Each is a call that would be answered 201, but for what its name says."""
    heard = unmoved.say(AMBIGUOUS[name](unmoved))
    assert re.match(rb"HTTP/1.1 (4\d\d|501) ", heard) or not heard, heard
    assert b" 201 " not in heard


@pytest.mark.parametrize("form", ["a length", "chunks", "chunks with an extension and a trailer"])
def test_the_same_call_written_plainly_hands_a_request_in(server: Server, form: str) -> None:
    """Else the calls above would prove nothing."""
    body = json.dumps(erasure_of("pupil-1001" if form == "a length" else f"pupil-{1001 + len(form)}")).encode()
    extended = chunked(body).replace(b"\r\n", b';a="b"\r\n', 1)[:-2] + b"X-Sum: 1\r\n\r\n"
    written = {
        "a length": whole(server, f"Content-Length: {len(body)}", body=body),
        "chunks": whole(server, CHUNKS, body=chunked(body)),
        "chunks with an extension and a trailer": whole(server, CHUNKS, body=extended),
    }
    assert server.say(written[form]).startswith(b"HTTP/1.1 201 ")


def test_three_hundred_connections_without_their_headers_keep_nobody_waiting(unmoved: Server) -> None:
    with ExitStack() as stack:
        for number in range(300):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", unmoved.port), timeout=30))
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" if number % 2 else b"")
        heard = unmoved.say(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 200 "), heard


@pytest.mark.parametrize("value", ["a\nX-Injected: 1", "a\rX-Injected: 1", "a\x00b", "é" * 20, "x" * 100_000])
def test_a_header_that_would_be_two_is_none(unmoved: Server, value: str) -> None:
    for name in ("Idempotency_Key", "X_Request_Id"):
        status, heard = unmoved.post(b"{}", **{name: f"{value}-{CANARY}"})
        assert 400 <= status < 500
        assert b"x-injected" not in heard.lower()
        assert CANARY.encode() not in heard


@pytest.mark.parametrize(
    "number",
    [
        *("../../keys/api.key", "..%2f..%2fkeys%2fapi.key", "%2e%2e/%2e%2e/state.db", "..%5c..%5cstate.db"),
        *(
            "..%252fstate.db",
            "%00",
            "x%00.json",
            "%0d%0aX-Injected:%201",
            "%ff%fe",
            "*",
            "%25s",
            "'%20OR%201=1",
            "x" * 5000,
        ),
        f"{CANARY}/",
    ],
)
def test_a_path_is_looked_up_and_never_followed_or_repeated(unmoved: Server, number: str) -> None:
    for method, where in [("GET", "certificates"), ("GET", "requests"), ("DELETE", "requests"), ("POST", "predict")]:
        head = f"{method} /{where}/{number} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {unmoved.token}\r\n"
        rest = "Content-Type: application/json\r\nContent-Length: 11\r\nConnection: close\r\n\r\n"
        heard = unmoved.say((head + rest).encode() + b'{"rows":[]}')
        answer, _, body = heard.partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 4\d\d ", answer), heard
        for text in (b"x-injected", CANARY.encode(), b"location", b"sqlite", str(unmoved.workspace.root).encode()):
            assert text not in heard.lower()
        assert len(body) < 400


@pytest.mark.parametrize(
    "content",
    [
        *(b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999999}', b'{"regulation": "gdpr", "regulation": "gdpr"}'),
        *(b"\xef\xbb\xbf" * 2 + b"{}", ERASURE.decode().encode("utf-16-le"), ERASURE.decode().encode("utf-32")),
        *(
            b'{"a":' + b'[{"b":' * 5_000 + b"1" + b"}]" * 5_000 + b"}",
            b'"' + b"\\u0000" * 10_000 + b'"',
            b"{}" * 2,
            b"null",
        ),
        json.dumps(erasure_of("x" * 60_000)).encode(),
        ERASURE.replace(b"pupil-1000", b"pupil-1000\xc0\xaf"),
    ],
)
def test_bodies_that_readers_disagree_about_are_refused(unmoved: Server, content: bytes) -> None:
    status, heard = unmoved.post(content)
    assert status == 400, heard
    assert b"bad_input" in heard
    assert b"pupil" not in heard


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonp"],
)
def test_what_a_page_can_send_from_a_browser_without_being_asked_hands_nothing_in(unmoved: Server, kind: str) -> None:
    status, heard = unmoved.post(ERASURE, Content_Type=kind, Origin="https://evil.example")
    assert status == 415
    assert b"access-control" not in heard.lower()
    status, heard = unmoved.post(ERASURE, Authorization="", Cookie="token=x", Origin="https://evil.example")
    assert (status, b"access-control" in heard.lower()) == (401, False)


def test_no_browser_is_told_that_it_may(unmoved: Server) -> None:
    asked = b"Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
    asked += b"Access-Control-Request-Headers: authorization,content-type\r\nConnection: close\r\n\r\n"
    heard = unmoved.say(b"OPTIONS /requests HTTP/1.1\r\nHost: localhost\r\n" + asked)
    assert heard.startswith(b"HTTP/1.1 405")
    assert b"access-control" not in heard.lower()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", "", "[::1", "a:b:c", "0"]
)
def test_a_name_that_was_made_to_lead_here_opens_nothing(unmoved: Server, host: str) -> None:
    head = f"GET /discovery HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert unmoved.say(head).startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))
    status, heard = unmoved.post(ERASURE, Host=host or "evil.example")
    assert status in (400, 421)
    assert b"evil" not in heard


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8421", "127.0.0.1:1", "[::1]:8421"])
def test_the_names_of_this_machine_are_known(unmoved: Server, host: str) -> None:
    head = f"GET /discovery HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert unmoved.say(head).startswith(b"HTTP/1.1 200")


def test_a_token_that_ends_is_refused_by_the_next_call_to_a_running_server(server: Server) -> None:
    def status(secret: str) -> int:
        return server.post(b"", path="/predict/x", Authorization=f"Bearer {secret}")[0]

    first = create_token(server.workspace, "crm", ["predict"])
    assert status(first.secret) in (400, 404), "it is let in"
    second = rotate_token(server.workspace, first.token, grace_hours=0)
    assert (status(first.secret), status(second.secret)) == (401, status(second.secret))
    assert status(second.secret) in (400, 404)
    revoke_token(server.workspace, second.token)
    assert status(second.secret) == 401
    narrow = create_token(server.workspace, "crm", ["metrics"])
    assert status(narrow.secret) == 403


def test_a_person_is_found_however_their_name_is_composed(workspace: Workspace, tmp_path: Path) -> None:
    table = pupils(30)
    table["pupil"] = table["pupil"].str.replace("pupil", unicodedata.normalize("NFD", "Zoë-Ångström"))
    table.to_csv(tmp_path / "pupils.csv", index=False)
    (tmp_path / "schema.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
    ingest(workspace, "pupils", schema=tmp_path / "schema.yaml", data=tmp_path / "pupils.csv")
    with client(workspace) as asking:
        for number, form in [(1000, "NFC"), (1001, "NFD")]:
            name = unicodedata.normalize(form, f"Zoë-Ångström-{number}")
            answer = asking.post("/requests", json=erasure_of(name))
            assert (answer.status_code, answer.json()["request_status"]) == (201, "pending")
            other = unicodedata.normalize("NFC" if form == "NFD" else "NFD", name)
            again = asking.post("/requests", json=erasure_of("", subject_identities=[identity_of(other)]))
            assert again.json()["request_status"] == "denied", "the same person"
            assert "Z" + "o" not in answer.text + again.text
    assert "Zo" not in log_of(workspace).read_text()


def test_every_figure_says_what_it_is_and_is_in_the_readme(server: Server) -> None:
    head = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: {server.token}\r\nConnection: close\r\n\r\n"
    text = server.say(head.encode()).decode().partition("\r\n\r\n")[2]
    help_ = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.M))
    named = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    assert named == set(help_)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for name, told in help_.items():
        assert len(told) > 20, name
        if not name.endswith("_created"):
            assert name in readme, name
