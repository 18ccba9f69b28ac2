"""A hit of the byte scan is judged by where it comes from: proved to be chance, accepted by a person, or left."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import Answer, pupils
from shared import changed, copied
from stored import predicate

from workbench.erasure.byte_scan import Finding, scan_bytes
from workbench.erasure.locate import find_person
from workbench.errors import ForbiddenError, InputError
from workbench.roles import Person, acting
from workbench.workflows.accept_hit import accept_hit
from workbench.workflows.erase import erase
from workbench.workflows.execute import carry_out
from workbench.workflows.ingest import ingest
from workbench.workflows.judge_hits import judge
from workbench.workflows.requests import set_policy, show_request
from workbench.workflows.verify import verify
from workbench.workspace import Workspace


def by_chance(root: Path) -> tuple[Path, str]:
    """A checkpoint, and a number of eight digits or more that stands in it alone."""
    for path in sorted((root / "objects").rglob("*")):
        found = re.search(rb"(?<![0-9a-f])[1-9]\d{7,}(?![0-9a-f])", path.read_bytes()) if path.is_file() else None
        if found:
            return path, found.group().decode()
    raise AssertionError("no checkpoint holds such a number")


@pytest.fixture(scope="module")
def numbered_root(
    full_workspace: Path, pupils_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The pupils' workspace with a second data set, whose first person's identifier stands in a model of the pupils."""

    def change(workspace: Workspace, folder: Path) -> None:
        _, number = by_chance(workspace.root)
        table = pd.concat([pupils(1).assign(pupil=number), pupils(20, first=3000)])
        table.to_csv(folder / "more.csv", index=False)
        ingest(workspace, "more", schema=pupils_files[0], data=folder / "more.csv")

    return changed(tmp_path_factory, "numbered", full_workspace, change)


@pytest.fixture
def numbered(numbered_root: Path, tmp_path: Path) -> tuple[Workspace, Path, str]:
    """A fresh copy, with the checkpoint and the person's number."""
    return copied(numbered_root, tmp_path), *by_chance(tmp_path / "workspace")


def test_digits_of_a_model_that_replays_are_chance_and_stand_on_the_certificate(
    numbered: tuple[Workspace, Path, str],
) -> None:
    workspace, checkpoint, number = numbered
    answer = erase(workspace, [number], dataset="more")["requests"][0]
    assert (answer["status"], answer["reason"]) == ("completed", None)
    assert verify(workspace, Path(answer["certificate"]))["valid"]
    told = predicate(Path(answer["certificate"]))["scan"]["chance"]
    place = checkpoint.relative_to(workspace.root).as_posix()
    assert {"file": place, "offset": checkpoint.read_bytes().find(number.encode())} in told


def left_of(workspace: Workspace, number: str, dataset: str = "more") -> list[Finding]:
    """What judging leaves of a scan for a person who is still in the data."""
    located = find_person(workspace, [(dataset, number)])
    found = scan_bytes(workspace, identifiers=[number.encode()])
    return list(judge(workspace, found, people={(s.token, s.point) for s in located.subjects}).left)


def test_only_what_replays_is_chance(numbered: tuple[Workspace, Path, str]) -> None:
    workspace, checkpoint, number = numbered
    assert left_of(workspace, number) == []
    stray = checkpoint.with_name("0" * 64)
    stray.write_bytes(number.encode())
    assert [f.file for f in left_of(workspace, number)] == [stray.relative_to(workspace.root).as_posix()]
    stray.unlink()
    checkpoint.write_bytes(checkpoint.read_bytes() + number.encode())
    assert left_of(workspace, number), "what was added to it was not learnt"


@pytest.mark.slow
def test_the_model_of_a_person_who_is_in_it_is_no_chance(
    numbered: tuple[Workspace, Path, str],
) -> None:
    workspace, _, number = numbered
    located = find_person(workspace, [("more", number)])
    people = {(s.token, s.point) for s in located.subjects}
    found = scan_bytes(workspace, identifiers=[number.encode()])
    assert judge(workspace, found, people=people).left == ()
    inside = find_person(workspace, [("pupils", "pupil-1000"), ("pupils", "pupil-1001"), ("pupils", "pupil-1002")])
    trained = {(s.token, s.point) for s in inside.subjects if s.split == "train"}
    assert trained
    assert judge(workspace, found, people=people | trained).left != ()


@pytest.mark.slow
def test_digits_of_private_results_are_not_searched_for_numbers_alone(numbered: tuple[Workspace, Path, str]) -> None:
    workspace, _, number = numbered
    generator = next((workspace.root / "generators").iterdir())
    (generator / "more.json").write_text(f"[{number}, pupil-123456]")
    assert left_of(workspace, number) == []
    found = scan_bytes(workspace, identifiers=[b"pupil-123456"])
    assert len(judge(workspace, found, people=()).left) == 1
    shutil.copy(generator / "more.json", workspace.root / "releases" / "more.json")
    assert len(left_of(workspace, number)) == 1, "no artifact names that one"


@pytest.fixture
def held(numbered: tuple[Workspace, Path, str]) -> tuple[Workspace, str, str]:
    """A workspace whose request is held by what a log says, the person's key, and the request."""
    workspace, _, _ = numbered
    (workspace.root / "logs" / "old.log").write_text("by order pupil-3003, of the town")
    answer = erase(workspace, ["pupil-3003"], dataset="more")["requests"][0]
    return workspace, "pupil-3003", answer["request"]


def test_a_person_answers_for_a_hit_and_the_certificate_says_so(
    held: tuple[Workspace, str, str], command: Callable[..., Answer]
) -> None:
    workspace, key, request = held
    (hit,) = show_request(workspace, request)["hits"]
    assert (hit["file"], hit["offset"]) == ("logs/old.log", 9)
    words = ("--workspace", workspace.root, "requests", "accept-hit", request, "--file", hit["file"])
    answer = command(*words, "--offset", 9, "--reason", f"it is not {key}", "--json")
    assert (answer.code, key in answer.out + answer.err) == (2, False)
    assert command(*words, "--offset", 8, "--reason", "a street").code == 2
    assert command(*words, "--offset", 9, "--reason", " ").code == 2
    set_policy(workspace, "more", Path("configs/policies/default.yaml"), ["four_eyes=true"])
    with pytest.raises(ForbiddenError):
        accept_hit(workspace, request, file=hit["file"], offset=9, reason="the name of a street")
    with acting(Person(actor="a", role="operator")), pytest.raises(ForbiddenError, match="the role operator"):
        accept_hit(workspace, request, file=hit["file"], offset=9, reason="the name of a street")
    with acting(Person(actor="b", role="approver")):
        accept_hit(workspace, request, file=hit["file"], offset=9, reason="the name of a street")
        with pytest.raises(InputError, match="nothing there"):
            accept_hit(workspace, request, file=hit["file"], offset=9, reason="twice")
    assert show_request(workspace, request)["hits"] == []
    done = carry_out(workspace).done[request]
    assert "HIT_ACCEPTED" in {e["kind"] for e in show_request(workspace, request)["timeline"]}
    told = predicate(Path(done["certificate"]))["scan"]["accepted"]
    assert told == [{"file": "logs/old.log", "offset": 9, "reason": "the name of a street"}]
    assert verify(workspace, Path(done["certificate"]))["valid"]


@pytest.mark.slow
def test_what_was_not_looked_at_is_not_accepted_with_it(held: tuple[Workspace, str, str]) -> None:
    workspace, key, request = held
    accept_hit(workspace, request, file="logs/old.log", offset=9, reason="the name of a street")
    (workspace.root / "logs" / "old.log").write_text(f"by order pupil-3003, of the town; and {key} of the village")
    (failure,) = carry_out(workspace).failures
    assert "1 hits" in str(failure.fault)
    assert [hit["offset"] for hit in show_request(workspace, request)["hits"]] == [38]
