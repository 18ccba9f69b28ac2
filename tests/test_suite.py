"""Where WORKBENCH_CI=1 says that a machine has all that tests need, no test is left out silently."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import suite

FOLDER = Path(__file__).parent
LACKING = """
import pytest

@pytest.mark.skipif(True, reason="there is no chromium on this machine")
def test_marked():
    pass

@pytest.fixture
def server():
    pytest.skip("PostgreSQL is missing")

def test_of_a_fixture(server):
    pass

@pytest.mark.xfail(reason="known")
def test_known_fault():
    raise AssertionError

def test_whole():
    pass
"""


@pytest.mark.parametrize(
    ("ci", "counts"), [("1", "1 passed, 1 xfailed, 3 errors"), ("", "1 passed, 3 skipped, 1 xfailed")]
)
def test_a_skip_is_a_failure_where_the_machine_was_set_up(tmp_path: Path, ci: str, counts: str) -> None:
    (tmp_path / "test_lacking.py").write_text(LACKING)
    (tmp_path / "test_whole_file.py").write_text("import pytest\npytest.importorskip('no_such_library')\n")
    options = ["-p", "suite", "-p", "no:cacheprovider", "-c", os.devnull, "--continue-on-collection-errors"]
    command = [sys.executable, "-m", "pytest", "-q", *options, str(tmp_path)]
    plain = os.environ | {"PYTHONPATH": str(FOLDER), suite.CI: ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    said = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False).stdout
    assert counts in said
    for lacking in (
        "there is no chromium on this machine",
        "PostgreSQL is missing",
        "No module named 'no_such_library'",
    ):
        assert bool(re.search(rf"{lacking}.*WORKBENCH_CI=1", said)) == bool(ci), said


def test_the_command_of_ci_sets_it() -> None:
    script = (FOLDER.parent / ".ci" / "run").read_text()
    assert re.search(rf"^export {suite.CI}=1$", script, re.MULTILINE)
