"""Real faults in a real erasure: a process forked from this warm one is killed, or its system calls made to fail.

`strace` (apt-get update && apt-get install -y strace) counts the calls of an undisturbed erasure and then kills, or fails,
at any one of them. Where it is missing, a crash hook in the child kills it at a rename, unlink, fsync, file opened for
writing, database opened or journal entry: coarser, but everywhere.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import select, text

from workbench import journal
from workbench.data import catalog
from workbench.data.identity import Identities, identify
from workbench.erasure.request import OPEN, waiting
from workbench.scan import scan_folder
from workbench.state.tables import journal as entries
from workbench.state.tables import metadata, requests
from workbench.tracking import Tracking
from workbench.tracking.log import experiment_id
from workbench.workflows.doctor import doctor
from workbench.workflows.erase import erase
from workbench.workflows.execute import carry_out_waiting
from workbench.workflows.publish import current_versions, read_manifest
from workbench.workflows.verify import verify
from workbench.workspace import Workspace

STRACE = shutil.which("strace")
# Every call by which an erasure changes a file; each is swept alone, because strace counts each alone.
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink", "unlinkat", "rmdir", "mkdir")
LOG = os.environ.get("WORKBENCH_FAULTS_LOG")
_MEMORY = Path("/dev/shm")
_TIMEOUT = 120.0
_PR_SET_PTRACER = 0x59616D61
_HOOKED = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "sqlite3.connect"}

Work = Callable[[Workspace], Any]


@dataclass(frozen=True)
class Fault:
    """SIGKILL, or an error, at the `when`-th of these calls; `onward`: at every later one too. `hook` is the crash hook."""

    call: str
    when: int
    error: str | None = None
    onward: bool = False

    @property
    def inject(self) -> str:
        what = f"error={self.error}" if self.error else "signal=SIGKILL"
        return f"{self.call}:{what}:when={self.when}{'+' if self.onward else ''}"


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


@dataclass
class Lab:
    """A workspace at one path in memory, put back to how it was before every try; `keys` are who is erased."""

    folder: Path
    keys: tuple[str, ...]
    initial: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "workspace"

    @classmethod
    @contextmanager
    def opened(cls, source: Path) -> Iterator[Lab]:
        """A lab with a copy of a trained workspace, which knows how an undisturbed erasure leaves it."""
        with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            lab = cls(Path(folder).resolve(), placed(Workspace(source), "train")[:1])
            shutil.copytree(source, lab.root)
            tracking = Tracking(lab.root)
            with tracking.session() as client:  # warms MLflow, and moves its paths here
                experiment_id(tracking, client, "pupils")
            shutil.copytree(lab.root, lab.folder / "base")
            lab.initial = lab.look()
            warm = lab.folder / "warm"  # whatever an erasure imports is imported here, once
            shutil.copytree(lab.root, warm)
            lab.erase(Workspace(warm))
            answer = lab.run(lab.erase)
            assert answer.error is None, answer.error
            lab.expected = lab.look()
            yield lab

    def reset(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.folder / "base", self.root)

    def run(
        self, work: Work, fault: Fault | None = None, *, at: str | None = None, trace: Path | None = None
    ) -> Outcome:
        """Does `work` in a forked child with the fault, which is armed where the function `at` is first entered."""
        return self.start(work, fault, at=at, trace=trace).wait()

    def start(
        self, work: Work, fault: Fault | None = None, *, at: str | None = None, trace: Path | None = None
    ) -> Child:
        ours, theirs = socket.socketpair()
        traced = trace is not None or (fault is not None and fault.call != "hook")
        pid = os.fork()
        if pid == 0:
            ours.close()
            _in_child(theirs, self.root, work, fault, at, traced)
        theirs.close()
        child = Child(pid, ours)
        if traced:
            child.tracer = _attach(child, fault, trace)
        return child

    def points(self) -> list[Fault]:
        """A kill at every call of the undisturbed erasure, and at every point of the crash hook."""
        self.reset()
        counts = {"hook": int(self.run(lambda workspace: _counting(self.erase, workspace)).answer)}
        if STRACE:
            self.reset()
            trace = self.folder / "trace"
            assert self.run(self.erase, trace=trace).error is None
            found = Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))
            counts |= {call: found[call] for call in CALLS if found[call]}
        return [Fault(call, when) for call, count in counts.items() for when in range(1, count + 1)]

    def look(self, keys: Sequence[str] = ()) -> dict[str, Any]:
        """What the workspace holds, looked at from a fresh process: digests, certificates, strays, rows per table."""
        outcome = self.run(lambda workspace: _look(workspace, keys or self.keys))
        assert outcome.error is None, outcome.error
        return dict(outcome.answer)

    def survive(self, *faults: Fault, at: str | None = None) -> Outcome:
        """One try: the erasure with the first fault, a resume with each further one, a resume with none; then judges.

        Returns how the first ended; raises AssertionError where anything is not as it must be.
        """
        self.reset()
        first: Outcome | None = None
        for fault in faults:
            outcome = self.run(
                self.erase if first is None else carry_out_waiting, fault, at=at if first is None else None
            )
            first = first or outcome
            if fault.error and outcome.error:
                assert outcome.clear, f"not a clear fault: {outcome.error}"
        assert first is not None
        outcome = self.run(lambda workspace: _resume(workspace, self.keys))
        assert outcome.error is None, f"after {faults}: {outcome.error}"
        between, after = outcome.answer
        assert between["false"] == [], "a certificate of an erasure that is not over"
        assert between["unprotected"] == [], "an open request without its quarantine"
        if between["requests"]:
            self.judge(after)
        else:
            assert after == self.initial, f"nothing was accepted, yet: {_difference(self.initial, after)}"
        _note(faults, first)
        return first

    def erase(self, workspace: Workspace) -> Any:
        """The erasure that is disturbed."""
        return erase(workspace, list(self.keys))

    def sweep(self, faults: Sequence[Fault]) -> None:
        """Survives each fault alone; raises AssertionError with every one that was not."""
        fell = []
        for fault in faults:
            try:
                self.survive(fault)
            except AssertionError as reason:
                fell.append(f"{fault.inject}: {reason}")
        assert not fell, f"{len(fell)} of {len(faults)}: " + " | ".join(fell)

    def judge(self, after: dict[str, Any]) -> None:
        """The workspace must be as an undisturbed erasure leaves it."""
        assert after == self.expected, f"not as undisturbed: {_difference(self.expected, after)}"


@dataclass
class Child:
    """A forked child at work."""

    pid: int
    socket: socket.socket
    tracer: subprocess.Popen[bytes] | None = None

    def wait(self) -> Outcome:
        self.socket.settimeout(_TIMEOUT)
        received = b""
        try:
            while chunk := self.socket.recv(1 << 20):
                received += chunk
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            received = b'{"error": "it hung", "kinds": []}'
        _, status = os.waitpid(self.pid, 0)
        if self.tracer is not None:
            self.tracer.wait(_TIMEOUT)
        self.socket.close()
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            return Outcome(error=f"it died of signal {os.WTERMSIG(status)}")
        if os.WIFSIGNALED(status) and not received.strip(b"r"):
            return Outcome(killed=True)
        document = json.loads(received.lstrip(b"r"))
        return Outcome(document.get("answer"), document.get("error"), tuple(document.get("kinds", ())))


def _in_child(
    connection: socket.socket, root: Path, work: Work, fault: Fault | None, at: str | None, traced: bool
) -> None:
    """Runs the work and answers over the socket (never by a call that is swept); does not return."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)

        def arm() -> None:
            if traced:
                _await_tracer(connection)
            elif fault is not None:
                _hook(fault.when)

        workspace = Workspace(root)
        if at is None:
            arm()
        else:
            _before(at, arm)
        document = {"answer": work(workspace)}
    except BaseException as fault_:
        kinds = [kind.__name__ for kind in type(fault_).__mro__]
        document = {"error": f"{type(fault_).__name__}: {fault_}", "kinds": kinds}
    connection.sendall(json.dumps(document).encode())
    os._exit(0)


def _await_tracer(connection: socket.socket) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    connection.sendall(b"r")
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.001)


def _attach(child: Child, fault: Fault | None, trace: Path | None) -> subprocess.Popen[bytes] | None:
    child.socket.settimeout(_TIMEOUT)
    if child.socket.recv(1, socket.MSG_PEEK) != b"r":
        return None  # it ended before the fault was to be armed
    what = [f"--inject={fault.inject}", f"--trace={fault.call}"] if fault else [f"--trace={','.join(CALLS)}"]
    return subprocess.Popen(
        [str(STRACE), "-f", "-qq", *what, "-o", str(trace or os.devnull), "-p", str(child.pid)],
        stderr=subprocess.DEVNULL,
    )


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


def _resume(workspace: Workspace, keys: Sequence[str]) -> list[Any]:
    """What a restart finds, and what it leaves once everything that waits was carried out."""
    between = _halfway(workspace)
    carry_out_waiting(workspace)
    return [between, _look(workspace, keys)]


def _halfway(workspace: Workspace) -> dict[str, Any]:
    """Before the resume: requests, those certified without being over, and those open without a quarantine."""
    with workspace.engine.connect() as connection:
        status = dict(connection.execute(select(requests.c.id, requests.c.status)).all())
        kinds = select(entries.c.body).where(entries.c.kind == "CERTIFIED")
        certified = {body["request"] for body in connection.execute(kinds).scalars()}
        held = set(connection.execute(text("SELECT request FROM quarantine")).scalars())
        versions = {artifact.body["version"] for artifact in current_versions(connection).values()}
    done = {request for request, state in status.items() if state == "completed"}
    false = sorted(certified ^ done)
    for path in (workspace.root / "certificates").glob("*.json"):
        if verify(workspace, path)["valid"] != (path.stem in done):
            false.append(path.stem)
    unprotected = [r for r, state in status.items() if state in OPEN and versions == {1} and r not in held]
    return {"requests": sorted(status), "false": false, "unprotected": unprotected}


def _look(workspace: Workspace, keys: Sequence[str]) -> dict[str, Any]:
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
        "certificates": [c["valid"] for c in certificates],
        "rows": rows,
        "charges": charges,
        "mlflow": {name: n for name, n in mlflow.items() if n},
        "files": dict(sorted(files.items())),
        "doctor": [c for c in report["checks"] if not c["ok"]],
    }


def _kind(path: Path) -> str:
    """A file's place without what is random in its name; SQLite's side files come and go."""
    if path.name.endswith(("-wal", "-shm")):
        return path.name.partition("-")[0]
    if path.name.startswith(".part-"):
        return "unfinished files"
    return "/".join([*path.parts[:1], *(("*",) if len(path.parts) > 1 else ()), path.suffix])


def placed(workspace: Workspace, split: str) -> tuple[str, ...]:
    """Keys of pupils whose rows lie in a split."""
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, "pupils")
    keys = [f"pupil-{number}" for number in range(1000, 1400)]
    ids = _identities(workspace, keys)
    found = zip(keys, ids.tokens, ids.points, strict=True)
    return tuple(key for key, token, point in found if split in store.splits_of(token, int(point)))


def _identities(workspace: Workspace, keys: Sequence[str]) -> Identities:
    token, placement = workspace.key("token"), workspace.key("placement")
    return identify(list(keys), identity_type="pupil-number", token_key=token, placement_key=placement)


def _note(faults: Sequence[Fault], first: Outcome) -> None:
    """A line per survived try, for the count that `make faults` prints."""
    if LOG:
        hit = first.killed or first.error is not None
        what = "two kills" if len(faults) > 1 else f"{faults[0].error or 'kill'} at {faults[0].call}"
        with Path(LOG).open("a") as log:
            log.write(json.dumps({"fault": what, "hit": hit}) + "\n")


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    return "; ".join(
        f"{name}: {expected.get(name)} became {found.get(name)}" for name in found if found[name] != expected.get(name)
    )


def tally(log: Path) -> None:
    """Prints points tried and survived; a try that fell raised before its line was written, so pytest tells of it."""
    tries = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    counts = Counter((line["fault"], line["hit"]) for line in tries)
    for fault in sorted({fault for fault, _ in counts}):
        print(f"{fault:24} {counts[fault, True]:5} struck, {counts[fault, False]:5} went unnoticed, all survived")
    print(f"{len(tries)} points survived")


if __name__ == "__main__":
    tally(Path(sys.argv[1]))
