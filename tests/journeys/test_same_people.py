"""One person has one budget: no accident of names gives a second one, and none is shared by accident."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import PUPILS_SCHEMA, Answer, pupils
from shared import copy_of

from workbench.data import catalog
from workbench.errors import InputError
from workbench.privacy.holds import stated
from workbench.privacy.ledger import Ledger
from workbench.schema import Schema, read_schema
from workbench.schema.schema import parse_schema
from workbench.state.workspace import Workspace
from workbench.workflows.datasets import ingest as ingesting
from workbench.workflows.datasets.ingest import append, ingest, refuse_name, rehearse
from workbench.workflows.datasets.propose_schema import propose_schema

DRAFT = PUPILS_SCHEMA.replace("population: pupils\nidentity_type: pupil-number\n", "")
OTHER = PUPILS_SCHEMA.replace("population: pupils", "population: other")
KNOWN = "the school's register has the same numbers"


@pytest.fixture(scope="module")
def two_populations(empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose data set `first` is of population pupils, and `second`, with other people, of population other."""
    folder = tmp_path_factory.mktemp("people")
    copy_of(empty_workspace, folder / "workspace")
    for name, text, first in (("first", PUPILS_SCHEMA, 1000), ("second", OTHER, 5000)):
        take(Workspace.open(folder / "workspace"), name, table_of(folder, first), text)
    return folder / "workspace"


@pytest.fixture
def known(two_populations: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(two_populations, tmp_path / "workspace")
    return Workspace.open(tmp_path / "workspace")


def table_of(folder: Path, first: int, n: int = 12) -> Path:
    pupils(n, first=first).to_csv(folder / "pupils.csv", index=False)
    return folder / "pupils.csv"


def take(workspace: Workspace, name: str, table: Path, text: str, **options: Any) -> Schema:
    path = table.with_name("schema.yaml")
    path.write_text(text)
    ingest(workspace, name, schema=path, data=table, **options)
    return stored(workspace, name)


def stored(workspace: Workspace, name: str) -> Schema:
    with workspace.engine.connect() as connection:
        return catalog.entry(connection, name).schema


def parsed(text: str) -> Schema:
    return parse_schema(yaml.safe_load(text), source="test")


def test_two_files_of_one_name_are_two_populations(workspace: Workspace, tmp_path: Path) -> None:
    drafts = {}
    for place, first in (("a", 1000), ("b", 5000)):
        (tmp_path / place).mkdir()
        table = table_of(tmp_path / place, first, 30)
        drafts[place] = tmp_path / place / "train.yaml"
        propose_schema(table, drafts[place], subject="pupil")
        document = yaml.safe_load(drafts[place].read_text())
        assert not {"population", "identity_type"} & set(document)
    told = ingest(workspace, "a-train", schema=drafts["a"], data=tmp_path / "a" / "pupils.csv")
    assert told.unreviewed, "an unreviewed draft is taken in, and marked"
    schema = stored(workspace, "a-train")
    assert (schema.population, schema.identity_type) == ("a-train", "a-train-subject")
    schema = refuse_name(workspace, "b-train", read_schema(drafts["b"])).schema
    assert (schema.population, schema.identity_type) == ("b-train", "b-train-subject")


def test_a_derived_name_that_other_people_have_is_refused_unless_confirmed(
    known: Workspace, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    table = table_of(tmp_path, 7000)
    for name in ("pupils", "Pupils"):
        with pytest.raises(InputError, match=r"not written in the schema.*(first|written 'pupils')") as refused:
            take(known, name, table, DRAFT)
        assert "--same-people --reason" in refused.value.hint
    for reason, fault in ((" ", "needs a reason"), ("pupil-1003 says so", "names"), ("pupil-7003 says so", "names")):
        with pytest.raises(InputError, match=fault):
            take(known, "pupils", table, DRAFT, same_people=reason)
    at = (
        "--workspace",
        known.root,
        "ingest",
        "Pupils",
        "--schema",
        tmp_path / "schema.yaml",
        "--data",
        table,
        "--json",
    )
    assert command(*at, "--same-people").code == 2
    assert command(*at, "--reason", KNOWN).code == 2
    assert command(*at, "--same-people", "--reason", KNOWN).code == 0
    assert stored(known, "Pupils").population == "pupils", "no budget of its own"
    with known.engine.connect() as connection:
        (statement,) = stated(connection, "pupils")
    assert (statement.kind, statement.about, statement.reason) == ("same_people", "Pupils", KNOWN)


def test_the_same_people_under_another_population_join_the_one_they_have(known: Workspace, tmp_path: Path) -> None:
    table = table_of(tmp_path, 1000)
    for written in ("third", "Pupils"):  # equal tokens, and a slip of case
        text = PUPILS_SCHEMA.replace("population: pupils", f"population: {written}")
        with pytest.raises(InputError, match=r"second budget|in use already") as refused:
            take(known, "third", table, text)
        assert "--same-people --reason" in refused.value.hint
    with pytest.raises(InputError, match="identity type 'Pupil-number' is in use already"):
        take(known, "third", table, PUPILS_SCHEMA.replace("pupil-number", "Pupil-number"))
    without = PUPILS_SCHEMA.replace("population: pupils\n", "")
    with pytest.raises(InputError, match="second budget"):
        rehearse(known, "third", parsed(without), table)
    assert take(known, "third", table, without, same_people=KNOWN).population == "pupils"
    assert rehearse(known, "fourth", parsed(PUPILS_SCHEMA), table).rows, (
        "written by hand, two tables share it as before"
    )


def test_known_people_get_no_second_budget_in_a_population_that_has_rows(known: Workspace, tmp_path: Path) -> None:
    """A reason confirms who they are. It can't move them: both populations would pay for them."""
    table = table_of(tmp_path, 1000)
    with pytest.raises(InputError, match="second budget under population other, which has rows") as refused:
        take(known, "third", table, OTHER, same_people=KNOWN)
    assert refused.value.hint.startswith("write population: pupils in the schema;")
    assert "--same-people" not in refused.value.hint
    with pytest.raises(InputError, match="second budget under population other, which has rows"):
        rehearse(known, "third", parsed(OTHER.replace("other", "Other")), table, confirmed=True)


def test_a_table_of_two_populations_is_refused_whatever_is_confirmed(known: Workspace, tmp_path: Path) -> None:
    both = pd.concat([pupils(12, first=1000), pupils(12, first=5000)])
    both.to_csv(tmp_path / "pupils.csv", index=False)
    for text in (PUPILS_SCHEMA, OTHER, PUPILS_SCHEMA.replace("population: pupils", "population: third")):
        with pytest.raises(InputError, match="second budget"):
            rehearse(known, "third", parsed(text), tmp_path / "pupils.csv", confirmed=True)


def test_people_who_are_not_known_need_no_word_and_no_word_helps_where_nothing_shows(
    known: Workspace, tmp_path: Path
) -> None:
    table = table_of(tmp_path, 7000)
    text = PUPILS_SCHEMA.replace("population: pupils", "population: third")
    with pytest.raises(InputError, match="nothing shows"):
        take(known, "third", table, text, same_people=KNOWN)
    assert rehearse(known, "third", parsed(text), table).rows
    Ledger(known.engine).set_budget("third", epsilon=1, delta=1e-5)
    assert refuse_name(known, "third", parsed(DRAFT)).schema.population == "third", "a budget may be there before rows"


def test_rows_are_not_added_to_another_population_unseen(known: Workspace, tmp_path: Path) -> None:
    table = table_of(tmp_path, 1000, 3)
    with pytest.raises(InputError, match="second budget"):
        append(known, "second", data=table)
    assert append(known, "second", data=table, same_people=KNOWN).new_subjects
    with known.engine.connect() as connection:
        (statement,) = stated(connection, "other")
    assert statement.about == "second"
    assert statement.text == "the people of data set second are those of population pupils in data set first"


def test_a_race_is_seen_in_the_transaction(known: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other data set gets these people while the table is read."""
    table, later = table_of(tmp_path, 7000), tmp_path / "later"
    later.mkdir()
    log = ingesting._log

    def slow(*args: Any) -> list[str]:
        append(known, "second", data=table_of(later, 7003, 2))
        return log(*args)

    monkeypatch.setattr(ingesting, "_log", slow)
    with pytest.raises(InputError, match="population other in data set second"):
        take(known, "third", table, PUPILS_SCHEMA.replace("population: pupils", "population: third"))
    with known.engine.connect() as connection:
        assert catalog.names(connection) == ["first", "second"]


def test_a_row_is_nobody_who_could_be_recognised(known: Workspace, tmp_path: Path) -> None:
    """The limit that the threat model names: the same rows without identifiers are other people here."""
    rows = (
        "subject: row\ncolumns: {passed: {kind: boolean, role: target}, hours: {kind: continuous, bounds: [0, 50]}}\n"
    )
    assert rehearse(known, "third", parsed(rows), table_of(tmp_path, 1000)).rows


def test_a_name_too_long_to_derive_from_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="too long"):
        refuse_name(workspace, "x" * 60, parsed(DRAFT))
