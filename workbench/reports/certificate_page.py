"""An erasure certificate as a page that a person can read: pure, from the signed statement alone.

The page stands for itself (no script, no link to load, nothing from the network), escapes whatever the statement holds, and
says that the signed file is the proof and not the page.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.reports.epsilon_text import odds
from workbench.reports.lenient_json import records, texts
from workbench.reports.page import day, escaped, listed, page, pairs, series, time

_KINDS = {
    "constituent": ("partial model", "partial models"),
    "ensemble": ("model version", "model versions"),
    "evaluation": ("evaluation", "evaluations"),
    "generator": ("generator of synthetic data", "generators of synthetic data"),
    "release": ("synthetic table", "synthetic tables"),
}
_STOOD = {
    "chance": "The same digits stand by chance in models learnt from other people's records. Learning them again, without the "
    "person's records, gave the same files:",
    "accepted": "A person of the organisation looked at these and answered for it that they say nothing of the person:",
    "unread": "These could not be searched to their end. A person of the organisation answered for it that they say nothing of "
    "the person:",
}
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
        *(_dataset(basis, it.together) for basis in it.datasets),
        _checks(it),
        _scan(it),
        listed("What stays on purpose", it.texts("stays"), "Nothing about the person."),
        listed("What this does not cover", it.texts("excluded"), "Nothing was excluded."),
        _recipients(it.texts("notify")),
        _verifying(it),
        _annex(it, signer, digest),
    ]
    return page(
        f"Certificate of erasure {it.request}",
        parts,
        footer="Made from the signed certificate by the erasure workbench. This page is for reading: it is not signed, "
        "and only the certificate file proves anything.",
    )


class _Statement:
    """The statement's fields, each of the type the page needs whatever a later version wrote there."""

    def __init__(self, statement: Mapping[str, Any]) -> None:
        predicate = statement.get("predicate")
        self.predicate: Mapping[str, Any] = predicate if isinstance(predicate, dict) else {}
        self.subjects = records(statement.get("subject"))
        self.datasets = records(self.predicate.get("datasets"))
        self.checks = records(self.predicate.get("checks"))
        self.request = str(self.predicate.get("request", ""))
        together = self.predicate.get("requests_together")
        self.together = together if isinstance(together, int) else None

    def texts(self, name: str) -> list[str]:
        return texts(self.predicate.get(name))

    def field(self, name: str, key: str) -> str:
        value = self.predicate.get(name)
        return str(value.get(key, "")) if isinstance(value, dict) else ""


def _verdict(it: _Statement) -> str:
    sound = bool(it.checks) and all(check.get("ok") is True for check in it.checks)
    names = series([f"<strong>{escaped(d.get('dataset', ''))}</strong>" for d in it.datasets]) or "no data set"
    kept = any(_is_private(artifact) for d in it.datasets for artifact in records(d.get("artifacts")))
    when = day(it.predicate.get("completed"))
    told = [f"On {when} the person of request <strong>{escaped(it.request)}</strong> was removed from {names}."]
    if any(_is_exact(artifact) for d in it.datasets for artifact in records(d.get("artifacts"))):
        told.append("The models are now exactly what they would be had that person never been in the data.")
    if any(_is_exact(a) and "settings" in a for d in it.datasets for a in records(d.get("artifacts"))):
        told.append("Not so the choice of some of their settings, which is told below.")
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
        f"<dl><dt>Request</dt><dd>{escaped(it.request)}</dd><dt>Received</dt><dd>{time(it.predicate.get('received'))}</dd>"
        f"<dt>Completed</dt><dd>{time(it.predicate.get('completed'))}</dd></dl>"
    )


def _dataset(basis: Mapping[str, Any], together: int | None) -> str:
    artifacts = records(basis.get("artifacts"))
    items = [
        "<li><strong>Records</strong>: every row of the person was deleted from the store.</li>",
        *(_artifact(artifact) for artifact in artifacts if not _is_private(artifact)),
        *_kept([artifact for artifact in artifacts if _is_private(artifact)]),
    ]
    gone = Counter(texts(basis.get("purged")))
    if gone:
        listing = series([_counted(kind, number) for kind, number in sorted(gone.items())])
        items.append(
            f'<li><span class="tag gone">purged</span> {listing}, superseded by the erasure{_of_all(together)}.</li>'
        )
    unreviewed = texts(basis.get("unreviewed_domains"))
    note = (
        '<p class="note">The value ranges of these columns were proposed from the data and confirmed by nobody, so they may '
        f"still reflect it: {series([escaped(name) for name in unreviewed])}.</p>"
        if unreviewed
        else ""
    )
    return f'<section class="card">\n<h3>{escaped(basis.get("dataset", ""))}</h3>\n<ul>{"".join(items)}</ul>\n{note}</section>'


def _of_all(together: int | None) -> str:
    """Say whose count it is: of all requests that were carried out together, where that is more than one or unknown."""
    if together is None:
        return " of this request and of any that was carried out with it"
    return f" of all {together:,} requests that were carried out together" if together > 1 else ""


def _artifact(artifact: Mapping[str, Any]) -> str:
    name = f"<code>{escaped(artifact.get('artifact', ''))}</code>"
    if "constituents_abstaining" in artifact:
        again, silent = _whole(artifact.get("constituents_retrained")), _whole(artifact.get("constituents_abstaining"))
        return (
            f'<li><span class="tag kept">trained anew, differentially private</span> {name}. '
            f"{_private_parts(artifact, again)}, with fresh noise; {silent} without a model "
            "from now on, as the privacy budget allows no more training. Noise is kept nowhere, so this cannot be replayed: "
            "the lineage shows it.</li>"
        )
    if not _is_exact(artifact):
        return f'<li><span class="tag gone">other</span> {name}: {escaped(artifact.get("basis", ""))}</li>'
    again, same = _whole(artifact.get("constituents_retrained")), _whole(artifact.get("constituents_reused"))
    how = _parts(artifact, again, same)
    informed = (
        " Its settings were chosen by measuring on the records before, and kept: the choice may still reflect the person."
        if "settings" in artifact
        else ""
    )
    return (
        f'<li><span class="tag">exact</span> {name}. {how} It is bit for bit the model that training from scratch on the '
        f"remaining records gives with these settings, which can be replayed (see below).{informed}</li>"
    )


def _parts(artifact: Mapping[str, Any], again: int, same: int) -> str:
    """Say which parts of a model had learnt from the person, and which were trained again for others.

    A certificate without `constituents_of_person` counts for all requests that were carried out together.
    """
    unchanged = f"{same} {'is' if same == 1 else 'are'} unchanged"
    if not again:
        return "No part of it had learnt from the person, so nothing had to be trained again."
    mine, was = artifact.get("constituents_of_person"), "was" if again == 1 else "were"
    if not isinstance(mine, int):
        return (
            f"{_counted('constituent', again)} had learnt from the person, or from people whose requests were carried out "
            f"with this one, and {was} trained again without them; {unchanged}."
        )
    said = "No part of it had learnt from the person"
    if mine:
        said = (
            f"{_counted('constituent', mine)} had learnt from the person and {'was' if mine == 1 else 'were'} trained "
        )
        said += "again without them"
    if again > mine:
        others = f"{again - mine} {'other was' if again - mine == 1 else 'others were'}" if mine else f"{again} {was}"
        said += f"; {others} trained again for requests that were carried out with this one"
    return f"{said}; {unchanged}."


def _private_parts(artifact: Mapping[str, Any], again: int) -> str:
    mine = artifact.get("constituents_of_person")
    if isinstance(mine, int) and not mine:
        others = f"{_counted('constituent', again)} trained again for requests that were carried out with this one"
        return f"No part of it had learnt from the person; {others}"
    more = isinstance(mine, int) and again > mine
    return f"{_counted('constituent', again)} trained again without the person{' and others' if more else ''}"


def _kept(artifacts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One item for all that was kept under the same guarantee, as a generator is with its releases."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for artifact in artifacts:
        groups.setdefault(_meaning(artifact), []).append(artifact)
    for meaning, group in groups.items():
        names = series([f"<code>{escaped(artifact.get('artifact', ''))}</code>" for artifact in group])
        yield f'<li><span class="tag kept">kept, differentially private</span> {names}. {meaning}</li>'


def _meaning(artifact: Mapping[str, Any]) -> str:
    """What epsilon of a kept artifact says."""
    epsilon, delta = _number(artifact.get("epsilon")), _number(artifact.get("delta"))
    if epsilon is None or not math.isfinite(epsilon):
        return "Its privacy parameter is not a number: it protects nobody."
    return (
        f"Made with noise (ε = {epsilon:g}{f', δ = {delta:g}' if delta else ''}) and not changed by an erasure: "
        f"{odds(epsilon, delta)}"
    )


def _checks(it: _Statement) -> str:
    rows = "".join(
        f"<tr><td>{'passed' if check.get('ok') is True else '<strong>failed</strong>'}</td>"
        f"<td>{escaped(check.get('name', ''))}</td><td>{escaped(check.get('detail', ''))}</td></tr>"
        for check in it.checks
    )
    together = it.together or 1
    batch = f" This was done once for all {together:,} requests that were carried out together." if together > 1 else ""
    return (
        "<h2>What was checked afterwards</h2>\n<p>The store, the models and every byte of the workspace were read again, "
        f"without relying on what the erasure had reported.{batch}</p>\n"
        f"<table><thead><tr><th>Result</th><th>Check</th><th>Found</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _scan(it: _Statement) -> str:
    """What the byte scan found and let stand, and what it did not search; nothing where there is nothing to say."""
    scan = it.predicate.get("scan")
    if not isinstance(scan, Mapping):
        return ""
    parts = []
    for name, said in _STOOD.items():
        found = "".join(
            f"<li><code>{escaped(hit.get('file', ''))}</code>"
            f"{' at byte ' + escaped(hit['offset']) if 'offset' in hit else ''}"
            f"{' (' + escaped(hit['unread']) + ')' if hit.get('unread') else ''}"
            f"{': ' + escaped(hit['reason']) if hit.get('reason') else ''}</li>"
            for hit in records(scan.get(name))
        )
        parts += [f"<p>{said}</p>\n<ul>{found}</ul>"] if found else []
    unsearched = "".join(f"<li>{escaped(text)}</li>" for text in texts(scan.get("not_searched")))
    parts += [f"<p>Not searched:</p>\n<ul>{unsearched}</ul>"] if unsearched else []
    return "<h3>What the search for the identifier left</h3>\n" + "\n".join(parts) if parts else ""


def _recipients(releases: Sequence[str]) -> str:
    if not releases:
        return "<h2>Recipients to notify</h2>\n<p>No release made from these data is on record: there is nobody to notify.</p>"
    listing = "".join(f"<li><code>{escaped(release)}</code></li>" for release in releases)
    return (
        "<h2>Recipients to notify</h2>\n<p>Whoever was given one of these releases must be told of the erasure, unless that "
        f"proves impossible or takes a disproportionate effort (GDPR Art. 19):</p>\n<ul>{listing}</ul>"
    )


def _verifying(it: _Statement) -> str:
    file = f"{escaped(it.request)}.json"
    return (
        "<h2>How to verify this</h2>\n<ol>"
        "<li>That the certificate is genuine and unaltered. Take the public key from the organisation itself, never from the "
        f"sender of the certificate:<pre><code>workbench verify {file} --key PUBLIC.pem</code></pre></li>"
        "<li>That the workspace still holds what was certified, and that training from scratch gives the same models. This "
        f"is for whoever has the workspace:<pre><code>workbench verify {file} --replay</code></pre></li>"
        "<li>That it is about you. The certificate names nobody: it holds a commitment, a fingerprint of your identifier mixed "
        "with a random number (the nonce) that was given to you alone with the receipt. With both of them this command "
        "asks for your nonce and your identifier, and must print the value below:"
        f"<pre><code>{escaped(_COMMITMENT)}</code></pre>"
        f"<p>Commitment<br><code>{escaped(it.field('commitment', 'value'))}</code><br>"
        f"<small>{escaped(it.field('commitment', 'algorithm'))}</small></p></li></ol>"
    )


def _annex(it: _Statement, signer: str, digest: str) -> str:
    removed = it.texts("removed_checkpoints")
    environment = it.predicate.get("environment")
    code = (
        [(name, f"<code>{escaped(value)}</code>") for name, value in sorted((environment or {}).items())]
        if isinstance(environment, dict)
        else []
    )
    produced = [(s.get("name", ""), f"<code>{escaped(_sha256(s))}</code>") for s in it.subjects]
    schemas = [(d.get("dataset", ""), f"<code>{escaped(d.get('schema_sha256', ''))}</code>") for d in it.datasets]
    return (
        '<section class="annex">\n<h2>Technical annex</h2>\n'
        + pairs(
            [
                ("Certificate file, SHA-256", f"<code>{escaped(digest)}</code>"),
                ("Signed by", f"<code>{escaped(signer)}</code>"),
                ("Journal head", f"<code>{escaped(it.predicate.get('journal_head', ''))}</code>"),
            ]
        )
        + "<h3>Signed digests (SHA-256)</h3>\n"
        + pairs(produced)
        + "<h3>Schemas (SHA-256)</h3>\n"
        + pairs(schemas)
        + f"<h3>Model files removed ({len(removed)}{escaped(_of_all(it.together))})</h3>\n"
        + (f"<ul>{''.join(f'<li><code>{escaped(d)}</code></li>' for d in removed)}</ul>" if removed else "<p>None.</p>")
        + "<h3>Environment</h3>\n<p>Bit-identity is promised on the same code, libraries and platform.</p>\n"
        + pairs(code)
        + "</section>"
    )


def _sha256(subject: Mapping[str, Any]) -> str:
    digest = subject.get("digest")
    return str(digest.get("sha256", "")) if isinstance(digest, dict) else ""


def _is_exact(artifact: Mapping[str, Any]) -> bool:
    return str(artifact.get("basis", "")).startswith("exact")


def _is_private(artifact: Mapping[str, Any]) -> bool:
    return str(artifact.get("basis", "")).startswith("kept") and "epsilon" in artifact


def _counted(kind: str, number: int) -> str:
    one, many = _KINDS.get(kind, (kind, kind))
    return f"{number} {escaped(one if number == 1 else many)}"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return math.inf
