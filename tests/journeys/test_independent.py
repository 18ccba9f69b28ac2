"""Erasures in different data sets: each locks its own, and one that can't be carried out keeps no other from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import forked
import pandas as pd
import pytest
from conftest import Answer, pupils
from killing import Killed
from shared import changed, copied
from stored import placed, predicate

from workbench.bytescan.folders import scan_folder
from workbench.config import TrainConfig
from workbench.data.identity import identify
from workbench.erasure.intake import parse
from workbench.erasure.locate import Subject
from workbench.erasure.request import submit
from workbench.errors import BusyError, CheckFailedError, InputError, LockedError
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure import execute
from workbench.workflows.erasure.decide import list_requests
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out, carry_out_waiting, resume
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training.train import train

SMALL = {"learner": "gradient_boosting", "shards": 2, "slices": 2, "rounds": 4, "leaves": 4, "min_rows_per_leaf": 5}


@pytest.fixture(scope="session")
def both_root(full_workspace: Path, pupils_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pupils' workspace with others in a second data set, one of them in both, and an ensemble there."""

    def change(workspace: Workspace, folder: Path) -> None:
        first = pupils(1).assign(pupil=placed(workspace, "train")[0])
        pd.concat([first, pupils(200, first=3000)]).to_csv(folder / "more.csv", index=False)
        ingest(workspace, "more", schema=pupils_files[0], data=folder / "more.csv")
        train(workspace, TrainConfig(dataset="more", **SMALL))

    return changed(tmp_path_factory, "both", full_workspace, change)


@pytest.fixture
def both(both_root: Path, tmp_path: Path) -> Workspace:
    """A fresh copy of it."""
    return copied(both_root, tmp_path)


def people(workspace: Workspace) -> list[str]:
    """Pupils of the first data set alone."""
    return placed(workspace, "train")[1:]


def damage(workspace: Workspace, dataset: str) -> Callable[[], None]:
    """Damages every bucket file of a data set; what is returned mends them."""
    files = {path: path.read_bytes() for path in (workspace.root / "data" / dataset).rglob("*.parquet")}
    for path in files:
        path.write_bytes(b"damaged")

    def mend() -> None:
        for path, content in files.items():
            path.write_bytes(content)

    return mend


def statuses(workspace: Workspace) -> dict[str, str]:
    return {row.request: row.status for row in list_requests(workspace).requests}


def subject(request: str, dataset: str) -> Subject:
    return Subject(request=request, dataset=dataset, token=b"t", point=0, slice_point=0, split="train")


@pytest.mark.parametrize(
    ("asked", "groups"),
    [
        ("", []),
        ("1a 2b", [{"a"}, {"b"}]),
        ("1a 2a", [{"a"}]),
        ("1a 1b 2c", [{"a", "b"}, {"c"}]),
        ("1a 2b 3a 3b", [{"a", "b"}]),
        ("1a 1b 2c 2d 3b 3c 4e", [{"a", "b", "c", "d"}, {"e"}]),
    ],
)
def test_requests_that_share_a_data_set_at_whatever_remove_are_one_group(asked: str, groups: list[set[str]]) -> None:
    subjects = [subject(request, dataset) for request, dataset in asked.split()]
    for order in (subjects, subjects[::-1]):
        found = execute._groups(order)
        assert sorted(map(sorted, found)) == [sorted(group) for group in groups]
        assert sorted(r for requests in found.values() for r in requests) == sorted({s.request for s in subjects})


def test_a_damaged_data_set_keeps_no_other_waiting(both: Workspace, command: Callable[..., Answer]) -> None:
    stuck = submit(both, ["pupils"], people(both)[0]).id
    mend = damage(both, "pupils")
    answer = erase(both, ["pupil-3000"], dataset="more").requests[0]
    assert (answer.status, answer.exit) == ("completed", 0)
    assert verify(both, Path(answer.certificate), replay=True).valid
    assert statuses(both)[stuck] == "failed"
    again = command("--workspace", both.root, "resume", "--json")
    assert (again.code, again.error["code"]) == (2, "damaged")
    mend()
    assert command("--workspace", both.root, "resume", "--json").json["requests"][0]["request"] == stuck
    assert doctor(both).healthy


def test_what_was_done_is_told_beside_what_failed(both: Workspace, command: Callable[..., Answer]) -> None:
    submit(both, ["pupils"], people(both)[0])
    done = submit(both, ["more"], "pupil-3000").id
    mend = damage(both, "pupils")
    told = command("--workspace", both.root, "resume", "--json")
    assert told.code == 2
    assert [r["request"] for r in told.json["requests"]] == [done]
    assert [f["datasets"] for f in told.json["failed"]] == [["pupils"]]
    mend()
    resume(both)
    assert set(statuses(both).values()) == {"completed"}


def test_one_batch_over_two_data_sets_is_answered_request_by_request(both: Workspace) -> None:
    key = people(both)[0]
    lines = f'{{"key": "{key}", "dataset": "pupils"}}\n{{"key": "pupil-3000", "dataset": "more"}}\n'
    intake = parse(lines.encode(), ".jsonl")
    stray = both.root / "releases" / "stray.txt"
    stray.write_text(f"left by someone: {key}")
    answers = erase(both, intake.asked).requests
    assert [(a.status, a.exit) for a in answers] == [("failed", 1), ("completed", 0)]
    assert all(a.nonce for a in answers), "who asked can open the commitment whatever happened"
    stray.unlink()
    assert len(resume(both)) == 1


def test_the_fault_says_how_many_others_there_are(both: Workspace) -> None:
    for name, key in (("pupils", people(both)[0]), ("more", "pupil-3000")):
        submit(both, [name], key)
        damage(both, name)
    with pytest.raises(InputError, match="1 more"):
        carry_out_waiting(both)
    assert list(statuses(both).values()) == ["failed", "failed"]


def test_an_erasure_that_cannot_be_finished_holds_up_no_data_set(both: Workspace) -> None:
    first, later = people(both)[:2]
    stray = both.root / "releases" / "stray.txt"
    stray.write_text(f"left by someone: {first}")
    answer = erase(both, [first], dataset="pupils").requests[0]
    assert (answer.status, answer.exit) == ("failed", CheckFailedError.exit_code)
    waits = submit(both, ["pupils"], later).id
    assert erase(both, ["pupil-3000"], dataset="more").requests[0].status == "completed"
    assert train(both, TrainConfig(dataset="more", **SMALL)).version == 1
    assert statuses(both)[waits] == "completed", "its own data set neither"
    assert train(both, TrainConfig(dataset="pupils", **SMALL)).version == 1
    stray.unlink()
    assert list(resume(both)) == [answer.request]
    assert set(statuses(both).values()) == {"completed"}


def test_a_data_set_that_is_being_written_is_left_and_the_others_are_carried_out(both: Workspace) -> None:
    waits = submit(both, ["pupils"], people(both)[0]).id
    done = submit(both, ["more"], "pupil-3000").id
    with both.lock("pupils"):
        outcome = carry_out(both)
    assert list(outcome.done) == [done]
    assert [(f.datasets, type(f.fault)) for f in outcome.failures] == [({"pupils"}, LockedError)]
    assert list(carry_out(both).done) == [waits]


def test_a_request_over_both_data_sets_waits_for_both(both: Workspace) -> None:
    request = submit(both, ["pupils", "more"], placed(both, "train")[0]).id
    for name in ("pupils", "more"):
        with both.lock(name):
            assert carry_out(both).done == {}
    assert list(carry_out(both).done) == [request]


def test_processes_erase_in_different_data_sets_at_the_same_time(both: Workspace) -> None:
    pairs = [("pupils", people(both)[0]), ("more", "pupil-3000")]
    workers = [
        forked.Popen(
            [sys.executable, "-m", "workbench", "--workspace", both.root, "erase", "--dataset", *pair],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for pair in pairs
    ]
    for worker in workers:
        out, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0, out
    assert list(statuses(both).values()) == ["completed"] * 2
    for certificate in (both.root / "certificates").iterdir():
        assert verify(both, certificate, replay=True).valid
    assert doctor(both).healthy
    for name, key in pairs:
        assert submit(both, [name], key).status == "rejected", "nothing is left of them"


def test_each_process_begins_with_its_own(both: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(both, ["pupils"], people(both)[0])
    mine = submit(both, ["more"], "pupil-3000").id
    order: list[frozenset[str]] = []

    def noted(_: Workspace, datasets: frozenset[str], __: object) -> execute.Outcome:
        order.append(datasets)
        return execute.Outcome(done={}, failures=())

    monkeypatch.setattr(execute, "_carry_out_group", noted)
    carry_out(both, first=[mine])
    assert order == [{"more"}, {"pupils"}]


def test_no_erasure_begins_over_one_whose_process_died_a_moment_ago(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = placed(trained, "train")[:2]

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setitem(execute.STEPS, "retrained", ("published", killed))  # type: ignore[misc]
        with pytest.raises(Killed):
            erase(trained, [first])
    submit(trained, ["pupils"], second)
    with monkeypatch.context() as patch:
        patch.setattr(execute, "_resume", lambda *_: execute.Outcome(done={}, failures=()))
        with pytest.raises(BusyError, match="not finished"):
            carry_out_waiting(trained)
    assert len(carry_out_waiting(trained)) == 2
    assert doctor(trained).healthy


def test_who_is_in_two_data_sets_can_be_erased_from_one(both: Workspace) -> None:
    key = placed(both, "train")[0]
    for name in ("more", "pupils"):
        answer = erase(both, [key], dataset=name).requests[0]
        assert verify(both, Path(answer.certificate), replay=True).valid
        told = "people elsewhere" in [check["name"] for check in predicate(answer.certificate)["checks"]]
        assert told == (name == "more"), "what was not searched for is said"
    token = token_of(both, key)
    assert scan_folder(both.root, [token, token.hex().encode(), key.encode()]).hits == ()


def test_two_requests_of_one_person_do_not_stand_in_each_others_way(both: Workspace) -> None:
    key = placed(both, "train")[0]
    asked = {submit(both, [name], key).id for name in ("more", "pupils")}
    outcome = carry_out(both)
    assert (set(outcome.done), outcome.failures) == (asked, ())
    token = token_of(both, key)
    assert scan_folder(both.root, [token, token.hex().encode(), key.encode()]).hits == ()


def token_of(workspace: Workspace, key: str) -> bytes:
    keys = {"token_key": workspace.key("token"), "placement_key": workspace.key("placement")}
    return identify([key], identity_type="pupil-number", **keys).tokens[0]
