"""An erasure certificate as a page that a person can read: pure, from the signed statement alone.

The page stands for itself (no script, no link to load, nothing from the network), escapes whatever the statement holds, and
says that the signed file is the proof and not the page.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.reports.epsilon_text import odds
from workbench.reports.lenient_json import mapping, records, texts
from workbench.reports.page import page, series

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


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of some artifacts: a tag with its style, their names, and the rest of the sentence."""

    style: str = ""
    tag: str
    artifacts: Sequence[str] = ()
    text: str


@dataclass(frozen=True, kw_only=True)
class _Dataset:
    """What was done in a data set."""

    name: str
    outcomes: Sequence[_Outcome]
    unreviewed: str


@dataclass(frozen=True, kw_only=True)
class _Left:
    """Hits of the byte scan that were let stand, and why."""

    meaning: str
    hits: Sequence[Mapping[str, Any]]


def certificate_page(statement: Mapping[str, Any], *, signer: str, digest: str) -> str:
    """The page of a certificate whose signature by `signer` was checked; `digest` is the SHA-256 of its file."""
    it = _Statement(statement)
    scan = mapping(it.predicate.get("scan"))
    return page(
        "certificate.html",
        title=f"Certificate of erasure {it.request}",
        footer="Made from the signed certificate by the erasure workbench. This page is for reading: it is not signed, "
        "and only the certificate file proves anything.",
        it=it,
        sound=it.sound,
        names=[str(d.get("dataset", "")) for d in it.datasets],
        sentences=list(_sentences(it)),
        checked=f"All {len(it.checks)} checks that followed passed."
        if it.sound
        else "Not every check that followed passed: read the list below.",
        datasets=[_dataset(basis, it.together) for basis in it.datasets],
        batch=_batch(it.together),
        left=[_Left(meaning=said, hits=hits) for name, said in _STOOD.items() if (hits := records(scan.get(name)))],
        unsearched=texts(scan.get("not_searched")),
        commitment_command=_COMMITMENT,
        signer=signer,
        digest=digest,
        produced=[(subject.get("name", ""), _sha256(subject)) for subject in it.subjects],
        schemas=[(d.get("dataset", ""), d.get("schema_sha256", "")) for d in it.datasets],
        removed=it.texts("removed_checkpoints"),
        of_all=_of_all(it.together),
        environment=sorted(mapping(it.predicate.get("environment")).items()),
    )


class _Statement:
    """The statement's fields, each of the type the page needs whatever a later version wrote there."""

    def __init__(self, statement: Mapping[str, Any]) -> None:
        predicate = statement.get("predicate")
        self.predicate: Mapping[str, Any] = predicate if isinstance(predicate, dict) else {}
        self.subjects = records(statement.get("subject"))
        self.datasets = records(self.predicate.get("datasets"))
        self.checks = records(self.predicate.get("checks"))
        self.request, self.journal_head = (str(self.predicate.get(name, "")) for name in ("request", "journal_head"))
        self.received, self.completed = (self.predicate.get(name) for name in ("received", "completed"))
        together = self.predicate.get("requests_together")
        self.together = together if isinstance(together, int) else None

    def texts(self, name: str) -> list[str]:
        return texts(self.predicate.get(name))

    def field(self, name: str, key: str) -> str:
        value = self.predicate.get(name)
        return str(value.get(key, "")) if isinstance(value, dict) else ""

    @property
    def sound(self) -> bool:
        """Whether there were checks, and all passed."""
        return bool(self.checks) and all(check.get("ok") is True for check in self.checks)

    @property
    def artifacts(self) -> list[dict[str, Any]]:
        """The artifacts of all data sets."""
        return [artifact for dataset in self.datasets for artifact in records(dataset.get("artifacts"))]


def _sentences(it: _Statement) -> Iterator[str]:
    """What follows for the models and for what was kept."""
    if any(_is_exact(artifact) for artifact in it.artifacts):
        yield "The models are now exactly what they would be had that person never been in the data."
    if any(_is_exact(artifact) and "settings" in artifact for artifact in it.artifacts):
        yield "Not so the choice of some of their settings, which is told below."
    if any(_is_private(artifact) for artifact in it.artifacts):
        yield "Differentially private results were kept; what that means is said below."


def _dataset(basis: Mapping[str, Any], together: int | None) -> _Dataset:
    artifacts = records(basis.get("artifacts"))
    outcomes = [_artifact(artifact) for artifact in artifacts if not _is_private(artifact)]
    outcomes += _kept([artifact for artifact in artifacts if _is_private(artifact)])
    gone = Counter(texts(basis.get("purged")))
    if gone:
        listing = series([_counted(kind, number) for kind, number in sorted(gone.items())])
        said = f"{listing}, superseded by the erasure{_of_all(together)}."
        outcomes.append(_Outcome(style=" gone", tag="purged", text=said))
    unreviewed = series(texts(basis.get("unreviewed_domains")))
    return _Dataset(name=str(basis.get("dataset", "")), outcomes=outcomes, unreviewed=unreviewed)


def _of_all(together: int | None) -> str:
    """Say whose count it is: of all requests that were carried out together, where that is more than one or unknown."""
    if together is None:
        return " of this request and of any that was carried out with it"
    return f" of all {together:,} requests that were carried out together" if together > 1 else ""


def _batch(together: int | None) -> str:
    if together is None or together <= 1:
        return ""
    return f" This was done once for all {together:,} requests that were carried out together."


def _artifact(artifact: Mapping[str, Any]) -> _Outcome:
    names = [str(artifact.get("artifact", ""))]
    if "constituents_abstaining" in artifact:
        again, silent = _whole(artifact.get("constituents_retrained")), _whole(artifact.get("constituents_abstaining"))
        said = (
            f". {_private_parts(artifact, again)}, with fresh noise; {silent} without a model "
            "from now on, as the privacy budget allows no more training. Noise is kept nowhere, so this cannot be replayed: "
            "the lineage shows it."
        )
        return _Outcome(style=" kept", tag="trained anew, differentially private", artifacts=names, text=said)
    if not _is_exact(artifact):
        return _Outcome(style=" gone", tag="other", artifacts=names, text=f": {artifact.get('basis', '')}")
    again, same = _whole(artifact.get("constituents_retrained")), _whole(artifact.get("constituents_reused"))
    informed = (
        " Its settings were chosen by measuring on the records before, and kept: the choice may still reflect the person."
        if "settings" in artifact
        else ""
    )
    said = (
        f". {_parts(artifact, again, same)} It is bit for bit the model that training from scratch on the "
        f"remaining records gives with these settings, which can be replayed (see below).{informed}"
    )
    return _Outcome(tag="exact", artifacts=names, text=said)


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


def _kept(artifacts: Sequence[Mapping[str, Any]]) -> Iterator[_Outcome]:
    """One outcome for all that was kept under the same guarantee, as a generator is with its releases."""
    groups: dict[str, list[str]] = {}
    for artifact in artifacts:
        groups.setdefault(_meaning(artifact), []).append(str(artifact.get("artifact", "")))
    for meaning, names in groups.items():
        yield _Outcome(style=" kept", tag="kept, differentially private", artifacts=names, text=f". {meaning}")


def _meaning(artifact: Mapping[str, Any]) -> str:
    """What epsilon of a kept artifact says."""
    epsilon, delta = _number(artifact.get("epsilon")), _number(artifact.get("delta"))
    if epsilon is None or not math.isfinite(epsilon):
        return "Its privacy parameter is not a number: it protects nobody."
    return (
        f"Made with noise (ε = {epsilon:g}{f', δ = {delta:g}' if delta else ''}) and not changed by an erasure: "
        f"{odds(epsilon, delta)}"
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
    return f"{number} {one if number == 1 else many}"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return math.inf
