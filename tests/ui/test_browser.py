"""The app as a person meets it: a real server, a real browser, jobs in processes of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import pupils
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from provider import provider
from stored import placed
from until import until

from workbench.config import CONFIGS
from workbench.erasure.request import submit
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.decide import list_requests, set_policy
from workbench.workflows.erasure.results import RequestSummary
from workbench.workflows.erasure.verify import verify

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
CLONE = Path(__file__).parents[2]
SEEN = CLONE / "screenshots"
WAIT = 300_000
STREAMLITS_OWN = ("list", "listitem")  # how it marks up its navigation, which no app can change
PAGES = (
    "Home",
    "Data",
    "Synthesize",
    "Models",
    "Erasure",
    "Privacy budget",
    "Reports",
    "Lineage",
    "Audit log",
    "Settings",
)
LOOKING = {  # all that a viewer may press
    "Erasure": {"Verify", "upload\n\nUpload"},
    "Audit log": {"Export these entries (JSON)"},
    "Privacy budget": {"add\n\nAdd"},
    "Lineage": {"Follow these records"},
    "Settings": {"Public key (PEM)"},
}
Visit = Callable[..., Page]


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Starts the app over a workspace and opens it; of a test that fails a screenshot stays in `screenshots/`."""
    started: list[subprocess.Popen[bytes]] = []
    pages: list[Page] = []

    def open_(root: Path, port: int = 0) -> Page:
        port = port or free_port()
        command = [
            sys.executable,
            "-m",
            "workbench",
            "--workspace",
            str(root),
            "ui",
            "--no-browser",
            "--port",
            str(port),
        ]
        started.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(CLONE)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        wait_for(port)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(WAIT)
        page.goto(f"http://127.0.0.1:{port}/")
        pages.append(page)
        return page

    failed = request.session.testsfailed
    yield open_
    if request.session.testsfailed > failed:
        SEEN.mkdir(exist_ok=True)
        for number, page in enumerate(pages):
            page.screenshot(path=SEEN / f"{request.node.name}-{number}.png", full_page=True)
    for process in started:
        os.killpg(process.pid, 15)
        process.wait(20)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int) -> None:
    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=10):
            return True
        return False

    until(answers)


def take_in(page: Page, folder: Path) -> None:
    """A table of pupils, from its upload to the confirmed schema."""
    pupils(400).to_csv(folder / "klass.csv", index=False)
    go(page, "Data")
    page.locator("input[type=file]").first.set_input_files(folder / "klass.csv")
    page.get_by_label("Which column identifies the person?").click()
    page.get_by_role("option", name="pupil", exact=True).click()
    page.get_by_label("What is to be predicted, if anything?").click()
    page.get_by_role("option", name="passed").click()
    page.get_by_role("button", name="Propose a schema").click()
    page.get_by_text("I have looked at all of them").click()
    expect(page.get_by_text("Not confirmed yet")).to_be_hidden(timeout=WAIT)
    page.get_by_role("button", name="Take it in").click()
    expect(page.get_by_text("Its public schema")).to_be_visible(timeout=WAIT)


def completed(workspace: Workspace) -> RequestSummary:
    """The one request, once it is carried out."""
    until(lambda: [r.status for r in list_requests(workspace).requests] == ["completed"])
    (request,) = list_requests(workspace).requests
    return request


def download(page: Page, button: Locator, folder: Path) -> Path:
    """What a button gives to be kept."""
    with page.expect_download(timeout=WAIT) as waiting:
        button.click()
    saved = folder / waiting.value.suggested_filename
    waiting.value.save_as(saved)
    return saved


def go(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible(timeout=WAIT)


def test_from_a_request_to_a_certificate_in_the_browser(visit: Visit, trained: Workspace, tmp_path: Path) -> None:
    page = visit(trained.root)
    key = placed(trained, "train")[0]
    go(page, "Erasure")
    page.get_by_role("tab", name="New request").click()
    page.get_by_label("Identifier of the person").fill(key)
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_text("What would be done")).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("tab", name="New request")).to_have_attribute("aria-selected", "true")
    page.get_by_role("button", name="Erase this person").click()
    expect(page.get_by_text("1 accepted and quarantined")).to_be_visible(timeout=WAIT)
    page.get_by_role("tab", name="New request").click()
    expect(page.get_by_label("Identifier of the person")).to_have_value("")
    request = completed(trained)
    page.goto(f"{page.url.split('?')[0]}?request={request.request}")
    expect(page.get_by_text("Certificate signed")).to_be_visible(timeout=WAIT)
    certificate = page.frame_locator("iframe").first
    expect(certificate.get_by_text("The person has been erased.")).to_be_visible(timeout=WAIT)
    saved = download(page, page.get_by_role("button", name="Certificate (JSON)"), tmp_path)
    assert verify(trained, saved).valid
    assert key not in page.content()


@pytest.mark.slow
def test_from_a_csv_to_a_release_in_the_browser(visit: Visit, workspace: Workspace, tmp_path: Path) -> None:
    page = visit(workspace.root)
    take_in(page, tmp_path)
    go(page, "Synthesize")
    page.get_by_role("button", name="Set the budget").click()
    page.get_by_role("button", name="Make the synthetic table").click()
    expect(page.get_by_text("Quality at a glance")).to_be_visible(timeout=WAIT)
    page.reload()
    expect(page.get_by_text("Quality at a glance")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Prepare the file").click()
    rows = pd.read_csv(download(page, page.get_by_role("button", name="Download", exact=True), tmp_path))
    assert set(rows.columns) == {"term", "town", "hours", "passed"}
    assert len(rows) > 300
    go(page, "Home")
    expect(page.get_by_role("heading", name="Synthetic tables")).to_be_visible(timeout=WAIT)


@pytest.mark.slow
def test_from_a_csv_to_a_model_and_who_is_erased_from_it(visit: Visit, workspace: Workspace, tmp_path: Path) -> None:
    page = visit(workspace.root)
    take_in(page, tmp_path)
    go(page, "Models")
    page.get_by_role("button", name="Train the model").click()
    expect(page.get_by_role("heading", name="Versions")).to_be_visible(timeout=WAIT)
    pupils(20).drop(columns=["pupil", "passed"]).to_csv(tmp_path / "new.csv", index=False)
    page.wait_for_timeout(1500)  # a job that ends shows the page anew
    page.locator("input[type=file]").first.set_input_files(tmp_path / "new.csv")
    expect(page.get_by_text("new.csv")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Predict", exact=True).click()
    saved = download(page, page.get_by_role("button", name="Download all predictions (CSV)"), tmp_path)
    assert len(pd.read_csv(saved)) == len(pd.read_csv(tmp_path / "new.csv"))
    go(page, "Erasure")
    page.get_by_role("tab", name="New request").click()
    page.get_by_label("Identifier of the person").fill("pupil-1003")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_text("What would be done")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Erase this person").click()
    expect(page.get_by_text("1 accepted and quarantined")).to_be_visible(timeout=WAIT)
    request = completed(workspace)
    assert verify(workspace, Path(request.certificate), replay=True).valid


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_fails_the_rules_of_accessibility(visit: Visit, trained: Workspace, scheme: str) -> None:
    page = visit(trained.root)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.reload()
    bad: dict[str, list[str]] = {}
    for name in PAGES:
        go(page, name)
        page.wait_for_timeout(1500)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
        serious = [
            f"{v['id']}: {v['nodes'][0]['html'][:160]}"
            for v in found
            if v["impact"] in ("serious", "critical") and v["id"] not in STREAMLITS_OWN
        ]
        if serious:
            bad[name] = serious
    assert bad == {}


@pytest.mark.slow
def test_no_page_asks_another_machine_for_anything(visit: Visit, trained: Workspace) -> None:
    page = visit(trained.root)
    asked: set[str | None] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
    page.reload()
    for name in PAGES:
        go(page, name)
        page.wait_for_timeout(1000)
        for tab in page.get_by_role("tab").all():
            tab.click()
            page.wait_for_timeout(300)
    assert "127.0.0.1" in asked
    assert asked <= {"127.0.0.1", "", None}, "data: and blob: have no host"


@pytest.mark.slow
@pytest.mark.parametrize(("group", "role"), [("office", "approver"), ("nobody", None)])
def test_people_sign_in_and_get_their_role(
    visit: Visit, trained: Workspace, tmp_path: Path, group: str, role: str | None
) -> None:
    with signed_in(visit, trained, tmp_path, group) as page:
        if role is None:
            expect(page.get_by_text("have no role")).to_be_visible(timeout=WAIT)
            assert "pupils" not in page.content()
            return
        expect(page.get_by_text(f"Signed in as s-1, {role}")).to_be_visible(timeout=WAIT)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("Sign in to go on.")).to_be_visible(timeout=WAIT)


@pytest.mark.slow
def test_a_viewer_looks_and_can_do_nothing(visit: Visit, trained: Workspace, tmp_path: Path) -> None:
    set_policy(trained, "pupils", CONFIGS / "policies" / "default.yaml", ["approval=required"])
    request = submit(trained, ["pupils"], placed(trained, "train")[0]).id
    with signed_in(visit, trained, tmp_path, "staff") as page:
        expect(page.get_by_text("Signed in as s-1, viewer")).to_be_visible(timeout=WAIT)
        for name in PAGES:
            go(page, name)
            page.wait_for_timeout(1000)
            for tab in page.get_by_role("tab").all() or [page.get_by_role("heading", name=name, level=1)]:
                tab.click()
                assert offered(page) <= LOOKING.get(name, set()), name
        page.goto(f"{page.url.split('/settings')[0]}/erasure?request={request}")
        expect(page.get_by_role("heading", name="Timeline")).to_be_visible(timeout=WAIT)
        assert offered(page) <= {"Requests"}
        assert list_requests(trained).requests[0].approval == "waiting"


def offered(page: Page) -> set[str]:
    """What of the page itself can be pressed, by its words."""
    buttons = page.get_by_test_id("stMain").locator("button:visible:enabled").all()
    return {words for button in buttons if (words := button.inner_text().strip())}


@contextmanager
def signed_in(visit: Visit, workspace: Workspace, folder: Path, group: str) -> Iterator[Page]:
    """The app with somebody of a group at it, whom an identity provider knows."""
    (workspace.root / "roles.yaml").write_text("groups: {office: approver, staff: viewer}")
    port = free_port()
    with provider({"sub": "s-1", "email": "ada@example.org", "groups": [group]}) as address:
        (folder / ".streamlit").mkdir()
        (folder / ".streamlit" / "secrets.toml").write_text(
            f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "only for tests, and long enough to be one"
client_id = "workbench"
client_secret = "secret"
server_metadata_url = "{address}/.well-known/openid-configuration"
"""
        )
        page = visit(workspace.root, port)
        expect(page.get_by_text("Sign in to go on.")).to_be_visible(timeout=WAIT)
        assert "pupils" not in page.content()
        page.get_by_role("button", name="Sign in").click()
        yield page


@pytest.mark.slow
def test_a_table_too_large_for_the_browser_is_refused_and_forgeries_too(
    visit: Visit, workspace: Workspace, tmp_path: Path
) -> None:
    with (tmp_path / "large.csv").open("wb") as large:
        large.write(b"pupil,passed\n")
        large.truncate(300 << 20)
    page = visit(workspace.root)
    go(page, "Data")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "large.csv")
    expect(page.get_by_text("must be 200.0MB or smaller")).to_be_visible(timeout=WAIT)
    assert page.get_by_role("button", name="Propose a schema").count() == 0
    address = f"{page.url.split('/data')[0]}/_stcore/upload_file/session/file"
    forged = page.request.put(
        address, multipart={"file": {"name": "t.csv", "mimeType": "text/csv", "buffer": b"a\n1\n"}}
    )
    assert forged.status in (400, 403)
