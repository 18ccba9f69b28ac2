"""Shards trained slice by slice: exact from any checkpoint, and sound where a shard is poor, empty or one-sided."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PUPILS_SCHEMA, pupils

from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.data.partition import LINE
from workbench.errors import InputError, NotFoundError
from workbench.schema.schema import parse_schema
from workbench.sisa.shard import slice_seed
from workbench.sisa.task import task_of
from workbench.sisa.training import train_shard
from workbench.state import lineage
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train
from workbench.workflows.training.train_shards import train_shards

SCHEMA = parse_schema(yaml.safe_load(PUPILS_SCHEMA), source="test")
SETTINGS = {"learner": "gradient_boosting", "dataset": "pupils", "rounds": 8, "leaves": 7, "min_rows_per_leaf": 2}


def config(shards=1, slices=4, **changes):
    return TrainConfig(**SETTINGS | {"shards": shards, "slices": slices} | changes)


def records(n=60, *, slices=4, empty=()):
    """n records whose subjects are spread over all slices but the empty ones."""
    rng = np.random.default_rng(n)
    places = rng.choice([s for s in range(slices) if s not in empty], n)
    hours = rng.uniform(0, 50, n)
    values = np.column_stack([rng.integers(1, 10, n), rng.integers(0, 3, n), hours, hours > 25]).astype(float)
    middles = np.array([s * LINE // slices + LINE // (2 * slices) for s in places.tolist()], dtype=np.uint64)
    points = np.arange(n, dtype=np.uint64)
    return Dataset(name="pupils", schema=SCHEMA, values=values, points=points, slice_points=middles)


@pytest.mark.parametrize("empty", [(), (0,), (0, 1), (2,), (3,), (0, 1, 2)])
def test_going_on_from_any_checkpoint_is_training_from_scratch(empty):
    rows = records(empty=empty)
    models = list(train_shard(rows, config(), shard=3))
    assert [m is None for m in models] == [all(s in empty for s in range(r + 1)) for r in range(4)]
    for first in range(1, 4):
        resumed = train_shard(rows, config(), shard=3, first_slice=first, checkpoint=models[first - 1])
        assert list(resumed) == models[first:]


def test_a_checkpoint_depends_on_its_own_slices_alone():
    rows, whole = records(), list(train_shard(records(), config(), shard=0))
    early = rows.rows(rows.slice_points < np.uint64(LINE // 2))
    assert list(train_shard(early, config(), shard=0))[:2] == whole[:2]
    assert list(train_shard(early, config(), shard=0))[2:] != whole[2:]


def test_each_slice_is_trained_on_all_records_so_far():
    """Bourtoule et al. 2021, §IV: cumulative, two of the eight rounds each; a change in any slice so far is seen."""
    rows, models = records(), list(train_shard(records(), config(), shard=3))
    for slice_number in range(4):
        changed = rows.values.copy()
        mine = rows.slice_points // np.uint64(LINE // 4) == slice_number
        changed[np.flatnonzero(mine)[0], 3] = 1 - changed[np.flatnonzero(mine)[0], 3]
        others = list(train_shard(replace(rows, values=changed), config(), shard=3))
        assert [a == b for a, b in zip(models, others, strict=True)] == [r < slice_number for r in range(4)]


def test_an_empty_shard_abstains():
    assert list(train_shard(records(0), config(), shard=0)) == [None] * 4


def test_every_slice_gets_rounds_or_the_config_is_refused():
    with pytest.raises(ValueError, match="never be learnt from"):
        config(slices=9)


def test_seeds_differ_by_ensemble_shard_and_slice():
    seeds = {slice_seed(a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125
    assert all(0 <= seed < 2**31 for seed in seeds)


def ingested(workspace, tmp_path, frame, **changes):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(yaml.safe_load(PUPILS_SCHEMA) | changes, allow_unicode=True))
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    return ingest(workspace, "pupils", schema=tmp_path / "s.yaml", data=tmp_path / "t.parquet")


def left_behind(workspace):
    with workspace.engine.connect() as connection:
        artifacts = [a.id for a in lineage.find(connection) if a.kind in ("constituent", "ensemble")]
    return artifacts + [
        p for name in ("objects", "ensembles") for p in (workspace.root / name).rglob("*") if p.is_file()
    ]


def test_more_shards_than_subjects_are_refused(workspace, tmp_path):
    people = ingested(workspace, tmp_path, pupils(30)).subjects["train"]
    with pytest.raises(InputError, match="fewer subjects") as caught:
        train(workspace, config(people + 1, 1))
    assert str(people) not in str(caught.value).replace(str(people + 1), ""), "the count of a private table is not said"
    assert left_behind(workspace) == []


def test_empty_and_one_sided_shards_are_trained_around(workspace, tmp_path):
    """As many shards as subjects: some are empty and abstain, and in each other one a class is absent."""
    people = ingested(workspace, tmp_path, pupils(30)).subjects["train"]
    result = train(workspace, config(people, 2))
    with workspace.engine.connect() as connection:
        manifest = read_manifest(workspace, current_versions(connection)[result.ensemble])
        occupied = catalog.store(connection, workspace, "pupils").read("train")
    shards = set(manifest.partition.shard_of(occupied.points).tolist())
    assert {c.shard for c in manifest.constituents if c.digest} == shards
    assert 0 < len(shards) < people, "some shard is empty"
    predicted = predict_frame(workspace.root, result.ensemble, pupils(5, first=9000).drop(columns=["pupil", "passed"]))
    assert predicted["probability_true"].between(0, 1).all()
    assert {"accuracy", "auc"} <= set(result.metrics)


def test_a_class_that_no_shard_has_is_still_a_class(workspace, tmp_path):
    ingested(workspace, tmp_path, pupils(30).assign(passed=True))
    result = train(workspace, config(2, 2))
    assert set(result.metrics) == {"accuracy"}, "no AUC where the holdout has one class"
    predicted = predict_frame(workspace.root, result.ensemble, pupils(5, first=9000).drop(columns=["pupil", "passed"]))
    assert (predicted["probability_true"] > 0.5).all()
    assert (predicted["probability_true"] < 1).all()


@pytest.mark.parametrize("target", ["hours", "town"])
def test_numbers_and_many_classes_are_trained_by_the_same_road(workspace, tmp_path, target):
    columns = yaml.safe_load(PUPILS_SCHEMA)["columns"]
    columns["passed"].pop("role")
    columns[target] |= {"role": "target", "missing": False}
    ingested(workspace, tmp_path, pupils(60).dropna(), columns=columns)
    metrics = train(workspace, config(2, 2)).metrics
    assert set(metrics) == ({"r2", "rmse"} if target == "hours" else {"accuracy", "auc"})
    assert all(np.isfinite([e.value, e.low, e.high]).all() for e in metrics.values())


def test_without_a_target_nothing_is_trained(workspace, tmp_path):
    columns = yaml.safe_load(PUPILS_SCHEMA)["columns"]
    columns["passed"].pop("role")
    ingested(workspace, tmp_path, pupils(10), columns=columns)
    with pytest.raises(InputError, match="no target"):
        train(workspace, config(1, 1))
    assert left_behind(workspace) == []


def test_an_unknown_data_set_is_not_found(workspace):
    with pytest.raises(NotFoundError, match="no data set"):
        train(workspace, config())


def test_a_target_of_one_label_or_no_feature_is_refused():
    column = {"kind": "categorical", "role": "target", "categories": ["a"]}
    base = {"population": "p", "identity_type": "t", "subject": "row"}
    with pytest.raises(InputError, match="one category only"):
        task_of(parse_schema(base | {"columns": {"y": column, "x": {"kind": "boolean"}}}, source="test"))
    with pytest.raises(InputError, match="no feature"):
        task_of(parse_schema(base | {"columns": {"y": column | {"categories": ["a", "b"]}}}, source="test"))


def test_a_damaged_checkpoint_is_refused(trained):
    with trained.engine.connect() as connection:
        name, artifact = next(iter(current_versions(connection).items()))
    manifest = read_manifest(trained, artifact)
    frame = pd.DataFrame(pupils(5, first=9000).drop(columns=["pupil", "passed"]))
    path = next(trained.root.joinpath("objects").rglob(str(manifest.constituents[0].digest)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or missing"):
        predict_frame(trained.root, name, frame)
    (trained.root / str(artifact.path)).write_bytes(manifest.to_bytes().replace(b'"version":1', b'"version":2'))
    assert read_manifest(trained, artifact) == manifest, "the database has a copy"
    alone = replace(artifact, body={key: value for key, value in artifact.body.items() if key != "manifest"})
    with pytest.raises(InputError, match="not the published one"):
        read_manifest(trained, alone)


def test_shards_trained_in_processes_are_those_trained_in_one(trained, monkeypatch):
    with trained.engine.connect() as connection:
        store = catalog.store(connection, trained, "pupils")
    asked = config(shards=3, slices=2)
    here = train_shards(trained, store, asked, dict.fromkeys(range(3), 0))
    monkeypatch.setenv("WORKBENCH_PROCESSES", "2")
    there = train_shards(trained, store, asked, dict.fromkeys(range(3), 0))
    assert {s: t.constituent for s, t in here.items()} == {s: t.constituent for s, t in there.items()}
