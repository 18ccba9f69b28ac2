"""Processes of the workbench that need not import it: each is forked from one that did nothing but import."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, reduction
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, CompletedProcess, TimeoutExpired
from types import ModuleType
from typing import IO, Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "workbench.cli",
        "workbench.api.serve",
        "workbench.workflows.evaluation.evaluate",
        "workbench.workflows.operations.jobs",
        "workbench.workflows.synthesis.synthesize",
        "workbench.workflows.training.train",
        "mlflow.pyfunc",
        "mlflow.tracking",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
    ]
)


class Popen:
    """As subprocess.Popen for `python -m workbench …` and `python -c PROGRAM …`: a real process, which can be killed."""

    def __init__(
        self,
        command: Sequence[object],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        env: Mapping[str, str] | None = None,
        cwd: object = None,
        start_new_session: bool = False,
        text: bool = False,
    ) -> None:
        python, kind, *words = map(str, command)
        assert python == sys.executable
        assert kind in ("-m", "-c")
        self.stdin, given = _ends(stdin, 0, text)
        self.stdout, out = _ends(stdout, 1, text)
        self.stderr, err = (None, out) if stderr == STDOUT else _ends(stderr, 2, text)
        state = (kind, words, dict(os.environ if env is None else env), str(cwd or Path.cwd()), start_new_session)
        self._process = _SERVER.Process(target=_become, args=(*state, _Passed(given), _Passed(out), _Passed(err)))
        with _no_main():
            self._process.start()
        for descriptor in {given, out, err}:
            os.close(descriptor)
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; below zero by which signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has."""
        self._process.join(timeout)
        if (ended := self.returncode) is None:
            raise TimeoutExpired("forked", timeout or 0)
        return ended

    def send_signal(self, number: int) -> None:
        """Sends it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """What it wrote, less than a pipe holds of errors, once it has ended."""
        if self.stdin and not self.stdin.closed:
            self.stdin.close()
        read = [stream.read() if stream and not stream.closed else None for stream in (self.stdout, self.stderr)]
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait(timeout)
        return read[0], read[1]

    def __enter__(self) -> Popen:
        return self

    def __exit__(self, *_: object) -> None:
        self.communicate()


@contextmanager
def _no_main() -> Iterator[None]:
    """Hides the program of this process, which the other one would run first: a page, where one was tested before."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _ends(asked: Any, number: int, text: bool) -> tuple[IO[Any] | None, int]:
    """What this process holds of a stream, and the descriptor that the other one gets."""
    if asked is None:
        return None, os.dup(number)
    if asked == DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    if asked != PIPE:
        return None, os.dup(asked.fileno())
    there, here = os.pipe() if number == 0 else os.pipe()[::-1]
    mode = ("r" if number else "w") + ("" if text else "b")
    return open(here, mode, buffering=1 if text else -1), there  # noqa: PTH123


def cpu_seconds() -> float:
    """CPU seconds of all these processes that have ended, and of the one that they were forked from."""
    try:  # by the system's own calls: a test may have replaced those of Python
        descriptor = os.open(f"/proc/{forkserver._forkserver._forkserver_pid}/stat", os.O_RDONLY)
    except OSError:  # none was started yet
        return 0.0
    stat = os.read(descriptor, 4096)
    os.close(descriptor)
    return sum(map(int, stat.rpartition(b")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


def run(command: Sequence[object], **more: Any) -> CompletedProcess[Any]:
    """As subprocess.run, of such a command; what it writes is returned where the streams are pipes."""
    process = Popen(command, **more)
    out, err = process.communicate()
    return CompletedProcess([str(word) for word in command], process.wait(), out, err)


class _Passed:
    """A descriptor that goes to the other process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _taken, (reduction.DupFd(self._descriptor),)


def _taken(passed: Any) -> int:
    return int(passed.detach())


def _become(kind: str, words: list[str], environment: dict[str, str], folder: str, alone: bool, *streams: int) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in set(streams):
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    if alone:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    first, *sys.argv[1:] = words
    sys.argv[0] = first if kind == "-m" else "-c"
    if kind == "-m":
        runpy.run_module(first, run_name="__main__", alter_sys=True)
    else:
        exec(compile(first, "<string>", "exec"), {"__name__": "__main__"})
