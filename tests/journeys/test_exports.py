"""What was handed out is on record, and every later erasure says whom to notify."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from stored import placed, predicate
from test_queue import POLICY

from workbench.errors import InputError, NotFoundError
from workbench.state import lineage
from workbench.state.atomic_files import file_sha256
from workbench.state.lineage import Artifact
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.results import NotifiedArtifact
from workbench.workflows.erasure.retire import retire
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.show_lineage import show_lineage
from workbench.workflows.synthesis import sample as sampling
from workbench.workflows.synthesis.sample import sample


def exports(workspace: Workspace) -> list[Artifact]:
    with workspace.engine.connect() as connection:
        return lineage.find(connection, kind="export")


def generator_of(workspace: Workspace) -> str:
    with workspace.engine.connect() as connection:
        return lineage.find(connection, kind="generator")[0].id


def test_an_export_is_on_record_with_who_got_it(
    trained: Workspace, command: Callable[..., Answer], tmp_path: Path
) -> None:
    out, generator = tmp_path / "rows.csv", generator_of(trained)
    words = ("sample", generator, "-n", 20, "--out", out, "--recipient", "Ministry of Öland", "--json")
    told = command("--workspace", trained.root, *words).json
    (export,) = exports(trained)
    assert export.id == told["export"]
    assert export.id.startswith(f"{generator}-export-")
    assert export.digest == file_sha256(out)
    assert export.body == {"private": True, "epsilon": 1, "delta": 1e-5, "rows": 20, "recipient": "Ministry of Öland"}
    (shown,) = [a for a in show_lineage(trained, "pupils").derivatives if a.kind == "export"]
    assert (shown.recipient, shown.rows, shown.digest) == ("Ministry of Öland", 20, export.digest)
    assert sample(trained, generator, 5, tmp_path / "more.parquet").export != export.id


@pytest.mark.parametrize("private", ["keep_private", "retire", "remeasure"])
def test_every_erasure_names_what_to_recall_whatever_became_of_the_generator(
    trained: Workspace, tmp_path: Path, private: str
) -> None:
    set_policy(trained, "pupils", POLICY, [f"private={private}"])
    export = sample(trained, generator_of(trained), 5, tmp_path / "rows.csv", recipient="Ministry").export
    first, second = placed(trained, "train")[:2]
    planned = erase(trained, [first], dry_run=True).plan[0].notify
    assert NotifiedArtifact(id=export, recipient="Ministry") in planned
    for key in (first, second):
        result = erase(trained, [key]).requests[0]
        assert export in predicate(result.certificate)["notify"]
        assert verify(trained, Path(result.certificate)).valid
    assert [e.id for e in exports(trained)] == [export]
    assert [a.id for a in show_lineage(trained, "pupils").derivatives if a.kind == "export"] == [export]


def test_exports_of_a_retired_generator_stay_on_record(trained: Workspace, tmp_path: Path) -> None:
    export = sample(trained, generator_of(trained), 5, tmp_path / "rows.csv").export
    retire(trained, generator_of(trained))
    result = erase(trained, [placed(trained, "train")[0]]).requests[0]
    assert predicate(result.certificate)["notify"] == [export]


@pytest.mark.parametrize("recipient", ["", "  ", "x" * 201, "a\nb"])
def test_a_recipient_is_a_short_line(trained: Workspace, tmp_path: Path, recipient: str) -> None:
    with pytest.raises(InputError, match="recipient"):
        sample(trained, generator_of(trained), 5, tmp_path / "rows.csv", recipient=recipient)
    assert exports(trained) == []
    assert list(tmp_path.glob("*.csv")) == []


def test_no_file_is_handed_out_that_is_not_on_record(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = generator_of(trained)
    work = sampling.write_rows

    def retired_meanwhile(*arguments: Any, **options: Any) -> None:
        work(*arguments, **options)
        retire(trained, generator)

    monkeypatch.setattr(sampling, "write_rows", retired_meanwhile)
    with pytest.raises(NotFoundError):
        sample(trained, generator, 5, tmp_path / "rows.csv")
    assert exports(trained) == []
    assert [path.name for path in tmp_path.iterdir()] == ["workspace"]
