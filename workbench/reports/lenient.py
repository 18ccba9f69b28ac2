"""Parts of a JSON document, each of the type that a page needs, whatever a later version or another program wrote there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


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
    """A finite number, or None: also of a truth value, which is none."""
    try:
        found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    """A whole number that is not negative, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
