"""A hit of the byte scan that no step removes keeps one request open, and holds up nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import Answer, pupils
from shared import copy_of
from stored import placed
from test_queue import POLICY

from workbench.config import TrainConfig
from workbench.erasure import saga
from workbench.erasure.request import quarantined_points, submit
from workbench.erasure.saga import Erasure
from workbench.erasure.suppression import listed
from workbench.errors import InputError
from workbench.progress import Progress
from workbench.state import journal, writing
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import append, ingest
from workbench.workflows.erasure import execute, results, steps
from workbench.workflows.erasure.accept_hit import accept_hit
from workbench.workflows.erasure.decide import cancel_request, set_policy, show_request
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out
from workbench.workflows.erasure.suppressions import export_suppressions
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.restore import restore
from workbench.workflows.training.train import train

SMALL = {"learner": "naive_bayes", "dataset": "pupils", "shards": 2, "slices": 1}


def plant(workspace: Workspace, content: str) -> Path:
    """Leaves something in the workspace that no step of an erasure removes."""
    path = workspace.root / "logs" / "left.txt"
    path.write_text(content)
    return path


Held = tuple[Workspace, str, str]


@pytest.fixture(scope="module")
def held_workspace(
    full_workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, results.Answer, results.Answer]:
    """A workspace where of two people erased together one could not be certified, and what names that one."""
    root = tmp_path_factory.mktemp("held") / "workspace"
    copy_of(full_workspace, root)
    workspace = Workspace.open(root)
    key, other = "pupil-1000", "pupil-1001"
    plant(workspace, f"see {key}")
    stuck, done = erase(workspace, [key, other]).requests
    return root, key, stuck, done


@pytest.fixture
def held(held_workspace: tuple[Path, str, results.Answer, results.Answer], tmp_path: Path) -> Held:
    """A fresh copy of it, the key of the person whose request is held, and that request."""
    shutil.copytree(held_workspace[0], tmp_path / "workspace")
    return Workspace.open(tmp_path / "workspace"), held_workspace[1], held_workspace[2].request


def test_of_two_people_erased_together_one_is_certified(
    held_workspace: tuple[Path, str, results.Answer, results.Answer],
) -> None:
    root, _, stuck, done = held_workspace
    assert (stuck.status, stuck.exit) == ("failed", 1)
    assert "first in logs/left.txt at byte 4" in stuck.reason
    assert (done.status, done.exit) == ("completed", 0)
    assert verify(Workspace.open(root), Path(done.certificate), replay=True).valid


@contextmanager
def verifying(meanwhile: Callable[[Workspace, Erasure], None]) -> Iterator[list[Erasure]]:
    """Notes each verification; of a held request it happens while another writer has its data sets."""
    target, work = execute.STEPS["purged"]
    noted: list[Erasure] = []

    def note(workspace: Workspace, erasure: Erasure, progress: Progress) -> tuple[Erasure, steps.Commit]:
        noted.append(erasure)
        if not erasure.held:
            return work(workspace, erasure, progress)
        with ExitStack() as locks:
            for name in erasure.datasets:
                locks.enter_context(workspace.lock(name))
            meanwhile(workspace, erasure)
            return work(workspace, erasure, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(execute.STEPS, "purged", (target, note))  # type: ignore[misc]
        yield noted


def make_due(workspace: Workspace, *, copies: int = 0) -> None:
    """Lets the time pass after which a held request is tried again; copies stand for other held ones."""
    with writing(workspace.engine) as connection:
        (erasure,) = saga.unfinished(connection)
        saga.save(connection, erasure.model_copy(update={"tried": erasure.tried - 3600}))
        for number in range(copies):
            copy = {"id": f"erasure-{number}", "tried": erasure.tried - 3000}
            saga.create(connection, erasure.model_copy(update=copy))


def test_what_waits_comes_before_what_is_held_of_which_one_is_tried_without_a_lock(held: Held) -> None:
    workspace, _, request = held
    make_due(workspace, copies=1)
    with writing(workspace.engine) as connection:
        (second,) = [erasure.id for erasure in saga.unfinished(connection) if erasure.id == "erasure-0"]
    with verifying(lambda *_: None) as noted:
        done = erase(workspace, ["pupil-1006"]).requests[0]
        assert [erasure.requests for erasure in noted] == [(done.request,), (request,)]
        assert noted[1].id != second, "that which was tried longest ago"
        assert carry_out(workspace).done == {}
        assert [erasure.id for erasure in noted[2:]] == [second], "the other in the next round"
        assert carry_out(workspace).failures == ()
    assert done.status == "completed"


def test_a_hit_that_is_accepted_while_the_search_goes_on_stays_accepted(held: Held) -> None:
    workspace, _, request = held
    make_due(workspace)

    def accept(workspace: Workspace, _: Erasure) -> None:
        (hit,) = show_request(workspace, request).hits
        accept_hit(workspace, request, file=hit.file, offset=hit.offset, reason="the name of a street")

    with verifying(accept):
        assert carry_out(workspace).done == {}
    assert show_request(workspace, request).hits == ()
    assert list(carry_out(workspace).done) == [request]


def test_who_asks_for_a_person_who_is_held_gets_no_answer_that_nothing_was_found(held: Held) -> None:
    """Rows are gone, and something is left: the same controller learns its request, another has one of its own."""
    workspace, key, request = held
    again = submit(workspace, ["pupils"], key)
    assert (again.status, again.duplicate_of) == ("rejected", request)
    with journal.acting("api:beta"):
        theirs = submit(workspace, ["pupils"], key)
        assert (theirs.status, theirs.nonce is None) == ("quarantined", False)
        assert request not in str(theirs)
        assert submit(workspace, ["pupils"], key).duplicate_of == theirs.id
    with workspace.engine.connect() as connection:
        assert not quarantined_points(connection, "pupils").size, "no model saw the person"
    assert submit(workspace, ["pupils"], "pupil-1001").status == "rejected", "certified: erased before"


def test_what_is_held_holds_up_nothing_else(held: Held, command: Callable[..., Answer], tmp_path: Path) -> None:
    workspace, key, request = held
    train(workspace, TrainConfig.model_validate(SMALL))
    pupils(3, first=5000).to_csv(tmp_path / "more.csv", index=False)
    assert append(workspace, "pupils", data=tmp_path / "more.csv").new_subjects
    pupils(1).assign(pupil=key).to_csv(tmp_path / "back.csv", index=False)
    with pytest.raises(InputError, match="the subject was erased"):
        append(workspace, "pupils", data=tmp_path / "back.csv")
    again = command("--workspace", workspace.root, "resume", "--json")
    assert (again.code, again.error["code"]) == (1, "check_failed")
    (workspace.root / "logs" / "left.txt").unlink()
    again = command("--workspace", workspace.root, "resume", "--json")
    assert (again.code, again.json["requests"][0]["request"]) == (0, request)
    assert verify(workspace, workspace.root / "certificates" / f"{request}.json", replay=True).valid


def test_a_backup_brings_the_open_request_and_what_names_the_person(held: Held, tmp_path: Path) -> None:
    workspace, key, request = held
    left = workspace.root / "certificates" / "left.txt"
    left.write_text(f"see {key}")
    assert backup(workspace, tmp_path / "w.tar.zst").open_requests == 1
    export_suppressions(workspace, tmp_path / "list.json")
    done = restore(tmp_path / "again", tmp_path / "w.tar.zst", suppressions=tmp_path / "list.json")
    assert (done.suppressed, done.open_requests) == (0, 1), "no row of theirs was in it"
    again = Workspace.open(tmp_path / "again")
    assert [hit.file for hit in show_request(again, request).hits] == ["certificates/left.txt"], "searched again"
    assert "left.txt" not in str(show_request(again, request).reason), "controllers are told the reason"
    (again.root / "certificates" / "left.txt").unlink()
    assert not carry_out(again).done, "it was tried a moment ago"
    make_due(again)
    assert set(carry_out(again).done) == {request}


def test_a_person_stays_out_until_the_request_is_over_whatever_the_policy_keeps(
    trained: Workspace, pupils_files: tuple[Path, Path], tmp_path: Path
) -> None:
    """What an open request knows keeps the rows out: the quarantine is of one data set, and ends at publication."""
    set_policy(trained, "pupils", POLICY, ["approval=required", "suppression=false"])
    key = placed(trained, "train")[0]
    pupils(1).assign(pupil=key).to_csv(tmp_path / "back.csv", index=False)
    request = submit(trained, ["pupils"], key).id
    with pytest.raises(InputError, match="the subject was erased"):
        ingest(trained, "again", schema=pupils_files[0], data=tmp_path / "back.csv")
    with trained.engine.connect() as connection:
        assert listed(connection) == {}, "what the policy does not keep is on no list for a restore"
    cancel_request(trained, request)
    assert ingest(trained, "again", schema=pupils_files[0], data=tmp_path / "back.csv").rows
