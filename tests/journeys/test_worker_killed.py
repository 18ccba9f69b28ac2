"""A worker is killed again and again while requests of all kinds arrive: nobody is lost, doubled, left behind or made up."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import forked
import pytest
from conftest import PUPILS_SCHEMA, pupils
from shared import changed, copied
from sqlalchemy import func, select

from workbench.bytescan.folders import scan_folder
from workbench.config import SynthesizeConfig, TrainConfig
from workbench.data import catalog
from workbench.erasure.request import OPEN, commit_to
from workbench.privacy.ledger import Ledger
from workbench.state.tables import charges, erasures, quarantine, requests
from workbench.state.tables import journal as entries
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.scan_workspace import scan
from workbench.workflows.synthesis.synthesize import synthesize
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train
from workbench.workflows.training.train_shards import train_shards

PEOPLE, SHARED = 160, 80  # in each of the two data sets, and in both
DATASETS = {"school": 0, "camp": PEOPLE - SHARED}  # the number of the first of its people
PATIENCE = 900.0


@dataclass(frozen=True)
class Sent:
    """One entry of one file: whose key, and what it is."""

    key: str
    what: Literal["person", "unknown", "malformed"]


def key_of(number: int) -> str:
    """A key that nothing else looks like."""
    return f"canary-{hashlib.sha256(str(number).encode()).hexdigest()[:12]}"


@pytest.fixture
def workspace(empty_workspace: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two data sets of the same identity type, an ensemble of each, and a release of the first."""
    return copied(changed(tmp_path_factory, "school", empty_workspace, fill_school), tmp_path)


def fill_school(workspace: Workspace, folder: Path) -> None:
    (folder / "schema.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
    for number, (name, first) in enumerate(DATASETS.items()):
        frame = pupils(PEOPLE, first=first, seed=number)
        frame["pupil"] = frame["pupil"].str.removeprefix("pupil-").astype(int).map(key_of)
        frame.to_csv(folder / "table.csv", index=False)
        ingest(workspace, name, schema=folder / "schema.yaml", data=folder / "table.csv")
        train(
            workspace,
            TrainConfig(
                learner="gradient_boosting",
                dataset=name,
                shards=3 - number,
                slices=2,
                rounds=4,
                leaves=7,
                min_rows_per_leaf=5,
            ),
        )
    (folder / "table.csv").unlink()
    Ledger(workspace.engine).set_budget("pupils", epsilon=4, delta=1e-5)
    synthesize(workspace, SynthesizeConfig(generator="mst", dataset="school", epsilon=1, delta=1e-5))


def files_of(n: int, chance: random.Random) -> dict[str, list[Sent]]:
    """`n` entries in files of mixed kinds: people, some of them again, strangers, and entries that can't be read."""
    people = [key_of(number) for number in chance.sample(range(2 * PEOPLE - SHARED), n * 3 // 4)]
    again = chance.sample(people, n // 10)
    strangers = [key_of(10**6 + number) for number in range(n // 12)]
    good = [Sent(key, "person") for key in people + again] + [Sent(key, "unknown") for key in strangers]
    chance.shuffle(good)
    malformed = [Sent(key_of(10**7 + number), "malformed") for number in range(n - len(good))]
    files: dict[str, list[Sent]] = {}
    while good:
        ending = chance.choice([".txt", ".csv", ".jsonl", ".json"])
        files[f"batch-{len(files):03}{ending}"] = [good.pop() for _ in range(min(len(good), chance.randint(1, 8)))]
    for one in malformed:
        sent = chance.choice(list(files.values()))
        sent.insert(chance.randint(0, len(sent)), one)
    return files


def written(name: str, sent: Sequence[Sent], chance: random.Random) -> str:
    """A file's content, an entry a line."""
    if name.endswith(".json"):
        return json.dumps([_open_dsr(one, chance) for one in sent])
    lines = []
    for number, one in enumerate(sent):
        if name.endswith(".txt"):
            lines.append(one.key + ("\x01" if one.what == "malformed" else ""))
        elif name.endswith(".csv"):
            ticket = f"ticket-{name[6:9]}-{number}" if chance.random() < 0.5 else ""
            lines.append(f"{one.key},{ticket}" + (",," if one.what == "malformed" else ""))
        else:
            lines.append(json.dumps({"key": [one.key] if one.what == "malformed" else one.key}))
    return "\n".join(["key,request_id", *lines] if name.endswith(".csv") else lines) + "\n"


def _open_dsr(one: Sent, chance: random.Random) -> dict[str, Any]:
    return {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "subject_request_type": "access" if one.what == "malformed" else "erasure",
        "subject_identities": [
            {"identity_type": "pupil-number", "identity_value": one.key, "identity_format": "raw"},
        ],
        "submitted_time": "2026-01-31T12:00:00Z",
        "api_version": "2.0",
    }


def drop(inbox: Path, name: str, content: bytes) -> None:
    """As senders do: written under another name, then renamed."""
    (inbox / f"{name}.part").write_bytes(content)
    (inbox / f"{name}.part").rename(inbox / name)


def start(workspace: Workspace, inbox: Path, log: Path) -> forked.Popen:
    arguments = ["--workspace", workspace.root, "worker", "--inbox", inbox, "--interval", "0.2"]
    with log.open("ab") as out:
        return forked.Popen([sys.executable, "-m", "workbench", *map(str, arguments)], stdout=out, stderr=out)


def progress_of(workspace: Workspace, log: Path) -> tuple[int, int]:
    with workspace.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(entries)).scalar_one(), log.stat().st_size


def received(workspace: Workspace) -> int:
    with workspace.engine.connect() as connection:
        chosen = select(func.count()).select_from(entries).where(entries.c.kind == "RECEIVED")
        return connection.execute(chosen).scalar_one()


def until_changed(process: forked.Popen, log: Path, seen: Callable[[], Any], pause: float) -> None:
    """Waits until what is seen is another than when the worker was started."""
    before, deadline = seen(), time.monotonic() + PATIENCE
    while seen() == before and time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        time.sleep(pause)


def at_work(workspace: Workspace, log: Path, process: forked.Popen, chance: random.Random) -> None:
    """Waits until the worker did anything at all, and for up to some seconds more."""
    until_changed(process, log, lambda: progress_of(workspace, log), 0.02)
    time.sleep(chance.uniform(0, 4))


def amid_a_file(workspace: Workspace, inbox: Path, log: Path, process: forked.Popen, chance: random.Random) -> None:
    """Waits until the worker accepted a request of a file, whose receipt takes some milliseconds more."""
    until_changed(process, log, lambda: (received(workspace), is_anything_sent(inbox)), 0.002)
    time.sleep(chance.uniform(0, 0.02))


def is_anything_sent(inbox: Path) -> bool:
    """Whether a file is to be taken, or was taken and has no receipt yet."""
    left_out = (".receipt.json", ".result.json")
    folders = [(folder, names) for folder, _, names in os.walk(inbox) if Path(folder).name != "rejected"]
    return any(not name.startswith(".") and not name.endswith(left_out) for _, names in folders for name in names)


def is_amid_a_file(inbox: Path) -> bool:
    """Whether a file was taken and has no receipt yet."""
    return any(not path.name.startswith(".") for path in inbox.glob(".taken-*/*"))


def is_over(workspace: Workspace, inbox: Path, names: Sequence[str]) -> bool:
    with workspace.engine.connect() as connection:
        still = connection.execute(select(requests.c.id).where(requests.c.status.in_(OPEN))).first()
    answered = all((inbox / f"{name}.result.json").exists() for name in names)
    return still is None and answered and not list(inbox.glob(".taken-*"))


def everyone_is_erased_once(workspace: Workspace, tmp_path: Path, *, n: int, kills: int, seed: int) -> None:
    chance, inbox, log = random.Random(seed), tmp_path / "inbox", tmp_path / "log"
    inbox.mkdir()
    log.touch()
    sent = files_of(n, chance)
    content = {name: written(name, ones, chance).encode() for name, ones in sent.items()}
    poison = {f"poison-{number}{ending}": b"\xff{" for number, ending in enumerate((".csv", ".json", ".txt", ".exe"))}
    *rest, last = content.items()
    arriving = [*rest, *poison.items()]
    chance.shuffle(arriving)
    charged = _rows(workspace, charges)
    share = -(-len(arriving) // (kills + 1))

    def arrive() -> None:
        for _ in range(min(share, len(arriving))):
            drop(inbox, *arriving.pop())

    killed = amid = 0
    while killed < kills:
        arrive()
        process = start(workspace, inbox, log)
        try:
            if killed % 2 == 0 and is_anything_sent(inbox):
                amid_a_file(workspace, inbox, log, process, chance)
            else:
                at_work(workspace, log, process, chance)
        finally:
            process.kill()
        killed += process.wait() == -signal.SIGKILL
        amid += is_amid_a_file(inbox)
    assert amid or kills < 10, "no kill fell between the first request of a file and its receipt"
    arrive()
    drop(inbox, *last)  # or all might be over before the last worker heeds a signal
    process = start(workspace, inbox, log)
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not is_over(workspace, inbox, list(sent)):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    assert is_over(workspace, inbox, list(sent)), log.read_text()
    accepted = judge_answers(workspace, inbox, sent)
    judge_inbox(inbox, sent, poison)
    judge_workspace(workspace, sent, accepted)
    judge_nothing_left(workspace, inbox, log, [one.key for ones in sent.values() for one in ones])
    assert _rows(workspace, charges) == charged
    judge_ensembles(workspace)


def judge_answers(workspace: Workspace, inbox: Path, sent: dict[str, list[Sent]]) -> int:
    """Every entry has its answer: one accepted and certified request a person and file; the others are told why not.

    Returns how many were accepted.
    """
    accepted: dict[tuple[str, str], str] = {}
    repeated: list[tuple[tuple[str, str], dict[str, Any], dict[str, Any]]] = []
    for name, ones in sent.items():
        receipts, results = (
            json.loads((inbox / f"{name}.{kind}.json").read_bytes())["requests"] for kind in ("receipt", "result")
        )
        for one, receipt, result in zip(ones, receipts, results, strict=True):
            assert receipt["request"] == result["request"]
            if one.what == "person" and receipt["nonce"] is not None:
                assert (name, one.key) not in accepted, "a person's request is doubled"
                assert commit_to(bytes.fromhex(receipt["nonce"]), [one.key]) == receipt["commitment"]
                assert result["status"] == "completed"
                assert verify(workspace, Path(result["certificate"])).valid
                accepted[name, one.key] = result["certificate"]
                continue
            assert (receipt["status"], result["status"]) == ("rejected", "rejected")
            assert (result["request"] is None) == (one.what == "malformed")
            assert result["reason"] == receipt["reason"] is not None
            if one.what == "person":
                repeated.append(((name, one.key), receipt, result))
            elif one.what == "unknown":
                assert result["reason"].startswith("nothing found of this subject")
    assert {key for _, key in accepted} == {one.key for ones in sent.values() for one in ones if one.what == "person"}
    for key, receipt, result in repeated:
        if result["reason"].startswith("duplicate of the open request"):
            assert receipt["duplicate_of"] in result["reason"]
            assert result["certificate"] == accepted[key]
        else:
            assert result["reason"].startswith("nothing found of this subject")
    assert {path.name for path in (workspace.root / "certificates").iterdir()} == {
        Path(path).name for path in accepted.values()
    }
    return len(accepted)


def judge_inbox(inbox: Path, sent: dict[str, list[Sent]], poison: dict[str, bytes]) -> None:
    answers = {f"{name}.{kind}.json" for name in sent for kind in ("receipt", "result")}
    assert {path.name for path in inbox.iterdir()} == answers | {".lock", "rejected"}
    refused = {path.name: path.read_bytes() for path in (inbox / "rejected").iterdir()}
    assert {name for name in refused if not name.endswith(".reason.txt")} == set(poison)
    assert all(f"{name}.reason.txt" in refused for name in poison)


def judge_workspace(workspace: Workspace, sent: dict[str, list[Sent]], accepted: int) -> None:
    read = [one for ones in sent.values() for one in ones if one.what != "malformed"]
    with workspace.engine.connect() as connection:
        kinds = Counter(connection.execute(select(entries.c.kind)).scalars())
        status = Counter(connection.execute(select(requests.c.status)).scalars())
    assert status == {"completed": accepted, "rejected": len(read) - accepted}
    assert (kinds["RECEIVED"], kinds["CERTIFIED"]) == (len(read), accepted)
    assert _rows(workspace, quarantine) == _rows(workspace, erasures) == []
    report = doctor(workspace)
    assert report.healthy, report


def judge_nothing_left(workspace: Workspace, inbox: Path, log: Path, keys: Sequence[str]) -> None:
    found = scan(workspace, keys)
    assert (found.hits, found.clean) == ((), True)
    needles = [key.encode() for key in keys]
    assert not scan_folder(inbox, needles).hits
    assert not any(needle in log.read_bytes() for needle in needles)


def judge_ensembles(workspace: Workspace) -> None:
    """Each is, byte for byte, what training from scratch on who remains gives."""
    with workspace.engine.connect() as connection:
        manifests = [read_manifest(workspace, artifact) for artifact in current_versions(connection).values()]
        stores = {name: catalog.store(connection, workspace, name) for name in DATASETS}
    assert sorted(manifest.dataset for manifest in manifests) == sorted(DATASETS)
    for manifest in manifests:
        config = TrainConfig.model_validate(manifest.config)
        scratch = train_shards(workspace, stores[manifest.dataset], config, dict.fromkeys(range(config.shards), 0))
        assert manifest.version > 1
        assert [scratch[c.shard].constituent.checkpoints for c in manifest.constituents] == [
            c.checkpoints for c in manifest.constituents
        ]


def _rows(workspace: Workspace, table: Any) -> list[Any]:
    with workspace.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(table))]


def test_a_worker_killed_now_and_then_erases_everyone_once(workspace: Workspace, tmp_path: Path) -> None:
    everyone_is_erased_once(workspace, tmp_path, n=16, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_worker_killed_twenty_times_erases_everyone_once(workspace: Workspace, tmp_path: Path, seed: int) -> None:
    everyone_is_erased_once(workspace, tmp_path, n=200, kills=20, seed=seed)
