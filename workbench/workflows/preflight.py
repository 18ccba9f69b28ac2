"""What a synthesis will cost and take, told before anything is read: from the config, the schema and the ledger alone."""

from __future__ import annotations

from typing import Any

from workbench.config import MARGINAL, SynthesizeConfig
from workbench.data import catalog
from workbench.generators.kinds import check_size, generator_of
from workbench.generators.marginals.forecast import forecast
from workbench.privacy.calibration import epsilon_of
from workbench.privacy.ledger import Ledger, spent, unrecorded
from workbench.schema import Codec, Schema
from workbench.workspace import Workspace


def preflight(workspace: Workspace, config: SynthesizeConfig) -> dict[str, Any]:
    """Epsilon before and after, whether the ledger would take it; noise, memory and seconds of a marginal generator."""
    with workspace.engine.connect() as connection:
        schema = catalog.entry(connection, config.dataset).schema
    told: dict[str, Any] = {"generator": config.generator, "dataset": config.dataset, "private": config.private}
    if config.private:
        told["privacy"] = _privacy(workspace, config, schema.population)
    return told | expected(config, schema)


def expected(config: SynthesizeConfig, schema: Schema) -> dict[str, Any]:
    """Noise, memory and seconds of a marginal generator; raises InputError where the fit would be too large."""
    codec = Codec(schema)
    check_size(config, codec)
    if config.generator not in MARGINAL:
        return {}
    return dict(forecast(config, codec.free_names, codec.free_sizes, per_subject=schema.max_rows_per_subject))


def _privacy(workspace: Workspace, config: SynthesizeConfig, population: str) -> dict[str, Any]:
    ledger = Ledger(workspace.engine)
    budget, entries = ledger.budget(population), ledger.entries(population)
    event = generator_of(config).event
    epsilon, delta = config.budget
    at = budget.delta if budget else delta
    after = spent([*entries, unrecorded(population, event)], at)
    return {
        "epsilon": epsilon,
        "delta": delta,
        "epsilon_of_this_run": epsilon_of(event, at),
        "spent_before": spent(entries, at),
        "spent_after": after,
        "budget": {"epsilon": budget.epsilon, "delta": budget.delta} if budget else None,
        "allowed": budget is not None and after <= budget.epsilon,
    }
