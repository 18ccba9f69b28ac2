"""Models whose fields are described by the docstrings below them, as JSON schemas show them.

Pydantic can read these docstrings itself, but does so while it makes the class: each start of each command then pays for
parsing the source (some 20 ms a file) to fill in what only a JSON schema shows.
"""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Described(BaseModel):
    """A model that reads the docstrings of its fields when its JSON schema is made."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler(schema)
        fields: dict[str, Any] = handler.resolve_ref_schema(written).get("properties", {})
        for name, text in _descriptions(cls).items():
            if name in fields:
                fields[name].setdefault("description", text)
        return written


def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field of a class and its parents, where their source is there."""
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if issubclass(parent, Described) and parent is not Described:
            try:
                found |= _docstrings(dedent(inspect.getsource(parent)))
            except OSError:  # made without a source file, as in an interpreter
                continue
    return found


def _docstrings(source: str) -> dict[str, str]:
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
