"""Withdrawing what is damaged or not wanted any more: it unblocks erasures, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer, pupils
from killing import Killed
from sqlalchemy import text
from stored import ensemble_of, manifest_of, placed
from test_append import csv, version_of
from test_erasure import _mlflow_ids
from test_queue import count

from workbench.config import TrainConfig
from workbench.data.identity import identify
from workbench.erasure.plan import pending_of
from workbench.errors import BusyError, CheckFailedError, InputError, NotFoundError
from workbench.sisa.ensemble import Manifest
from workbench.state import lineage, writing
from workbench.state.lineage import Artifact
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.datasets.ingest import append
from workbench.workflows.erasure import execute
from workbench.workflows.erasure import retire as retiring
from workbench.workflows.erasure.decide import list_requests
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting, resume
from workbench.workflows.erasure.retire import retire
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train

OTHER = TrainConfig(
    learner="gradient_boosting", dataset="pupils", shards=2, slices=2, rounds=4, leaves=4, min_rows_per_leaf=5
)


def artifacts(workspace: Workspace) -> list[Artifact]:
    with workspace.engine.connect() as connection:
        return lineage.find(connection, dataset="pupils")


def generator_of(workspace: Workspace) -> str:
    return next(a.id for a in artifacts(workspace) if a.kind == "generator")


def nothing_left(workspace: Workspace, manifest: Manifest) -> None:
    assert not (workspace.root / "ensembles" / manifest.ensemble).exists()
    for digest in manifest.objects():
        assert not list(workspace.root.rglob(digest))
    assert not [a for a in artifacts(workspace) if a.body.get("ensemble") == manifest.ensemble]
    with Tracking(workspace.root).connection(timeout=5) as connection:
        for table in ("registered_models", "model_versions"):
            names = {name for (name,) in connection.execute(f"SELECT name FROM {table}")}
            assert manifest.ensemble not in names
        models = connection.execute("SELECT name FROM logged_models").fetchall()
        assert not [name for (name,) in models if str(name).startswith(manifest.ensemble)]


def slice_of(workspace: Workspace, manifest: Manifest, key: str) -> int | None:
    """The slice that a person who is to come will fall into; None in the holdout."""
    secrets = {"token_key": workspace.key("token"), "placement_key": workspace.key("placement")}
    ids = identify([key], identity_type="pupil-number", **secrets)
    is_held_out = int(ids.holdout_points[0]) < 2**62  # a quarter, says the schema
    return None if is_held_out else int(manifest.partition.slice_of(ids.slice_points)[0])


def without_copy(workspace: Workspace) -> None:
    """As versions are that were published before the database kept a copy of their manifest."""
    with writing(workspace.engine) as connection:
        lineage.amend(connection, version_of(workspace).id, manifest="")


@pytest.mark.parametrize("damage", [b"damaged", pytest.param(None, marks=pytest.mark.slow)])
def test_a_damaged_manifest_holds_up_nobody(trained: Workspace, damage: bytes | None) -> None:
    path, key = trained.root / "ensembles" / ensemble_of(trained) / "v000001.json", placed(trained, "train")[0]
    path.unlink() if damage is None else path.write_bytes(damage)
    (check,) = [c for c in doctor(trained).checks if not c.ok]
    assert check.name == f"manifest of {ensemble_of(trained)}"
    (result,) = erase(trained, [key]).requests
    assert (result.status, manifest_of(trained).version) == ("completed", 2)
    assert verify(trained, Path(result.certificate), replay=True).valid
    assert not path.exists()
    assert doctor(trained).healthy


@pytest.mark.parametrize("damage", [pytest.param("cut", marks=pytest.mark.slow), "changed", "gone"])
def test_a_damaged_manifest_blocks_an_erasure_until_its_ensemble_is_retired(
    trained: Workspace, command: Callable[..., Answer], damage: str
) -> None:
    home, manifest = ("--workspace", trained.root), manifest_of(trained)
    without_copy(trained)
    path = trained.root / "ensembles" / manifest.ensemble / "v000001.json"
    content = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(
        content[:-9] if damage == "cut" else content.replace(b'"version":1', b'"version":7')
    )
    blocked = command(*home, "erase", placed(trained, "train")[0], "--json")
    assert (blocked.code, blocked.json["requests"][0]["status"]) == (2, "quarantined")
    assert f"workbench retire {manifest.ensemble}" in blocked.json["requests"][0]["reason"]
    assert [r.status for r in list_requests(trained).requests] == ["quarantined"]
    retired = command(*home, "retire", manifest.ensemble, "--json")
    assert retired.code == 0
    assert {"ensemble", "constituent"} == {a["kind"] for a in retired.json["removed"]}
    (result,) = command(*home, "resume", "--json").json["requests"]
    assert verify(trained, Path(result["certificate"]), replay=True).valid
    nothing_left(trained, manifest)
    assert doctor(trained).healthy


def test_an_ensemble_goes_and_what_else_there_is_stays(trained: Workspace) -> None:
    gone, runs = manifest_of(trained), set(_mlflow_ids(trained))
    other = train(trained, OTHER).ensemble
    retire(trained, gone.ensemble)
    nothing_left(trained, gone)
    with trained.engine.connect() as connection:
        (left,) = current_versions(connection).values()
    assert left.body["ensemble"] == other
    assert read_manifest(trained, left).version == 1
    assert {a.kind for a in artifacts(trained)} >= {"generator", "release", "evaluation", "ensemble"}
    kept = {a.body.get(key) for a in artifacts(trained) for key in ("mlflow_run", "train_run")}
    assert set(_mlflow_ids(trained)) == kept - {None}
    assert len(runs & set(_mlflow_ids(trained))) == 4, "ingest, its counts, fit and evaluation"
    assert doctor(trained).healthy


def test_checkpoints_that_another_ensemble_uses_stay(trained: Workspace) -> None:
    config = TrainConfig.model_validate(manifest_of(trained).config)
    first, twin = ensemble_of(trained), train(trained, config).ensemble
    retire(trained, first)
    assert ensemble_of(trained) == twin
    assert doctor(trained).healthy


def test_a_generator_goes_with_its_releases_however_damaged(trained: Workspace) -> None:
    generator = generator_of(trained)
    for path in (trained.root / "generators" / generator).iterdir():
        path.write_bytes(b"damaged")
    removed = retire(trained, generator).removed
    assert {a.kind for a in removed} == {"generator", "release", "evaluation"}
    assert not any((trained.root / "generators").iterdir())
    assert not any((trained.root / "releases").iterdir())
    assert [a.id for a in artifacts(trained) if generator in a.id] == []
    assert count(trained, "charges") == 1, "what was learnt stays charged"
    assert doctor(trained).healthy


@pytest.mark.parametrize("moment", ["_remove_files", "_purge", "compact"])
def test_killed_in_between_the_same_command_finishes_it(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    manifest = manifest_of(trained)

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(retiring, moment, killed)
        with pytest.raises(Killed):
            retire(trained, manifest.ensemble)
    if moment == "compact":
        with pytest.raises(NotFoundError):
            retire(trained, manifest.ensemble)
    else:
        retire(trained, manifest.ensemble)
    nothing_left(trained, manifest)
    assert doctor(trained).healthy


@pytest.mark.parametrize(
    "step",
    [
        "dropped",  # nothing is trained yet
        "retrained",  # its version is staged
        "published",  # its version is current
        *(pytest.param(step, marks=pytest.mark.slow) for step in ("planned", "purged", "verified")),
    ],
)
def test_an_erasure_under_way_goes_on_without_what_was_retired(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    train(trained, OTHER)
    old, generator = manifest_of(trained), generator_of(trained)
    with trained.engine.connect() as connection:
        old = next(read_manifest(trained, a) for a in current_versions(connection).values() if a.id != "")
    target, _ = execute.STEPS[step]  # type: ignore[index]

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setitem(execute.STEPS, step, (target, killed))  # type: ignore[misc]
        with pytest.raises(Killed):
            erase(trained, [placed(trained, "train")[0]])
    retire(trained, old.ensemble)
    retire(trained, generator)
    (result,) = resume(trained).values()
    assert [e.ensemble == old.ensemble for e in result.ensembles] == [False]
    assert verify(trained, Path(result.certificate), replay=True).valid
    nothing_left(trained, old)
    assert doctor(trained).healthy


def test_earlier_certificates_stay_valid_and_say_so(trained: Workspace) -> None:
    certificate = Path(erase(trained, [placed(trained, "train")[0]]).requests[0].certificate)
    retire(trained, ensemble_of(trained))
    report = verify(trained, certificate, replay=True)
    assert report.valid
    assert "it was withdrawn since" in [check.detail for check in report.checks]


def test_what_is_no_model_is_not_retired(trained: Workspace) -> None:
    for name in ("nothing", "pupils", f"{generator_of(trained)}-release", f"{ensemble_of(trained)}@1", "../keys"):
        with pytest.raises(NotFoundError):
            retire(trained, name)
    with trained.lock("pupils"), pytest.raises(BusyError):
        retire(trained, ensemble_of(trained))
    assert doctor(trained).healthy


def test_an_append_that_a_damaged_manifest_holds_up_goes_on(trained: Workspace, tmp_path: Path) -> None:
    ensemble = ensemble_of(trained)
    without_copy(trained)
    path = trained.root / "ensembles" / ensemble / "v000001.json"
    path.write_bytes(b"damaged")
    with pytest.raises(InputError):
        append(trained, "pupils", data=csv(pupils(20, first=5000), tmp_path))
    with pytest.raises(InputError):
        carry_out_waiting(trained)
    retire(trained, ensemble)
    carry_out_waiting(trained)
    assert count(trained, "appends") == 0
    assert doctor(trained).healthy


@pytest.mark.parametrize("seen", [True, False])
def test_a_damaged_checkpoint_of_a_shard_that_received_rows_is_trained_again(
    trained: Workspace, tmp_path: Path, seen: bool
) -> None:
    """`seen`: the checkpoint saw what the store held before the new rows alone; else it can be restored as it was."""
    if not seen:  # checkpoints of trees share a file
        retire(trained, ensemble_of(trained))
        train(trained, TrainConfig(learner="naive_bayes", dataset="pupils", shards=4, slices=3))
    before = manifest_of(trained)
    number = next(
        n for n in range(5000, 5400) if slice_of(trained, before, f"pupil-{n}") in ((0, 1, 2) if seen else (1, 2))
    )
    append(trained, "pupils", data=csv(pupils(1, first=number, seed=7), tmp_path))
    ((shard, first),) = pending_of(version_of(trained)).items()
    place = 2 if seen else 0
    digest = str(before.constituents[shard].checkpoints[place])
    (trained.root / "objects" / "pupils" / digest[:2] / digest).write_bytes(b"damaged")
    key = placed(trained, "holdout")[0]
    answer = erase(trained, [key]).requests[0]
    assert verify(trained, Path(answer.certificate), replay=True).valid
    assert doctor(trained).healthy
    after, left = manifest_of(trained), pending_of(version_of(trained))
    changed = [c.shard for c, d in zip(before.constituents, after.constituents, strict=True) if c != d]
    assert changed == ([shard] if seen else [])
    assert (shard in left) == (not seen)
    if seen:
        assert after.constituents[shard].checkpoints[:first] == before.constituents[shard].checkpoints[:first]
        with trained.engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM erasures")).scalar() == 0


def test_a_verification_that_fails_on_a_withdrawn_ensemble_passes_without_it(trained: Workspace) -> None:
    key = placed(trained, "train")[0]
    stray = trained.root / "ensembles" / ensemble_of(trained) / "note.txt"
    stray.write_text(f"left by someone: {key}")
    assert erase(trained, [key]).requests[0].exit == CheckFailedError.exit_code
    retire(trained, ensemble_of(trained))
    (result,) = resume(trained).values()
    assert verify(trained, Path(result.certificate)).valid
