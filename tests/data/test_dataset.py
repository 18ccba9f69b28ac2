"""Records in memory: their order is a function of the set of them alone."""

import numpy as np
import yaml
from conftest import PUPILS_SCHEMA
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.dataset import Dataset, canonical_order
from workbench.schema.schema import parse_schema

SCHEMA = parse_schema(yaml.safe_load(PUPILS_SCHEMA), source="test")


def records(rows):
    places, terms = np.array(rows, dtype=np.uint64).reshape(-1, 2).T
    values = np.column_stack([terms, np.full(len(rows), np.nan), terms * 2.5, terms % 2]).astype(float)
    order = canonical_order(values, places, places)
    return Dataset(name="t", schema=SCHEMA, values=values[order], points=places[order], slice_points=places[order])


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=12)


@given(rows, rows)
def test_records_joined_are_those_of_one_table(some, more):
    other, whole = records(more), records(some + more)
    joined = records(some).joined(other.values, other.points, other.slice_points)
    np.testing.assert_array_equal(joined.values, whole.values)
    np.testing.assert_array_equal(joined.points, whole.points)
    np.testing.assert_array_equal(joined.slice_points, whole.slice_points)
