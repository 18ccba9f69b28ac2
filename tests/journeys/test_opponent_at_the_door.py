"""P1 through the whole door: an opponent uses commands and workflows alone, and no person pays more than was promised.

What a person paid is read from the database's rows and summed by `true_cost`, which knows where a person's hash is in each
table, and shares no code with the ledger.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import true_cost
from conftest import PUPILS_SCHEMA, Answer, pupils
from shared import copy_of
from test_queue import POLICY

from workbench.erasure.locate import locate
from workbench.errors import BudgetError, InputError
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.budget import set_budget, show_ledger
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.suppressions import export_suppressions
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.restore import restore

PEOPLE, DELTA, EPSILON = 60, 1e-5, 2.0
TABLES = {"shop": "e-mail", "bank": "card", "visits": "visits-row", "again": "again-row"}
Points = dict[str, list[int]]  # of each table, where each person's hash is


@pytest.fixture(scope="session")
def opening(empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Points]:
    """Four tables of the same people: by e-mail, by card, by row, and the last under another name."""
    folder = tmp_path_factory.mktemp("door")
    root = folder / "workspace"
    copy_of(empty_workspace, root)
    workspace, points = Workspace.open(root), {}
    rows = pupils(PEOPLE).drop_duplicates("pupil").assign(term=1)
    for name, kind in TABLES.items():
        schema = PUPILS_SCHEMA.replace("pupils", "people").replace("pupil-number", kind)
        table = rows.assign(pupil=name + rows["pupil"])
        if kind.endswith("-row"):
            schema = schema.replace("subject: pupil\n", "subject: row\n").replace(
                "max_rows_per_subject: 3\nrow_key: [term]\n", ""
            )
            schema = schema.replace("  pupil: {kind: identifier, role: subject_id}\n", "")
            table = table.drop(columns="pupil")
        (folder / "schema.yaml").write_text(schema, encoding="utf-8")
        table.to_csv(folder / f"{name}.csv", index=False)
        ingest(workspace, name, schema=folder / "schema.yaml", data=folder / f"{name}.csv")
        set_policy(workspace, name, POLICY, ["private=remeasure"])
        keys = [str(n) for n in range(PEOPLE + 1)] if kind.endswith("-row") else list(table["pupil"])
        points[name] = [found[0].point for key in keys if (found := locate(workspace, [(name, key)]))]
        assert len(points[name]) == PEOPLE
    set_budget(workspace, "shop", epsilon=EPSILON, delta=DELTA)
    return root, points


def paid(root: Path, points: Points) -> float:
    """What the person paid who paid most; a charge of some shards concerns those whose hash is there in that table."""
    with sqlite3.connect(root / "state.db") as connection:
        rows = connection.execute("SELECT dataset, event, scope FROM charges").fetchall()
    charged = [
        (name, true_cost.divergence(json.loads(e)), [tuple(map(int, i)) for i in json.loads(s)]) for name, e, s in rows
    ]
    most = 0.0
    for person in range(PEOPLE):
        bill = np.zeros(len(true_cost.ORDERS))
        for name, (divergence, _), scope in charged:
            if any(low <= points[name][person] < high for low, high in scope):
                bill = bill + divergence
        most = max(most, true_cost.epsilon(bill, 0.0, DELTA))
    return most


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_no_person_pays_more_than_was_promised(
    seed: int, opening: tuple[Path, Points], tmp_path: Path, command: Callable[..., Answer]
) -> None:
    root, points = tmp_path / "workspace", opening[1]
    shutil.copytree(opening[0], root)
    rng, most = np.random.default_rng(seed), EPSILON
    saved = tmp_path / "backup.tar.zst"

    def fit(name: str) -> None:
        told = show_ledger(Workspace.open(root), name)
        left = max(0.05, told.budget.epsilon - told.spent.epsilon)
        setting = {
            "dataset": name,
            "epsilon": round(left * rng.choice([0.4, 0.7, 1.0]), 3),
            "delta": DELTA,
            "shards": 2,
        }
        words = [word for key, value in setting.items() for word in ("--set", f"{key}={value}")]
        answer = command("--workspace", root, "synthesize", "configs/generators/mst.yaml", *words, "--json")
        assert answer.code in (0, 3), answer.err

    def forget(name: str) -> None:
        key = (
            str(rng.integers(PEOPLE)) if TABLES[name].endswith("-row") else f"{name}pupil-{1000 + rng.integers(PEOPLE)}"
        )
        erase(Workspace.open(root), [key], dataset=name)

    def talk(name: str) -> None:
        nonlocal most
        epsilon = most * float(rng.choice([0.5, 1.0, 1.5]))
        try:
            set_budget(
                Workspace.open(root), name, epsilon=epsilon, delta=float(rng.choice([DELTA, 0.01])), reason="more"
            )
        except InputError:
            return
        most = max(most, epsilon)

    def back_up(_: str) -> None:
        if not saved.exists():
            backup(Workspace.open(root), saved)

    def go_back(_: str) -> None:
        nonlocal root
        if saved.exists():
            export_suppressions(Workspace.open(root), tmp_path / f"list-{root.name}.json")
            target = tmp_path / f"{root.name}-again"
            restore(target, saved, suppressions=tmp_path / f"list-{root.name}.json")
            root = target

    moves: tuple[Callable[[str], None], ...] = (fit, fit, fit, forget, forget, forget, talk, back_up, go_back)
    fit("shop")
    fit("bank")
    for _ in range(6):
        try:
            moves[rng.integers(len(moves))](str(rng.choice(list(TABLES))))
        except BudgetError:
            continue
        finally:
            cost, told = paid(root, points), show_ledger(Workspace.open(root), "shop")
            assert cost <= most * (1 + true_cost.TOLERANCE)
            assert told.spent.epsilon >= cost * (1 - true_cost.TOLERANCE)
            kept = [one for one in told.raises if not one.kept]
            assert kept or cost <= EPSILON * (1 + true_cost.TOLERANCE)
