"""The pages: where they are, what they are called, and links from one to another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

_FOLDER = Path(__file__).parents[1] / "pages"
# by the name of its file, without `_page`: its title and its icon
_SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "": {"home": ("Home", "home")},
    "Work": {
        "data": ("Data", "table"),
        "synthesize": ("Synthesize", "auto_awesome"),
        "models": ("Models", "account_tree"),
        "erasure": ("Erasure", "person_remove"),
    },
    "Evidence": {
        "privacy": ("Privacy budget", "account_balance_wallet"),
        "reports": ("Reports", "analytics"),
        "lineage": ("Lineage", "hub"),
        "audit_log": ("Audit log", "history"),
    },
    "Upkeep": {"settings": ("Settings", "settings")},
}
TITLES = {name: title for section in _SECTIONS.values() for name, (title, _) in section.items()}


def pages() -> dict[str, list[Page]]:
    """All pages, by the section of the navigation that they are in."""
    return {section: [page(name) for name in names] for section, names in _SECTIONS.items()}


def page(name: str) -> Page:
    """A page by the name of its file, without `_page`."""
    title, icon = next(names[name] for names in _SECTIONS.values() if name in names)
    home = name == "home"
    path = None if home else name.replace("_", "-")
    return st.Page(_FOLDER / f"{name}_page.py", title=title, icon=f":material/{icon}:", url_path=path, default=home)


def link(name: str, label: str, **about: str) -> None:
    """A link to a page; `about` are ids that it is to show, never an identifier of a person."""
    st.page_link(page(name), label=label, icon=":material/arrow_forward:", query_params=about or None)
