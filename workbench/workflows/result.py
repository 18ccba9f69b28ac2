"""What workflows return: frozen values, whose JSON is a contract of the command line and the API."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable


@runtime_checkable
class _WithJson(Protocol):
    def to_json(self) -> Any: ...


@runtime_checkable
class _Model(Protocol):
    def model_dump(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Result:
    """A workflow's result. Each field is one key of its JSON, in order; None is `null` unless listed in `LEFT_OUT`.

    Fields listed in `INTERNAL` are for the caller alone and no part of the JSON.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset()
    INTERNAL: ClassVar[frozenset[str]] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in self.INTERNAL}
        return {name: plain(v) for name, v in values.items() if v is not None or name not in self.LEFT_OUT}


def plain(value: Any) -> Any:
    """Return a value of a result as JSON has it: results and mappings become objects, sequences arrays, paths text.

    A number that JSON lacks becomes `null`. A value that knows its own JSON, such as an estimate or a policy, is asked for it.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Result):
        return value.to_json()
    if isinstance(value, _WithJson):
        return plain(value.to_json())
    if isinstance(value, _Model):
        return plain(value.model_dump())
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
