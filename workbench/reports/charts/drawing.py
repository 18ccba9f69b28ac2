"""A chart's frame, its style, and its simplest parts."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from workbench.reports.page import escaped, stylesheet

WIDTH = 340.0  # about a phone's: there a unit is a pixel, and text is as large as it says
HUES = 6


def drawing(told: str, height: float, parts: Iterable[str]) -> str:
    """An image of the parts; `told` is what it shows, for whoever does not see it."""
    return f'<svg viewBox="0 0 {WIDTH:g} {height:.4g}" role="img" aria-label="{escaped(told)}">{"".join(parts)}</svg>'


def chart(title: str, note: str, content: str) -> Markup:
    """A drawing with its legend, HTML already, under its title and a note on how to read it."""
    caption = f"<strong>{escaped(title)}</strong> <small>{escaped(note)}</small>"
    return Markup(f"<figure>\n<figcaption>{caption}</figcaption>\n{content}\n</figure>")


def image(svg: str, height: float) -> str:
    """A drawing as an image of its own, with the style that it has in a page."""
    attributes = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH:g}" height="{height:.4g}"'
    style = stylesheet("colours.css") + stylesheet("charts.css")
    return svg.replace("<svg ", f"<svg {attributes} ", 1).replace(">", f"><style>{style}</style>", 1)


def label(x: float, y: float, text: str, style: str = "") -> str:
    """A text that begins, ends or is centred at x, on the line y."""
    return f'<text x="{x:.1f}" y="{y:.1f}"{_class(style)}>{escaped(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{_class(style)}/>'


def box(x: float, y: float, width: float, height: float, style: str, *, told: str = "", opacity: float = 1.0) -> str:
    """A rectangle; `told` shows where a pointer rests on it."""
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}"{_class(style)}'
    shape += f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    return f"{shape}><title>{escaped(told)}</title></rect>" if told else f"{shape}/>"


def hue(number: int) -> int:
    """The hue of the n-th series, from 1: they come again when all are used."""
    return number % HUES + 1


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """A list of keys, HTML already, and their texts."""
    return f'<ul class="legend">{"".join(f"<li>{key}{escaped(text)}</li>" for key, text in entries)}</ul>'


def key(content: str) -> str:
    """A small image at the begin of a legend's line, 28 by 12."""
    return f'<svg viewBox="0 0 28 12" aria-hidden="true">{content}</svg>'


def shortened(text: str, length: int) -> str:
    """A text that fits: its end is cut where it is too long."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""
