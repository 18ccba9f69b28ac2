"""Which data sets a request is about, and the person's key in each."""

from __future__ import annotations

from workbench.data import catalog
from workbench.erasure.intake import Asked
from workbench.erasure.locate import Pair
from workbench.errors import InputError, NotFoundError
from workbench.state.roles import internal
from workbench.state.workspace import Workspace


@internal
def identities_of(workspace: Workspace, asked: Asked, dataset: str | None = None) -> list[Pair]:
    """The data sets a request is about, each with the person's key in it: by identity type where the request tells one.

    Raises InputError or NotFoundError where there is none; it quotes nothing of the request.
    """
    with workspace.engine.connect() as connection:
        types = {name: catalog.entry(connection, name).schema.identity_type for name in catalog.names(connection)}
    named = asked.dataset or dataset
    if named is not None and named not in types:
        raise NotFoundError("the request names a data set that is not in this workspace")
    if all(identity.type is None for identity in asked.identities):
        datasets = chosen_datasets(workspace, named)
        return [(name, identity.value) for identity in asked.identities for name in datasets]
    pairs = [
        (name, identity.value)
        for identity in asked.identities
        for name, kind in types.items()
        if kind == identity.type and named in (None, name)
    ]
    if not pairs:
        raise NotFoundError("no data set here identifies people by a type of identity that the request gives")
    return pairs


@internal
def chosen_datasets(workspace: Workspace, dataset: str | None) -> list[str]:
    """The data sets that a key is about: the one named, or all, where one identity type covers them."""
    with workspace.engine.connect() as connection:
        if dataset is not None:
            return [catalog.entry(connection, dataset).name]
        names = catalog.names(connection)
        types = {catalog.entry(connection, name).schema.identity_type for name in names}
    if not names:
        raise NotFoundError("the workspace has no data set", hint="workbench ingest NAME")
    if len(types) > 1:
        raise InputError(
            f"the data sets {names} identify people in different ways, so a key alone is ambiguous",
            hint="add --dataset NAME",
        )
    return names
