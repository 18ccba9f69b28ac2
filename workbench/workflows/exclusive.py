"""Writing a data set alone: its lock, what must not be unfinished in it, and one moment at which everything becomes visible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, select

from workbench.erasure import saga
from workbench.erasure.request import refuse_open_request
from workbench.errors import BusyError
from workbench.state import writing
from workbench.state.roles import internal
from workbench.state.tables import appends
from workbench.state.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Exclusive:
    """A data set that this process alone writes; see `exclusive`."""

    workspace: Workspace
    dataset: str
    refused: str | None
    undo: ExitStack

    def on_failure(self, work: Callable[[], object]) -> None:
        """Do this where what follows fails, newest first: it removes what is not recorded yet."""
        self.undo.callback(work)

    def judge(self, connection: Connection) -> None:
        """Raise BusyError where a subject of the data set has asked to be erased since."""
        if self.refused is not None:
            refuse_open_request(connection, self.dataset, self.refused)

    @contextmanager
    def publishing(self) -> Iterator[Connection]:
        """Open the transaction that makes the work visible, once no open request is in the way; then nothing is undone."""
        with writing(self.workspace.engine) as connection:
            self.judge(connection)
            yield connection
        self.undo.pop_all()  # it is visible


@internal
@contextmanager
def exclusive(
    workspace: Workspace, dataset: str, *, refused: str | None = None, beside_erasures: bool = False
) -> Iterator[Exclusive]:
    """Hold the lock of a data set, and undo the work that its writer named where it fails.

    `refused` says what is not done while a subject of the data set waits for an erasure; None where that is no obstacle.
    `beside_erasures`: also where an interrupted erasure could not be finished, as readers may, for its quarantine stands.

    Raises LockedError where another process writes the data set, BusyError (or the fault that recovery met) where an append
    or an erasure of it is not finished, BusyError where a request is open and `refused` is given.
    """
    with workspace.lock(dataset), ExitStack() as undo:
        with workspace.engine.connect() as connection:
            _refuse_unfinished(workspace, connection, dataset, beside_erasures=beside_erasures)
        held = Exclusive(workspace=workspace, dataset=dataset, refused=refused, undo=undo)
        with workspace.engine.connect() as connection:
            held.judge(connection)
        yield held
        undo.pop_all()


def _refuse_unfinished(workspace: Workspace, connection: Connection, dataset: str, *, beside_erasures: bool) -> None:
    """Raise why recovery could not finish an append or an erasure of the data set, where one is unfinished."""
    append = connection.execute(select(appends.c.dataset).where(appends.c.dataset == dataset)).one_or_none()
    erasures = () if beside_erasures else saga.in_the_way(connection)
    if append is None and not any(dataset in erasure.datasets for erasure in erasures):
        return
    what = "an erasure" if append is None else "an append"
    unfinished = BusyError(f"{what} in {dataset} is not finished", hint="workbench resume")
    raise workspace.hindrances.get(dataset, unfinished)
