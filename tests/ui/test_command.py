"""`workbench ui`: what must hold of the server whatever a config file says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Answer

from workbench.cli import ui
from workbench.ui.session import is_loopback


def given(options: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(options) if option == name]


def test_the_server_is_for_this_machine_and_guarded(
    tmp_path: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    homes: list[str] = []

    def run(words: list[str], *, env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:  # noqa: ARG001
        started.append(words)
        homes.append(env["WORKBENCH_HOME"])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(ui, "subprocess", SimpleNamespace(run=run))
    answer = command("--workspace", tmp_path / "new", "ui", "--port", 9999, "--no-browser")
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
