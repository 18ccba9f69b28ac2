"""What others wrote is read within limits: no file costs memory beyond them, and no content raises anything but InputError."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.config import SynthesizeConfig, read_config
from workbench.erasure.keys import read_public_key
from workbench.erasure.policy import ErasurePolicy
from workbench.errors import CheckFailedError, InputError
from workbench.foreign import (
    MOST_DEPTH,
    MOST_VALUES,
    MOST_YAML_NODES,
    parse_json,
    parse_yaml,
    read_json,
    read_limited,
    read_stream,
)
from workbench.schema import read_schema
from workbench.state.roles import read_roles
from workbench.workflows.erasure.verify import verify

READERS: dict[str, Callable[[Path], Any]] = {
    "certificate": lambda path: verify(None, path, key=path.with_name("key.pem")),
    "public key": read_public_key,
    "schema": read_schema,
    "config": lambda path: read_config(path, SynthesizeConfig),
    "policy": lambda path: read_config(path, ErasurePolicy),
    "roles": lambda path: read_roles(path.parent),
}


def _path(folder: Path, name: str) -> Path:
    return folder / ("roles.yaml" if name == "roles" else "foreign.yaml")


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Import what readers import late, so that no module counts as memory of a file."""
    parse_yaml("a: 1", what="it")


@pytest.mark.parametrize("name", READERS)
def test_a_sparse_file_of_3_gib_costs_no_memory(name: str, tmp_path: Path, public_key: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(public_key)
    path = _path(tmp_path, name)
    with path.open("wb") as file:
        file.truncate(3 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            READERS[name](path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


HOSTILE = {
    "nested": b"[\n" * 100_000,
    "nested and closed": b'{"a":' * 400 + b"1" + b"}" * 400,
    "not UTF-8": b"\xff\xfe\x00",
    "a key beyond ASCII": '{"schlüssel": "é"}'.encode(),
    "half a character": b'{"\\ud800": "\\udfff"}',
    "a number of many digits": b'{"a": ' + b"9" * 5000 + b"}",
    "no number": b'{"a": NaN}',
    "a field twice": b'{"a": 1, "a": 2}',
    "a list": b"[]",
    "nothing": b"",
    "a nul": b"\0",
    "aliases that multiply": b"a0: &a0 [x]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (k, k, b",".join([b"*a%d" % (k - 1)] * 9)) for k in range(1, 10)),
    "an alias of itself": b"a: &a [*a]\n",
    **{
        f"a tag, {tag}": f"a: !!{tag}\n".encode()
        for tag in (
            "bool x",
            "timestamp foo",
            "int ''",
            "float ''",
            "null",
            "set {a}",
            "binary eA==",
            "python/tuple [1]",
        )
    },
    "many values": b"[" + b"1," * 450_000 + b"1]",
    "many lists": b"[" + b"[]," * 300_000 + b"1]",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_a_hostile_document_as_bad_input(
    name: str, content: bytes, tmp_path: Path, public_key: bytes
) -> None:
    (tmp_path / "key.pem").write_bytes(public_key)
    path = _path(tmp_path, name)
    path.write_bytes(content)
    if name == "certificate":  # what is no envelope is a certificate that does not hold
        assert not READERS[name](path).valid
    elif name == "roles" and content == b"":
        READERS[name](path)
    else:
        with pytest.raises(InputError):
            READERS[name](path)


def test_a_text_may_say_that_it_is_one() -> None:
    assert parse_yaml("{a: !!str 1, b: 2}", what="it") == {"a": "1", "b": 2}


@pytest.mark.parametrize(("separator", "item"), [(",", "1"), (",", "[]"), (",", '{"a":1}'), ("[[],", "{}]")])
def test_values_are_counted_before_json_is_read(separator: str, item: str) -> None:
    content = "[" + (item + separator) * (MOST_VALUES + 1) + item + "]"
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="holds more than 2,500,000 values"):
            parse_json(content, what="it")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_caller_limits_the_values_further() -> None:
    assert len(parse_json("[" + "1," * 299 + "1]", what="it", most_values=300)) == 300
    with pytest.raises(InputError, match="more than 299 values"):
        parse_json("[" + "1," * 299 + "1]", what="it", most_values=299)


@pytest.mark.slow
@pytest.mark.parametrize(("node", "nodes"), [("1,", 1), ("a: ,", 2), ("[],", 1)])
def test_values_of_yaml_are_counted_while_they_are_read(node: str, nodes: int) -> None:
    """Beside the few characters that are counted before."""
    opened, closed = "{}" if ":" in node else "[]"
    text = "".join(node.replace("a", f"k{place}") for place in range((MOST_YAML_NODES - 1) // nodes))
    parse_yaml(opened + text + closed, what="it")
    with pytest.raises(InputError, match="holds more than 150,000 values"):
        parse_yaml(opened + text + node.replace("a", "b") + closed, what="it")


def test_a_schema_of_a_thousand_columns_fits(tmp_path: Path) -> None:
    column = "  c{}: {{kind: categorical, categories: [a-a, b-b, c-c], missing: true}}\n"
    (tmp_path / "s.yaml").write_text(
        "subject: row\npopulation: p\ncolumns:\n" + "".join(map(column.format, range(1000)))
    )
    assert len(read_schema(tmp_path / "s.yaml").columns) == 1000


def test_depth_is_counted_the_same_in_json_and_yaml() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "]" * depth

    for parse in (parse_json, parse_yaml):
        parse(nested(MOST_DEPTH), what="it")
        with pytest.raises(InputError, match="it is nested too deeply"):
            parse(nested(MOST_DEPTH + 1), what="it")


def test_a_file_is_read_up_to_its_limit_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_limited(path, most=10, what="file") == b"x" * 10
    with pytest.raises(InputError, match=r"file .* is larger than 9 bytes"):
        read_limited(path, most=9, what="file")
    with pytest.raises(InputError, match="no file at"):
        read_limited(tmp_path / "absent", most=9, what="file")
    with pytest.raises(InputError, match="cannot be read"):
        read_limited(tmp_path, most=9, what="file")


def test_a_source_without_an_end_is_read_no_further_than_its_limit() -> None:
    with pytest.raises(InputError, match="larger than 10 MB"):
        read_limited(Path("/dev/zero"), most=10_000_000, what="file")
    with pytest.raises(InputError, match="larger than 4 bytes"):
        read_stream(io.BytesIO(b"12345"), most=4, what="it")


def test_a_named_pipe_that_nobody_writes_to_holds_no_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_limited(tmp_path / "pipe", most=10, what="file") == b""


def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b'{"a": [1.5, "\xc3\xa9"]}')
    try:
        assert read_json(Path(f"/dev/fd/{reading}"), most=100, what="file") == {"a": [1.5, "é"]}
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "content", [b'{"ada@example.org": ', b'{"ada@example.org": 1, "ada@example.org": 2}', b'"ada@example.org\\ud800"']
)
def test_a_message_quotes_nothing_of_the_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(tmp_path / "file", most=1_000, what="file", hint="export it")
    assert "ada" not in f"{caught.value} {caught.value.hint}"


@given(st.binary(max_size=80) | st.text("[]{}:,&*-!\"' \n\tab0.e\\u\ud7ff", max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_bad_input(content: bytes) -> None:
    for parse in (parse_json, parse_yaml):
        with suppress(InputError):
            parse(content, what="it")


def test_a_repeated_key_of_a_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("approval: none\napproval: required\n")
    with pytest.raises(InputError, match="keys repeat"):
        read_config(tmp_path / "c.yaml", ErasurePolicy)


def test_a_certificate_beyond_the_limit_is_bad_input_and_no_verdict(tmp_path: Path, public_key: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(public_key)
    (tmp_path / "c.json").write_bytes(b" " * 20_000_000)
    with pytest.raises(InputError, match="larger than"):
        verify(None, tmp_path / "c.json", key=tmp_path / "key.pem")
    assert not issubclass(InputError, CheckFailedError)


@pytest.fixture(scope="module")
def public_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return Ed25519PrivateKey.generate().public_key().public_bytes(*form)
