"""The whole main job on the bundled Adult table, end to end, with a tampering test at the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from workbench.config import CONFIGS, SynthesizeConfig, TrainConfig, read_config
from workbench.errors import CheckFailedError, InputError
from workbench.metrics.estimate import Estimate
from workbench.privacy.ledger import Ledger, spent
from workbench.progress import Progress, silent
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.results import ErasedAnswer, Verification
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.initialise import initialise
from workbench.workflows.operations.results import (
    DemoAuc,
    DemoEpsilon,
    DemoResult,
    DemoRetraining,
    DemoRun,
    DemoSeconds,
    DemoShards,
    DemoTampering,
    DemoVerification,
)
from workbench.workflows.synthesis.synthesize import synthesize
from workbench.workflows.training.train import train

POPULATION, BUDGET, DELTA = "us-census-1994", 4.0, 1e-5
SUBJECT = "4217"  # any row would do


@allowed("operate")
def demo(root: Path, *, keep: bool = False, progress: Progress = silent) -> DemoResult:
    """Runs in `root` where that is new or empty, else in a temporary folder; removes it afterwards unless `keep`."""
    started = time.perf_counter()
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file, not a folder", hint="name a new or empty folder")
    fresh = not root.exists() or all(p.name in ("README.md", ".gitignore") for p in root.iterdir())
    existed = root.exists()
    home = root if fresh else Path(tempfile.mkdtemp(prefix="workbench-demo-"))
    try:
        result = fill_with_demo(initialise(home), progress)
    finally:
        if not keep:
            _clear(home, keep_folder=fresh and existed)
    seconds = round(time.perf_counter() - started, 1)
    return DemoResult(**vars(result), workspace=str(home) if keep else None, seconds=seconds)


def _clear(home: Path, *, keep_folder: bool) -> None:
    if not keep_folder:
        shutil.rmtree(home, ignore_errors=True)
        return
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("README.md", ".gitignore"):
            path.unlink()


@internal
def fill_with_demo(workspace: Workspace, progress: Progress = silent) -> DemoRun:
    """Gives a workspace Adult, a budget, a release and an ensemble, erases one person from it and checks the evidence."""

    def step(name: str, start: float, end: float) -> Progress:
        progress(start, name)
        return lambda fraction, text: progress(start + fraction * (end - start), f"{name}: {text}")

    ingested = ingest(workspace, "adult", progress=step("importing the table", 0.0, 0.1))
    ledger = Ledger(workspace.engine)
    ledger.set_budget(POPULATION, epsilon=BUDGET, delta=DELTA)
    release = synthesize(
        workspace,
        read_config(CONFIGS / "generators" / "aim.yaml", SynthesizeConfig),
        progress=step("fitting a private generator", 0.1, 0.5),
    )
    config = read_config(CONFIGS / "models" / "trees.yaml", TrainConfig)
    trained = train(workspace, config, progress=step("training an ensemble", 0.5, 0.7))
    erased = erase(workspace, [SUBJECT], dataset="adult", progress=step("erasing a person", 0.7, 0.85))
    request = erased.requests[0]
    if not isinstance(request, ErasedAnswer) or request.certificate is None:
        raise CheckFailedError(f"the erasure could not be carried out: {getattr(request, 'reason', None)}")
    certificate = Path(request.certificate)
    progress(0.9, "verifying by replay")
    verified = verify(workspace, certificate, replay=True)
    tampered = _verify_tampered(workspace, certificate)
    again = erase(workspace, [SUBJECT], dataset="adult").requests[0]
    after = request.ensembles[0]
    retrain, utility = request.retrain_seconds, release.metrics["utility/tstr_auc"]
    assert release.epsilon is not None  # AIM is private
    return DemoRun(
        passed=verified.valid and not tampered.valid and again.status == "rejected",
        rows=ingested.rows["train"],
        epsilon=DemoEpsilon(
            release=release.epsilon,
            spent=round(spent(ledger.entries(POPULATION), DELTA), 4),
            budget=BUDGET,
            delta=DELTA,
        ),
        auc=DemoAuc(
            before=trained.metrics["auc"].value,
            after=after.metrics["auc"].value,
            on_synthetic=utility.value if isinstance(utility, Estimate) else utility,
        ),
        seconds_by_step=DemoSeconds(
            ingest=ingested.seconds,
            synthesize=release.seconds,
            train=trained.seconds,
            erase=erased.seconds,
        ),
        retraining=DemoRetraining(
            all_shards_seconds=trained.training_seconds,
            erasure_seconds=retrain,
            speedup=round(trained.training_seconds / retrain, 1) if retrain else None,
        ),
        shards=DemoShards(touched=len(request.shards), of=config.shards),
        verify=DemoVerification(level=verified.level, valid=verified.valid),
        tampered=DemoTampering(valid=tampered.valid),
        erased_again=again.status,
        release=str(release.path),
        dataset="adult",
        generator=release.generator,
        ensemble=trained.ensemble,
        certificate=str(certificate),
    )


def _verify_tampered(workspace: Workspace, certificate: Path) -> Verification:
    """Verifies a copy with one flipped bit in the middle."""
    content = bytearray(certificate.read_bytes())
    content[len(content) // 2] ^= 1
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / certificate.name
        copy.write_bytes(content)
        return verify(workspace, copy)
