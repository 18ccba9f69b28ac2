"""The OpenAPI document says what the server does: schemathesis makes calls of it and holds the answers against it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asking import bearer, client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from shared import copy_of

from workbench.state.workspace import Workspace


def calls_fit(full_workspace: Path, folder: Path, examples: int) -> int:
    """Makes so many calls per operation and kind, each checked in every way; returns how many were made."""
    import schemathesis  # takes seconds, and nothing else here needs it
    from schemathesis.config import SchemathesisConfig

    copy_of(full_workspace, folder / "workspace")
    workspace, made = Workspace.open(folder / "workspace"), 0
    with client(workspace, per_token="100000/second", per_client="100000/second") as asking:
        refusals = {"negative_data_rejection": {"expected-statuses": ["4xx"]}}  # what is too large, too
        config = SchemathesisConfig.from_dict({"generation": {"allow-x00": True}, "checks": refusals})
        schema = schemathesis.openapi.from_asgi("/openapi.json", asking.app, config=config)
        headers = bearer(workspace)
        for operation in (found.ok() for found in schema.get_all_operations()):
            for mode in schemathesis.GenerationMode:
                made += _call(operation, mode, headers, examples)
    return made


def _call(operation: Any, mode: Any, headers: dict[str, str], examples: int) -> int:
    made = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def check(case: Any) -> None:
        nonlocal made
        made += 1
        case.call_and_validate(headers=headers)

    run: Callable[[], None] = check
    with suppress(Unsatisfiable):  # nothing can be wrong about a call without parameters
        run()
    return made


def test_the_server_keeps_to_its_document(full_workspace: Path, tmp_path: Path) -> None:
    assert calls_fit(full_workspace, tmp_path, examples=5) > 60


@pytest.mark.slow
def test_the_server_keeps_to_its_document_in_many_calls(full_workspace: Path, tmp_path: Path) -> None:
    assert calls_fit(full_workspace, tmp_path, examples=300) > 1_000
