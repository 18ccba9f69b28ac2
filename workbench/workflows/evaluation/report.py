"""Writing results as pages and cards for people. Each is made anew and kept nowhere: the stored result stays the only truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from workbench.data import catalog
from workbench.erasure.left_out import refuse_unless_left_out
from workbench.errors import BusyError, InputError
from workbench.privacy.holds import stated
from workbench.privacy.ledger import Ledger
from workbench.reports.cards import data_card, model_card
from workbench.reports.certificate_page import certificate_page
from workbench.reports.comparison_page import comparison_page
from workbench.reports.evaluation_document import Evaluation
from workbench.reports.evaluation_page import evaluation_page
from workbench.state import lineage
from workbench.state.atomic_files import check_output, file_sha256, write_atomic
from workbench.state.lineage import Artifact
from workbench.state.roles import internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.verify import opened
from workbench.workflows.evaluation.results import CardFile, CertificateFile, ComparedFigure, Comparison, ReportFile
from workbench.workflows.evaluation.stored_evaluations import stored_evaluation
from workbench.workflows.outputs import Judge, judge_now, place_bytes


@open_to_all
def report_certificate(
    workspace: Workspace | None, certificate: Path, html: Path, *, key: Path | None = None
) -> CertificateFile:
    """Writes a certificate as a page, once its signature is verified; raises CheckFailedError and writes nothing otherwise."""
    check_output(html, (".html",))
    content, signer, digest = certificate_html(workspace, certificate, key=key)
    write_atomic(html, content.encode())
    return CertificateFile(certificate=certificate, html=html, signed_by=signer, sha256=digest)


@open_to_all
def certificate_html(
    workspace: Workspace | None, certificate: Path, *, key: Path | None = None
) -> tuple[str, str, str]:
    """A certificate's page with its signer and its digest; raises CheckFailedError where its signature doesn't hold."""
    statement, signer = opened(workspace, certificate, key)
    digest = file_sha256(certificate)
    return certificate_page(statement, signer=signer, digest=digest), signer, digest


@open_to_all
def evaluation_html(workspace: Workspace, name: str, *, dataset: str | None = None) -> str:
    """An evaluation's page, which is as internal as it is; raises NotFoundError where there is none, else as `_judge`."""
    evaluation, artifact = stored_evaluation(workspace, name, dataset)
    page = evaluation_page(evaluation.to_json())
    judge_now(workspace, _judge(artifact))
    return page


@open_to_all
def comparison_html(workspace: Workspace, names: Sequence[str]) -> str:
    """The page of several evaluations beside each other; raises InputError where there are fewer than two."""
    documents, judge = _evaluations(workspace, names)
    page = comparison_page([one.to_json() for one in documents])
    judge_now(workspace, judge)
    return page


def _judge(*evaluations: Artifact) -> Judge:
    """What refuses figures that were computed from the rows of a person who waits for an erasure, or was erased since.

    It raises BusyError where a subject of the data set has an open request, or an evaluation was purged or made again.
    """

    def judge(connection: Connection) -> None:
        for evaluation in evaluations:
            without = evaluation.body.get("without", ())
            refuse_unless_left_out(connection, evaluation.dataset, without, "nothing that read its rows is handed out")
            current = {a.id: a.digest for a in lineage.find(connection, dataset=evaluation.dataset, kind="evaluation")}
            if current.get(evaluation.id) != evaluation.digest:
                raise BusyError(f"{evaluation.id} was purged or made again since", hint="evaluate it, then try again")

    return judge


@internal
def check_page(workspace: Workspace, path: Path, endings: tuple[str, ...] = (".html",)) -> None:
    """Raises InputError where a page can't be written there; in a workspace, no erasure would find it."""
    check_output(path, endings)
    if path.resolve().is_relative_to(workspace.root):
        raise InputError(
            "a page can't lie in the workspace: it would outlive the people in it", hint="name another folder"
        )


@open_to_all
def report_evaluation(workspace: Workspace, name: str, html: Path, *, dataset: str | None = None) -> ReportFile:
    """Writes an evaluation as a page, which is as internal as it is; raises NotFoundError where there is none.

    Raises BusyError where a subject of its data set has an open request when the page would appear.
    """
    check_page(workspace, html)
    evaluation, artifact = stored_evaluation(workspace, name, dataset)
    place_bytes(workspace, html, evaluation_page(evaluation.to_json()).encode(), _judge(artifact), private=True)
    fit_for = {verdict.use: verdict.holds for verdict in evaluation.verdicts}
    return ReportFile(evaluation=evaluation.id, html=html, fit_for=fit_for)


@open_to_all
def report_card(workspace: Workspace, name: str, markdown: Path, *, internal: bool = False) -> CardFile:
    """Writes the card of a release or an ensemble; one that is not `internal` tells no figure computed from people's records.

    It names the uses that were judged, and no verdict: that is a function of those figures. Raises as `report_evaluation`.
    """
    check_page(workspace, markdown, (".md",))
    evaluation, artifact = stored_evaluation(workspace, name)
    if evaluation.kind == "erasure":
        raise InputError("an erasure has no card", hint="workbench certificate FILE --html PAGE.html")
    with workspace.engine.connect() as connection:
        schema = catalog.entry(connection, evaluation.dataset).schema
        remarks = [one.sentence for one in stated(connection, schema.population) if one.kind == "nothing_charged"]
    remarks += [one.sentence for one in Ledger(workspace.engine).raises(schema.population)]
    make = data_card if evaluation.kind == "release" else model_card
    card = make(evaluation.to_json(), schema, internal=internal, remarks=remarks).encode()
    place_bytes(workspace, markdown, card, _judge(artifact), private=internal)
    return CardFile(evaluation=evaluation.id, card=markdown, internal=internal)


@open_to_all
def compare(workspace: Workspace, names: Sequence[str], html: Path | None = None) -> Comparison:
    """The figures of several evaluations beside each other, also as a page; raises NotFoundError where one is lacking.

    Raises BusyError where a subject of a data set has an open request when they would be seen.
    """
    if html is not None:
        check_page(workspace, html)
    documents, judge = _evaluations(workspace, names)
    better: dict[str, str] = {}
    values: dict[str, dict[str, float | None]] = {}
    for document in documents:
        for measure in document.measures:
            name, estimate = measure.definition.name, measure.estimate
            better.setdefault(name, measure.definition.better)
            values.setdefault(name, {})[document.of] = estimate.value if estimate else None
    found = Comparison(
        compared=tuple(document.of for document in documents),
        figures=tuple(ComparedFigure(figure=name, better=better[name], values=of) for name, of in values.items()),
        html=html,
    )
    if html is not None:
        place_bytes(
            workspace, html, comparison_page([one.to_json() for one in documents]).encode(), judge, private=True
        )
    judge_now(workspace, judge)
    return found


def _evaluations(workspace: Workspace, names: Sequence[str]) -> tuple[list[Evaluation], Judge]:
    """The documents of several evaluations, and what judges all of them."""
    stored = [stored_evaluation(workspace, name) for name in dict.fromkeys(names)]
    if len(stored) < 2:
        raise InputError("a comparison takes two evaluations or more", hint="workbench compare ID ID")
    return [document for document, _ in stored], _judge(*(artifact for _, artifact in stored))
