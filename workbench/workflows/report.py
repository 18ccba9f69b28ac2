"""Writing results as pages for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.files import check_output, file_sha256, write_atomic
from workbench.reports.certificate import certificate_page
from workbench.workflows.verify import opened
from workbench.workspace import Workspace


def report_certificate(
    workspace: Workspace | None, certificate: Path, html: Path, *, key: Path | None = None
) -> dict[str, Any]:
    """Writes a certificate as a page, once its signature is verified; raises CheckFailedError and writes nothing otherwise.

    The page is made anew each time and kept nowhere: the signed file stays the only truth.
    """
    check_output(html, (".html",))
    statement, signer = opened(workspace, certificate, key)
    digest = file_sha256(certificate)
    write_atomic(html, certificate_page(statement, signer=signer, digest=digest).encode())
    return {"certificate": str(certificate), "html": str(html), "signed_by": signer, "sha256": digest}
