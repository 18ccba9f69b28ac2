"""The wheel, installed outside the clone, runs the whole main job: it carries its configs and data."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
CARRIED = (
    "workbench/_configs/datasets/adult.yaml",
    "workbench/_configs/datasets/german.yaml",
    "workbench/_configs/datasets/oulad.yaml",
    "workbench/_configs/verdicts.yaml",
    "workbench/_configs/generators/mst.yaml",
    "workbench/_configs/models/trees.yaml",
    "workbench/data/bundled/adult.parquet",
    "workbench/data/bundled/german.parquet",
    "workbench/data/bundled/oulad.parquet",
    "workbench/data/bundled/README.md",
    "workbench/state/migrations/env.py",
    "workbench/reports/templates/certificate.html",
    "workbench/reports/templates/page.css",
    "workbench/tracking/served_model.py",
    "workbench/_app.py",
    "workbench/.streamlit/config.toml",
    "workbench/ui/pages/erasure_page.py",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    alone = [] if find_spec("hatchling") is None else ["--no-isolation"]
    build = [sys.executable, "-m", "build", "--wheel", *alone, "--outdir", str(folder), str(CLONE)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_carries_configs_and_data_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert set(CARRIED) <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"workbench", "erasure_workbench"}


@pytest.mark.slow
def test_the_wheel_runs_the_demo_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python3*/site-packages"))
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    # its requirements are those of this environment; only a line of a .pth file, so that no editable install comes along
    (site / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    where = subprocess.run(
        [python, "-c", "import workbench; print(workbench.__file__)"],
        cwd=outside,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    program = [tmp_path / "venv" / "bin" / "workbench", "demo", "--json"]
    done = subprocess.run(program, cwd=outside, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passed"] is True
    assert result["tampered"]["valid"] is False
    assert not (outside / "artifacts").exists(), "the demo takes its workspace away"
