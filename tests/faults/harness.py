"""Real faults in real work: a process forked from this warm one is killed, or its system calls made to fail.

Where the calls of a process can't be stopped (see `calls`), a crash hook in the child kills it at a rename, unlink, fsync,
file opened for writing, database opened or journal entry: coarser, but everywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from select import POLLIN, poll
from typing import Any

from calls import CALLS, Fault, answer, available, distinct, watch
from shared import copy_of
from sqlalchemy import select, text
from stored import placed

from workbench.bytescan.folders import scan_folder
from workbench.data import catalog
from workbench.data.identity import Identities, identify
from workbench.erasure.request import OPEN, waiting
from workbench.errors import WorkbenchError
from workbench.state import journal
from workbench.state.tables import journal as entries
from workbench.state.tables import metadata, requests
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.tracking.mlflow_store import _client
from workbench.tracking.runs import experiment_id
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training.publish_version import current_versions, read_manifest

STOPPABLE = available()
LOG = os.environ.get("WORKBENCH_FAULTS_LOG")
_MEMORY = Path("/dev/shm")
_TIMEOUT = 120.0
_HOOKED = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "sqlite3.connect"}

Work = Callable[[Workspace], Any]


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its answer, its exception as `Type: text`, or killed."""

    answer: Any = None
    error: str | None = None
    kinds: tuple[str, ...] = ()
    killed: bool = False

    @property
    def clear(self) -> bool:
        """Whether the exception is one that tells people what is wrong."""
        return bool({"WorkbenchError", "OSError"} & set(self.kinds))


@dataclass(frozen=True)
class Deed:
    """What is disturbed, what the next start does, and whether, looked at between the two, it has to be carried through.

    `begun` asserts that nothing that is told at that moment is false.
    """

    work: Work
    resume: Work
    begun: Callable[[Workspace], bool]
    beside: Callable[[Path, Sequence[str]], None] | None = None
    """Puts into the folder beside the workspace what concerns these keys, before every try."""


@dataclass
class Lab:
    """A workspace at one path in memory, put back to how it was before every try; `keys` are who is looked for in it."""

    folder: Path
    keys: tuple[str, ...]
    deed: Deed
    initial: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "workspace"

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace as children are given it: its engine keeps no connection, only compiled statements."""
        return Workspace(self.root)

    @classmethod
    @contextmanager
    def opened(
        cls, source: Path, deed: Deed | None = None, *, keys: Sequence[str] = (), prepare: Work | None = None
    ) -> Iterator[Lab]:
        """A lab with a copy of a trained workspace, which knows how the undisturbed deed leaves it; an erasure if none given.

        `prepare` puts beside or into the workspace what the deed needs, once.
        """
        with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            keys = tuple(keys) or placed(Workspace(source), "train")[:1]
            lab = cls(Path(folder).resolve(), tuple(keys), deed or erasure_of(keys))
            copy_of(source, lab.root)
            tracking = Tracking(lab.root)
            with tracking.session() as client:  # warms MLflow, and moves its paths here
                experiment_id(tracking, client, "pupils")
            if prepare is not None:
                prepare(Workspace(lab.root))
            (lab.folder / "base").mkdir()
            if lab.root.exists():
                shutil.copytree(lab.root, lab.folder / "base", dirs_exist_ok=True)
            lab.reset()
            lab.initial = lab.look()
            lab.warm_up()
            lab.reset()
            done = lab.run(lab.deed.work)
            assert done.error is None, done.error
            lab.expected = lab.look()
            yield lab

    def warm_up(self) -> None:
        """Does the deed here once, so that children find imported and compiled whatever it takes."""
        self.deed.work(self.workspace)
        _look(self.workspace, self.keys)
        client = _client(Tracking(self.root).uri)
        for store in (client._tracking_client.store, client._get_registry_client().store):
            store.engine.dispose()  # its connections are to a file that is about to be replaced

    def reset(self) -> None:
        for path in self.folder.iterdir():
            if path.name.startswith(".") or path == self.root:
                shutil.rmtree(path, ignore_errors=True)
        if any((self.folder / "base").iterdir()):
            shutil.copytree(self.folder / "base", self.root)
        if self.deed.beside is not None:
            self.deed.beside(self.folder, self.keys)

    def run(self, work: Work, fault: Fault | None = None, *, at: str | None = None) -> Outcome:
        """Does `work` in a forked child with the fault, which is armed where the function `at` is first entered."""
        return self.start(work, fault, at=at).wait()

    def start(
        self, work: Work, fault: Fault | None = None, *, at: str | None = None, watched: Sequence[str] = ()
    ) -> Child:
        """A child at work; calls that are `watched` it only counts."""
        ours, theirs = socket.socketpair()
        if fault is not None and fault.call != "hook":
            watched = (fault.call,)
        pid = os.fork()
        if pid == 0:
            ours.close()
            _in_child(theirs, self.workspace, work, fault, at, watched)
        theirs.close()
        return Child(pid, ours, fault)

    def points(self) -> list[Fault]:
        """A kill at every distinct call of the undisturbed deed, or at every point of the crash hook where calls can't be
        stopped."""
        self.reset()
        if not STOPPABLE:
            count = int(self.run(lambda workspace: _counting(self.deed.work, workspace)).answer)
            return [Fault("hook", when) for when in range(1, count + 1)]
        child = self.start(self.deed.work, watched=CALLS)
        assert child.wait().error is None
        return [Fault(call, when) for call in CALLS for when in distinct(child.made, call)]

    def look(self, keys: Sequence[str] = ()) -> dict[str, Any]:
        """What the workspace holds, looked at from a fresh process: digests, certificates, strays, rows per table."""
        outcome = self.run(lambda workspace: _look(workspace, keys or self.keys))
        assert outcome.error is None, outcome.error
        return dict(outcome.answer)

    def survive(self, *faults: Fault, at: str | None = None) -> Outcome:
        """One try: the deed with the first fault, a resume with each further one, a resume with none; then judges.

        Returns how the first ended; raises AssertionError where anything is not as it must be.
        """
        self.reset()
        first: Outcome | None = None
        for fault in faults:
            work = self.deed.work if first is None else self.deed.resume
            outcome = self.run(work, fault, at=at if first is None else None)
            first = first or outcome
            if fault.error and outcome.error:
                assert outcome.clear, f"not a clear fault: {outcome.error}"
        assert first is not None
        outcome = self.run(lambda workspace: _resume(self.deed, workspace, self.keys))
        assert outcome.error is None, f"after {faults}: {outcome.error}"
        begun, after = outcome.answer
        if begun:
            self.judge(after)
        else:
            assert first.killed or first.error is not None, "it ended well, yet was never begun"
            assert after == self.initial, f"it was not begun, yet: {_difference(self.initial, after)}"
        return first

    def erase(self, workspace: Workspace) -> Any:
        """The erasure of the keys."""
        return erased(workspace, self.keys)

    def sweep(self, what: str, tries: Iterable[tuple[Fault, ...]], *, at: str | None = None) -> None:
        """Survives each try, but for those that the log of an interrupted sweep holds; raises with every one that fell."""
        fell, over = [], _survived()
        for faults in tries:
            name = " then ".join(fault.name for fault in faults) + (f" after {at}" if at else "")
            if (what, name) in over:
                continue
            try:
                first = self.survive(*faults, at=at)
            except AssertionError as reason:
                fell.append(f"{name}: {reason}")
                _note(what, name, faults, survived=False, hit=True)
            else:
                _note(what, name, faults, survived=True, hit=first.killed or first.error is not None)
        assert not fell, f"{len(fell)}: " + " | ".join(fell)

    def judge(self, after: dict[str, Any]) -> None:
        """The workspace must be as the undisturbed deed leaves it."""
        assert after == self.expected, f"not as undisturbed: {_difference(self.expected, after)}"


@dataclass
class Child:
    """A forked child at work."""

    pid: int
    socket: socket.socket
    fault: Fault | None = None
    made: list[tuple[str, str]] = field(default_factory=list)

    def wait(self) -> Outcome:
        """How it ends; one that takes longer than it may is killed."""
        received, deadline, listeners = b"", time.monotonic() + _TIMEOUT, list[int]()
        calling = poll()
        calling.register(self.socket, POLLIN)
        while True:
            ready = calling.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                os.kill(self.pid, signal.SIGKILL)
                received = b'{"error": "it hung", "kinds": []}'
                break
            for descriptor, event in ready:
                if descriptor in listeners and event & POLLIN:
                    answer(descriptor, self.pid, self.fault, self.made)
                elif descriptor in listeners:  # nobody is left who could call
                    calling.unregister(descriptor)
            if any(descriptor == self.socket.fileno() for descriptor, _ in ready):
                chunk, found, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
                for descriptor in found:
                    listeners.append(descriptor)
                    calling.register(descriptor, POLLIN)
                if not chunk:
                    break
                received += chunk
        for descriptor in listeners:
            os.close(descriptor)
        _, status = os.waitpid(self.pid, 0)
        self.socket.close()
        return _outcome(received.lstrip(b"r"), status)


def _outcome(received: bytes, status: int) -> Outcome:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return Outcome(error=f"it died of signal {os.WTERMSIG(status)}")
    if os.WIFSIGNALED(status) and not received:
        return Outcome(killed=True)
    document = json.loads(received)
    return Outcome(document.get("answer"), document.get("error"), tuple(document.get("kinds", ())))


def _in_child(
    connection: socket.socket,
    workspace: Workspace,
    work: Work,
    fault: Fault | None,
    at: str | None,
    watched: Sequence[str],
) -> None:
    """Runs the work and answers over the socket (never by a call that is swept); does not return."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)

        def arm() -> None:
            if watched:
                watch(watched, connection)
            elif fault is not None:
                _hook(fault.when)

        if at is None:
            arm()
        else:
            _before(at, arm)
        document = {"answer": work(workspace)}
    except BaseException as fault_:
        kinds = [kind.__name__ for kind in type(fault_).__mro__]
        document = {"error": f"{type(fault_).__name__}: {fault_}", "kinds": kinds}
    connection.sendall(json.dumps(document, default=str).encode())
    os._exit(0)


def _before(path: str, action: Callable[[], None]) -> None:
    """Calls the action before the function at `module:name` is first entered."""
    module, name = path.split(":")
    original = getattr(import_module(module), name)

    def entered(*arguments: Any, **named: Any) -> Any:
        setattr(import_module(module), name, original)
        action()
        return original(*arguments, **named)

    setattr(import_module(module), name, entered)


_reached = 0


def _hook(when: int) -> None:
    """Kills this process at the `when`-th point that Python can see; 0 only counts. Only ever called in a child."""

    def point() -> None:
        global _reached
        _reached += 1
        if _reached == when:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _HOOKED or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 3):
            point()

    sync, append = os.fsync, journal.append

    def fsync(descriptor: int) -> None:
        point()
        sync(descriptor)

    def appended(*arguments: Any, **body: Any) -> str:
        point()
        return append(*arguments, **body)

    os.fsync, journal.append = fsync, appended
    sys.addaudithook(audit)


def _counting(work: Work, workspace: Workspace) -> int:
    _hook(0)
    work(workspace)
    return _reached


def erased(workspace: Workspace, keys: Sequence[str]) -> Any:
    """Erases; what could not be carried out is raised as it was told, and whoever was accepted must have their nonce."""
    answers = erase(workspace, list(keys)).requests
    assert all(answer.nonce for answer in answers if answer.request)
    faults = [answer.reason for answer in answers if answer.exit]
    if faults:
        raise WorkbenchError(faults[0])
    return answers


def erasure_of(keys: Sequence[str]) -> Deed:
    """The erasure of the keys, which has to be carried through once a request is accepted."""
    return Deed(work=lambda workspace: erased(workspace, keys), resume=carry_out_waiting, begun=_accepted)


def _resume(deed: Deed, workspace: Workspace, keys: Sequence[str]) -> list[Any]:
    """Whether it was begun, and what a restart leaves."""
    begun = deed.begun(workspace)
    deed.resume(workspace)
    return [begun, _look(workspace, keys)]


def _accepted(workspace: Workspace) -> bool:
    """Whether there are requests; none may be certified without being over, or be open without a quarantine."""
    with workspace.engine.connect() as connection:
        status = dict(connection.execute(select(requests.c.id, requests.c.status)).all())
        kinds = select(entries.c.body).where(entries.c.kind == "CERTIFIED")
        certified = {body["request"] for body in connection.execute(kinds).scalars()}
        held = set(connection.execute(text("SELECT request FROM quarantine")).scalars())
        versions = {artifact.body["version"] for artifact in current_versions(connection).values()}
    done = {request for request, state in status.items() if state == "completed"}
    assert certified == done, "a certificate of an erasure that is not over"
    for path in (workspace.root / "certificates").glob("*.json"):
        assert verify(workspace, path).valid == (path.stem in done), "a certificate of an erasure that is not over"
    unprotected = [r for r, state in status.items() if state in OPEN and versions == {1} and r not in held]
    assert not unprotected, "an open request without its quarantine"
    return bool(status)


def _look(workspace: Workspace, keys: Sequence[str]) -> dict[str, Any]:
    if not workspace.root.exists():
        return {"beside": sorted(path.name for path in workspace.root.parent.iterdir())}
    with workspace.engine.connect() as connection:
        manifests = [read_manifest(workspace, a) for a in current_versions(connection).values()]
        store = catalog.store(connection, workspace, "pupils")
        status = sorted(connection.execute(select(requests.c.status)).scalars())
        certified = sorted(connection.execute(select(requests.c.certificate)).scalars())
        rows = {
            t: connection.execute(text(f"SELECT count(*) FROM {t}")).scalar()
            for t in metadata.tables
            if t not in ("journal", "jobs")  # they tell how often it was tried
        }
        charges = [list(map(str, row)) for row in connection.execute(text("SELECT * FROM charges ORDER BY id"))]
        left = len(waiting(connection))
        kinds = list(connection.execute(select(entries.c.kind)).scalars())
    ids = _identities(workspace, keys)
    needles = [key.encode() for key in keys] + [form for token in ids.tokens for form in (token, token.hex().encode())]
    with Tracking(workspace.root).connection(timeout=30) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        mlflow = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    certificates = [verify(workspace, path) for path in (workspace.root / certified_ for certified_ in certified)]
    files = Counter(_kind(path.relative_to(workspace.root)) for path in workspace.root.rglob("*") if path.is_file())
    report = doctor(workspace)
    return {
        "manifests": [manifest.digest for manifest in manifests],
        "objects": sorted(path.name for path in (workspace.root / "objects").rglob("*") if path.is_file()),
        "records": {f"{split}/{bucket}": digest for (split, bucket), digest in sorted(store.digests.items())},
        "held": [bool(store.splits_of(t, int(p))) for t, p in zip(ids.tokens, ids.points, strict=True)],
        "hits": list(scan_folder(workspace.root, needles).hits) if status else [],
        "status": status,
        "waiting": left,
        "certified": kinds.count("CERTIFIED"),
        "certificates": [c.valid for c in certificates],
        "rows": rows,
        "charges": charges,
        "mlflow": {name: n for name, n in mlflow.items() if n},
        "files": dict(sorted(files.items())),
        "doctor": [c for c in report.checks if not c.ok],
        "beside": sorted(path.name for path in workspace.root.parent.iterdir()),
        "inbox": sorted(path.name for path in (workspace.root.parent / "inbox").rglob("*")),
    }


def _kind(path: Path) -> str:
    """A file's place without what is random in its name; SQLite's side files come and go."""
    if path.name.endswith(("-wal", "-shm")):
        return path.name.partition("-")[0]
    if path.name.startswith(".part-"):
        return "unfinished files"
    return "/".join([*path.parts[:1], *(("*",) if len(path.parts) > 1 else ()), path.suffix])


def _identities(workspace: Workspace, keys: Sequence[str]) -> Identities:
    token, placement = workspace.key("token"), workspace.key("placement")
    return identify(list(keys), identity_type="pupil-number", token_key=token, placement_key=placement)


def _note(what: str, name: str, faults: Sequence[Fault], *, survived: bool, hit: bool) -> None:
    """A line per try, for the table that `make faults` prints and for going on with an interrupted sweep."""
    if LOG:
        kind = "two kills" if len(faults) > 1 else f"{faults[0].error or 'kill'} at {faults[0].call}"
        line = {"what": what, "try": name, "kind": kind, "survived": survived, "hit": hit}
        with Path(LOG).open("a") as log:
            log.write(json.dumps(line) + "\n")


def _survived() -> set[tuple[str, str]]:
    return {(line["what"], line["try"]) for line in _noted(Path(LOG)) if line["survived"]} if LOG else set()


def _noted(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    return "; ".join(
        f"{name}: {expected.get(name)} became {found.get(name)}" for name in found if found[name] != expected.get(name)
    )


def tally(log: Path) -> None:
    """Prints the tries by what was disturbed and how: those that struck, those that met no such call, those that fell."""
    noted = {(line["what"], line["try"]): line for line in _noted(log)}.values()  # the last of each counts
    print(f"{'disturbed':10} {'by':24} {'struck':>7} {'unnoticed':>9} {'fell':>5}")
    for what, kind in sorted({(line["what"], line["kind"]) for line in noted}):
        mine = [line for line in noted if (line["what"], line["kind"]) == (what, kind)]
        struck, fell = sum(line["hit"] for line in mine), sum(not line["survived"] for line in mine)
        print(f"{what:10} {kind:24} {struck:7} {len(mine) - struck:9} {fell:5}")
    print(f"{len(noted)} points tried, {sum(line['survived'] for line in noted)} survived")


if __name__ == "__main__":
    tally(Path(sys.argv[1]))
