"""What writes a data set alone: it refuses what is unfinished, and undoes nothing that is visible already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stored import placed, store_of

import workbench as wb
from workbench.erasure.request import submit
from workbench.errors import BusyError, CheckFailedError
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure import execute
from workbench.workflows.erasure.execute import carry_out_waiting, recover_interrupted
from workbench.workflows.exclusive import exclusive


@pytest.fixture
def interrupted(trained: Workspace) -> Iterator[Workspace]:
    """A workspace with an erasure that can't go on from its second step."""

    def stuck(*_: object) -> None:
        raise CheckFailedError("the disk of the models is gone")

    submit(trained, ["pupils"], placed(trained, "train")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(execute.STEPS, "dropped", ("retrained", stuck))
        with pytest.raises(CheckFailedError):
            carry_out_waiting(trained)
        yield trained


def test_a_door_that_forgets_to_recover_is_refused(interrupted: Workspace) -> None:
    workspace = Workspace.open(interrupted.root)
    with pytest.raises(BusyError, match="an erasure in pupils is not finished"), exclusive(workspace, "pupils"):
        pytest.fail("it wrote beside an unfinished erasure")
    with exclusive(workspace, "pupils", beside_erasures=True) as held:
        assert held.dataset == "pupils", "its quarantine stands, so readers may go on"


def test_after_recovery_the_fault_itself_is_told(interrupted: Workspace, pupils_files: tuple[Path, Path]) -> None:
    workspace = Workspace.open(interrupted.root)
    assert recover_interrupted(workspace).failures
    with pytest.raises(CheckFailedError, match="disk of the models"), exclusive(workspace, "pupils"):
        pytest.fail("it wrote beside an unfinished erasure")
    with pytest.raises(CheckFailedError, match="disk of the models"):
        wb.append(Workspace.open(interrupted.root), "pupils", data=pupils_files[1])


def test_the_python_functions_finish_first_what_was_interrupted(
    trained: Workspace, pupils_files: tuple[Path, Path]
) -> None:
    key = placed(trained, "train")[0]
    submit(trained, ["pupils"], key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(execute.STEPS, "dropped", ("retrained", lambda *_: (_ for _ in ()).throw(CheckFailedError("x"))))
        with pytest.raises(CheckFailedError):
            carry_out_waiting(trained)
    with pytest.raises(wb.InputError, match="already"):
        wb.ingest(trained, "pupils", schema=pupils_files[0], data=pupils_files[1])
    assert wb.erase(trained, [key]).requests[0].status == "rejected", "that person is erased by now"


def test_what_is_visible_is_not_undone(
    workspace: Workspace, pupils_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop that comes while staged files are removed comes after the data set was recorded."""
    honest = Workspace.staging

    @contextmanager
    def late(self: Workspace) -> Iterator[Path]:
        with honest(self) as folder:
            yield folder
        raise KeyboardInterrupt

    monkeypatch.setattr(Workspace, "staging", late)
    with pytest.raises(KeyboardInterrupt):
        ingest(workspace, "pupils", schema=pupils_files[0], data=pupils_files[1])
    assert store_of(workspace).count_rows() > 0
