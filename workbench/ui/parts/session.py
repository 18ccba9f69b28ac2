"""Whoever sits before the page, the workspace they look at, and how faults are told: in words, with what to do."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from workbench.errors import ForbiddenError, WorkbenchError
from workbench.state import roles
from workbench.state.roles import Action, Person
from workbench.state.workspace import Workspace
from workbench.ui.parts.warm import warm
from workbench.ui.parts.words import plain, sentence

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

HOME = "WORKBENCH_HOME"
_DEFAULT = Path("artifacts")
_NOTICE = "notice"
_FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"})


def run(page: Page) -> None:
    """Runs a page in the name of whoever is signed in; without a role nothing of the workspace is shown."""
    try:
        someone = person()
    except WorkbenchError as fault:
        st.title("Erasure workbench")
        _tell(fault)
        return
    if someone is None:
        _welcome()
        return
    _who(someone)
    if st.context.theme.type == "dark":  # Streamlit writes white on the light green that dark pages need
        st.html('<style>button[kind^="primary"] p { color: #06301b; }</style>')
    with roles.acting(someone):
        page.run()
    warm()


def shown(page: Callable[[], None]) -> None:
    """Shows a page; a fault becomes a message with what to do, and never a trace."""
    if notice := st.session_state.pop(_NOTICE, None):
        st.toast(plain(notice), icon=":material/check:")
    with reported():
        page()


class reported:  # noqa: N801 (used like a keyword)
    """A block whose faults are told on the page; what comes after it is shown all the same."""

    def __enter__(self) -> None:
        """Begins it."""

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> bool:
        """Tells a fault. What Streamlit raises to end or repeat a run is no Exception and passes."""
        if not isinstance(fault, Exception):
            return False
        _tell(fault)
        return True


@contextmanager
def held(answer: dict[str, Any]) -> Iterator[None]:
    """A block whose fault is not told at once, but left in `answer` as `fault`, to be shown after the next run."""
    try:
        yield
    except Exception as fault:
        answer["fault"] = _told(fault)


def live(seconds: float) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A part of a page that is shown anew every so many seconds, in the same person's name."""

    def decorate(part: Callable[[], None]) -> Callable[[], None]:
        def again() -> None:
            someone = person()
            if someone is None:
                return
            with roles.acting(someone), reported():
                part()

        return st.fragment(again, run_every=seconds, key=f"live-{part.__module__}-{part.__qualname__}")

    return decorate


def workspace() -> Workspace:
    """The workspace that the app was started for; raises NotFoundError where there is none."""
    return _opened(Path(os.environ.get(HOME) or _DEFAULT).resolve())


@lru_cache(maxsize=4)
def _opened(root: Path) -> Workspace:
    return Workspace.open(root)


def person() -> Person | None:
    """Whoever is there: signed in with a role, or the one local user; None where nobody with a role is.

    Raises ForbiddenError where the app can be reached from elsewhere, or was, though nobody has to sign in.
    """
    if not signs_in():
        if not is_loopback(st.get_option("server.address")):
            raise ForbiddenError(
                "the app listens beyond this machine, but nobody has to sign in to it",
                hint="configure [auth] in .streamlit/secrets.toml, or start it with workbench ui",
            )
        if not _FORWARDED.isdisjoint(name.lower() for name in st.context.headers):
            raise ForbiddenError(
                "the app was reached through a proxy, but nobody has to sign in to it",
                hint="configure [auth] in .streamlit/secrets.toml, or open the address that workbench ui names",
            )
        return roles.local()
    claims = dict(st.user)
    expires = claims.get("exp")
    if not st.user.is_logged_in or (isinstance(expires, int | float) and expires < time.time()):
        return None
    return roles.person_of(claims, roles.read_roles(workspace().root), workspace().key("token"))


def on_click(make: Callable[[], bytes | str]) -> Callable[[], bytes | str]:
    """A file that is made, or judged again, when its button is pressed, in the name of the person who sees the button."""
    someone = person()

    def made() -> bytes | str:
        if someone is None:
            raise ForbiddenError("you are not signed in any more", hint="sign in again")
        with roles.acting(someone):
            return make()

    return made


def signs_in() -> bool:
    """Whether an identity provider is configured."""
    return bool(st.secrets.load_if_toml_exists() and "auth" in st.secrets)


def is_loopback(address: str | None) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return address == "localhost" or ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def may(action: Action) -> bool:
    """Whether whoever is there may do it; workflows ask again."""
    someone = person()
    return someone is not None and someone.may(action)


def is_me(actor: str) -> bool:
    """Whether an actor is the person who sees the page."""
    someone = person()
    return someone is not None and someone.actor == actor


def again(notice: str) -> None:
    """Shows the page from the start, with a short notice of what was done."""
    st.session_state[_NOTICE] = notice
    st.rerun()


def _welcome() -> None:
    st.title("Erasure workbench")
    if st.user.is_logged_in:
        st.warning("You are signed in, but have no role in this workbench. Ask its administrator for one.")
        st.button("Sign out", on_click=st.logout)
    else:
        st.write("Sign in to go on.")
        st.button("Sign in", type="primary", on_click=st.login)


def _who(someone: Person) -> None:
    with st.sidebar:
        name, where = someone.actor.split(":", 1)[-1], "this machine alone" if not signs_in() else "your organisation"
        told = f"Signed in as **{plain(name)}**, {someone.role}"
        if not signs_in():
            told = f"**{plain(name)}**, the only user. The app answers {where}."
        st.caption(told)
        if signs_in():
            st.button("Sign out", on_click=st.logout, type="tertiary")


def _tell(fault: Exception) -> None:
    st.error(_told(fault), icon=":material/error:")


def _told(fault: Exception) -> str:
    if isinstance(fault, WorkbenchError):
        hint = f"\n\nWhat to do: {plain(fault.hint)}" if fault.hint else ""
        return f"{plain(sentence(str(fault)))}{hint}"
    if isinstance(fault, OSError) and fault.strerror:
        return f"The disk or a file failed: {plain(fault.strerror)}."
    # its message could quote a row
    return (
        f"Something unexpected happened ({type(fault).__name__}).\n\n"
        "What to do: reload the page; if it stays, run `workbench doctor`."
    )
