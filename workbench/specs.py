"""Specs say what the workbench offers: each generator, learner or metric is one; a registry finds them, and takes more.

A file of a registry's room holds one as `SPEC`, or several as `SPECS`. It imports nothing heavy: what a spec makes is imported
when it is made, so that a list of names, a config or `--help` waits for no library (docs/adr/0042).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, Generic, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from workbench.errors import InputError

_NAME = re.compile(r"[a-z][a-z_]*[a-z]")  # names of files and releases are made of it


class Settings(BaseModel):
    """The fields that a generator or a learner has of a config, each with its default; one without must be given.

    A field says what it is by its `description`: reading the docstrings of so many classes would slow every command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def of(cls, config: BaseModel) -> Self:
        """Return a config's values of these fields; what it lacks and must have is a ValidationError."""
        fields = cls.model_fields
        given = {name: getattr(config, name) for name in fields}
        return cls.model_validate({k: v for k, v in given.items() if v is not None or not fields[k].is_required()})

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text among the values: what manifests and MLflow will keep must name nobody."""
        return tuple(_texts(list(self.model_dump().values())))


class Spec(Protocol):
    """What every registry asks of a spec: a name, and its place in lists (by rank, then by name)."""

    @property
    def name(self) -> str:
        """The name in configs, manifests and MLflow."""

    @property
    def rank(self) -> int:
        """Its place in lists: the first is the first choice."""


class Configurable(Spec, Protocol):
    """A spec with settings of a config."""

    @property
    def settings(self) -> type[Settings]:
        """The fields that it takes."""


S = TypeVar("S", bound=Spec)


class Registry(Generic[S]):
    """The specs of one kind, by name: those of the files in `room`, and those that are registered from outside it.

    The files are those whose names end in `ending`; where what is offered is slow to import, its spec is a file beside it.
    """

    def __init__(self, room: str, *, what: str, ending: str = "_spec") -> None:
        self._room, self._what, self._ending = room, what, ending
        self._found: dict[str, S] | None = None
        self._listeners: list[Callable[[], None]] = []

    def register(self, spec: S) -> S:
        """Add a spec to this process; raise InputError where its name is no name or taken, or its fields clash."""
        self._found = self._with(self._specs, spec)
        try:
            self._announce()
        except InputError:
            self.withdraw(spec.name)
            raise
        return spec

    def withdraw(self, name: str) -> None:
        """Take a spec out of this process again."""
        self._found = {known: spec for known, spec in self._specs.items() if known != name}
        self._announce()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` now, and after every change."""
        self._listeners.append(listener)
        listener()

    def get(self, name: str) -> S | None:
        """Return the spec of that name, if there is one."""
        return self._specs.get(name)

    def names(self) -> tuple[str, ...]:
        """Return all names in the order of lists."""
        return tuple(spec.name for spec in self)

    def __getitem__(self, name: str) -> S:
        return self._specs[name]

    def __iter__(self) -> Iterator[S]:
        return iter(sorted(self._specs.values(), key=lambda spec: (spec.rank, spec.name)))

    def _with(self, specs: dict[str, S], spec: S) -> dict[str, S]:
        if not _NAME.fullmatch(spec.name):
            raise InputError(
                f"{spec.name!r} is no name for a {self._what}", hint="small letters with underscores between them"
            )
        if spec.name in specs:
            raise InputError(f"a {self._what} called {spec.name!r} exists already", hint="choose another name")
        return specs | {spec.name: spec}

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()

    @property
    def _specs(self) -> dict[str, S]:
        if self._found is None:
            found = iter_modules(import_module(self._room).__path__)
            names = [file.name for file in found if file.name.endswith(self._ending) and not file.ispkg]
            files = [vars(import_module(f"{self._room}.{name}")) for name in names]
            held = [spec for file in files for spec in (*file.get("SPECS", ()), file.get("SPEC")) if spec is not None]
            specs: dict[str, S] = {}
            for spec in held:
                specs = self._with(specs, spec)
            self._found = specs
        return self._found


@dataclass(frozen=True)
class Deferred:
    """A class or a function, named as `module:name`, that is imported when it is called."""

    place: str

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Import it and call it."""
        return self.find()(*arguments, **named)

    def find(self) -> Any:
        """Import it."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)


C = TypeVar("C", bound=Configurable)


class SpecFields(Generic[C]):
    """Gives a config model the names of a registry as the choices of one field, and all settings of its specs as fields.

    `shared` are fields of the model itself that a spec may declare as well. With `optional` every setting may be left out and
    is None then; otherwise it has the default that its spec declares. Two specs may declare one field if they declare it alike.
    """

    def __init__(
        self, model: type[BaseModel], choice: str, registry: Registry[C], *, shared: frozenset[str], optional: bool
    ) -> None:
        self._model, self._choice, self._registry = model, choice, registry
        self._shared, self._optional = shared, optional
        self._own = dict(model.model_fields)
        registry.listen(self._compose)

    def takers(self) -> dict[str, tuple[str, ...]]:
        """Return, for every field that not all specs take, the names of those that do."""
        fields = [name for spec in self._registry for name in spec.settings.model_fields]
        return {
            field: tuple(spec.name for spec in self._registry if field in spec.settings.model_fields)
            for field in dict.fromkeys(fields)
        }

    def _compose(self) -> None:
        fields = {**self._own, self._choice: self._chosen()} | self._settings()
        self._model.model_fields.clear()
        self._model.model_fields.update(fields)
        self._model.model_rebuild(force=True)

    def _chosen(self) -> FieldInfo:
        field = copy(self._own[self._choice])
        choices: Any = Literal.__getitem__(self._registry.names())
        field.annotation = choices
        return field

    def _settings(self) -> dict[str, FieldInfo]:
        found: dict[str, FieldInfo] = {}
        for spec in self._registry:
            for name, field in spec.settings.model_fields.items():
                if name in self._shared:
                    continue
                if name in self._own or (name in found and not self._alike(found[name], field)):
                    raise InputError(
                        f"{spec.name} declares the field {name!r}, which is declared otherwise already",
                        hint="choose another name for the field",
                    )
                found.setdefault(name, field)
        may_lack = {name for name, field in found.items() if self._optional or field.is_required()}
        return {name: _optional(field) if name in may_lack else field for name, field in found.items()}

    def _alike(self, one: FieldInfo, other: FieldInfo) -> bool:
        is_same_type = (one.annotation, one.metadata) == (other.annotation, other.metadata)
        return is_same_type and (self._optional or one.default == other.default)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, Sequence | Set):
        for one in value:
            yield from _texts(one)


def _optional(declared: FieldInfo) -> FieldInfo:
    field = copy(declared)
    kind: Any = declared.annotation
    if declared.metadata:
        kind = Annotated.__class_getitem__((kind, *declared.metadata))  # type: ignore[attr-defined]
    field.annotation, field.metadata = kind | None, []
    field.default, field.default_factory = None, None
    return field
