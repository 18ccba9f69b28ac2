"""What goes wrong around an erasure: other workers, the clock, the MLflow store, damaged records, an edited journal."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness import Lab
from sqlalchemy import select
from stored import placed

from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.erasure.request import OPEN, quarantined_shards, submit
from workbench.errors import BusyError, InputError
from workbench.sisa.ensemble import Manifest
from workbench.state import journal
from workbench.state.tables import journal as entries
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.erasure import execute
from workbench.workflows.erasure.decide import cancel_request
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training import train as training
from workbench.workflows.training.publish_version import current_versions, read_manifest


@pytest.fixture(scope="module")
def _lab(full_workspace: Path) -> Iterator[Lab]:
    with Lab.opened(full_workspace) as lab:
        yield lab


@pytest.fixture
def lab(_lab: Lab) -> Lab:
    _lab.reset()
    return _lab


def manifest_of(workspace: Workspace) -> Manifest:
    with workspace.engine.connect() as connection:
        return read_manifest(workspace, next(iter(current_versions(connection).values())))


def statuses(workspace: Workspace) -> list[str]:
    with workspace.engine.connect() as connection:
        return sorted(connection.execute(select(requests.c.status)).scalars())


def until_nothing_is_open(workspace: Workspace) -> None:
    while set(statuses(workspace)) & set(OPEN):
        try:
            carry_out_waiting(workspace)
        except BusyError:
            time.sleep(0.01)


def assert_held(workspace: Workspace) -> None:
    """The request is open and its shard answers nothing."""
    assert statuses(workspace) == ["failed"]
    with workspace.engine.connect() as connection:
        assert len(quarantined_shards(connection, "pupils", manifest_of(workspace).partition)) == 1
    assert not list((workspace.root / "certificates").iterdir())


def test_two_workers_at_once_publish_one_version(lab: Lab) -> None:
    keys = placed(Workspace(lab.root), "train")[:3]
    lab.run(lambda workspace: [submit(workspace, ["pupils"], key).status for key in keys])
    workers = [lab.start(until_nothing_is_open) for _ in range(2)]
    assert [worker.wait().error for worker in workers] == [None, None]
    found = lab.look(keys)
    assert manifest_of(Workspace(lab.root)).version == 2
    assert (found["status"], found["certificates"]) == (["completed"] * 3, [True] * 3)
    assert (found["hits"], found["doctor"], found["files"].get("unfinished files")) == ([], [], None)
    assert found["certified"] == 3, "one certification per request"


def test_workers_that_accept_while_others_work_lose_nobody(lab: Lab) -> None:
    keys = placed(Workspace(lab.root), "train")[:4]

    def submit_and_work(workspace: Workspace, mine: tuple[str, ...]) -> None:
        for key in mine:
            submit(workspace, ["pupils"], key)
            until_nothing_is_open(workspace)

    workers = [lab.start(lambda workspace, mine=keys[i::2]: submit_and_work(workspace, mine)) for i in range(2)]
    assert [worker.wait().error for worker in workers] == [None, None]
    found = lab.look(keys)
    assert (found["status"], found["certificates"]) == (["completed"] * 4, [True] * 4)
    assert (found["held"], found["hits"], found["doctor"], found["certified"]) == ([False] * 4, [], [], 4)


def test_a_request_is_withdrawn_before_its_erasure_begins_or_not_at_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(lab.root)
    request = submit(workspace, ["pupils"], lab.keys[0]).id
    plans, refused = execute.plans_for, []

    def cancel() -> None:
        try:
            cancel_request(workspace, request)
        except InputError:
            refused.append(request)

    withdrawing = threading.Thread(target=cancel)

    def planned_meanwhile(*arguments: object) -> object:
        withdrawing.start()
        time.sleep(0.2)
        return plans(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "plans_for", planned_meanwhile)
    carry_out_waiting(workspace)
    withdrawing.join()
    assert refused == [request]
    lab.judge(lab.look())


def test_a_clock_that_goes_backwards_changes_nothing(lab: Lab) -> None:
    start = time.time()

    def earlier() -> float:
        earlier.calls += 1  # type: ignore[attr-defined]
        return start - 3600 * earlier.calls  # type: ignore[attr-defined]

    earlier.calls = 0  # type: ignore[attr-defined]

    def work(workspace: Workspace) -> object:
        time.time = earlier
        clock = SimpleNamespace(now=lambda zone: dt.datetime.fromtimestamp(earlier(), zone))
        journal.dt = SimpleNamespace(datetime=clock, UTC=dt.UTC)  # type: ignore[assignment]
        return lab.erase(workspace)

    assert lab.run(work).error is None
    lab.judge(lab.look())


@pytest.mark.parametrize("how", ["gone", pytest.param("a folder", marks=pytest.mark.slow), "garbage"])
def test_without_the_mlflow_store_an_erasure_stays_open(lab: Lab, how: str) -> None:
    workspace, store, away = Workspace(lab.root), lab.root / "mlflow.db", lab.folder / "away.db"
    shutil.move(store, away)
    if how == "a folder":
        store.mkdir()
    elif how == "garbage":
        store.write_bytes(b"no database " * 1000)
    outcome = lab.run(lab.erase)
    assert outcome.clear, outcome.error
    assert_held(workspace)
    if how == "a folder":
        store.rmdir()
    shutil.move(away, store)
    assert lab.run(carry_out_waiting).error is None
    lab.judge(lab.look())


@pytest.mark.parametrize("whose", ["the person's", "another of the shard"])
def test_a_damaged_bucket_file_is_told_and_the_erasure_waits_for_its_repair(lab: Lab, whose: str) -> None:
    workspace = Workspace(lab.root)
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, "pupils")
    submit(workspace, ["pupils"], lab.keys[0])
    with workspace.engine.connect() as connection:
        drops = execute.plans_for(workspace, execute.subjects_of(connection, execute.waiting(connection)))[0].drops
    mine = next(iter(drops))[1]
    others = [b for split, b in store.digests if split == "train" and b // 16 == mine // 16 and b != mine]
    path = store.files.path(store.file_of("train", mine if whose == "the person's" else others[0]))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    outcome = lab.run(carry_out_waiting)
    assert outcome.clear, outcome.error
    assert "damaged" in str(outcome.error)
    assert_held(workspace)
    path.write_bytes(content)
    assert lab.run(carry_out_waiting).error is None
    lab.judge(lab.look())


def test_a_person_in_a_damaged_bucket_is_not_called_unknown(lab: Lab) -> None:
    for path in (lab.root / "data").rglob("*.parquet"):
        path.write_bytes(path.read_bytes() + b"!")
    outcome = lab.run(lab.erase)
    assert outcome.clear, outcome.error
    assert "damaged" in str(outcome.error)
    assert statuses(Workspace(lab.root)) == []


def test_what_a_killed_training_left_goes_with_the_next_erasure(lab: Lab) -> None:
    config = TrainConfig(learner="gradient_boosting", dataset="pupils", shards=2, slices=2, rounds=4, leaves=7)

    def work(workspace: Workspace) -> object:
        training.record_version = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        return training.train(workspace, config)

    assert lab.run(work).killed
    assert lab.look()["mlflow"] != lab.initial["mlflow"]
    assert lab.run(lab.erase).error is None
    lab.judge(lab.look())


def edit(workspace: Workspace, *, relink: bool) -> None:
    """Changes who acted in the fourth entry of the journal, and links the chain anew where asked to."""
    with sqlite3.connect(workspace.root / "state.db") as connection:
        connection.execute("UPDATE journal SET actor = 'local:nobody' WHERE sequence = 4")
        previous = journal.GENESIS
        rows = connection.execute("SELECT sequence, at, actor, kind, body FROM journal ORDER BY sequence").fetchall()
        for sequence, at, who, kind, body in rows if relink else ():
            digest = journal._link(sequence, at, who, kind, json.loads(body), previous)
            values = (previous, digest, sequence)
            connection.execute("UPDATE journal SET previous = ?, digest = ? WHERE sequence = ?", values)
            previous = digest


def test_a_hand_edited_journal_is_found(lab: Lab) -> None:
    workspace = Workspace(lab.root)
    certificate = Path(erase(workspace, list(lab.keys)).requests[0].certificate)
    edit(workspace, relink=False)
    assert [check.name for check in doctor(workspace).checks if not check.ok] == ["journal"]
    assert [check.name for check in verify(workspace, certificate).checks if not check.ok] == ["journal"]


def test_a_journal_that_was_edited_and_linked_anew_has_lost_what_certificates_signed(lab: Lab) -> None:
    workspace = Workspace(lab.root)
    certificate = Path(erase(workspace, list(lab.keys)).requests[0].certificate)
    edit(workspace, relink=True)
    with workspace.engine.connect() as connection:
        assert connection.execute(select(entries.c.actor).where(entries.c.sequence == 4)).scalar() == "local:nobody"
    failed = [check.name for check in verify(workspace, certificate).checks if not check.ok]
    assert failed == ["journal head"]
