"""Who may do what, at every door: each workflow declares it, and every verb of the command line, the api and the app obeys.

The tables below are written by hand, so that a wrong declaration shows. A new verb or workflow without a row fails with the row
to add.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from asking import bearer, client, fault
from conftest import Answer, commands
from fastapi.testclient import TestClient
from shared import copy_of

from workbench import cli, ui, workflows
from workbench.cli.commands import COMMANDS
from workbench.errors import ForbiddenError
from workbench.state import journal
from workbench.state.roles import Action, Person, Role, acting, allowed, declaration_of, internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows import result
from workbench.workflows.controllers.tokens import SCOPES

ROLES: tuple[Role, ...] = get_args(Role)
MAY: dict[str, set[str]] = {
    "all": {"viewer", "operator", "approver", "admin"},
    "operate": {"operator", "admin"},
    "decide": {"approver", "admin"},
    "operate or decide": {"operator", "approver", "admin"},
    "administer": {"admin"},
}
HINT = "add @allowed(...), @open_to_all or @internal of workbench.state.roles above it"


def _workflows() -> dict[str, Callable[..., Any]]:
    """Every public function of the workflows, by module and name."""
    found = {}
    for module in pkgutil.walk_packages(workflows.__path__, f"{workflows.__name__}."):
        room = importlib.import_module(module.name)
        if room is result:  # what workflows return runs for nobody
            continue
        for name, function in vars(room).items():
            is_own = getattr(function, "__module__", None) == room.__name__ and not inspect.isclass(function)
            if callable(function) and is_own and not name.startswith("_"):
                found[f"{module.name.rpartition('.')[2]}.{name}"] = function
    return found


def test_every_public_workflow_declares_who_may_run_it() -> None:
    known = {*get_args(Action), "view", "internal"}
    for name, function in _workflows().items():
        declared = declaration_of(function)
        assert declared, f"{name}() of the workflows declares nobody: {HINT}"
        assert set(declared) <= known, name


def test_no_door_runs_what_is_internal_for_a_person() -> None:
    """The api alone calls some of it: it acts as the system, behind its own scopes."""
    found = _workflows()
    for name in sorted(_imported("ui")):
        assert declaration_of(found[name]) != ("internal",), f"{name} is called by a page: {HINT}, but not @internal"


def _imported(room: str) -> set[str]:
    """The workflows that the files of a door import."""
    folder = Path(ui.__file__).parents[1] / room
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workbench.workflows."):
                found |= {f"{node.module.rpartition('.')[2]}.{alias.name}" for alias in node.names}  # type: ignore[union-attr]
    return found & _workflows().keys()


# The app: each workflow that a page imports, and who may run it
PAGES = {
    "all": """attack_results.attacks attack_results.audits doctor.glance stored_evaluations.evaluation_of
        advise_shards.kept_advice browser_files.name_of browser_files.release_rows
        browser_files.verify_upload audit_log.read_history jobs.list_jobs signing_keys.list_keys
        budget.show_ledger show_lineage.show_lineage overview.overview overview.model
        stored_evaluations.evaluations overview.measured overview.quality preflight.preflight
        preflight.preflight_together profile.schema_of report.certificate_html report.comparison_html
        report.evaluation_html decide.list_requests decide.show_request retention.retention trace.buckets_of
        trace.in_mlflow trace.trace_bucket trace.trace_ensemble trace.trace_request trace.trace_shard""",
    "operate": """erase.erase erase.erase_detached browser_files.check_table browser_files.column_names
        browser_files.draft_schema browser_files.ingest_upload browser_files.predict_upload
        browser_files.rehearse_upload browser_files.release_file browser_files.sample_file jobs.cancel_job
        jobs.detach_job profile.profile decide.cancel_request""",
    "operate or decide": "run_waiting.detach_erasures",
    "decide": "decide.approve_request decide.deny_request decide.release_request",
    "administer": "signing_keys.rotate_key budget.set_budget decide.set_policy retire.retire suppressions.vouch",
}
APP = {name: who for who, names in PAGES.items() for name in names.split()}


def test_the_table_of_the_app_names_every_workflow_of_its_pages() -> None:
    found = _imported("ui")
    assert not found - APP.keys(), f"say in PAGES who may run {sorted(found - APP.keys())}"
    assert not APP.keys() - found, f"no page imports {sorted(APP.keys() - found)}"


# The command line: each verb with arguments that bring it to its workflow, and whether it is quick where it is allowed
T = "{folder}"
SYNTHESIZE, TRAIN = ["{folder}/synthesize.yaml"], ["{folder}/train.yaml"]
VERBS: dict[str, tuple[str, list[str], bool]] = {
    "init": ("administer", [], True),
    "ingest": ("operate", ["x", "--schema", f"{T}/absent.yaml", "--data", f"{T}/absent.csv"], True),
    "schema infer": ("operate", [f"{T}/absent.csv", "-o", f"{T}/out.yaml"], True),
    "ledger budget": ("administer", ["x", "--epsilon", "1", "--delta", "0.00001"], True),
    "ledger show": ("all", ["x"], True),
    "ledger vouch": ("administer", ["x", "--reason", "none"], True),
    "synthesize": ("operate", SYNTHESIZE, True),
    "sample": ("operate", ["x", "-n", "1", "--out", f"{T}/out.csv"], True),
    "audit": ("operate", SYNTHESIZE, True),
    "train": ("operate", TRAIN, True),
    "predict": ("operate", ["x", "--data", f"{T}/absent.csv", "--out", f"{T}/out.csv"], True),
    "retire": ("administer", ["x"], True),
    "jobs list": ("all", [], True),
    "jobs cancel": ("operate", ["x"], True),
    "jobs run": ("operate", ["x"], True),
    "evaluate": ("operate", ["x"], True),
    "report": ("all", ["x", "--out", f"{T}/out.html"], True),
    "card": ("all", ["x", "--out", f"{T}/out.md"], True),
    "compare": ("all", ["x", "y"], True),
    "sweep": ("operate", [*SYNTHESIZE, "--over", "epsilon=1,2"], True),
    "erase": ("operate", ["x"], True),
    "policy": ("administer", ["x", f"{T}/policy.yaml"], True),
    "resume": ("operate or decide", [], True),
    "worker": ("operate", ["--inbox", f"{T}/absent", "--once"], True),
    "requests list": ("all", [], True),
    "requests show": ("all", ["x"], True),
    "requests approve": ("decide", ["x"], True),
    "requests release": ("decide", ["x"], True),
    "requests deny": ("decide", ["x", "--reason", "none"], True),
    "requests cancel": ("operate", ["x"], True),
    "requests accept-hit": ("decide", ["x", "--file", "f", "--offset", "0", "--reason", "none"], True),
    "api": ("administer", ["--port", "0"], False),
    "tokens create": ("administer", ["crm", "--scope", "predict"], True),
    "tokens list": ("administer", [], True),
    "tokens revoke": ("administer", ["x"], True),
    "tokens rotate": ("administer", ["x"], True),
    "verify": ("all", [f"{T}/absent.json"], True),
    "certificate": ("all", [f"{T}/absent.json", "--html", f"{T}/out.html"], True),
    "forgetting": ("operate", ["x"], True),
    "lineage": ("all", ["x"], True),
    "scan": ("operate", ["--for", "canary"], True),
    "doctor": ("all", [], True),
    "keys list": ("all", [], True),
    "keys rotate": ("administer", [], True),
    "backup": ("administer", [f"{T}/out.tar.gz"], True),
    "migrate": ("administer", [], True),
    "restore": ("administer", [f"{T}/absent.tar.gz", "--without-suppressions"], True),
    "demo": ("operate", [], False),
    "suppressions export": ("administer", [f"{T}/out.json"], True),
    "suppressions import": ("administer", [f"{T}/absent.json"], True),
}
_NO_WORKFLOW = {"ui"}  # it starts the app, which knows its people itself


def test_the_table_of_the_command_line_names_every_verb() -> None:
    found = COMMANDS.keys() - _NO_WORKFLOW
    assert not found - VERBS.keys(), f"say in VERBS who may run {sorted(found - VERBS.keys())}"
    assert not VERBS.keys() - found, f"there is no verb {sorted(VERBS.keys() - found)}"


# The api: each route with the scope that it wants
ROUTES: dict[str, str | None] = {
    "POST /requests": "requests:write",
    "GET /requests/{request_id}": "requests:read",
    "DELETE /requests/{request_id}": "requests:write",
    "POST /predict/{ensemble}": "predict",
    "GET /certificates/{request_id}": "certificates",
    "GET /metrics": "metrics",
    "GET /discovery": None,
    "GET /healthz": None,
}

CALLS = [
    *(("command line", verb) for verb in VERBS),
    *(("app", name) for name in APP),
    *(("api", route) for route in ROUTES),
]


@pytest.fixture(scope="module")
def served(empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Any]]:
    """A client of the api, and the headers of a token of each scope."""
    root = tmp_path_factory.mktemp("doors") / "workspace"
    copy_of(empty_workspace, root)
    workspace = Workspace.open(root)
    tokens = {scope: bearer(workspace, scope) for scope in SCOPES}
    with client(workspace) as asking:
        yield asking, {**tokens, "": {"Authorization": ""}}


@pytest.fixture(scope="module", autouse=True)
def _built_once() -> Iterator[None]:
    """The command line with its tree of commands built once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "app", commands())
        yield


@pytest.fixture(scope="module")
def folder(empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty workspace and the configs that verbs read."""
    folder = tmp_path_factory.mktemp("verbs")
    copy_of(empty_workspace, folder / "workspace")
    (folder / "synthesize.yaml").write_text("{generator: mst, dataset: x, epsilon: 1, delta: 0.00001}")
    (folder / "train.yaml").write_text("{learner: ridge, dataset: x, shards: 2, slices: 1}")
    (folder / "policy.yaml").write_text("{approval: required}")
    return folder


def _state(folder: Path) -> Any:
    files = {p.relative_to(folder) for p in folder.rglob("*") if not p.name.endswith(("-wal", "-shm"))}
    with Workspace.open(folder / "workspace").engine.connect() as connection:
        return files, journal.head(connection)


@pytest.mark.parametrize(("door", "verb"), CALLS, ids=lambda part: part.replace(" ", "-"))
def test_every_verb_of_every_door_is_for_its_roles_alone(
    door: str, verb: str, folder: Path, served: Any, command: Callable[..., Answer]
) -> None:
    if door == "api":
        for scope in (*SCOPES, ""):
            _ask(verb, scope, *served)
    elif door == "app":
        for role in ROLES:
            _enter(verb, role, is_allowed=role in MAY[APP[verb]])
    else:
        before = _state(folder)
        for role in ROLES:
            if role not in MAY[VERBS[verb][0]]:
                answer = _command(verb, role, folder, command)
                assert (answer.code, answer.error["code"]) == (ForbiddenError.exit_code, "forbidden")
        assert _state(folder) == before
        # Of those who may, the one who may least: a run of each would take as long again
        for role in [r for r in ROLES if r in MAY[VERBS[verb][0]]][:1] if VERBS[verb][2] else ():
            answer = _command(verb, role, folder, command)
            assert answer.code != ForbiddenError.exit_code, answer.out
            assert not {'"internal"', '"usage"'} & set(answer.out.replace(",", " ").split()), "it misses its workflow"


def _command(verb: str, role: Any, folder: Path, command: Callable[..., Answer]) -> Answer:
    # To restore and to show needs a place that is none yet; all others have a workspace
    place = folder / ("absent" if verb in ("restore", "demo") else "workspace")
    given = [argument.format(folder=folder) for argument in VERBS[verb][1]]
    with acting(Person(actor=f"oidc:{role}", role=role)):
        return command("--workspace", place, *verb.split(), *given, "--json")


def _enter(name: str, role: Any, *, is_allowed: bool) -> None:
    """Enters a workflow without arguments: who may run it gets as far as to miss them."""
    function = _workflows()[name]
    with acting(Person(actor=f"oidc:{role}", role=role)):
        if is_allowed:
            with pytest.raises(TypeError, match="required"):
                function()
        else:
            with pytest.raises(ForbiddenError):
                function()


def _ask(route: str, scope: str, asking: TestClient, tokens: dict[str, dict[str, str]]) -> None:
    method, path = route.split(" ")
    body = json.dumps({}) if method == "POST" else None
    headers = {**tokens[scope], "Content-Type": "application/json"}
    answer = asking.request(method, path.replace("{", "").replace("}", ""), content=body, headers=headers)
    wanted = ROUTES[route]
    if wanted is None or scope == wanted:
        assert answer.status_code not in (401, 403)
    else:
        assert fault(answer) == ((403, "scope") if scope else (401, "unknown_caller"))


def test_the_table_of_the_api_names_every_route(served: Any) -> None:
    document = served[0].get("/openapi.json").json()
    found = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert found == ROUTES.keys(), "say in ROUTES which scope a route wants"


def test_a_workflow_runs_others_in_its_own_authority_and_no_longer() -> None:
    @allowed("administer")
    def inner() -> str:
        return "done"

    @internal
    def part() -> str:
        return inner()

    @open_to_all
    def outer() -> str:
        return part()

    @open_to_all
    def failing() -> None:
        raise ValueError

    with acting(Person(actor="oidc:v", role="viewer")):
        assert outer() == "done"
        with pytest.raises(ValueError):
            failing()
        for refused in (inner, part):
            with pytest.raises(ForbiddenError):
                refused()
    assert (inner(), part()) == ("done", "done"), "the system may run everything"


def test_a_thread_of_a_workflow_acts_as_the_system() -> None:
    seen: list[str] = []

    @allowed("administer")
    def inner() -> None:
        seen.append("inner")

    @open_to_all
    def outer() -> None:
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()

    with acting(Person(actor="oidc:v", role="viewer")):
        outer()
    assert seen == ["inner"]
