"""Breaks what each row of the threat model promises, one at a time, and runs the tests that the row names: one must fail.

`T07-a-name-may-climb.patch` is of row T7; `python tests/mutants/run.py T07 T13` tries these rows alone. A patch that no longer
applies, and a row without one, count as failures. Tests run in a copy of the tree, over one workspace that the unbroken tree
has made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COPIED = ("workbench", "tests", "configs", "docs", "benchmarks", "app.py", ".streamlit", "pyproject.toml", "README.md",
          "CHANGELOG.md", "constraints.txt", "Makefile")  # fmt: skip
AT_ONCE = 2
FAILED = 1  # pytest's exit code where tests failed; others say that they could not run


def named_tests() -> dict[str, list[str]]:
    """Return the tests that each row of the threat model names, by the row as `T07`."""
    rows = re.findall(r"^\| T(\d+) .*$", text := (ROOT / "docs" / "threat-model.md").read_text(), re.MULTILINE)
    lines = [line for line in text.splitlines() if re.match(r"\| T\d+ ", line)]
    return {
        f"T{int(row):02}": list(dict.fromkeys(re.findall(r"`(tests/[\w/]+\.py::\w+)`", line)))
        for row, line in zip(rows, lines, strict=True)
    }


def copy(tree: Path, folder: Path, *ignored: str) -> None:
    """Copy a tree; what was compiled of it is good for the copy, too, but for the files that a patch changes."""
    for name in COPIED:
        source = tree / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(*ignored))
        elif source.exists():
            shutil.copy2(source, folder / name)


def run(folder: Path, shared: Path, tests: Sequence[str], *options: str) -> tuple[int, str]:
    """Run tests in a copy; return pytest's exit code and its output."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(folder), "WORKBENCH_TEST_SHARED": str(shared)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", "--tb=no", *options, *tests]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def tried(patch: Path, tests: Sequence[str], sound: Path, shared: Path) -> str:
    """Return how a patch of the sound tree ended: which test noticed it, or what is wrong."""
    if not tests:
        return "NO SUCH ROW"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(sound, folder)
        command = ["patch", "-p1", "--forward", "--silent", "-i", str(patch)]
        if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
            return "DOES NOT APPLY"
        code, output = run(folder, shared, tests, "-n", "0", "-x")
        if code == FAILED and (failed := re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE)):
            return f"noticed by {failed[1]}"
        if code < 0:
            return f"noticed by a crash of the tests: signal {-code}"
        return "NOT NOTICED" if code == 0 else f"TESTS CAN'T RUN: pytest ended with {code}"


def main(chosen: Sequence[str]) -> int:
    """Try every patch, or those of the rows chosen; return how many tries failed."""
    rows = named_tests()
    patches = [p for p in sorted(HERE.glob("T*.patch")) if not chosen or p.name[:3] in chosen]
    missing = sorted(set(chosen or rows) - {patch.name[:3] for patch in patches})
    concerned = [test for row in {patch.name[:3] for patch in patches} for test in rows.get(row, [])]
    began = monotonic()
    with tempfile.TemporaryDirectory() as name:
        shared, sound = Path(name) / "shared", Path(name) / "sound"
        shared.mkdir()
        sound.mkdir()
        copy(ROOT, sound, "__pycache__")
        code, output = run(sound, shared, sorted(set(concerned)), "-n", str(AT_ONCE), "--dist", "worksteal")
        if code:
            print(output, "\nwithout any patch these must pass", sep="")
            return 1
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ends = pool.map(lambda patch: tried(patch, rows.get(patch.name[:3], []), sound, shared), patches)
            table = []
            for patch, end in zip(patches, ends, strict=True):
                table.append(end)
                print(f"{patch.stem:44} {end}", flush=True)
    for row in missing:
        print(f"{row:44} NO PATCH")
    bad = sum(not end.startswith("noticed") for end in table) + len(missing)
    print(f"{len(table)} mutants, {len(table) + len(missing) - bad} noticed, {bad} not, {monotonic() - began:.0f} s")
    return bad


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
