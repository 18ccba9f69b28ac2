"""What all pages share: one self-contained file each, its style, and how texts, times and lists are written.

A page has no script, nothing to load and nothing from the network, and says so to the browser (Content-Security-Policy).
Whatever is put into one goes through `escaped`, or is HTML that was made of such.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --dim: #5a6270; --paper: #fff; --line: #d9dde3; --soft: #f4f6f8;
  --good: #146c43; --good-soft: #e8f5ee; --warn: #8a5300; --warn-soft: #fdf3e1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --dim: #a3abb6; --paper: #16191d; --line: #363c44;
  --soft: #1f2329; --good: #6fd3a0; --good-soft: #16301f; --warn: #f0b95c; --warn-soft: #33270f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, ul, ol, table, dl, pre { margin: 0 0 .8rem; }
ul, ol { padding-left: 1.3rem; } li { margin: .25rem 0; }
.kicker { color: var(--dim); font-size: .85rem; letter-spacing: .04em; text-transform: uppercase; margin: 0 0 .4rem; }
.verdict { border: 1px solid var(--line); border-left: .4rem solid var(--good); background: var(--good-soft);
  border-radius: .4rem; padding: 1.2rem 1.3rem; margin-bottom: 1rem; }
.verdict.open { border-left-color: var(--warn); background: var(--warn-soft); }
.verdict p:last-child { margin: 0; }
.card { border: 1px solid var(--line); border-radius: .4rem; padding: 1rem 1.2rem .4rem; margin: 0 0 1rem; }
.card h3 { margin-top: 0; }
.tag { display: inline-block; border-radius: 1rem; padding: 0 .6rem; font-size: .8rem; font-weight: 600;
  background: var(--good-soft); color: var(--good); }
.tag.kept { background: var(--warn-soft); color: var(--warn); } .tag.gone { background: var(--soft); color: var(--dim); }
.note { border-left: .25rem solid var(--warn); background: var(--warn-soft); padding: .6rem .9rem; border-radius: .2rem; }
dl { display: grid; grid-template-columns: 11rem 1fr; gap: .35rem 1rem; overflow-wrap: anywhere; } dt { color: var(--dim); }
  dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line); }
code, .mono { font: .86em/1.5 ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .3rem; padding: .7rem .9rem;
  margin-top: .5rem; white-space: pre-wrap; }
.annex { font-size: .92rem; border-top: 1px solid var(--line); margin-top: 3rem; }
footer { color: var(--dim); font-size: .85rem; margin-top: 2.5rem; }
@media (max-width: 34rem) { main { padding: 1.25rem 1rem 3rem; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .6rem; } h1 { font-size: 1.4rem; } }
@media print { :root { --ink: #000; --paper: #fff; --dim: #444; --line: #bbb; --soft: #f6f6f6; --good: #0b5a35;
  --good-soft: #fff; --warn: #6b4000; --warn-soft: #fff; } main { max-width: none; padding: 0; } body { font-size: 10.5pt; }
  .card, .verdict, pre, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } @page { margin: 18mm; } }
"""


def page(title: str, parts: Iterable[str], *, footer: str, style: str = "") -> str:
    """A whole page of `parts`, HTML already; `title` and `footer` are texts, `style` is added to what all pages have."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escaped(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + f"\n<footer>{escaped(footer)}</footer>\n</main>\n</body>\n</html>\n"
    )


def escaped(value: Any) -> str:
    """A value as text of a page or of an attribute; what no file can hold, half a surrogate pair, becomes a question mark."""
    return escape(str(value).encode("utf-8", "replace").decode())


def listed(title: str, items: Sequence[str], otherwise: str) -> str:
    """A heading with texts as a list, or a sentence where there is none."""
    body = f"<ul>{''.join(f'<li>{escaped(item)}</li>' for item in items)}</ul>" if items else f"<p>{otherwise}</p>"
    return f"<h2>{title}</h2>\n{body}"


def pairs(rows: Iterable[tuple[Any, str]]) -> str:
    """A list of terms; the values are HTML already."""
    return f"<dl>{''.join(f'<dt>{escaped(name)}</dt><dd>{value}</dd>' for name, value in rows)}</dl>\n"


def series(items: Sequence[str]) -> str:
    """Items, HTML already, as English lists them."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]])) if items else ""


def time(value: Any) -> str:
    """A moment to the minute, in UTC; what is none, as it stands."""
    moment = _moment(value)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC" if moment else escaped(value)


def day(value: Any) -> str:
    """The day of a moment, in UTC; what is none, as it stands."""
    moment = _moment(value)
    return f"{moment.day} {moment:%B %Y}" if moment else escaped(value)


def _moment(value: Any) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(str(value)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
