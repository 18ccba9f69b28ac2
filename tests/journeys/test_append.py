"""Rows are added wholly or not at all, people who were erased stay out, and erasing stays exact on what was added to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import PUPILS_SCHEMA, Answer, pupils
from killing import Killed
from stored import ensemble_of, manifest_of, placed, store_of
from test_queue import POLICY

from workbench.bytescan.folders import scan_folder
from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.bucket_file import seal_key
from workbench.data.files import LocalFiles
from workbench.data.identity import identify
from workbench.data.ingest_table import KeyRing, ingest_table
from workbench.data.store import BUCKET_BITS, Store
from workbench.erasure.locate import Subject
from workbench.erasure.plan import pending_of, plan
from workbench.erasure.request import submit
from workbench.errors import BusyError, InputError, NotFoundError
from workbench.schema.schema import parse_schema
from workbench.sisa.ensemble import Manifest
from workbench.sisa.training import train_shard
from workbench.state import lineage
from workbench.state.atomic_files import sha256
from workbench.state.lineage import Artifact
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.datasets import append as appending
from workbench.workflows.datasets.append import first_slices
from workbench.workflows.datasets.ingest import append, ingest
from workbench.workflows.erasure import execute
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import resume
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.show_lineage import show_lineage
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.publish_version import current_versions
from workbench.workflows.training.train_shards import train_shards

MORE = pupils(80, first=5000, seed=7)  # one in each of 4 shards but for once in a million


def csv(frame: pd.DataFrame, folder: Path, name: str = "more.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def version_of(workspace: Workspace) -> Artifact:
    with workspace.engine.connect() as connection:
        return current_versions(connection)[ensemble_of(workspace)]


def scratch(workspace: Workspace, shard: int) -> tuple[str | None, ...]:
    """The checkpoints of a shard trained from nothing on the records in the store."""
    manifest = manifest_of(workspace)
    records = store_of(workspace).read("train", manifest.partition.interval(shard))
    models = train_shard(records, TrainConfig.model_validate(manifest.config), shard=shard)
    return tuple(None if model is None else sha256(model) for model in models)


def differing(workspace: Workspace) -> set[int]:
    """Shards whose constituent is not what training from scratch gives."""
    return {c.shard for c in manifest_of(workspace).constituents if c.checkpoints != scratch(workspace, c.shard)}


def test_adding_rows_stores_what_ingesting_all_at_once_does(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
    frame = pupils(120).sample(frac=1, random_state=1)  # so that many pupils have rows in both parts
    first, second = csv(frame[:150], tmp_path, "1.csv"), csv(frame[150:], tmp_path, "2.csv")
    ingest(workspace, "whole", schema=tmp_path / "schema.yaml", data=csv(frame, tmp_path))
    before = ingest(workspace, "pupils", schema=tmp_path / "schema.yaml", data=first)
    added = append(workspace, "pupils", data=second)
    with workspace.engine.connect() as connection:
        assert catalog.store(connection, workspace, "whole").digests == store_of(workspace).digests
    assert sum(before.rows.values()) + sum(added.appended_rows.values()) == len(frame)
    assert sum(before.subjects.values()) + sum(added.new_subjects.values()) == 120
    assert doctor(workspace).healthy


def test_ensembles_become_stale_and_evaluations_go(trained: Workspace, tmp_path: Path) -> None:
    frame = pupils(5, first=9000).drop(columns=["pupil", "passed"])
    answer = predict_frame(trained.root, ensemble_of(trained), frame)
    with trained.engine.connect() as connection:
        runs = [a.body["mlflow_run"] for a in lineage.find(connection, kind="evaluation")]
    result = append(trained, "pupils", data=csv(MORE, tmp_path))
    assert result.stale == (ensemble_of(trained),)
    shown = show_lineage(trained, version_of(trained).id)
    assert shown.stale
    assert set(shown.pending) == {"0", "1", "2", "3"}
    report = doctor(trained)
    assert report.healthy
    assert "stale" in next(c.detail for c in report.checks if c.name.startswith("checkpoints"))
    assert predict_frame(trained.root, ensemble_of(trained), frame).equals(answer), "still served"
    with trained.engine.connect() as connection:
        assert lineage.find(connection, kind="evaluation") == []
    with Tracking(trained.root).connection(timeout=5) as connection:
        left = {run for (run,) in connection.execute("SELECT run_uuid FROM runs")}
    assert runs
    assert not left & set(runs)


def test_erasing_from_a_stale_ensemble_is_exact_and_touches_one_shard(trained: Workspace, tmp_path: Path) -> None:
    keys = placed(trained, "train")
    earlier = Path(erase(trained, [keys[0]]).requests[0].certificate)
    again = pupils(400)
    old = again[(again["pupil"] == keys[1]) & (again.groupby("pupil").cumcount() == 0)].assign(
        term=[t for t in range(1, 10) if t not in set(again.loc[again["pupil"] == keys[1], "term"])][:1]
    )
    few = again[again["pupil"] == keys[1]].shape[0] < 3
    append(trained, "pupils", data=csv(pd.concat([MORE, old] if few else [MORE]), tmp_path))
    assert differing(trained) == {0, 1, 2, 3}
    assert verify(trained, earlier, replay=True).valid, "an append takes no certificate back"

    before, result = manifest_of(trained), erase(trained, [keys[1]]).requests[0]
    (shard,) = result.shards
    changed = [a.shard for a, b in zip(before.constituents, manifest_of(trained).constituents, strict=True) if a != b]
    assert changed == [shard], "P3: what never held the person stays"
    assert differing(trained) == {0, 1, 2, 3} - {shard}
    assert set(pending_of(version_of(trained))) == {0, 1, 2, 3} - {shard}
    assert verify(trained, Path(result.certificate), replay=True).valid

    secrets = {"token_key": trained.key("token"), "placement_key": trained.key("placement")}
    points = identify(keys[2:], identity_type="pupil-number", **secrets).points
    of_each = dict(zip(manifest_of(trained).partition.shard_of(points).tolist(), keys[2:], strict=True))
    result = erase(trained, [*of_each.values(), "pupil-5003"]).requests[-1]  # the last one was appended
    assert verify(trained, Path(result.certificate)).valid
    assert differing(trained) == set()
    assert "stale" not in version_of(trained).body


@pytest.mark.parametrize("at", [pytest.param(0, marks=pytest.mark.slow), 5, "purge", "record"])
def test_an_append_killed_once_it_was_announced_is_carried_through(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int | str
) -> None:
    data = csv(MORE, tmp_path)

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    rows = len(store_of(trained).read("train"))
    with monkeypatch.context() as patch:
        if at == "purge":
            patch.setattr(appending, "purge_runs", killed)
        elif at == "record":
            patch.setattr(lineage, "amend", killed)
        else:
            patch.setattr(LocalFiles, "write", killed_among_the_data(int(at)))
        with pytest.raises(Killed):
            append(trained, "pupils", data=data)
    assert len(store_of(trained).read("train")) == rows, "every bucket is old until all are new"
    assert resume(trained) == {}
    added = MORE["pupil"].isin([k for k in MORE["pupil"].unique() if in_split(trained, k, "train")]).sum()
    assert len(store_of(trained).read("train")) == rows + added
    assert version_of(trained).body["stale"]
    assert not any((trained.root / "appends").iterdir())
    assert doctor(trained).healthy


def killed_among_the_data(at: int) -> Any:
    """What writes a file, and dies at this one of those that are put among the data."""
    write, calls = LocalFiles.write, []

    def killed(files: LocalFiles, name: str, content: bytes) -> None:
        if files.folder.parent.name == "data":
            if len(calls) == at:
                raise Killed
            calls.append(name)
        write(files, name, content)

    return killed


def in_split(workspace: Workspace, key: str, split: str) -> bool:
    ids = identify(
        [key], identity_type="pupil-number", token_key=workspace.key("token"), placement_key=workspace.key("placement")
    )
    return split in store_of(workspace).splits_of(ids.tokens[0], int(ids.points[0]))


def test_an_append_killed_before_it_was_announced_never_was(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    digests = store_of(trained).digests
    with monkeypatch.context() as patch:
        patch.setattr(appending, "sync", killed)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # a killed process removes nothing
        with pytest.raises(Killed):
            append(trained, "pupils", data=csv(MORE, tmp_path))
    assert any((trained.root / "appends").iterdir())
    assert store_of(trained).digests == digests
    # its files hold people's rows: they must not outlive an erasure, nor keep it from being certified
    result = erase(trained, [placed(trained, "train")[0]]).requests[0]
    assert result.status == "completed"
    assert not any((trained.root / "appends").iterdir())
    assert "stale" not in version_of(trained).body


def test_an_erasure_that_meets_an_interrupted_append_finishes_it_first(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = placed(trained, "train")[0]
    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "write", killed_among_the_data(1))
        with pytest.raises(Killed):
            append(trained, "pupils", data=csv(MORE, tmp_path))
    monkeypatch.setattr(execute, "finish_appends", lambda _: {})  # as while the append still held its lock
    result = erase(trained, [key]).requests[0]
    assert not in_split(trained, key, "train")
    assert verify(trained, Path(result.certificate), replay=True).valid
    assert scan_folder(trained.root, [key.encode()]).hits == ()


def one(pupil: str, term: int = 1) -> pd.DataFrame:
    return pupils(1).head(1).assign(pupil=pupil, term=term)


def test_rules_hold_over_old_and_new_rows_together(trained: Workspace, tmp_path: Path) -> None:
    counts = pupils()["pupil"].value_counts()
    full = str(counts[counts == 3].index[0])
    terms = set(pupils().loc[pupils()["pupil"] == full, "term"])
    cases = {
        "row key repeats": (one(full, min(terms)), "row 1"),
        "max_rows_per_subject": (one(full, min(set(range(1, 10)) - terms)), "row 1"),
        "not a finite number": (one("pupil-7777").assign(hours="?"), "row 1"),
    }
    digests = store_of(trained).digests
    for rule, (row, _) in cases.items():
        with pytest.raises(InputError, match=rule) as caught:
            append(trained, "pupils", data=csv(pd.concat([one("pupil-7000"), row]), tmp_path))
        assert "rows 1" in str(caught.value)
        assert full not in str(caught.value)
        assert store_of(trained).digests == digests
    assert "stale" not in version_of(trained).body


def test_who_was_erased_stays_out(trained: Workspace, tmp_path: Path) -> None:
    key = placed(trained, "train")[0]
    erase(trained, [key])
    (tmp_path / "schema.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
    frame = pd.concat([one("pupil-7000"), one(key), one("pupil-7001"), one(f" {key} ", 2)])
    schema, data = tmp_path / "schema.yaml", csv(frame, tmp_path)
    for add in (lambda: append(trained, "pupils", data=data), lambda: ingest(trained, "o", schema=schema, data=data)):
        with pytest.raises(InputError) as caught:
            add()
        assert "column 'pupil': the subject was erased, and is kept out by suppression (rows 1, 3; 2 in all)" in str(
            caught.value
        )
        assert key not in f"{caught.value} {caught.value.hint}"
    other = PUPILS_SCHEMA.replace("identity_type: pupil-number", "identity_type: other-number")
    (tmp_path / "schema.yaml").write_text(other, encoding="utf-8")
    assert ingest(trained, "others", schema=tmp_path / "schema.yaml", data=csv(pupils(30), tmp_path)).rows


@pytest.mark.parametrize("dataset", ["pupils", "others"])
def test_nothing_is_added_while_a_request_is_open(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    """One in the data set itself, also where it leaves no suppression token; or one whose person may be in the new rows."""
    data, key = csv(MORE, tmp_path), placed(trained, "train")[0]
    if dataset == "pupils":
        set_policy(trained, "pupils", POLICY, ["suppression=false"])
    else:
        (tmp_path / "schema.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
        ingest(trained, "others", schema=tmp_path / "schema.yaml", data=csv(MORE, tmp_path, "others.csv"))
        key = "pupil-5003"
    stage = appending.ingest_table

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        result = stage(*arguments, **options)
        submit(trained, [dataset], key)
        return result

    digests = store_of(trained).digests
    monkeypatch.setattr(appending, "ingest_table", meanwhile)
    # The request comes in while the rows are read; then it is there from the start
    for refused in (BusyError, BusyError if dataset == "pupils" else InputError):
        with pytest.raises(refused):
            append(trained, "pupils", data=data)
        assert store_of(trained).digests == digests
        assert not any((trained.root / "appends").iterdir())


def test_what_cannot_be_added_to_is_refused(
    workspace: Workspace, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    schema = PUPILS_SCHEMA.replace("subject: pupil", "subject: row").replace("max_rows_per_subject: 3", "")
    schema = schema.replace("row_key: [term]", "").replace("role: subject_id", "role: drop")
    (tmp_path / "schema.yaml").write_text(schema, encoding="utf-8")
    data = csv(pupils(40), tmp_path)
    root = workspace.root
    with pytest.raises(NotFoundError):
        append(workspace, "rows", data=data)
    ingest(workspace, "rows", schema=tmp_path / "schema.yaml", data=data)
    refused = command("--workspace", root, "ingest", "rows", "--append", "--data", data, "--json")
    assert refused.code == 2
    assert "row numbers" in refused.error["message"]
    for arguments in (["--append"], ["--append", "--data", data, "--schema", tmp_path / "schema.yaml"]):
        assert command("--workspace", root, "ingest", "rows", *arguments, "--json").code == 2


TINY = parse_schema(
    {
        "population": "tiny",
        "identity_type": "number",
        "subject": "who",
        "max_rows_per_subject": 3,
        "over_limit": "drop",
        "holdout": {"share": 0.01},
        "columns": {
            "who": {"kind": "identifier", "role": "subject_id"},
            "x": {"kind": "continuous", "bounds": [-9, 9]},
            "y": {"kind": "categorical", "role": "target", "categories": ["u", "v"]},
        },
    },
    source="test",
)
RING = KeyRing(b"t" * 32, b"p" * 32, "number", "ingest")


def rows_of(rng: np.random.Generator, n: int) -> pd.DataFrame:
    who = [f"s{i}" for i in rng.integers(0, 30, n)]
    return pd.DataFrame({"who": who, "x": rng.normal(0, 3, n).clip(-9, 9), "y": rng.choice(["u", "v"], n)})


@pytest.mark.parametrize("seed", [pytest.param(n, marks=() if n < 2 else pytest.mark.slow) for n in range(10)])
def test_random_appends_and_erasures_end_where_training_from_scratch_does(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every shard that is not pending, and each one an erasure retrained, is what the store gives from scratch."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    rng = np.random.default_rng(seed)
    config = TrainConfig(
        learner="gradient_boosting",
        dataset="tiny",
        shards=int(rng.integers(1, 5)),
        slices=int(rng.integers(1, 5)),
        seed=seed,
        rounds=4,
        leaves=4,
        min_rows_per_leaf=2,
    )
    workspace, everything = Workspace(tmp_path), [rows_of(rng, 40)]
    store = Store("tiny", LocalFiles(tmp_path / "data" / "tiny"), TINY, {})
    store, _ = added(store, everything[0], tmp_path)
    from_scratch = dict.fromkeys(range(config.shards), 0)
    manifest = Manifest(
        ensemble="e",
        version=1,
        dataset="tiny",
        config=config.model_dump(),
        schema=TINY.digest(),
        constituents=tuple(t.constituent for t in train_shards(workspace, store, config, from_scratch).values()),
    )
    pending: dict[int, int] = {}
    gone: set[str] = set()
    for _ in range(6):
        if rng.random() < 0.5:
            fresh = rows_of(rng, int(rng.integers(1, 15)))
            everything.append(fresh[~fresh["who"].isin(gone)])
            store, places = added(store, everything[-1], tmp_path)
            for shard, first in first_slices(places, manifest.partition).items():
                pending[shard] = min(first, pending.get(shard, first))
        else:
            person = f"s{rng.integers(0, 30)}"
            gone.add(person)
            store, manifest, pending = without(workspace, store, config, manifest, pending, person)
        fresh_ones = train_shards(workspace, store, config, from_scratch)
        for c in manifest.constituents:
            upto = pending.get(c.shard)
            assert c.checkpoints[:upto] == fresh_ones[c.shard].constituent.checkpoints[:upto], "P2"
    kept = pd.concat(everything)
    kept = kept[~kept["who"].isin(gone)]
    whole, _ = added(Store("tiny", LocalFiles(tmp_path / "other" / "tiny"), TINY, {}), kept, tmp_path)
    assert whole.digests == store.digests, "the order in which rows came and went does not show"


def added(store: Store, frame: pd.DataFrame, folder: Path) -> tuple[Store, Any]:
    """A store with more rows, and the places they fall into."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=folder) as raw:
        stored = ingest_table(
            "tiny", TINY, [([frame], "train")], RING, staging=Path(raw), target=store.files.folder, onto=store
        )
    return Store("tiny", store.files, TINY, {**store.digests, **stored.digests}), stored.places


def without(
    workspace: Workspace, store: Store, config: TrainConfig, manifest: Manifest, pending: dict[int, int], person: str
) -> tuple[Store, Manifest, dict[int, int]]:
    """An erasure as the workflow does it, without its book-keeping."""
    ids = identify([person], identity_type="number", token_key=RING.token, placement_key=RING.placement)
    point, slice_point = int(ids.points[0]), int(ids.slice_points[0])
    subject = Subject(
        request="r", dataset="tiny", token=ids.tokens[0], point=point, slice_point=slice_point, split="train"
    )
    body = {"pending": {str(shard): first for shard, first in pending.items()}}
    version = Artifact(id=manifest.id, kind="ensemble", dataset="tiny", derived_from=[], body=body)
    (planned,) = plan("tiny", [subject], [manifest], [version]).ensembles
    bucket, digests = point >> (64 - BUCKET_BITS), dict(store.digests)
    table = store.without("train", bucket, ids.tokens)
    digests.pop(("train", bucket), None)
    if table is not None:
        digests["train", bucket] = store.put(table, seal_key(RING.placement))
    store = Store("tiny", store.files, TINY, digests)
    trained = train_shards(workspace, store, config, planned.retrain, manifest)
    after = manifest.successor({shard: t.constituent for shard, t in trained.items()})
    return store, after, {shard: first for shard, first in pending.items() if shard not in trained}
