"""The queue: approval, withdrawal, idempotence, and erasures that are interrupted after any step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import pupils
from killing import killed_in
from sqlalchemy import text
from stored import ensemble_of, manifest_of, placed, predicate

from workbench.config import SynthesizeConfig, TrainConfig
from workbench.erasure.intake import parse
from workbench.erasure.locate import locate
from workbench.erasure.request import quarantined_shards, submit, submit_person
from workbench.errors import BusyError, ForbiddenError, InputError, KnownRequestError, NotFoundError
from workbench.state import journal
from workbench.state.roles import Person, acting
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.decide import (
    approve_request,
    cancel_request,
    deny_request,
    list_requests,
    set_policy,
    show_request,
)
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting, resume
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation import evaluate as evaluating
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.jobs import list_jobs
from workbench.workflows.synthesis import synthesize as synthesizing
from workbench.workflows.training import train as training
from workbench.workflows.training.predict import predict_frame

POLICY = Path("configs/policies/default.yaml")
COPULA = SynthesizeConfig(generator="gaussian_copula", dataset="pupils")
TREES = TrainConfig.model_validate({"learner": "gradient_boosting", "dataset": "pupils", "shards": 2, "slices": 1})


def count(workspace: Workspace, table: str) -> int:
    with workspace.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() or 0)


def test_approval_is_awaited_under_quarantine(trained: Workspace) -> None:
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    frame = pupils(5, first=9000).drop(columns=["pupil", "passed"])
    before = predict_frame(trained.root, ensemble_of(trained), frame)
    answer = erase(trained, [placed(trained, "train")[0]]).requests[0]
    assert (answer.status, answer.exit) == ("quarantined", 7)
    assert not predict_frame(trained.root, ensemble_of(trained), frame).equals(before)
    assert carry_out_waiting(trained) == {}
    approve_request(trained, answer.request)
    done = carry_out_waiting(trained)[answer.request]
    assert verify(trained, Path(done.certificate), replay=True).valid
    with pytest.raises(InputError):
        approve_request(trained, answer.request)


@pytest.mark.parametrize("how", ["denied", "cancelled"])
def test_a_withdrawn_request_lifts_the_quarantine_and_forgets_the_person(trained: Workspace, how: str) -> None:
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    frame = pupils(5, first=9000).drop(columns=["pupil", "passed"])
    before = predict_frame(trained.root, ensemble_of(trained), frame)
    request = erase(trained, [placed(trained, "train")[0]]).requests[0].request
    if how == "denied":
        deny_request(trained, request, "the law asks us to keep it")
    else:
        cancel_request(trained, request)
    assert predict_frame(trained.root, ensemble_of(trained), frame).equals(before)
    assert (count(trained, "vault"), count(trained, "quarantine")) == (0, 0)
    assert list_requests(trained).requests[0].status == how
    with pytest.raises(InputError):
        cancel_request(trained, request)
    with pytest.raises(NotFoundError):
        cancel_request(trained, "er-none")


def test_a_request_is_taken_back_by_its_own_hand_or_by_who_decides(trained: Workspace) -> None:
    keys = iter(placed(trained, "train"))

    def handed_in(actor: str) -> str:
        with journal.acting(actor):
            return submit(trained, ["pupils"], next(keys)).id

    alice, bob = (Person(actor=f"oidc:{name}", role="operator") for name in ("alice", "bob"))
    theirs = [handed_in(actor) for actor in ("oidc:alice", "api:shop", "local:worker")]
    for request in theirs:
        with acting(bob), pytest.raises(ForbiddenError) as fault:
            cancel_request(trained, request)
        assert "deny" in fault.value.hint
    assert {one.status for one in list_requests(trained).requests} == {"quarantined"}
    with acting(alice):
        cancel_request(trained, theirs[0])
    with acting(Person(actor="oidc:carol", role="admin")):
        cancel_request(trained, theirs[1])
    cancel_request(trained, theirs[2])  # at the command line, by who has the files
    assert {one.status for one in list_requests(trained).requests} == {"cancelled"}


def test_a_request_id_is_accepted_once(trained: Workspace) -> None:
    first, second = placed(trained, "train")[:2]
    nonce = bytes(range(16))
    receipt = submit_person(trained, [("pupils", first)], request_id="ticket-7", nonce=nonce)
    before = list_requests(trained)
    assert submit_person(trained, [("pupils", first)], request_id="ticket-7", nonce=nonce) == receipt
    for controller, key, secret in (
        (journal.actor(), first, None),
        (journal.actor(), second, nonce),
        ("api:beta", first, nonce),
    ):
        with journal.acting(controller), pytest.raises(KnownRequestError, match="used before"):
            submit_person(trained, [("pupils", key)], request_id="ticket-7", nonce=secret)
    assert (list_requests(trained), count(trained, "quarantine")) == (before, 1)
    assert submit(trained, ["pupils"], first).status == "rejected", "the same person, another id: a duplicate"
    with pytest.raises(InputError):
        submit(trained, ["pupils"], first, request_id="../../etc/passwd")


def test_a_known_id_in_a_file_is_one_rejected_entry(trained: Workspace) -> None:
    """Who hands the rest of an interrupted file in again gets every other person of it erased."""
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    first, second = placed(trained, "train")[:2]
    done = submit(trained, ["pupils"], first, request_id="ticket-7")
    asked = parse(f"key,request_id\n{second},ticket-7\n{second},ticket-8\n".encode(), ".csv").asked
    new, known = erase(trained, asked).requests
    assert (known.request, known.status, known.exit) == (None, "rejected", 2)
    assert "line 2: the request id was used before" in known.reason
    assert not [value for value in (done.commitment, done.due) if value in str(known)]
    assert (new.request, new.status) == ("ticket-8", "quarantined")


@pytest.mark.parametrize("how", ["denied", pytest.param("cancelled", marks=pytest.mark.slow)])
def test_a_decision_on_one_controllers_request_leaves_anothers_as_it_is(trained: Workspace, how: str) -> None:
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    key = placed(trained, "train")[0]
    answers = []
    for controller in ("local:alpha", "oidc:beta"):  # the command line and the app
        with journal.acting(controller):
            answers += erase(trained, [key]).requests
    (first, second) = (answer.request for answer in answers)
    assert [(a.status, a.exit, a.nonce is None) for a in answers] == [("quarantined", 7, False)] * 2
    assert first not in json.dumps(answers[1].to_json())
    if how == "denied":
        deny_request(trained, first, "they withdrew it by letter")
    else:
        cancel_request(trained, first)
    assert (count(trained, "vault"), count(trained, "quarantine")) == (1, 1)
    approve_request(trained, second)
    assert list(carry_out_waiting(trained)) == [second]
    assert not locate(trained, [("pupils", key)])


def test_a_person_erased_for_one_controller_is_erased_for_all(trained: Workspace) -> None:
    """A request that waits for approval goes along with one that was approved, where it asks for no more than that."""
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    first, second = placed(trained, "train")[:2]
    with journal.acting("api:alpha"):
        mine = submit(trained, ["pupils"], first).id
    with journal.acting("api:beta"):
        same = submit(trained, ["pupils"], first).id
        more = submit_person(trained, [("pupils", first), ("pupils", second)]).id
    approve_request(trained, mine)
    done = carry_out_waiting(trained)
    assert set(done) == {mine, same}
    assert [predicate(one.certificate)["requests_together"] for one in done.values()] == [1, 1], "one person"
    stands = {one.request: one for one in list_requests(trained).requests}
    assert (stands[same].status, stands[same].approval) == ("completed", "none")
    assert (stands[more].status, stands[more].approval) == ("quarantined", "waiting")
    assert [step.kind for step in show_request(trained, same).timeline][2:4] == ["JOINED", "PLANNED"]


@pytest.mark.parametrize("step", [pytest.param("planned", marks=pytest.mark.slow), "retrained"])
def test_a_request_that_joins_an_erasure_under_way_has_nothing_left_to_train(trained: Workspace, step: str) -> None:
    """Its share holds the person until the new version is out, and no shard after that."""
    key, before = placed(trained, "train")[0], manifest_of(trained)
    submit(trained, ["pupils"], key)
    with killed_in(step, late=True):
        carry_out_waiting(trained)
    with journal.acting("api:beta"):
        late = submit(trained, ["pupils"], key)
    assert late.status == "quarantined"
    (done,) = resume(trained).values()
    (elsewhere,) = (one for one in predicate(done.certificate)["checks"] if one["name"] == "people elsewhere")
    assert elsewhere["detail"].startswith("1 of the people")
    assert "request" not in elsewhere["detail"], "of another party it says nothing"
    with trained.engine.connect() as connection:
        assert not quarantined_shards(connection, "pupils", before.partition), "no model saw the person"
    once = manifest_of(trained)
    with journal.acting("api:gamma"):
        assert submit(trained, ["pupils"], key).status == "rejected", "erased before"
    done = carry_out_waiting(trained)[late.id]
    assert done.shards == ()
    assert [c.digest for c in manifest_of(trained).constituents] == [c.digest for c in once.constituents]
    assert verify(trained, Path(done.certificate), replay=True).valid
    assert doctor(trained).healthy


def test_overdue_requests_are_flagged(trained: Workspace) -> None:
    submit(trained, ["pupils"], placed(trained, "train")[0])
    assert [r.overdue for r in list_requests(trained).requests] == [False]
    with trained.engine.connect() as connection:
        connection.execute(text("UPDATE requests SET due = '2001-01-01T00:00:00+00:00'"))
    assert [r.overdue for r in list_requests(trained).requests] == [True]


@pytest.mark.parametrize("keep", [True, False])
def test_a_suppression_token_is_all_that_stays_and_can_be_switched_off(trained: Workspace, keep: bool) -> None:
    set_policy(trained, "pupils", POLICY, [f"suppression={str(keep).lower()}"])
    erase(trained, [placed(trained, "train")[0]])
    assert count(trained, "suppressions") == int(keep)
    assert count(trained, "vault") + count(trained, "quarantine") + count(trained, "erasures") == 0


def test_a_policy_can_retire_private_artifacts(trained: Workspace) -> None:
    set_policy(trained, "pupils", POLICY, ["private=retire"])
    assert list((trained.root / "releases").iterdir())
    answer = erase(trained, [placed(trained, "train")[0]]).requests[0]
    assert not list((trained.root / "releases").iterdir())
    assert not list((trained.root / "generators").iterdir())
    assert verify(trained, Path(answer.certificate)).valid
    assert doctor(trained).healthy


@pytest.mark.parametrize("step", ["planned", "dropped", "retrained", "published", "purged", "verified"])
@pytest.mark.parametrize("late", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_erasure_killed_in_any_step_is_finished_by_the_next(trained: Workspace, step: str, late: bool) -> None:
    """`late`: the step did its work and was killed before it was recorded; else before it began."""
    key = placed(trained, "train")[0]
    with killed_in(step, late=late):
        erase(trained, [key])
    assert not list((trained.root / "certificates").iterdir()), "a certificate of an erasure that is not over"
    done = resume(trained)
    assert len(done) == 1
    certificate = Path(next(iter(done.values())).certificate)
    assert verify(trained, certificate, replay=True).valid
    assert manifest_of(trained).version == 2
    assert doctor(trained).healthy
    assert resume(trained) == {}


def test_a_failed_verification_certifies_nothing_and_can_be_repeated(trained: Workspace) -> None:
    from workbench.errors import CheckFailedError

    key = placed(trained, "train")[0]
    stray = trained.root / "releases" / "stray.txt"
    stray.write_text(f"left by someone: {key}")
    answer = erase(trained, [key]).requests[0]
    assert (answer.status, answer.exit) == ("failed", CheckFailedError.exit_code)
    assert answer.nonce
    assert [r.status for r in list_requests(trained).requests] == ["failed"]
    assert not list((trained.root / "certificates").iterdir())
    stray.unlink()
    assert next(iter(resume(trained).values())).status == "completed"


@pytest.mark.parametrize("kind", ["evaluate", "synthesize", pytest.param("train", marks=pytest.mark.slow)])
def test_who_has_to_wait_for_another_learns_its_job(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Work that holds a data set is a job, by every door, and the message names it."""
    said: list[str] = []

    def look(*_: object, **__: object) -> None:
        (job,) = [one for one in list_jobs(trained).jobs if one.status == "running"]
        answer = erase(Workspace.open(trained.root), [placed(trained, "train")[0]]).requests[0]
        assert (answer.status, answer.exit) == ("quarantined", BusyError.exit_code)
        assert f"another process is writing data set pupils: {job.job} ({kind});" in answer.reason
        said.append(job.kind)
        raise KeyError

    doors = {
        "evaluate": (evaluating, lambda: evaluating.evaluate(trained, ensemble_of(trained))),
        "synthesize": (synthesizing, lambda: synthesizing.synthesize(trained, COPULA)),
        "train": (training, lambda: training.train(trained, TREES)),
    }
    module, run = doors[kind]
    reached = {
        "evaluate": ("_MAKERS", {"ensemble": look}),
        "synthesize": ("make_release", look),
        "train": ("sweep", look),
    }
    monkeypatch.setattr(module, *reached[kind])
    with pytest.raises(KeyError):
        run()
    assert said == [kind]
    jobs = [(one.kind, one.status) for one in list_jobs(trained).jobs]
    assert jobs[-2:] == [(kind, "failed"), ("erase", "failed")]
    assert (trained.root / "locks" / "pupils.lock").read_bytes() == b"", "of a job that is over nothing is said"


def test_writers_of_one_data_set_take_turns(trained: Workspace) -> None:
    key = placed(trained, "train")[0]
    with trained.lock("pupils"):
        answer = erase(trained, [key]).requests[0]
    assert (answer.status, answer.exit) == ("quarantined", BusyError.exit_code)
    assert answer.reason == "another process is writing data set pupils; wait for it to end, then try again"
    assert answer.nonce
    assert answer.due
    assert [r.status for r in list_requests(trained).requests] == ["quarantined"], "accepted all the same"
    assert next(iter(carry_out_waiting(trained).values())).status == "completed"
