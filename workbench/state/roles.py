"""Who may do what: a door knows the person and says so with `acting`; each workflow declares who may run it.

One declaration stands above each public workflow: `allowed`, `open_to_all` or `internal`. It is enforced at the entry, and what
a workflow calls runs in its authority.

Where no door said who acts it is whoever runs the command, and they may do everything: the files are theirs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from workbench.errors import ForbiddenError, InputError
from workbench.foreign import read_yaml
from workbench.state import journal

Role = Literal["viewer", "operator", "approver", "admin"]
Action = Literal["operate", "decide", "administer"]

ROLES_FILE = "roles.yaml"
_MOST_BYTES = 1_000_000
_MAY: Mapping[Role, frozenset[Action]] = {
    "viewer": frozenset(),
    "operator": frozenset({"operate"}),
    "approver": frozenset({"decide"}),
    "admin": frozenset({"operate", "decide", "administer"}),
}
_TOLD: Mapping[Action, str] = {
    "operate": "take in data, fit, train, evaluate, predict, export or hand in requests",
    "decide": "approve or deny requests",
    "administer": "set budgets and policies, rotate keys, or withdraw what was made",
}


@dataclass(frozen=True, kw_only=True)
class Person:
    """Whoever acts: the name that the journal gets, and a role."""

    actor: str
    role: Role

    def may(self, action: Action) -> bool:
        """Whether the role allows it."""
        return action in _MAY[self.role]


class RoleMap(BaseModel):
    """Which role a person has who signed in to the app; of several, the highest. Who has none is shown nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    groups: dict[str, Role] = {}
    """Roles by group: what the provider tells in the claim `groups`."""
    emails: dict[str, Role] = {}
    """Roles by e-mail address; one counts only where the provider says that it is verified. Where a person with that
    address is erased from the data, the workbench puts `keyed:…` in its place, which gives them their role as before.
    """
    subjects: dict[str, Role] = {}
    """Roles by the provider's id of a person, its claim `sub`."""


P = ParamSpec("P")
T = TypeVar("T")

_DECLARATION = "__workflow__"
_person: ContextVar[Person | None] = ContextVar("person", default=None)
_is_inside: ContextVar[bool] = ContextVar("is_inside", default=False)


@contextmanager
def acting(person: Person) -> Iterator[None]:
    """Within it, and in this thread alone, `person` acts, and is named in the journal."""
    token = _person.set(person)
    try:
        with journal.acting(person.actor):
            yield
    finally:
        _person.reset(token)


def require(*actions: Action) -> None:
    """Raises ForbiddenError where the role of whoever acts allows none of these."""
    person = _person.get()
    if person is not None and not any(map(person.may, actions)):
        able = [role for role in _MAY if not _MAY[role].isdisjoint(actions)]
        raise ForbiddenError(
            f"the role {person.role} may not {_TOLD[actions[0]]}", hint=f"ask someone with the role {' or '.join(able)}"
        )


def may(action: Action) -> bool:
    """Whether the role of the person who acts allows an action; where no door said who acts, all is allowed."""
    person = _person.get()
    return person is None or person.may(action)


def allowed(*actions: Action) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Declare a workflow that a person may run whose role allows one of these actions; it is refused at its entry.

    What it calls runs in its authority. Workers and commands act as the system, which may run everything.
    """

    def declare(function: Callable[P, T]) -> Callable[P, T]:
        return _declared(function, actions, lambda: require(*actions))

    return declare


def open_to_all(function: Callable[P, T]) -> Callable[P, T]:
    """Declare a workflow that every role may run: it changes nothing, and shows what pages show everybody."""
    return _declared(function, ("view",), lambda: None)


def internal(function: Callable[P, T]) -> Callable[P, T]:
    """Declare a part of other workflows: no person runs it by itself, whatever their role."""

    def refuse() -> None:
        if _person.get() is not None:
            raise ForbiddenError("this is a part of other workflows, which no role runs by itself")

    return _declared(function, ("internal",), refuse)


def declaration_of(function: object) -> tuple[str, ...]:
    """Return what is declared of a workflow: its actions, `view` or `internal`; empty where nothing is."""
    return tuple(getattr(function, _DECLARATION, ()))


def _declared(function: Callable[P, T], declaration: tuple[str, ...], check: Callable[[], None]) -> Callable[P, T]:
    @wraps(function)
    def entered(*args: P.args, **kwargs: P.kwargs) -> T:
        if _is_inside.get():
            return function(*args, **kwargs)
        check()
        token = _is_inside.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _is_inside.reset(token)

    setattr(entered, _DECLARATION, declaration)
    return entered


def local() -> Person:
    """The one user of a workbench that runs on their own machine."""
    return Person(actor=journal.actor(), role="admin")


def read_roles(root: Path) -> RoleMap:
    """The workspace's `roles.yaml`, or an empty map where there is none; raises InputError for one that can't be read."""
    path = root / ROLES_FILE
    if not path.exists():
        return RoleMap()
    try:
        document = read_yaml(path, most=_MOST_BYTES, what="map of roles")
        return RoleMap.model_validate({} if document is None else document)
    except (InputError, ValidationError):  # neither is shown: it may quote an address
        raise InputError(
            f"the workspace's {ROLES_FILE} is not a map of groups, emails and subjects to roles",
            hint="groups: {privacy-office: approver}; the roles are viewer, operator, approver, admin",
        ) from None


def keyed(key: bytes, address: str) -> str:
    """What stands for an e-mail address in `roles.yaml` once it may not be named there."""
    return f"keyed:{hmac.digest(key, b'role' + bytes(1) + address.casefold().encode(), 'sha256').hex()[:32]}"


def person_of(claims: Mapping[str, Any], roles: RoleMap, key: bytes | None = None) -> Person | None:
    """Whoever an identity provider vouches for, with the highest role that the map gives them; None where it gives none.

    An e-mail address counts only where the provider says that it is verified. The journal gets the provider's subject id
    and no address: an address could be that of somebody in the data, who may ask to be erased.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        return None
    groups, email = claims.get("groups"), claims.get("email")
    given = {roles.groups.get(g) for g in groups if isinstance(g, str)} if isinstance(groups, list | tuple) else set()
    given.add(roles.subjects.get(subject))
    if isinstance(email, str) and claims.get("email_verified") is True:
        addresses = {address.casefold(): role for address, role in roles.emails.items()}
        given.add(addresses.get(email.casefold()))
        given.add(addresses.get(keyed(key, email)) if key else None)
    return next((Person(actor=f"oidc:{subject}", role=role) for role in reversed(list(_MAY)) if role in given), None)
