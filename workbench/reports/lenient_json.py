"""Parts of a JSON document, each of the type that a page needs, whatever a later version or another program wrote there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LARGEST = 1e100


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def records(value: Any) -> list[dict[str, Any]]:
    """The mappings in a list."""
    return [item for item in items(value) if isinstance(item, dict)]


def texts(value: Any) -> list[str]:
    """What a list holds, each as text."""
    return [str(item) for item in items(value)]


def number(value: Any) -> float | None:
    """A number, or None: also of a truth value, and of what is too large to be drawn. What is too small for it is 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _LARGEST:
        return None
    return float(value) if abs(value) > 1 / _LARGEST else 0.0


def whole(value: Any) -> int | None:
    """A whole number that is not negative, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
