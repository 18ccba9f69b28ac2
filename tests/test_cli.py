"""The command line is a contract: its words, options, JSON keys and exit codes are what users' scripts rely on."""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import forked
import pandas as pd
import pytest
from conftest import Answer, pupils
from until import until

from workbench.cli.render import show_result
from workbench.cli.upkeep import demo
from workbench.data.store import SPLITS
from workbench.erasure.request import submit
from workbench.state.workspace import Workspace
from workbench.workflows.operations.jobs import list_jobs
from workbench.workflows.training.publish_version import current_versions

Command = Callable[..., Answer]
PROGRAM = [sys.executable, "-c", "from workbench.cli import main; main()"]
ESTIMATE = {"value": float, "low": float, "high": float, "n": int}


def fits(value: Any, shape: Any) -> bool:
    """Whether a JSON value has the keys and types of a shape; more keys are welcome."""
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and all(key in value and fits(value[key], s) for key, s in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(item, shape[0]) for item in value)
    if shape is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, shape) and not (shape is int and isinstance(value, bool))


def ensemble_of(workspace: Workspace) -> str:
    with workspace.engine.connect() as connection:
        return next(iter(current_versions(connection)))


def generator_of(workspace: Workspace) -> str:
    return next((workspace.root / "generators").iterdir()).name


def test_help_answers_without_loading_anything_heavy() -> None:
    check = (
        "import sys, atexit\n"
        "from workbench.cli import main\n"
        "heavy = ('torch', 'mlflow', 'pandas', 'numpy', 'pyarrow', 'sqlalchemy', 'lightgbm', 'rich', 'opendp', 'fastapi')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        "sys.argv = ['workbench', '--help']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    commands = "init ingest synthesize sample train predict erase verify lineage doctor demo schema ledger requests"
    for word in commands.split():
        assert f"  {word} " in done.stdout


def test_commands_that_fit_nothing_load_no_library_that_fits() -> None:
    readers = (
        "erasure.decide datasets.budget operations.doctor controllers.tokens erasure.signing_keys operations.show_lineage "
        "erasure.verify operations.jobs"
    )
    writers = (
        "erasure.erase controllers.inbox_worker erasure.suppressions operations.backup erasure.certify "
        "synthesis.preflight"
    )
    check = (
        "import sys, importlib\n"
        "def load(names, *heavy):\n"
        "    for name in names.split(): importlib.import_module('workbench.workflows.' + name)\n"
        "    print(*(name for name in heavy if name in sys.modules))\n"
        "heavy = ('torch', 'mlflow', 'pandas', 'sklearn', 'scipy.stats', 'scipy.optimize', 'lightgbm', 'streamlit',\n"
        "    'alembic', 'boto3', 'httpx', 'opacus', 'matplotlib', 'hyperscan')\n"
        f"load('{readers}', 'pyarrow', *heavy)\n"
        f"load('{writers}', *heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n"


def test_a_check_of_every_record_loads_no_library_that_fits(trained: Workspace) -> None:
    check = (
        "import sys, atexit\n"
        "from workbench.cli import main\n"
        "heavy = ('torch', 'mlflow', 'pandas', 'sklearn', 'scipy', 'lightgbm', 'alembic', 'opendp', 'dp_accounting')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        f"sys.argv = ['workbench', '--workspace', {str(trained.root)!r}, 'doctor']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert "LOADED []" in done.stdout, done.stdout
    assert "records of pupils" in done.stdout, done.stdout


def test_every_command_has_help_and_json(command: Command) -> None:
    verbs = [
        "init",
        "ingest",
        "synthesize",
        "sample",
        "train",
        "predict",
        "erase",
        "verify",
        "lineage",
        "doctor",
        "demo",
    ]
    for words in [*([verb] for verb in verbs), ["schema", "infer"], ["ledger", "budget"], ["ledger", "show"]]:
        answer = command(*words, "--help")
        assert answer.code == 0
        assert "--json" in answer.out, words
    assert "--json" in command("requests", "list", "--help").out


def test_the_main_job_from_the_shell_by_the_words_of_the_contract(
    command: Command, pupils_files: tuple[Path, Path], tmp_path: Path
) -> None:
    home, proposal = tmp_path / "w", tmp_path / "s.yaml"

    def run(*words: object, code: int = 0) -> dict[str, Any]:
        answer = command("--workspace", home, *words, "--json")
        assert answer.code == code, answer.out
        assert answer.err == ""
        return answer.json

    assert fits(run("init"), {"workspace": str, "public_key": str})
    inferred = run("schema", "infer", pupils_files[1], "-o", proposal, "--target", "passed", "--subject", "pupil")
    assert inferred["read_the_data"] is True
    ingested = run("ingest", "pupils", "--schema", pupils_files[0], "--data", pupils_files[1])
    assert fits(ingested, {"dataset": str, "rows": dict.fromkeys(SPLITS, int), "subjects": dict.fromkeys(SPLITS, int)})

    budget = {"epsilon": float, "delta": float}
    assert fits(run("ledger", "budget", "pupils", "--epsilon", 4, "--delta", 1e-5), {"budget": budget})
    released = run("synthesize", "configs/generators/mst.yaml", "--set", "dataset=pupils", "--set", "epsilon=1")
    shape = {"generator": str, "release": str, "path": str, "private": bool, "epsilon": float, "delta": float}
    assert fits(released, {**shape, "seconds": float, "mlflow_run": str})
    assert Path(released["path"]).is_file()
    shown = run("ledger", "show", "pupils")
    assert fits(shown, {"dataset": str, "budget": budget, "spent": budget, "entries": [{"purpose": str}]})
    assert shown["spent"]["epsilon"] == pytest.approx(1, rel=1e-3)

    run("sample", released["generator"], "-n", 10, "--out", tmp_path / "S.parquet")
    assert len(pd.read_parquet(tmp_path / "S.parquet")) == 10

    sizes = ["--set", "shards=2", "--set", "slices=2", "--set", "rounds=4"]
    trained = run("train", "configs/models/trees.yaml", "--set", "dataset=pupils", *sizes)
    shape = {"ensemble": str, "version": int, "constituents": [{"shard": int, "digest": str}]}
    assert fits(trained, {**shape, "metrics": {"auc": ESTIMATE}, "seconds": float})
    assert len(trained["constituents"]) == 2
    predicted = run("predict", trained["ensemble"], "--data", pupils_files[1], "--out", tmp_path / "P.parquet")
    assert predicted["rows"] == len(pd.read_parquet(tmp_path / "P.parquet")) == len(pupils())

    planned = run("erase", "--dataset", "pupils", "pupil-1001", "--dry-run")
    assert planned["requests"][0]["status"] == "planned"
    erased = run("erase", "--dataset", "pupils", "pupil-1001")
    shape = {"requests": [{"request": str, "status": str, "shards": [int], "certificate": str}], "seconds": float}
    assert fits(erased, shape)
    certificate = erased["requests"][0]["certificate"]
    shape = {"valid": bool, "level": str, "superseded_by": (int, type(None)), "checks": [{"name": str, "ok": bool}]}
    verified = run("verify", certificate, "--replay")
    assert fits(verified, shape)
    assert (verified["valid"], verified["level"]) == (True, "replay")
    outside = command(
        "--workspace", tmp_path / "no", "verify", certificate, "--key", home / "keys/signing.pub.pem", "--json"
    )
    assert (outside.code, outside.json["level"]) == (0, "signature")

    assert fits(run("lineage", "pupils"), {"id": str, "derivatives": [{"id": str, "kind": str}]})
    assert run("requests", "list")["requests"][0]["status"] == "completed"
    assert run("doctor")["healthy"] is True


def test_every_exit_code_is_the_documented_one(
    command: Command, trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ensemble = ("--workspace", trained.root), ensemble_of(trained)
    table = tmp_path / "t.csv"
    pupils(3, first=9000).to_csv(table, index=False)
    (tmp_path / "c.json").write_text("{}")
    predict = (*home, "predict", ensemble, "--data", table, "--out", tmp_path / "p.parquet", "--json")
    synthesize = (*home, "synthesize", "configs/generators/mst.yaml", "--set", "dataset=pupils", "--json")
    assert command(*predict).code == 0
    answer = command(*home, "verify", tmp_path / "c.json", "--json")
    assert (answer.code, answer.json["valid"]) == (1, False)
    answer = command(*home, "erase", "--json")
    assert (answer.code, answer.error["code"]) == (2, "bad_input")
    answer = command(*home, "trian", "--json")
    assert (answer.code, answer.error["code"]) == (2, "usage")
    answer = command(*synthesize, "--set", "epsilon=400")
    assert (answer.code, answer.error["code"]) == (3, "budget")
    answer = command(*home, "lineage", "nosuch", "--json")
    assert (answer.code, answer.error["code"]) == (4, "not_found")
    with trained.lock("pupils"):
        answer = command(*home, "erase", "pupil-1001", "--json")
        assert (answer.code, answer.json["requests"][0]["status"]) == (5, "quarantined")
        assert answer.json["requests"][0]["nonce"]
        assert command(*synthesize).code == 5
    with monkeypatch.context() as patched:
        patched.setattr("workbench.cli.evidence.doctor.run", _interrupted)
        answer = command(*home, "doctor", "--json")
        assert (answer.code, answer.error["code"]) == (5, "interrupted")
    for number in range(1000, 1060):
        submit(trained, ["pupils"], f"pupil-{number}")
    answer = command(*predict)
    assert (answer.code, answer.error["code"]) == (6, "quarantined")


def _interrupted(_: Workspace) -> None:
    raise KeyboardInterrupt


def test_a_batch_exits_with_its_worst(command: Command, trained: Workspace) -> None:
    answer = command("--workspace", trained.root, "erase", "pupil-1001", "nobody-at-all", "--json")
    assert answer.code == 4
    assert [request["status"] for request in answer.json["requests"]] == ["completed", "rejected"]
    assert "exit" not in answer.json["requests"][0]


def test_keys_come_by_file_and_by_standard_input(
    command: Command, trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "\ufeffpupil-1001\r\n\r\n  pupil-1002  \r\npupil-1001\r\n".encode()
    (tmp_path / "keys.txt").write_bytes(content)
    erase = ("--workspace", trained.root, "erase", "--json", "--file")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    done = command(*erase, "-")
    assert done.code == 0, done.err
    assert [request["status"] for request in done.json["requests"]] == ["completed"] * 2
    again = command(*erase, tmp_path / "keys.txt")
    assert (again.code, [request["status"] for request in again.json["requests"]]) == (4, ["rejected"] * 2)
    monkeypatch.setattr(sys, "stdin", None)  # what Python makes of a standard input that is closed
    closed = command(*erase, "-")
    assert (closed.code, closed.error["code"]) == (2, "bad_input")


def test_the_workspace_may_come_from_the_environment_and_from_any_folder(
    command: Command, trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(trained.root))
    monkeypatch.chdir(tmp_path)
    assert command("ledger", "show", "pupils", "--json").json["dataset"] == "pupils"
    sizes = ["--set", "shards=1", "--set", "slices=1", "--set", "rounds=1", "--set", "dataset=pupils"]
    assert command("train", "configs/models/trees.yaml", *sizes, "--json").code == 0, "shipped configs are found"
    assert list(tmp_path.iterdir()) == [trained.root]


def test_without_json_results_are_for_people_and_paths_stay_whole(command: Command, trained: Workspace) -> None:
    home = ("--workspace", trained.root)
    answer = command(*home, "erase", "pupil-1001")
    assert answer.code == 0
    path = next(line.split()[-1] for line in answer.out.splitlines() if line.strip().startswith("certificate "))
    assert Path(path).is_file()
    listed = command(*home, "requests", "list").out
    assert path in listed
    for words in (["doctor"], ["ledger", "show", "pupils"], ["lineage", "pupils"], ["verify", path]):
        answer = command(*home, *words)
        assert answer.code == 0
        assert answer.out.strip()
        assert not answer.out.startswith("{")


def test_a_failure_without_json_says_nothing_on_standard_output(command: Command, trained: Workspace) -> None:
    answer = command("--workspace", trained.root, "lineage", "nosuch")
    assert (answer.code, answer.out) == (4, "")
    assert answer.err.startswith("workbench: nothing here is called 'nosuch'\n  hint: ")


def test_an_unexpected_fault_shows_no_value_and_one_of_the_file_system_says_where(
    command: Command, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leak(_: Workspace) -> None:
        raise RuntimeError("pupil-1001 earns 12 a month")

    def refused(_: Workspace) -> None:
        raise PermissionError(13, "Permission denied", "/the/file")

    def full(_: Workspace) -> None:
        raise OSError(28, "No space left on device", "/the/file")

    monkeypatch.setattr("workbench.cli.evidence.doctor.run", leak)
    answer = command("--workspace", trained.root, "doctor", "--json")
    assert (answer.code, answer.error["code"]) == (1, "internal")
    assert "pupil" not in answer.out + answer.err
    monkeypatch.setattr("workbench.cli.evidence.doctor.run", refused)
    answer = command("--workspace", trained.root, "doctor", "--json")
    assert (answer.code, answer.error["message"]) == (2, "/the/file: Permission denied")
    monkeypatch.setattr("workbench.cli.evidence.doctor.run", full)
    answer = command("--workspace", trained.root, "doctor", "--json")
    assert (answer.code, answer.error["message"]) == (5, "/the/file: No space left on device")
    assert "resume" in answer.error["hint"]


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_training_that_is_stopped_leaves_nothing(trained: Workspace, how: signal.Signals) -> None:
    objects = {path for path in (trained.root / "objects").rglob("*") if path.is_file()}
    sizes = ["shards=2", "slices=600", "rounds=600000", "leaves=4096", "min_rows_per_leaf=1", "dataset=pupils"]
    words = ["train", "configs/models/trees.yaml", *(word for size in sizes for word in ("--set", size)), "--json"]
    command = [*PROGRAM, "--workspace", str(trained.root), *words]
    process = forked.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"LC_ALL": "C"})
    try:
        until(lambda: any(j.text.startswith("shard") for j in list_jobs(trained).jobs), process)
        process.send_signal(how)
        out, _ = process.communicate()
    finally:
        process.kill()
    assert (process.returncode, json.loads(out)["error"]["code"]) == (5, "interrupted")
    assert {path for path in (trained.root / "objects").rglob("*") if path.is_file()} == objects
    assert not list((trained.root / "staging").iterdir())


class _Finalised:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("meets", ["a callback of C", "a finaliser"])
def test_a_stop_that_python_drops_comes_again(
    command: Command, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, meets: str
) -> None:
    def stopped(_: Workspace) -> None:
        if meets == "a finaliser":
            _Finalised()
        else:
            ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()
        assert threading.Event().wait(60), "the stop was lost"

    monkeypatch.setattr("workbench.cli.evidence.doctor.run", stopped)
    handler = signal.getsignal(signal.SIGALRM)
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in tests that run in the background
    try:
        answer = command("--workspace", workspace.root, "doctor", "--json")
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert (answer.code, answer.error["code"]) == (5, "interrupted")
    assert signal.getsignal(signal.SIGALRM) == handler


def test_the_version_is_told(command: Command) -> None:
    answer = command("--version")
    assert (answer.code, answer.out.strip()) == (0, version("erasure-workbench"))


def test_an_interval_without_ends_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_result({"figure": {"value": 0.5, "low": None, "high": None, "n": 3}})
    assert "0.5000 [-, -] n=3" in capsys.readouterr().out


def test_the_demo_says_each_step_once_as_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    report = demo._steps()
    for fraction, text in [(0.0, "importing the table"), (0.05, "importing the table: 2,000 rows"), (0.1, "training")]:
        report(fraction, text)
    assert capsys.readouterr().err.splitlines() == ["  importing the table", "  training"]
