"""Stopping a process at its n-th system call of a kind, by seccomp's user notification (Linux 5.5 and later).

The child installs a filter that reports the calls that are watched and sends its listener to the parent; each such call then
waits until the parent lets it happen, answers it with an error, or kills the child. Nothing else is slowed down.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

# Every call by which work changes a file; each is swept alone.
_NUMBERS = {
    "write": 1,
    "pwrite64": 18,
    "fsync": 74,
    "fdatasync": 75,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "unlink": 87,
    "unlinkat": 263,
}
CALLS = tuple(_NUMBERS)
_ON_DESCRIPTORS = {"write", "pwrite64", "fsync", "fdatasync", "ftruncate"}
_NAMES = {number: name for name, number in _NUMBERS.items()}

_SECCOMP, _SET_FILTER, _GET_SIZES, _LISTENER = 317, 1, 3, 1 << 3  # seccomp(2)
_NO_NEW_PRIVILEGES = 38  # prctl(2)
_ALLOW, _NOTIFY, _CONTINUE = 0x7FFF0000, 0x7FC00000, 1
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06  # classic BPF
_FIRST_ARGUMENT = 32  # where a notification holds it
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101  # ioctl(2) of the listener
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Fault:
    """SIGKILL, or an error, at the `when`-th of these calls; `onward`: at every later one too. `hook` is the crash hook."""

    call: str
    when: int
    error: str | None = None
    onward: bool = False

    @property
    def name(self) -> str:
        """What it is called in the log of a sweep."""
        return f"{self.error or 'kill'} at {self.call} {self.when}{'+' if self.onward else ''}"

    def strikes(self, call: str, number: int) -> bool:
        """Whether the `number`-th of these calls is concerned."""
        return call == self.call and (number == self.when or (self.onward and number > self.when))


def _concerned(pid: int, call: str, descriptor: int) -> str:
    """Return the path of the file that a call changes; nothing where it names a path, as each is of a kind of its own."""
    if call not in _ON_DESCRIPTORS:
        return ""
    try:
        return str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
    except OSError:
        return ""


def distinct(made: Sequence[tuple[str, str]], call: str) -> list[int]:
    """Return which of the calls of a kind, counted from 1, differ in what a fault at them leaves.

    Calls of one kind on one file with nothing between them are a run. Inside a run a fault only leaves more or less of what
    that file shows after its last call, as frames of one transaction in a log: of each run the first two and the last count.
    """
    chosen, number = [], 0
    runs = [list(run) for _, run in groupby(made)]
    for run in runs:
        if run[0][0] == call:
            whole = range(number + 1, number + len(run) + 1)
            chosen += sorted({*whole[:2], whole[-1]} if run[0][1] else whole)
            number += len(run)
    return chosen


def available() -> bool:
    """Whether this machine can do it."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    return _libc.syscall(_SECCOMP, _GET_SIZES, 0, ctypes.create_string_buffer(6)) == 0


def watch(calls: Collection[str], connection: socket.socket) -> None:
    """From here on the calls wait for whoever is at the other end of the connection; in the child."""
    numbers = [_NUMBERS[call] for call in calls]
    program = struct.pack("HBBI", _LOAD, 0, 0, 0)  # the call's number
    for place, number in enumerate(numbers):
        program += struct.pack("HBBI", _JUMP_EQUAL, len(numbers) - place, 0, number)
    program += struct.pack("HBBI", _RETURN, 0, 0, _ALLOW) + struct.pack("HBBI", _RETURN, 0, 0, _NOTIFY)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(numbers) + 3, ctypes.addressof(code))
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = _libc.syscall(_SECCOMP, _SET_FILTER, _LISTENER, ctypes.create_string_buffer(header, len(header)))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp refused the filter")
    socket.send_fds(connection, [b"r"], [listener])
    os.close(listener)


def answer(listener: int, pid: int, fault: Fault | None, made: list[tuple[str, str]]) -> None:
    """Let one call that waits happen, or do the fault to it, in the parent; `made` gets the call and what it concerns."""
    message = bytearray(80)
    try:
        fcntl.ioctl(listener, _RECEIVE, message)
    except OSError as gone:
        if gone.errno not in (errno.ENOENT, errno.EINTR):  # the caller died meanwhile
            raise
        return
    identifier, caller, _, number = struct.unpack_from("QIIi", message)
    call = _NAMES[number]
    made.append((call, _concerned(caller, call, *struct.unpack_from("Q", message, _FIRST_ARGUMENT))))
    struck = fault is not None and fault.strikes(call, len(made))
    if struck and fault is not None and fault.error and made[-1][1].startswith("pipe:"):
        struck = False  # no disk stands behind a pipe
    if struck and fault is not None and fault.error is None:
        os.kill(pid, signal.SIGKILL)
        return
    code = -getattr(errno, fault.error) if struck and fault is not None and fault.error else 0
    try:
        fcntl.ioctl(listener, _ANSWER, struct.pack("QqiI", identifier, 0, code, 0 if struck else _CONTINUE))
    except OSError as gone:
        if gone.errno != errno.ENOENT:
            raise
