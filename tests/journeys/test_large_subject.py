"""A subject that holds most of a shard, and shards that are emptied: what is left answers, and the evidence holds."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import PUPILS_SCHEMA, pupils
from shared import changed, copied
from stored import ensemble_of

from workbench.config import TrainConfig
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train

BIG = "pupil-big"


@pytest.fixture
def ensemble(empty_workspace, tmp_path, tmp_path_factory):
    """40 pupils in 3 shards of 2 slices, and one with ten times as many rows as all of them."""
    workspace = copied(changed(tmp_path_factory, "large-subject", empty_workspace, train_on_a_large_subject), tmp_path)
    return workspace, ensemble_of(workspace)


def train_on_a_large_subject(workspace, folder):
    few = pupils(40)
    many = pupils(500, first=5000).assign(pupil=BIG)
    many["term"] = many["term"].clip(1, 9)
    table = pd.concat([few, many.head(900)]).drop_duplicates(["pupil", "term", "hours"])
    schema = PUPILS_SCHEMA.replace("max_rows_per_subject: 3", "max_rows_per_subject: 1000").replace(
        "row_key: [term]\nholdout: {share: 0.25}", "row_key: [term, hours]\nholdout: {share: 0.000001}"
    )
    (folder / "schema.yaml").write_text(schema, encoding="utf-8")
    table.to_csv(folder / "table.csv", index=False)
    ingest(workspace, "pupils", schema=folder / "schema.yaml", data=folder / "table.csv")
    config = TrainConfig(learner="gradient_boosting", dataset="pupils", shards=3, slices=2, rounds=6, leaves=4)
    train(workspace, config)


def manifest_of(workspace, ensemble):
    with workspace.engine.connect() as connection:
        return read_manifest(workspace, current_versions(connection)[ensemble])


def test_who_holds_most_of_a_shard_is_erased_like_anyone(ensemble):
    workspace, name = ensemble
    before = manifest_of(workspace, name)
    (answer,) = erase(workspace, [BIG], dataset="pupils").requests
    assert answer.status == "completed"
    changed = [
        a.shard for a, b in zip(before.constituents, manifest_of(workspace, name).constituents, strict=True) if a != b
    ]
    assert tuple(changed) == answer.shards
    assert len(changed) == 1
    assert verify(workspace, Path(answer.certificate), replay=True).valid


def test_shards_that_are_emptied_abstain(ensemble):
    workspace, name = ensemble
    everyone = [BIG, *(f"pupil-{number}" for number in range(1000, 1040))]
    answers = erase(workspace, everyone, dataset="pupils").requests
    assert {answer.status for answer in answers} == {"completed"}
    assert [c.digest for c in manifest_of(workspace, name).constituents] == [None] * 3
    assert verify(workspace, Path(answers[0].certificate), replay=True).valid
    assert doctor(workspace).healthy
