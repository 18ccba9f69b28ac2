"""What later pages import is there soon after the first one was shown, and the first one does not wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ASK = """
import sys
import workbench.ui.parts.session
from workbench.ui.parts.warm import _LATER, warm
assert not set(_LATER) & set(sys.modules), set(_LATER) & set(sys.modules)
assert warm() is warm()
warm().join(60)
assert set(_LATER) <= set(sys.modules)
"""


def test_later_imports_are_fetched_once_and_beside_the_page() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", _ASK], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
