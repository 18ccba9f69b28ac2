"""P2 and P3: random erasure sequences end in the very bytes that training from scratch gives; `make slow` runs 1,000."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.config import TrainConfig
from workbench.data.files import LocalFiles
from workbench.data.identity import identify
from workbench.data.ingest_table import KeyRing, ingest_table
from workbench.data.store import BUCKET_BITS, Store
from workbench.erasure.locate import Subject
from workbench.erasure.plan import plan
from workbench.schema import Schema
from workbench.schema.schema import parse_schema
from workbench.sisa.ensemble import Manifest
from workbench.state.workspace import Workspace
from workbench.workflows.training.train_shards import Trained, train_shards

SEQUENCES = 50  # of each world
CHUNKS = [(n, SEQUENCES // 5) for n in range(5)]
CHUNKS += [pytest.param(n, SEQUENCES, marks=pytest.mark.slow) for n in range(20)]
SCHEMA = parse_schema(
    {
        "population": "tiny",
        "identity_type": "number",
        "subject": "who",
        "max_rows_per_subject": 3,
        "holdout": {"share": 0.01},
        "columns": {
            "who": {"kind": "identifier", "role": "subject_id"},
            "x": {"kind": "continuous", "bounds": [-9, 9], "missing": True},
            "c": {"kind": "categorical", "categories": ["a", "b", "c"]},
            "y": {"kind": "categorical", "role": "target", "categories": ["u", "v", "w"]},
        },
    },
    source="test",
)


@dataclass(frozen=True)
class World:
    """A small table, stored and trained once, from which each sequence starts."""

    workspace: Workspace
    store: Store
    config: TrainConfig
    manifest: Manifest
    people: list[Subject]


def manifest_of(config: TrainConfig, trained: dict[int, Trained], version: int = 1) -> Manifest:
    constituents = tuple(trained[shard].constituent for shard in range(config.shards))
    return Manifest(
        ensemble="e",
        version=version,
        dataset="tiny",
        config=config.model_dump(),
        schema=SCHEMA.digest(),
        constituents=constituents,
    )


def make_world(folder: Path, seed: int) -> World:
    rng = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(rng.integers(12, 40)) for _ in range(rng.integers(1, 4))]
    x = np.where(rng.random(len(names)) < 0.2, np.nan, rng.normal(0, 3, len(names)).clip(-9, 9))
    # targets of few subjects are rare, so that classes go missing from shards and vanish by erasure
    y = rng.choice(["u", "v", "w"], len(names), p=[0.6, 0.35, 0.05])
    frame = pd.DataFrame({"who": names, "x": x, "c": rng.choice(list("abc"), len(names)), "y": y})
    ring = KeyRing(bytes([seed]) * 32, bytes([seed + 1]) * 32, "number", "ingest")
    for name in ("raw", "objects"):
        (folder / name).mkdir(parents=True)
    stored = ingest_table("tiny", SCHEMA, [([frame], "train")], ring, staging=folder / "raw", target=folder / "data")
    store = Store("tiny", LocalFiles(folder / "data"), SCHEMA, stored.digests)
    config = TrainConfig(
        learner="gradient_boosting",
        dataset="tiny",
        shards=int(rng.integers(1, 5)),
        slices=int(rng.integers(1, 5)),
        seed=seed,
        keep_every=int(rng.integers(1, 3)),
        rounds=4,
        leaves=4,
        min_rows_per_leaf=2,
    )
    workspace = Workspace(folder)
    trained = train_shards(workspace, store, config, dict.fromkeys(range(config.shards), 0))
    return World(workspace, store, config, manifest_of(config, trained), subjects(sorted(set(names)), ring))


def subjects(names: list[str], ring: KeyRing) -> list[Subject]:
    ids = identify(names, identity_type="number", token_key=ring.token, placement_key=ring.placement)
    return [
        Subject(request=name, dataset="tiny", token=token, point=int(p), slice_point=int(s), split="train")
        for name, token, p, s in zip(names, ids.tokens, ids.points, ids.slice_points, strict=True)
    ]


def drop(store: Store, bucket: int, tokens: Sequence[bytes]) -> str | None:
    """Takes subjects out of a bucket; returns the digest of its new file."""
    table = store.without("train", bucket, tokens)
    return None if table is None else store.put(table, b"k" * 32)


def erase(world: World, folder: Path, store: Store, manifest: Manifest, group: list[Subject]) -> tuple[Store, Manifest]:
    """One erasure as the workflow does it, without its book-keeping; checks P3 on the way."""
    planned = plan("tiny", group, [manifest], [])
    digests = dict(store.digests)
    for (split, bucket), tokens in planned.drops.items():
        replaced = drop(store, bucket, tokens)
        digests.pop((split, bucket))
        if replaced is not None:
            digests[split, bucket] = replaced
    store = Store("tiny", LocalFiles(folder), SCHEMA, digests)
    retrain = planned.ensembles[0].retrain
    trained = train_shards(world.workspace, store, world.config, retrain, manifest)
    after = manifest.successor({shard: t.constituent for shard, t in trained.items()})
    for old, new in zip(manifest.constituents, after.constituents, strict=True):
        touched = any(manifest.partition.shard_of(np.array([s.point], dtype=np.uint64))[0] == old.shard for s in group)
        assert (old == new) or touched, "P3: an untouched shard changed"
        if touched:
            first = retrain[old.shard]
            assert old.checkpoints[:first] == new.checkpoints[:first], "an untouched slice was trained again"
    return store, after


@pytest.mark.parametrize(("chunk", "sequences"), CHUNKS)
def test_sequences_end_where_training_from_scratch_does(
    chunk: int, sequences: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what is tested is not durability, and 100,000 syncs take minutes
    rng = np.random.default_rng(chunk)
    world = make_world(tmp_path / "world", chunk)
    for sequence in range(sequences):
        folder = tmp_path / f"data{sequence}"
        shutil.copytree(tmp_path / "world" / "data", folder)
        store, manifest = Store("tiny", LocalFiles(folder), SCHEMA, world.store.digests), world.manifest
        waiting = list(rng.permutation(np.array(world.people, dtype=object)))
        for _ in range(rng.integers(1, 4)):
            size = min(len(waiting), int(rng.choice([1, 1, 1, 2, 5, 20])))
            if size:
                group, waiting = waiting[:size], waiting[size:]
                store, manifest = erase(world, folder, store, manifest, group)
        scratch = train_shards(world.workspace, store, world.config, dict.fromkeys(range(world.config.shards), 0))
        fresh = manifest_of(world.config, scratch)
        assert [c.checkpoints for c in manifest.constituents] == [c.checkpoints for c in fresh.constituents], "P2"
        shutil.rmtree(folder)


def test_the_digest_tells_whether_a_subject_was_trained_on(tmp_path: Path) -> None:
    """The property above means nothing if digests were blind: dropping rows without retraining must show."""
    world = make_world(tmp_path / "world", 3)
    place = ("train", world.people[0].point >> (64 - BUCKET_BITS))
    digests = dict(world.store.digests)
    digest = drop(world.store, place[1], [world.people[0].token])
    digests.pop(place)
    if digest:
        digests[place] = digest
    store = Store("tiny", world.store.files, SCHEMA, digests)
    scratch = train_shards(world.workspace, store, world.config, dict.fromkeys(range(world.config.shards), 0))
    assert manifest_of(world.config, scratch).objects() != world.manifest.objects()


def test_the_order_of_the_input_does_not_matter(tmp_path: Path) -> None:
    schema: Schema = SCHEMA
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "who": [f"s{i // 2}" for i in range(60)],
            "x": rng.normal(0, 2, 60).clip(-9, 9),
            "c": rng.choice(list("abc"), 60),
            "y": rng.choice(list("uvw"), 60),
        }
    )
    ring = KeyRing(b"t" * 32, b"p" * 32, "number", "i")
    seen = []
    for number, order in enumerate((np.arange(60), rng.permutation(60))):
        folder = tmp_path / str(number)
        (folder / "raw").mkdir(parents=True)
        chunks = [frame.iloc[order[:25]], frame.iloc[order[25:]]]
        sources = [(chunks, "train")]
        stored = ingest_table("tiny", schema, sources, ring, staging=folder / "raw", target=folder / "data")
        seen.append(stored.digests)
    assert seen[0] == seen[1]
