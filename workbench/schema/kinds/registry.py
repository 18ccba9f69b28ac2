"""The kinds by name: those of the files beside this one, and those that are registered from outside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from workbench.errors import InputError
from workbench.schema.kinds.kind import ColumnKind

_NAME = re.compile(r"[a-z][a-z_]*[a-z]")
_ROOM = __name__.rpartition(".")[0]


class Kinds:
    """A registry of kinds. A file of the folder that has a `SPEC` is one of them."""

    def __init__(self) -> None:
        files = [file.name for file in iter_modules([str(Path(__file__).parent)]) if file.name != "registry"]
        found = [vars(import_module(f"{_ROOM}.{name}")).get("SPEC") for name in files]
        self._specs: dict[str, ColumnKind] = {kind.name: kind for kind in found if kind is not None}
        self._listeners: list[Callable[[], None]] = []

    def register(self, kind: ColumnKind) -> ColumnKind:
        """Add a kind to this process; raise InputError where its name is no name or taken, or its fields clash."""
        if not _NAME.fullmatch(kind.name):
            raise InputError(f"{kind.name!r} is no name for a kind", hint="small letters with underscores between them")
        if kind.name in self._specs:
            raise InputError(f"a kind called {kind.name!r} exists already", hint="choose another name")
        self._specs[kind.name] = kind
        try:
            self._announce()
        except InputError:
            self.withdraw(kind.name)
            raise
        return kind

    def withdraw(self, name: str) -> None:
        """Take a kind out of this process again."""
        self._specs.pop(name, None)
        self._announce()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change."""
        self._listeners.append(listener)

    def names(self) -> tuple[str, ...]:
        """Return all names in the order of lists."""
        return tuple(kind.name for kind in self)

    def guessed(self) -> tuple[ColumnKind, ...]:
        """Return the kinds that a draft may propose, in the order of their turns."""
        turns = {kind.name: kind.precedence for kind in self if kind.precedence is not None}
        return tuple(self._specs[name] for name in sorted(turns, key=lambda name: (turns[name], name)))

    def __getitem__(self, name: str) -> ColumnKind:
        return self._specs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[ColumnKind]:
        return iter(sorted(self._specs.values(), key=lambda kind: (kind.rank, kind.name)))

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()


KINDS = Kinds()
