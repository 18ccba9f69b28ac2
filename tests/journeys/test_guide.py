"""Every command of the guide works as it stands there, in the order it has, on a machine that never saw the workbench."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
_NOT_HERE = ("make ui", "export PATH", "mkdir ")  # what this test does in its own way


def commands(page: Path) -> Iterator[str]:
    """The lines of the shell: those that are indented, and those in blocks of sh."""
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = line == "```sh"
        elif fenced:
            yield line
        elif line.startswith("    ") and not line.strip().startswith(_NOT_HERE):
            yield line.strip()


@pytest.mark.slow
def test_the_guide_can_be_followed_to_the_letter(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "workbench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m workbench "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    home = tmp_path / "try"
    home.mkdir()
    script = "\n".join(["set -ex", *commands(CLONE / "docs" / "guide.md")])
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(CLONE)}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=home,
        env=os.environ | path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((home / "W" / "certificates").glob("*.json"))) == 1
    assert {"north.csv", "predictions.parquet", "report.html", "certificate.html"} <= {p.name for p in home.iterdir()}
