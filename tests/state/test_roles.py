"""Who may do what: by the role a map gives to what an identity provider vouches for, and who the journal names."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from workbench.errors import ForbiddenError, InputError
from workbench.state import journal
from workbench.state.roles import Person, RoleMap, acting, local, person_of, read_roles, require
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.budget import set_population_budget
from workbench.workflows.erasure.signing_keys import rotate_key
from workbench.workflows.operations.jobs import list_jobs, run_job

MAP = RoleMap.model_validate(
    {
        "groups": {"office": "approver", "all": "viewer"},
        "emails": {"Ada@example.org": "admin"},
        "subjects": {"s-1": "operator"},
    }
)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"sub": "x", "groups": ["all", "office"]}, "approver"),
        ({"sub": "x", "groups": ["all"]}, "viewer"),
        ({"sub": "s-1", "groups": ["all"]}, "operator"),
        ({"sub": "x", "email": "ada@EXAMPLE.org", "email_verified": True}, "admin"),
        ({"sub": "x", "email": "ada@example.org"}, None),
        ({"sub": "x", "email": "ada@example.org", "email_verified": "true"}, None),
        ({"sub": "x", "email": "ada@example.org", "email_verified": False, "groups": ["all"]}, "viewer"),
        ({"sub": "x", "groups": "office"}, None),
        ({"sub": "x", "groups": [["office"], {"office": 1}, None]}, None),
        ({"groups": ["office"]}, None),
        ({"sub": "", "groups": ["office"]}, None),
        ({"sub": 7, "groups": ["office"]}, None),
        ({}, None),
    ],
)
def test_a_role_is_the_highest_that_the_map_gives(claims: dict[str, Any], role: str | None) -> None:
    person = person_of(claims, MAP)
    assert (person and person.role) == role
    if person is not None:
        assert person.actor == f"oidc:{claims['sub']}", "no address reaches the journal"


def test_without_a_map_nobody_has_a_role(workspace: Workspace) -> None:
    assert read_roles(workspace.root) == RoleMap()
    assert person_of({"sub": "x", "groups": ["office"]}, RoleMap()) is None


@pytest.mark.parametrize("content", ["groups: [a]", "groups: {a: king}", "- 1", "\x00", "{", "everyone: admin"])
def test_a_map_that_cannot_be_read_lets_nobody_in(workspace: Workspace, content: str) -> None:
    (workspace.root / "roles.yaml").write_text(content)
    with pytest.raises(InputError, match=r"roles\.yaml"):
        read_roles(workspace.root)


def test_a_role_holds_in_its_thread_and_block_alone() -> None:
    seen: list[str] = []
    with acting(Person(actor="oidc:v", role="viewer")):
        assert journal.actor() == "oidc:v"
        with pytest.raises(ForbiddenError, match="viewer may not"):
            require("decide")
        thread = threading.Thread(target=lambda: seen.append(journal.actor()))
        thread.start()
        thread.join()
    require("administer")
    assert seen == [journal.actor()] == [local().actor]


def test_keys_and_budgets_are_the_administrators(workspace: Workspace) -> None:
    for role in ("viewer", "operator", "approver"):
        with acting(Person(actor=f"oidc:{role}", role=role)):  # type: ignore[arg-type]
            with pytest.raises(ForbiddenError):
                rotate_key(workspace)
            with pytest.raises(ForbiddenError):
                set_population_budget(workspace, "people", epsilon=1, delta=1e-5)
    with acting(Person(actor="oidc:admin", role="admin")):
        rotate_key(workspace)
    with workspace.engine.connect() as connection:
        assert [entry["actor"] for entry in journal.latest(connection)] == ["oidc:admin"]


def test_a_job_is_in_the_name_of_whoever_asked_for_it(workspace: Workspace) -> None:
    with acting(Person(actor="oidc:operator", role="operator")):
        run_job(workspace, "ingest", {"name": "german", "schema": None, "data": None})
    with workspace.engine.connect() as connection:
        assert [entry["actor"] for entry in journal.latest(connection, kind="INGESTED")] == ["oidc:operator"]
    assert list_jobs(workspace).jobs[0].actor == "oidc:operator"
