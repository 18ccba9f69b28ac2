"""What training a private learner's shards costs their subjects, and what becomes of shards that may not be trained again."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from workbench.config import TrainConfig
from workbench.privacy.ledger import Ledger
from workbench.schema import Schema
from workbench.sisa.ensemble import Constituent, Manifest
from workbench.sisa.training import event_of, partition_of
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.training.train_shards import Trained


@internal
def charge_shards(
    workspace: Workspace, schema: Schema, config: TrainConfig, shards: Collection[int], *, purpose: str
) -> None:
    """Charges the training of these shards to their subjects alone, where the learner is private; raises BudgetError.

    No subject is in two shards, so all of them cost what one costs (parallel composition).
    """
    if config.private and shards:
        Tracking(workspace.root).require()  # before the charge
        partition = partition_of(config)
        Ledger(workspace.engine).charge(
            schema.population,
            event_of(config),
            dataset=config.dataset,
            purpose=purpose,
            scope=[partition.interval(shard) for shard in sorted(shards)],
            identity_type=schema.identity_type,
        )


@internal
def abstaining(previous: Manifest, shards: Iterable[int]) -> dict[int, Trained]:
    """The constituents of shards that may not be trained again: they have no model and no vote."""
    before = {c.shard: c for c in previous.constituents}
    nothing = (None,) * previous.partition.n_slices
    return {
        shard: Trained(
            constituent=Constituent(shard=shard, generation=before[shard].generation + 1, checkpoints=nothing),
            first_slice=0,
            seconds=(0.0,) * previous.partition.n_slices,
        )
        for shard in shards
    }
