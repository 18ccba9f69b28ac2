"""The straight path of an erasure on a small real workspace: nothing of the person is left, and it can be proved."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import PUPILS_SCHEMA, pupils
from shared import copied
from sqlalchemy import text
from stored import ensemble_of, manifest_of, placed, store_of

from workbench.bytescan.folders import scan_folder
from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.identity import identify
from workbench.erasure.certificate import sign
from workbench.erasure.request import commit_to, quarantined_shards, submit
from workbench.errors import BusyError, InputError, NotFoundError, QuarantinedError
from workbench.state import lineage, writing
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.show_lineage import show_lineage
from workbench.workflows.training.predict import predict, predict_frame
from workbench.workflows.training.train import train


def test_one_person_is_gone_and_the_certificate_says_so(trained: Workspace) -> None:
    key = placed(trained, "train")[0]
    before, rows = manifest_of(trained), len(store_of(trained).read("train"))
    result = erase(trained, [key]).requests[0]
    after = manifest_of(trained)

    assert result.status == "completed"
    assert len(result.shards) == 1
    mine = int((pupils()["pupil"] == key).sum())
    assert len(store_of(trained).read("train")) == rows - mine
    changed = [a.shard for a, b in zip(before.constituents, after.constituents, strict=True) if a != b]
    assert tuple(changed) == result.shards
    assert after.version == before.version + 1

    certificate = Path(result.certificate)
    assert verify(trained, certificate).valid
    report = verify(trained, certificate, replay=True)
    assert (report.valid, report.level, report.superseded_by) == (True, "replay", None)
    assert doctor(trained).healthy


def test_a_signed_certificate_of_other_subjects_does_not_hold_and_is_no_fault(
    trained: Workspace, tmp_path: Path
) -> None:
    predicate = {"request": "er-1", "datasets": [], "removed_checkpoints": [], "environment": {}}
    name, digest = manifest_of(trained).ensemble, "ab" * 32
    for subject in (f"{name}@x", f"{name}@", f"{name}@{'9' * 5000}", f"{name}@1x", "journal@", ""):
        (tmp_path / "c.json").write_bytes(sign(trained.root / "keys", {subject: digest}, predicate))
        for replay in (False, True):
            report = verify(trained, tmp_path / "c.json", replay=replay)
            assert [c.ok for c in report.checks if c.name == "subject"] == [False], subject
            assert not report.valid


def test_no_byte_of_the_person_or_of_what_they_trained_is_left(trained: Workspace) -> None:
    key = placed(trained, "train")[3]
    old = manifest_of(trained)
    runs_before = set(_mlflow_ids(trained))
    result = erase(trained, [key]).requests[0]
    superseded = old.objects() - manifest_of(trained).objects()
    assert superseded
    assert not scan_folder(trained.root, [key.encode()]).hits
    for digest in superseded:
        assert not list(trained.root.rglob(digest))
        outside = [
            hit for hit in scan_folder(trained.root, [digest.encode()]).hits if not hit.startswith("certificates/")
        ]
        assert outside == [], "a purged digest is named somewhere"
    assert not (trained.root / f"ensembles/{old.ensemble}/v000001.json").exists()
    assert key not in Path(result.certificate).read_text()
    purged = runs_before - set(_mlflow_ids(trained))
    assert len(purged) >= 3, "the shard's run, the version's run and the release's evaluation"


def _mlflow_ids(workspace: Workspace) -> list[str]:
    with Tracking(workspace.root).connection(timeout=5) as connection:
        return [row[0] for row in connection.execute("SELECT run_uuid FROM runs")]


def test_several_people_are_planned_together(trained: Workspace) -> None:
    keys = placed(trained, "train")[:6]
    result = erase(trained, keys)
    assert [r.status for r in result.requests] == ["completed"] * 6
    manifest = manifest_of(trained)
    assert manifest.version == 2, "one new version, whatever the number of requests"
    assert max(c.generation for c in manifest.constituents) == 2, "one retraining per shard"
    for request in result.requests:
        assert verify(trained, Path(request.certificate), replay=True).valid


def test_a_person_of_the_holdout_changes_no_model_but_the_evaluation(trained: Workspace) -> None:
    key = placed(trained, "holdout")[0]
    before = manifest_of(trained)
    result = erase(trained, [key]).requests[0]
    after = manifest_of(trained)
    assert (result.status, result.shards) == ("completed", ())
    assert after.constituents == before.constituents
    assert after.version == 2
    assert verify(trained, Path(result.certificate), replay=True).valid


def test_an_earlier_certificate_is_valid_and_superseded(trained: Workspace) -> None:
    first, second = placed(trained, "train")[:2]
    certificate = Path(erase(trained, [first]).requests[0].certificate)
    erase(trained, [second])
    report = verify(trained, certificate, replay=True)
    assert (report.valid, report.superseded_by) == (True, 3)


def test_unknown_and_repeated_subjects_are_rejected_never_erased(trained: Workspace) -> None:
    key = placed(trained, "train")[0]
    assert erase(trained, [key, key]).requests[0].status == "completed", "a key given twice is one request"
    again = erase(trained, [key, "nobody-at-all"]).requests
    assert [(r.status, r.certificate, r.exit) for r in again] == [("rejected", None, 4)] * 2
    assert key not in json.dumps([answer.to_json() for answer in again])


def test_a_dry_run_plans_and_changes_nothing(trained: Workspace) -> None:
    keys = placed(trained, "train")[:2]
    before = {p: p.read_bytes() for p in trained.root.rglob("*") if p.is_file() and p.suffix in (".parquet", ".json")}
    result = erase(trained, keys, dry_run=True)
    assert result.plan[0].ensembles[0].predicted_seconds > 0
    assert {p: p.read_bytes() for p in before} == before
    real = erase(trained, keys).requests
    assert tuple(sorted({s for r in real for s in r.shards})) == result.requests[0].shards


def test_quarantine_holds_from_acceptance_on(trained: Workspace) -> None:
    keys = placed(trained, "train")
    frame = pupils(5, first=9000).drop(columns=["pupil", "passed"])
    ensemble = ensemble_of(trained)
    whole = predict_frame(trained.root, ensemble, frame)
    submit(trained, ["pupils"], keys[0])
    with trained.engine.connect() as connection:
        assert len(quarantined_shards(connection, "pupils", manifest_of(trained).partition)) == 1
    fewer = predict_frame(trained.root, ensemble, frame)
    assert not whole["probability_true"].equals(fewer["probability_true"]), "the shard still votes"
    for key in keys[1:60]:
        submit(trained, ["pupils"], key)
    with pytest.raises(QuarantinedError):
        predict_frame(trained.root, ensemble, frame)


def test_nothing_trained_on_a_person_with_an_open_request_is_published(trained: Workspace) -> None:
    submit(trained, ["pupils"], placed(trained, "train")[0])
    objects = set((trained.root / "objects").rglob("*"))
    config = TrainConfig(learner="gradient_boosting", dataset="pupils", shards=2, slices=1, rounds=2)
    with pytest.raises(BusyError):
        train(trained, config)
    assert set((trained.root / "objects").rglob("*")) == objects


def test_an_interrupted_erasure_is_finished_by_asking_again(trained: Workspace) -> None:
    key = placed(trained, "train")[0]
    request = submit(trained, ["pupils"], key)
    result = erase(trained, [key]).requests[0]
    assert (result.request, result.status) == (request.id, "completed")
    assert verify(trained, Path(result.certificate), replay=True).valid


def test_requests_name_nobody(trained: Workspace) -> None:
    key = placed(trained, "train")[0]
    (answer,) = erase(trained, [key]).requests
    with trained.engine.connect() as connection:
        body = json.dumps([list(map(str, row)) for row in connection.execute(text("SELECT * FROM journal"))])
        assert connection.execute(text("SELECT count(*) FROM quarantine")).scalar() == 0
    ids = identify(
        [key], identity_type="pupil-number", token_key=trained.key("token"), placement_key=trained.key("placement")
    )
    for secret in (key, ids.tokens[0].hex(), str(int(ids.points[0]))):
        assert secret not in body
    assert commit_to(bytes.fromhex(answer.nonce), [key]) in body
    assert commit_to(b"", [key]) not in body, "a commitment without salt can be guessed from a list of keys"


def test_private_releases_stay_and_their_recipients_are_listed(trained: Workspace) -> None:
    result = erase(trained, [placed(trained, "train")[0]]).requests[0]
    import base64

    envelope = json.loads(Path(result.certificate).read_text())
    predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    kept = [a for a in predicate["datasets"][0]["artifacts"] if a["basis"].startswith("kept")]
    assert {(a["epsilon"], a["delta"]) for a in kept} == {(1.0, 1e-5)}
    assert len(predicate["notify"]) == 1
    assert "shard" not in json.dumps(predicate).replace("shards", ""), "requester-facing text names no shard"


def test_an_unreviewed_schema_is_told_on_the_certificate(workspace: Workspace, tmp_path: Path) -> None:
    from workbench.workflows.datasets.ingest import ingest
    from workbench.workflows.datasets.propose_schema import propose_schema

    pupils().to_csv(tmp_path / "p.csv", index=False)
    propose_schema(tmp_path / "p.csv", tmp_path / "s.yaml", target="passed", subject="pupil")
    ingest(workspace, "p", schema=tmp_path / "s.yaml", data=tmp_path / "p.csv")
    result = erase(workspace, ["pupil-1003"]).requests[0]
    import base64

    payload = json.loads(Path(result.certificate).read_text())["payload"]
    dataset = json.loads(base64.b64decode(payload))["predicate"]["datasets"][0]
    assert dataset["schema_reviewed"] is False
    assert "hours" in dataset["unreviewed_domains"]
    assert verify(workspace, Path(result.certificate)).valid, "also where no model was trained"


def test_a_key_covers_every_data_set_of_its_identity_type(
    trained: Workspace, pupils_files: tuple[Path, Path], tmp_path: Path
) -> None:
    from workbench.workflows.datasets.ingest import ingest

    pupils(60).to_csv(tmp_path / "more.csv", index=False)
    ingest(trained, "more", schema=pupils_files[0], data=tmp_path / "more.csv")
    key = placed(trained, "train")[0]
    result = erase(trained, [key]).requests[0]
    assert verify(trained, Path(result.certificate)).valid
    for name in ("pupils", "more"):
        assert submit(trained, [name], key).status == "rejected"
    (tmp_path / "others.yaml").write_text(PUPILS_SCHEMA.replace("pupil-number", "another"), encoding="utf-8")
    ingest(trained, "others", schema=tmp_path / "others.yaml", data=tmp_path / "more.csv")
    with pytest.raises(InputError, match="ambiguous"):
        erase(trained, ["x"])


def test_row_numbers_are_keys_where_rows_are_subjects(german: Path, tmp_path: Path) -> None:
    workspace = copied(german, tmp_path)
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, "german")
    rows = sum(len(store.read(split)) for split in ("train", "holdout"))
    results = erase(workspace, ["0", "999", "1000", "-1", "x"], dataset="german").requests
    assert [r.status for r in results] == ["completed", "completed", "rejected", "rejected", "rejected"]
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, "german")
    assert sum(len(store.read(split)) for split in ("train", "holdout")) == rows - 2


def test_predictions_of_a_file(trained: Workspace, tmp_path: Path) -> None:
    frame = pupils(30, first=9000)
    with gzip.open(tmp_path / "new.csv.gz", "wt", encoding="utf-8") as file:
        frame.drop(columns=["pupil", "passed"]).to_csv(file, index=False)
    result = predict(trained, ensemble_of(trained), tmp_path / "new.csv.gz", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet").to_pandas()
    assert (result.rows, list(table)) == (len(frame), ["prediction", "probability_false", "probability_true"])
    agreement = ((table["prediction"] == "true") == frame["passed"]).mean()
    assert agreement > 0.7


def test_predicting_outside_the_domain_is_refused(trained: Workspace) -> None:
    frame = pd.DataFrame({"term": [1], "town": ["Atlantis"], "hours": [3.0]})
    with pytest.raises(InputError, match="town") as fault:
        predict_frame(trained.root, ensemble_of(trained), frame)
    assert "Atlantis" not in str(fault.value)


def test_a_corrupt_checkpoint_is_found(trained: Workspace) -> None:
    victim = next(p for p in (trained.root / "objects").rglob("*") if p.is_file())
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    report = doctor(trained)
    assert [c.name for c in report.checks if not c.ok] == [f"checkpoints of {ensemble_of(trained)}"]


def test_lineage_leads_from_the_data_to_the_ensemble_and_back(trained: Workspace) -> None:
    ensemble = ensemble_of(trained)
    down = show_lineage(trained, "pupils")
    kinds = {a.kind for a in down.derivatives}
    assert kinds == {"constituent", "ensemble", "generator", "release", "evaluation"}
    up = show_lineage(trained, f"{ensemble}@1")
    assert {a.kind for a in up.derived_from} == {"constituent", "dataset"}
    with pytest.raises(NotFoundError):
        show_lineage(trained, "nothing")


def test_certificates_fail_when_the_workspace_is_not_what_they_say(trained: Workspace) -> None:
    certificate = Path(erase(trained, [placed(trained, "train")[0]]).requests[0].certificate)
    with writing(trained.engine) as connection:
        connection.execute(text("UPDATE journal SET body = json_set(body, '$.version', 9) WHERE kind = 'PUBLISHED'"))
    report = verify(trained, certificate)
    assert not report.valid
    assert "journal" in [c.name for c in report.checks if not c.ok]


def test_replay_notices_a_constituent_that_was_not_retrained(trained: Workspace) -> None:
    """An erasure that did not happen: put the person's rows back behind the workbench's back."""
    key = placed(trained, "train")[0]
    saved = {p: p.read_bytes() for p in (trained.root / "data").rglob("*.parquet")}
    with trained.engine.connect() as connection:
        digests = catalog.store(connection, trained, "pupils").digests
    certificate = Path(erase(trained, [key]).requests[0].certificate)
    for path, content in saved.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with writing(trained.engine) as connection:
        for (split, bucket), digest in digests.items():
            catalog.record_bucket(connection, "pupils", split, bucket, digest)
    report = verify(trained, certificate, replay=True)
    assert not report.valid
    assert [c.name for c in report.checks if not c.ok] == [f"replay {ensemble_of(trained)}"]


def test_every_artifact_has_its_mlflow_run(trained: Workspace) -> None:
    with trained.engine.connect() as connection:
        artifacts = lineage.find(connection, dataset="pupils")
    runs = set(_mlflow_ids(trained))
    assert {a.body["mlflow_run"] for a in artifacts} <= runs
