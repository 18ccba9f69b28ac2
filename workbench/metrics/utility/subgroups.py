"""Whether a model of the release serves the groups of a sensitive column as a model of the training rows does."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from workbench.metrics.comparable import FEWEST
from workbench.metrics.compare import beside
from workbench.metrics.estimate import Estimate
from workbench.metrics.jackknife import GROUPS, Floats, groups_of, jackknife
from workbench.metrics.measure import Better, Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import UtilitySpec
from workbench.metrics.tables import Tables
from workbench.metrics.utility.models import Models, check_trainable, is_regression
from workbench.metrics.utility.predictions import Statistic
from workbench.metrics.utility.scores import BASELINE, CEILING, INTERVAL, Score, scores_of
from workbench.schema import Schema

FEWEST_OF_A_CLASS = 10  # subjects: of fewer, a group's AUC says nothing


def subgroup_utility(models: Models, score: Score, column: str) -> Metric[Tables]:
    """The largest gap between the groups of one column, and the worst group's figure, by the first learner."""
    learner = models.names[0]
    words = f"{score.title} of {learner} in the groups of {column}, trained on the release, tested on the holdout"
    note = (
        f"Of groups with {FEWEST} subjects in the holdout or more, and of each class {FEWEST_OF_A_CLASS}. {{}}Picking extremes "
        f"makes them more extreme, also the ceiling's. {INTERVAL}"
    )

    def definition(word: str, title: str, formula: str, better: Better, remark: str = "") -> Definition:
        bottom, top = score.range
        return Definition(
            name=f"utility/{word}_{column}",
            title=f"{title}: {column}",
            formula=f"{formula} {words}",
            range=(0.0, top - bottom) if word == "subgroup_gap" else score.range,
            better=better,
            source="subgroup reporting as in Mitchell et al. 2019 (model cards); the gap is ours",
            baseline=BASELINE,
            ceiling=CEILING,
            note=note.format(remark),
        )

    definitions = (
        definition("subgroup_gap", "Gap between groups", "highest less lowest", "lower", "A useless model has none. "),
        definition("subgroup_worst", "Worst group", "worst", score.better),
    )
    return Metric(
        title=f"Groups of {column}",
        definitions=definitions,
        compute=partial(_compute, definitions, models, score, column),
    )


def _compute(
    definitions: tuple[Definition, Definition], models: Models, score: Score, column: str, tables: Tables
) -> list[Measure]:
    check_trainable(tables, "synthetic")
    groups = _groups(tables, column)
    if len(groups) < 2:
        raise NotComputableError(f"not computable because fewer than two groups of {column} are large enough")

    def gap(figures: Floats) -> Floats:
        return np.asarray(np.ptp(figures, axis=1))

    def worst(figures: Floats) -> Floats:
        return np.asarray(figures.min(axis=1) if score.better == "higher" else figures.max(axis=1))

    def estimate(definition: Definition, name: str) -> Estimate:
        figures = _figures(tables, score, models.predicted(tables, models.names[0], name), groups)
        extreme = gap if definition is definitions[0] else worst
        return jackknife(extreme(figures), n=int(np.sum(groups)), within=definition.range)

    return [beside(d, tables, partial(estimate, d), ceiling="training") for d in definitions]


def _groups(tables: Tables, column: str) -> list[npt.NDArray[np.bool_]]:
    """The masks of the holdout's rows in each group that is large enough."""
    holdout = tables.holdout
    cells = tables.bins["holdout"][:, tables.codec.names.index(column)]
    masks = [cells == cell for cell in np.unique(cells)]
    return [mask for mask in masks if _subjects(tables, mask) >= FEWEST and _has_classes(tables, holdout.target, mask)]


def _has_classes(tables: Tables, target: Floats, mask: npt.NDArray[np.bool_]) -> bool:
    if is_regression(tables):
        return bool(np.ptp(target[mask]))
    classes = np.unique(target)
    return all(_subjects(tables, mask & (target == label)) >= FEWEST_OF_A_CLASS for label in classes)


def _subjects(tables: Tables, mask: npt.NDArray[np.bool_]) -> int:
    return len(np.unique(tables.holdout.points[mask]))


def _figures(tables: Tables, score: Score, predicted: Floats, masks: list[npt.NDArray[np.bool_]]) -> Floats:
    """The score of each group [1 + GROUPS, groups]: of all its rows, then without each jackknife group."""
    parts = groups_of(tables.holdout.points, rng=tables.rng("jackknife groups, holdout"))
    found: list[list[float]] = []
    for mask in masks:
        figure = score.of(tables.holdout.target[mask], predicted[mask])
        found.append([_of(figure, parts[mask] != part) for part in range(-1, GROUPS)])
    return np.array(found).T


def _of(figure: Statistic | None, kept: npt.NDArray[np.bool_]) -> float:
    return float("nan") if figure is None else figure(kept.astype(np.float64))


def _of_sensitive(models: Models, schema: Schema) -> tuple[Metric[Tables], ...]:
    sensitive = [name for name, column in schema.encoded.items() if column.role == "sensitive"]
    return tuple(subgroup_utility(models, scores_of(schema)[0], column) for column in sensitive)


SPEC = UtilitySpec(name="subgroups", metrics=_of_sensitive, rank=4)
