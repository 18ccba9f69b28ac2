"""The faults the workbench reports: what was asked, what was found, what to do; each with its exit code.

No message holds an identifier, a row or a value from a table: they go to terminals, logs and job rows.
"""

import errno

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_DISK = {*_NO_ROOM, errno.EIO, errno.EROFS}


def is_of_disk(fault: OSError) -> bool:
    """Whether a fault is the disk's and not of what was asked: once that is mended, the same can be asked again."""
    return fault.errno in _DISK


def has_no_room(fault: OSError) -> bool:
    """Whether a disk, or a user's quota of it, is full."""
    return fault.errno in _NO_ROOM


def exit_code_of(fault: Exception) -> int:
    """The exit code of a fault of ours or of the operating system; a disk's is that of what is busy."""
    if isinstance(fault, WorkbenchError):
        return fault.exit_code
    return BusyError.exit_code if isinstance(fault, OSError) and is_of_disk(fault) else InputError.exit_code


def told_outside(fault: "WorkbenchError") -> tuple[str, str]:
    """Message and hint for whoever asks over a network: which file of the workspace is damaged is not for them."""
    if isinstance(fault, DamagedError):
        return "something that the workspace keeps is damaged or missing", "its operator: workbench doctor"
    return str(fault), fault.hint


def told(fault: Exception) -> str:
    """A fault in one line: its message, and what to do."""
    hint = fault.hint if isinstance(fault, WorkbenchError) else ""
    return f"{fault}; {hint}" if hint else str(fault)


class WorkbenchError(Exception):
    """A fault with a message for people, a hint what to do, a stable `code` for scripts and a process exit code."""

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CheckFailedError(WorkbenchError):
    """A verification ran to its end and found something wrong."""

    code = "check_failed"


class HeldError(CheckFailedError):
    """Something of a person is left that no step removes: their request stays open, and holds up nothing else."""


class InputError(WorkbenchError):
    """Bad input or usage: a file, schema, config or option that cannot be accepted as given."""

    exit_code = 2
    code = "bad_input"


class MissingExtraError(InputError):
    """The command wants libraries that this installation was made without."""

    code = "missing_extra"


class DamagedError(InputError):
    """A file or row of the workspace is missing or not what was written: no fault of whoever asked."""

    code = "damaged"


class DecidedError(InputError):
    """The request is beyond the point where that could still be done with it."""


class KnownRequestError(InputError):
    """The request id was used before, by another controller or for another person; nothing was changed."""


class ReusedKeyError(InputError):
    """The idempotency key was used before for another body; nothing was changed."""


class UnknownCallerError(InputError):
    """Who asks gave no token, or one that is unknown, expired or revoked."""


class ScopeError(InputError):
    """The token of who asks does not cover that."""


class NamingError(InputError):
    """A text that would stay names a person of the data; nothing was done."""


class MalformedKeyError(InputError):
    """A key that cannot name a person of the data set, whoever they are."""


class BudgetError(WorkbenchError):
    """The privacy ledger refused a charge; nothing was read."""

    exit_code = 3
    code = "budget"


class NotFoundError(WorkbenchError):
    """The named data set, artifact, request or subject is not here."""

    exit_code = 4
    code = "not_found"


class BusyError(WorkbenchError):
    """Another process holds what is needed, or work was interrupted and can be resumed."""

    exit_code = 5
    code = "busy"


class LockedError(BusyError):
    """Another process is writing the data set; nothing was begun."""


class QuarantinedError(WorkbenchError):
    """Every model or generator that could answer saw a subject with an open erasure request."""

    exit_code = 6
    code = "quarantined"


class ForbiddenError(WorkbenchError):
    """Whoever asked has no role that may do this, or may not be the one who decides it; nothing was done."""

    exit_code = 8
    code = "forbidden"


class ApprovalRequiredError(WorkbenchError):
    """The request waits for a person to approve it, or for its window to end."""

    exit_code = 7
    code = "awaiting_approval"
