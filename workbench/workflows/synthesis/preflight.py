"""What a synthesis will cost and take, told before anything is read: from the config, the schema and the ledger alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from workbench.config import SynthesizeConfig
from workbench.data import catalog
from workbench.errors import InputError
from workbench.generators.outlook import Forecast
from workbench.generators.registry import check_size, forecast, generator_of
from workbench.privacy.events import Event
from workbench.privacy.ledger import Ledger, price, spent, unrecorded
from workbench.schema import Codec, Schema
from workbench.state.roles import internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.results import EpsilonDelta
from workbench.workflows.synthesis.results import (
    JointFit,
    JointPreflightResult,
    PreflightPrivacy,
    PreflightResult,
)


@open_to_all
def preflight(workspace: Workspace, config: SynthesizeConfig) -> PreflightResult:
    """Epsilon before and after, whether the ledger would take it; what the generator says of noise, memory and seconds."""
    with workspace.engine.connect() as connection:
        schema = catalog.entry(connection, config.dataset).schema
    return PreflightResult(
        generator=config.generator,
        dataset=config.dataset,
        private=config.private,
        privacy=_privacy(workspace, config, schema.population) if config.private else None,
        forecast=expected(config, schema),
    )


@open_to_all
def preflight_together(workspace: Workspace, configs: Sequence[SynthesizeConfig]) -> JointPreflightResult:
    """What the population would have spent after several fits, made one after another; nothing is read or charged.

    For each whether the ledger would take it after those before it, and the spend then; one that it would refuse costs nothing.
    Raises InputError where their data sets are not of one population, or one of them is not private.
    """
    with workspace.engine.connect() as connection:
        populations = {catalog.entry(connection, config.dataset).schema.population for config in configs}
    if len(populations) != 1 or not all(config.private for config in configs):
        raise InputError("only private fits of one population compose", hint="choose data sets of the same people")
    (population,) = populations
    ledger = Ledger(workspace.engine)
    budget, entries = ledger.budget(population), ledger.entries(population)
    if budget is None:
        raise InputError(f"population {population} has no privacy budget", hint="set one first")
    taken: list[Event] = []
    runs = []
    before = after = spent(entries, budget.delta)
    for config in configs:
        event = _event_of(config)
        allowed = ledger.admits(population, [*taken, event])
        if allowed:
            taken.append(event)
            after = spent([*entries, *(unrecorded(population, one) for one in taken)], budget.delta)
        runs.append(JointFit(allowed=allowed, spent_after=after))
    return JointPreflightResult(population=population, spent_before=before, spent_after=after, runs=tuple(runs))


@internal
def expected(config: SynthesizeConfig, schema: Schema) -> Forecast | None:
    """What a fit will take, None where its generator does not say; raises InputError where it would be too large."""
    codec = Codec(schema)
    check_size(config, codec)
    return forecast(config, codec, per_subject=schema.max_rows_per_subject)


def _event_of(config: SynthesizeConfig) -> Event:
    return _event(config.model_dump_json())


@lru_cache(maxsize=64)
def _event(asked: str) -> Event:
    """What a config's fit is charged; remembered, for to calibrate sampled noise takes seconds."""
    return generator_of(SynthesizeConfig.model_validate_json(asked)).event


def _privacy(workspace: Workspace, config: SynthesizeConfig, population: str) -> PreflightPrivacy:
    ledger = Ledger(workspace.engine)
    budget, entries = ledger.budget(population), ledger.entries(population)
    event = _event_of(config)
    epsilon, delta = config.budget
    at = budget.delta if budget else delta
    after = spent([*entries, unrecorded(population, event)], at)
    return PreflightPrivacy(
        epsilon=epsilon,
        delta=delta,
        epsilon_of_this_run=price(event, at),
        spent_before=spent(entries, at),
        spent_after=after,
        budget=EpsilonDelta(epsilon=budget.epsilon, delta=budget.delta) if budget else None,
        allowed=ledger.admits(population, [event]),
    )
