"""`workbench api`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.api.serve import serve
from workbench.api.settings import Settings
from workbench.cli.terms import Json, show
from workbench.erasure.callback_url import CallbackRules
from workbench.errors import InputError
from workbench.foreign import read_text
from workbench.state.workspace import Workspace

_MOST_AUTHORITIES = 10_000_000  # bytes


def api(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="The address to listen at; others than loopback want --remote.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any that is free.", min=0, max=65535)] = 8421,
    remote: Annotated[bool, typer.Option("--remote", help="Let other machines in; TLS is a proxy's work.")] = False,
    domain: Annotated[str, typer.Option(help="What answers and callbacks call this server.")] = "localhost",
    per_token: Annotated[str, typer.Option(help="How often one token may call.")] = "200/second",
    per_client: Annotated[str, typer.Option(help="How often one address may call.")] = "400/second",
    plain_callbacks: Annotated[bool, typer.Option("--plain-callbacks", help="Call http addresses too.")] = False,
    private_callbacks: Annotated[
        bool, typer.Option("--private-callbacks", help="Call addresses inside this network too.")
    ] = False,
    callback_authorities: Annotated[
        Path | None, typer.Option(help="Certificates to trust for callbacks, in place of the system's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take erasure requests, and answer predictions, over HTTP; a worker or resume carries requests out."""
    authorities = _resolved(callback_authorities) if callback_authorities else None
    rules = CallbackRules(plain=plain_callbacks, private=private_callbacks, authorities=authorities)
    settings = Settings(domain=domain, per_token=per_token, per_client=per_client, callbacks=rules)

    def ready(url: str) -> None:
        show({"api": url, "openapi": f"{url}/openapi.json", "remote": remote}, as_json)

    serve(Workspace.serve(context.obj), settings, host, port, remote=remote, ready=ready)


def _resolved(authorities: Path) -> str:
    """The whole path: whoever tells callbacks by it later runs in another folder."""
    if not authorities.is_file():
        raise InputError("the file of --callback-authorities is not there", hint="a file of certificates, in PEM")

    read_text(authorities, most=_MOST_AUTHORITIES, what="file of --callback-authorities")
    return str(authorities.resolve(strict=True))
