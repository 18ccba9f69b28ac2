"""The doctor tells what is being written from what nobody registered."""

from __future__ import annotations

import pytest

from workbench.config import TrainConfig
from workbench.data.objects import Objects
from workbench.state.workspace import Workspace
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.training.train import train


def foreign(workspace: Workspace) -> tuple[bool, str]:
    check = next(c for c in doctor(workspace).checks if c.name == "foreign files")
    return check.ok, check.detail


def test_checkpoints_of_a_running_training_are_being_written(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, seen = Objects.put, []

    def put_and_look(self: Objects, content: bytes) -> str:
        digest = put(self, content)
        seen.append(foreign(trained))
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", put_and_look)
        train(trained, TrainConfig(learner="gradient_boosting", dataset="pupils", shards=2, slices=1, rounds=2))
    assert seen == [(True, "none; being written: pupils")] * 2
    assert foreign(trained) == (True, "none"), "published"


@pytest.mark.parametrize("place", ["data/pupils-2", "objects/pupils/ab/stray", "objects/loose", "data/-no name"])
def test_what_nobody_registered_is_foreign(trained: Workspace, place: str) -> None:
    path = trained.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    ok, detail = foreign(trained)
    assert not ok
    assert place in detail
    with trained.lock("pupils"):
        assert foreign(trained)[0] is (place == "objects/pupils/ab/stray")
