"""What the benchmarks have in common: Adult in a workspace of its own, and how results are kept."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.config import TrainConfig
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.operations.initialise import initialise

ROWS = 32_561  # people in Adult's training file


@contextmanager
def adult() -> Iterator[Workspace]:
    """A new workspace that holds Adult, on the disk of the temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = initialise(Path(folder) / "workspace")
        ingest(workspace, "adult")
        yield workspace


def config_of(shards: int, slices: int) -> TrainConfig:
    """Boosted trees on Adult, as in the demo but for the partition."""
    return TrainConfig(learner="gradient_boosting", dataset="adult", shards=shards, slices=slices)


def keep(script: str, result: Mapping[str, Any]) -> None:
    """Writes the result as JSON beside the script."""
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    result = {
        "machine": machine,
        "load": round(os.getloadavg()[0], 1),
        **result,
    }  # on a busy machine seconds mean little
    Path(script).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
