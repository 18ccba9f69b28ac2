"""`workbench keys rotate`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.erasure.signing_keys import rotate_key


def keys_rotate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Only the signing key can be rotated.")] = "signing",
    as_json: Json = False,
) -> None:
    """Sign with a new key from now on; certificates signed before stay valid."""
    show(rotate_key(opened(context), name), as_json)
