"""Private generators under an erasure: measured again and charged, retired where that can't be, with nothing unnamed left."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from killing import Killed, killed_in
from sqlalchemy import text
from stored import placed
from test_queue import POLICY, count

from workbench.config import SynthesizeConfig
from workbench.privacy.ledger import Ledger
from workbench.state import lineage, writing
from workbench.state.lineage import Artifact
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import resume
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.synthesis import fit_release as release
from workbench.workflows.synthesis.sample import sample
from workbench.workflows.synthesis.synthesize import synthesize


@pytest.fixture
def remeasured(trained: Workspace) -> Workspace:
    """The pupils' workspace under the policy that measures again."""
    set_policy(trained, "pupils", POLICY, ["private=remeasure"])
    return trained


def of_kind(workspace: Workspace, kind: str) -> list[Artifact]:
    with workspace.engine.connect() as connection:
        return lineage.find(connection, dataset="pupils", kind=kind)


def charges(workspace: Workspace) -> int:
    return len(Ledger(workspace.engine).entries("pupils"))


def predicate(certificate: str) -> dict[str, Any]:
    payload = json.loads(Path(certificate).read_text())["payload"]
    found: dict[str, Any] = json.loads(base64.b64decode(payload))["predicate"]
    return found


def bases(certificate: str) -> set[str]:
    return {a["basis"] for a in predicate(certificate)["datasets"][0]["artifacts"] if "basis" in a}


def nothing_unnamed(workspace: Workspace) -> None:
    """Every generator, release and MLflow run of a fit is one that the lineage names."""
    artifacts = [a for kind in ("generator", "release", "evaluation") for a in of_kind(workspace, kind)]
    paths = {a.path for a in artifacts}
    for folder in ("generators", "releases"):
        found = {str(path.relative_to(workspace.root)) for path in (workspace.root / folder).iterdir()}
        assert found == {path for path in paths if path and path.startswith(folder)}
    with Tracking(workspace.root).connection(timeout=5) as connection:
        runs = connection.execute(
            "SELECT run_uuid FROM tags WHERE key = 'workbench.kind' AND value IN ('synthesize', 'evaluation')"
        )
        assert {run for (run,) in runs} == {a.body["mlflow_run"] for a in artifacts}


def test_a_generator_is_measured_again_on_what_remains_and_charged(remeasured: Workspace, tmp_path: Path) -> None:
    old, spent = of_kind(remeasured, "generator")[0], charges(remeasured)
    answer = erase(remeasured, [placed(remeasured, "train")[0]]).requests[0]
    (new,) = of_kind(remeasured, "generator")
    assert new.id != old.id
    assert new.body["config"] == old.body["config"]
    assert charges(remeasured) == spent + 1
    assert [a.derived_from for a in of_kind(remeasured, "release")] == [[new.id]]
    assert len(of_kind(remeasured, "evaluation")) == 1
    assert sample(remeasured, new.id, 10, tmp_path / "rows.parquet").epsilon == 1
    assert "re-measured on the remaining records, charged" in bases(answer.certificate)
    assert predicate(answer.certificate)["notify"] == [f"{old.id}-release"], "whoever has the old one is told"
    assert verify(remeasured, Path(answer.certificate), replay=True).valid
    assert doctor(remeasured).healthy
    nothing_unnamed(remeasured)


def test_the_release_follows_the_same_rule_of_size(workspace: Workspace, pupils_files: tuple[Path, Path]) -> None:
    from workbench.workflows.datasets.ingest import ingest

    ingest(workspace, "pupils", schema=pupils_files[0], data=pupils_files[1])
    Ledger(workspace.engine).set_budget("pupils", epsilon=4, delta=1e-5)
    synthesize(workspace, SynthesizeConfig(generator="mst", dataset="pupils", epsilon=1, delta=1e-5, rows=37))
    set_policy(workspace, "pupils", POLICY, ["private=remeasure"])
    erase(workspace, [placed(workspace, "train")[0]])
    (made,) = of_kind(workspace, "release")
    assert pq.read_metadata(workspace.root / str(made.path)).num_rows == 37


@pytest.mark.parametrize("why", ["budget", "no config", "another's config"])
def test_what_cannot_be_measured_again_is_retired_and_nothing_waits(remeasured: Workspace, why: str) -> None:
    spent = charges(remeasured)
    old = of_kind(remeasured, "generator")[0]
    if why == "budget":
        Ledger(remeasured.engine).set_budget("pupils", epsilon=1, delta=1e-5)
    else:
        change = (
            "json_remove(body, '$.config')" if why == "no config" else "json_set(body, '$.config.generator', 'new')"
        )
        with writing(remeasured.engine) as connection:
            connection.execute(text(f"UPDATE artifacts SET body = {change} WHERE kind = 'generator'"))
    answer = erase(remeasured, [placed(remeasured, "train")[0]]).requests[0]
    assert answer.status == "completed"
    assert charges(remeasured) == spent
    assert of_kind(remeasured, "generator") == of_kind(remeasured, "release") == []
    assert {"retired"} < bases(answer.certificate)
    assert predicate(answer.certificate)["notify"] == [f"{old.id}-release"]
    assert verify(remeasured, Path(answer.certificate)).valid
    nothing_unnamed(remeasured)


def test_a_dry_run_says_at_what_price_and_what_otherwise(remeasured: Workspace) -> None:
    (old,) = of_kind(remeasured, "generator")
    planned = erase(remeasured, [placed(remeasured, "train")[0]], dry_run=True).plan[0]
    (told,) = planned.remeasure
    assert (told.id, told.epsilon, told.delta) == (old.id, 1, 1e-5)
    assert "retired" in told.otherwise
    assert (planned.keep_private, charges(remeasured)) == ((), 1)


def test_who_was_only_in_the_holdout_costs_no_budget(remeasured: Workspace) -> None:
    (old,) = of_kind(remeasured, "generator")
    erase(remeasured, [placed(remeasured, "holdout")[0]])
    assert of_kind(remeasured, "generator") == [old]
    assert charges(remeasured) == 1


@pytest.mark.parametrize(
    ("step", "late"),
    [
        ("dropped", True),  # it was measured again and charged
        ("retrained", True),  # the new one was published
        *(pytest.param(step, True, marks=pytest.mark.slow) for step in ("published", "purged")),
        *(pytest.param(s, False, marks=pytest.mark.slow) for s in ("dropped", "retrained", "published", "purged")),
    ],
)
def test_killed_in_any_step_nothing_unnamed_is_left(remeasured: Workspace, step: str, late: bool) -> None:
    with killed_in(step, late=late):
        erase(remeasured, [placed(remeasured, "train")[0]])
    (result,) = resume(remeasured).values()
    assert verify(remeasured, Path(result.certificate), replay=True).valid
    assert len(of_kind(remeasured, "generator")) == 1
    assert charges(remeasured) == 2, "a try that was cut off is not charged again"
    nothing_unnamed(remeasured)
    assert doctor(remeasured).healthy


@pytest.mark.parametrize(
    ("moment", "then"), [("write_rows", "synthesize"), ("figures_of", "erase"), ("_describe", "synthesize")]
)
def test_what_a_killed_synthesis_left_is_swept(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, moment: str, then: str
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    config = SynthesizeConfig(generator="mst", dataset="pupils", epsilon=0.5, delta=1e-5)
    with monkeypatch.context() as patch:
        patch.setattr(release, moment, killed)
        patch.setattr(release, "discard_release", lambda *_: None)  # a dead process takes nothing back
        with pytest.raises(Killed):
            synthesize(trained, config)
    (foreign := trained.root / "releases" / "other-mst-123abc.parquet").write_bytes(b"another data set's")
    if then == "synthesize":
        synthesize(trained, config)
    else:
        erase(trained, [placed(trained, "train")[0]])
    assert foreign.exists()
    foreign.unlink()
    known = {a.path for kind in ("generator", "release") for a in of_kind(trained, kind)}
    left = {f"{name}/{p.name}" for name in ("generators", "releases") for p in (trained.root / name).iterdir()}
    assert left == known
    if then == "erase":
        nothing_unnamed(trained)
    assert count(trained, "charges") == 2, "a charge is never undone, and a fit goes on for what it paid"
