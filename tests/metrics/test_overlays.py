"""What is drawn adds up, and shows no count of few people."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_tables import PEOPLE, TOWN, dataset, people, tables

from workbench.metrics.fidelity.associations import association_matrix
from workbench.metrics.measure import NotComputableError
from workbench.metrics.overlays import MOST_BARS, SUPPRESSED, _shown, associations, overlays
from workbench.metrics.tables import Tables
from workbench.schema.schema import parse_schema


def towns(counts, *, rows_each=1):
    """Tables whose training rows have so many rows in each town, the last one being none at all."""
    training = people(sum(counts), seed=1)
    training[:, TOWN] = np.repeat([0, 1, 2, 3, np.nan], counts)
    release = people(300, seed=3)
    return Tables(
        training=dataset(training, rows_each=rows_each), holdout=dataset(people(50, seed=2)), synthetic=release
    )


def bars_of(these, threshold=10):
    return {bar.label: bar for bar in overlays(these, threshold=threshold)[TOWN].bars}


def test_bars_are_the_shares_of_the_public_cells():
    these = towns([100, 60, 20, 50, 70])
    bars = bars_of(these)
    assert list(bars) == ["w", "x", "y", "z", "missing"]
    assert [bar.training for bar in bars.values()] == pytest.approx([1 / 3, 0.2, 1 / 15, 1 / 6, 7 / 30])
    expected = [(these.synthetic[:, TOWN] == k).mean() for k in range(4)] + [np.isnan(these.synthetic[:, TOWN]).mean()]
    assert [bar.synthetic for bar in bars.values()] == pytest.approx(expected)


def test_small_cells_are_one_bar():
    bars = bars_of(towns([100, 60, 6, 5, 70]))
    assert list(bars) == ["w", "x", "missing", SUPPRESSED]
    assert bars[SUPPRESSED].training == pytest.approx(11 / 241)


@pytest.mark.parametrize("counts", [[100, 60, 20, 9, 70], [100, 60, 20, 0, 70], [100, 60, 20, 9, 0]])
def test_a_small_rest_takes_the_next_smallest_cell_with_it(counts):
    """One suppressed cell by itself could be had as what is missing to 1."""
    bars = bars_of(towns(counts))
    assert "y" not in bars
    assert bars[SUPPRESSED].training == pytest.approx((counts[2] + sum(c for c in counts if c < 10)) / sum(counts))


def test_people_are_counted_not_rows():
    counts = [99, 60, 21, 30, 90]
    assert "y" in bars_of(towns(counts))
    assert "y" not in bars_of(towns(counts, rows_each=3)), "21 rows of 7 people"


@given(st.lists(st.integers(0, 30), min_size=2, max_size=8).filter(lambda counts: sum(counts) > 0), st.integers(1, 15))
@settings(max_examples=60)
def test_no_bar_and_no_rest_is_of_few_people(counts, threshold):
    cells = np.repeat(np.arange(len(counts)), counts)
    shown = _shown(cells, np.arange(len(cells), dtype=np.uint64), len(counts), threshold)
    counts = np.array(counts)
    assert (counts[shown] >= threshold).all()
    assert shown.all() or counts[~shown].sum() >= threshold or not shown.any()


def test_numbers_are_drawn_in_at_most_twenty_runs_of_cells():
    schema = parse_schema(
        {
            "population": "many",
            "identity_type": "many-row",
            "subject": "row",
            "columns": {
                "whole": {"kind": "integer", "bounds": [0, 99], "bins": 100},
                "part": {"kind": "continuous", "bounds": [0, 1], "bins": 7},
                "day": {"kind": "datetime", "bounds": ["2020-01-01", "2020-12-31"], "bins": 12},
            },
        },
        source="test",
    )
    rng = np.random.default_rng(0)
    values = np.column_stack([np.arange(5000) % 100, rng.random(5000), rng.integers(0, 86_400_000_000 * 365, 5000)])
    drawn = overlays(
        Tables(training=dataset(values, schema=schema), holdout=dataset(values, schema=schema), synthetic=values * 1.0),
        threshold=10,
    )
    assert len(drawn[0].bars) == MOST_BARS
    assert [bar.label for bar in drawn[0].bars][:2] == ["0 to 4", "5 to 9"]
    assert {round(bar.training, 9) for bar in drawn[0].bars} == {0.05}
    assert drawn[1].bars[0].label == "0 to 0.142857"
    assert drawn[2].bars[0].label.startswith("2020-01-01 00:00 to 2020-01-31")
    for overlay in drawn:
        assert sum(bar.training for bar in overlay.bars) == pytest.approx(1)
        assert sum(bar.synthetic for bar in overlay.bars) == pytest.approx(1)


def test_what_is_drawn_is_json():
    these = tables(n=200)
    document = json.dumps([overlay.to_json() for overlay in overlays(these, threshold=10)], allow_nan=False)
    assert json.loads(document)[0]["column"] == "group"
    found = json.loads(json.dumps(associations(these).to_json(), allow_nan=False))
    assert found["columns"] == list(PEOPLE.encoded)
    np.testing.assert_allclose(found["synthetic"], association_matrix(these, "synthetic", most=60), atol=1e-4)


def test_an_association_of_a_constant_column_is_not_drawn_as_a_number():
    constant = people(200, seed=3)
    constant[:, TOWN] = 1.0
    found = associations(tables(constant, n=200))
    assert found.synthetic[0][TOWN] is None
    assert found.training[0][TOWN] is not None


def test_of_many_columns_the_first_are_drawn_and_how_many_are_left_out(monkeypatch):
    whole = associations(tables(n=200))
    assert whole.left_out == 0
    monkeypatch.setattr("workbench.metrics.overlays.MOST_COLUMNS", 4)
    found = associations(tables(n=200))
    assert found.columns == whole.columns[:4]
    assert found.training == tuple(row[:4] for row in whole.training[:4])
    assert found.synthetic == tuple(row[:4] for row in whole.synthetic[:4])
    assert found.to_json()["left_out"] == len(whole.columns) - 4


def test_tables_that_do_not_fit_are_told():
    with pytest.raises(NotComputableError, match="columns of the schema"):
        overlays(tables(people(100, seed=1)[:, :3], n=100), threshold=10)
