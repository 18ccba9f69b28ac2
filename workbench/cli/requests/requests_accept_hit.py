"""`workbench requests accept-hit`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, Request, opened, show
from workbench.workflows.erasure.accept_hit import accept_hit


def requests_accept_hit(
    context: typer.Context,
    request: Request,
    file: Annotated[str, typer.Option(help="The file, as the failed byte scan names it.")],
    reason: Annotated[str, typer.Option(help="Why it says nothing of the person; it stands on the certificate.")],
    offset: Annotated[
        int | None,
        typer.Option(help="The byte, as requests show names it; none for a file that can't be searched.", min=0),
    ] = None,
    mark: Annotated[str, typer.Option(help="The hit's mark, where several have this offset.")] = "",
    as_json: Json = False,
) -> None:
    """Answer for a hit of the byte scan that keeps a request open; resume then scans again."""
    show(accept_hit(opened(context), request, file=file, offset=offset, reason=reason, mark=mark), as_json)
