"""The app in this process, over a copy of a workspace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from workbench.ui import session
from workbench.workspace import Workspace

CLONE = Path(__file__).parents[2]
Open = Callable[..., AppTest]


@pytest.fixture
def browse(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a page of the app over a workspace, with ids of the address line; as whoever `session.person` says."""
    before = st.get_option("server.address")
    st.config.set_option("server.address", "127.0.0.1")
    monkeypatch.setattr(session, "signs_in", lambda: False)

    def run(workspace: Workspace, page: str = "home", **about: str) -> AppTest:
        monkeypatch.setenv(session.HOME, str(workspace.root))
        app = AppTest.from_file(str(CLONE / "app.py"), default_timeout=60)
        for key, value in about.items():
            app.query_params[key] = value
        app.run()
        if page != "home":
            for key, value in about.items():
                app.query_params[key] = value
            app.switch_page(f"workbench/ui/{page}.py").run()
        assert not app.exception, [e.stack_trace for e in app.exception]
        return app

    yield run  # type: ignore[misc]
    st.config.set_option("server.address", before)


def texts(app: AppTest) -> str:
    """Everything that a page says."""
    kinds = (
        "title",
        "subheader",
        "markdown",
        "caption",
        "info",
        "warning",
        "error",
        "success",
        "metric",
        "text",
        "code",
    )
    said = []
    for kind in kinds:
        for one in app.get(kind):
            said += [str(getattr(one, "value", "")), str(getattr(one, "label", ""))]
    said += [frame.value.to_csv() for frame in app.dataframe]
    return "\n".join(said)


def press(app: AppTest, label: str) -> AppTest:
    """Presses the button of that label."""
    return next(button for button in app.button if button.label == label).click().run()
