"""Bad input through the command line: a documented code, an error that says what to do, no value told, nothing written."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from conftest import PUPILS_SCHEMA, Answer, pupils
from shared import copy_of

from workbench.state.workspace import Workspace
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training.publish_version import current_versions

Command = Callable[..., Answer]
HEADER = "pupil,term,town,hours,passed"
GOOD = [f"pupil-{n},1,Öland,20.5,true" for n in range(20)]
SECRET = "Geheimnis"  # stands for a cell: no message may hold it

TABLES: dict[str, tuple[bytes, str]] = {
    "a column of the schema is not there": (f"pupil,term,town,passed\n{SECRET},1,Öland,true\n".encode(), "lacks"),
    "another column is there instead": ("\n".join([HEADER.replace("town", "city"), *GOOD]).encode(), "lacks"),
    "the header is forgotten": (f"{SECRET},1,Öland,20,true\n{SECRET},1,Åland,20,true\n".encode(), "lacks"),
    "a text stands where a number should": (f"{HEADER}\npupil-1,1,Öland,{SECRET},true\n".encode(), "column 'hours'"),
    "the file is empty": (b"", "is empty"),
    "there is a header and no row": (f"{HEADER}\n".encode(), "no rows"),
    "a column is missing throughout": (
        "\n".join([HEADER, *(f"pupil-{n},1,Öland,,true" for n in range(9))]).encode(),
        "missing values are not allowed (rows 0, 1, 2, 3, 4, …; 9 in all)",
    ),
    "a category is outside the domain": (f"{HEADER}\npupil-1,1,{SECRET} 🗼,20,true\n".encode(), "declared categories"),
    "a number is outside the bounds": (f"{HEADER}\npupil-1,1,Öland,1e9,true\n".encode(), "declared bounds"),
    "a number is NaN": (f"{HEADER}\npupil-1,1,Öland,nan,true\n".encode(), "not a finite number (rows 0; 1 in all)"),
    "a number is infinite": (f"{HEADER}\npupil-1,1,Öland,-inf,true\n".encode(), "not a finite number"),
    "an integer is a fraction": (f"{HEADER}\npupil-1,1.5,Öland,20,true\n".encode(), "not an integer"),
    "a column has ten thousand undeclared categories": (
        "\n".join([HEADER, *(f"pupil-{n},1,{SECRET}{n},20,true" for n in range(10_000))]).encode(),
        "10000 in all",
    ),
    "two columns have one name": (f"{HEADER},term\n{SECRET},1,Öland,20,true,1\n".encode(), "several columns"),
    "the text is UTF-16": (f"{HEADER}\n{SECRET},1,Öland,20,true\n".encode("utf-16"), "not UTF-8"),
    "there are too many columns": (",".join([HEADER, *(f"c{n}" for n in range(10_000))]).encode(), "10,005 columns"),
    "a row has too few cells": (f"{HEADER}\n{GOOD[0]}\n{SECRET},1\n".encode(), "ragged"),
    "a row has too many cells": (f"{HEADER}\n{GOOD[0]}\n{SECRET},1,Öland,20,true,7\n".encode(), "ragged"),
    "a quote is never closed": (f'{HEADER}\n"{SECRET},1,Öland,20,true\n'.encode(), "never ends"),
    "the text is not UTF-8": (f"{HEADER}\n{SECRET},1,Öland,20,true\n".encode("latin-1"), "not UTF-8"),
    "cells are parted by semicolons": ("\n".join([HEADER, *GOOD]).replace(",", ";").encode(), "semicolons"),
    "a person is not named": (f"{HEADER}\n,1,Öland,20,true\n".encode(), "identifier is missing"),
    "a person has too many rows": (
        "\n".join([HEADER, *(f"{SECRET},{term},Öland,20,true" for term in range(1, 6))]).encode(),
        "max_rows_per_subject = 3",
    ),
    "a record is there twice": (f"{HEADER}\n{SECRET},1,Öland,20,true\n{SECRET},1,Öland,20,true\n".encode(), "row key"),
    "it is a Parquet file by another name": (b"PAR1" + bytes(range(256)), "UTF-8"),
}

SCHEMAS = {
    "bounds are inverted": (PUPILS_SCHEMA.replace("[0, 50]", "[50, 0]"), "bounds are inverted: [50.0, 0.0]"),
    "a bound is infinite": (PUPILS_SCHEMA.replace("[0, 50]", "[0, .inf]"), "a number that is not finite"),
    "a field is misspelt": (PUPILS_SCHEMA.replace("bounds: [0, 50]", "bonds: [0, 50]"), "columns.hours.bonds"),
    "a column is declared twice": (PUPILS_SCHEMA + "  town: {kind: boolean}\n", "keys repeat: ['town']"),
    "the subject column is not declared": (PUPILS_SCHEMA.replace("subject: pupil", "subject: person"), "'person'"),
    "it is a list": ("- 1\n", "expected a mapping"),
    "it is empty": ("", "expected a mapping"),
    "it is not YAML": (": : [", "not valid YAML"),
}

TRAIN = ("train", "configs/models/trees.yaml", "--set", "dataset=pupils")
SYNTHESIZE = ("synthesize", "configs/generators/mst.yaml", "--set", "dataset=pupils")
BUDGET = ("ledger", "budget", "pupils")
WORDS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "epsilon is zero": ((*SYNTHESIZE, "--set", "epsilon=0"), 2, "epsilon"),
    "epsilon is negative": ((*SYNTHESIZE, "--set", "epsilon=-1"), 2, "epsilon"),
    "epsilon is NaN": ((*SYNTHESIZE, "--set", "epsilon=.nan"), 2, "epsilon"),
    "epsilon is infinite": ((*SYNTHESIZE, "--set", "epsilon=.inf"), 2, "epsilon"),
    "epsilon is a word": ((*SYNTHESIZE, "--set", "epsilon=much"), 2, "found 'much'"),
    "delta is one": ((*SYNTHESIZE, "--set", "delta=1"), 2, "delta"),
    "delta is NaN": ((*SYNTHESIZE, "--set", "delta=.nan"), 2, "delta"),
    "no row is asked for": ((*SYNTHESIZE, "--set", "rows=0"), 2, "rows"),
    "the budget's epsilon is zero": ((*BUDGET, "--epsilon", "0", "--delta", "1e-5"), 2, "epsilon"),
    "the budget's epsilon is NaN": ((*BUDGET, "--epsilon", "nan", "--delta", "1e-5"), 2, "epsilon"),
    "the budget's epsilon is a word": ((*BUDGET, "--epsilon", "much", "--delta", "1e-5"), 2, "--epsilon"),
    "the budget's delta is zero": ((*BUDGET, "--epsilon", "1", "--delta", "0"), 2, "delta"),
    "the budget's delta is two": ((*BUDGET, "--epsilon", "1", "--delta", "2"), 2, "delta"),
    "the budget's delta is NaN": ((*BUDGET, "--epsilon", "1", "--delta", "nan"), 2, "delta"),
    "the budget's delta is a tenth": ((*BUDGET, "--epsilon", "1", "--delta", "0.1"), 2, "delta must be under 0.1"),
    "the budget's epsilon is too large": ((*BUDGET, "--epsilon", "101", "--delta", "1e-5"), 2, "at most 100"),
    "the budget's delta changes": ((*BUDGET, "--epsilon", "4", "--delta", "1e-6"), 2, "its delta stays"),
    "the budget is raised for no reason": ((*BUDGET, "--epsilon", "50", "--delta", "1e-5"), 2, "needs a reason"),
    "the budget's ceiling comes too late": (
        (*BUDGET, "--epsilon", "4", "--delta", "1e-5", "--ceiling", "9"),
        2,
        "before the first charge",
    ),
    "the budget has no delta": ((*BUDGET, "--epsilon", "1"), 2, "--delta"),
    "more is asked than the budget holds": ((*SYNTHESIZE, "--set", "epsilon=50"), 3, "would exceed the budget"),
    "there are more shards than subjects": ((*TRAIN, "--set", "shards=5000"), 2, "asked for 5000 shards"),
    "there is no shard": ((*TRAIN, "--set", "shards=0"), 2, "shards"),
    "a config key is unknown": ((*TRAIN, "--set", "shardz=4"), 2, "shardz"),
    "an override has no value": ((*TRAIN, "--set", "shards"), 2, "'shards' has no value"),
    "an override has no key": ((*TRAIN, "--set", "=4"), 2, "not a valid config"),
    "an override is broken YAML": ((*TRAIN, "--set", "shards=[1"), 2, "found '[1'"),
    "the config is another one's": (("train", "configs/generators/mst.yaml"), 2, "learner: Field required"),
    "the config is not there": (("train", "nosuch.yaml"), 2, "no config at nosuch.yaml"),
    "the data set is not there": ((*TRAIN, "--set", "dataset=nosuch"), 4, "'nosuch'"),
    "the data set is taken": (("ingest", "german", "--schema", "s.yaml"), 2, "both --schema and --data"),
    "a name leads elsewhere": (("ingest", "../x", "--schema", "s.yaml", "--data", "t.csv"), 2, "not a usable name"),
    "the table is not there": (("ingest", "x", "--schema", "nosuch.yaml", "--data", "t.csv"), 2, "no schema file"),
    "nobody is to be erased": (("erase",), 2, "no key was given"),
    "the file of keys is not there": (("erase", "--file", "nosuch"), 2, "file of keys"),
    "the artifact is not there": (("lineage", "nosuch"), 4, "'nosuch'"),
    "the generator is not there": (("sample", "nosuch", "-n", "5", "--out", "s.csv"), 4, "'nosuch'"),
    "the ensemble is not there": (("predict", "nosuch", "--data", "t.csv", "--out", "p.parquet"), 4, "'nosuch'"),
    "the certificate is not there": (("verify", "nosuch.json"), 4, "no certificate"),
    "the command does not exist": (("forget",), 2, "No such command"),
    "an option does not exist": (("doctor", "--fast"), 2, "No such option"),
}


def contents(root: Path) -> dict[Path, bytes]:
    """Every file that a command could leave, with what is in it; SQLite's own log files come and go.

    That a job was tried and failed, and which columns a refusal named, is on record, and no change.
    """
    passing = ("-wal", "-shm", ".lock")
    files = (p for p in root.rglob("*") if p.is_file() and not p.name.endswith(passing))
    return {p: rows(p) if p.name == "state.db" else p.read_bytes() for p in files}


def rows(database: Path) -> bytes:
    """All rows but those of jobs and refusals; a file that is no database as it is."""
    with closing(sqlite3.connect(database)) as connection:
        try:
            lines = [line for line in connection.iterdump() if not line.startswith('INSERT INTO "jobs"')]
            lines = [line for line in lines if "'INGEST_REFUSED'" not in line]
        except sqlite3.DatabaseError:
            return database.read_bytes()
    return "\n".join(lines).encode()


def refused(answer: Answer, code: int, part: str) -> None:
    """The answer has the code, one error object, the part of a message, and tells no cell."""
    assert answer.code == code, answer.out
    assert part in answer.error["message"]
    assert SECRET not in answer.out + answer.err


@pytest.fixture(scope="module")
def untouched(full_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full workspace that no test here may change."""
    return copy_of(full_workspace, tmp_path_factory.mktemp("bad") / "workspace")


@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table_is_refused_and_nothing_is_stored(
    case: str, command: Command, untouched: Path, tmp_path: Path, pupils_files: tuple[Path, Path]
) -> None:
    content, part = TABLES[case]
    (tmp_path / "t.csv").write_bytes(content)
    before = contents(untouched)
    answer = command(
        "--workspace", untouched, "ingest", "bad", "--schema", pupils_files[0], "--data", tmp_path / "t.csv", "--json"
    )
    refused(answer, 2, part)
    assert contents(untouched) == before
    assert not list((untouched / "staging").iterdir())
    assert doctor(Workspace.open(untouched)).healthy


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_bad_schema_is_refused_and_nothing_is_stored(
    case: str, command: Command, untouched: Path, tmp_path: Path, pupils_files: tuple[Path, Path]
) -> None:
    text, part = SCHEMAS[case]
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    before = contents(untouched)
    answer = command(
        "--workspace", untouched, "ingest", "bad", "--schema", tmp_path / "s.yaml", "--data", pupils_files[1], "--json"
    )
    refused(answer, 2, part)
    assert "Value error" not in answer.out
    assert contents(untouched) == before


@pytest.mark.parametrize("case", WORDS)
def test_bad_words_are_refused_and_change_nothing(
    case: str, command: Command, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, code, part = WORDS[case]
    monkeypatch.chdir(tmp_path)
    before = contents(untouched)
    refused(command("--workspace", untouched, *words, "--json"), code, part)
    assert contents(untouched) == before
    assert not list(tmp_path.iterdir())


def test_a_byte_order_mark_strange_names_and_one_row_are_no_fault(
    command: Command, workspace: Workspace, tmp_path: Path
) -> None:
    schema = (
        "population: p\nidentity_type: p\nsubject: row\ncolumns:\n  '🗼, ü': {kind: categorical, categories: [ä 🗼]}\n"
    )
    (tmp_path / "s.yaml").write_text(schema + "holdout: {share: 1.0e-9}\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text('\ufeff"🗼, ü"\r\nä 🗼\r\n', encoding="utf-8")
    home, files = ("--workspace", workspace.root), ("--schema", tmp_path / "s.yaml", "--data", tmp_path / "t.csv")
    assert command(*home, "ingest", "one", *files, "--json").json["rows"]["train"] == 1
    refused(command(*home, "train", "configs/models/trees.yaml", "--set", "dataset=one", "--json"), 2, "no target")
    refused(
        command(*home, "synthesize", "configs/generators/mst.yaml", "--set", "dataset=one", "--json"), 3, "no privacy"
    )
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x" * 99)[:-9])
    cut = ("--schema", tmp_path / "s.yaml", "--data", tmp_path / "t.csv.gz")
    assert command(*home, "ingest", "two", *cut, "--json").code == 2
    assert doctor(workspace).healthy


@pytest.mark.parametrize(
    "key", ["Geheimnis 🗼 with spaces", "", " ", "Geheimnis" * 9_999, "'; DROP TABLE requests; --"]
)
def test_an_unknown_person_is_rejected_and_not_named(key: str, command: Command, trained: Workspace) -> None:
    def files() -> dict[str, bytes]:
        return {name: content for name, content in contents(trained.root).items() if "state.db" not in str(name)}

    before = files()
    answer = command("--workspace", trained.root, "erase", "--json", "--", key)
    assert answer.code == 4
    assert [(r["status"], r["certificate"]) for r in answer.json["requests"]] == [("rejected", None)]
    assert SECRET not in answer.out + answer.err
    assert files() == before, "the queue alone remembers that somebody asked"
    assert doctor(trained).healthy


@pytest.fixture(scope="module")
def numbered(german: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workspace whose every row is a person."""
    return copy_of(german, tmp_path_factory.mktemp("numbered") / "workspace")


@pytest.mark.parametrize("key", ["abc", "-1", "1.0", "1_0", "٧", "9" * 5_000, "5000"])
def test_a_key_that_is_no_row_number_is_rejected(key: str, command: Command, numbered: Path) -> None:
    answer = command("--workspace", numbered, "erase", "--json", "--", key)
    assert answer.code == (4 if key == "5000" else 2)
    assert answer.json["requests"][0]["status"] == "rejected"


def test_a_person_erased_twice_is_rejected_the_second_time(command: Command, trained: Workspace) -> None:
    words = ("--workspace", trained.root, "erase", "pupil-1001", "--json")
    assert command(*words).code == 0
    answer = command(*words)
    assert (answer.code, answer.json["requests"][0]["status"]) == (4, "rejected")


def test_keys_that_are_not_text_are_refused(command: Command, untouched: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe\x00Geheimnis")
    refused(command("--workspace", untouched, "erase", "--file", tmp_path / "keys", "--json"), 2, "not UTF-8")


def test_results_that_cannot_be_written_are_refused_before_any_work(
    command: Command, untouched: Path, tmp_path: Path
) -> None:
    generator = next((untouched / "generators").iterdir()).name
    (tmp_path / "dir.parquet").mkdir()
    for number, out, part in (
        ("0", "s.csv", "asked for 0 rows"),
        ("-4", "s.csv", "asked for -4 rows"),
        ("99999999999999999999", "s.csv", "asked for 99999999999999999999 rows"),
        ("5", "s.txt", "no ending"),
        ("5", "no/s.csv", "no folder"),
        ("5", "dir.parquet", "is a folder"),
    ):
        words = ("sample", generator, "-n", number, "--out", tmp_path / out, "--json")
        refused(command("--workspace", untouched, *words), 2, part)
    with Workspace.open(untouched).engine.connect() as connection:
        ensemble = next(iter(current_versions(connection)))
    pupils(3).to_csv(tmp_path / "t.csv", index=False)
    for out, part in (("p.csv", "no ending"), ("no/p.parquet", "no folder"), ("dir.parquet", "is a folder")):
        words = ("predict", ensemble, "--data", tmp_path / "t.csv", "--out", tmp_path / out, "--json")
        refused(command("--workspace", untouched, *words), 2, part)
    assert {path.name for path in tmp_path.iterdir()} == {"dir.parquet", "t.csv"}


def test_predictions_ignore_order_targets_and_further_columns_but_not_faults(
    command: Command, untouched: Path, tmp_path: Path
) -> None:
    with Workspace.open(untouched).engine.connect() as connection:
        ensemble = next(iter(current_versions(connection)))
    table = pupils(9, first=9000)

    def predict(frame: pd.DataFrame) -> Answer:
        frame.to_csv(tmp_path / "t.csv", index=False)
        words = ("predict", ensemble, "--data", tmp_path / "t.csv", "--out", tmp_path / "p.parquet", "--json")
        return command("--workspace", untouched, *words)

    assert predict(table).code == 0
    expected = pd.read_parquet(tmp_path / "p.parquet")
    for same in (
        table.drop(columns=["pupil", "passed"]),
        table[["hours", "town", "term"]],
        table.assign(passed=SECRET, more=SECRET),
    ):
        assert predict(same).code == 0
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "p.parquet"), expected)
    (tmp_path / "p.parquet").unlink()
    refused(predict(table.drop(columns="hours")), 2, "lacks the columns ['hours']")
    refused(predict(table.assign(town=SECRET)), 2, "column 'town'")
    assert not (tmp_path / "p.parquet").exists()


def test_a_damaged_checkpoint_stops_predictions_and_an_erasure_mends_it(
    command: Command, trained: Workspace, tmp_path: Path
) -> None:
    home = ("--workspace", trained.root)
    with trained.engine.connect() as connection:
        ensemble = next(iter(current_versions(connection)))
    for path in (trained.root / "objects").glob("*/*/*"):
        path.write_bytes(path.read_bytes()[:-1])
    pupils(3).to_csv(tmp_path / "t.csv", index=False)
    words = ("predict", ensemble, "--data", tmp_path / "t.csv", "--out", tmp_path / "p.parquet", "--json")
    refused(command(*home, *words), 2, "is damaged or missing")
    assert not (tmp_path / "p.parquet").exists()
    sick = command(*home, "doctor", "--json")
    assert (sick.code, sick.json["healthy"]) == (1, False)
    erased = command(*home, "erase", "pupil-1001", "--json")
    assert erased.code == 0, erased.out
    assert verify(trained, Path(erased.json["requests"][0]["certificate"]), replay=True).valid
    assert command(*home, "doctor", "--json").code == 0
    assert command(*home, *words).code == 0


def test_what_is_no_certificate_of_this_workspace_is_not_valid(
    command: Command, trained: Workspace, german: Path, tmp_path: Path
) -> None:
    certificate = erase(trained, ["pupil-1001"]).requests[0].certificate
    answer = command("--workspace", german, "verify", certificate, "--json")
    assert (answer.code, answer.json["valid"]) == (1, False)
    key = german / "keys" / "signing.pub.pem"
    for words in ((certificate,), (certificate, "--key", german / "keys" / "token.key")):
        answer = command("--workspace", trained.root, "verify", *words, "--json")
        assert answer.code == (0 if len(words) == 1 else 2)
    for number, content in enumerate((b"", b"[1]", b"\xff\xfe", b'{"payload": 5}', b"[" * 99_999, key.read_bytes())):
        (tmp_path / f"{number}.json").write_bytes(content)
        answer = command("--workspace", trained.root, "verify", tmp_path / f"{number}.json", "--json")
        assert (answer.code, answer.json["valid"]) == (1, False)


def test_a_foreign_file_is_named_and_left_alone(command: Command, trained: Workspace) -> None:
    (trained.root / "notes.txt").write_text("mine")
    (trained.root / "objects" / "pupils" / "zz").mkdir()
    (trained.root / "objects" / "pupils" / "zz" / "junk").write_text("mine")
    answer = command("--workspace", trained.root, "doctor", "--json")
    assert answer.code == 1
    assert "notes.txt" in answer.out
    assert "objects/pupils/zz/junk" in answer.out
    assert command("--workspace", trained.root, "erase", "pupil-1001", "--json").code == 0
    assert (trained.root / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("words", [("doctor",), ("init",), ("erase", "pupil-1001"), ("requests", "list")])
def test_a_workspace_of_a_newer_version_is_not_touched(
    words: tuple[str, ...], command: Command, workspace: Workspace
) -> None:
    database = sqlite3.connect(workspace.root / "state.db")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    before = contents(workspace.root)
    answer = command("--workspace", workspace.root, *words, "--json")
    refused(answer, 2, "revision")
    assert "newer workbench" in answer.error["hint"]
    assert contents(workspace.root) == before


@pytest.mark.parametrize("lost", ["keys/token.key", "keys/placement.key", "keys/suppression.key", "state.db"])
def test_a_workspace_that_lost_a_key_or_its_database_is_not_given_a_new_one(
    lost: str, command: Command, trained: Workspace
) -> None:
    (trained.root / lost).unlink()
    refused(command("--workspace", trained.root, "init", "--json"), 2, f"has lost {lost}")
    assert not (trained.root / lost).exists()
    assert command("--workspace", trained.root, "doctor", "--json").code != 0


@pytest.mark.parametrize("content", [b"", b"not a database at all, and longer than a header"])
def test_a_damaged_database_is_refused(content: bytes, command: Command, trained: Workspace) -> None:
    for path in trained.root.glob("state.db*"):
        path.unlink()
    (trained.root / "state.db").write_bytes(content)
    for word in ("doctor", "init"):
        assert command("--workspace", trained.root, word, "--json").error["code"] in ("bad_input", "damaged")


def test_a_workspace_that_is_not_there_or_is_a_file_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for root in (tmp_path / "file", tmp_path / "none"):
        answer = command("--workspace", root, "erase", "x", "--json")
        assert (answer.code, answer.error["code"]) == (4, "not_found")
    for words in (("init",), ("demo",)):
        refused(command("--workspace", tmp_path / "file", *words, "--json"), 2, "is a file")
    assert command("--workspace", tmp_path / "file" / "below", "init", "--json").code == 2
    refused(command("--workspace", tmp_path, "init", "--json"), 2, "not a workspace's")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("case", ["the file is empty", "two columns have one name", "a row has too few cells"])
def test_no_schema_is_proposed_for_a_bad_table(case: str, command: Command, tmp_path: Path) -> None:
    content, part = TABLES[case]
    (tmp_path / "t.csv").write_bytes(content)
    refused(command("schema", "infer", tmp_path / "t.csv", "-o", tmp_path / "s.yaml", "--json"), 2, part)
    assert not (tmp_path / "s.yaml").exists()


@pytest.mark.parametrize("name", ["three rows", "ten thousand categories", "strange names"])
def test_a_proposed_schema_takes_in_its_own_table(
    name: str, command: Command, workspace: Workspace, tmp_path: Path
) -> None:
    frame = {
        "three rows": pd.DataFrame({"a": [1, 2, 3], "y": [0, 1, 0]}),
        "ten thousand categories": pd.DataFrame({"c": [f"c{n}" for n in range(10_000)] * 2, "y": [0, 1] * 10_000}),
        "strange names": pd.DataFrame({"🗼": ["ä", "ö"] * 40, "a, b": [1.5, None] * 40, "y": [0, 1] * 40}),
    }[name]
    frame.to_csv(tmp_path / "t.csv", index=False)
    answer = command("schema", "infer", tmp_path / "t.csv", "-o", tmp_path / "s.yaml", "--target", "y", "--json")
    assert answer.code == 0, answer.out
    again = command("schema", "infer", tmp_path / "t.csv", "-o", tmp_path / "s.yaml", "--json")
    refused(again, 2, "exists already")
    files = ("--schema", tmp_path / "s.yaml", "--data", tmp_path / "t.csv")
    ingested = command("--workspace", workspace.root, "ingest", "t", *files, "--json")
    assert ingested.code == 0, ingested.out
    assert sum(ingested.json["rows"].values()) == len(frame)
    assert json.loads(ingested.out)["unreviewed"] == answer.json["unreviewed"]
