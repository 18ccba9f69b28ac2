"""Erasing from the app: nobody who is named stays in the session, and roles decide what a person may do."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

import pytest
import streamlit as st
from said import Open, press, texts
from sqlalchemy import select
from stored import placed
from streamlit.testing.v1 import AppTest

from workbench.erasure.request import submit
from workbench.errors import ForbiddenError
from workbench.state import journal, roles
from workbench.state.roles import Person, Role
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.ui.parts import sealed, session
from workbench.ui.parts.places import TITLES
from workbench.workflows.erasure import run_waiting
from workbench.workflows.erasure.decide import approve_request, deny_request, list_requests, set_policy, show_request
from workbench.workflows.operations import jobs

WHO = "pupil-1007"
As = Callable[[Role], None]


@pytest.fixture(autouse=True)
def _detached(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of its own: a job is left waiting, as a worker would find it."""
    for module in (jobs, run_waiting):
        monkeypatch.setattr(module, "detach", lambda *_: None)


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch) -> As:
    """Has the app be used by somebody with a role."""

    def as_(role: Role) -> None:
        monkeypatch.setattr(session, "person", lambda: Person(actor=f"oidc:{role}", role=role))

    return as_


def ask_for_approval(workspace: Workspace, **also: str) -> None:
    overrides = [f"{key}={value}" for key, value in {"approval": "required", **also}.items()]
    from workbench.config import CONFIGS

    set_policy(workspace, "pupils", CONFIGS / "policies" / "default.yaml", overrides)


@pytest.fixture(autouse=True)
def _no_boxes() -> Iterator[None]:
    """No plan of another test is kept."""
    sealed._boxes.clear()
    yield
    sealed._boxes.clear()


def commitment_of(workspace: Workspace) -> str:
    with workspace.engine.connect() as connection:
        return str(connection.execute(select(requests.c.commitment)).scalar_one())


def remembered(app: AppTest) -> str:
    """All that the session holds, of widgets too."""
    state = vars(app.session_state)["_state"]
    return repr(getattr(state, "_state", state))


def test_a_plan_and_a_request_forget_whom_they_were_about(browse: Open, trained: Workspace) -> None:
    app = browse(trained, "erasure")
    app.text_input[0].input(WHO)
    app = press(app, "Show the plan")
    assert "What would be done" in texts(app)
    assert app.get("tab_container")[0].proto.tab_container.default_tab_index == 1, "where the next one is asked for"
    assert not app.error
    assert list_requests(trained).requests == (), "a plan changes nothing"
    assert WHO not in remembered(app) + texts(app)
    assert app.text_input[0].value == ""
    (place,) = sealed._boxes
    assert WHO.encode() not in sealed._boxes[place][1], "the server's memory holds them sealed"
    app.text_input[0].input("pupil-1008")  # typed after the plan: it is not what is confirmed
    app = press(app, "Erase this person")
    assert not sealed._boxes
    (request,) = list_requests(trained).requests
    assert request.status == "quarantined"
    assert request.request in texts(app)
    assert WHO not in remembered(app) + texts(app)
    assert [job.kind for job in jobs.list_jobs(trained).jobs] == ["erase"]
    nonces = [frame.value["Nonce"][0] for frame in app.dataframe if "Nonce" in frame.value]
    assert len(nonces[0]) == 32
    assert hashlib.sha256(bytes.fromhex(nonces[0]) + WHO.encode()).hexdigest() == commitment_of(trained)
    assert "Nonce" not in texts(press(app, "Put away"))


def test_pasted_lines_and_files_are_answered_one_by_one(browse: Open, trained: Workspace) -> None:
    app = browse(trained, "erasure")
    app.segmented_control(key="erasure-way").set_value("Several, pasted").run()
    app.text_area[0].input(f"{WHO}\n\nnobody-here\n{'x' * 1001}\npupil-1009\n")
    app = press(press(app, "Show the plan"), "Erase these 2 people")
    said = texts(app)
    (receipts,) = [frame.value for frame in app.dataframe if "Nonce" in frame.value]
    assert list(receipts["Line"]) == [1, 5]
    assert set(receipts) == {"Line", "Request", "Nonce", "Due"}
    assert "Line 3, " in said.replace("\\", "")
    assert "Line 4: its key has more than" in said.replace("\\", "")
    assert "Download the receipts (CSV)" in {button.label for button in app.get("download_button")}
    assert "2 accepted" in said
    assert "nothing found of this subject" in said
    assert "nobody-here" not in said + remembered(app)
    app.segmented_control(key="erasure-way").set_value("A file").run()
    app.file_uploader[0].set_value(("asked.csv", "key\npupil-1008\n".encode("utf-16"), "text/csv"))
    app = press(app, "Show the plan")
    assert "not UTF\\-8" in app.error[0].value
    assert len(list_requests(trained).requests) == 3


def test_nobody_named_is_told_so(browse: Open, trained: Workspace) -> None:
    app = press(browse(trained, "erasure"), "Show the plan")
    assert "Nobody was named" in app.error[0].value


@pytest.mark.parametrize("how", ["put away", "another plan", "too late", "unknown"])
def test_a_plan_that_is_not_confirmed_is_forgotten(
    browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    app = browse(trained, "erasure")
    app.text_input[0].input("nobody-here" if how == "unknown" else WHO)
    app = press(app, "Show the plan")
    before = set(sealed._boxes)
    assert len(before) == (how != "unknown")
    if how == "put away":
        assert not press(app, "Put away").error
    elif how == "another plan":
        app.text_input[0].input("pupil-1008")
        press(app, "Show the plan")
        assert len(sealed._boxes) == 1
        assert before.isdisjoint(sealed._boxes)
        return
    elif how == "too late":
        now = time.monotonic() + sealed.SECONDS + 1
        monkeypatch.setattr(sealed.time, "monotonic", lambda: now)
        assert "show the plan again" in press(app, "Erase this person").error[0].value
    else:
        assert not [button for button in app.button if button.label.startswith("Erase")]
    assert not sealed._boxes
    assert list_requests(trained).requests == ()


def test_a_request_shows_its_shards_and_its_end(browse: Open, trained: Workspace) -> None:
    name = submit(trained, ["pupils"], placed(trained, "train")[0]).id
    (touched,) = show_request(trained, name).ensembles
    assert len(touched.waiting) == 1
    assert touched.retrained == ()
    app = browse(trained, "erasure", request=name)
    assert "Quarantined" in texts(app)
    run_waiting.erase_waiting(trained)
    (redone,) = show_request(trained, name).ensembles
    assert (redone.waiting, redone.retrained) == ((), touched.waiting)
    submit(trained, ["pupils"], placed(trained, "train")[0])
    run_waiting.erase_waiting(trained)
    (later,) = show_request(trained, name).ensembles
    assert (redone.version, later.version, later.current_version) == (2, 2, 3), "the version of its time"
    app = browse(trained, "erasure", request=name)
    assert "version 2 (version 3 is current)" in texts(app).replace("\\", "")
    assert "Certificate signed" in texts(app)
    assert not app.error
    downloads = {button.label for button in app.get("download_button")}
    assert {"Certificate (JSON)", "Page (HTML)"} <= downloads


def test_a_tampered_certificate_is_refused(browse: Open, trained: Workspace) -> None:
    name = submit(trained, ["pupils"], WHO).id
    run_waiting.erase_waiting(trained)
    content = (trained.root / "certificates" / f"{name}.json").read_bytes()
    middle = len(content) // 2
    for sent, told in ((content, "Valid"), (content[:middle] + b"A" + content[middle + 1 :], "Not valid")):
        app = browse(trained, "erasure")
        app.file_uploader[0].set_value(("c.json", sent, "application/json"))
        app = press(app, "Verify")
        assert told in texts(app)
    assert "no valid signature" in app.error[0].value, "what is wrong is said where it is seen first"


def test_an_approver_decides_and_is_named(browse: Open, trained: Workspace, sign_in: As) -> None:
    ask_for_approval(trained)
    first, second = (submit(trained, ["pupils"], key).id for key in (WHO, "pupil-1008"))
    sign_in("approver")
    press(browse(trained, "erasure", request=first), "Approve")
    app = browse(trained, "erasure", request=second)
    app.text_input[0].input("not a pupil any more")
    press(app, "Deny the request")
    stands = {one.request: one for one in list_requests(trained).requests}
    assert (stands[first].approval, stands[second].status) == ("given", "denied")
    said = {step.kind: step.actor for step in show_request(trained, first).timeline}
    assert said["APPROVED"] == "oidc:approver"
    assert said["RECEIVED"].startswith("local:")


def test_four_eyes_keep_whoever_asked_from_approving(browse: Open, trained: Workspace, sign_in: As) -> None:
    ask_for_approval(trained, four_eyes="true")
    sign_in("admin")
    with roles.acting(Person(actor="oidc:admin", role="admin")):
        name = submit(trained, ["pupils"], WHO).id
    app = press(browse(trained, "erasure", request=name), "Approve")
    assert "four eyes" in app.error[0].value
    assert list_requests(trained).requests[0].approval == "waiting"
    with roles.acting(Person(actor="oidc:another", role="approver")):
        approve_request(trained, name)
    assert list_requests(trained).requests[0].approval == "given"


@pytest.mark.parametrize("mine", [pytest.param(True, marks=pytest.mark.slow), False])
def test_an_operator_is_offered_to_take_back_their_own_requests(
    browse: Open, trained: Workspace, sign_in: As, mine: bool
) -> None:
    with journal.acting("oidc:operator" if mine else "oidc:another"):
        name = submit(trained, ["pupils"], WHO).id
    sign_in("operator")
    app = browse(trained, "erasure", request=name)
    assert ("Cancel the request" in [button.label for button in app.button]) == mine
    assert not app.error


def test_a_viewer_sees_and_can_do_nothing(browse: Open, trained: Workspace, sign_in: As) -> None:
    ask_for_approval(trained)
    name = submit(trained, ["pupils"], WHO).id
    sign_in("viewer")
    read_alone = {"Put away", "Verify", "Take these", "Add", "Take away", "Follow these records"}
    for page in TITLES:
        app = browse(trained, page)
        able = {b.label for b in app.button if not b.disabled} - read_alone
        assert able == set(), page
    app = browse(trained, "erasure", request=name)
    assert not {"Approve", "Deny the request", "Cancel the request"}.intersection(b.label for b in app.button)
    with roles.acting(Person(actor="oidc:viewer", role="viewer")):
        with pytest.raises(ForbiddenError):
            approve_request(trained, name)
        with pytest.raises(ForbiddenError):
            jobs.detach_job(trained, "evaluate", {"name": "pupils"})
        with pytest.raises(ForbiddenError):
            run_waiting.detach_erasures(trained)
    with roles.acting(Person(actor="oidc:operator", role="operator")), pytest.raises(ForbiddenError):
        deny_request(trained, name, "no")


def test_a_button_pressed_before_the_role_was_taken_away_does_nothing(
    browse: Open, trained: Workspace, sign_in: As
) -> None:
    app = browse(trained, "erasure")
    app.text_input[0].input(WHO)
    app = press(app, "Show the plan")
    button = next(b for b in app.button if b.label == "Erase this person")
    sign_in("viewer")
    button.click().run()
    assert list_requests(trained).requests == ()


def test_the_app_beyond_this_machine_wants_sign_in(browse: Open, trained: Workspace) -> None:
    app = browse(trained)
    st.config.set_option("server.address", "0.0.0.0")
    app.run()
    assert "nobody has to sign in" in app.error[0].value
    assert not app.dataframe


def test_the_app_behind_a_proxy_wants_sign_in(
    browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(st.context), "headers", {"Host": "localhost", "X-Forwarded-For": "192.0.2.7"})
    app = browse(trained)
    assert "through a proxy" in app.error[0].value
    assert not app.dataframe


def test_whoever_has_no_role_sees_nothing(browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "person", lambda: None)
    monkeypatch.setattr(session, "_welcome", lambda: None)
    app = browse(trained, "audit_log")
    assert texts(app).strip() == ""
    assert "pupils" not in remembered(app)
