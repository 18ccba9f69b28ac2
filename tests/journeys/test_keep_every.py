"""Where space is short, every k-th checkpoint is stored: erasures begin earlier, and end the same."""

from dataclasses import replace
from pathlib import Path

import pytest
from stored import placed

from workbench.config import TrainConfig
from workbench.data.identity import identify
from workbench.sisa.learners.registry import LEARNERS
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.forgetting_audit import forgetting
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train
from workbench.workflows.training.train_shards import objects_of

SETTINGS = {"learner": "naive_bayes", "dataset": "pupils", "shards": 2, "slices": 5}
TREES = {"learner": "gradient_boosting", "dataset": "pupils", "shards": 2, "slices": 5, "rounds": 10, "leaves": 7}


def test_an_erasure_begins_with_the_last_checkpoint_stored(trained):
    stored = set(objects_of(trained, "pupils").digests())
    ensemble = train(trained, TrainConfig(**SETTINGS, keep_every=3)).ensemble
    added = set(objects_of(trained, "pupils").digests()) - stored
    assert len(added) == 2 * 2, "of five slices the third and the last"
    assert doctor(trained).healthy

    keys = placed(trained, "train")[:3]
    (planned,) = erase(trained, keys, dataset="pupils", dry_run=True).plan
    (mine,) = (e for e in planned.ensembles if e.ensemble == ensemble)
    assert {shard.from_slice for shard in mine.retrain} <= {0, 3}
    done = erase(trained, keys, dataset="pupils").requests
    assert [answer.status for answer in done] == ["completed"] * 3
    for answer in done:
        assert verify(trained, Path(answer.certificate), replay=True).valid
    assert doctor(trained).healthy


def test_trees_lie_in_one_file_a_shard_and_any_slice_is_gone_on_from(trained):
    stored = set(objects_of(trained, "pupils").digests())
    ensemble = train(trained, TrainConfig(**TREES, keep_every=3)).ensemble
    assert len(set(objects_of(trained, "pupils").digests()) - stored) == 2
    begins = set()
    for key in placed(trained, "train")[:20]:
        (planned,) = erase(trained, [key], dataset="pupils", dry_run=True).plan
        (mine,) = (e for e in planned.ensembles if e.ensemble == ensemble)
        begins |= {shard.from_slice for shard in mine.retrain}
    assert begins - {0, 3}


@pytest.mark.parametrize("settings", [SETTINGS, TREES])
def test_what_is_stored_never_changes_the_models(trained, settings):
    versions = [train(trained, TrainConfig(**settings, keep_every=k)).constituents for k in (1, 2, 9)]
    assert versions[0] == versions[1] == versions[2]
    with trained.engine.connect() as connection:
        manifests = [read_manifest(trained, a) for a in current_versions(connection, "pupils").values()]
    last = manifests[-1]
    assert all(objects_of(trained, "pupils").holds(digest) for digest in last.objects())


def test_trial_erasures_begin_there_too(trained):
    ensemble = train(trained, TrainConfig(**SETTINGS | {"shards": 4}, keep_every=3)).ensemble
    found = forgetting(trained, ensemble, subjects=20, canaries=0, controls=20)
    assert found.compared == found.equal >= 20


def test_an_ensemble_of_before_trees_lay_in_one_file_is_erased_from(trained, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setitem(LEARNERS._specs, "gradient_boosting", replace(LEARNERS["gradient_boosting"], grows=False))
        ensemble = train(trained, TrainConfig(**TREES, keep_every=2)).ensemble
    before = manifest_named(trained, ensemble)
    assert not any(c.sizes for c in before.constituents)
    assert b"sizes" not in before.to_bytes(), "its digest is what it was"
    (answer,) = erase(trained, placed(trained, "train")[:1], dataset="pupils").requests
    after = manifest_named(trained, ensemble)
    assert sorted(bool(c.sizes) for c in after.constituents) == [False, True]
    assert verify(trained, Path(answer.certificate), replay=True).valid
    assert doctor(trained).healthy
    keys = placed(trained, "train")
    secrets = {"token_key": trained.key("token"), "placement_key": trained.key("placement")}
    shards = after.partition.shard_of(identify(keys, identity_type="pupil-number", **secrets).points)
    of_each = dict(zip(shards.tolist(), keys, strict=True))
    erase(trained, list(of_each.values()), dataset="pupils")
    assert all(c.sizes for c in manifest_named(trained, ensemble).constituents)
    assert doctor(trained).healthy


def manifest_named(workspace, ensemble):
    with workspace.engine.connect() as connection:
        return read_manifest(workspace, current_versions(connection, "pupils")[ensemble])
