"""A hit of the byte scan is judged by where it comes from: proved to be chance, accepted by a person, or left."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from conftest import Answer, pupils
from shared import changed, copied
from stored import predicate

from workbench.bytescan.archives import Hit
from workbench.erasure import saga
from workbench.erasure.byte_scan import BytesFound, Finding, scan_bytes
from workbench.erasure.locate import find_person
from workbench.errors import ForbiddenError, InputError, NamingError
from workbench.state.roles import Person, acting
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure import judge_hits
from workbench.workflows.erasure.accept_hit import accept_hit
from workbench.workflows.erasure.decide import set_policy, show_request
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out
from workbench.workflows.erasure.judge_hits import judge
from workbench.workflows.erasure.verify import verify

SHORT = "77001"


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
        table = pd.concat([pupils(1).assign(pupil=key) for key in (number, SHORT)] + [pupils(20, first=3000)])
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
    answer = erase(workspace, [number], dataset="more").requests[0]
    assert (answer.status, answer.reason) == ("completed", None)
    assert verify(workspace, Path(answer.certificate)).valid
    told = predicate(Path(answer.certificate))["scan"]["chance"]
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
    with pytest.MonkeyPatch.context() as other:
        other.setattr(judge_hits, "train_shard", lambda *_, **__: [b"another model"])
        assert left_of(workspace, number), "what is stored gives another model"
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


def left_in(workspace: Workspace, place: str, content: bytes, number: bytes = b"12345678") -> bool:
    """Whether judging leaves a number that stands in a file."""
    path = workspace.root / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    hit = Hit(needle=number, offset=content.find(number))
    finding = Finding(file=place, hit=hit, needles=frozenset([number]))
    found = BytesFound(findings=(finding,), files=1, pages=0, wanted=frozenset())
    return judge(workspace, found, people=()).left == (finding,)


def test_a_file_is_no_model_for_its_name(trained: Workspace) -> None:
    models = [path for path in (trained.root / "objects" / "pupils").rglob("*") if path.is_file()]
    assert left_in(trained, f"objects/pupils/zz/{models[0].name}", b"a letter of customer 12345678")
    assert left_in(trained, f"objects/pupils/{models[0].name}", b"a letter of customer 12345678")


def tensors(header: bytes, numbers: bytes, rest: bytes = b"") -> bytes:
    header = b'{"__metadata__":{"by":"%s"},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}' % header
    return len(header).to_bytes(8, "little") + header + numbers + rest


def test_of_private_results_numbers_alone_are_left_out(trained: Workspace) -> None:
    generator = next((trained.root / "generators").iterdir()).relative_to(trained.root).as_posix()
    assert not left_in(trained, f"{generator}/a.json", b'{"a": [0.5, 12345678]}')
    assert not left_in(trained, f"{generator}/a.jsonl", b'{"a": 1}\n{"a": [12345678]}\n')
    assert not left_in(trained, f"{generator}/a.safetensors", tensors(b"", b"12345678"))
    assert left_in(trained, f"{generator}/a.json", b'{"a": "12345678 is ill", "b": [12345678]}')
    assert left_in(trained, f"{generator}/a.json", b'{"12345678": 1}')
    assert left_in(trained, f"{generator}/a.json", b"12345678 is ill")
    assert left_in(trained, f"{generator}/a.safetensors", tensors(b"12345678", b"........"))
    assert left_in(trained, f"{generator}/a.safetensors", tensors(b"", b"........", b"12345678"))
    assert left_in(trained, f"{generator}/note.txt", b"12345678 is ill")
    assert left_in(trained, "fits/x/note.txt", b"12345678 is ill")
    assert left_in(trained, "fits/pupils-mst-012345/notes.jsonl", b"[12345678]"), "no fit says what it is"
    (trained.root / "fits" / "pupils-mst-012345" / "about.json").write_text(
        json.dumps({"config": {"dataset": "pupils", "generator": "mst", "epsilon": 1.0, "delta": 1e-6, "rows": 10}})
    )
    assert not left_in(trained, "fits/pupils-mst-012345/notes.jsonl", b"[12345678]")
    release = next((trained.root / "releases").glob("*.parquet")).relative_to(trained.root).as_posix()
    assert left_in(trained, release, b"12345678"), "it is not what was recorded"


def test_each_hit_and_each_file_is_answered_for_by_itself(
    numbered: tuple[Workspace, Path, str], command: Callable[..., Answer]
) -> None:
    workspace, _, number = numbered
    with closing(sqlite3.connect(workspace.root / "notes.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(f"{SHORT} is a course",), (f"{SHORT} is ill",)])
    other = workspace.root / "logs" / f"x_{number}.txt"
    other.write_text(f"course {SHORT} started")
    (workspace.root / "logs" / "old.gz").write_bytes(b"\x1f\x8bdamaged")
    request = erase(workspace, [SHORT], dataset="more").requests[0].request

    hits = show_request(workspace, request).hits
    assert [(hit.file, hit.offset) for hit in hits] == [
        ("logs/old.gz", None),
        (None, None),
        ("notes.db", 0),
        ("notes.db", 0),
    ]
    assert hits[1].place == "in a file that is called after a person, below logs"
    assert hits[2].mark != hits[3].mark
    with workspace.engine.connect() as connection:
        assert f"x_{number}" not in str(saga.unfinished(connection)), "the name would hold up another person's erasure"
    with pytest.raises(InputError, match="2 hits there"):
        accept_hit(workspace, request, file="notes.db", offset=0, reason="a course")
    with pytest.raises(NamingError, match="the reason"):
        accept_hit(workspace, request, file="notes.db", offset=0, mark=hits[2].mark, reason=f"{SHORT} is a course")
    with pytest.raises(NamingError, match="name of the file") as fault:
        accept_hit(workspace, request, file=f"logs/x_{number}.txt", offset=7, reason="a course")
    assert number not in f"{fault.value} {fault.value.hint}"
    words = ("--workspace", workspace.root, "requests", "accept-hit", request, "--json", "--file")
    assert command(*words, "notes.db", "--offset", 0, "--mark", hits[2].mark, "--reason", "a course").code == 0
    assert command(*words, "logs/old.gz", "--reason", "an empty archive").code == 0
    other.rename(workspace.root / "logs" / "renamed.txt")
    (failure,) = carry_out(workspace).failures
    assert "2 hits" in str(failure.fault)
    for hit in show_request(workspace, request).hits:
        accept_hit(workspace, request, file=hit.file, offset=hit.offset, reason="a course")

    done = carry_out(workspace).done[request]
    said = predicate(Path(done.certificate))["scan"]
    assert [hit["file"] for hit in said["accepted"]] == ["logs/renamed.txt", "notes.db", "notes.db"]
    reason = "damaged or encrypted"
    assert said["unread"] == [{"file": "logs/old.gz", "unread": reason, "reason": "an empty archive"}]
    with closing(sqlite3.connect(workspace.root / "state.db")) as connection:
        (bodies,) = connection.execute("SELECT group_concat(body) FROM journal WHERE kind = 'HIT_ACCEPTED'").fetchone()
    assert "logs" not in bodies
    assert hits[2].mark in bodies


@pytest.mark.slow
def test_digits_of_private_results_are_not_searched_for_numbers_alone(numbered: tuple[Workspace, Path, str]) -> None:
    workspace, _, number = numbered
    generator = next((workspace.root / "generators").iterdir())
    (generator / "more.json").write_text(f'[{number}, "pupil-123456"]')
    assert left_of(workspace, number) == []
    found = scan_bytes(workspace, identifiers=[b"pupil-123456"])
    assert len(judge(workspace, found, people=()).left) == 1
    shutil.copy(generator / "more.json", workspace.root / "releases" / "more.json")
    assert len(left_of(workspace, number)) == 1, "no artifact names that one"


_TOWN = "of the town of Aix on the river Arc"


@pytest.fixture
def held(numbered: tuple[Workspace, Path, str]) -> tuple[Workspace, str, str]:
    """A workspace whose request is held by what a log says, the person's key, and the request."""
    workspace, _, _ = numbered
    (workspace.root / "logs" / "old.log").write_text(f"by order pupil-3003, {_TOWN}")
    answer = erase(workspace, ["pupil-3003"], dataset="more").requests[0]
    return workspace, "pupil-3003", answer.request


def test_a_person_answers_for_a_hit_and_the_certificate_says_so(
    held: tuple[Workspace, str, str], command: Callable[..., Answer]
) -> None:
    workspace, key, request = held
    shown = command("--workspace", workspace.root, "requests", "show", request, "--json")
    (hit,) = shown.json["hits"]
    assert (hit["file"], hit["offset"], key in shown.out) == ("logs/old.log", 9, False)
    assert hit["mark"] in command("--workspace", workspace.root, "requests", "show", request).out
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
    assert show_request(workspace, request).hits == ()
    done = carry_out(workspace).done[request]
    assert "HIT_ACCEPTED" in {e.kind for e in show_request(workspace, request).timeline}
    told = predicate(Path(done.certificate))["scan"]["accepted"]
    assert told == [{"file": "logs/old.log", "offset": 9, "reason": "the name of a street"}]
    assert verify(workspace, Path(done.certificate)).valid


@pytest.mark.slow
def test_what_was_not_looked_at_is_not_accepted_with_it(held: tuple[Workspace, str, str]) -> None:
    workspace, key, request = held
    accept_hit(workspace, request, file="logs/old.log", offset=9, reason="the name of a street")
    (workspace.root / "logs" / "old.log").write_text(f"by order pupil-3003, {_TOWN}; and {key} of the village")
    (failure,) = carry_out(workspace).failures
    assert "1 hits" in str(failure.fault)
    assert [hit.offset for hit in show_request(workspace, request).hits] == [len(f"by order pupil-3003, {_TOWN}; and ")]
