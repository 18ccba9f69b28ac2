"""`workbench ui`: what must hold of the server whatever a config file says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Answer
from until import until

from workbench.cli import ui
from workbench.errors import BusyError
from workbench.ui.parts.session import is_loopback


def given(options: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(options) if option == name]


def test_the_server_is_for_this_machine_and_guarded(
    tmp_path: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    homes: list[str] = []

    def become(program: str, words: list[str], env: dict[str, str]) -> None:
        assert program == words[0]
        started.append(words)
        homes.append(env["WORKBENCH_HOME"])

    monkeypatch.setattr(os, "execve", become)
    answer = command("--workspace", tmp_path / "new", "ui", "--port", free_port(), "--no-browser")
    assert answer.code == 0, answer.err
    assert homes == [str((tmp_path / "new").resolve())]
    assert (tmp_path / "new" / "state.db").is_file(), "who has no workspace gets one"
    (words,) = started
    assert given(words, "--server.address") == ["127.0.0.1"]
    assert given(words, "--server.enableXsrfProtection") == ["true"]
    assert given(words, "--server.maxUploadSize") == ["200"]
    assert given(words, "--browser.gatherUsageStats") == ["false"]
    assert given(words, "--client.showErrorDetails") == ["none"]
    assert given(words, "--server.allowedHosts") == ["localhost", "127.0.0.1"]
    assert Path(words[4]).name == "app.py"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_port_that_is_taken_is_told(
    tmp_path: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(os, "execve", lambda *words: started.append(words))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = command("--workspace", tmp_path / "new", "ui", "--port", port, "--no-browser")
    assert answer.code == BusyError.exit_code
    assert str(port) in answer.err
    assert started == []


def test_whatever_ends_the_command_ends_the_server(tmp_path: Path) -> None:
    port = free_port()
    words = [sys.executable, "-m", "workbench", "--workspace", tmp_path / "new", "ui", "--no-browser", "--port", port]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [str(word) for word in words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: listens(port), process)
        process.kill()
        process.wait()
        until(lambda: not listens(port))
    finally:
        with suppress(ProcessLookupError):  # as it should be: nobody is left
            os.killpg(process.pid, 9)


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_beyond_this_machine_other_host_names_are_the_providers_to_check() -> None:
    assert given(ui.options(8501, "0.0.0.0", browser=False), "--server.allowedHosts") == []


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.8.8.8", True),
        ("0.0.0.0", False),
        ("::", False),
        (None, False),
        ("", False),
        ("192.168.0.2", False),
        ("example.org", False),
    ],
)
def test_what_is_this_machine(address: str | None, here: bool) -> None:
    assert is_loopback(address) is here
