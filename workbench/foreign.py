"""Reading what others wrote: files, standard input and documents, limited in size, depth and number of values.

- A limit is checked before anything is read: a file of any size beyond it costs no memory.
- Every fault is an InputError that names the file and quotes nothing of it but YAML keys that repeat.
- JSON and YAML hold finite numbers and texts that UTF-8 can write, and name no field twice.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from workbench.errors import InputError

MOST_DEPTH = 64
MOST_VALUES = 2_500_000  # of a JSON document: each takes up to some hundred bytes of memory
MOST_YAML_NODES = 150_000  # as written: each takes about a kilobyte of memory until the whole document is read
_MOST_YAML_MARKS = 400_000  # characters that can separate nodes, those within texts and dates too: counted in no time
_MOST_YAML_VALUES = 2_000_000  # aliases counted as often as they are used: ten lines can stand for billions
_CHUNK = 1 << 20
_TEXT_TAGS = (
    None,
    "!",
    "tag:yaml.org,2002:str",
)  # PyYAML raises whatever it likes where a value is not what its tag says
_MERGE = "tag:yaml.org,2002:merge"  # the key <<, which stands for other keys and may be overridden by them


def read_limited(path: Path, *, most: int, what: str, hint: str = "") -> bytes:
    """Return the content of a file of at most `most` bytes; raise InputError where it is missing, larger or unreadable."""
    try:
        # A named pipe without a writer would hold its reader for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return read_stream(file, most=most, what=f"{what} {path}", hint=hint)
    except FileNotFoundError:
        raise InputError(f"no {what} at {path}", hint=hint) from None
    except OSError as fault:
        raise InputError(f"{what} {path} cannot be read: {fault.strerror}", hint=hint) from None


def read_stream(stream: BinaryIO | io.RawIOBase, *, most: int, what: str, hint: str = "") -> bytes:
    """Return what a stream holds, at most `most` bytes; raise InputError for more."""
    size = _size_of(stream)
    content = bytearray()
    while size <= most and len(content) <= most and (piece := stream.read(min(_CHUNK, most + 1 - len(content)))):
        content += piece
    if size > most or len(content) > most:
        raise InputError(f"{what} is larger than {_bytes(most)}", hint=hint)
    return bytes(content)


def read_text(path: Path, *, most: int, what: str, hint: str = "") -> str:
    """Return the text of a UTF-8 file, without a byte-order mark."""
    return text_of(read_limited(path, most=most, what=what, hint=hint), what=f"{what} {path}", hint=hint)


def read_json(path: Path, *, most: int, what: str, hint: str = "") -> Any:
    """Return the document in a JSON file."""
    return parse_json(read_limited(path, most=most, what=what, hint=hint), what=f"{what} {path}", hint=hint)


def read_yaml(path: Path, *, most: int, what: str, hint: str = "") -> Any:
    """Return the document in a YAML file; None where it is empty."""
    return parse_yaml(read_limited(path, most=most, what=what, hint=hint), what=f"{what} {path}", hint=hint)


def text_of(content: bytes, *, what: str, hint: str = "") -> str:
    """Return UTF-8 text, without a byte-order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{what} is not UTF-8 text", hint=hint) from None


def parse_json(content: bytes | str, *, what: str, hint: str = "", most_values: int = MOST_VALUES) -> Any:
    """Return the JSON document in `content`; its size is for the caller to limit."""
    text = content if isinstance(content, str) else text_of(content, what=what, hint=hint)
    try:
        _limit(sum(map(text.count, ",[{")), most_values)  # those within texts count too
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        _check_values(document)
    except _FaultError as fault:
        raise InputError(f"{what} {fault}", hint=hint) from None
    except RecursionError:
        raise InputError(f"{what} is nested too deeply", hint=hint) from None
    except ValueError:  # also a whole number of more digits than Python reads
        raise InputError(f"{what} is not JSON", hint=hint) from None
    return document


def parse_yaml(content: bytes | str, *, what: str, hint: str = "") -> Any:
    """Return the YAML document in `content`; its size is for the caller to limit."""
    text = content if isinstance(content, str) else text_of(content, what=what, hint=hint)
    try:
        document = _load(text)
        _check_values(document)
    except _FaultError as fault:
        raise InputError(f"{what} {fault}", hint=hint) from None
    except RecursionError:
        raise InputError(f"{what} is nested too deeply", hint=hint) from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as fault:  # ValueError: a date such as 2020-13-01
        mark = getattr(fault, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        found = getattr(fault, "problem", None) or "not UTF-8 text, or a date or number that does not exist"
        raise InputError(f"{what} is not valid YAML{where}: {found}", hint=hint) from None
    return document


class _FaultError(Exception):
    """What is wrong with a document, as the end of a sentence."""


def _size_of(stream: BinaryIO | io.RawIOBase) -> int:
    """Return the size that a regular file has now; 0 for pipes and what is no file."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError, io.UnsupportedOperation):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _bytes(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _FaultError("names a field twice")
    return document


def _no_number(_: str) -> Any:
    raise _FaultError("holds a number that is not finite")


def _check_values(document: Any) -> None:
    """Raise where a document is nested too deeply, or holds text that UTF-8 cannot write or a number that is not finite."""
    level: list[Any] = [document]
    for _ in range(MOST_DEPTH + 1):
        if not level:
            return
        level = [child for value in level for child in _children(value)]
    raise _FaultError("is nested too deeply")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list | tuple | set):
        yield from value
    elif isinstance(value, str):
        if not value.isascii() and not _is_writable(value):
            raise _FaultError("holds half a character")
    elif isinstance(value, float) and not math.isfinite(value):
        raise _FaultError("holds a number that is not finite")


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _limit(values: int, most: int) -> None:
    if values > most:
        raise _FaultError(f"holds more than {most:,} values")


def _load(text: str) -> Any:
    if sum(map(text.count, ",[{:-?")) > _MOST_YAML_MARKS:
        raise _FaultError(f"holds more than {MOST_YAML_NODES:,} values")
    loader = _UniqueKeyLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_nodes(root: yaml.Node) -> None:
    """Raise where aliases make a document contain itself, nest too deeply or stand for too many values."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, is_done = stack.pop()
        children = _node_children(node)
        if is_done:
            inside.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            if sizes[id(node)] > _MOST_YAML_VALUES:
                raise _FaultError("stands for too many values")
        elif id(node) in inside:
            raise _FaultError("contains itself")
        elif id(node) not in sizes:
            inside.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in children)


def _node_children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, but repeated keys, tags, too many values and deep nesting are errors: it would read on for hours."""

    _depth = _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in _TEXT_TAGS:
            line = event.start_mark.line + 1
            raise _FaultError(f"has a tag at line {line}: write the value without it, or as !!str for a text")
        self._nodes += 1
        _limit(self._nodes, MOST_YAML_NODES)
        self._depth += 1
        if self._depth > MOST_DEPTH + 2:  # one more for a key or value within, as the check of all values counts them
            raise _FaultError("is nested too deeply")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written = [key for key, _ in node.value if key.tag != _MERGE]
        keys = [str(self.construct_object(key, deep=True)) for key in written]
        repeated = {key for key, times in Counter(keys).items() if times > 1}
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"keys repeat: {sorted(repeated)}", node.start_mark)
        return super().construct_mapping(node, deep)
