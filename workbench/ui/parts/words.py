"""How things are said on the pages: plain words, times, numbers. Texts from data are escaped, or Markdown would obey them."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|$~:-])")

STATUSES: Mapping[str, tuple[str, str]] = {
    "quarantined": ("Quarantined, not begun", "orange"),
    "planned": ("Planned", "orange"),
    "executing": ("Being carried out", "orange"),
    "verifying": ("Being checked", "orange"),
    "completed": ("Completed", "green"),
    "rejected": ("Rejected", "gray"),
    "denied": ("Denied", "gray"),
    "cancelled": ("Cancelled", "gray"),
    "failed": ("Failed, can go on", "red"),
}
STEPS: Mapping[str, str] = {
    "RECEIVED": "Request received",
    "QUARANTINED": "Quarantined: every shard and every table without a privacy guarantee that used the person is held back",
    "HELD": "Held back for approval",
    "JOINED": "Carried out with another request for the same person",
    "APPROVED": "Approved",
    "EXPEDITED": "Released early, before its window ended",
    "RELEASED": "Released early, before its window ended",  # of a request, by an earlier release
    "PLANNED": "Planned",
    "EXECUTING": "Begun",
    "DROPPED": "The person's rows were deleted",
    "PUBLISHED": "New model version published, trained without the person",
    "PURGED": "Everything derived from the person was purged",
    "VERIFYING": "Every byte of the workspace is being searched",
    "CERTIFIED": "Certificate signed",
    "COMPLETED": "Completed",
    "REJECTED": "Rejected",
    "DENIED": "Denied",
    "CANCELLED": "Cancelled",
    "FAILED": "Failed; it can go on from here",
}
FAULTS: Mapping[str, str] = {
    "bad_input": "what it was given does not fit: see the data set and the settings",
    "budget": "the privacy budget refused it; nothing was read",
    "busy": "something else held the data set, or a person asked to be erased meanwhile",
    "not_found": "something it needs is no longer here",
    "quarantined": "somebody waits to be erased, so nothing may answer",
    "check_failed": "a check found something wrong",
    "forbidden": "the role did not allow it",
    "damaged": "something that the workspace keeps is damaged or missing: its operator runs workbench doctor",
}
KINDS: Mapping[str, str] = {
    "advise": "Comparing numbers of shards",
    "demo": "Demo",
    "ingest": "Taking in data",
    "synthesize": "Making a synthetic table",
    "train": "Training a model",
    "erase": "Erasing",
    "evaluate": "Evaluating",
    "measure": "Measuring a synthetic table",
    "sweep": "Trying several settings",
    "audit": "Auditing a generator",
}


def plain(text: object) -> str:
    """A text as it stands: nothing in it is taken for formatting, a link or a picture."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def sentence(text: str) -> str:
    """A message as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def moment(when: str | None) -> str:
    """A time of the journal, to the minute, in UTC."""
    return dt.datetime.fromisoformat(when).strftime("%-d %b %Y, %H:%M UTC") if when else "–"


def day(when: str) -> str:
    """The day of a time of the journal, in UTC."""
    return dt.datetime.fromisoformat(when).strftime("%-d %b %Y")


def until(due: str) -> str:
    """How long it is to a time, or since it."""
    left = dt.datetime.fromisoformat(due) - dt.datetime.now(dt.UTC)
    size = abs(left)
    told = f"{size.days} days" if size.days > 1 else f"{size // dt.timedelta(hours=1)} hours"
    return f"{told} left" if left > dt.timedelta(0) else f"{told} overdue"


def figure(estimate: Mapping[str, Any] | None, digits: int = 3) -> str:
    """A figure with its interval, where it has one."""
    if not estimate or estimate.get("value") is None:
        return "–"
    value, low, high = (estimate.get(key) for key in ("value", "low", "high"))
    shown = f"{value:.{digits}f}"
    if low is None or high is None or math.isnan(low) or math.isnan(high) or low == high:
        return shown
    return f"{shown} ({low:.{digits}f} to {high:.{digits}f})"


def headline(metrics: Mapping[str, Any]) -> str:
    """A model's quality in one figure."""
    names = {"auc": "AUC", "accuracy": "accuracy", "r2": "R²"}
    return next((f"{told} {metrics[name]['value']:.3f}" for name, told in names.items() if name in metrics), "–")


def number(value: Any) -> str:
    """A count with thousands set off."""
    return "–" if value is None else f"{value:,}"


def counted(count: int, what: str) -> str:
    """So many of something, in the singular or the plural."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def strength(epsilon: float) -> str:
    """What an epsilon means, in two words."""
    return "very strong" if epsilon <= 0.5 else "strong" if epsilon <= 1 else "moderate" if epsilon <= 4 else "weak"


def label(name: str) -> str:
    """An id of a config, such as `gradient_boosting`, as words."""
    return name.replace("_", " ").capitalize()
