"""Requests over HTTP under load: prints a table and writes benchmarks/api.json.

Adult, the demo's ensemble, a server and a worker as processes of their own, the disk that holds the temporary folder. An open
loop hands in 50 requests a second for 100 seconds: a call is due at its time whether or not those before it were answered,
and its latency counts from then. Meanwhile the worker carries requests out and is killed (SIGKILL) and started anew every
few seconds. Every tenth call is made twice with one idempotency key. At the end each request has to be there once: received
once, under quarantine or certified once. Then rows are predicted, 500 in a call, one call after another.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from setting import ROWS, adult, config_of, keep

from workbench.data.bundled import bundled_path
from workbench.state.tables import journal, requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.tokens import create_token
from workbench.workflows.training.train import train

CONNECTIONS = 24
ROWS_A_CALL, PREDICT_SECONDS = 500, 8.0
TARGETS = {"lost": 0, "doubled": 0, "submit p99 ms": 100.0, "predicted rows/s": 2_000}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to hand in: when, after the start, and what."""

    at: float
    id: str
    key: str
    body: bytes


@contextmanager
def server(workspace: Workspace) -> Iterator[int]:
    """The port of a running server."""
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "api", "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["api"].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait()


@contextmanager
def restless_worker(workspace: Workspace, inbox: Path, every: float) -> Iterator[Counter[str]]:
    """A worker that is killed and started anew all the time; counts the kills. At the end it is let live."""
    workbench = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root)]
    command = ["nice", *workbench, "worker", "--inbox", str(inbox)]
    kills: Counter[str] = Counter()
    stop = threading.Event()

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, "--interval", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run() -> None:
        process = start()
        while not stop.wait(every):
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills["worker"] += 1
            process = start()
        settled(workspace)
        process.terminate()
        process.wait()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield kills
    finally:
        stop.set()
        thread.join()


def settled(workspace: Workspace, most: float = 900.0) -> None:
    """Waits until nothing is open, at most so many seconds."""
    deadline = time.monotonic() + most
    while time.monotonic() < deadline:
        with workspace.engine.connect() as connection:
            statuses = set(connection.execute(requests.select().with_only_columns(requests.c.status)).scalars())
        if statuses <= {"completed", "rejected"}:
            return
        time.sleep(1)


def calls(n: int, rate: float) -> list[Call]:
    people = np.random.default_rng(0).choice(ROWS, n, replace=False)
    made = []
    for number, person in enumerate(people):
        request = {
            "regulation": "gdpr",
            "subject_request_id": str(uuid.uuid4()),
            "subject_request_type": "erasure",
            "subject_identities": [
                {"identity_type": "us-census-1994-row", "identity_value": str(person), "identity_format": "raw"}
            ],
            "submitted_time": "2026-01-31T12:00:00Z",
            "api_version": "2.0",
        }
        call = Call(
            at=number / rate,
            id=str(request["subject_request_id"]),
            key=str(uuid.uuid4()),
            body=json.dumps(request).encode(),
        )
        made += [call, call] if number % 10 == 0 else [call]
    return made


def hand_in(port: int, secret: str, todo: list[Call]) -> tuple[list[float], Counter[str]]:
    """Latencies in seconds, from when each call was due, and the answers: 201, or status and reason, which is printed."""
    waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
    seconds: list[float] = []
    answers: Counter[str] = Counter()
    started = time.perf_counter() + 0.5

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        while (call := waiting.get()) is not None:
            try:
                answer = handed_in(connection, call, headers)
            except ConnectionError:  # the server had closed it, as an idle one: by its key the call is the same again
                connection.close()
                answer = handed_in(connection, call, headers)
            seconds.append(time.perf_counter() - started - call.at)
            answers[answer] += 1
            if answer != "201":
                print(f"after {call.at:.1f} s: {answer}", flush=True)

    threads = [threading.Thread(target=run) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for call in todo:
        time.sleep(max(0.0, started + call.at - time.perf_counter()))
        waiting.put(call)
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()
    return seconds, answers


def handed_in(connection: http.client.HTTPConnection, call: Call, headers: dict[str, str]) -> str:
    """201, or the status and whatever the server says of it."""
    connection.request("POST", "/requests", call.body, headers | {"Idempotency-Key": call.key})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status == 201:
        return "201"
    try:
        error = json.loads(body)["error"]
        return f"{answer.status} {error['reason']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status} {body[:80]!r}"


def judged(workspace: Workspace, todo: list[Call]) -> dict[str, int]:
    """How many requests are not there, or more than once; how many are certified."""
    wanted = {call.id for call in todo}
    with workspace.engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(requests.select())}
        entries = connection.execute(journal.select().with_only_columns(journal.c.kind, journal.c.body)).all()
    count = Counter((entry.kind, entry.body.get("request")) for entry in entries)
    lost = [i for i in wanted if i not in rows or rows[i].status == "rejected" or not count["QUARANTINED", i]]
    doubled = [i for i in wanted if count["RECEIVED", i] > 1 or count["CERTIFIED", i] > 1]
    done = [row for row in rows.values() if row.status == "completed" and (workspace.root / row.certificate).is_file()]
    return {
        "sent": len(wanted),
        "lost": len(lost),
        "doubled": len(doubled) + len(rows.keys() - wanted),
        "certified": len(done),
    }


def predicted(port: int, secret: str, ensemble: str) -> float:
    """Rows a second."""
    frame = pd.read_parquet(bundled_path("adult.parquet")).head(ROWS_A_CALL)
    body = json.dumps({"rows": json.loads(frame.to_json(orient="records"))}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    rows, started = 0, time.perf_counter()
    while time.perf_counter() - started < PREDICT_SECONDS:
        connection.request("POST", f"/predict/{ensemble}", body, headers)
        answer = connection.getresponse()
        rows += len(json.loads(answer.read())["predictions"])
    return rows / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--kill-every", type=float, default=7.0)
    options = parser.parse_args()
    todo = calls(int(options.seconds * options.rate), options.rate)
    with adult() as workspace, tempfile.TemporaryDirectory() as inbox:
        ensemble = train(workspace, config_of(8, 4)).ensemble
        scopes = ["requests:write", "requests:read", "predict"]
        secret = create_token(workspace, "benchmark", scopes).secret
        with server(workspace) as port:
            with restless_worker(workspace, Path(inbox), options.kill_every) as kills:
                seconds, answers = hand_in(port, secret, todo)
            figures: dict[str, Any] = judged(workspace, todo) | {"worker killed": kills["worker"]}
            figures["predicted rows/s"] = round(predicted(port, secret, ensemble))
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    figures |= {"submit p50 ms": round(float(p50), 1), "submit p99 ms": round(float(p99), 1)}
    figures["submit most ms"] = round(max(seconds) * 1000, 1)
    figures["answers"] = dict(sorted(answers.items()))
    settings = {"seconds": options.seconds, "rate": options.rate, "cores": os.cpu_count()}
    keep(__file__, {**settings, "targets": TARGETS, "figures": figures})
    for what, figure in figures.items():
        target = TARGETS.get(what)
        print(f"{what:20} {figure!s:>24}{'' if target is None else f'   target {target:,}'}")


if __name__ == "__main__":
    main()
