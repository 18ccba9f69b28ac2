"""`workbench keys list`."""

from __future__ import annotations

import typer

from workbench.cli.terms import Json, opened, show
from workbench.workflows.erasure.signing_keys import list_keys


def keys_list(context: typer.Context, as_json: Json = False) -> None:
    """List the keys that certificates of this workspace are verified with."""
    show(list_keys(opened(context)), as_json)
