"""Tokens: told once, kept as a keyed hash, good for their scopes and their time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from conftest import Answer

from workbench.bytescan.folders import scan_folder
from workbench.errors import InputError, NotFoundError, ScopeError, UnknownCallerError
from workbench.state import journal
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.tokens import (
    create_token,
    list_tokens,
    recognise,
    revoke_token,
    rotate_token,
)


def in_days(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    monkeypatch.setattr(journal, "now", lambda: later.isoformat(timespec="seconds"))


def test_a_secret_is_told_once_and_lies_nowhere(workspace: Workspace) -> None:
    made = create_token(workspace, "crm", ["predict", "requests:read"])
    caller = recognise(workspace, made.secret)
    assert (caller.token, caller.name, caller.actor) == (made.token, "crm", "api:crm")
    assert caller.scopes == {"predict", "requests:read"}
    assert "secret" not in list_tokens(workspace).to_json()["tokens"][0]
    assert not scan_folder(workspace.root, [made.secret.encode()]).hits
    assert (workspace.root / "keys" / "api.key").stat().st_mode & 0o777 == 0o600


def test_a_scope_that_it_lacks_is_refused(workspace: Workspace) -> None:
    caller = recognise(workspace, create_token(workspace, "crm", ["predict"]).secret)
    caller.require("predict")
    with pytest.raises(ScopeError, match="requests:write"):
        caller.require("requests:write")


@pytest.mark.parametrize("secret", ["", "wbt_x", "x" * 10_000, "\udcff", "wbt_" + "A" * 43])
def test_nobody_is_known_by_another_secret(workspace: Workspace, secret: str) -> None:
    with pytest.raises(UnknownCallerError):
        recognise(workspace, secret)  # there is not even a key yet
    create_token(workspace, "crm", ["predict"])
    with pytest.raises(UnknownCallerError):
        recognise(workspace, secret)


def test_it_ends_by_its_time_and_at_once_when_it_is_revoked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (create_token(workspace, name, ["predict"], days=2) for name in ("a", "b"))
    revoke_token(workspace, first.token)
    assert revoke_token(workspace, first.token).revoked, "twice is no fault"
    with pytest.raises(UnknownCallerError):
        recognise(workspace, first.secret)
    assert recognise(workspace, second.secret).name == "b"
    in_days(monkeypatch, 2.1)
    with pytest.raises(UnknownCallerError):
        recognise(workspace, second.secret)


def test_a_rotated_token_goes_on_for_its_grace_beside_the_new_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = create_token(workspace, "crm", ["predict", "metrics"])
    new = rotate_token(workspace, old.token, grace_hours=24)
    assert recognise(workspace, old.secret).name == recognise(workspace, new.secret).name == "crm"
    assert recognise(workspace, new.secret).scopes == {"predict", "metrics"}
    in_days(monkeypatch, 1.1)
    with pytest.raises(UnknownCallerError):
        recognise(workspace, old.secret)
    assert recognise(workspace, new.secret).token == new.token
    with pytest.raises(InputError, match="is over"):
        rotate_token(workspace, old.token)


def test_what_is_no_token_is_refused(workspace: Workspace) -> None:
    for name, scopes, days in [("crm", [], 1), ("crm", ["all"], 1), ("../x", ["predict"], 1), ("crm", ["predict"], 0)]:
        with pytest.raises(InputError):
            create_token(workspace, name, scopes, days=days)
    with pytest.raises(NotFoundError):
        revoke_token(workspace, "tk-x")
    assert list_tokens(workspace).tokens == ()


def test_the_command_line_makes_lists_rotates_and_revokes(command: Callable[..., Answer], workspace: Workspace) -> None:
    def run(*words: object) -> dict[str, object]:
        answer = command("--workspace", workspace.root, "tokens", *words, "--json")
        assert answer.code == 0, answer.err
        return answer.json

    made = run("create", "crm", "--scope", "requests:write", "--scope", "predict")
    again = run("rotate", made["token"], "--grace-hours", 0)
    revoked = run("revoke", again["token"])
    assert revoked["good"] is False
    listed = run("list")
    assert "secret" not in str(listed)
    assert len(listed["tokens"]) == 2  # type: ignore[arg-type]
    for secret in (made["secret"], again["secret"]):
        with pytest.raises(UnknownCallerError):
            recognise(workspace, str(secret))
    with workspace.engine.connect() as connection:
        assert len(journal.entries(connection, "TOKEN_CREATED")) == 2
        assert journal.broken_at(connection) is None
