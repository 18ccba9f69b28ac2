"""No restore and no copy gives a budget back: what was charged since counts, or the budget is held until it is known."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from dp_accounting import ZCDpEvent
from sqlalchemy import text

from workbench.erasure import suppression_list
from workbench.erasure.certificate import seal
from workbench.erasure.keys import create_signing_key, public_key_path
from workbench.erasure.suppression_list import PAYLOAD_TYPE
from workbench.errors import BudgetError, InputError, NotFoundError
from workbench.privacy.calibration import zcdp_rho
from workbench.privacy.hash_lines import LINE, Scope
from workbench.privacy.ledger import Ledger, spent
from workbench.state import journal
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.budget import show_population_ledger
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.signing_keys import rotate_key
from workbench.workflows.erasure.suppressions import export_suppressions, import_suppressions, vouch
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.restore import restore
from workbench.workflows.operations.results import RestoreResult

DELTA = 1e-5
HALF = ZCDpEvent(zcdp_rho(1, DELTA) / 2)


def charge(workspace: Workspace, times: int = 1, population: str = "mini") -> None:
    for _ in range(times):
        Ledger(workspace.engine).charge(population, HALF, dataset=population, purpose="fit of mini")


def cost(workspace: Workspace) -> float:
    return spent(Ledger(workspace.engine).entries("mini"), DELTA)


def payload(listing: Path) -> dict[str, Any]:
    return dict(json.loads(base64.b64decode(json.loads(listing.read_text())["payload"])))


@pytest.fixture
def backed_up(workspace: Workspace, tmp_path: Path) -> tuple[Workspace, Path]:
    """A workspace with a budget of 1, and its backup of before anything was charged."""
    Ledger(workspace.engine).set_budget("mini", epsilon=1, delta=DELTA)
    backup(workspace, tmp_path / "b.tar.zst")
    return workspace, tmp_path / "b.tar.zst"


def restored(file: Path, tmp_path: Path, **how: Any) -> tuple[Workspace, RestoreResult]:
    told = restore(tmp_path / "new", file, **(how or {"without": True}))
    return Workspace.open(tmp_path / "new"), told


def test_a_restore_reads_the_ledger_of_the_workspace_that_is_still_there(
    backed_up: tuple[Workspace, Path], tmp_path: Path
) -> None:
    live, file = backed_up
    charge(live, 2)
    again, told = restored(file, tmp_path)
    assert (told.charges, told.held) == (2, None)
    assert cost(again) == pytest.approx(1, rel=1e-6)
    with pytest.raises(BudgetError, match="exceed"):
        charge(again)


def test_without_it_every_population_is_held_until_a_newer_list_comes(
    backed_up: tuple[Workspace, Path], tmp_path: Path
) -> None:
    live, file = backed_up
    moved = live.root.rename(tmp_path / "moved")
    again, told = restored(file, tmp_path)
    assert told.held is not None
    live = Workspace.open(moved)
    charge(live)
    Ledger(again.engine).set_budget("other", epsilon=1, delta=DELTA)
    for population in ("mini", "other"):  # the other one may have been charged since, too
        with pytest.raises(BudgetError, match="counts as wholly spent") as refused:
            charge(again, population=population)
        assert "suppressions import" in refused.value.hint
        assert not Ledger(again.engine).admits(population, [HALF])
    assert show_population_ledger(again, "mini").held.journal_entry > 0
    export_suppressions(again, tmp_path / "own.json")
    assert import_suppressions(again, tmp_path / "own.json").lifted is False, "a held workspace vouches for nothing"
    export_suppressions(live, tmp_path / "list.json")
    done = import_suppressions(again, tmp_path / "list.json")
    assert (done.charges, done.lifted, done.held) == (1, True, None)
    assert import_suppressions(again, tmp_path / "list.json").charges == 0, "merging twice counts once"
    charge(again)
    with pytest.raises(BudgetError, match="exceed"):
        charge(again)
    export_suppressions(again, tmp_path / "back.json")
    assert import_suppressions(live, tmp_path / "back.json").charges == 1, "copies share one budget"
    with pytest.raises(BudgetError, match="exceed"):
        charge(live)


def test_a_charge_after_the_export_is_not_lost_silently(backed_up: tuple[Workspace, Path], tmp_path: Path) -> None:
    live, file = backed_up
    charge(live)
    export_suppressions(live, tmp_path / "list.json")
    charge(live)  # no list and no backup knows it
    shutil.rmtree(live.root)
    again, told = restored(file, tmp_path, suppressions=tmp_path / "list.json")
    assert told.charges == 1
    assert told.held.journal_entry == payload(tmp_path / "list.json")["journal"]["sequence"]
    with pytest.raises(BudgetError, match="counts as wholly spent"):
        charge(again)
    with pytest.raises(InputError, match="a reason is needed"):
        vouch(again, "mini", " ")
    vouch(again, "mini", "The machine was lost in the night; no job had been started.")
    charge(again)
    shown = show_population_ledger(again, "mini")
    assert shown.held is None
    assert "no job had been started" in shown.statements[0].sentence
    Ledger(again.engine).set_budget("other", epsilon=1, delta=DELTA)
    with pytest.raises(BudgetError, match="counts as wholly spent"):
        charge(again, population="other")
    vouch(again, None, "The same.")
    charge(again, population="other")
    with pytest.raises(InputError, match="not held"):
        vouch(again, None, "The same.")
    with again.engine.connect() as connection:
        stated = [body for _, body in journal.entries(connection, "STATED")]
        assert [body["population"] for body in stated] == ["mini", ""]
        assert "machine" not in repr(stated), "the reason stays where an erasure can withhold it"


def test_a_list_that_is_older_or_of_a_restored_copy_lifts_nothing(
    backed_up: tuple[Workspace, Path], tmp_path: Path
) -> None:
    live, file = backed_up
    moved = live.root.rename(tmp_path / "moved")
    again, _ = restored(file, tmp_path)
    restore(tmp_path / "drill", file, live=moved)
    drill = Workspace.open(tmp_path / "drill")
    charge(drill)
    export_suppressions(drill, tmp_path / "drill.json")
    done = import_suppressions(again, tmp_path / "drill.json")
    assert (done.charges, done.lifted) == (1, False)
    with pytest.raises(BudgetError):
        charge(again)


@pytest.mark.parametrize("named", [True, False])
def test_a_vouched_copy_is_no_evidence_of_what_was_charged(
    backed_up: tuple[Workspace, Path], tmp_path: Path, named: bool
) -> None:
    """What rests on a statement does not become a fact, also where the copy takes the place of the lost workspace."""
    live, file = backed_up
    charge(live, 2)
    live.root.rename(tmp_path / "lost")
    again, _ = restored(file, tmp_path)
    vouch(again, None, "I think nothing was charged.")
    if not named:
        again.root.rename(live.root)
    copy = again.root if named else live.root
    third = restore(tmp_path / "third", file, **({"live": copy} if named else {"without": True}))
    assert third.held is not None
    with pytest.raises(BudgetError, match="counts as wholly spent"):
        charge(Workspace.open(tmp_path / "third"))
    # its own later backup holds the statement, so nothing more is missing there than is shown
    backup(Workspace.open(copy), tmp_path / "later.tar.zst")
    later = restore(tmp_path / "later", tmp_path / "later.tar.zst", live=copy)
    assert later.held is None
    shown = show_population_ledger(Workspace.open(tmp_path / "later"), "mini")
    assert "I think nothing was charged" in shown.statements[0].sentence


def test_a_restored_copy_is_not_the_workspace_that_was_in_use(
    backed_up: tuple[Workspace, Path], tmp_path: Path
) -> None:
    live, file = backed_up
    moved = live.root.rename(tmp_path / "moved")
    restore(tmp_path / "drill", file, live=moved)
    charge(Workspace.open(moved), 2)
    drill = Workspace.open(tmp_path / "drill")
    charge(drill)
    again, told = restored(file, tmp_path, live=drill.root)
    assert (told.charges, told.held is not None) == (1, True)
    with pytest.raises(BudgetError, match="counts as wholly spent"):
        charge(again)


def test_the_workspace_in_use_can_be_named(backed_up: tuple[Workspace, Path], tmp_path: Path) -> None:
    live, file = backed_up
    charge(live)
    moved = live.root.rename(tmp_path / "moved")
    again, told = restored(file, tmp_path, live=moved)
    assert (told.charges, told.held) == (1, None)
    charge(again)
    with pytest.raises(NotFoundError):
        restore(tmp_path / "x", file, live=tmp_path / "nowhere")
    backup(Workspace.open(moved), tmp_path / "later.tar.zst")
    with pytest.raises(InputError, match="does not go on from"):
        restore(tmp_path / "x", tmp_path / "later.tar.zst", live=again.root)
    (moved / "keys" / "suppression.key").write_bytes(b"0" * 32)
    with pytest.raises(InputError, match="keys differ"):
        restore(tmp_path / "x", file, live=moved)
    assert not (tmp_path / "x").exists()


def test_a_list_of_the_first_format_gives_people_only(backed_up: tuple[Workspace, Path], tmp_path: Path) -> None:
    live, file = backed_up
    charge(live)
    export_suppressions(live, tmp_path / "list.json")
    signed = payload(tmp_path / "list.json")
    plain = {"format": "workbench-suppressions/1", "key": signed["key"], "suppressions": []}
    (tmp_path / "plain.json").write_text(json.dumps(plain))
    shutil.rmtree(live.root)
    again, told = restored(file, tmp_path, suppressions=tmp_path / "plain.json")
    assert (told.charges, told.held is not None) == (0, True)
    assert cost(again) == 0


def test_a_list_is_signed_also_by_a_key_that_is_younger_than_the_backup(
    backed_up: tuple[Workspace, Path], tmp_path: Path
) -> None:
    live, file = backed_up
    rotate_key(live)
    charge(live)
    listing = tmp_path / "list.json"
    export_suppressions(live, listing)
    assert payload(listing)["format"] == "workbench-suppressions/2"
    assert [one["population"] for one in payload(listing)["ledger"]["charges"]] == ["mini"]
    shutil.rmtree(live.root)
    again, told = restored(file, tmp_path, suppressions=listing)
    assert told.charges == 1
    # nobody without the workspace's keys can make one
    create_signing_key(tmp_path / "theirs")
    forged = payload(listing)
    forged["ledger"]["charges"] = []
    forged["signer"]["public_key"] = public_key_path(tmp_path / "theirs").read_text()
    (tmp_path / "forged.json").write_bytes(seal(tmp_path / "theirs", json.dumps(forged).encode(), PAYLOAD_TYPE))
    with pytest.raises(InputError, match="cannot be trusted"):
        import_suppressions(again, tmp_path / "forged.json")


def test_the_stricter_of_two_budgets_stands(backed_up: tuple[Workspace, Path], tmp_path: Path) -> None:
    live, file = backed_up
    Ledger(live.engine).set_budget("mini", epsilon=0.5, delta=DELTA)
    Ledger(live.engine).set_budget("new", epsilon=2, delta=DELTA)
    again, _ = restored(file, tmp_path)
    ledger = Ledger(again.engine)
    budgets = [ledger.budget(name) for name in ("mini", "new")]
    assert [budget and budget.epsilon for budget in budgets] == [0.5, 2]
    Ledger(live.engine).set_budget("mini", epsilon=3, delta=DELTA)
    export_suppressions(live, tmp_path / "list.json")
    import_suppressions(again, tmp_path / "list.json")
    budget = ledger.budget("mini")
    assert (budget and budget.epsilon) == 0.5, "a raise is made again here, by a role and with its reason"


def test_a_restored_copy_knows_what_was_promised_and_no_raise_vanishes(
    backed_up: tuple[Workspace, Path], tmp_path: Path
) -> None:
    live, _ = backed_up
    theirs, file = Ledger(live.engine), tmp_path / "promises.tar.zst"
    theirs.set_budget("lowered", epsilon=5, delta=DELTA)
    theirs.set_budget("given-up", epsilon=1, delta=DELTA, ceiling=8)
    theirs.set_budget("raised", epsilon=5, delta=DELTA)
    backup(live, file)
    for population in ("lowered", "given-up", "raised", "new"):
        theirs.set_budget(population, epsilon=1, delta=DELTA)
        charge(live, population=population)
    for population in ("raised", "new"):
        theirs.set_budget(population, epsilon=3, delta=DELTA, reason="more")
    again, _ = restored(file, tmp_path)
    ours = Ledger(again.engine)
    for population in ("lowered", "given-up", "raised", "new"):
        budget = ours.budget(population)
        assert budget is not None
        assert (budget.epsilon, budget.ceiling) == (1, 1), (
            f"{population}: a raise is made again here, where it is shown"
        )
        ours.set_budget(population, epsilon=2, delta=DELTA, reason="more")
        assert [one.kept for one in ours.raises(population)] == [False], population


def test_the_promise_of_an_earlier_version_is_merged_too(backed_up: tuple[Workspace, Path], tmp_path: Path) -> None:
    """It stored no ceiling: what was declared before the first charge stands in the journal alone."""
    live, file = backed_up
    Ledger(live.engine).set_budget("mini", epsilon=0.9, delta=DELTA)
    charge(live)
    with live.engine.begin() as connection:
        connection.execute(text("UPDATE budgets SET ceiling = NULL"))
    again, _ = restored(file, tmp_path)
    budget = Ledger(again.engine).budget("mini")
    assert (budget and budget.ceiling) == 0.9


ROWS = """population: mini
identity_type: visits-row
subject: row
columns:
  a: {kind: integer, bounds: [0, 9]}
"""
LOWER, UPPER = [(0, LINE // 2)], [(LINE // 2, LINE)]


def take_in_rows(workspace: Workspace, folder: Path) -> None:
    (folder / "visits.yaml").write_text(ROWS)
    (folder / "visits.csv").write_text("a\n" + "".join(f"{n % 10}\n" for n in range(30)))
    ingest(workspace, "visits", schema=folder / "visits.yaml", data=folder / "visits.csv")


def charge_rows(workspace: Workspace, scope: Scope, share: float = 0.9) -> None:
    event = ZCDpEvent(share * zcdp_rho(1, DELTA))
    Ledger(workspace.engine).charge(
        "mini", event, dataset="visits", purpose="again", scope=scope, identity_type="visits-row"
    )


def test_two_ingests_of_a_row_table_are_two_lines(backed_up: tuple[Workspace, Path], tmp_path: Path) -> None:
    """A row's place is bound to its ingest, so one person is in the lower half of one ingest and the upper of another."""
    live, file = backed_up
    take_in_rows(live, tmp_path)
    charge_rows(live, LOWER)
    again, _ = restored(file, tmp_path)
    take_in_rows(again, tmp_path)
    with pytest.raises(BudgetError, match="exceed"):
        charge_rows(again, UPPER)
    charge_rows(again, LOWER, share=0.1)
    charge_rows(again, UPPER, share=0.1)  # nobody is in both halves of one ingest
    export_suppressions(again, tmp_path / "list.json")
    import_suppressions(live, tmp_path / "list.json")
    for workspace in (live, again):
        assert cost(workspace) == pytest.approx(1, rel=1e-6)
        lines = {one.identity_type for one in show_population_ledger(workspace, "mini").entries}
        assert len(lines) == 2
        assert all(line.startswith("visits-row/") for line in lines)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no list": lambda _: [],
    "a number": lambda _: 7,
    "another key": lambda d: d | {"key": "00" * 32},
    "a key that is not ASCII": lambda d: d | {"key": "é" * 64},
    "half a character": lambda d: d | {"key": "\ud800" * 64},
    "a field too many": lambda d: d | {"più": 1},
    "a number for a token": lambda d: d | {"suppressions": [{"identity_type": "x", "token": 7}]},
    "a list for a list": lambda d: d | {"suppressions": {"x": 1}},
    "another format": lambda d: d | {"format": "workbench-suppressions/3"},
}


def test_a_list_that_could_not_be_read_again_is_not_written(
    backed_up: tuple[Workspace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, _ = backed_up
    export_suppressions(live, tmp_path / "list.json")
    size = (tmp_path / "list.json").stat().st_size
    monkeypatch.setattr(suppression_list, "MOST_BYTES", size)
    charge(live)
    with pytest.raises(InputError, match=r"the list would have .* bytes, and at most .* can be read again"):
        export_suppressions(live, tmp_path / "list.json")
    assert import_suppressions(live, tmp_path / "list.json").suppressed == 0, "the one that was there still is"


def test_a_hostile_list_is_refused_with_a_message(
    backed_up: tuple[Workspace, Path], tmp_path: Path, command: Callable[..., Answer]
) -> None:
    live, _ = backed_up
    export_suppressions(live, tmp_path / "list.json")
    key, listing = payload(tmp_path / "list.json")["key"], tmp_path / "bad.json"
    plain = {"format": "workbench-suppressions/1", "key": key, "suppressions": []}
    contents = {name: json.dumps(change(plain)).encode() for name, change in HOSTILE.items()}
    contents["nested"] = b'{"a":' * 100_000
    contents["nested payload"] = json.dumps({"payload": base64.b64encode(b"[" * 100_000).decode()}).encode()
    contents["cut"] = (tmp_path / "list.json").read_bytes()[:-9]
    contents["changed"] = (tmp_path / "list.json").read_bytes().replace(b'"sig": "', b'"sig": "a', 1)
    contents["not text"] = b"\xff\xfe\x00"
    for content in contents.values():
        listing.write_bytes(content)
        with pytest.raises(InputError, match=r"not a suppression list|cannot be trusted|another workspace"):
            import_suppressions(live, listing)
    with listing.open("wb") as file:
        file.truncate(3 << 30)
    answer = command("--workspace", live.root, "suppressions", "import", listing, "--json")
    assert answer.code == 2
    assert "larger than" in answer.error["message"]
