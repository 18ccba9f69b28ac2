"""Events survive JSON, and what the accountant could not price (or would price as nonsense) is refused."""

import json
import math

import dp_accounting as dpa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.privacy.calibration import epsilon_of
from workbench.privacy.events import ApproximateDpEvent, event_from_json, event_to_json, split_failure

positive = st.floats(min_value=1e-6, max_value=1e6)
gaussians = st.builds(dpa.GaussianDpEvent, positive)
plain = st.one_of(gaussians, st.builds(dpa.LaplaceDpEvent, positive), st.builds(dpa.ZCDpEvent, positive))
sampled = st.builds(dpa.PoissonSampledDpEvent, st.floats(min_value=1e-6, max_value=1.0), gaussians)
events = st.recursive(
    st.one_of(plain, sampled),
    lambda inner: st.one_of(
        st.builds(dpa.SelfComposedDpEvent, inner, st.integers(1, 10_000)),
        st.builds(dpa.ComposedDpEvent, st.lists(inner, max_size=4)),
        st.builds(ApproximateDpEvent, inner, st.floats(min_value=1e-12, max_value=0.1)),
    ),
    max_leaves=6,
)
GAUSSIAN, ZCDP = dpa.GaussianDpEvent(1.0), dpa.ZCDpEvent(0.1)


@given(events)
@settings(max_examples=100, deadline=None)
def test_an_event_comes_back_from_json_as_it_went(event):
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


@pytest.mark.parametrize("event", [ZCDP, dpa.LaplaceDpEvent(2.0), dpa.PoissonSampledDpEvent(0.01, GAUSSIAN)])
def test_the_price_survives_json(event):
    assert epsilon_of(event_from_json(event_to_json(event)), 1e-5) == epsilon_of(event, 1e-5)


SENSELESS = [
    *(
        cls(value)
        for cls in (dpa.GaussianDpEvent, dpa.LaplaceDpEvent)
        for value in (-1, 0, math.nan, math.inf, True, "1")
    ),
    *(dpa.ZCDpEvent(rho) for rho in (math.nan, -0.1, 0, math.inf)),
    dpa.ZCDpEvent(0.1, 0.5),
    dpa.NonPrivateDpEvent(),
    dpa.NoOpDpEvent(),
    dpa.UnsupportedDpEvent(),
    dpa.PoissonSampledDpEvent(1.5, GAUSSIAN),
    dpa.PoissonSampledDpEvent(0.0, GAUSSIAN),
    dpa.PoissonSampledDpEvent(0.1, ZCDP),
    dpa.PoissonSampledDpEvent(0.1, dpa.ComposedDpEvent([GAUSSIAN, dpa.LaplaceDpEvent(1.0)])),
    dpa.PoissonSampledDpEvent(0.1, dpa.PoissonSampledDpEvent(0.1, GAUSSIAN)),
    *(dpa.SelfComposedDpEvent(GAUSSIAN, count) for count in (0, -3, 2.5, np.nan)),
    dpa.ComposedDpEvent([GAUSSIAN, dpa.NonPrivateDpEvent()]),
    dpa.SelfComposedDpEvent(dpa.GaussianDpEvent(-1), 2),
    *(ApproximateDpEvent(ZCDP, delta) for delta in (0.0, -1e-9, 1.0, math.nan, True)),
    dpa.PoissonSampledDpEvent(0.1, ApproximateDpEvent(GAUSSIAN, 1e-9)),
]


@pytest.mark.parametrize("event", SENSELESS, ids=repr)
def test_an_event_without_a_price_is_refused(event):
    with pytest.raises(InputError):
        event_to_json(event)


def test_failures_add_up_and_leave_less_delta_for_the_rest():
    event = dpa.ComposedDpEvent(
        [ApproximateDpEvent(ZCDP, 1e-6), ZCDP, dpa.SelfComposedDpEvent(ApproximateDpEvent(ZCDP, 1e-6), 3)]
    )
    rest, failure = split_failure(event)
    assert failure == pytest.approx(4e-6)
    assert rest == dpa.ComposedDpEvent([ZCDP, ZCDP, dpa.SelfComposedDpEvent(ZCDP, 3)])
    assert epsilon_of(event, 1e-5) == epsilon_of(rest, 1e-5 - failure) > epsilon_of(rest, 1e-5)
    assert epsilon_of(event, 4e-6) == math.inf


DAMAGED = [
    {},
    [],
    {"kind": "zcdp"},
    {"kind": "zcdp", "rho": -1},
    {"kind": ["zcdp"]},
    {"kind": "nonprivate"},
    {"kind": "poisson"},
    {"kind": "poisson", "rate": "x", "event": {"kind": "gaussian", "noise_multiplier": 1}},
    {"kind": "poisson", "rate": 0.1, "event": {"kind": "zcdp", "rho": 1}},
    {"kind": "repeat", "count": "a", "event": {"kind": "zcdp", "rho": 1}},
    {"kind": "compose"},
    {"kind": "compose", "events": 3},
    {"kind": "compose", "events": [3]},
]


@pytest.mark.parametrize("document", DAMAGED, ids=repr)
def test_a_document_that_is_no_event_is_refused(document):
    with pytest.raises(InputError):
        event_from_json(document)
