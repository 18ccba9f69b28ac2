"""Figures as an evaluation shows them: what each is, how sure it is, and what it would be at worst and at best."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

from workbench.metrics.estimate import Estimate
from workbench.progress import Progress, silent

Better = Literal["higher", "lower", "neither"]
T = TypeVar("T")

_log = logging.getLogger(__name__)


class NotComputableError(Exception):
    """A metric has no meaning here. The reason is shown to people: it tells no value of a row."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a figure is; `name` is its family (fidelity, utility, disclosure, cost) and a word, as `fidelity/tvd2`.

    `baseline` and `ceiling` say in words what the values of that name beside the estimate were computed on; empty: none.
    """

    name: str
    title: str
    formula: str
    range: tuple[float, float]
    better: Better
    source: str
    baseline: str = ""
    ceiling: str = ""
    note: str = ""

    @property
    def family(self) -> str:
        """The word before the slash."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure: its estimate, or why there is none. Never a number where nothing was computed.

    `curve` are the points (x, y) of what is drawn of it, if anything is: of an attack, false and true positive rates.
    """

    definition: Definition
    estimate: Estimate | None = None
    baseline: Estimate | None = None
    ceiling: Estimate | None = None
    curve: tuple[tuple[float, float], ...] = ()
    reason: str = ""
    failed: bool = False

    def to_json(self) -> dict[str, Any]:
        """The measure as JSON: its definition, estimates as value, low, high and n, and what stands instead of one.

        `baseline` and `ceiling` are the estimates; what the definition says of them is `baseline_is` and `ceiling_is`.
        """
        numbers = {"estimate": self.estimate, "baseline": self.baseline, "ceiling": self.ceiling}
        return {
            **asdict(self.definition),
            "baseline_is": self.definition.baseline,
            "ceiling_is": self.definition.ceiling,
            **{key: None if number is None else number.to_json() for key, number in numbers.items()},
            "curve": [list(point) for point in self.curve],
            "reason": self.reason,
            "failed": self.failed,
        }


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[T]):
    """A pure function that gives one measure per definition, in their order; `title` is what progress calls it.

    It raises NotComputableError where none of them has a meaning.
    """

    title: str
    definitions: tuple[Definition, ...]
    compute: Callable[[T], Sequence[Measure]]


def measured(metrics: Iterable[Metric[T]], of: T, *, progress: Progress = silent) -> list[Measure]:
    """The measures of all metrics, in order. One that fails is reported as failed and does not lose the others."""
    metrics, found = list(metrics), []
    for number, metric in enumerate(metrics):
        progress(number / len(metrics), metric.title)
        found += _measured(metric, of)
    return found


def lacking(metrics: Iterable[Metric[T]], reason: str) -> list[Measure]:
    """The measures of metrics that can't be computed, for that reason."""
    return [Measure(definition=definition, reason=reason) for metric in metrics for definition in metric.definitions]


def _measured(metric: Metric[T], of: T) -> list[Measure]:
    try:
        measures = list(metric.compute(of))
        names = [measure.definition.name for measure in measures]
        if names != [definition.name for definition in metric.definitions]:
            raise TypeError("a metric measures what its definitions name")
        return measures
    except NotComputableError as why:
        return [Measure(definition=definition, reason=str(why)) for definition in metric.definitions]
    except Exception as fault:  # whatever the fault: its message may hold values of rows, its type does not
        reason = f"failed: {type(fault).__name__}"
        _log.warning("metric %s %s", metric.title, reason)
        return [Measure(definition=definition, reason=reason, failed=True) for definition in metric.definitions]
