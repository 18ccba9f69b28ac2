"""An erasure certificate as a page that a person can read: pure, from the signed statement alone.

The page stands for itself (no script, no link to load, nothing from the network), escapes whatever the statement holds, and
says that the signed file is the proof and not the page.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

_KINDS = {
    "constituent": ("partial model", "partial models"),
    "ensemble": ("model version", "model versions"),
    "evaluation": ("evaluation", "evaluations"),
    "generator": ("generator of synthetic data", "generators of synthetic data"),
    "release": ("synthetic table", "synthetic tables"),
}
_STYLE = """
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
_COMMITMENT = (
    "python3 -c \"import hashlib; print(hashlib.sha256(bytes.fromhex(input('nonce: '))"
    " + input('identifier: ').strip().encode()).hexdigest())\""
)


def certificate_page(statement: Mapping[str, Any], *, signer: str, digest: str) -> str:
    """The page of a certificate whose signature by `signer` was checked; `digest` is the SHA-256 of its file."""
    it = _Statement(statement)
    parts = [
        _verdict(it),
        "<h2>What was done</h2>",
        *map(_dataset, it.datasets),
        _checks(it),
        _list("What stays on purpose", it.texts("stays"), "Nothing about the person."),
        _list("What this does not cover", it.texts("excluded"), "Nothing was excluded."),
        _recipients(it.texts("notify")),
        _verifying(it),
        _annex(it, signer, digest),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Certificate of erasure {_e(it.request)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n<footer>Made from the signed certificate by the erasure workbench. This page is for reading: it is not signed, "
        "and only the certificate file proves anything.</footer>\n</main>\n</body>\n</html>\n"
    )


class _Statement:
    """The statement's fields, each of the type the page needs whatever a later version wrote there."""

    def __init__(self, statement: Mapping[str, Any]) -> None:
        predicate = statement.get("predicate")
        self.predicate: Mapping[str, Any] = predicate if isinstance(predicate, dict) else {}
        self.subjects = _records(statement.get("subject"))
        self.datasets = _records(self.predicate.get("datasets"))
        self.checks = _records(self.predicate.get("checks"))
        self.request = str(self.predicate.get("request", ""))

    def texts(self, name: str) -> list[str]:
        return _texts(self.predicate.get(name))

    def field(self, name: str, key: str) -> str:
        value = self.predicate.get(name)
        return str(value.get(key, "")) if isinstance(value, dict) else ""


def _records(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _verdict(it: _Statement) -> str:
    sound = bool(it.checks) and all(check.get("ok") is True for check in it.checks)
    names = _series([f"<strong>{_e(d.get('dataset', ''))}</strong>" for d in it.datasets]) or "no data set"
    kept = any(_is_private(artifact) for d in it.datasets for artifact in _records(d.get("artifacts")))
    when = _day(it.predicate.get("completed"))
    told = [f"On {when} the person of request <strong>{_e(it.request)}</strong> was removed from {names}."]
    if any(_is_exact(artifact) for d in it.datasets for artifact in _records(d.get("artifacts"))):
        told.append("The models are now exactly what they would be had that person never been in the data.")
    if kept:
        told.append("Differentially private results were kept; what that means is said below.")
    checked = (
        f"All {len(it.checks)} checks that followed passed."
        if sound
        else "Not every check that followed passed: read the list below."
    )
    return (
        '<p class="kicker">Certificate of erasure</p>\n'
        f'<section class="verdict{"" if sound else " open"}">\n'
        f"<h1>{'The person has been erased.' if sound else 'This erasure needs a closer look.'}</h1>\n"
        f"<p>{' '.join(told)}</p>\n<p>{checked}</p>\n</section>\n"
        f"<dl><dt>Request</dt><dd>{_e(it.request)}</dd><dt>Received</dt><dd>{_time(it.predicate.get('received'))}</dd>"
        f"<dt>Completed</dt><dd>{_time(it.predicate.get('completed'))}</dd></dl>"
    )


def _dataset(basis: Mapping[str, Any]) -> str:
    artifacts = _records(basis.get("artifacts"))
    items = [
        "<li><strong>Records</strong>: every row of the person was deleted from the store.</li>",
        *(_artifact(artifact) for artifact in artifacts if not _is_private(artifact)),
        *_kept([artifact for artifact in artifacts if _is_private(artifact)]),
    ]
    gone = Counter(_texts(basis.get("purged")))
    if gone:
        listed = _series([_counted(kind, number) for kind, number in sorted(gone.items())])
        items.append(f'<li><span class="tag gone">purged</span> {listed}, superseded by the erasure.</li>')
    unreviewed = _texts(basis.get("unreviewed_domains"))
    note = (
        '<p class="note">The value ranges of these columns were proposed from the data and confirmed by nobody, so they may '
        f"still reflect it: {_series([_e(name) for name in unreviewed])}.</p>"
        if unreviewed
        else ""
    )
    return (
        f'<section class="card">\n<h3>{_e(basis.get("dataset", ""))}</h3>\n<ul>{"".join(items)}</ul>\n{note}</section>'
    )


def _artifact(artifact: Mapping[str, Any]) -> str:
    name = f"<code>{_e(artifact.get('artifact', ''))}</code>"
    if "constituents_abstaining" in artifact:
        again, silent = _whole(artifact.get("constituents_retrained")), _whole(artifact.get("constituents_abstaining"))
        return (
            f'<li><span class="tag kept">trained anew, differentially private</span> {name}. '
            f"{_counted('constituent', again)} trained again without the person, with fresh noise; {silent} without a model "
            "from now on, as the privacy budget allows no more training. Noise is kept nowhere, so this cannot be replayed: "
            "the lineage shows it.</li>"
        )
    if not _is_exact(artifact):
        return f'<li><span class="tag gone">other</span> {name}: {_e(artifact.get("basis", ""))}</li>'
    again, same = _whole(artifact.get("constituents_retrained")), _whole(artifact.get("constituents_reused"))
    how = (
        f"{_counted('constituent', again)} had learnt from the person and {'was' if again == 1 else 'were'} trained again "
        f"without them; {same} never had and {'is' if same == 1 else 'are'} unchanged."
        if again
        else "No part of it had learnt from the person, so nothing had to be trained again."
    )
    return (
        f'<li><span class="tag">exact</span> {name}. {how} It is bit for bit the model that training from scratch on the '
        "remaining records gives, which can be replayed (see below).</li>"
    )


def _kept(artifacts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One item for all that was kept under the same guarantee, as a generator is with its releases."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for artifact in artifacts:
        groups.setdefault(_meaning(artifact), []).append(artifact)
    for meaning, group in groups.items():
        names = _series([f"<code>{_e(artifact.get('artifact', ''))}</code>" for artifact in group])
        yield f'<li><span class="tag kept">kept, differentially private</span> {names}. {meaning}</li>'


def _meaning(artifact: Mapping[str, Any]) -> str:
    """What epsilon says, as the most it can change anybody's odds."""
    epsilon, delta = _number(artifact.get("epsilon")), _number(artifact.get("delta"))
    if epsilon is None or not math.isfinite(epsilon):
        return "Its privacy parameter is not a number: it protects nobody."
    factor = math.exp(epsilon) if epsilon < 700 else math.inf
    odds = f"{factor:,.2f}" if factor < 10 else f"{factor:,.0f}" if factor < 1e6 else "over a million"
    but = f", except with a probability of at most 1 in {1 / delta:,.0f}" if delta and delta > 0 else ""
    weak = " This is weak protection." if epsilon > 10 else ""
    return (
        f"Made with noise (ε = {epsilon:g}{f', δ = {delta:g}' if delta else ''}) and not changed by an erasure: "
        f"whatever anybody concludes from it, the odds that the person was in the data move by a factor of at most {odds}"
        f"{but}.{weak}"
    )


def _checks(it: _Statement) -> str:
    rows = "".join(
        f"<tr><td>{'passed' if check.get('ok') is True else '<strong>failed</strong>'}</td>"
        f"<td>{_e(check.get('name', ''))}</td><td>{_e(check.get('detail', ''))}</td></tr>"
        for check in it.checks
    )
    return (
        "<h2>What was checked afterwards</h2>\n<p>The store, the models and every byte of the workspace were read again, "
        "without relying on what the erasure had reported.</p>\n"
        f"<table><thead><tr><th>Result</th><th>Check</th><th>Found</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _list(title: str, items: Sequence[str], otherwise: str) -> str:
    body = f"<ul>{''.join(f'<li>{_e(item)}</li>' for item in items)}</ul>" if items else f"<p>{otherwise}</p>"
    return f"<h2>{title}</h2>\n{body}"


def _recipients(releases: Sequence[str]) -> str:
    if not releases:
        return "<h2>Recipients to notify</h2>\n<p>No release made from these data is on record: there is nobody to notify.</p>"
    listed = "".join(f"<li><code>{_e(release)}</code></li>" for release in releases)
    return (
        "<h2>Recipients to notify</h2>\n<p>Whoever was given one of these releases must be told of the erasure, unless that "
        f"proves impossible or takes a disproportionate effort (GDPR Art. 19):</p>\n<ul>{listed}</ul>"
    )


def _verifying(it: _Statement) -> str:
    file = f"{_e(it.request)}.json"
    return (
        "<h2>How to verify this</h2>\n<ol>"
        "<li>That the certificate is genuine and unaltered. Take the public key from the organisation itself, never from the "
        f"sender of the certificate:<pre><code>workbench verify {file} --key PUBLIC.pem</code></pre></li>"
        "<li>That the workspace still holds what was certified, and that training from scratch gives the same models. This "
        f"is for whoever has the workspace:<pre><code>workbench verify {file} --replay</code></pre></li>"
        "<li>That it is about you. The certificate names nobody: it holds a commitment, a fingerprint of your identifier mixed "
        "with a random number (the nonce) that was given to you alone with the receipt. With both of them this command "
        f"asks for your nonce and your identifier, and must print the value below:<pre><code>{_e(_COMMITMENT)}</code></pre>"
        f"<p>Commitment<br><code>{_e(it.field('commitment', 'value'))}</code><br>"
        f"<small>{_e(it.field('commitment', 'algorithm'))}</small></p></li></ol>"
    )


def _annex(it: _Statement, signer: str, digest: str) -> str:
    removed = it.texts("removed_checkpoints")
    environment = it.predicate.get("environment")
    code = (
        [(name, f"<code>{_e(value)}</code>") for name, value in sorted((environment or {}).items())]
        if isinstance(environment, dict)
        else []
    )
    produced = [(s.get("name", ""), f"<code>{_e(_sha256(s))}</code>") for s in it.subjects]
    schemas = [(d.get("dataset", ""), f"<code>{_e(d.get('schema_sha256', ''))}</code>") for d in it.datasets]
    return (
        '<section class="annex">\n<h2>Technical annex</h2>\n'
        + _pairs(
            [
                ("Certificate file, SHA-256", f"<code>{_e(digest)}</code>"),
                ("Signed by", f"<code>{_e(signer)}</code>"),
                ("Journal head", f"<code>{_e(it.predicate.get('journal_head', ''))}</code>"),
            ]
        )
        + "<h3>Signed digests (SHA-256)</h3>\n"
        + _pairs(produced)
        + "<h3>Schemas (SHA-256)</h3>\n"
        + _pairs(schemas)
        + f"<h3>Model files removed ({len(removed)})</h3>\n"
        + (f"<ul>{''.join(f'<li><code>{_e(d)}</code></li>' for d in removed)}</ul>" if removed else "<p>None.</p>")
        + "<h3>Environment</h3>\n<p>Bit-identity is promised on the same code, libraries and platform.</p>\n"
        + _pairs(code)
        + "</section>"
    )


def _sha256(subject: Mapping[str, Any]) -> str:
    digest = subject.get("digest")
    return str(digest.get("sha256", "")) if isinstance(digest, dict) else ""


def _pairs(rows: Iterable[tuple[Any, str]]) -> str:
    """A list of terms; the values are HTML already."""
    return f"<dl>{''.join(f'<dt>{_e(name)}</dt><dd>{value}</dd>' for name, value in rows)}</dl>\n"


def _is_exact(artifact: Mapping[str, Any]) -> bool:
    return str(artifact.get("basis", "")).startswith("exact")


def _is_private(artifact: Mapping[str, Any]) -> bool:
    return str(artifact.get("basis", "")).startswith("kept") and "epsilon" in artifact


def _counted(kind: str, number: int) -> str:
    one, many = _KINDS.get(kind, (kind, kind))
    return f"{number} {_e(one if number == 1 else many)}"


def _series(items: Sequence[str]) -> str:
    """Items, HTML already, as English lists them."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]])) if items else ""


def _time(value: Any) -> str:
    moment = _moment(value)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC" if moment else _e(value)


def _day(value: Any) -> str:
    moment = _moment(value)
    return f"{moment.day} {moment:%B %Y}" if moment else _e(value)


def _moment(value: Any) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(str(value)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return math.inf


def _e(value: Any) -> str:
    return escape(str(value))
