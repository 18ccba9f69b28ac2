"""dp-accounting's events as JSON, and the checks that library leaves out."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import dp_accounting as dpa

from workbench.errors import InputError

Event: TypeAlias = dpa.DpEvent

_NUMBERS: dict[str, tuple[type[Event], str]] = {
    "zcdp": (dpa.ZCDpEvent, "rho"),
    "gaussian": (dpa.GaussianDpEvent, "noise_multiplier"),
    "laplace": (dpa.LaplaceDpEvent, "noise_multiplier"),
}


def _positive(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{what} must be a positive finite number, found {value!r}")
    return float(value)


def event_to_json(event: Event) -> dict[str, Any]:
    """A JSON form of an event; raises InputError for kinds the ledger cannot price and for senseless parameters."""
    for kind, (cls, field) in _NUMBERS.items():
        if isinstance(event, cls):
            return {"kind": kind, field: _positive(getattr(event, field), f"{kind} {field}")}
    if isinstance(event, dpa.PoissonSampledDpEvent):
        rate = _positive(event.sampling_probability, "sampling probability")
        if rate > 1:
            raise InputError(f"sampling probability must be at most 1, found {rate}")
        return {"kind": "poisson", "rate": rate, "event": event_to_json(event.event)}
    if isinstance(event, dpa.SelfComposedDpEvent):
        return {"kind": "repeat", "count": int(_positive(event.count, "count")), "event": event_to_json(event.event)}
    if isinstance(event, dpa.ComposedDpEvent):
        return {"kind": "compose", "events": [event_to_json(inner) for inner in event.events]}
    raise InputError(
        f"the ledger cannot price a {type(event).__name__}", hint="charge a zCDP, Gaussian or Laplace event"
    )


def event_from_json(document: dict[str, Any]) -> Event:
    """The event that `event_to_json` wrote; raises InputError for anything else."""
    kind = document.get("kind")
    if kind in _NUMBERS:
        cls, field = _NUMBERS[kind]
        return cls(_positive(document.get(field), f"{kind} {field}"))
    if kind == "poisson":
        return dpa.PoissonSampledDpEvent(document["rate"], event_from_json(document["event"]))
    if kind == "repeat":
        return dpa.SelfComposedDpEvent(event_from_json(document["event"]), document["count"])
    if kind == "compose":
        return dpa.ComposedDpEvent([event_from_json(inner) for inner in document["events"]])
    raise InputError(f"unknown event kind {kind!r} in the ledger")
