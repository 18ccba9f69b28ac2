"""Generators that are not private, under an erasure: quarantined at once, then retired or fitted again, nothing left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from killing import killed_in
from shared import changed, copied
from stored import placed
from test_queue import POLICY
from test_remeasure import bases, charges, nothing_unnamed, of_kind, predicate

from workbench.config import SynthesizeConfig
from workbench.erasure.request import submit
from workbench.errors import BusyError, CheckFailedError, InputError, QuarantinedError
from workbench.state import compact
from workbench.state.lineage import Artifact
from workbench.state.workspace import Workspace
from workbench.workflows.erasure import execute
from workbench.workflows.erasure.decide import cancel_request, set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting, resume
from workbench.workflows.erasure.results import NamedArtifact, NotifiedArtifact
from workbench.workflows.erasure.retire import retire
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.evaluate import evaluate
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.synthesis import fit_release as release
from workbench.workflows.synthesis import sample as sampling
from workbench.workflows.synthesis.measure_release import measure_release
from workbench.workflows.synthesis.sample import sample
from workbench.workflows.synthesis.synthesize import synthesize

COPULA = SynthesizeConfig(generator="gaussian_copula", dataset="pupils")


@pytest.fixture(scope="session")
def unprotected_root(full_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pupils' workspace with a Gaussian copula and nothing private."""

    def change(workspace: Workspace, _: Path) -> None:
        (private,) = of_kind(workspace, "generator")
        retire(workspace, private.id)
        synthesize(workspace, COPULA)

    return changed(tmp_path_factory, "unprotected", full_workspace, change)


@pytest.fixture
def unprotected(unprotected_root: Path, tmp_path: Path) -> Workspace:
    """A fresh copy of it."""
    return copied(unprotected_root, tmp_path)


def the_generator(workspace: Workspace) -> Artifact:
    (generator,) = of_kind(workspace, "generator")
    return generator


def test_it_is_not_measured_beside_an_open_request(unprotected: Workspace) -> None:
    submit(unprotected, ["pupils"], placed(unprotected, "train")[0])
    for measuring in (evaluate, measure_release):
        with pytest.raises(QuarantinedError):
            measuring(unprotected, the_generator(unprotected).id)


def test_it_is_labelled_not_private_and_charges_nothing(unprotected: Workspace, tmp_path: Path) -> None:
    for artifact in (the_generator(unprotected), *of_kind(unprotected, "release")):
        assert artifact.body["private"] is False
        assert not {"epsilon", "delta"} & set(artifact.body)
    told = sample(unprotected, the_generator(unprotected).id, 10, tmp_path / "rows.csv")
    assert told.private is False
    assert "epsilon" not in told.to_json()
    assert charges(unprotected) == 1, "that of the private generator which was retired"
    assert doctor(unprotected).healthy


@pytest.mark.parametrize("kind", ["ctgan", "tvae"])
def test_networks_are_fitted_sampled_and_erased(unprotected: Workspace, tmp_path: Path, kind: str) -> None:
    made = synthesize(unprotected, SynthesizeConfig(generator=kind, dataset="pupils", epochs=1))  # type: ignore[arg-type]
    sample(unprotected, made.generator, 20, tmp_path / "rows.parquet")
    erase(unprotected, [placed(unprotected, "train")[0]])
    assert of_kind(unprotected, "generator") == []
    nothing_unnamed(unprotected)


def test_with_its_releases_it_is_retired_and_whoever_has_rows_is_named(unprotected: Workspace, tmp_path: Path) -> None:
    old = the_generator(unprotected)
    export = sample(unprotected, old.id, 10, tmp_path / "rows.parquet", recipient="the press").export
    (planned,) = erase(unprotected, [placed(unprotected, "train")[0]], dry_run=True).plan
    assert NamedArtifact(id=old.id, kind="generator") in planned.purge
    assert NotifiedArtifact(id=export, recipient="the press") in planned.notify
    assert planned.keep_private == planned.refit == planned.remeasure == ()
    answer = erase(unprotected, [placed(unprotected, "train")[0]]).requests[0]
    assert (
        of_kind(unprotected, "generator") == of_kind(unprotected, "release") == of_kind(unprotected, "evaluation") == []
    )
    assert predicate(answer.certificate)["notify"] == sorted([export, f"{old.id}-release"])
    assert {"retired", "outside: not private, whoever has it is to be notified"} < bases(answer.certificate)
    assert not any("epsilon" in a for a in predicate(answer.certificate)["datasets"][0]["artifacts"])
    assert verify(unprotected, Path(answer.certificate), replay=True).valid
    assert doctor(unprotected).healthy
    nothing_unnamed(unprotected)


def test_private_generators_beside_it_are_kept(trained: Workspace) -> None:
    (private,) = of_kind(trained, "generator")
    synthesize(trained, COPULA)
    answer = erase(trained, [placed(trained, "train")[0]]).requests[0]
    assert of_kind(trained, "generator") == [private]
    assert {"kept: differentially private", "retired"} < bases(answer.certificate)


def test_it_is_fitted_again_on_what_remains(unprotected: Workspace) -> None:
    set_policy(unprotected, "pupils", POLICY, ["nonprivate=refit"])
    old, spent = the_generator(unprotected), charges(unprotected)
    before = json.loads((unprotected.root / str(old.path) / "gaussian_copula.json").read_text())["total"]
    key = placed(unprotected, "train")[0]
    (planned,) = erase(unprotected, [key], dry_run=True).plan
    assert [told.id for told in planned.refit] == [old.id]
    answer = erase(unprotected, [key]).requests[0]
    new = the_generator(unprotected)
    assert new.id != old.id
    assert new.body["config"] == old.body["config"]
    assert json.loads((unprotected.root / str(new.path) / "gaussian_copula.json").read_text())["total"] < before
    assert [a.derived_from for a in of_kind(unprotected, "release")] == [[new.id]]
    assert charges(unprotected) == spent
    assert "fitted again on the remaining records; not private" in bases(answer.certificate)
    assert predicate(answer.certificate)["notify"] == [f"{old.id}-release"]
    assert verify(unprotected, Path(answer.certificate), replay=True).valid
    nothing_unnamed(unprotected)


def test_too_little_to_fit_again_retires_it_and_nothing_waits(
    unprotected: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_policy(unprotected, "pupils", POLICY, ["nonprivate=refit"])

    def refused(*_: object, **__: object) -> None:
        raise InputError("a Gaussian copula learns from at least 2 rows")

    monkeypatch.setattr("workbench.generators.gaussian_copula.flat_table", refused)
    answer = erase(unprotected, [placed(unprotected, "train")[0]]).requests[0]
    assert answer.status == "completed"
    assert of_kind(unprotected, "generator") == []
    assert "retired" in bases(answer.certificate)
    nothing_unnamed(unprotected)


@pytest.mark.parametrize("policy", ["retire", "refit"])
def test_who_was_only_in_the_holdout_was_not_read_for_it(unprotected: Workspace, tmp_path: Path, policy: str) -> None:
    set_policy(unprotected, "pupils", POLICY, [f"nonprivate={policy}"])
    old = the_generator(unprotected)
    submit(unprotected, ["pupils"], placed(unprotected, "holdout")[0])
    sample(unprotected, old.id, 10, tmp_path / "rows.parquet")
    ((answer),) = carry_out_waiting(unprotected).values()
    assert the_generator(unprotected) == old
    assert "kept: no row of the person was read for it" in bases(answer.certificate)


def test_no_row_is_drawn_from_the_moment_a_request_is_accepted(
    unprotected: Workspace, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    old, out = the_generator(unprotected), tmp_path / "rows.parquet"
    receipt = submit(unprotected, ["pupils"], placed(unprotected, "train")[0])
    with pytest.raises(QuarantinedError, match="has an open erasure request"):
        sample(unprotected, old.id, 10, out)
    told = command("--workspace", str(unprotected.root), "sample", old.id, "-n", "10", "--out", str(out))
    assert told.code == 6
    assert of_kind(unprotected, "export") == []
    assert not out.exists()
    cancel_request(unprotected, receipt.id)
    sample(unprotected, old.id, 10, out)
    assert out.exists()


def test_a_private_one_may_be_drawn_from_meanwhile(trained: Workspace, tmp_path: Path) -> None:
    submit(trained, ["pupils"], placed(trained, "train")[0])
    sample(trained, the_generator(trained).id, 10, tmp_path / "rows.parquet")


def test_a_request_accepted_while_rows_are_drawn_leaves_no_file(
    unprotected: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = sampling.write_rows

    def late(*arguments: Any, **more: Any) -> None:
        work(*arguments, **more)
        submit(unprotected, ["pupils"], placed(unprotected, "train")[0])

    monkeypatch.setattr(sampling, "write_rows", late)
    with pytest.raises(QuarantinedError):
        sample(unprotected, the_generator(unprotected).id, 10, tmp_path / "rows.parquet")
    assert list(tmp_path.glob("*rows*")) == list(tmp_path.glob(".part*")) == []
    assert of_kind(unprotected, "export") == []


def test_none_is_begun_while_a_request_is_open(unprotected: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(unprotected, ["pupils"], placed(unprotected, "train")[0])
    monkeypatch.setattr("workbench.workflows.synthesis.synthesize.make_release", lambda *_, **__: pytest.fail("begun"))
    with pytest.raises(BusyError, match="open erasure request"):
        synthesize(unprotected, COPULA)
    assert len(of_kind(unprotected, "generator")) == 1


def test_a_request_accepted_during_a_fit_keeps_it_from_being_published(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = release._describe

    def late(*arguments: Any) -> Any:
        submit(trained, ["pupils"], placed(trained, "train")[0])
        return work(*arguments)

    (private,) = of_kind(trained, "generator")
    monkeypatch.setattr(release, "_describe", late)
    with pytest.raises(BusyError, match="open erasure request"):
        synthesize(trained, COPULA)
    assert of_kind(trained, "generator") == [private]
    nothing_unnamed(trained)


def test_a_request_accepted_during_a_fit_ends_it_at_the_next_report(trained: Workspace) -> None:
    told: list[str] = []

    def late(_: float, text: str) -> None:
        told.append(text)
        if text == "column 2 of 4":
            submit(trained, ["pupils"], placed(trained, "train")[0])

    with pytest.raises(BusyError, match="open erasure request"):
        synthesize(trained, COPULA, progress=late)
    assert told[-1] == "column 2 of 4"
    nothing_unnamed(trained)


@pytest.mark.parametrize("name", ["generator", "release", "a copy of the release"])
def test_a_purged_file_that_is_still_there_is_found_before_anything_is_certified(
    unprotected: Workspace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (made,) = of_kind(unprotected, "release")
    paths = {"generator": str(the_generator(unprotected).path), "release": str(made.path)}
    content = (unprotected.root / str(made.path)).read_bytes()
    target, work = execute.STEPS["published"]

    def forgetful(*arguments: Any) -> Any:
        done = work(*arguments)
        (left := unprotected.root / paths.get(name, "data/copy.bin")).parent.mkdir(exist_ok=True)
        left.write_bytes(content)
        return done

    monkeypatch.setitem(execute.STEPS, "published", (target, forgetful))
    answer = erase(unprotected, [placed(unprotected, "train")[0]]).requests[0]
    assert answer.exit == CheckFailedError.exit_code
    assert ("byte scan" if "copy" in name else "purged files gone") in answer.reason
    assert not list((unprotected.root / "certificates").iterdir())


KILLS = [
    (step, policy, late)
    for step in ("planned", "dropped", "retrained", "published", "purged", "verified")
    for policy in ("retire", "refit")
    for late in (False, True)
]
# Each step once, and what is fitted again where it is fitted and where it is published.
ALWAYS = {
    ("planned", "retire", False),
    ("dropped", "refit", True),
    ("retrained", "refit", True),
    ("published", "retire", True),
    ("published", "refit", False),
    ("purged", "refit", True),
    ("verified", "retire", False),
}


@pytest.mark.parametrize(
    ("step", "policy", "late"),
    [pytest.param(*kill, marks=[] if kill in ALWAYS else pytest.mark.slow) for kill in KILLS],
)
def test_killed_in_any_step_nothing_of_it_is_left(
    unprotected: Workspace, tmp_path: Path, step: str, policy: str, late: bool
) -> None:
    set_policy(unprotected, "pupils", POLICY, [f"nonprivate={policy}"])
    old = the_generator(unprotected)
    traces = traces_of(unprotected, old)
    assert found(unprotected, traces) == traces, "each is there as long as the generator is"
    with killed_in(step, late=late):
        erase(unprotected, [placed(unprotected, "train")[0]])
    if step in ("planned", "dropped", "retrained"):
        with pytest.raises(QuarantinedError):
            sample(unprotected, old.id, 10, tmp_path / "rows.parquet")
    (result,) = resume(unprotected).values()
    assert verify(unprotected, Path(result.certificate), replay=True).valid
    assert len(of_kind(unprotected, "generator")) == (policy == "refit")
    assert old not in of_kind(unprotected, "generator")
    assert found(unprotected, traces) == set()
    nothing_unnamed(unprotected)
    assert doctor(unprotected).healthy


def traces_of(workspace: Workspace, generator: Artifact) -> set[bytes]:
    """What gives the generator, its release and its evaluation away: parameters, bytes of the table, names of runs."""
    document = json.loads((workspace.root / str(generator.path) / "gaussian_copula.json").read_text())
    numbers = [value for row in document["correlation"] for value in row if abs(value) < 1]
    content = (workspace.root / "releases" / f"{generator.id}.parquet").read_bytes()
    (evaluation,) = (a for a in of_kind(workspace, "evaluation") if f"{generator.id}-release" in a.derived_from)
    distance = str(evaluation.body["metrics"]["fidelity/tvd2"])
    middle = len(content) // 2
    return {
        repr(numbers[0]).encode(),
        content[middle : middle + 64],
        distance.encode(),
        evaluation.body["mlflow_run"].encode(),
    }


def found(workspace: Workspace, traces: set[bytes]) -> set[bytes]:
    """Those traces that lie in any file of the workspace, logs of databases included."""
    compact(workspace.engine)
    contents = [path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()]
    return {trace for trace in traces if any(trace in content for content in contents)}
