"""From the moment a request is accepted nothing is returned and no file appears that used what learnt from the person.

Each piece of work is done once to count its instants, then once for each instant, with a request accepted there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import pupils
from instants import instants, is_locked
from shared import copy_of
from stored import ensemble_of

from workbench.config import TrainConfig
from workbench.data import reader
from workbench.erasure.locate import locate
from workbench.erasure.request import submit, withdraw
from workbench.errors import NotFoundError, WorkbenchError
from workbench.state import lineage, reading, writing
from workbench.state.atomic_files import sha256, write_atomic
from workbench.state.lineage import Artifact
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.profile import profile
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.evaluation.evaluate import evaluate
from workbench.workflows.evaluation.forgetting_audit import forgetting
from workbench.workflows.evaluation.report import compare as compare_evaluations
from workbench.workflows.evaluation.report import comparison_html, evaluation_html, report_card, report_evaluation
from workbench.workflows.evaluation.subject import Settings
from workbench.workflows.operations.browser_files import predict_upload, release_file, release_rows, sample_file
from workbench.workflows.synthesis import sample as sampling
from workbench.workflows.synthesis.sample import sample
from workbench.workflows.training.advise_shards import advise, advise_and_keep
from workbench.workflows.training.predict import OutdatedError, _voters, predict, predict_frame, predict_rows

DOCUMENT: dict[str, Any] = {
    "made": "2026-01-02T11:30:00+01:00",
    "facts": {"private": False},
    "measures": [],
    "pictures": {},
    "verdicts": [],
    "sampled": None,
    "method": [],
    "limits": [],
}
FRAME = pupils(4).drop(columns=["pupil", "passed"]).head(5)
ROWS = FRAME.astype(object).where(FRAME.notna(), None).to_dict("records")


def files_in(_: Workspace, folder: Path) -> set[Any]:
    return {path.name for path in folder.iterdir()}


@dataclass(frozen=True)
class Deed:
    """A piece of work, and what people can see of it but for its answer; `tries` bounds those of the whole sweep."""

    name: str
    work: Callable[[Workspace, Path], Any]
    seen: Callable[[Workspace, Path], set[Any]] = files_in
    tries: int = 10_000


def generator_of(workspace: Workspace) -> str:
    with workspace.engine.connect() as connection:
        found = lineage.find(connection, kind="generator")
    if not found:
        raise NotFoundError("the generator is gone")
    return found[0].id


def evaluations_of(workspace: Workspace) -> list[str]:
    with workspace.engine.connect() as connection:
        found = [a.id for a in lineage.find(connection, kind="evaluation") if a.path is not None]
    if not found:
        raise NotFoundError("the evaluations are gone")
    return found


def measured(workspace: Workspace, _: Path) -> set[Any]:
    """The evaluations that are on record."""
    with workspace.engine.connect() as connection:
        return {(a.id, a.digest) for a in lineage.find(connection, kind="evaluation")}


def upload() -> bytes:
    return FRAME.to_csv(index=False).encode()


DEEDS = [
    Deed(
        "predict",
        lambda w, folder: predict(w, ensemble_of(w), w.root.parent / "rows.parquet", folder / "out.parquet"),
    ),
    Deed("predict_frame", lambda w, _: predict_frame(w.root, ensemble_of(w), FRAME)),
    Deed("predict_rows", lambda w, _: predict_rows(w, ensemble_of(w), ROWS)),
    Deed("predict_upload", lambda w, _: predict_upload(w, ensemble_of(w), "t.csv", upload())[0].take()),
    Deed("sample", lambda w, folder: sample(w, generator_of(w), 7, folder / "out.csv", seed=0)),
    Deed("sample_file", lambda w, _: sample_file(w, generator_of(w), 7, ".csv").take()),
    Deed("release_file", lambda w, _: release_file(w, f"{generator_of(w)}-release", ".csv")),
    Deed("release_rows", lambda w, _: release_rows(w, f"{generator_of(w)}-release")),
    Deed("report", lambda w, folder: report_evaluation(w, evaluations_of(w)[0], folder / "out.html")),
    Deed("card", lambda w, folder: report_card(w, evaluations_of(w)[0], folder / "out.md", internal=True)),
    Deed("compare", lambda w, folder: compare_evaluations(w, evaluations_of(w), folder / "out.html")),
    Deed("figures beside each other", lambda w, _: compare_evaluations(w, evaluations_of(w))),
    Deed("the page of a report", lambda w, _: evaluation_html(w, evaluations_of(w)[0])),
    Deed("the page of a comparison", lambda w, _: comparison_html(w, evaluations_of(w))),
    Deed("profile", lambda w, _: profile(w, "pupils")),
]
TREES = {"learner": "gradient_boosting", "dataset": "pupils", "shards": 2, "slices": 1, "rounds": 5, "leaves": 7}
LONG = [
    Deed(
        "advise",
        lambda w, folder: advise(w, TrainConfig.model_validate(TREES), out=folder / "a.yaml", plot=folder / "a.svg"),
        tries=12,
    ),
    Deed("advice", lambda w, _: advise_and_keep(w, TrainConfig.model_validate(TREES)), measured, 12),
    Deed("forgetting", lambda w, _: forgetting(w, ensemble_of(w), subjects=20, canaries=0, controls=1), tries=12),
    Deed("evaluate", lambda w, _: evaluate(w, ensemble_of(w), settings=Settings(rows=300)), measured, 12),
]


def evaluated(workspace: Workspace, kind: str, of: str) -> None:
    """Puts an evaluation on record."""
    document = DOCUMENT | {"id": f"{of}-evaluation", "of": of, "kind": kind, "dataset": "pupils"}
    path, content = f"evaluations/pupils/{document['id']}.json", json.dumps(document).encode()
    write_atomic(workspace.root / path, content)
    artifact = Artifact(
        id=document["id"],
        kind="evaluation",
        dataset="pupils",
        derived_from=["pupils"],
        path=path,
        digest=sha256(content),
        body={"of": of, "metrics": {}, "mlflow_run": "0" * 32},
    )
    with writing(workspace.engine) as connection:
        lineage.record(connection, artifact)


def prepared(source: Path, folder: Path) -> Workspace:
    """A workspace with an ensemble, a generator that is not private, and an evaluation of each."""
    folder.mkdir(exist_ok=True)
    copy_of(source, folder / "workspace")
    workspace = Workspace.open(folder / "workspace")
    generator = generator_of(workspace)
    with writing(workspace.engine) as connection:
        lineage.amend(connection, generator, private=False)
        lineage.amend(connection, f"{generator}-release", private=False)
        (version,) = lineage.find(connection, kind="ensemble")
    evaluated(workspace, "release", f"{generator}-release")
    evaluated(workspace, "ensemble", version.id)
    FRAME.to_parquet(folder / "rows.parquet", index=False)
    return workspace


@pytest.fixture(scope="module")
def ready(full_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepared(full_workspace, tmp_path_factory.mktemp("ready"))


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CHUNK_ROWS", 2)
    monkeypatch.setattr(sampling, "_BATCH", 3)


def outcome(deed: Deed, workspace: Workspace, folder: Path) -> Any:
    """What it answers, or the content of the files that it writes; None where it is refused."""
    try:
        answer = deed.work(workspace, folder)
    except WorkbenchError:
        return None
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    return written or (answer.to_csv() if isinstance(answer, pd.DataFrame) else repr(answer))


def check(deed: Deed, workspace: Workspace, folder: Path, at: int, accept: Callable[[], Any]) -> None:
    """Does the work, with a request accepted at the first instant from the `at`-th one at which that is possible.

    What it then answers or writes must be what it answers or writes afterwards, unless it was to be seen before.
    """
    out, again = folder / "out", folder / "again"
    out.mkdir(parents=True)
    again.mkdir()
    passed, before, first = 0, list[set[Any]](), deed.seen(workspace, out)

    def instant() -> None:
        nonlocal passed
        passed += 1
        if not before and passed >= at and not is_locked(workspace.root):
            before.append(deed.seen(workspace, out))
            accept()

    with instants(instant):
        found = outcome(deed, workspace, out)
    if not before:  # all that is left is done under the lock: the request is accepted after it
        return
    if before[0] == first and found is not None:
        assert found == outcome(deed, workspace, again), "it used the person"
    else:
        assert deed.seen(workspace, out) <= before[0], "it appeared after the acceptance"
    assert [path.name for path in (workspace.root / "staging").iterdir()] == []


def spread(count: int, tries: int) -> list[int]:
    """All instants, or so many: half of them the last ones."""
    return (
        list(range(1, count + 1))
        if count <= tries
        else sorted({*range(1, count, max(1, 2 * count // tries)), *range(count - tries // 2, count + 1)})
    )


@lru_cache
def person(root: Path) -> str:
    """Somebody whom the generator and a shard learnt from."""
    workspace = Workspace.open(root)
    keys = (f"pupil-{number}" for number in range(1000, 1400))
    return next(key for key in keys if locate(workspace, [("pupils", key)])[0].split == "train")


def try_at(deed: Deed, workspace: Workspace, folder: Path, at: int) -> None:
    """As `check`; afterwards nobody waits any more."""
    accepted: list[str] = []
    who = person(workspace.root)
    try:
        check(deed, workspace, folder, at, lambda: accepted.append(submit(workspace, ["pupils"], who).id))
    finally:
        for request in accepted:
            withdraw(workspace, request, status="cancelled", reason="it was tried")
        shutil.rmtree(folder)


def counted(deed: Deed, workspace: Workspace, folder: Path) -> tuple[int, list[int]]:
    """The number of instants, and those at which a request can be accepted and nothing is to be seen yet."""
    folder.mkdir()
    number, open_ones, first = 0, list[int](), deed.seen(workspace, folder)

    def instant() -> None:
        nonlocal number
        number += 1
        if deed.seen(workspace, folder) == first and not is_locked(workspace.root):
            open_ones.append(number)

    with instants(instant):
        deed.work(workspace, folder)
    return number, open_ones


@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_nothing_that_used_the_person_is_seen_after_acceptance(ready: Workspace, tmp_path: Path, deed: Deed) -> None:
    """At the last instant before it is to be seen; the sweep below tries all."""
    for at in counted(deed, ready, tmp_path / "undisturbed")[1][-1:]:
        try_at(deed, ready, tmp_path / str(at), at)


@pytest.mark.slow
@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("deed", [*DEEDS, *LONG], ids=lambda deed: deed.name)
def test_nor_is_it_after_acceptance_at_any_instant(ready: Workspace, tmp_path: Path, deed: Deed) -> None:
    for at in spread(counted(deed, ready, tmp_path / "undisturbed")[0], deed.tries):
        try_at(deed, ready, tmp_path / str(at), at)


def test_a_model_that_was_trained_again_since_is_judged(ready: Workspace) -> None:
    """As after a request that was accepted and carried out in between: nobody is under quarantine any more."""
    voters = _voters(ready, ensemble_of(ready))
    first, *others = voters.constituents
    with reading(ready.engine) as connection:
        voters.judge(connection)
        before = replace(voters, constituents=(replace(first, generation=first.generation - 1), *others))
        with pytest.raises(OutdatedError):
            before.judge(connection)


def erased(workspace: Workspace, who: str) -> None:
    """Accepts a request and carries it out in this thread: a job's heartbeat would wait for what is at this instant."""
    submit(workspace, ["pupils"], who)
    assert carry_out_waiting(workspace)


@pytest.mark.slow
@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_nor_is_it_where_the_person_is_erased_at_once(full_workspace: Path, tmp_path: Path, deed: Deed) -> None:
    """The request is accepted and carried out at one instant: afterwards nobody is under quarantine any more."""
    first = prepared(full_workspace, tmp_path / "first")
    open_ones, who = counted(deed, first, tmp_path / "undisturbed")[1], person(first.root)
    for at in [open_ones[place - 1] for place in spread(len(open_ones), 8)]:
        workspace = prepared(full_workspace, tmp_path / str(at))
        check(deed, workspace, tmp_path / f"{at}-out", at, lambda: erased(workspace, who))  # noqa: B023
