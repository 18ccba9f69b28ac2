"""`workbench forgetting`: trial erasures in memory tell an erasure that works from one that does not, and leave nothing."""

import hashlib
import sys

import numpy as np
import pytest
import yaml
from conftest import PUPILS_SCHEMA, pupils
from shared import changed, copied
from stored import ensemble_of

from workbench.config import TrainConfig
from workbench.erasure.locate import locate
from workbench.erasure.request import submit
from workbench.progress import silent
from workbench.state.atomic_files import sha256
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import append, ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.evaluation import forgetting_audit as forgetting_module
from workbench.workflows.evaluation.forgetting_audit import _current, _shards_to_try, _subject, audited_of, forgetting
from workbench.workflows.evaluation.trial_erasures import AFTER, Audited, _models
from workbench.workflows.training.train import train

# Few rows a leaf and eager steps: each person leaves a mark
OVERFITTED = {"learner": "gradient_boosting", "dataset": "pupils", "shards": 8, "slices": 3, "rounds": 24, "leaves": 15}
OVERFITTED |= {"min_rows_per_leaf": 1, "learning_rate": 0.5, "category_smoothing": 0.0}


@pytest.fixture(scope="module")
def overfitted(empty_workspace, pupils_files, tmp_path_factory):
    """A workspace whose ensemble knows everybody by heart, and its name; nothing may be written to it."""

    def change(workspace, _):
        # or an interval would leave out 0.5 in some runs
        (workspace.root / "keys" / "placement.key").write_bytes(bytes(32))
        ingest(workspace, "pupils", schema=pupils_files[0], data=pupils_files[1])
        train(workspace, TrainConfig.model_validate(OVERFITTED))

    root = changed(tmp_path_factory, "overfitted", empty_workspace, change)
    mine = copied(root, tmp_path_factory.mktemp("overfitted"))  # another worker would find its data set locked
    return mine.root, ensemble_of(mine)


@pytest.fixture
def own(overfitted, tmp_path):
    """A copy that may be written to."""
    return copied(overfitted[0], tmp_path), overfitted[1]


def everything(root):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def read(workspace, ensemble):
    return audited_of(workspace, *_current(workspace, ensemble), np.random.default_rng(0))


def auc(found, of, attack, erasure):
    (row,) = [row for row in found["attacks"] if (row["of"], row["attack"], row["erasure"]) == (of, attack, erasure)]
    return row["auc"]


written = None


def _note(event, arguments):
    if written is not None and event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        written.append(arguments[0])


def test_members_are_told_before_an_erasure_and_not_after_it_and_nothing_is_written(command, overfitted, tmp_path):
    global written
    root, ensemble = overfitted
    forgetting(Workspace.open(root), ensemble, subjects=0, canaries=20, controls=1)  # what is loaded is loaded
    before = everything(root)
    sys.addaudithook(_note)
    written = []
    try:
        (tmp_path / "seen").write_text("")
        assert written.pop() == str(tmp_path / "seen"), "the hook sees files that are opened for writing"
        answer = command("--workspace", root, "forgetting", ensemble, "--subjects", 60, "--canaries", 20, "--json")
        assert written == []
    finally:
        written = None
    assert everything(root) == before
    assert answer.code == 0
    found = answer.json
    assert found["finding"] == "forgotten"
    for of in ("living subjects", "canaries"):
        for attack in ("LiRA", "RMIA"):
            assert auc(found, of, attack, "before")["low"] > 0.5
            assert auc(found, of, attack, "after")["low"] < 0.5 < auc(found, of, attack, "after")["high"]
    assert (found["compared"], found["equal"]) == (40, 40)
    assert found["erased"] == {"living subjects": 60, "canaries": 20}
    assert found["siblings"] == 7
    assert set(found["not_computable"]) == {"tpr_at_1_percent", "tpr_at_5_percent"}
    assert found["guessing"] == {"auc": 0.5, "tpr_at_5_percent": 0.05, "tpr_at_1_percent": 0.01}
    assert "internal" in found["note"]


def test_an_erasure_that_does_not_happen_is_seen_by_the_attacks(overfitted, monkeypatch):
    """Before, after and control are all the published constituent, so no digest differs."""
    monkeypatch.setattr(Audited, "trained", lambda self, shard, _, **__: self.published(shard))
    found = forgetting(Workspace.open(overfitted[0]), overfitted[1], subjects=60, canaries=0).to_json()
    assert found["finding"] == "doubtful"
    assert auc(found, "living subjects", "LiRA", "after") == auc(found, "living subjects", "LiRA", "before")
    assert auc(found, "living subjects", "LiRA", "after")["low"] > 0.5


def test_going_on_from_a_checkpoint_that_saw_the_subject_is_seen_by_the_digests(command, overfitted, monkeypatch):
    honest = Audited.trained
    late = lambda self, shard, records, first: honest(self, shard, records, first=first and min(first + 1, 2))  # noqa: E731
    monkeypatch.setattr(Audited, "trained", late)
    root, ensemble = overfitted
    answer = command("--workspace", root, "forgetting", ensemble, "--subjects", 20, "--canaries", 0, "--json")
    assert answer.code == 1
    assert answer.json["finding"] == "not forgotten"
    assert answer.json["equal"] < answer.json["compared"]


def test_a_trial_ends_in_the_very_bytes_of_the_erasure(own):
    workspace, ensemble = own
    audited = read(workspace, ensemble)
    number, person = next(
        (number, found)
        for number in range(1000, 1400)
        for found in locate(workspace, [("pupils", f"pupil-{number}")])
        if found.split == "train"
    )
    subject = _subject(audited, audited.records.rows(audited.records.points == person.point), living=True)
    tried = sha256(_models(audited, subject, control=False)[AFTER])
    assert tried != audited.constituents[subject.shard].digest
    erase(workspace, [f"pupil-{number}"], dataset="pupils")
    assert read(workspace, ensemble).constituents[subject.shard].digest == tried


def test_the_same_seed_tries_the_same_people(overfitted):
    workspace = Workspace.open(overfitted[0])
    seen = []
    runs = [
        forgetting(workspace, overfitted[1], subjects=20, canaries=0, controls=1, seed=seed, progress=progress)
        for seed, progress in ((1, silent), (1, silent), (2, lambda *step: seen.append(step)))
    ]
    assert [fraction for fraction, _ in seen] == [n / 20 for n in range(21)], "so that the time left can be told"
    assert runs[0].attacks == runs[1].attacks
    assert runs[0].attacks != runs[2].attacks


def test_nothing_is_told_once_somebody_asks_to_be_erased(own, command, monkeypatch):
    workspace, ensemble = own
    asked = ("--workspace", workspace.root, "forgetting", ensemble, "--subjects", 20, "--canaries", 0, "--json")
    honest, done = Audited.trained, []

    def trained(self, shard, records, **more):
        done.append(shard)
        if len(done) == 3:
            submit(workspace, ["pupils"], "pupil-1001")
        return honest(self, shard, records, **more)

    monkeypatch.setattr(Audited, "trained", trained)
    answer = command(*asked)
    assert answer.code == 5
    assert "open erasure request" in answer.error["message"]
    assert len(done) < 6, "it stopped at once"
    assert command(*asked).code == 5, "and none begins"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--subjects", 19], 2, "from 20 to 10,000"),
        (["--canaries", 2001], 2, "from 20 to 2,000"),
        (["--subjects", 0, "--canaries", 0], 2, "nobody"),
        (["--controls", 0], 2, "no digest"),
        (["--canaries", 1000], 2, "too few combinations"),
    ],
)
def test_senseless_questions_are_refused(arguments, code, said, command, overfitted):
    answer = command("--workspace", overfitted[0], "forgetting", overfitted[1], *arguments, "--json")
    assert answer.code == code
    assert said in answer.error["message"]


def test_an_unknown_ensemble_is_not_found(command, overfitted):
    assert command("--workspace", overfitted[0], "forgetting", "nobody", "--json").code == 4


def test_a_private_learner_is_refused(command, overfitted, monkeypatch):
    private = type("Private", (), {"private": True})
    monkeypatch.setattr(forgetting_module, "stored_config", lambda *_: private)
    answer = command("--workspace", overfitted[0], "forgetting", overfitted[1], "--json")
    assert answer.code == 2
    assert "differentially private" in answer.error["message"]


@pytest.mark.parametrize("shards", [1, 3])
def test_with_fewer_than_three_siblings_there_are_no_references(shards, command, trained):
    ensemble = train(trained, TrainConfig.model_validate(OVERFITTED | {"shards": shards})).ensemble
    answer = command("--workspace", trained.root, "forgetting", ensemble, "--json")
    assert answer.code == 2
    assert "reference models" in answer.error["message"]


def test_shards_that_received_rows_are_left_out(own, tmp_path):
    """Their constituents are not what training on the store gives, so nothing could be compared."""
    workspace, ensemble = own
    pupils(3, first=5000).to_csv(tmp_path / "more.csv", index=False)
    append(workspace, "pupils", data=tmp_path / "more.csv")
    audited = read(workspace, ensemble)
    assert 1 <= len(audited.stale) <= 3
    assert not audited.stale & set(_shards_to_try(audited))
    found = forgetting(workspace, ensemble, subjects=20, canaries=0).to_json()
    assert found["equal"] == found["compared"] == 20


def test_without_enough_of_a_holdout_there_is_no_rmia(overfitted, monkeypatch):
    monkeypatch.setattr(forgetting_module, "_MOST_POPULATION", 19)
    found = forgetting(Workspace.open(overfitted[0]), overfitted[1], subjects=20, canaries=0, controls=1).to_json()
    assert {row["attack"] for row in found["attacks"]} == {"LiRA"}
    assert "holdout" in found["not_computable"]["RMIA"]


def test_a_regression_has_no_probabilities(workspace, tmp_path):
    (workspace.root / "keys" / "placement.key").write_bytes(bytes(32))
    schema = yaml.safe_load(PUPILS_SCHEMA)
    del schema["columns"]["passed"]
    schema["columns"]["hours"]["role"] = "target"
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(schema, allow_unicode=True))
    pupils().drop(columns="passed").to_parquet(tmp_path / "t.parquet", index=False)
    ingest(workspace, "pupils", schema=tmp_path / "s.yaml", data=tmp_path / "t.parquet")
    ensemble = train(workspace, TrainConfig.model_validate(OVERFITTED)).ensemble
    found = forgetting(workspace, ensemble, subjects=60, canaries=0).to_json()
    assert {row["attack"] for row in found["attacks"]} == {"LiRA"}
    assert "regression" in found["not_computable"]["RMIA"]
    assert auc(found, "living subjects", "LiRA", "before")["low"] > 0.5
    assert found["finding"] == "forgotten"
