"""Requests over HTTP: the server, and the tokens of those who ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.errors import InputError
from workbench.extras import require_extra

app = typer.Typer()
_MOST_AUTHORITIES = 10_000_000  # bytes
tokens_app = typer.Typer(help="Tokens for those who ask over HTTP.", no_args_is_help=True)
app.add_typer(tokens_app, name="tokens")

Token = Annotated[str, typer.Argument(help="A token by its id, as tokens list tells it.")]


@app.command()
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
    require_extra("api")
    from workbench.api.serve import serve
    from workbench.api.settings import Settings
    from workbench.erasure.callback_url import CallbackRules
    from workbench.state.workspace import Workspace

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
    from workbench.foreign import read_text

    read_text(authorities, most=_MOST_AUTHORITIES, what="file of --callback-authorities")
    return str(authorities.resolve(strict=True))


@tokens_app.command("create")
def tokens_create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The controller it stands for, a system rather than a person.")],
    scope: Annotated[
        list[str],
        typer.Option(help="requests:write, requests:read, predict, certificates, metrics; repeat for several."),
    ],
    days: Annotated[int, typer.Option(help="How long it is good for.")] = 90,
    as_json: Json = False,
) -> None:
    """Make a token; its secret is shown once."""
    from workbench.workflows.controllers.tokens import create_token

    show(create_token(opened(context), name, scope, days=days), as_json)


@tokens_app.command("list")
def tokens_list(context: typer.Context, as_json: Json = False) -> None:
    """List tokens by id, without their secrets."""
    from workbench.workflows.controllers.tokens import list_tokens

    show(list_tokens(opened(context)), as_json)


@tokens_app.command("revoke")
def tokens_revoke(context: typer.Context, token: Token, as_json: Json = False) -> None:
    """End a token at once."""
    from workbench.workflows.controllers.tokens import revoke_token

    show(revoke_token(opened(context), token), as_json)


@tokens_app.command("rotate")
def tokens_rotate(
    context: typer.Context,
    token: Token,
    days: Annotated[int, typer.Option(help="How long the new one is good for.")] = 90,
    grace_hours: Annotated[int, typer.Option(help="How long the old one still is.")] = 24,
    as_json: Json = False,
) -> None:
    """Make a token in the place of another, which ends after a grace."""
    from workbench.workflows.controllers.tokens import rotate_token

    show(rotate_token(opened(context), token, days=days, grace_hours=grace_hours), as_json)
