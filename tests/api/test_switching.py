"""An erasure that publishes and purges while a call is under way: the call is answered, and by what stands now."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ROWS, client, erasure_of, fault
from conftest import pupils
from stored import ensemble_of, manifest_of, placed, store_of

from workbench.data.store import Store
from workbench.erasure.locate import locate
from workbench.erasure.request import submit
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.run_waiting import erase_waiting
from workbench.workflows.training import predict as module
from workbench.workflows.training.predict import predict_frame


def erased(workspace: Workspace, key: str) -> None:
    assert submit(workspace, ["pupils"], key).status == "quarantined"
    assert not erase_waiting(workspace).failures


@pytest.mark.parametrize("moment", ["read_manifest", "objects_of"])
def test_a_prediction_whose_files_are_purged_under_it_is_that_of_the_next_version(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before the manifest is read, and before the checkpoints are: both are gone by then."""
    name, people = ensemble_of(trained), iter(placed(trained, "train")[:2])
    read = getattr(module, moment)

    def late(*arguments: Any) -> Any:
        for person in people:  # the first time
            erased(trained, person)
        return read(*arguments)

    monkeypatch.setattr(module, moment, late)
    with client(trained) as asking:
        answer = asking.post(f"/predict/{name}", json={"rows": ROWS})
    assert answer.status_code == 200, answer.text
    assert manifest_of(trained).version == 3
    assert answer.json()["predictions"] == predict_frame(trained.root, name, pupils(3).head(4)).to_dict("records")


def neighbours(workspace: Workspace) -> tuple[str, str]:
    """Two people whose rows lie in one bucket file."""
    seen: dict[int, str] = {}
    for key in placed(workspace, "train"):
        (subject,) = locate(workspace, [("pupils", key)])
        bucket = subject.point >> 58
        if bucket in seen:
            return seen[bucket], key
        seen[bucket] = key
    raise AssertionError


def test_a_request_is_accepted_while_the_file_that_its_person_lies_in_is_rewritten(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = neighbours(trained)
    read, todo = Store.splits_of, [first]

    def late(store: Store, token: bytes, point: int) -> Any:
        while todo:
            erased(trained, todo.pop())
        return read(store, token, point)

    before = store_of(trained).digests
    with client(trained) as asking:
        monkeypatch.setattr(Store, "splits_of", late)
        answer = asking.post("/requests", json=erasure_of(second))
    assert (answer.status_code, answer.json()["request_status"]) == (201, "pending"), answer.text
    assert store_of(trained).digests != before
    assert not todo


def test_a_file_that_is_damaged_and_not_replaced_is_no_fault_of_the_caller(trained: Workspace) -> None:
    key = placed(trained, "train")[0]
    for path in (trained.root / "data").rglob("*.parquet"):
        path.write_bytes(b"damaged")
    with client(trained) as asking:
        assert fault(asking.post("/requests", json=erasure_of(key))) == (500, "damaged")
