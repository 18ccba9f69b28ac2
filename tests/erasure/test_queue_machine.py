"""The queue as a state machine: whatever is asked of it in whatever order, and wherever it is killed, its promises hold."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from conftest import PUPILS_SCHEMA, pupils
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from killing import Killed
from shared import copy_of
from sqlalchemy import select

from workbench.data import catalog
from workbench.data.identity import identify
from workbench.data.store import SPLITS
from workbench.erasure.locate import locate
from workbench.erasure.request import OPEN, approve, expedite, submit_person, withdraw
from workbench.errors import InputError, KnownRequestError, NotFoundError
from workbench.state import journal
from workbench.state.tables import erasures, quarantine, requests, vault
from workbench.state.tables import journal as entries
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure import execute
from workbench.workflows.erasure.decide import set_policy

POLICY = Path("configs/policies/default.yaml")
PEOPLE = [f"pupil-{number}" for number in range(1000, 1008)]
STRANGER = "pupil-9999"
CONTROLLERS = ["api:alpha", "api:beta", "api:gamma"]
NONCES = [bytes([k]) * 16 for k in range(3)]
AFTER_PUBLISHING = ("published", "purged", "verified", "shredded")
# From what the journal says of a request to what it may say next; a step that was cut off is taken again
ARROWS = {
    "RECEIVED": {"QUARANTINED", "REJECTED"},
    "QUARANTINED": {"PLANNED", "DENIED", "CANCELLED"},
    "PLANNED": {"EXECUTING", "FAILED"},
    "EXECUTING": {"EXECUTING", "VERIFYING", "FAILED"},
    "VERIFYING": {"VERIFYING", "CERTIFIED", "FAILED"},
    "FAILED": {"EXECUTING", "VERIFYING", "CERTIFIED", "FAILED"},
}
STATES = {*ARROWS, "REJECTED", "DENIED", "CANCELLED", "CERTIFIED"}

ids = st.none() | st.sampled_from([f"ticket-{k}" for k in range(5)])
picks = st.integers(0, 99)


@pytest.fixture(scope="module")
def ingested(empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of eight pupils and no model, so that an erasure takes a moment."""
    root = tmp_path_factory.mktemp("machine") / "workspace"
    copy_of(empty_workspace, root)
    (root.parent / "schema.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
    pupils(len(PEOPLE)).to_csv(root.parent / "pupils.csv", index=False)
    ingest(Workspace.open(root), "pupils", schema=root.parent / "schema.yaml", data=root.parent / "pupils.csv")
    return root


class Queue(RuleBasedStateMachine):
    """Senders, a person who decides, a clock, and a worker that is killed now and then."""

    base: Path

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(self.base, self.folder / "workspace")
        self.workspace = Workspace.open(self.folder / "workspace")
        self.clock = dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)
        self.real_now, journal.now = journal.now, lambda: self.clock.isoformat(timespec="seconds")
        self.first_nonce: dict[str, str | None] = {}
        self.asked_by: dict[str, tuple[str, str]] = {}

    @rule(
        person=st.sampled_from([*PEOPLE, STRANGER]),
        controller=st.sampled_from(CONTROLLERS),
        request=ids,
        nonce=st.none() | st.sampled_from(NONCES),
    )
    def submit(self, person: str, controller: str, request: str | None, nonce: bytes | None) -> None:
        self.hand_in(person, controller, request, nonce)

    @rule(person=st.sampled_from(PEOPLE[:2]), controller=st.sampled_from(CONTROLLERS))
    def submit_for_a_person_often_asked_about(self, person: str, controller: str) -> None:
        self.hand_in(person, controller, None, None)

    def hand_in(self, person: str, controller: str, request: str | None, nonce: bytes | None) -> None:
        earlier = self.rows()
        before = earlier.get(request or "")
        covered = self.covered(person, controller)
        gone = {
            id_
            for id_, step in self.begun().items()
            if step in AFTER_PUBLISHING[:-1] and self.asked_by[id_][0] == person
        }
        found = bool(gone or locate(self.workspace, [("pupils", person)]))
        covered = covered or any(self.asked_by[id_][1] == controller for id_ in gone)
        opens = before is not None and nonce is not None
        opens = opens and hashlib.sha256(nonce + person.encode()).hexdigest() == before.commitment
        asked = {"request_id": request, "nonce": nonce}
        if before is not None and not (opens and self.asked_by[before.id] == (person, controller)):
            with journal.acting(controller), pytest.raises(KnownRequestError):
                submit_person(self.workspace, [("pupils", person)], **asked)
            assert self.rows() == earlier
            return
        with journal.acting(controller):
            receipt = submit_person(self.workspace, [("pupils", person)], **asked)
        row = self.rows()[receipt.id]
        if before is None:
            self.asked_by[receipt.id] = (person, controller)
            others = {id_ for id_ in earlier if self.asked_by[id_][1] != controller}
            assert not [id_ for id_ in others if id_ in f"{receipt.reason} {receipt.duplicate_of}"], "another's id"
        if receipt.nonce is not None:
            mine = hashlib.sha256(bytes.fromhex(receipt.nonce) + person.encode()).hexdigest()
            assert mine == receipt.commitment == row.commitment
            assert receipt.nonce == self.first_nonce.setdefault(receipt.id, receipt.nonce), "another's nonce"
        if before is not None:
            assert row == before, "a known id changes nothing"
        else:
            assert (row.status == "quarantined") == (found and not covered)
            assert (receipt.nonce is not None) == (row.status == "quarantined")

    @rule(pick=picks)
    def decide_for(self, pick: int) -> None:
        request = self.picked(pick)
        row = self.rows().get(request)
        self.expect(row is not None and (row.status, row.approval) == ("quarantined", "waiting"), approve, request)

    @rule(pick=picks)
    def decide_against(self, pick: int) -> None:
        request = self.picked(pick)
        row, ends = self.rows().get(request), {"status": "denied", "reason": "no"}
        self.expect(row is not None and row.status == "quarantined", withdraw, request, **ends)

    @rule(pick=picks)
    def let_out(self, pick: int) -> None:
        request = self.picked(pick)
        row = self.rows().get(request)
        self.expect(row is not None and row.status == "quarantined" and row.not_before is not None, expedite, request)

    @rule(setting=st.sampled_from(["approval=required", "window_hours=24", "max_per_day=2", "due_days=28"]))
    def declare(self, setting: str) -> None:
        set_policy(self.workspace, "pupils", POLICY, [setting])

    @rule(hours=st.integers(-30, 30))
    def pass_time(self, hours: int) -> None:
        self.clock += dt.timedelta(hours=hours)

    @rule()
    def carry_out(self) -> None:
        execute.carry_out_waiting(self.workspace)
        assert self.begun() == {}, "everything that was begun is over"

    @rule(
        step=st.sampled_from(sorted(execute.STEPS)),
        late=st.booleans(),
        fault=st.sampled_from([Killed, OSError]),
        joining=st.none() | st.tuples(st.sampled_from(PEOPLE[:2]), st.sampled_from(CONTROLLERS)),
    )
    def carry_out_cut_off(
        self, step: Any, late: bool, fault: type[BaseException], joining: tuple[str, str] | None
    ) -> None:
        target, work = execute.STEPS[step]

        def cut_off(*arguments: Any) -> Any:
            if joining:  # while the erasure is under way
                self.hand_in(*joining, None, None)
            if late:
                work(*arguments)
            raise fault

        execute.STEPS[step] = (target, cut_off)
        try:
            execute.carry_out_waiting(self.workspace)
        except (Killed, OSError):
            pass
        finally:
            execute.STEPS[step] = (target, work)
        for request in self.begun():
            self.expect(False, withdraw, request, status="cancelled", reason="too late")

    @invariant()
    def the_person_of_a_request_that_was_not_withdrawn_is_under_quarantine_or_gone(self) -> None:
        with self.workspace.engine.connect() as connection:
            held = {(row.request, row.token) for row in connection.execute(select(quarantine))}
        for id_, row in self.rows().items():
            person = self.asked_by[id_][0]
            (token,) = identify_token(self.workspace, person)
            if row.status == "completed":
                assert not self.stored(person), "completed, and not erased"
            elif row.status in OPEN:
                assert (id_, token) in held or not self.stored(person), "open, and not quarantined"

    @invariant()
    def who_is_open_is_under_quarantine_until_the_new_versions_are_out(self) -> None:
        with self.workspace.engine.connect() as connection:
            held = set(connection.execute(select(quarantine.c.request)).scalars())
            sealed = set(connection.execute(select(vault.c.request)).scalars())
        begun = self.begun()
        unfinished = {id_ for id_, row in self.rows().items() if row.status in OPEN}
        assert held == {id_ for id_ in unfinished if begun.get(id_) not in AFTER_PUBLISHING}
        assert sealed == {id_ for id_ in unfinished if begun.get(id_) != "shredded"}

    @invariant()
    def states_move_along_the_arrows_and_the_chain_holds(self) -> None:
        with self.workspace.engine.connect() as connection:
            assert journal.broken_at(connection) is None
            rows = connection.execute(select(entries).order_by(entries.c.sequence)).all()
        last: dict[str, str] = {}
        for row in rows:
            if row.kind in STATES:
                request = row.body["request"]
                assert row.kind in ARROWS.get(last[request], ()) if request in last else row.kind == "RECEIVED"
                last[request] = row.kind
        said = {id_: "CERTIFIED" if r.status == "completed" else r.status.upper() for id_, r in self.rows().items()}
        assert said == last
        names = {path.stem for path in (self.workspace.root / "certificates").iterdir()}
        assert names >= {id_ for id_, kind in last.items() if kind == "CERTIFIED"}

    def teardown(self) -> None:
        if not hasattr(self, "workspace"):
            return
        try:
            for id_, row in self.rows().items():
                if row.status == "quarantined" and row.approval == "waiting":
                    approve(self.workspace, id_)
            self.clock += dt.timedelta(days=400)
            execute.carry_out_waiting(self.workspace)
            assert not {row.status for row in self.rows().values()} & set(OPEN)
            self.the_person_of_a_request_that_was_not_withdrawn_is_under_quarantine_or_gone()
            self.who_is_open_is_under_quarantine_until_the_new_versions_are_out()
            self.states_move_along_the_arrows_and_the_chain_holds()
        finally:
            journal.now = self.real_now
            self.workspace.engine.dispose()
            shutil.rmtree(self.folder)

    def expect(self, allowed: bool, act: Any, request: str, **how: str) -> None:
        if allowed:
            act(self.workspace, request, **how)
            return
        before = self.rows()
        with pytest.raises((InputError, NotFoundError)):
            act(self.workspace, request, **how)
        assert self.rows() == before

    def picked(self, pick: int) -> str:
        """A request that is there, mostly."""
        there = [*sorted(self.rows()), "ticket-none"]
        return there[pick % len(there)]

    def rows(self) -> dict[str, Any]:
        with self.workspace.engine.connect() as connection:
            return {row.id: row for row in connection.execute(select(requests))}

    def begun(self) -> dict[str, str]:
        """Requests of erasures that are under way, with the last step that is done."""
        with self.workspace.engine.connect() as connection:
            rows = connection.execute(select(erasures)).all()
        return {request: row.step for row in rows for request in row.state["requests"]}

    def covered(self, person: str, controller: str) -> bool:
        """Whether an open request of the controller holds the person under quarantine already."""
        found: defaultdict[bytes, set[str]] = defaultdict(set)
        with self.workspace.engine.connect() as connection:
            for row in connection.execute(select(quarantine)):
                if self.asked_by[row.request][1] == controller:
                    found[row.token].add(row.request)
        return any(found[subject.token] for subject in locate(self.workspace, [("pupils", person)]))

    def stored(self, person: str) -> bool:
        """Whether a row of the person is in the store."""
        (token,) = identify_token(self.workspace, person)
        with self.workspace.engine.connect() as connection:
            store = catalog.store(connection, self.workspace, "pupils")
        return token in {row[0] for split in SPLITS for row in store.subjects(split)}


def identify_token(workspace: Workspace, person: str) -> list[bytes]:
    keys = {"token_key": workspace.key("token"), "placement_key": workspace.key("placement")}
    return list(identify([person], identity_type="pupil-number", **keys).tokens)


def test_the_queue_keeps_its_promises_whatever_is_asked_of_it(ingested: Path) -> None:
    machine = type("Machine", (Queue,), {"base": ingested})
    quiet = settings(max_examples=5, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=quiet)
