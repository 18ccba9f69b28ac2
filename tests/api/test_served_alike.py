"""Our server and MLflow's answer the same, and go over to the next version under load without losing a call."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from asking import ROWS, bearer
from conftest import pupils
from served import api_server, mlflow_server
from stored import ensemble_of, manifest_of, placed

from workbench.erasure.request import quarantined_shards, submit
from workbench.state.lineage import find
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.tracking.model_registry import move_models
from workbench.workflows.erasure.run_waiting import erase_waiting
from workbench.workflows.training.predict import predict_frame

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer: when it was asked for and when it came, by the clock; `rows` are None for a refusal."""

    server: str
    began: float
    ended: float
    status: int
    rows: Rows | None


@dataclass
class Client:
    """Asks one server for the same rows over one connection."""

    server: str
    port: int
    path: str
    body: bytes
    headers: dict[str, str]
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self) -> Said:
        began = time.monotonic()
        self.connection.request("POST", self.path, self.body, {"Content-Type": "application/json", **self.headers})
        answer = self.connection.getresponse()
        told = json.loads(answer.read())
        rows = told["predictions"] if answer.status == 200 else None
        return Said(server=self.server, began=began, ended=time.monotonic(), status=answer.status, rows=rows)


@contextmanager
def asking(clients: list[Client]) -> Iterator[tuple[list[Said], list[str]]]:
    """What they hear while the block runs, each asking without a pause; and what was dropped."""
    said: list[Said] = []
    dropped: list[str] = []
    stop = threading.Event()

    def run(client: Client) -> None:
        while not stop.is_set():
            try:
                said.append(client.ask())
            except (OSError, http.client.HTTPException, ValueError) as fault:
                dropped.append(f"{client.server}: {type(fault).__name__}")
                client.connection.close()

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield said, dropped
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def hear(said: list[Said], more: int) -> None:
    """Waits until each server has answered so many calls that were asked from now on."""
    since, deadline = time.monotonic(), time.monotonic() + 120
    while min(Counter(s.server for s in said if s.began > since)[name] for name in ("api", "mlflow")) < more:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_both_servers_answer_alike_and_switch_under_load_without_losing_a_call(trained: Workspace) -> None:
    name, people = ensemble_of(trained), iter(placed(trained, "train"))
    with trained.engine.connect() as connection:
        registered = find(connection, kind="ensemble")[0].body["registered"][1]
    move_models(Tracking(trained.root), trained.root)  # the fixture is a copy
    split = json.loads(pupils(3).drop(columns=["pupil", "passed"]).head(4).to_json(orient="split", index=False))

    def now() -> Rows:
        found: Rows = predict_frame(trained.root, name, pupils(3).head(4)).to_dict("records")
        return found

    def is_silent() -> bool:
        manifest = manifest_of(trained)
        with trained.engine.connect() as connection:
            return len(quarantined_shards(connection, "pupils", manifest.partition)) == len(manifest.constituents)

    with api_server(trained) as (_, ours), mlflow_server(trained, f"models:/{name}/{registered}") as theirs:
        ask_us = ("api", ours, f"/predict/{name}", json.dumps({"rows": ROWS}).encode(), bearer(trained, "predict"))
        ask_them = ("mlflow", theirs, "/invocations", json.dumps({"dataframe_split": split}).encode(), {})
        clients = [Client(*which) for which in (ask_us, ask_them, ask_us, ask_them)]
        expected = [now()]
        assert [client.ask().rows for client in clients] == [expected[0]] * 4, "at rest they say the same"
        with asking(clients) as (said, dropped):
            hear(said, 3)
            submit(trained, ["pupils"], next(people))
            accepted = time.monotonic()
            hear(said, 3)
            assert not erase_waiting(trained).failures
            certified = time.monotonic()
            expected.append(now())
            hear(said, 5)
            silenced = time.monotonic()
            while not is_silent():
                submit(trained, ["pupils"], next(people))
            silent = time.monotonic()
            hear(said, 3)
            published = time.monotonic()
            assert not erase_waiting(trained).failures
            again = time.monotonic()
            expected.append(now())
            hear(said, 5)
        assert dropped == []
        assert [client.ask().rows for client in clients] == [expected[2]] * 4

    assert [rows for rows in expected if expected.count(rows) == 1] == expected, "each version says something else"
    for one in said:
        outside = one.ended < silenced or one.began > again
        assert one.status == 200 or (one.status == 503 and not outside), one
        if one.began > accepted:
            assert one.rows != expected[0], "the first version, after somebody in it was accepted"
        if one.began > certified and one.ended < silenced:
            assert one.rows == expected[1]
        if one.began > silent and one.ended < published:
            assert one.status == 503
        if one.began > again:
            assert one.rows == expected[2]
