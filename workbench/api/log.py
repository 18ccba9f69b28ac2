"""Rotating logs of one JSON object a line: which route, which status, how long. No path, address, header or body."""

from __future__ import annotations

import json
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from workbench.state import journal

_BYTES, _FILES = 5_000_000, 5


class Log:
    """Writes events to a file that is rotated, five of five megabytes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self._handler = RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_FILES - 1, encoding="utf-8")
        path.chmod(0o600)

    def __call__(self, event: str, **fields: Any) -> None:
        """One line; the fields are ours, never a caller's text."""
        known = {name: value for name, value in fields.items() if value is not None}
        line = json.dumps({"at": journal.now(), "event": event, **known})
        self._handler.handle(logging.LogRecord("workbench.api", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Closes the file."""
        self._handler.close()


class ServerFaults(logging.Handler):
    """What the server's library complains about, by level and logger alone: its messages may quote a call."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line without the message."""
        self._log("server", level=record.levelname, logger=record.name)
