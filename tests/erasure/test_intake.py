"""Whatever bytes a file of requests holds, each entry is a request or is malformed with a reason that quotes nothing."""

from __future__ import annotations

import json
import unicodedata
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.erasure import intake
from workbench.erasure.intake import Asked, Identity, Intake, ending_of, parse
from workbench.errors import InputError

ID = "0b9c1a52-6a1f-4f0e-9d3b-7a4c4a1d2e3f"
SECRET = "pupil-1001-secret"


def keys(content: str | bytes, ending: str | None = None) -> list[str]:
    found = parse(content.encode() if isinstance(content, str) else content, ending)
    assert not found.malformed
    return [one.identities[0].value for one in found.asked]


def faults(content: str | bytes, ending: str | None = None) -> dict[int, str]:
    found = parse(content.encode() if isinstance(content, str) else content, ending)
    return {one.line: one.reason for one in found.malformed}


def open_dsr(**changes: Any) -> dict[str, Any]:
    identity = {"identity_type": "email", "identity_value": "a@example.org", "identity_format": "raw"}
    return {
        "regulation": "gdpr",
        "subject_request_id": ID,
        "subject_request_type": "erasure",
        "subject_identities": [identity],
        "submitted_time": "2026-01-31T12:00:00Z",
        "api_version": "2.0",
    } | changes


def test_lines_of_text() -> None:
    assert keys("\ufeffa\r\n\r\n  Åse 🗼 \r\nc\rd", ".txt") == ["a", "Åse 🗼", "c", "d"]
    assert keys("A\u030ase", ".txt") == ["Åse"], "one spelling"
    assert [one.line for one in parse(b"a\n\nb").asked] == [1, 3]
    assert keys("", ".txt") == []
    assert keys('+49 30 1\n@handle\n-5\n"quoted"\n{not json', ".txt")[:3] == ["+49 30 1", "@handle", "-5"]


def test_csv_by_its_header_or_by_its_first_column() -> None:
    want = Asked(identities=(Identity(value="p, 1"),), request_id="t-1", dataset="pupils")
    text = 'dataset,Key,request_id,note\r\npupils,"p, 1",t-1,=1+1\r\n\r\n'
    assert parse(text.encode(), ".csv").asked == (want,)
    assert parse(text.replace(",", ";").replace("p; 1", "p, 1").encode(), ".csv").asked == (want,)
    assert keys("p1,x\np2,y\n", ".csv") == ["p1", "p2"]
    assert keys("request_id,key\n,p1\n", ".csv") == ["p1"]
    assert parse(b"key\np1\n").asked[0].line == 2


def test_csv_faults_are_told_by_line() -> None:
    text = 'key,request_id\np1,ok\n=cmd|x,a\n,b\np2\np3,../x\n"a\nb",c\np4,d\n'
    assert sorted(faults(text, ".csv")) == [3, 4, 5, 6, 7]
    assert keys("key\np1\n", ".csv") == ["p1"]
    assert len(parse(text.encode(), ".csv").asked) == 2
    for bad in ('key\n"open\nq', 'key\n"a"b\n', "request_id,note\na,b\n", "key\n" + "x" * 200_000):
        with pytest.raises(InputError):
            parse(bad.encode(), ".csv")


def test_json_lines() -> None:
    lines = [{"key": "p1", "request_id": "t-1", "dataset": "pupils"}, {"key": 17}, {"key": "p2", "more": [1]}]
    assert [(a.identities[0].value, a.request_id) for a in parse("\n".join(map(json.dumps, lines)).encode()).asked] == [
        ("p1", "t-1"),
        ("17", None),
        ("p2", None),
    ]
    bad = ["{}", "[]", "3", '{"key": true}', '{"key": 1.5}', '{"key": null}', '{"key": {"a": 1}}', '{"key": " "}']
    bad += ['{"key": NaN}', '{"key": 1e999}', f'{{"key": {"9" * 5000}}}', f'{{"key": {"9" * 2000}}}', "[" * 100_000]
    bad += ['{"key": "a", "key": "b"}', '{"key": "a\\u0000b"}', '{"key": "\\ud800"}', '{"key": "a', '{"a":' * 5000]
    bad += ['{"key": "a", "request_id": 5}', '{"key": "a", "dataset": ["x"]}', json.dumps({"key": "x" * 1001})]
    found = parse("\n".join(bad).encode(), ".jsonl")
    assert found.asked == ()
    assert [one.line for one in found.malformed] == list(range(1, len(bad) + 1))


def test_an_open_dsr_request_is_one_request_with_all_its_identities() -> None:
    identities = [
        {"identity_type": "email", "identity_value": "a@example.org", "identity_format": "raw"},
        {"identity_type": "customer", "identity_value": "17", "identity_format": "raw"},
    ]
    found = parse(json.dumps(open_dsr(subject_identities=[*identities, identities[0]])).encode(), ".json")
    both = (Identity(value="a@example.org", type="email"), Identity(value="17", type="customer"))
    assert found == Intake(asked=(Asked(identities=both, request_id=ID),), malformed=())
    many = [open_dsr(subject_request_id=str(uuid.uuid4())) for _ in range(3)]
    assert len(parse(json.dumps(many).encode()).asked) == 3
    assert parse(json.dumps(open_dsr(subject_request_id=ID.upper())).encode()).asked[0].request_id == ID


@pytest.mark.parametrize(
    "changes",
    [
        {"subject_request_type": "access"},
        {"subject_request_id": "0b9c1a52-6a1f-1f0e-9d3b-7a4c4a1d2e3f"},
        {"subject_request_id": f"{{{ID}}}"},
        {"subject_request_id": 5},
        {"regulation": ""},
        {"api_version": 2},
        {"api_version": [[]]},
        {"submitted_time": "2026-01-31"},
        {"submitted_time": "soon"},
        {"submitted_time": None},
        {"subject_identities": []},
        {"subject_identities": {}},
        {"subject_identities": ["a"]},
        {"subject_identities": [open_dsr()["subject_identities"][0]] * 101},
        {"subject_identities": [{"identity_type": "email", "identity_value": "a", "identity_format": "sha256"}]},
        {"subject_identities": [{"identity_type": "../x", "identity_value": "a", "identity_format": "raw"}]},
        {"subject_identities": [{"identity_type": "email", "identity_value": {}, "identity_format": "raw"}]},
        {"subject_identities": [{"identity_type": "email", "identity_value": "a\nb", "identity_format": "raw"}]},
    ],
)
def test_what_open_dsr_does_not_allow_is_malformed(changes: dict[str, Any]) -> None:
    found = parse(json.dumps(open_dsr(**changes)).encode(), ".json")
    assert (found.asked, len(found.malformed)) == ((), 1)


def test_a_repeated_request_id_would_hide_a_person() -> None:
    found = parse(b"key,request_id\np1,t-1\np2,t-1\np1,t-2\n", ".csv")
    assert [one.identities[0].value for one in found.asked] == ["p1", "p1"]
    assert found.malformed[0].line == 3


def test_limits_hold_for_the_file_as_a_whole() -> None:
    with pytest.raises(InputError, match="10 MB"):
        parse(b"x" * (intake.MAX_BYTES + 1), ".txt")
    assert len(keys("p\n" * 0 + "\n".join(map(str, range(10_000))))) == 10_000
    with pytest.raises(InputError, match="10,000"):
        parse("\n".join(map(str, range(10_001))).encode())
    with pytest.raises(InputError, match="UTF-8"):
        parse(b"\xff\xfea\x00", ".txt")
    assert keys("x" * 1000) == ["x" * 1000]
    assert faults("x" * 1001) == {1: "its key has more than 1,000 characters"}
    assert faults("a\x00b\nc") == {1: "its key holds a control character"}


def test_the_format_is_told_by_the_ending_or_by_the_first_characters() -> None:
    assert [ending_of(name) for name in ("a.TXT", "a.csv", "a.b.jsonl", "a.json", "a.exe", "json")] == [
        ".txt",
        ".csv",
        ".jsonl",
        ".json",
        None,
        None,
    ]
    assert keys('\n {"key": "p1"}\n{"key": "p2"}') == ["p1", "p2"]
    assert keys(json.dumps(open_dsr(), indent=1)) == ["a@example.org"]
    assert keys("key;dataset\np1;\n") == ["p1"]
    assert keys("p1\np2") == ["p1", "p2"]
    with pytest.raises(InputError):
        parse(b"{", None)


LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ['{"key": "a"}', "key,request_id", 'a,"b', "=x", '{"key": ' * 9, "\x00", "[" * 2000, "9" * 5000]
        ),
        st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=5).map(
            json.dumps
        ),
    ),
    max_size=8,
)


@given(content=st.binary(max_size=200) | LINES.map(lambda lines: "\n".join(lines).encode("utf-8", "replace")))
@example(content=b"")
@example(content=b"a\x00b\n")
@pytest.mark.parametrize("ending", [None, ".txt", ".csv", ".jsonl", ".json"])
def test_no_bytes_make_it_raise_anything_but_input_error(ending: str | None, content: bytes) -> None:
    try:
        found = parse(content, ending)
    except InputError:
        return
    for one in found.asked:
        assert all(identity.value.strip() for identity in one.identities)
        text = "".join(identity.value for identity in one.identities)
        assert not {unicodedata.category(character) for character in text} & {"Cc", "Cs"}
        text.encode()


@pytest.mark.parametrize("ending", [".txt", ".csv", ".jsonl", ".json"])
def test_no_reason_quotes_what_it_refuses(ending: str) -> None:
    texts = [
        f"key,request_id,dataset\n={SECRET},,\n{SECRET}\x00,,\np,{SECRET}/,\np,,{SECRET}/\n{SECRET},a\n",
        f'{{"{SECRET}": 1}}\n{{"key": ["{SECRET}"]}}\n{SECRET}\x01\n{{"key": "p", "request_id": "{SECRET}@"}}',
        json.dumps(open_dsr(subject_request_id=SECRET)),
        json.dumps(open_dsr(subject_identities=[{"identity_type": SECRET, "identity_format": SECRET}])),
        f'"{SECRET}',
        f'{{"a": {SECRET}',
    ]
    for text in texts:
        try:
            told = repr(parse(text.encode(), ending).malformed)
        except InputError as fault:
            told = f"{fault} {fault.hint}"
        assert SECRET not in told
