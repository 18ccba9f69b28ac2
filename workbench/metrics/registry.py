"""The metrics and attacks by name: whatever a file of `fidelity/`, `utility/` or `attacks/` offers is measured.

A file holds a spec as `SPEC`, or several as `SPECS`. What a verdict asks of a figure is a rule's to say, never a metric's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from workbench.metrics.measure import Metric
from workbench.specs import Registry

if TYPE_CHECKING:  # else a circle: the files that offer metrics import this one
    from workbench.metrics.attacks._tools.answers import Answers
    from workbench.metrics.attacks.erasure import Versions
    from workbench.metrics.tables import Tables
    from workbench.metrics.utility.models import Models
    from workbench.schema import Schema

Target = Literal["release", "large release", "whole tables", "ensemble", "erasure"]
Metrics: TypeAlias = tuple[Metric[Any], ...]


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """Metrics of a release; those that differ by the schema are a function of it."""

    name: str
    metrics: Metrics | Callable[[Schema], Metrics]
    rank: int = 100

    def given(self, schema: Schema) -> Metrics:
        """Return the metrics for tables of a schema."""
        return self.metrics(schema) if callable(self.metrics) else self.metrics


@dataclass(frozen=True, kw_only=True)
class AttackSpec(MetricSpec):
    """Attacks, and what they are tried on.

    `release`: a part of a large release. `large release`: all of it, for fewer people, since in a part most of what tells is
    hidden; for attacks of one pass. `whole tables`: everything. `ensemble`: the answers of a model and of its constituents.
    `erasure`: the versions before and after one. For the last two there is no schema to differ by.
    """

    on: Target


@dataclass(frozen=True, kw_only=True)
class UtilitySpec:
    """Metrics of learners that are trained on a release; one model of each is shared by all metrics of an evaluation."""

    name: str
    metrics: Callable[[Models, Schema], Metrics]
    rank: int = 100


FIDELITY: Registry[MetricSpec] = Registry("workbench.metrics.fidelity", what="metric", ending="")
UTILITY: Registry[UtilitySpec] = Registry("workbench.metrics.utility", what="metric", ending="")
ATTACKS: Registry[AttackSpec] = Registry("workbench.metrics.attacks", what="attack", ending="")


def fidelity_metrics(schema: Schema) -> tuple[Metric[Tables], ...]:
    """Return all metrics of how close a release is to the records it was made of."""
    return tuple(metric for spec in FIDELITY for metric in spec.given(schema))


def attacks_on_release(schema: Schema, *on: Target) -> tuple[Metric[Tables], ...]:
    """Return the attacks on a release of a table with this schema, of these kinds alone; `shadow` needs the generator too."""
    return tuple(metric for kind in on for spec in ATTACKS if spec.on == kind for metric in spec.given(schema))


def attacks_on_ensemble() -> tuple[Metric[Answers], ...]:
    """Return the attacks on an ensemble's answers."""
    return _without_schema("ensemble")


def attacks_on_erasure() -> tuple[Metric[Versions], ...]:
    """Return the attacks on an ensemble before and after an erasure; `reconstruction` needs the weights too."""
    return _without_schema("erasure")


def _without_schema(on: Target) -> Metrics:
    found = [spec.metrics for spec in ATTACKS if spec.on == on]
    return tuple(metric for metrics in found if isinstance(metrics, tuple) for metric in metrics)
