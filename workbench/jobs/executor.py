"""Where parts of long work run: one after another in this process, or in processes of their own."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from workbench.errors import InputError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.5


class Executor(Protocol):
    """What runs `work` on each item, all or some of them at once.

    `work` is a function that can be named by a module, and items and outcomes can be sent to another process. Work must not
    depend on what other items are worked on: outcomes of one item come in order, those of different items in any.
    """

    def run(
        self, work: Callable[[Item], Iterable[Outcome]], items: Sequence[Item], *, watch: Callable[[], None]
    ) -> Iterator[Outcome]:
        """Yields the outcomes; calls `watch` while it waits, which raises to stop the work."""

    def at_once(self, items: int) -> int:
        """How many of so many items are worked on at the same time; they are begun in their order."""


@dataclass(frozen=True)
class Local:
    """This machine. With one process, or one item, all happens in the caller's process."""

    processes: int

    def run(
        self, work: Callable[[Item], Iterable[Outcome]], items: Sequence[Item], *, watch: Callable[[], None]
    ) -> Iterator[Outcome]:
        """Yields the outcomes; see `Executor`. Raises InputError where a process was killed, as for want of memory."""
        processes = self.at_once(len(items))
        if processes <= 1:
            for item in items:
                yield from work(item)
            return
        # Not forked: threads of the caller would leave their locks closed in the child. Not multiprocessing's spawn: it runs
        # the caller's script once more in each process, from its top.
        from joblib.externals.loky import ProcessPoolExecutor

        pool = ProcessPoolExecutor(processes, initializer=_end_with_parent, initargs=(os.getpid(),))
        try:
            waiting = {pool.submit(_all, work, item) for item in items}
            while waiting:
                done, waiting = wait(waiting, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                watch()
                for future in done:
                    yield from future.result()
        except BrokenProcessPool:
            raise InputError(
                "a process that trained was killed, perhaps for want of memory", hint="WORKBENCH_PROCESSES=1"
            ) from None
        finally:
            pool.shutdown(kill_workers=True)

    def at_once(self, items: int) -> int:
        """As many as there are processes; see `Executor`."""
        return min(self.processes, items)


def local(*, worthwhile: bool, bytes_each: int) -> Local:
    """As many processes as there are cores and as fit in half of the free memory, one where more aren't `worthwhile`.

    The environment variable WORKBENCH_PROCESSES overrules all that.
    """
    asked = os.environ.get("WORKBENCH_PROCESSES", "")
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise InputError(f"WORKBENCH_PROCESSES must be a whole number of processes, found {asked!r}")
        return Local(int(asked))
    most = min(len(os.sched_getaffinity(0)), _free_bytes() // 2 // max(1, bytes_each)) if worthwhile else 1
    return Local(max(1, most))


def _free_bytes() -> int:
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    return int(meminfo.split("MemAvailable:")[1].split()[0]) * 1024


def _all(work: Callable[[Item], Iterable[Outcome]], item: Item) -> list[Outcome]:
    return list(work(item))


def _end_with_parent(parent: int) -> None:
    """Has the kernel end this process when its parent dies: a killed training leaves none behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)
