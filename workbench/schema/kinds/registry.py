"""The kinds by name: those of the files beside this one, and those that are registered from outside."""

from __future__ import annotations

from workbench.schema.kinds.kind import ColumnKind
from workbench.specs import Registry

KINDS: Registry[ColumnKind] = Registry("workbench.schema.kinds", what="kind", ending="")


def guessed() -> tuple[ColumnKind, ...]:
    """Return the kinds that a draft may propose, in the order of their turns."""
    turns = [(kind.precedence, kind.name) for kind in KINDS if kind.precedence is not None]
    return tuple(KINDS[name] for _, name in sorted(turns))
