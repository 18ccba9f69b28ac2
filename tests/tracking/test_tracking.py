"""What people see in MLflow, and that a purge leaves nothing of it."""

import shutil
import sqlite3
import subprocess
import sys
import types
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import forked
import pandas as pd
import pytest
from remnants import remnants

from workbench.errors import BusyError, InputError, NotFoundError
from workbench.schema import Column, Holdout, Schema
from workbench.tracking import (
    CHAMPION,
    LiveFigures,
    PurgeReport,
    RunRecord,
    Tracking,
    end_run,
    estimate_metrics,
    find_runs,
    link_constituents,
    log_constituent,
    log_run,
    open_runs,
    purge_runs,
    register_version,
    start_run,
)
from workbench.tracking.purge import LINK_TABLES, MODEL_TABLES, RUN_TABLES, VERSION_TABLES
from workbench.tracking.runs import log_figures

MARK = "canary-7f3a"


@pytest.fixture(scope="session")
def empty_store(empty_workspace):
    return empty_workspace


@pytest.fixture
def tracking(empty_store, tmp_path):
    shutil.copy(empty_store / "mlflow.db", tmp_path)
    return Tracking(tmp_path)


@pytest.fixture
def client(tracking):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking.uri, registry_uri=tracking.uri)


def record(name, kind="shard", *, mark="", parent=None, **changes):
    fields = {
        "experiment": "adult",
        "params": {f"learner{mark}": f"linear{mark}"},
        "metrics": {f"utility/auc{mark}": 0.8},
        "tags": {f"note{mark}": f"text{mark}"},
        **changes,
    }
    return RunRecord(name=f"{name}{mark}", kind=kind, parent=parent, **fields)


@dataclass
class Layout:
    """An ensemble of two shards as the workbench mirrors it; shard 1 and the version carry the mark."""

    train: str
    shards: list[str]
    models: list[str]
    version: str
    registered: tuple[str, str]


@pytest.fixture
def layout(tracking):
    train = log_run(tracking, record("ensemble", "train", metrics={}))
    shards, models = [], []
    for index, mark in enumerate(["", MARK]):
        shards.append(log_run(tracking, record(f"shard-{index}", mark=mark, parent=train)))
        models.append(constituent(tracking, shards[-1], index, mark))
    version = log_run(tracking, record("version-1", "version", mark=MARK, parent=train))
    link_constituents(tracking, run_id=version, model_ids=models)
    number = register(tracking, version, 1, mark=MARK)
    return Layout(train, shards, models, version, ("ensemble-a", number))


def constituent(tracking, run_id, index, mark=""):
    return log_constituent(
        tracking,
        experiment="adult",
        run_id=run_id,
        name=f"shard-{index}{mark}",
        digest=f"sha256-{index}{mark}",
        tags={"shard": str(index), f"note{mark}": f"text{mark}"},
    )


def register(tracking, run_id, version, *, mark="", workspace=Path("/nowhere"), schema=None):
    return register_version(
        tracking,
        experiment="adult",
        run_id=run_id,
        name="ensemble-a",
        workspace=workspace,
        ensemble=f"a{mark}",
        version=version,
        tags={f"note{mark}": f"text{mark}"},
        schema=schema,
    )


def purge_marked(tracking, layout, **options):
    return purge_runs(
        tracking,
        run_ids=[layout.shards[1], layout.version],
        model_ids=[layout.models[1]],
        registered=[layout.registered],
        **options,
    )


def bytes_of_every_file(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the store ------------------------------------------------------------------------------------------------------


def test_initialising_again_changes_nothing(tracking):
    before = tracking.database.read_bytes()
    tracking.initialise()
    assert tracking.database.read_bytes() == before


def test_two_processes_may_initialise_one_store_that_a_kill_left_half_created(tmp_path):
    (tmp_path / "mlflow.db.new").write_bytes(b"torn")
    program = "import pathlib, sys, workbench.tracking as t; t.Tracking(pathlib.Path(sys.argv[1])).initialise()"
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [forked.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.lock"]
    log_run(Tracking(tmp_path), record("a"))


def test_a_store_that_another_process_made_meanwhile_is_kept(tmp_path, empty_store, monkeypatch):
    @contextmanager
    def locked_after_the_other(_):
        shutil.copy(empty_store / "mlflow.db", tmp_path)
        yield

    monkeypatch.setattr("workbench.tracking.mlflow_store._locked", locked_after_the_other)
    Tracking(tmp_path).initialise()
    assert (tmp_path / "mlflow.db").read_bytes() == (empty_store / "mlflow.db").read_bytes()


def test_a_store_that_was_never_initialised_is_refused_not_created(tmp_path):
    with pytest.raises(BusyError):
        log_run(Tracking(tmp_path), record("a"))
    with pytest.raises(BusyError):
        purge_runs(Tracking(tmp_path), run_ids=[])
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_sqlalchemy_misreads_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="can't open"):
        Tracking(tmp_path / "100%").initialise()


def test_a_store_made_anew_at_the_same_place_is_written_to(tracking, empty_store):
    log_run(tracking, record("a"))
    tracking.database.unlink()
    shutil.copy(empty_store / "mlflow.db", tracking.folder)
    run_id = log_run(tracking, record("b"))
    with closing(sqlite3.connect(tracking.database)) as connection:
        assert connection.execute("SELECT run_uuid FROM runs").fetchall() == [(run_id,)]


def test_deleted_rows_are_overwritten_on_the_clients_connections(tracking):
    from sqlalchemy import text

    with tracking.session() as client:
        for store in (client._tracking_client.store, client._get_registry_client().store):
            with store.engine.connect() as connection:
                assert connection.execute(text("PRAGMA secure_delete")).scalar() == 1
                assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_importing_the_room_does_not_import_mlflow():
    program = "import sys, workbench.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- runs -----------------------------------------------------------------------------------------------------------


def test_a_run_shows_what_was_logged(tracking, client):
    run = client.get_run(log_run(tracking, record("shard-0")))
    assert (run.info.run_name, run.info.status) == ("shard-0", "FINISHED")
    assert run.data.params == {"learner": "linear"}
    assert run.data.metrics == {"utility/auc": 0.8}
    assert run.data.tags["note"] == "text"
    assert run.data.tags["workbench.kind"] == "shard"
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.name == "adult"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.artifact_location.startswith(tracking.artifacts.as_uri())


def test_metrics_count_as_internal_unless_said_otherwise(tracking, client):
    def audience(run_id):
        return client.get_run(run_id).data.tags.get("workbench.audience")

    assert audience(log_run(tracking, record("a"))) == "internal"
    assert audience(log_run(tracking, record("b", metrics={}))) is None
    assert audience(log_run(tracking, record("c", tags={"workbench.audience": "public"}))) == "public"
    late = start_run(tracking, record("d", metrics={}))
    end_run(tracking, late, status="FINISHED", metrics={"utility/auc": 0.7})
    assert audience(late) == "internal"


def test_shards_and_versions_are_nested_below_the_ensembles_run(layout, client):
    experiment = client.get_experiment_by_name("adult").experiment_id
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{layout.train}'")
    assert {run.info.run_id for run in nested} == {*layout.shards, layout.version}


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_long_work_is_open_until_it_ends(tracking, client, status):
    run_id = start_run(tracking, record("long", metrics={}))
    assert client.get_run(run_id).info.status == "RUNNING"
    end_run(tracking, run_id, status=status, metrics={"loss": 0.5}, tags={"note": "new"})
    run = client.get_run(run_id)
    assert (run.info.status, run.data.metrics, run.data.tags["note"]) == (status, {"loss": 0.5}, "new")


def test_a_refused_record_leaves_no_run_and_its_values_in_no_message(tracking, client):
    with pytest.raises(InputError) as caught:
        log_run(tracking, record("a", params={"bad\nkey": MARK}))
    assert MARK not in str(caught.value) + caught.value.hint
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    assert remnants(tracking, [MARK.encode()]) == []
    assert client.search_runs([client.get_experiment_by_name("adult").experiment_id]) == []


def test_open_runs_of_a_kind_are_told_from_those_that_ended_or_lie_in_the_bin(tracking, client):
    ended, *begun = (start_run(tracking, record(name, "synthesize", metrics={})) for name in "abc")
    end_run(tracking, ended, status="KILLED")
    start_run(tracking, record("d", "train", metrics={}))
    start_run(tracking, record("e", "synthesize", metrics={}, experiment="other"))
    client.delete_run(begun[1])
    assert open_runs(tracking, experiment="adult", kinds=["synthesize"]) == (begun[0],)


def test_live_figures_are_written_together_and_have_steps(tracking, client):
    run_id = start_run(tracking, record("fit", metrics={}))
    shown = LiveFigures(tracking, run_id)
    shown.add(1, misfit=2.0)
    for step in range(2, 1500):
        shown.add(step, misfit=1 / step, nothing=float("nan"))
    assert len(client.get_metric_history(run_id, "fit/misfit")) == 1, "the others wait for their second"
    shown.write()
    history = client.get_metric_history(run_id, "fit/misfit")
    assert {m.step: m.value for m in history} == {1: 2.0, **{step: 1 / step for step in range(2, 1500)}}
    assert client.get_run(run_id).data.metrics == {"fit/misfit": 1 / 1499, "fit/step": 1499.0}


def test_live_figures_that_cannot_be_written_are_kept_and_tried_ever_later(tracking, client, tmp_path, monkeypatch):
    run_id = start_run(tracking, record("fit", metrics={}))
    shown, clock = LiveFigures(tracking, run_id), [0.0]
    monkeypatch.setattr("workbench.tracking.live_runs.time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    tracking.database.rename(tmp_path / "away.db")
    tries = []
    monkeypatch.setattr(
        "workbench.tracking.live_runs.log_figures", lambda *a: (tries.append(clock[0]), log_figures(*a))
    )
    for second in range(20):
        clock[0] = float(second)
        shown.add(second, misfit=1.0)
    assert tries == [0, 2, 6, 14]
    (tmp_path / "away.db").rename(tracking.database)
    clock[0] = 30.0
    shown.add(20, misfit=1.0)
    assert [m.step for m in client.get_metric_history(run_id, "fit/misfit")] == list(range(21))


def test_live_figures_of_a_run_that_somebody_deleted_are_lost_in_silence(tracking, client):
    run_id = start_run(tracking, record("fit", metrics={}))
    client.delete_run(run_id)
    LiveFigures(tracking, run_id).add(1, misfit=1.0)


def test_a_run_that_is_gone_cannot_be_ended(tracking):
    run_id = start_run(tracking, record("a"))
    purge_runs(tracking, run_ids=[run_id])
    with pytest.raises(NotFoundError):
        end_run(tracking, run_id, status="FINISHED")


def test_runs_are_found_by_tag_also_when_deleted(tracking, client):
    ids = [log_run(tracking, record("a", tags={"workbench.job": job})) for job in ("1", "1", "2")]
    client.delete_run(ids[0])
    assert find_runs(tracking, tag="workbench.job", value="1") == tuple(sorted(ids[:2]))


def test_an_experiment_in_mlflows_bin_is_used_again(tracking, client):
    log_run(tracking, record("a"))
    client.delete_experiment(client.get_experiment_by_name("adult").experiment_id)
    log_run(tracking, record("b"))
    assert client.get_experiment_by_name("adult").lifecycle_stage == "active"


def test_an_estimate_is_logged_with_its_doubt():
    estimate = types.SimpleNamespace(value=0.12, low=0.08, high=0.17, n=500)
    assert estimate_metrics("utility/auc", estimate) == {
        "utility/auc": 0.12,
        "utility/auc_low": 0.08,
        "utility/auc_high": 0.17,
        "utility/auc_n": 500.0,
    }


# --- lineage and registry -------------------------------------------------------------------------------------------


def test_constituents_are_outputs_of_their_shard_and_inputs_of_the_version(layout, client):
    inputs = client.get_run(layout.version).inputs.model_inputs
    assert {model.model_id for model in inputs} == set(layout.models)
    outputs = client.get_run(layout.shards[0]).outputs.model_outputs
    assert [model.model_id for model in outputs] == layout.models[:1]


def test_a_constituent_is_metadata_only(tracking, layout, client):
    model = client.get_logged_model(layout.models[0])
    assert (model.name, model.status.value, model.source_run_id) == ("shard-0", "READY", layout.shards[0])
    assert model.tags == {"digest": "sha256-0", "shard": "0", "note": "text"}
    assert not list(tracking.artifacts.rglob(layout.models[0]))


def test_the_alias_moves_to_the_newest_version(tracking, layout, client):
    run_id = log_run(tracking, record("version-2", "version"))
    number = register(tracking, run_id, 2)
    champion = client.get_model_version_by_alias("ensemble-a", CHAMPION)
    assert (str(champion.version), champion.run_id) == (number, run_id)
    assert champion.tags == {"ensemble": "a", "ensemble_version": "2", "note": "text"}
    assert number != layout.registered[1]


def test_the_champion_asks_the_workspace_at_every_request(tracking, tmp_path, monkeypatch):
    import mlflow

    answers = iter([pd.DataFrame({"prediction": [1]}), pd.DataFrame({"prediction": [2]})])
    asked = []

    def predict_frame(workspace, ensemble, frame):
        asked.append((workspace, ensemble, list(frame.columns)))
        return next(answers)

    stand_in = types.ModuleType("workbench.workflows.training.predict")
    stand_in.predict_frame = predict_frame
    monkeypatch.setitem(sys.modules, "workbench.workflows.training.predict", stand_in)
    schema = Schema(
        population="p",
        identity_type="i",
        subject="id",
        holdout=Holdout(share=0.5),
        columns={
            "id": Column(kind="identifier", role="subject_id"),
            "age": Column(kind="integer", bounds=(0, 99)),
            "paid": Column(kind="boolean", role="target"),
        },
    )
    register(tracking, log_run(tracking, record("v")), 1, workspace=tmp_path, schema=schema)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    model = mlflow.pyfunc.load_model(f"models:/ensemble-a@{CHAMPION}")
    frame = pd.DataFrame({"id": ["x"], "age": [30]})
    assert [int(model.predict(frame)["prediction"][0]) for _ in range(2)] == [1, 2]
    assert asked == [(tmp_path, "a", ["age"])] * 2


def test_a_copied_workspace_keeps_its_files_to_itself(tracking, layout, tmp_path_factory):
    copy = Tracking(tmp_path_factory.mktemp("copies") / "a copy")
    shutil.copytree(tracking.folder, copy.folder)
    before = bytes_of_every_file(tracking.folder)
    number = register(copy, log_run(copy, record("version-2", "version", mark="-copied")), 2, mark="-copied")
    assert bytes_of_every_file(tracking.folder) == before
    assert purge_runs(copy, run_ids=[], registered=[("ensemble-a", number)]).files > 0
    purge_marked(copy, layout)
    assert remnants(copy, [MARK.encode(), str(tracking.folder).encode()]) == []


def test_an_experiment_with_files_elsewhere_is_refused(tracking, client, tmp_path):
    client.create_experiment("adult", artifact_location=(tmp_path / "elsewhere" / "1").as_uri())
    with pytest.raises(InputError, match="outside the workspace"):
        log_run(tracking, record("a"))


# --- purge ----------------------------------------------------------------------------------------------------------


def test_nothing_of_a_purge_is_found_in_any_file_and_the_sibling_is_complete(tracking, layout, client):
    for run_id, name in ((layout.shards[1], f"log{MARK}.txt"), (layout.shards[0], "log.txt")):
        client.log_text(run_id, f"text of {name}", name)
    before = client.get_run(layout.shards[0]), client.get_logged_model(layout.models[0])
    assert any(MARK.encode() in content for content in bytes_of_every_file(tracking.folder).values())

    report = purge_marked(tracking, layout)

    needles = [MARK, layout.shards[1], layout.models[1], layout.version]
    for path, content in bytes_of_every_file(tracking.folder).items():
        assert not [needle for needle in needles if needle.encode() in content], path
        assert MARK not in str(path)
    assert (report.runs, report.models, report.versions) == (2, 2, 1)  # the served model went with its version
    assert report.files == 6
    sibling = client.get_run(layout.shards[0])
    assert sibling.to_dictionary() == before[0].to_dictionary()
    assert sibling.outputs.model_outputs == before[0].outputs.model_outputs
    assert client.get_logged_model(layout.models[0]).to_dictionary() == before[1].to_dictionary()
    assert [path.name for path in tracking.artifacts.rglob("*") if path.is_file()] == ["log.txt"]


def test_purging_again_removes_nothing_more(tracking, layout):
    purge_marked(tracking, layout)
    assert purge_marked(tracking, layout) == PurgeReport()


def test_a_purge_takes_runs_that_mlflow_only_marked_as_deleted(tracking, layout, client):
    client.delete_run(layout.shards[1])
    client.delete_run(layout.version)
    purge_marked(tracking, layout)
    assert remnants(tracking, [MARK.encode()]) == []


def test_a_purged_run_takes_its_models_and_versions_along(tracking, layout, client):
    report = purge_runs(tracking, run_ids=[layout.shards[1], layout.version])
    assert (report.models, report.versions) == (2, 1)
    assert remnants(tracking, [MARK.encode()]) == []
    assert client.search_registered_models() == []


def test_a_purged_version_takes_its_served_model_along(tracking, layout):
    report = purge_runs(tracking, run_ids=[], registered=[layout.registered])
    assert (report.models, report.versions) == (1, 1)


def test_the_other_version_and_its_alias_stay(tracking, layout, client):
    run_id = log_run(tracking, record("version-2", "version"))
    number = register(tracking, run_id, 2)
    purge_marked(tracking, layout)
    assert [str(version.version) for version in client.search_model_versions("name='ensemble-a'")] == [number]
    assert str(client.get_model_version_by_alias("ensemble-a", CHAMPION).version) == number


def test_a_purge_takes_traces_and_datasets_that_no_other_run_used(tracking, layout, client):
    from mlflow.entities import Dataset, DatasetInput, InputTag

    def use(run_id, name):
        dataset = Dataset(name=name, digest="d", source_type="local", source="s")
        client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("context", name)])])

    use(layout.shards[0], "shared")
    use(layout.shards[1], "shared")
    use(layout.shards[1], f"own{MARK}")
    plant_trace(tracking, layout.shards[1])
    report = purge_marked(tracking, layout)
    assert (report.datasets, report.traces) == (1, 1)
    assert remnants(tracking, [MARK.encode(), layout.shards[1].encode()]) == []
    assert [used.dataset.name for used in client.get_run(layout.shards[0]).inputs.dataset_inputs] == ["shared"]


def plant_trace(tracking, run_id):
    with closing(sqlite3.connect(tracking.database)) as connection:
        connection.execute(
            "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status, request_preview)"
            " VALUES ('tr-1', 1, 0, 'OK', ?)",
            (MARK,),
        )
        connection.execute("INSERT INTO trace_request_metadata VALUES ('mlflow.sourceRun', ?, 'tr-1')", (run_id,))
        connection.commit()


def test_a_purge_takes_what_another_program_left_in_free_pages(tracking, layout):
    with closing(sqlite3.connect(tracking.database)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("INSERT INTO tags VALUES ('long', ?, ?)", (MARK * 2000, layout.shards[0]))
        connection.execute("DELETE FROM tags WHERE key = 'long'")
        connection.commit()
    purge_marked(tracking, layout)
    assert remnants(tracking, [MARK.encode()]) == []


def test_a_purge_waits_for_a_reader_only_so_long_and_can_be_resumed(tracking, layout):
    with closing(sqlite3.connect(tracking.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        with pytest.raises(BusyError):
            purge_marked(tracking, layout, timeout=0.1)
        reader.execute("COMMIT")
        purge_marked(tracking, layout, timeout=0.1)  # an idle connection is in nobody's way
        assert remnants(tracking, [MARK.encode()]) == []


_CHECKPOINTS = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, 121)  # SQLite's lock of who writes the log back
print("now", flush=True)
time.sleep(1)
"""


def test_a_purge_waits_for_another_that_is_emptying_the_log(tracking, layout):
    """SQLite answers at once that it is busy then, however long it may wait for readers and writers."""
    with closing(sqlite3.connect(tracking.database)) as connection:  # the lock lies in a file of open databases
        connection.execute("SELECT count(*) FROM runs").fetchall()
        shared = f"{tracking.database}-shm"
        with subprocess.Popen([sys.executable, "-c", _CHECKPOINTS, shared], stdout=subprocess.PIPE) as other:
            assert other.stdout.readline() == b"now\n"
            with pytest.raises(BusyError):
                purge_marked(tracking, layout, timeout=0.1)
            purge_marked(tracking, layout)
    assert remnants(tracking, [MARK.encode()]) == []


def test_a_purge_waits_for_a_writer_only_so_long(tracking, layout):
    before = bytes_of_every_file(tracking.artifacts)
    with closing(sqlite3.connect(tracking.database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError):
            purge_marked(tracking, layout, timeout=0.1)
    assert bytes_of_every_file(tracking.artifacts) == before


def test_a_purge_interrupted_after_the_files_can_be_resumed(tracking, layout, monkeypatch):
    def delete_and_die(folder):
        remove(folder)
        raise KeyboardInterrupt

    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", delete_and_die)
    with pytest.raises(KeyboardInterrupt):
        purge_marked(tracking, layout)
    monkeypatch.undo()
    assert purge_marked(tracking, layout).runs == 2
    assert remnants(tracking, [MARK.encode()]) == []


@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("crooked", ["../../etc", "*", ""])
def test_a_purge_refuses_what_is_not_an_id(tracking, crooked):
    before = bytes_of_every_file(tracking.folder)
    with pytest.raises(InputError):
        purge_runs(tracking, run_ids=[crooked])
    assert bytes_of_every_file(tracking.folder) == before


def test_every_table_that_refers_to_runs_models_or_versions_is_purged(tracking):
    """A new MLflow that adds a table fails here, before it makes the purge incomplete."""
    known = {*RUN_TABLES, *MODEL_TABLES, *VERSION_TABLES, *LINK_TABLES}
    elsewhere = {
        "registered_models",  # goes with its last version
        "registered_model_tags",
        "evaluation_dataset_records",  # the workbench writes no evaluation data sets into MLflow
        "mcp_server_versions",
        "mcp_server_version_tags",
        "mcp_server_aliases",
        "scorer_versions",
        "guardrails",
    }
    with closing(sqlite3.connect(tracking.database)) as connection:
        tables = [table for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        referring = {table for table in tables if refers(connection, table)}
    assert referring - known - elsewhere == set()


def refers(connection, table):
    columns = {column for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")}
    parents = {parent for _, _, parent, *_ in connection.execute(f"PRAGMA foreign_key_list({table})")}
    names = {"run_id", "run_uuid", "source_run_id", "model_id", "destination_id", "source_id"}
    return bool(columns & names or parents & {"runs", "logged_models", "registered_models", "model_versions"})


# --- scan -----------------------------------------------------------------------------------------------------------


def test_a_needle_across_two_chunks_is_found(tracking, monkeypatch):
    monkeypatch.setattr("workbench.bytescan.archives._CHUNK", 64)
    needle = b"needle-in-hay"
    tracking.artifacts.mkdir()
    for offset in (50, 55, 63, 64):
        (tracking.artifacts / "hay").write_bytes(b"." * offset + needle + b"." * 200)
        assert remnants(tracking, [b"absent", needle]) == ["mlartifacts/hay"]
    assert remnants(tracking, [b"absent"]) == []


@pytest.mark.parametrize("name", ["mlflow.db-wal", "mlflow.db-shm", "mlartifacts/1/x.bin"])
def test_every_file_of_the_store_is_read(tracking, name, monkeypatch):
    monkeypatch.setattr("remnants._tables_holding", lambda *_: iter(()))
    (tracking.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (tracking.folder / name).write_bytes(b"a needle")
    assert remnants(tracking, [b"needle"]) == [name]


def test_a_needle_in_a_file_name_is_found(tracking):
    (tracking.artifacts / "a-needle").mkdir(parents=True)
    assert remnants(tracking, [b"needle"]) == ["mlartifacts/a-needle"]


def test_a_value_that_sqlite_cut_at_a_page_border_is_found(tracking):
    needles = [f"needle-{index:04d}".encode() for index in range(600)]
    log_run(tracking, record("a", tags={"long": b"".join(needles).decode()}))
    content = tracking.database.read_bytes()
    cut = [needle for needle in needles if needle not in content]
    assert cut, "none was cut: this test proves nothing"
    assert "mlflow.db: table tags" in remnants(tracking, cut)


def test_an_empty_needle_is_refused(tracking):
    with pytest.raises(InputError):
        remnants(tracking, [b""])
