"""What the byte scan says of what it finds: where to look, and nobody's name."""

from __future__ import annotations

import pytest

from workbench.erasure.verify import check_bytes
from workbench.workspace import Workspace

KEY = b"pupil-123456"


@pytest.mark.parametrize(
    ("place", "told"), [("logs/copy.txt", ", first below logs"), ("copy.txt", ", first below copy.txt")]
)
def test_it_says_where_to_look(workspace: Workspace, place: str, told: str) -> None:
    (workspace.root / place).parent.mkdir(exist_ok=True)
    (workspace.root / place).write_bytes(b"... " + KEY)
    check = check_bytes(workspace, [KEY])
    assert not check.ok
    assert check.detail.startswith("1 hits in ")
    assert check.detail.endswith(told)


@pytest.mark.parametrize("place", ["pupil-123456.csv", "pupil-123456/rows.csv", "logs/pupil-123456.csv"])
def test_it_names_no_file_that_is_called_after_the_person(workspace: Workspace, place: str) -> None:
    (workspace.root / place).parent.mkdir(exist_ok=True)
    (workspace.root / place).write_bytes(b"nothing")
    check = check_bytes(workspace, [KEY])
    assert not check.ok
    assert KEY.decode() not in check.detail
