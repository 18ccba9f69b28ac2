"""Axes: where values lie, and that what is marked is round and inside."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench.reports.charts.axis import Axis, around


def test_equal_factors_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    axis = Axis(title="", low=0.001, high=1, log=True)
    assert [axis.at(x) for x in (0.001, 0.01, 0.1, 1)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.ticks == pytest.approx([0.001, 0.01, 0.1, 1])
    assert Axis(title="", low=1, high=20, log=True).ticks == pytest.approx([1, 2, 5, 10, 20])


def test_equal_steps_are_equally_far_apart_on_a_linear_axis() -> None:
    axis = Axis(title="", low=0, high=0.8)
    assert [axis.at(x) for x in (0, 0.2, 0.4, 0.8)] == pytest.approx([0, 0.25, 0.5, 1])
    assert axis.ticks == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_what_lies_outside_is_drawn_at_the_nearer_end() -> None:
    axis = Axis(title="", low=0.001, high=1, log=True)
    assert (axis.at(0), axis.at(-3), axis.at(5)) == (0, 0, 1)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), st.booleans())
def test_an_axis_has_room_for_all_values_and_few_round_ticks(values: list[float], log: bool) -> None:
    values = [abs(value) for value in values] if log else values
    assume(all(value == 0 or abs(value) > 1e-9 for value in values))
    axis = around("", values, log=log)
    assert axis.low < axis.high
    for value in values:
        assert (0 < axis.at(value) < 1) or (log and value == 0)
    assert len(axis.ticks) <= 12
    for tick in axis.ticks:
        assert axis.low * (1 - 1e-6) - 1e-12 <= tick <= axis.high * (1 + 1e-6) + 1e-12 or not log
        if tick:
            digits = abs(tick) / 10.0 ** math.floor(math.log10(abs(tick)) + 1e-9)
            assert not log or round(digits, 6) in (1, 2, 5)
