"""What a page of the app says, and pressing its buttons."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

Open = Callable[..., AppTest]


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
