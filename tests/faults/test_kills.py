"""An erasure is killed, or made to fail, at every one of its system calls; what was begun then ends as if undisturbed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness import STRACE, Fault, Lab

PARTS = 40  # the sweep is cut into as many tests, for pytest -n
STRIDE = int(os.environ.get("WORKBENCH_FAULTS_STRIDE", "1"))
PAIRS = 200
THIN = 12
ROOM = ("write", "pwrite64", "ftruncate", "mkdir")  # calls that can find the disk full

needs_strace = pytest.mark.skipif(not STRACE, reason="apt-get update && apt-get install -y strace")


@pytest.fixture(scope="module")
def lab(full_workspace: Path) -> Iterator[Lab]:
    with Lab.opened(full_workspace) as lab:
        yield lab


@pytest.fixture(scope="module")
def points(lab: Lab) -> list[Fault]:
    return lab.points()


def evenly(points: list[Fault], n: int) -> list[Fault]:
    return [points[i * (len(points) - 1) // (n - 1)] for i in range(n)]


def test_an_erasure_survives_kills_at_some_of_its_calls(lab: Lab, points: list[Fault]) -> None:
    lab.sweep(evenly(points, THIN))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_an_erasure_survives_a_kill_at_any_call(lab: Lab, points: list[Fault], part: int) -> None:
    lab.sweep(points[::STRIDE][part::PARTS])


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_an_erasure_and_its_resume_survive_being_killed(lab: Lab, points: list[Fault], part: int) -> None:
    chance = random.Random(0)
    pairs = [(chance.choice(points), chance.choice(points)) for _ in range(PAIRS)]
    for pair in pairs[part::PARTS]:
        lab.survive(*pair)


@needs_strace
@pytest.mark.faults
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("part", range(PARTS))
def test_an_erasure_survives_an_error_of_any_call(lab: Lab, points: list[Fault], error: str, part: int) -> None:
    calls = [point for point in points if point.call != "hook" and (error == "EIO" or point.call in ROOM)]
    lab.sweep([replace(point, error=error) for point in calls[::STRIDE][part::PARTS]])


@needs_strace
@pytest.mark.faults
@pytest.mark.parametrize("part", range(4))
def test_an_erasure_survives_a_disk_that_stays_full(lab: Lab, points: list[Fault], part: int) -> None:
    for call in ("pwrite64", "write"):
        chosen = evenly([point for point in points if point.call == call], 24)[part::4]
        lab.sweep([replace(point, error="ENOSPC", onward=True) for point in chosen])


@needs_strace
@pytest.mark.faults
@pytest.mark.parametrize("place", ["compact", "sweep"])
def test_an_erasure_survives_a_kill_while_a_database_is_rewritten(lab: Lab, place: str) -> None:
    """`compact` begins with the VACUUM of the state; soon after `sweep`, MLflow's rows are purged and it is rewritten."""
    for when in range(1, 600, 25) if place == "sweep" else range(1, 48, 2):
        lab.survive(Fault("pwrite64", when), at=f"workbench.workflows.steps:{place}")
