"""Evidence: certificates and their keys, lineage, searches, the state of the workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, opened_to_write, progress_of, show
from workbench.errors import CheckFailedError

app = typer.Typer()
_MOST_NEEDLES = 10_000_000  # bytes on standard input
keys_app = typer.Typer(help="The keys that sign certificates.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@app.command()
def verify(
    context: typer.Context,
    certificate: Annotated[Path, typer.Argument(help="A certificate, as a .json file.")],
    replay: Annotated[bool, typer.Option("--replay", help="Train the affected shards again and compare.")] = False,
    key: Annotated[Path | None, typer.Option(help="The signer's PUBLIC.pem; default: the workspace's own.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a certificate; with --key and no workspace, by its signature alone."""
    from workbench.workflows.erasure.verify import verify as run

    alone = key is not None and not replay and not (context.obj / "state.db").exists()
    with progress_of("verifying") as progress:
        result = run(None if alone else opened(context), certificate, key=key, replay=replay, progress=progress)
    show(result, as_json)
    raise typer.Exit(0 if result.valid else CheckFailedError.exit_code)


@app.command()
def certificate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A certificate, as a .json file.")],
    html: Annotated[Path, typer.Option(help="Where to write the page: a .html file.")],
    key: Annotated[Path | None, typer.Option(help="The signer's PUBLIC.pem; default: the workspace's own.")] = None,
    as_json: Json = False,
) -> None:
    """Write a certificate as a page for people, once its signature is verified."""
    from workbench.workflows.evaluation.report import report_certificate

    alone = key is not None and not (context.obj / "state.db").exists()
    show(report_certificate(None if alone else opened(context), file, html, key=key), as_json)


@app.command()
def forgetting(
    context: typer.Context,
    ensemble: Annotated[str, typer.Argument(help="A trained ensemble.")],
    subjects: Annotated[int, typer.Option(help="How many living subjects are erased on trial.")] = 100,
    canaries: Annotated[int, typer.Option(help="How many artificial subjects are learnt and erased on trial.")] = 50,
    controls: Annotated[int, typer.Option(help="How many of each are also erased by training from scratch.")] = 20,
    seed: Annotated[int, typer.Option(help="Equal seeds draw equal subjects and canaries.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Erase subjects on trial, in memory alone, and attack what is left: can they still be told? Internal, never stored."""
    from workbench.workflows.evaluation.forgetting_audit import forgetting as run

    with progress_of("forgetting") as progress:
        result = run(
            opened_to_write(context),
            ensemble,
            subjects=subjects,
            canaries=canaries,
            controls=controls,
            seed=seed,
            progress=progress,
        )
    show(result, as_json)
    raise typer.Exit(CheckFailedError.exit_code if result["finding"] == "not forgotten" else 0)


@keys_app.command("list")
def keys_list(context: typer.Context, as_json: Json = False) -> None:
    """List the keys that certificates of this workspace are verified with."""
    from workbench.workflows.erasure.signing_keys import list_keys

    show(list_keys(opened(context)), as_json)


@keys_app.command("rotate")
def keys_rotate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Only the signing key can be rotated.")] = "signing",
    as_json: Json = False,
) -> None:
    """Sign with a new key from now on; certificates signed before stay valid."""
    from workbench.workflows.erasure.signing_keys import rotate_key

    show(rotate_key(opened(context), name), as_json)


@app.command()
def lineage(
    context: typer.Context,
    artifact: Annotated[str, typer.Argument(metavar="ID", help="An artifact or a data set.")],
    as_json: Json = False,
) -> None:
    """Show what an artifact was derived from, and what from it; a data set's name shows all of its artifacts."""
    from workbench.workflows.operations.show_lineage import show_lineage

    show(show_lineage(opened(context), artifact), as_json)


@app.command()
def scan(
    context: typer.Context,
    needles: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="TEXT", help="What to look for; - reads one text per line from standard input."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search every file, log and database page, packed ones too, for texts that should not be there."""
    from workbench.workflows.operations.scan_workspace import scan as run

    texts = [text for needle in needles or () for text in (_read_lines() if needle == "-" else [needle])]
    result = run(opened(context), texts)
    show(result, as_json)
    raise typer.Exit(0 if result.clean else CheckFailedError.exit_code)


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check that a workspace is sound."""
    from workbench.workflows.operations.doctor import doctor as run

    result = run(opened(context))
    show(result, as_json)
    raise typer.Exit(0 if result.healthy else CheckFailedError.exit_code)


def _read_lines() -> list[str]:
    from workbench.foreign import read_stream, text_of

    what = "standard input"
    content = read_stream(sys.stdin.buffer, most=_MOST_NEEDLES, what=what) if sys.stdin else b""
    text = text_of(content, what=what, hint="convert it, for example with iconv")
    return [line.strip() for line in text.splitlines() if line.strip()]
