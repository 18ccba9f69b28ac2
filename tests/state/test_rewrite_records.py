"""Records of the first format: read as they are, erased from, and rewritten by `migrate` with nothing else changed."""

import hashlib
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import pupils
from killing import Killed
from older import as_first_format
from stored import placed

from workbench.bytescan.folders import scan_folder
from workbench.config import TrainConfig
from workbench.data import catalog, store
from workbench.data.dataset import Dataset
from workbench.data.files import LocalFiles
from workbench.data.store import Store
from workbench.state import HEAD
from workbench.state.workspace import Workspace
from workbench.workflows.datasets import rewrite_records
from workbench.workflows.datasets.ingest import append
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.migrate import migrate
from workbench.workflows.training.train import train

GOLDEN = Path(__file__).parents[1] / "golden" / "workspaces"
HALVES = ((0, 1 << 63), (1 << 63, 1 << 64))


def store_of(workspace: Workspace) -> Store:
    with workspace.engine.connect() as connection:
        return catalog.store(connection, workspace, "pupils")


def fingerprint(records: Dataset) -> str:
    """A digest of the very bytes that training sees."""
    digest = hashlib.sha256()
    for array in (records.values, records.points, records.slice_points):
        digest.update(array.tobytes())
    return digest.hexdigest()


def seen(workspace: Workspace) -> dict[str, Any]:
    found = store_of(workspace)
    return {
        "records": {split: fingerprint(found.read(split)) for split in ("train", "holdout")},
        "halves": [fingerprint(found.read("train", half)) for half in HALVES],
    }


@pytest.fixture
def golden(tmp_path: Path) -> tuple[Workspace, dict[str, Any]]:
    """A workspace that release 0011 made, and what its training saw."""
    with tarfile.open(GOLDEN / "format1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / "workspace" / "state.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0011",)
    return Workspace(tmp_path / "workspace"), json.loads((GOLDEN / "format1.json").read_text())


@pytest.fixture
def older(trained: Workspace) -> Workspace:
    """The trained workspace with its records in the first format."""
    as_first_format(trained, "pupils")
    return trained


def test_what_an_earlier_release_stored_is_seen_as_it_was_and_trains_the_same_models(
    golden: tuple[Workspace, dict[str, Any]],
) -> None:
    workspace, made = golden
    answer = migrate(workspace.root)
    assert (answer.database.to_json(), answer.records) == ({"before": "0011", "after": HEAD}, {"pupils": "rewritten"})
    assert seen(workspace) == {"records": made["records"], "halves": made["halves"]}
    assert not list((workspace.root / "data" / "pupils").glob("*/*/records.parquet"))
    again = train(workspace, TrainConfig(learner="naive_bayes", dataset="pupils", shards=2, slices=2))
    assert again.to_json()["constituents"] == made["constituents"]
    assert migrate(workspace.root).changed is False
    assert doctor(workspace).healthy


def test_records_of_the_first_format_are_erased_from_and_added_to_as_they_are(older: Workspace, tmp_path: Path) -> None:
    before, key = seen(older), placed(older, "train")[0]
    pupils(2, first=5000).to_csv(tmp_path / "more.csv", index=False)
    append(older, "pupils", data=tmp_path / "more.csv")
    assert seen(older) != before
    result = erase(older, [key]).requests[0]
    assert result.status == "completed"
    assert verify(older, Path(result.certificate), replay=True).valid
    assert 0 < len(store_of(older).first_format) < len(store_of(older).digests), (
        "what is written is of the newest format"
    )
    left = seen(older)
    assert migrate(older.root).records == {"pupils": "rewritten"}
    assert (seen(older), store_of(older).first_format) == (left, frozenset())
    assert scan_folder(older.root, [key.encode()]).hits == ()


def test_larger_tables_get_more_buckets_and_the_same_rows(older: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = seen(older)
    monkeypatch.setattr(store, "_BUCKET_BYTES", 1 << 8)
    migrate(older.root)
    assert (store_of(older).bits, seen(older)) == (8, before)
    key = placed(older, "train")[0]
    result = erase(older, [key]).requests[0]
    assert verify(older, Path(result.certificate), replay=True).valid


def kills() -> Iterator[tuple[str, object, str, int]]:
    yield "at the first file", LocalFiles, "write", 0
    yield "between files", LocalFiles, "write", 40
    yield "before the switch", rewrite_records, "writing", 0
    yield "before the old files are deleted", LocalFiles, "delete", 0
    yield "between deletions", LocalFiles, "delete", 40


@pytest.mark.parametrize(("where", "name", "at"), [kill[1:] for kill in kills()], ids=[kill[0] for kill in kills()])
def test_a_kill_leaves_one_content_of_each_bucket_and_the_next_try_ends_it(
    older: Workspace, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, at: int
) -> None:
    before, original, calls = seen(older), getattr(where, name), []

    def killed(*arguments: Any) -> Any:
        if len(calls) == at:
            raise Killed
        calls.append(1)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(Killed):
            migrate(older.root)
    assert seen(older) == before
    migrate(older.root)
    carry_out_waiting(older)
    assert (seen(older), store_of(older).first_format, store_of(older).strays()) == (before, frozenset(), [])


def test_what_a_killed_rewriting_left_does_not_outlive_an_erasure(
    older: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = placed(older, "train")[0]

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rewrite_records, "writing", killed)
        with pytest.raises(Killed):
            migrate(older.root)
    assert len(store_of(older).strays()) == len(store_of(older).digests)
    assert erase(older, [key]).requests[0].status == "completed"
    assert store_of(older).strays() == []


def test_while_a_paid_fit_would_go_on_from_them_the_files_stay(older: Workspace) -> None:
    folder = older.root / "fits" / "pupils-mst-abcdef"
    folder.mkdir()
    config = {"generator": "mst", "dataset": "pupils", "epsilon": 1.0, "delta": 1e-5}
    (folder / "about.json").write_text(json.dumps({"config": config, "records": ""}))
    assert migrate(older.root).records["pupils"].startswith("kept as it is: a fit")
    shutil.rmtree(folder)
    assert migrate(older.root).records == {"pupils": "rewritten"}
