"""dp-accounting's events as JSON, and the checks that library leaves out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from workbench.errors import InputError
from workbench.privacy.accounting import dpa

Event: TypeAlias = dpa.DpEvent


@dataclass(frozen=True)
class ApproximateDpEvent(dpa.DpEvent):  # type: ignore[misc]  # untyped library
    """`event`, but for a failure of probability at most `delta` (delta-approximate zCDP: Bun & Steinke 2016, Def. 8.1)."""

    event: Event
    delta: float


_NUMBERS: dict[str, tuple[type[Event], str]] = {
    "zcdp": (dpa.ZCDpEvent, "rho"),
    "gaussian": (dpa.GaussianDpEvent, "noise_multiplier"),
    "laplace": (dpa.LaplaceDpEvent, "noise_multiplier"),
}


def _positive(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{what} must be a positive finite number, found {value!r}")
    return float(value)


def _whole(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"count must be a whole number of at least 1, found {count!r}")
    return count


def _is_gaussian(event: Event) -> bool:
    """Whether the Rényi accountant can amplify the event by sampling: Gaussians, composed at will."""
    if isinstance(event, dpa.SelfComposedDpEvent):
        return _is_gaussian(event.event)
    if isinstance(event, dpa.ComposedDpEvent):
        return all(_is_gaussian(inner) for inner in event.events)
    return isinstance(event, dpa.GaussianDpEvent)


def split_failure(event: Event) -> tuple[Event, float]:
    """The event where nothing fails, and the most probable a failure is (which adds up under composition)."""
    if isinstance(event, ApproximateDpEvent):
        inner, delta = split_failure(event.event)
        return inner, delta + event.delta
    if isinstance(event, dpa.SelfComposedDpEvent):
        inner, delta = split_failure(event.event)
        return dpa.SelfComposedDpEvent(inner, event.count), delta * event.count
    if isinstance(event, dpa.ComposedDpEvent):
        parts = [split_failure(inner) for inner in event.events]
        return dpa.ComposedDpEvent([inner for inner, _ in parts]), sum(delta for _, delta in parts)
    return event, 0.0


def event_to_json(event: Event) -> dict[str, Any]:
    """A JSON form of an event; raises InputError for kinds the ledger cannot price and for senseless parameters."""
    if isinstance(event, dpa.ZCDpEvent) and event.xi != 0:
        raise InputError("the ledger prices zCDP events with xi = 0 only")
    for kind, (cls, field) in _NUMBERS.items():
        if isinstance(event, cls):
            return {"kind": kind, field: _positive(getattr(event, field), f"{kind} {field}")}
    if isinstance(event, ApproximateDpEvent):
        delta = _positive(event.delta, "probability of a failure")
        if delta >= 1:
            raise InputError(f"probability of a failure must be under 1, found {delta}")
        return {"kind": "approximate", "delta": delta, "event": event_to_json(event.event)}
    if isinstance(event, dpa.PoissonSampledDpEvent):
        rate = _positive(event.sampling_probability, "sampling probability")
        if rate > 1:
            raise InputError(f"sampling probability must be at most 1, found {rate}")
        if not _is_gaussian(event.event):
            raise InputError("the ledger cannot price the sampling of anything but Gaussian events")
        return {"kind": "poisson", "rate": rate, "event": event_to_json(event.event)}
    if isinstance(event, dpa.SelfComposedDpEvent):
        return {"kind": "repeat", "count": _whole(event.count), "event": event_to_json(event.event)}
    if isinstance(event, dpa.ComposedDpEvent):
        return {"kind": "compose", "events": [event_to_json(inner) for inner in event.events]}
    raise InputError(
        f"the ledger cannot price a {type(event).__name__}", hint="charge a zCDP, Gaussian or Laplace event"
    )


def event_from_json(document: dict[str, Any]) -> Event:
    """The event that `event_to_json` wrote; raises InputError for anything else."""
    try:
        event = _read(document)
    except (KeyError, TypeError, AttributeError):
        raise InputError("the ledger holds a damaged event", hint="restore the workspace from a backup") from None
    event_to_json(event)  # checks every parameter
    return event


def _read(document: dict[str, Any]) -> Event:
    kind = document.get("kind")
    if kind in _NUMBERS:
        cls, field = _NUMBERS[kind]
        return cls(document[field])
    if kind == "approximate":
        return ApproximateDpEvent(_read(document["event"]), document["delta"])
    if kind == "poisson":
        return dpa.PoissonSampledDpEvent(document["rate"], _read(document["event"]))
    if kind == "repeat":
        return dpa.SelfComposedDpEvent(_read(document["event"]), document["count"])
    if kind == "compose":
        return dpa.ComposedDpEvent([_read(inner) for inner in document["events"]])
    raise InputError(f"unknown event kind {kind!r} in the ledger")
