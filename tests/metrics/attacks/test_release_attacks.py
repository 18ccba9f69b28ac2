"""Attacks on releases: planted leaks are found, fresh tables give no alarm, and nothing is told where nothing can be."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import people
import pytest
from people import exceeds, tables

from workbench.metrics.attacks._tools.attack_split import sides
from workbench.metrics.attacks._tools.nearest_rows import seen
from workbench.metrics.attacks.dcr import CLOSEST
from workbench.metrics.attacks.distance import DISTANCE
from workbench.metrics.attacks.shadow import shadow
from workbench.metrics.measure import measured
from workbench.metrics.registry import attacks_on_release
from workbench.metrics.subsample import subsampled
from workbench.metrics.tables import Tables

PART = ("large release", "release")
ON_WHOLE = attacks_on_release(people.SCHEMA, "whole tables")
ALL = (*attacks_on_release(people.SCHEMA, *PART), *ON_WHOLE)
NOT_PRIVACY = {"disclosure/dcr", "disclosure/nndr"}


def found(of, metrics=ALL):
    """All measures by their names, without the family; one that failed fails the test."""
    measures = measured(metrics, of)
    assert not [m.reason for m in measures if m.failed]
    return {m.definition.name.removeprefix("disclosure/"): m for m in measures}


@cache
def found_of(seed, release=None):
    """All measures of one release; the tests that read them share them."""
    return found(tables(seed, release=release))


def alarms(measures):
    """Names of figures whose interval leaves out the baseline, on the side of a leak."""
    compared = {name: m for name, m in measures.items() if m.estimate and m.baseline and not name.endswith("_rate")}
    return {name for name, m in compared.items() if exceeds(m)}


def test_every_figure_is_defined_once_and_says_where_it_is_from():
    definitions = [definition for metric in ALL for definition in metric.definitions]
    assert len({d.name for d in definitions}) == len(definitions)
    assert all(d.name.startswith("disclosure/") and d.title and d.formula and d.source for d in definitions)
    assert {d.name for d in definitions if "not a privacy measure" in d.note} == NOT_PRIVACY


@pytest.mark.parametrize("each", [1, 2])
def test_a_copy_of_the_training_table_is_told_by_all(each):
    measures = (
        found_of(1, people.copied) if each == 1 else found(tables(1, each=2, n=2600, held=2600, release=people.copied))
    )
    expected = {
        "mia_distance_auc",
        "mia_density_auc",
        "mia_worst_distance_auc",
        "mia_worst_density_auc",
        "linkability_risk",
    }
    expected |= {"mia_density_tpr_at_0.01", "excess_copies", "excess_near_copies", "singling_out_multivariate_risk"}
    assert alarms(measures) >= expected | {"inference_illness_risk", "inference_loan_risk"}
    assert measures["exact_copies"].estimate.value == 1
    assert exceeds(measures["exact_copies"])
    assert measures["mia_distance_auc"].estimate.value > 0.99


def test_a_generator_that_memorises_is_told_though_it_copies_nothing():
    measures = found(tables(2, release=people.memorised))
    assert not measures["exact_copies"].estimate.value
    expected = {"mia_distance_auc", "mia_density_auc", "mia_worst_distance_auc", "mia_worst_density_auc"}
    assert alarms(measures) >= expected | {"excess_near_copies", "linkability_risk", "inference_illness_risk"}


def test_one_person_copied_many_times_is_told_where_the_others_are_safe():
    measures = found(tables(3, release=people.one_copied))
    assert measures["most_copied"].estimate.value == pytest.approx(0.05)
    assert exceeds(measures["most_copied"])
    assert exceeds(measures["exact_copies"])
    assert not exceeds(measures["mia_distance_auc"])


def test_fresh_tables_give_no_more_alarms_than_chance():
    """Of figures at 97.5 % on this side one in 40 alarms; some go together, so that of 13 times 2 two are still chance."""
    raised = [alarms(found_of(seed)) for seed in (10, 11)]
    assert sum(map(len, raised)) <= 2, raised


def test_shuffled_columns_single_people_out_by_their_exact_numbers_and_tell_nothing_else():
    """Who shuffles columns still hands out numbers that one person has."""
    raised = [alarms(found(tables(seed, release=people.shuffled))) for seed in (16,)]
    assert all("singling_out_univariate_risk" in names for names in raised)
    assert sum(map(len, raised)) <= 1 + 2, raised


def test_neither_copies_nor_one_person_are_told_of_fresh_tables():
    measures = found_of(11)
    assert not exceeds(measures["most_copied"])
    assert not exceeds(measures["exact_copies"])


def test_the_ceiling_is_what_a_real_table_without_the_people_gives():
    """Intervals of 95 %: of 14 at most two leave out what there is to tell, which is nothing."""
    truth = {
        "mia_distance_auc": 0.5,
        "mia_density_auc": 0.5,
        "mia_worst_distance_auc": 0.5,
        "mia_worst_density_auc": 0.5,
    }
    truth |= {"linkability_risk": 0.0, "inference_illness_risk": 0.0, "singling_out_multivariate_risk": 0.0}
    missed = []
    for seed in range(2):
        measures = found_of(seed, people.copied)
        ceilings = {name: measures[name].ceiling for name in truth}
        missed += [name for name, true in truth.items() if not ceilings[name].low <= true <= ceilings[name].high]
    assert len(missed) <= 2, missed


def test_equal_seeds_give_equal_measures_and_the_order_of_metrics_is_nothing_to_them():
    first, again = found_of(10), found(tables(10), tuple(reversed(ALL)))
    assert {name: m.to_json() for name, m in first.items()} == {name: m.to_json() for name, m in again.items()}


def test_a_curve_rises_from_nothing_to_everybody_in_at_most_200_points():
    drawn = found_of(0, people.copied)["mia_density_auc"].curve
    assert 10 < len(drawn) <= 200
    assert drawn[0][0] == 0
    assert drawn[-1] == (1, 1)
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(drawn))


def test_shadow_releases_teach_what_members_look_like():
    def memorise(rows, rng):
        return people.memorised(rows.values, rng)

    def forget(rows, rng):
        return people.values(len(rows), rng)

    leaky = found(tables(7, release=people.memorised), [shadow(memorise, releases=2)])
    safe = found(tables(7), [shadow(forget, releases=2)])
    assert exceeds(leaky["mia_shadow_auc"])
    assert leaky["mia_shadow_auc"].estimate.value > 0.8
    assert safe["mia_shadow_auc"].estimate.low < 0.5


def test_shadow_releases_hold_nobody_under_attack():
    of = tables(8)
    asked = []

    def spy(rows, rng):
        asked.append(set(rows.points.tolist()))
        return people.values(len(rows), rng)

    found(of, [shadow(spy, releases=2)])
    attacked = set(of.training.points.tolist()) | set(of.holdout.points[of.holdout.slice_points < 2**63].tolist())
    assert len(asked) == 2
    assert not set().union(*asked) & attacked


def without(column):
    """The people's schema with that column's role taken away."""
    document = people.SCHEMA.model_dump(mode="json")
    for name in column:
        document["columns"][name]["role"] = "feature"
    return type(people.SCHEMA).model_validate(document)


def test_no_sensitive_column_is_said_and_loses_nothing_else():
    schema = without(["illness", "loan"])
    measures = found(tables(9, n=400, held=400), attacks_on_release(schema, *PART))
    assert measures["inference_none_risk"].estimate is None
    assert "no sensitive and no target column" in measures["inference_none_risk"].reason
    assert measures["mia_distance_auc"].estimate


def emptied(of, **changes):
    rng = np.random.default_rng(0)
    given = {"training": of.training, "holdout": of.holdout, "synthetic": of.synthetic} | changes
    return Tables(
        **{k: people.dataset(v, rng) if k != "synthetic" and isinstance(v, np.ndarray) else v for k, v in given.items()}
    )


BAD = {
    "empty holdout": (lambda of: {"holdout": of.holdout.values[:0]}, "no holdout"),
    "ten rows": (lambda of: {"training": of.training.values[:10], "holdout": of.holdout.values[:10]}, "needs 20"),
    "empty release": (lambda of: {"synthetic": of.synthetic[:0]}, "no rows"),
    "a column missing": (lambda of: {"synthetic": of.synthetic[:, 1:]}, "other columns"),
    "nothing but missing": (
        lambda _: {k: np.full((300, 7), np.nan) for k in ("training", "holdout", "synthetic")},
        "alike",
    ),
    "constant": (
        lambda of: {k: np.tile(of.synthetic[:1], (300, 1)) for k in ("training", "holdout", "synthetic")},
        "alike",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_attacked_has_a_reason_and_no_number(name):
    change, reason = BAD[name]
    of = tables(0, n=100, held=100)
    numbers = {}
    for m in measured(ALL, emptied(of, **change(of))):
        assert not m.failed, m.definition.name
        if m.estimate is None:
            assert m.reason.startswith("not computable because")
        else:
            numbers[m.definition.name] = m
    # ten rows are enough to see that they were copied
    assert set(numbers) <= (
        {"disclosure/exact_copies", "disclosure/excess_copies", "disclosure/most_copied"}
        if name == "ten rows"
        else set()
    )
    assert any(reason in m.reason for m in measured(ALL, emptied(of, **change(of))))


def test_no_attack_tells_anything_of_a_release_of_which_a_part_is_looked_at():
    """A member's copy is mostly in the rest: a full copy would look private."""
    part = subsampled(tables(0, n=3000, held=1300, release=people.copied), 1000).part
    for m in measured([*ALL, shadow(lambda rows, _: rows.values, releases=2)], part):
        assert m.estimate is None
        assert m.reason == "not computable because only 1 in 3 rows of the release were looked at"
    almost = replace(part, looked_at=1.2)
    assert all(m.estimate for m in measured([DISTANCE, CLOSEST], almost) if "tpr" not in m.definition.name)


def test_copies_of_a_large_table_are_told_on_the_whole_of_it():
    measures = found(tables(0, n=60_000, held=2000, release=people.copied), ON_WHOLE)
    assert measures["exact_copies"].estimate.value == measures["excess_copies"].estimate.value == 1
    assert not {m.title for m in ON_WHOLE} & {m.title for m in attacks_on_release(people.SCHEMA, *PART)}


def test_a_large_release_is_attacked_whole():
    """The only row that is like the member's own is the last of many."""
    of = tables(0, n=40, held=200)
    of = replace(of, synthetic=np.concatenate([np.repeat(of.synthetic[:1], 49_960, axis=0), of.training.values]))
    assert len(sides(of).synthetic) == 50_000
    assert (seen(of).members.synthetic.nearest == 0).all()


def test_columns_of_one_value_or_none_lose_only_what_is_about_them():
    def spoilt(real, rng):
        return people.values(len(real), rng)

    of = tables(9, n=500, held=500, release=spoilt)
    for table in (of.training.values, of.holdout.values, of.synthetic):
        table[:, 3], table[:, 5] = np.nan, 2.0
    measures = found(of)
    assert "same value, or none" in measures["inference_illness_risk"].reason
    assert measures["inference_loan_risk"].estimate
    assert measures["mia_density_auc"].estimate


def test_few_controls_have_an_auc_but_no_rate_at_few_false_alarms():
    measures = found(tables(9, n=300, held=300))
    assert measures["mia_distance_auc"].estimate
    assert "needs 500 controls" in measures["mia_distance_tpr_at_0.01"].reason
    assert "needs 400 subjects" in measures["mia_worst_density_auc"].reason


def test_a_category_that_the_release_never_shows_is_a_mere_difference():
    def narrow(real, rng):
        rows = people.values(len(real), rng)
        rows[:, 1] = 6.0
        return rows

    measures = found(tables(9, n=600, held=600, release=narrow))
    assert measures["mia_distance_auc"].estimate
    assert not alarms(measures) & {"mia_distance_auc", "excess_copies"}
