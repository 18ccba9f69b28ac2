"""Artifacts come back as they were recorded, by id, by data set, by kind."""

import pytest

from workbench.errors import NotFoundError
from workbench.state import lineage, writing
from workbench.state.lineage import Artifact


def artifact(name, kind="model", dataset="d", created="2026-01-01", **changes):
    return Artifact(id=name, kind=kind, dataset=dataset, derived_from=["d"], created=created, **changes)


@pytest.fixture
def recorded(workspace):
    made = [
        artifact("b", created="2026-01-02", digest="ff", path="x/y", body={"n": [1, {"ö": None}]}),
        artifact("a"),
        artifact("c", kind="release"),
        artifact("e", dataset="other"),
    ]
    with writing(workspace.engine) as connection:
        for each in made:
            lineage.record(connection, each)
    return workspace.engine, {each.id: each for each in made}


def test_an_artifact_comes_back_as_it_was_recorded(recorded):
    engine, made = recorded
    with engine.connect() as connection:
        for name, each in made.items():
            assert lineage.get(connection, name) == each


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        ({}, "aceb"),
        ({"dataset": "d"}, "acb"),
        ({"kind": "model"}, "aeb"),
        ({"dataset": "d", "kind": "release"}, "c"),
        ({"kind": "x"}, ""),
    ],
)
def test_artifacts_are_found_oldest_first(recorded, chosen, ids):
    with recorded[0].connect() as connection:
        assert [a.id for a in lineage.find(connection, **chosen)] == list(ids)


def test_removed_artifacts_are_gone_and_removing_again_is_fine(recorded):
    for _ in range(2):
        with writing(recorded[0]) as connection:
            lineage.remove(connection, ["a", "c"])
            lineage.remove(connection, [])
    with recorded[0].connect() as connection:
        assert [a.id for a in lineage.find(connection)] == ["e", "b"]
        with pytest.raises(NotFoundError, match="'a'"):
            lineage.get(connection, "a")
