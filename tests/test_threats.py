"""The threats of docs/threat-model.md that no other test shows; and each of its rows names tests that are there."""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import Answer

import workbench
from workbench.config import TrainConfig, read_config
from workbench.erasure.intake import parse
from workbench.errors import InputError
from workbench.schema.schema import read_schema
from workbench.state.workspace import Workspace
from workbench.workflows.synthesis.sample import write_rows

ROOT = Path(__file__).parent.parent
SOURCES = sorted(Path(workbench.__file__).parent.rglob("*.py"))
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
HARMLESS = (
    {"joblib", "parallel_config"},  # sets how many processes a library takes; it loads nothing
    {"joblib", "ProcessPoolExecutor"},  # a pool, whose processes exchange what this program made
)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch PWNED']",
        "learner: !!python/object/apply:os.system ['touch PWNED']",
        "learner: !!python/name:os.system",
        f"{BOMB}learner: *i\ndataset: *i\nshards: *i\nslices: *i",
        f"{BOMB}columns: *i",
        "a: &a [*a]",
        "[" * 5_000,
    ],
)
def test_a_hostile_config_or_schema_is_refused_at_once(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(InputError) as config:
        read_config(tmp_path / "x.yaml", TrainConfig)
    with pytest.raises(InputError):
        read_schema(tmp_path / "x.yaml")
    assert time.process_time() - started < 5
    assert len(str(config.value)) < 20_000
    assert not (tmp_path / "PWNED").exists()


def test_nothing_in_the_workbench_loads_code_from_data() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0], *(alias.name for alias in node.names)}
                names = set() if names in HARMLESS else names
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {node.func.id} & {"eval", "exec", "__import__"}
                assert not names, f"{path}:{node.lineno}"
            elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
                assert isinstance(node.value, ast.Constant), f"{path}:{node.value.lineno}"
                assert node.value.value is False, f"{path}:{node.value.lineno}"
            assert not names & UNSAFE, f"{path}:{getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..", "a/../../b", "x\x00y", "~root", "-rf"])
def test_no_name_or_id_leads_out_of_the_workspace(
    command: Callable[..., Answer], workspace: Workspace, tmp_path: Path, name: str, pupils_files: tuple[Path, Path]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    files = ("--schema", pupils_files[0], "--data", pupils_files[1])
    for words in (
        ("ingest", *files, "--", name),
        ("lineage", "--", name),
        ("predict", "--data", pupils_files[1], "--out", tmp_path / "p.parquet", "--", name),
        ("sample", "-n", 1, "--out", tmp_path / "s.csv", "--", name),
        ("requests", "approve", "--", name),
        ("requests", "cancel", "--", name),
        ("policy", "--", name),
        ("keys", "rotate", "--", name),
    ):
        answer = command("--workspace", workspace.root, *words[:1], *words[1:])
        assert answer.code in (2, 4), words
    after = [path for path in sorted(tmp_path.rglob("*")) if "state.db" not in path.name and "mlflow" not in path.name]
    assert [path for path in after if path not in before] == []


@pytest.mark.parametrize("name", ["../../x", "a/b", ".hidden", "x" * 65, "a..b", "a\nb"])
def test_no_request_id_or_data_set_of_a_file_leads_anywhere(name: str) -> None:
    for document in ({"key": "k", "request_id": name}, {"key": "k", "dataset": name}):
        assert not parse(json.dumps(document).encode(), ".jsonl").asked


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
TEXTS = [*FORMULAS, "plain", "a=b", " =x"]


class Drawn:
    """Stands for a generator and its codec: draws every text once, and numbers."""

    frame = pd.DataFrame(
        {"what": pd.Categorical([*TEXTS, None]), "plain": [*TEXTS, None], "number": range(-9, len(TEXTS) - 8)}
    )

    def sample(self, *_: object, **__: object) -> None:
        return None

    unbin = sample

    def decode(self, _: object) -> pd.DataFrame:
        return self.frame


def test_a_csv_export_holds_no_formula_and_parquet_holds_every_value(tmp_path: Path) -> None:
    for ending in ("csv", "parquet"):
        drawn = Drawn()
        write_rows(tmp_path / f"t.{ending}", drawn, drawn, 3, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    read = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    for column in ("what", "plain"):
        assert list(read[column]) == [f"'{text}" for text in FORMULAS] + ["plain", "a=b", " =x", ""]
        assert pq.read_table(tmp_path / "t.parquet")[column].to_pylist() == [*TEXTS, None]
    assert list(read["number"]) == list(Drawn.frame["number"]), "a negative number is no formula"


def test_every_threat_names_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| T")]
    assert [row.split(" | ")[0] for row in rows] == [f"| T{k}" for k in range(1, len(rows) + 1)]
    assert len(rows) >= 19
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
