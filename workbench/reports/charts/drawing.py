"""A chart's frame, its style, and its simplest parts."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.reports.page import escaped

WIDTH = 340.0  # about a phone's: there a unit is a pixel, and text is as large as it says
HUES = 6

STYLE = """
:root { --s1: #0b5cad; --s2: #b3400a; --s3: #146c43; --s4: #7a3fb0; --s5: #8a5300; --s6: #5a6270; --bar: #c3ccd6; }
@media screen and (prefers-color-scheme: dark) { :root { --s1: #6cb4ff; --s2: #ff9a5c; --s3: #6fd3a0; --s4: #c99cff;
  --s5: #f0b95c; --s6: #a3abb6; --bar: #4a535f; } }
figure { margin: 0 0 1.6rem; break-inside: avoid; max-width: 25rem; }
figcaption { margin-bottom: .4rem; } figcaption strong { display: block; } figcaption small { color: var(--dim); }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
svg text { fill: var(--ink); } svg .dim { fill: var(--dim); } svg .end { text-anchor: end; }
  svg .middle { text-anchor: middle; } svg .small { font-size: 10.5px; }
  svg .cell { font-size: 11px; } svg .bold { font-weight: 700; }
.grid { stroke: var(--line); } .axis { stroke: var(--dim); } .guess { stroke: var(--dim); stroke-dasharray: 2 4; }
.bar { fill: var(--bar); } .mark { fill: var(--s1); } .gap { fill: none; stroke: var(--dim); stroke-dasharray: 3 3; }
.more { fill: var(--s2); } .less { fill: var(--s1); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .whisker { stroke-width: 1.5; }
.dot { fill: var(--paper); stroke-width: 2; }
.s1 { stroke: var(--s1); } .s2 { stroke: var(--s2); stroke-dasharray: 7 3; } .s3 { stroke: var(--s3); stroke-dasharray: 2 3; }
.s4 { stroke: var(--s4); stroke-dasharray: 9 3 2 3; } .s5 { stroke: var(--s5); stroke-dasharray: 4 2; }
.s6 { stroke: var(--s6); stroke-dasharray: 12 4; } .dot, .whisker { stroke-dasharray: none; }
.f1 { fill: var(--s1); } .f2 { fill: var(--s2); } .f3 { fill: var(--s3); } .f4 { fill: var(--s4); } .f5 { fill: var(--s5); }
  .f6 { fill: var(--s6); }
.legend { list-style: none; padding: 0; margin: .5rem 0 0; font-size: .85rem; overflow-wrap: anywhere; }
.legend li { position: relative; padding-left: 36px; }
.legend svg { position: absolute; left: 0; top: .35em; width: 28px; height: 12px; }
.swatch { display: inline-block; width: 28px; height: 12px; }
.strip { width: 120px; } .strip .whisker { stroke-width: 3; } .baseline { fill: none; stroke: var(--dim); }
  .ceiling { fill: var(--dim); stroke: var(--dim); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 0 2.5rem; }
.columns { columns: 15rem; column-gap: 2.2rem; }
"""


def drawing(told: str, height: float, parts: Iterable[str]) -> str:
    """An image of the parts; `told` is what it shows, for whoever does not see it."""
    return f'<svg viewBox="0 0 {WIDTH:g} {height:.4g}" role="img" aria-label="{escaped(told)}">{"".join(parts)}</svg>'


def chart(title: str, note: str, content: str) -> str:
    """A drawing with its legend, HTML already, under its title and a note on how to read it."""
    caption = f"<strong>{escaped(title)}</strong> <small>{escaped(note)}</small>"
    return f"<figure>\n<figcaption>{caption}</figcaption>\n{content}\n</figure>"


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
