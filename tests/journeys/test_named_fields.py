"""Fields that people fill in name nobody of the data: refused at entry, or taken out before the byte scan."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pandas as pd
import pytest
from conftest import pupils
from shared import changed, copied
from stored import predicate

from workbench.bytescan.folders import scan_folder
from workbench.config import TrainConfig
from workbench.erasure.request import submit, withdraw
from workbench.erasure.weak_scan import scan_short
from workbench.errors import InputError, NamingError
from workbench.jobs.job import enqueue, find
from workbench.state import journal, roles, writing
from workbench.state.tables import jobs
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.inbox_worker import work
from workbench.workflows.controllers.tokens import create_token, list_tokens, recognise
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.check_erasure import DIGITS
from workbench.workflows.erasure.decide import list_requests, show_request
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out
from workbench.workflows.operations.audit_log import read_history
from workbench.workflows.synthesis.sample import sample
from workbench.workflows.training.train import train

UUID = "a7551968-d5d6-44b2-9831-815ac9017798"
ADDRESS = "ada.lovelace@example.org"
WORD = "quarantined"
SHORT = "123456"


@pytest.fixture(scope="module")
def mixed_root(full_workspace: Path, pupils_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pupils' workspace, with a second data set whose people have all kinds of identifiers."""

    def change(workspace: Workspace, folder: Path) -> None:
        keys = [UUID, ADDRESS, WORD, SHORT, "12345678", "grace.hopper", "1234"]
        table = pd.concat([pupils(1).assign(pupil=key) for key in keys] + [pupils(10, first=3000)])
        table.to_csv(folder / "mixed.csv", index=False)
        ingest(workspace, "mixed", schema=pupils_files[0], data=folder / "mixed.csv")

    return changed(tmp_path_factory, "mixed", full_workspace, change)


@pytest.fixture
def mixed(mixed_root: Path, tmp_path: Path) -> Workspace:
    """A fresh copy."""
    return copied(mixed_root, tmp_path)


IDS = {
    "the key": ("pupil-1000", "pupil-1000"),
    "the key in a longer id": ("dsr_pupil-1000.v2", "pupil-1000"),
    "the key in base64": ("cHVwaWwtMTAwMA", "pupil-1000"),
    "somebody else's": ("for-pupil-1001", "pupil-1000"),
    "somebody else's short one": ("case-123456", "pupil-1000"),
    "a UUID that is the key": (UUID, UUID),
    "somebody else's UUID": (UUID, "pupil-1000"),
    "somebody else's number in a UUID": ("12345678-d5d6-44b2-9831-815ac9017798", "pupil-1000"),
}


@pytest.mark.parametrize("what", IDS)
def test_a_request_id_names_nobody(mixed: Workspace, what: str) -> None:
    request, key = IDS[what]
    with pytest.raises(NamingError) as fault:
        submit(mixed, ["mixed" if key == UUID else "pupils"], key, request_id=request)
    assert request not in f"{fault.value} {fault.value.hint}"
    assert list_requests(mixed).requests == ()


def test_a_random_id_is_not_refused_for_a_short_number_in_it(mixed: Workspace) -> None:
    """A number of 5 to 7 digits is searched for as a whole word, which it never is between the letters of a UUID."""
    request = "ab123456-d5d6-44b2-9831-815ac9017798"
    assert submit(mixed, ["pupils"], "pupil-1000", request_id=request).status == "quarantined"
    assert scan_short(mixed, {SHORT.encode()}) == ([], [])


def test_the_inbox_refuses_such_an_id_and_goes_on(mixed: Workspace, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    ids = [("pupil-1000", "x-pupil-1000"), ("pupil-1001", "DSR-2026-00123"), ("pupil-1002", None)]
    lines = [json.dumps({"key": key, "request_id": name, "dataset": "pupils"}) for key, name in ids]
    (inbox / "a.jsonl").write_text("\n".join(lines))
    work(mixed, inbox, stop=threading.Event(), once=True)
    (receipt,) = inbox.glob("*.receipt.json")
    told = json.loads(receipt.read_text())["requests"]
    assert [r["status"] for r in told] == ["rejected", "quarantined", "quarantined"]
    assert "names the person" in told[0]["reason"]


def test_names_that_were_written_before_are_taken_out(mixed: Workspace, tmp_path: Path) -> None:
    token = create_token(mixed, "crm", ["predict"])
    with writing(mixed.engine) as connection:
        connection.exec_driver_sql("UPDATE tokens SET name = 'grace.hopper'")
        job = enqueue(connection, "ingest", {"name": "x", "data": f"/home/{ADDRESS}/x.csv", "schema": None})
    generator = next((mixed.root / "generators").iterdir()).name
    with journal.acting("oidc:new"):
        sample(mixed, generator, 5, tmp_path / "out.csv", recipient="the analysts")
    with writing(mixed.engine) as connection:
        connection.exec_driver_sql(f"UPDATE artifacts SET body = replace(body, 'the analysts', 'for {ADDRESS}')")
    (mixed.root / roles.ROLES_FILE).write_text(f"emails: {{{ADDRESS}: admin, b@example.org: viewer}}  # as ever\n")
    with journal.acting(f"oidc:{ADDRESS}"):
        answers = erase(mixed, [ADDRESS, "grace.hopper"], dataset="mixed").requests
        again = submit(mixed, ["pupils"], "pupil-1004")
    assert [a.status for a in answers] == ["completed", "completed"], [a.reason for a in answers]
    assert not scan_folder(mixed.root, [b"grace.hopper"]).hits
    assert not [hit for hit in scan_folder(mixed.root, [ADDRESS.encode()]).places if hit[0] != "state.db"]

    key = mixed.key("token")
    claims = {"sub": "s", "email": ADDRESS.title(), "email_verified": True}
    person = roles.person_of(claims, roles.read_roles(mixed.root), key)
    assert person is not None
    assert person.role == "admin"
    assert roles.person_of(claims | {"email": "c@example.org"}, roles.read_roles(mixed.root), key) is None
    assert recognise(mixed, token.secret).name == list_tokens(mixed).tokens[0].name != "grace.hopper"
    with mixed.engine.connect() as connection:
        row = connection.execute(jobs.select().where(jobs.c.id == job.id)).one()
        assert (row.status, row.config) == ("failed", {})
        rows = {row.request: row for row in list_requests(mixed).requests}
        mine, first = rows[again.id], rows[answers[0].request]
        assert mine.actor == f"oidc:{ADDRESS}", "what they do afterwards is theirs to be told"
        assert first.actor.startswith("actor-")
        assert journal.is_actor(connection, first.actor, f"oidc:{ADDRESS}")
        assert not journal.is_actor(connection, first.actor, "oidc:somebody")
    assert {entry.actor for entry in read_history(mixed).entries} >= {"oidc:new", first.actor}
    assert journal_is_whole(mixed)


def journal_is_whole(workspace: Workspace) -> bool:
    with workspace.engine.connect() as connection:
        return journal.broken_at(connection) is None


def test_what_is_entered_names_nobody(mixed: Workspace, pupils_files: tuple[Path, Path]) -> None:
    settings = {"learner": "naive_bayes", "dataset": "pupils", "shards": 2, "slices": 1}
    with pytest.raises(NamingError, match="training config"):
        train(mixed, TrainConfig.model_validate(settings | {"informed_by": "pupil-1003"}))
    with pytest.raises(NamingError, match="controller"):
        create_token(mixed, "grace.hopper", ["predict"])
    with pytest.raises(NamingError, match="data set"):
        ingest(mixed, "pupil-1003", schema=pupils_files[0], data=pupils_files[1])
    with pytest.raises(InputError, match="a person's in it"):
        ingest(mixed, "new-99999", schema=pupils_files[0], data=table_with(mixed, "99999"))
    assert not (mixed.root / "data" / "new-99999").exists()


def table_with(workspace: Workspace, key: str) -> Path:
    path = workspace.root.parent / "more.csv"
    pupils(2, first=7000).replace({"pupil": {"pupil-7000": key}}).to_csv(path, index=False)
    return path


def test_the_certificate_says_what_was_not_searched(mixed: Workspace) -> None:
    (mixed.root / "logs" / "a.txt").write_text(f"took 0.{SHORT} s; {WORD}")
    left = mixed.root / "logs" / "b.txt"
    left.write_text(f"1234 12345678 {SHORT}")
    denied = submit(mixed, ["pupils"], "pupil-1000").id
    withdraw(mixed, denied, status="denied", reason=f"kept while {WORD}")
    with writing(mixed.engine) as connection:
        job = enqueue(connection, "train", {"dataset": "pupils", "informed_by": WORD}).id
    answers = erase(mixed, [WORD, "1234", SHORT, "12345678"], dataset="mixed").requests
    assert [a.status for a in answers] == ["completed"] * 2 + ["failed"] * 2, [a.reason for a in answers]
    assert show_request(mixed, denied).reason == f"kept while {WORD}", "a word of the workbench is not taken out"
    with mixed.engine.connect() as connection:
        assert [one.status for one in find(connection) if one.id == job] == ["waiting"]
    left.unlink()
    done = carry_out(mixed, held="all").done
    certificates = [done.get(answer.request, answer).certificate for answer in answers]
    said = [predicate(Path(certificate))["scan"]["not_searched"] for certificate in certificates]
    assert "a word of the workbench" in str(said[0])
    assert "fewer than 5" in str(said[1])
    assert "5 to 7 characters" in str(said[2])
    assert said[3] == [DIGITS]
