"""What all pages share: how a template becomes one self-contained file, and how texts and times are written.

A page has no script, nothing to load and nothing from the network, and says so to the browser (Content-Security-Policy).
Templates escape every value. Only charts are HTML already (`Markup`), and these are drawn from escaped texts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.reports.formatting import absence, figure, interval, written

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, **values: Any) -> str:
    """Return a template filled with the values; half a surrogate pair, which no file can hold, becomes a question mark."""
    return _environment().get_template(template).render(values).encode("utf-8", "replace").decode()


def stylesheet(name: str) -> str:
    """Return a style of the templates, for an image that stands outside a page."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here: most commands make no page

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "absence": absence,
        "day": day,
        "figure": figure,
        "interval": interval,
        "time": time,
        "written": written,
    }
    return made


def escaped(value: Any) -> str:
    """Return a value as text of a chart or of an attribute."""
    return escape(str(value).encode("utf-8", "replace").decode())


def series(items: Sequence[str]) -> str:
    """Items as English lists them."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]])) if items else ""


def time(value: Any) -> str:
    """A moment to the minute, in UTC; what is none, as it stands."""
    moment = _moment(value)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC" if moment else str(value)


def day(value: Any) -> str:
    """The day of a moment, in UTC; what is none, as it stands."""
    moment = _moment(value)
    return f"{moment.day} {moment:%B %Y}" if moment else str(value)


def _moment(value: Any) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(str(value)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
